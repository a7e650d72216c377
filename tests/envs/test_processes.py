"""Environments in processes when one raises, dies or hangs, or the parent does: real processes, real signals.

The ids are those of the cases: F-05 an environment raises, F-06 a worker dies, F-07 it hangs, F-08 the parent dies.
"""

import copy
import ctypes
import faulthandler
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from functools import partial

import gymnasium
import numpy as np
import processes
import pytest
from gymnasium import spaces

import minirl
from minirl.envs.copies import Guarded
from minirl.envs.parallel import ParallelVectorEnv
from minirl.envs.serial import SerialVectorEnv
from minirl.errors import EnvError, EnvProcessError, EnvRaisedError
from minirl.runs.recorder import Recorder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and forks")
NOTICED, CLOSED = 1.0, 2.0  # seconds


class Acts(gymnasium.Env):
    """Episodes of 5 steps; environment `who` does `fault()` in `place` once it has taken `at` steps."""

    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, index, fault=None, place="step", who=(1,), at=3):
        self.fault = fault if index in who else None
        self.place, self.at, self.steps = place, at, 0
        self.here("make")

    def here(self, place):
        if self.fault and place == self.place and (self.steps >= self.at or place == "make"):
            self.fault()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.here("reset")
        return self.np_random.random(2).astype(np.float32), {}

    def step(self, action):
        self.steps += 1
        self.here("step")
        obs = self.np_random.random(2).astype(np.float32)
        return obs, float(action), self.steps % 5 == 0, False, {}

    def answer(self, *args, **kwargs):
        self.here("answer")
        return os.getpid(), args, kwargs

    def close(self):
        self.here("close")


def made(fault=None, **kwargs):
    def make(index):
        return Guarded(Acts(index, fault, **kwargs), index)

    return make


class Vector:
    """A vector with `fault` that is closed at the end: in time, with nobody left."""

    def __init__(self, fault=None, num_envs=3, timeout=30, **kwargs):
        self.envs = ParallelVectorEnv([partial(made(fault, **kwargs), i) for i in range(num_envs)], timeout)

    def __enter__(self):
        self.envs.reset(seed=0)
        return self.envs

    def __exit__(self, *_):
        pids, began = [process.pid for process in self.envs.processes], time.monotonic()
        self.envs.close()
        assert time.monotonic() - began < CLOSED
        assert not [pid for pid in pids if exists(pid)]


def exists(pid):
    """Also a zombie does."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def play(envs, place="step", steps=3):
    """So many steps, and what the place stands for."""
    if place == "step":
        steps -= 1
    for _ in range(steps):
        envs.step(np.zeros(envs.num_envs, int))
    if place == "step":
        return envs.step(np.zeros(envs.num_envs, int))
    return envs.reset() if place == "reset" else envs.call("answer")


def fail(error):
    raise error


def sleep():
    time.sleep(1000)


def loop():
    """Nothing but SIGKILL ends it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        pass


def freeze():
    os.kill(os.getpid(), signal.SIGSTOP)


def crash():
    faulthandler.disable()  # of pytest
    ctypes.string_at(0)


def refuse():
    """An environment that leaves at once, whoever is asked."""
    os._exit(3)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def with_a_child():
    """It holds copies of all that is open, so that no pipe ends with its parent."""
    child = os.fork()
    if child:
        die()
    time.sleep(3)
    os._exit(0)


# ------------------------------------------------------------------------------------------------------------ it raises


class Odd(Exception):
    """Cannot be made from what it was: its message is put together."""

    def __init__(self, left, right):
        super().__init__(f"{left} of {right}")


class Holding(ValueError):
    """Cannot be pickled: it holds a lock."""

    def __init__(self, text):
        super().__init__(text)
        self.lock = threading.Lock()


class Twice(Exception):
    """Is made again with another message."""

    def __init__(self, text):
        super().__init__(f"not {text}")


OWN = [ZeroDivisionError("no such place"), KeyError("door"), OSError(28, "No space left"), Odd(1, 2), Holding("held")]
OWN += [
    Twice("here"),
    EnvError("its own"),
    StopIteration(7),
    MemoryError(),
    UnicodeDecodeError("utf-8", b"x", 0, 1, "y"),
]


