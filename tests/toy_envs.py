"""Small environments whose transitions are known, and environments that break the rules:
real gymnasium ones, registered by `register()`.

    Counting   step t of episode e is observed as 10 e + t: every observation names its place
    Drift      a noisy walk that listens to its actions and ends at random, in both ways
    Match      shows what to do: the reward is the share of the action's entries that equal it
    Narrow     allows some of its actions, other ones in each step, and does not put up with the rest
    Wrong      returns one thing of a wrong type or shape

`vector` steps a row of them together, `learner` trains on them with networks small enough for a test.
"""

import dataclasses
import itertools

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from minirl import algorithms
from minirl.training.learner import Learner

MODES = tuple(AutoresetMode)
ALGORITHMS = tuple(algorithms.ALGORITHMS)


class Counting(gymnasium.Env):
    """Episode e = 1, 2, … observes 10 e, 10 e + 1, …; nothing in it is random.

    lengths, ends, rewards: cycled through, the first two by episode, rewards by step over all episodes; no lengths: it
        never ends.
    alias: the observation is one array, changed in place.
    fault = (what, step, value): `what` ("reward" or "obs") is `value` in that step, counted from 1 over all episodes
        (0: the first reset); the observation after a later reset is never wrong.
    """

    def __init__(self, lengths=(3,), ends=("terminated",), rewards=(1.0,), alias=False, fault=None, dim=1, actions=2):
        self.observation_space = spaces.Box(-np.inf, np.inf, (dim,), np.float64)
        self.action_space = spaces.Discrete(actions) if isinstance(actions, int) else actions
        self.lengths, self.ends, self.rewards = lengths, ends, rewards
        self.alias, self.fault = alias, fault
        self.state = np.zeros(dim)
        self.episode = self.steps = self.t = 0

    def _observe(self):
        self.state[:] = 10 * self.episode + self.t
        if self.fault and self.fault[:2] == ("obs", self.steps) and (self.t or not self.steps):
            self.state[-1] = self.fault[2]
        return self.state if self.alias else self.state.copy()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.t = self.episode + 1, 0
        return self._observe(), {}

    def step(self, action):
        reward = self.rewards[self.steps % len(self.rewards)]
        self.steps, self.t = self.steps + 1, self.t + 1
        if self.fault and self.fault[:2] == ("reward", self.steps):
            reward = self.fault[2]
        over = bool(self.lengths) and self.t == self.lengths[(self.episode - 1) % len(self.lengths)]
        end = self.ends[(self.episode - 1) % len(self.ends)] if over else ""
        return self._observe(), reward, end in ("terminated", "both"), end in ("truncated", "both"), {}


