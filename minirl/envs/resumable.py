"""Environments that can be brought back to where they were, also in another process.

Native ones save their state. All others are played again: an episode is what its reset began from, a seed or the
environment's generator as it was, and the actions since; an environment that draws from its generator alone comes to
the same place, to the last bit. Whoever restores compares what is seen then with what was seen before.
"""

from abc import ABC, abstractmethod
from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers import NormalizeObservation, NormalizeReward

from minirl.errors import EnvError
from minirl.files.tree import check_like
from minirl.numerics import random_streams

LONGEST = 100_000  # steps of an episode that are remembered
ALONE = ""  # in place of an agent's name, where there is one


class Resumable(ABC):
    """A vector of environments that knows where it is.

    repeats: whether an episode that is played again comes to the same place, as far as anybody has tried.
    paid: after `restore`, the rewards of the episodes that were played again, each summed in order; None without any.
    """

    repeats = True
    paid: np.ndarray | None = None

    @abstractmethod
    def snapshot(self) -> dict[str, Any] | None:
        """Where the environments are, as a tree of arrays and JSON scalars, copied; None where that cannot be said."""

    @abstractmethod
    def restore(self, tree: dict[str, Any]) -> Any:
        """Back to a snapshot of as many environments of the same kind -> what is seen there, None where unknown.

        EnvError where they do not come back. Who has seen them before compares.
        """

    def record(self) -> None:  # noqa: B027  native ones need not
        """From the next reset on, remember what `snapshot` needs."""

    def forget(self) -> None:  # noqa: B027
        """What was learned from need not be remembered, but for the episodes that go on."""


def beginning(env: Any, seed: int | None) -> dict[str, Any] | None:
    """What the next reset of an environment begins from; None where it has no generator that can be saved."""
    if remembers(env):
        return None
    if seed is not None:
        return {"seed": int(seed)}
    rng = getattr(getattr(env, "unwrapped", env), "np_random", None)
    if isinstance(rng, np.random.Generator) and isinstance(rng.bit_generator, np.random.PCG64):
        return {"rng": random_streams.get_state(rng)}
    return None


def remembers(env: Any) -> bool:
    """Whether a wrapper keeps statistics from one episode to the next, which playing one again does not bring back."""
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, NormalizeObservation | NormalizeReward):
            return True
        env = env.env
    return False


def begin(env: Any, how: dict[str, Any]) -> Any:
    """Reset an environment as it was reset before -> what its reset returns."""
    if "seed" in how:
        return env.reset(seed=how["seed"])
    getattr(env, "unwrapped", env).np_random = random_streams.from_state(how["rng"])
    return env.reset()


def replayed(env: Any, how: dict[str, Any], actions: list[Any]) -> tuple[Any, dict[str, Any], float]:
    """Play an episode again -> the last observation and info, the sum of rewards; EnvError where it ends on the way."""
    obs, info = begin(env, how)
    paid = 0.0
    for action in actions:
        obs, reward, terminated, truncated, info = env.step(action)
        paid += float(reward)
        if terminated or truncated:
            raise EnvError("an episode that was going on ended when it was played again")
    return obs, info, paid


class EpisodeLog:
    """How the episodes of B environments began, and the actions that all of them have taken since the oldest of these.

    Actions are an array (B, …), or a dict of arrays by agent: always of the same form.
    """

    def __init__(self, num_envs: int):
        self.begun: list[dict[str, Any] | None] = [None] * num_envs
        self.at = np.zeros(num_envs, np.int64)  # steps taken before each episode
        self.taken = 0  # steps so far
        self._actions: dict[str, np.ndarray] = {}  # (room, B, …) by agent, of which rows start … end are in use
        self._alone: np.ndarray | None = None  # the only one of them, where there are no agents
        self._start = self._end = self._room = 0

    def began(self, env: int, how: dict[str, Any] | None) -> None:
        """An environment has been reset."""
        self.begun[env], self.at[env] = how, self.taken

    def acted(self, actions: Any) -> None:
        """A step of all of them."""
        if self._end == self._room:
            self._make_room(actions if isinstance(actions, dict) else {ALONE: actions})
        if self._alone is not None:
            self._alone[self._end] = actions
        else:
            for name, value in actions.items():
                self._actions[name][self._end] = value
        self._end += 1
        self.taken += 1

    def _make_room(self, like: dict[str, Any]) -> None:
        """Room for as many actions again, or a few."""
        n = self._end - self._start
        self._room = max(64, 2 * n)
        room = {k: np.empty((self._room, *np.shape(v)), np.asarray(v).dtype) for k, v in like.items()}
        for name, old in self._actions.items():
            room[name][:n] = old[self._start : self._end]
        self._actions, self._alone, self._start, self._end = room, room.get(ALONE), 0, n

    def forget(self) -> None:
        """Drop what came before the episodes that go on, and the whole of episodes that are too long."""
        if self.taken - int(self.at.min()) > LONGEST:
            self.begun = [
                None if self.taken - at > LONGEST else how for how, at in zip(self.begun, self.at, strict=True)
            ]
        remembered = [int(at) for how, at in zip(self.begun, self.at, strict=True) if how is not None]
        self._start = self._end - (self.taken - min(remembered, default=self.taken))

    def tree(self) -> dict[str, Any] | None:
        """All of it; None where the beginning of an episode is not known."""
        self.forget()
        if None in self.begun:
            return None
        actions: Any = {name: x[self._start : self._end].copy() for name, x in self._actions.items()}
        actions = actions.get(ALONE, actions) if self._end > self._start else None
        return {"begun": list(self.begun), "at": self.at.copy(), "taken": self.taken, "actions": actions}

    def take(self, tree: dict[str, Any]) -> None:
        """Back to a tree; EnvError where it is of another number of environments."""
        if len(tree["begun"]) != len(self.begun):
            raise EnvError(f"a snapshot of {len(tree['begun'])} environments: these are {len(self.begun)}")
        check_like(tree["at"], self.at, "envs.at")
        check_like(tree["taken"], 0, "envs.taken")
        actions = {} if tree["actions"] is None else tree["actions"]
        actions = actions if isinstance(actions, dict) else {ALONE: actions}
        lengths = {len(x) if isinstance(x, np.ndarray) and x.ndim > 1 else -1 for x in actions.values()} or {0}
        oldest = tree["taken"] - min(lengths)
        if len(lengths) > 1 or (tree["at"] < max(oldest, 0)).any() or (tree["at"] > tree["taken"]).any():
            raise EnvError("a snapshot whose actions do not reach back to the beginning of each episode")
        self.begun, self.at, self.taken = list(tree["begun"]), tree["at"].copy(), int(tree["taken"])
        self._actions = {name: x.copy() for name, x in actions.items()}
        self._start, self._end = 0, len(next(iter(actions.values()), ()))
        self._room = self._end

    def of(self, env: int) -> tuple[dict[str, Any], list[Any]]:
        """How this environment's episode began, and its actions since."""
        how = self.begun[env]
        assert how is not None
        since = slice(self._end - (self.taken - int(self.at[env])), self._end)
        by_agent = {name: list(x[since, env]) for name, x in self._actions.items()}
        if ALONE in by_agent:
            return how, by_agent[ALONE]
        return how, [dict(zip(by_agent, each, strict=True)) for each in zip(*by_agent.values(), strict=True)]