@pytest.mark.parametrize("place", ["reset", "step", "answer"])
def test_f_05_an_environments_own_exception_with_index_step_and_traceback(place):
    for error in OWN:
        with Vector(partial(fail, error), place=place) as envs:
            with pytest.raises(EnvRaisedError if isinstance(error, StopIteration) else type(error)) as caught:
                play(envs, place)
            notes = "\n".join(caught.value.__notes__)
            assert str(error) in str(caught.value)
            assert isinstance(error, StopIteration) or str(caught.value) == str(error)
            assert "env=1, step=3" in notes + str(caught.value)
            assert "Traceback" in notes and "in fail\n" in notes and "raise error" in notes


@pytest.mark.parametrize("place", ["reset", "step", "answer"])
def test_f_05_what_cannot_be_sent_or_would_end_a_process_is_named(place):
    class Local(Exception):
        pass

    class Speechless(Exception):
        def __str__(self):
            raise ValueError("no words")

    class Base(BaseException):
        pass

    for error in Local("unknown"), Speechless(), Base("base"), SystemExit(3), KeyboardInterrupt(), GeneratorExit():
        with Vector(partial(fail, error), place=place) as envs:
            said = rf"^env=1, step=3: the environment raised {type(error).__name__}"
            with pytest.raises(EnvRaisedError, match=said) as caught:
                play(envs, place)
            assert "in fail\n" in "\n".join(caught.value.__notes__)


def test_f_05_the_first_that_raises_is_the_one_and_nobody_waits_long_for_the_others():
    fault = partial(fail, ValueError("all of them"))
    with Vector(fault, who=(1, 2)) as envs, pytest.raises(ValueError, match="all of them") as caught:
        play(envs)
    assert "env=1, step=3" in str(caught.value.__notes__)

    def first_sleeps():
        sleep() if multiprocessing.current_process().name == "minirl env=0" else fail(ValueError("the last"))

    with Vector(first_sleeps, who=(0, 2)) as envs:
        began = time.monotonic()
        with pytest.raises(ValueError, match="the last"):
            play(envs)
        assert time.monotonic() - began < 1.5
        with pytest.raises(EnvError, match="others had not answered; close these environments"):
            envs.step(np.zeros(3, int))


def test_f_05_who_has_raised_can_be_asked_again():
    """Each request has one answer, so that none is taken for another's."""
    with Vector() as envs:
        with pytest.raises(AttributeError, match="colour") as caught:
            envs.call("colour")
        assert "env=0" in str(caught.value.__notes__)
        assert [args for _, args, _ in envs.call("answer", 1, to=2)] == [(1,)] * 3
        with pytest.raises(Exception, match=r"pickle|lambda"):
            envs.call("answer", lambda: 0)
        with pytest.raises(ValueError, match="2 actions: it takes 3"):
            envs.step(np.zeros(2, int))
        assert envs.step(np.ones(3, int))[1].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), MemoryError(), RuntimeError("save")], ids=repr
)
def test_f_05_the_environments_error_is_reported_where_the_last_save_fails_too(monkeypatch, tmp_path, error):
    monkeypatch.setattr(Recorder, "finish", lambda self: fail(error))
    kwargs = {"index": 1, "fault": partial(fail, ZeroDivisionError("the first"))}
    with pytest.raises(ZeroDivisionError, match="the first") as caught, pytest.warns(UserWarning):
        minirl.train(
            "ppo", Acts, env_kwargs=kwargs, num_envs=2, num_steps=20, total_timesteps=80, hidden=(4,),
            vectorization="async", check_env=False, run=tmp_path / "run",
        )  # fmt: skip
    assert "env=0, step=3" in "\n".join(caught.value.__notes__)


# -------------------------------------------------------------------------------------------------------------- it dies


