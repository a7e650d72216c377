"""Environments that can be brought back to where they were, also in another process.

Native ones save their state. All others are played again: an episode is what its reset began from, a seed or the
environment's generator as it was, and the actions since; an environment that draws from its generator alone comes to
the same place, to the last bit. Whoever restores compares what is seen then with what was seen before.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from minirl.errors import EnvError
from minirl.numerics import random_streams

LONGEST = 100_000  # steps of an episode that are remembered


class Resumable(ABC):
    """A vector of environments that knows where it is.

    repeats: whether an episode that is played again comes to the same place, as far as anybody has tried.
    """

    repeats = True

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
    if seed is not None:
        return {"seed": int(seed)}
    rng = getattr(getattr(env, "unwrapped", env), "np_random", None)
    if isinstance(rng, np.random.Generator) and isinstance(rng.bit_generator, np.random.PCG64):
        return {"rng": random_streams.get_state(rng)}
    return None


def begin(env: Any, how: dict[str, Any]) -> Any:
    """Reset an environment as it was reset before -> what its reset returns."""
    if "seed" in how:
        return env.reset(seed=how["seed"])
    getattr(env, "unwrapped", env).np_random = random_streams.from_state(how["rng"])
    return env.reset()


def replayed(env: Any, how: dict[str, Any], actions: list[Any]) -> tuple[Any, dict[str, Any]]:
    """Play an episode again -> the last observation and info; EnvError where it ends on the way."""
    obs, info = begin(env, how)
    for action in actions:
        obs, _, terminated, truncated, info = env.step(action)
        if terminated or truncated:
            raise EnvError("an episode that was going on ended when it was played again")
    return obs, info


class EpisodeLog:
    """How the episodes of B environments began, and the actions that all of them have taken since the oldest of these.

    Actions are an array (B, …), or a dict of arrays by agent.
    """

    def __init__(self, num_envs: int):
        self.begun: list[dict[str, Any] | None] = [None] * num_envs
        self.at = np.zeros(num_envs, np.int64)  # steps taken before each episode
        self.actions: list[Any] = []
        self.taken = 0  # steps so far

    def began(self, env: int, how: dict[str, Any] | None) -> None:
        """An environment has been reset."""
        self.begun[env], self.at[env] = how, self.taken

    def acted(self, actions: Any) -> None:
        """A step of all of them."""
        each = isinstance(actions, dict)
        self.actions.append({k: np.array(v) for k, v in actions.items()} if each else np.array(actions))
        self.taken += 1

    def forget(self) -> None:
        """Drop what came before the episodes that go on, and the whole of episodes that are too long."""
        first = self.taken - len(self.actions)
        if self.taken - int(self.at.min()) > LONGEST:
            self.begun = [
                None if self.taken - at > LONGEST else how for how, at in zip(self.begun, self.at, strict=True)
            ]
        remembered = [int(at) for how, at in zip(self.begun, self.at, strict=True) if how is not None]
        del self.actions[: min(remembered, default=self.taken) - first]

    def tree(self) -> dict[str, Any] | None:
        """All of it; None where the beginning of an episode is not known."""
        self.forget()
        if None in self.begun:
            return None
        return {"begun": list(self.begun), "at": self.at.copy(), "taken": self.taken, "actions": _stacked(self.actions)}

    def take(self, tree: dict[str, Any]) -> None:
        """Back to a tree; EnvError where it is of another number of environments."""
        if len(tree["begun"]) != len(self.begun):
            raise EnvError(f"a snapshot of {len(tree['begun'])} environments: these are {len(self.begun)}")
        self.begun, self.at, self.taken = list(tree["begun"]), tree["at"].copy(), int(tree["taken"])
        self.actions = _rows(tree["actions"])

    def of(self, env: int) -> tuple[dict[str, Any], list[Any]]:
        """How this environment's episode began, and its actions since."""
        how, first = self.begun[env], self.taken - len(self.actions)
        assert how is not None
        since = self.actions[int(self.at[env]) - first :]
        return how, [{k: v[env] for k, v in a.items()} if isinstance(a, dict) else a[env] for a in since]


def _stacked(actions: list[Any]) -> Any:
    """Steps (n) of actions (B, …) -> (n, B, …), or so by agent; None of none."""
    if not actions:
        return None
    if isinstance(actions[0], dict):
        return {name: np.array([each[name] for each in actions]) for name in actions[0]}
    return np.array(actions)


def _rows(actions: Any) -> list[Any]:
    """The list that was stacked."""
    if actions is None:
        return []
    if isinstance(actions, dict):
        return [dict(zip(actions, row, strict=True)) for row in zip(*actions.values(), strict=True)]
    return list(actions)
