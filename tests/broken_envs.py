"""Environments for tests of the command line, which meets them as `--env broken_envs:NAME-v0`:
importing this file registers them.

They live in a file of their own because the processes under test import them: nothing else of the tests is needed
there.
"""

import contextlib
import os
import signal
import time

import gymnasium
import numpy as np
from gymnasium import spaces


class Still(gymnasium.Env):
    """Two numbers that never change, reward 1, episodes of 10 steps;
    `fault(step)` happens in each step, counted over all episodes.
    """

    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)
    steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.zeros(2, np.float32), self.fault(self.steps), self.steps % 10 == 0, False, {}

    def fault(self, step):
        return 1.0


class NaNReward(Still):
    """The reward of step 100 is not a number."""

    def fault(self, step):
        return float("nan") if step == 100 else 1.0


class Raises(Still):
    """Step 100 raises."""

    def fault(self, step):
        if step == 100:
            raise ZeroDivisionError("no such\nplace")
        return 1.0


class Endless(Still):
    """The first step does not end, by no signal. It writes a file `waits`, and `heard` after a SIGINT was handled."""

    def fault(self, step):
        handled, handler = [], signal.getsignal(signal.SIGINT)

        def hear(*args):
            handled.append(args)
            with contextlib.suppress(BaseException):
                handler(*args)

        signal.signal(signal.SIGINT, hear)
        open("waits", "w").close()
        while not handled:
            time.sleep(0.01)
        open("heard", "w").close()
        while True:
            time.sleep(0.01)


class Prints(Still):
    """Writes its process's number into the file that $PIDS names."""

    def __init__(self):
        with open(os.environ["PIDS"], "a") as file:
            file.write(f"{os.getpid()}\n")

    def fault(self, step):
        time.sleep(0.001)
        return 1.0


class Slow(Still):
    """A step takes a second."""

    def fault(self, step):
        time.sleep(1)
        return 1.0


class SlowlyMade(Still):
    """Writes a file `making`, and takes its time to be made."""

    def __init__(self):
        open("making", "w").close()
        time.sleep(60)


class Speaks(Still):
    """Actions that minirl has no code for."""

    action_space = spaces.Text(3)


for kind in (Still, NaNReward, Raises, Endless, Prints, Slow, SlowlyMade, Speaks):
    gymnasium.register(f"{kind.__name__}-v0", kind, disable_env_checker=True)