@pytest.mark.parametrize("place", ["reset", "step", "answer"])
@pytest.mark.parametrize(
    ("fault", "manner", "exitcode"),
    [
        (die, "was killed by SIGKILL", -signal.SIGKILL),
        (crash, "was killed by SIGSEGV", -signal.SIGSEGV),
        (refuse, "ended with exit code 3", 3),
        (partial(os._exit, 0), "ended with exit code 0", 0),
        (with_a_child, "was killed by SIGKILL", -signal.SIGKILL),
    ],
    ids=["killed", "segfault", "left", "left with 0", "killed with a child"],
)
def test_f_06_a_worker_that_dies_is_named(fault, manner, exitcode, place):
    with Vector(fault, place=place) as envs:
        play(envs, "step", 2)
        began = time.monotonic()
        at = {"step": "at step 3", "reset": r"in reset\(\) after step 3", "answer": r"in call\(\) after step 3"}
        with pytest.raises(EnvProcessError, match=f"^env=1: its process {manner} {at[place]}; ") as caught:
            play(envs, place, 1)
        assert time.monotonic() - began < NOTICED
        assert (caught.value.env, caught.value.step, caught.value.exitcode) == (1, 3, exitcode)
        with pytest.raises(EnvError, match=f"^env=1: its process {manner}.*; close these environments"):
            envs.reset()


def test_f_06_a_worker_killed_between_two_calls_is_named_at_the_next():
    for ask in (lambda envs: envs.step(np.zeros(3, int)), lambda envs: envs.reset(seed=1), lambda envs: envs.kept):
        with Vector() as envs:
            play(envs)
            os.kill(envs.processes[2].pid, signal.SIGKILL)
            time.sleep(0.05)
            with pytest.raises(EnvProcessError, match=r"env=2: its process was killed by SIGKILL .*lower num_envs"):
                ask(envs)


def test_f_06_while_another_takes_long():
    with Vector(sleep, who=(0,)) as envs:
        threading.Timer(0.3, lambda: os.kill(envs.processes[2].pid, signal.SIGKILL)).start()
        began = time.monotonic()
        with pytest.raises(EnvProcessError, match="env=2: its process was killed by SIGKILL at step 3"):
            play(envs)
        assert time.monotonic() - began < 0.3 + NOTICED


def test_f_06_at_random_moments():
    """A short form of what `kill_workers` measures."""
    late, closed = kill_workers(times=6)
    assert max(late) < NOTICED and max(closed) < CLOSED


def kill_workers(times):
    """Kill workers at random moments -> seconds from each kill to the error, and for closing."""
    rng, late, closed = random.Random(0), [], []
    for _ in range(times):
        envs = ParallelVectorEnv([partial(made(), i) for i in range(4)])
        envs.reset(seed=0)
        killed = []

        def kill(envs=envs, killed=killed):
            os.kill(envs.processes[rng.randrange(4)].pid, signal.SIGKILL)
            killed.append(time.monotonic())

        threading.Timer(0.2 * rng.random(), kill).start()
        with pytest.raises(EnvProcessError, match=r"env=\d: its process was killed by SIGKILL"):
            while True:
                envs.step(np.zeros(4, int))
        raised = time.monotonic()
        envs.close()
        late.append(raised - killed[0])
        closed.append(time.monotonic() - raised)
        assert not [process for process in envs.processes if exists(process.pid)]
    return late, closed


def test_f_06_while_it_is_made():
    for fault, said in ((die, "killed by SIGKILL"), (refuse, "exit code 3")):
        with pytest.raises(EnvProcessError, match=f"env=1: its process .*{said} while it was made"):
            Vector(fault, place="make")
    with pytest.raises(ZeroDivisionError, match="made") as caught:
        Vector(partial(fail, ZeroDivisionError("made")), place="make")
    assert "env=1" in str(caught.value.__notes__)


# ------------------------------------------------------------------------------------------------------------- it hangs


@pytest.mark.parametrize("place", ["reset", "step", "answer"])
@pytest.mark.parametrize("fault", [sleep, loop, freeze])
def test_f_07_a_worker_that_hangs_is_named_and_ended(fault, place):
    with Vector(fault, place=place, timeout=0.5) as envs:
        began = time.monotonic()
        with pytest.raises(
            EnvProcessError, match=r"^env=1: its process did not answer for 0\.5 seconds .* step 3; "
        ) as why:
            play(envs, place)
        assert time.monotonic() - began < 1.5 and why.value.exitcode is None
        assert not exists(envs.processes[1].pid)