class Image(Counting):
    """Counting, observed as an image of bytes (4, 3, 2) that holds the number in each pixel."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.observation_space = spaces.Box(0, 255, (4, 3, 2), np.uint8)

    def _observe(self):
        return np.full((4, 3, 2), (10 * self.episode + self.t) % 256, np.uint8)


class Drift(gymnasium.Env):
    """s' = 0.8 s + 0.1 a + noise in 3 dimensions, from a random start;
    each step ends the episode with probability `p`, in either way.

    mutate: writes into the action it was given.  alias: writes into the observation it returned.
    `received`: the actions, as they came.
    """

    def __init__(self, actions=3, p=0.2, mutate=False, alias=False, dtype=np.float32):
        self.observation_space = spaces.Box(-np.inf, np.inf, (3,), dtype)
        self.action_space = spaces.Discrete(actions) if isinstance(actions, int) else actions
        self.p, self.mutate, self.alias = p, mutate, alias
        self.state, self.received = np.zeros(3, dtype), []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state[:] = self.np_random.standard_normal(3)
        return (self.state if self.alias else self.state.copy()), {}

    def step(self, action):
        self.received.append(np.array(action))
        self.state *= 0.8
        self.state += 0.1 * np.mean(action) + 0.3 * self.np_random.standard_normal(3)
        terminated, truncated = self.np_random.random(2) < self.p / 2
        if self.mutate:
            action *= 0
        return (
            (self.state if self.alias else self.state.copy()),
            float(self.state.sum()),
            bool(terminated),
            bool(truncated),
            {},
        )


class Match(gymnasium.Env):
    """Observes an action of its own action space, wrapped as `observe` says;
    1 for doing the same, less for each entry that differs.
    """

    def __init__(self, actions, observe=lambda x: x, space=None):
        self.action_space, self.observe = actions, observe
        self.observation_space = space or actions
        self.t = 0

    def _draw(self):
        self.target = self.action_space.dtype.type(self.np_random.integers(self._low(), self._high(), endpoint=True))
        return self.observe(self.target)

    def _low(self):
        return getattr(self.action_space, "start", np.zeros(self.action_space.shape, int))

    def _high(self):
        counts = getattr(self.action_space, "nvec", getattr(self.action_space, "n", 2))
        return self._low() + (1 if isinstance(self.action_space, spaces.MultiBinary) else np.asarray(counts) - 1)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._draw(), {}

    def step(self, action):
        assert self.action_space.contains(action), f"{action!r} of type {action.dtype} is not in {self.action_space}"
        reward = float(np.mean(action == self.target))
        self.t += 1
        return self._draw(), reward, self.t == 8, False, {}


class Narrow(gymnasium.Env):
    """K actions of which a random half is allowed, as info["action_mask"] says; the others raise.

    The reward is the action's number.

    actions: K, or a MultiDiscrete, whose masks stand side by side. Episodes end after 3, 4, 5, 3, … steps with a mask
    that allows nothing. stuck: the step, counted over all episodes, after which nothing is allowed although the
    episode goes on.
    """

    def __init__(self, actions=5, stuck=None):
        self.action_space = spaces.Discrete(actions) if isinstance(actions, int) else actions
        self.observation_space = spaces.Box(0, 1, (4,), np.float64)
        self.counts = [actions] if isinstance(actions, int) else actions.nvec.tolist()
        self.episode = self.steps = self.t = 0
        self.stuck = stuck

    def _info(self, none=False):
        parts = [self.np_random.random(k) < 0.5 for k in self.counts]
        for part in parts:
            part[self.np_random.integers(len(part))] = True
        self.mask = np.concatenate(parts).astype(np.int8) * (0 if none else 1)
        return {"action_mask": self.mask.copy()}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.t = self.episode + 1, 0
        return self.np_random.random(4), self._info()

    def step(self, action):
        at = 0
        for a, k in zip(np.ravel(action), self.counts, strict=True):
            assert self.mask[at + a], f"action {action} with mask {self.mask}"
            at += k
        self.steps, self.t = self.steps + 1, self.t + 1
        over = self.t == 3 + self.episode % 3
        info = self._info(none=over or self.steps == self.stuck)
        return self.np_random.random(4), float(np.sum(action)), over, False, info


class Wrong(Counting):
    """A Counting environment whose step returns `value` for `what`:
    obs, reward, terminated, truncated, info, or the whole tuple.
    """

    PLACES = ("obs", "reward", "terminated", "truncated", "info")

    def __init__(self, what, value, **kwargs):
        super().__init__(**kwargs)
        self.what, self.value = what, value

    def step(self, action):
        result = list(super().step(action))
        if self.what == "tuple":
            return tuple(result[: self.value])
        result[self.PLACES.index(self.what)] = self.value
        return tuple(result)


def register():
    """Make the ids below known to gymnasium (again, if a test took them away)."""
    symmetric = spaces.Box(-0.1, 0.1, (2,), np.float64)
    for name, entry_point, limit, kwargs in (
        ("Counting", Counting, None, {}),
        ("Limited", Counting, 5, {"lengths": ()}),  # nothing but gymnasium's TimeLimit ends it
        ("LimitedTogether", Counting, 3, {"lengths": (3,)}),  # the limit and the natural end coincide
        ("Endless", Counting, None, {"lengths": ()}),
        ("Drift", Drift, None, {}),
        ("DriftBox", Drift, None, {"actions": symmetric}),
        ("Narrow", Narrow, None, {}),
        ("Wrong", Wrong, None, {}),
    ):
        if f"minirl-test/{name}-v0" not in gymnasium.registry:
            gymnasium.register(
                f"minirl-test/{name}-v0", entry_point, max_episode_steps=limit, kwargs=kwargs, disable_env_checker=True
            )


def vector(cls, *kwargs, mode=AutoresetMode.SAME_STEP):
    """A SyncVectorEnv of one `cls` per dict of keyword arguments; `.envs[i]` are the environments themselves."""
    return SyncVectorEnv([lambda k=k: cls(**k) for k in kwargs], autoreset_mode=mode)


def config(algorithm, envs, **changes):
    """A configuration that fits `envs` and takes milliseconds:
    7 steps, one hidden layer of 5, float64, rewards as they are.
    """
    kind = algorithms.find(algorithm).config
    small = {
        "num_envs": envs.num_envs,
        "num_steps": 7,
        "hidden": (5,),
        "dtype": "float64",
        "minibatch_size": 5,
        "normalize_reward": False,
    }
    passes = {"epochs": 2, "critic_epochs": 2, "cg_iters": 4}
    known = {field.name for field in dataclasses.fields(kind)}
    return kind(**(small | {k: v for k, v in passes.items() if k in known} | {"total_timesteps": 10**9} | changes))


def learner(algorithm, envs, **changes):
    """A Learner on `envs` with `config`; it does not end by itself unless `total_timesteps` is given."""
    return Learner(algorithms.find(algorithm), envs, config(algorithm, envs, **changes))


def run(algorithm, envs, updates, **changes):
    """Train for some updates, close: -> the learner and its updates."""
    trained = learner(algorithm, envs, **changes)
    done = list(itertools.islice(trained, updates))
    envs.close()
    return trained, done
