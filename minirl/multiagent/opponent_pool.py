"""The pool of past selves: frozen checkpoints, who of them is played next, and how strong each is."""

import copy
import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np

from minirl.deploy.agent import Agent
from minirl.files.tree import check_like
from minirl.numerics import random_streams
from minirl.numerics.arrays import Array
from minirl.numerics.running_moments import RunningMoments

Choice = Literal["latest", "uniform", "prioritised"]
K_FACTOR = 32.0  # Elo points at stake in an update
MAX_ELO = 1e5  # in a file
SCALE = 400.0  # Elo points that make the odds ten to one


class Player(Protocol):
    """What chooses moves for a batch of positions."""

    def act_batch(self, obs: Array, rng: np.random.Generator, mask: Array) -> Array:
        """Moves (N,) for observations (N, D) and legal moves (N, K) bool."""
        ...


class RandomPlayer:
    """Every legal move is as likely: whom the learner meets before there is a checkpoint."""

    def act_batch(self, obs: Array, rng: np.random.Generator, mask: Array) -> Array:
        """Moves (N,), by a number each."""
        chosen = rng.random((len(mask), 1)) * mask.sum(axis=1, keepdims=True)
        return np.asarray((mask.cumsum(axis=1) <= chosen).sum(axis=1))


@dataclass
class Checkpoint:
    """A policy as it was, and how the learner has done against it since."""

    agent: Player  # a copy: its own parameters, its own statistics of observations
    step: int  # when it was taken
    elo: float
    games: float = 0.0
    score: float = 0.0  # of the learner: 1 for a win, ½ for a draw

    @cached_property
    def frozen(self) -> dict[str, Any] | None:
        """The agent as a tree, which nothing changes: made once."""
        return of_agent(self.agent)


class Pool:
    """Checkpoints from old to new. When there are more than `size`, every second one goes, but for the newest."""

    def __init__(self, size: int, choice: Choice, rng: np.random.Generator):
        self.size, self.choice, self.rng = size, choice, rng
        self.members = [Checkpoint(RandomPlayer(), 0, 0.0)]
        self.elo = 0.0  # of the learner

    def add(self, agent: Player, step: int) -> None:
        """Keep a copy of the policy as it is now; it begins with the learner's rating."""
        if isinstance(agent, Agent):
            agent.theta.flags.writeable = False  # snapshots hold it without copying
        self.members.append(Checkpoint(agent, step, self.elo))
        if len(self.members) > self.size:
            self.members = self.members[::-1][::2][::-1]

    def probabilities(self) -> Array:
        """How likely each checkpoint is to be the next opponent. [EXT-3]

        latest: the newest; uniform: all alike; prioritised: by (1 − p)², p the learner's score against it so far,
        which makes a curriculum of those that it cannot beat yet.
        """
        n = len(self.members)
        if self.choice == "latest":
            return np.eye(n)[-1]
        if self.choice == "uniform":
            return np.full(n, 1 / n)
        score = np.array([(m.score + 1) / (m.games + 2) for m in self.members])  # ½ before the first game
        weight = (1 - score) ** 2
        return weight / weight.sum()  # [EXT-3]

    def draw(self, games: int) -> list[Checkpoint]:
        """Opponents for so many new games. [EXT-3]"""
        drawn = self.rng.choice(len(self.members), size=games, p=self.probabilities())  # opponent ∼ earlier θ [EXT-3]
        return [self.members[i] for i in drawn]

    def record(self, opponents: list[Checkpoint], payoff: Array) -> None:
        """Results of games (M,), the learner's payoffs: ratings move by all of them at once, in any order.

        What the learner gains the opponents lose: the sum of all ratings stays.
        """
        before, changes = self.elo, []
        for each in {id(o): o for o in opponents}.values():
            scores = np.array([(np.sign(p) + 1) / 2 for o, p in zip(opponents, payoff, strict=True) if o is each])
            expected = 1 / (1 + 10 ** ((each.elo - before) / SCALE))
            change = K_FACTOR * float(scores.sum() - len(scores) * expected) / len(payoff)
            each.elo -= change
            changes.append(change)
            each.games += len(scores)
            each.score += float(scores.sum())
        self.elo = before + math.fsum(changes)  # in whatever order

    def snapshot(self, playing: list[Checkpoint]) -> dict[str, Any]:
        """Checkpoints, ratings and results as a tree of arrays and JSON scalars; θ of frozen policies is not copied.

        playing: opponents of the games that go on, of whom some may have left the pool.
        """
        members = {id(each): each for each in self.members}
        left = {id(each): each for each in playing if id(each) not in members}
        order = {each: i for i, each in enumerate([*members, *left])}
        return {
            "elo": self.elo,
            "members": [tree_of(each) for each in members.values()],
            "left": [tree_of(each) for each in left.values()],
            "playing": [order[id(each)] for each in playing],
            "rng": random_streams.get_state(self.rng),
        }

    def restore(self, tree: dict[str, Any], now: Agent) -> list[Checkpoint]:
        """Back to a snapshot, which can be used again; its policies are built as `now` is. -> who was playing"""
        check_like(tree["elo"], 0.0, "elo")
        if abs(tree["elo"]) > MAX_ELO:
            raise ValueError(f"elo cannot be {tree['elo']}")
        self.elo, self.rng = tree["elo"], random_streams.from_state(tree["rng"])
        self.members, left = ([from_tree(each, now) for each in tree[name]] for name in ("members", "left"))
        known = [*self.members, *left]
        if not all(type(i) is int and 0 <= i < len(known) for i in tree["playing"]):
            raise ValueError(f"playing has to name checkpoints 0 to {len(known) - 1}")
        return [known[i] for i in tree["playing"]]

    def tree(self) -> dict[str, Any]:
        """Ratings and results as JSON scalars, from old to new."""
        return {
            "elo": self.elo,
            "members": [{"step": m.step, "elo": m.elo, "games": m.games, "score": m.score} for m in self.members],
        }