def test_f_07_the_limit_is_a_constant_that_can_be_set(monkeypatch):
    assert minirl.envs.parallel.TIMEOUT == 60
    with Vector(sleep, timeout=None) as envs:
        monkeypatch.setattr("minirl.envs.parallel.TIMEOUT", 0.2)
        with pytest.raises(
            EnvProcessError, match=r"for 0.2 seconds at step 3; .*raise minirl\.envs\.parallel\.TIMEOUT"
        ):
            play(envs)


@pytest.mark.parametrize("fault", [None, sleep, loop, freeze, die])
def test_f_07_closing_ends_everybody_in_time_whatever_they_do(fault, monkeypatch):
    """Asked for a step whose results nobody reads; and closed twice."""
    if fault is None:
        monkeypatch.setattr("minirl.envs.processes.PATIENCE", 60)
    with Vector(fault, num_envs=4, who=(1, 3), at=1) as envs:
        for pipe in envs.workers.pipes:
            pipe.send(("step", (1,)))
        time.sleep(0.1)
    envs.close()
    if fault is None:
        assert [process.exitcode for process in envs.processes] == [0] * 4


@pytest.mark.parametrize("fault", [sleep, loop, refuse, partial(fail, ValueError("shut"))])
def test_f_07_an_environment_that_does_not_close(fault):
    with Vector(fault, place="close") as envs:
        play(envs)


def test_f_07_a_result_that_nobody_reads_holds_up_nobody(monkeypatch):
    """More than a pipe takes: the worker is in the middle of writing when it is closed."""
    monkeypatch.setattr("minirl.envs.processes.PATIENCE", 60)
    with Vector() as envs:
        envs.set_attr("big", np.zeros(3_000_000))
        for pipe in envs.workers.pipes:
            pipe.send(("call", ("big", (), {})))
        time.sleep(0.1)
    assert [process.exitcode for process in envs.processes] == [0] * 3


def test_f_07_workers_leave_ctrl_c_and_the_hang_up_to_the_parent():
    with Vector() as envs:
        for signum in (signal.SIGINT, signal.SIGHUP):
            for process in envs.processes:
                os.kill(process.pid, signum)
        time.sleep(0.05)
        assert play(envs)[1].tolist() == [0, 0, 0]


def test_f_07_a_signal_to_all_is_the_parents_first():
    """As schedulers send SIGTERM: that the workers are gone is no fault of an environment."""
    with Vector(sleep) as envs:

        def stop(*_):
            raise InterruptedError("stopped")

        def send():
            for process in (*envs.processes, multiprocessing.current_process()):
                os.kill(process.pid, signal.SIGTERM)
                time.sleep(0.02)

        before = signal.signal(signal.SIGTERM, stop)
        try:
            threading.Timer(0.2, send).start()
            with pytest.raises(InterruptedError):
                play(envs)
        finally:
            signal.signal(signal.SIGTERM, before)


# ------------------------------------------------------------------------------------------------------ the parent dies

PARENT = """
import ctypes, os, sys, threading, time
import numpy as np
from test_processes import ParallelVectorEnv, made, partial, sleep, loop

def hold():
    ctypes.PyDLL(None).sleep(1000)  # in compiled code that lets no other thread run

def main():
    vectors = [ParallelVectorEnv([partial(made(FAULT), i) for i in range(3)]) for _ in range(2)]
    with open("pids", "w") as file:
        file.writelines(f"{process.pid}\\n" for envs in vectors for process in envs.processes)
    for envs in vectors:
        envs.reset(seed=0)
    for _ in range(3):
        vectors[0].step(np.zeros(3, int))

FAULT = {fault}
{run}
"""


@pytest.mark.parametrize(
    ("fault", "run"),
    [
        ("sleep", "main()"),
        ("loop", "main()"),
        pytest.param("hold", "main()", marks=pytest.mark.skipif(sys.platform != "linux", reason="prctl")),
        ("loop", "thread = threading.Thread(target=main); thread.start(); thread.join()"),
    ],
    ids=["sleeps", "loops", "holds", "from a thread"],
)
def test_f_08_nobody_outlives_a_parent_that_is_killed(tmp_path, fault, run):
    """Two vectors, so that one's workers have copies of the other's pipes; one worker is inside a step."""
    path = os.pathsep.join([processes.PATH, os.path.dirname(__file__)])
    code = PARENT.replace("{fault}", fault).replace("{run}", run)
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=processes.environment(PYTHONPATH=path))
    processes.wait_until(lambda: processes.rows(tmp_path / "pids") == 6, parent)
    time.sleep(0.4)
    pids = [int(line) for line in (tmp_path / "pids").read_text().split()]
    assert all(map(alive, pids)) and parent.poll() is None
    parent.kill()
    parent.wait()
    end = time.monotonic() + CLOSED
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.01)
    left = [pid for pid in pids if alive(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def alive(pid):
    """And no zombie: whoever inherits orphans need not look after them."""
    if not sys.platform.startswith("linux"):
        return exists(pid)
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_f_08_a_thread_that_ends_takes_no_worker_with_it():
    """The system counts the end of the thread that has started a process as the end of its parent."""
    there = []
    thread = threading.Thread(target=lambda: there.append(Vector()))
    thread.start()
    thread.join()
    with there[0] as envs:
        time.sleep(0.7)
        assert play(envs)[1].tolist() == [0, 0, 0]


def test_f_08_a_fork_of_the_parent_ends_nobody():
    """Its copy of the vector is not closed with it."""
    with Vector() as envs:
        child = os.fork()
        if child == 0:
            envs.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert play(envs)[1].tolist() == [0, 0, 0]


# ------------------------------------------------------------------------------------------ and when nothing goes wrong

SPACES = {
    "box": spaces.Box(-1, 1, (2, 3), np.float32),
    "bytes": spaces.Box(0, 255, (4,), np.uint8),
    "half": spaces.Box(-1, 1, (2,), np.float16),
    "number": spaces.Discrete(5, start=2),
    "several": spaces.MultiDiscrete([3, 4]),
    "flags": spaces.MultiBinary(3),
    "dict": spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": spaces.Tuple((spaces.Discrete(3), spaces.MultiBinary(2)))}),
    "text": spaces.Text(4),
    "list": spaces.Tuple((spaces.Sequence(spaces.Discrete(3)), spaces.Box(-1, 1, (2,)))),
}


class Sees(gymnasium.Env):
    """Observations of a space and infos of every kind; episodes of 4 steps and more."""

    action_space = spaces.Box(-1, 1, (2,))

    def __init__(self, space, index):
        self.observation_space, self.index, self.t = space, index, 0

    def info(self):
        return {"t": self.t, "nested": {"x": np.arange(3) * self.t}, "name": str(self.t), f"own{self.index}": 1.5}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.t = (options or {}).get("t", 0)
        return self.observation_space.sample(), self.info()

    def step(self, action):
        self.t += 1
        return self.observation_space.sample(), action.sum(), self.t > 3 + self.index, self.t == 6, self.info()


@pytest.mark.parametrize("kept", [None, (), ("t",)])
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_processes_give_what_one_after_the_other_gives(space, kept):
    """Observations, rewards, flags and infos, to the bit."""
    results = []
    for kind in (SerialVectorEnv, ParallelVectorEnv):
        wrap = Guarded if kind is ParallelVectorEnv else lambda env, index: env
        envs = kind([lambda i=i, wrap=wrap: wrap(Sees(copy.deepcopy(space), i), i) for i in range(3)])
        envs.kept = kept
        envs.action_space.seed(0)
        seen = [copy.deepcopy(envs.reset(seed=[3, 1, 4])), copy.deepcopy(envs.reset(options={"t": 2}))]
        mask = np.array([True, False, True])
        seen.append(copy.deepcopy(envs.reset(seed=7, options={"reset_mask": mask, "t": 1})))
        seen += [copy.deepcopy(envs.step(envs.action_space.sample())) for _ in range(9)]
        assert kept == envs.kept and envs.observation_space == spaces_of(space, 3)
        envs.close()
        results.append(seen)
    same(*results)


def spaces_of(space, n):
    return gymnasium.vector.utils.batch_space(space, n)


def same(a, b):
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        a, b = list(a.values()), [b[key] for key in a]
    if isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif isinstance(a, np.ndarray) and a.dtype == object:
        assert a.shape == b.shape
        for x, y in zip(a.ravel(), b.ravel(), strict=True):
            same(x, y)
    elif isinstance(a, np.ndarray):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    else:
        assert a == b