def tree_of(member: Checkpoint) -> dict[str, Any]:
    """A checkpoint as a tree."""
    m = member
    return {"step": m.step, "elo": m.elo, "games": m.games, "score": m.score, "agent": m.frozen}


def from_tree(tree: dict[str, Any], now: Agent) -> Checkpoint:
    """The checkpoint of a tree; ValueError for one that no pool has."""
    numbers = {name: tree[name] for name in ("step", "elo", "games", "score")}
    check_like(numbers, {"step": 0, "elo": 0.0, "games": 0.0, "score": 0.0}, "member")
    if min(tree["step"], tree["games"], tree["score"]) < 0 or abs(tree["elo"]) > MAX_ELO:
        raise ValueError(f"a member cannot have {numbers}")
    if (tree["agent"] is None) != (tree["step"] == 0):
        raise ValueError("the first member alone has no policy")
    return Checkpoint(**{**tree, "agent": as_agent(tree["agent"], now)})


def of_agent(player: Player) -> dict[str, Any] | None:
    """What tells a checkpoint's policy from others; None of the random player."""
    if not isinstance(player, Agent):
        return None
    normalizer = player.normalizer
    return {"theta": player.theta, "normalizer": normalizer.moments.tree() if normalizer else None}


def as_agent(tree: dict[str, Any] | None, now: Agent) -> Player:
    """The player that `of_agent` describes."""
    if tree is None:
        return RandomPlayer()
    moments = tree["normalizer"] and RunningMoments(**copy.deepcopy(tree["normalizer"]))
    normalizer = now.normalizer and replace(now.normalizer, moments=moments)
    check_like(tree["theta"], now.theta, "theta")
    theta = tree["theta"].copy()
    theta.flags.writeable = False
    return replace(now, theta=theta, normalizer=normalizer)
