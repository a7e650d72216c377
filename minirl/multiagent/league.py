"""The checkpoints of a run against each other: payoff matrix, Elo ratings, and whether later ones are stronger.

    P(i beats j) = 1 / (1 + 10^((R_j − R_i) / 400)),  Σ R = 0

The ratings R are the most likely ones for the points of all pairs (Bradley & Terry, 1952). The player of step 0 is
the one that moves at random, whom the learner meets before there is a checkpoint.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minirl.deploy import policy_file
from minirl.deploy.agent import Agent
from minirl.errors import ConfigError, FileError
from minirl.multiagent.game_evaluation import Mover, at_random, of_agent, play_games
from minirl.multiagent.opponent_pool import SCALE, Pool
from minirl.numerics.arrays import Array

FOLDER = "league"  # in a run directory: STEP.safetensors for each checkpoint of the pool
ENDING = ".safetensors"


def save(directory: Path, pool: Pool, algorithm: str, env: str, said: dict[str, Any]) -> None:
    """Write the checkpoints of the pool that are not there yet, and remove those that have left it."""
    folder = directory / FOLDER
    folder.mkdir(exist_ok=True)
    wanted = {folder / f"{member.step}{ENDING}": member.agent for member in pool.members if member.step}
    for path in set(folder.glob(f"*{ENDING}")) - set(wanted):
        path.unlink(missing_ok=True)
    for path, agent in wanted.items():
        if not path.exists():
            assert isinstance(agent, Agent)  # who has a step
            policy_file.save(path, agent, algorithm, env, said, sync=False)  # many, and all in the run's checkpoints


def load(run: Path | str, most: int | None = None) -> tuple[dict[int, Agent], str]:
    """The checkpoints of a run by their step, from old to new, and the id of the game; at most `most`, evenly spaced.

    FileError where there are none.
    """
    folder = Path(run) / FOLDER
    paths = {int(path.stem): path for path in folder.glob(f"*{ENDING}") if path.stem.isdecimal()}
    if not paths:
        raise FileError(f"{folder} holds no checkpoints: takes the run directory of `minirl train selfplay`")
    steps = sorted(paths)
    if most is not None and len(steps) > most:
        steps = [steps[i] for i in np.linspace(0, len(steps) - 1, most).round().astype(int)]
    loaded = {step: policy_file.load(paths[step]) for step in steps}
    return {step: agent for step, (agent, _) in loaded.items()}, loaded[steps[-1]][1]["env"]


def probabilities(agent: Agent) -> Callable[[Array, Array], Array]:
    """An agent as minirl.theory.games takes one: observations (N, D), legal moves (N, K) -> probabilities (N, K)."""

    def policy(obs: Array, legal: Array) -> Array:
        phi = np.where(legal, agent.phi(obs, legal).astype(np.float64), -np.inf)
        weight = np.exp(phi - phi.max(axis=1, keepdims=True))
        return weight / weight.sum(axis=1, keepdims=True)

    return policy


@dataclass(frozen=True)
class Tournament:
    """Everybody against everybody: M players from old to new."""

    env: str
    steps: Array  # (M,) int: when each was taken; 0 moves at random
    payoff: Array  # (M, M): mean payoff of the row's player against the column's; antisymmetric
    points: Array  # (M, M): the row's player's share of the points, 1 for a win and ½ for a draw; ½ on the diagonal
    games: int  # of each pair, half of them on each side
    elo: Array  # (M,), with sum zero

    @property
    def rank_correlation(self) -> float:
        """Spearman's correlation of age and Elo: 1 where every checkpoint is stronger than all before it."""
        return spearman(self.steps, self.elo)

    def lines(self) -> list[str]:
        """A table: step, Elo, mean payoff against the others, and against the newest."""
        others = max(len(self.steps) - 1, 1)
        rows = [f"{'step':>12s} {'Elo':>7s} {'payoff':>7s} {'against newest':>15s}"]
        for step, elo, payoff in zip(self.steps, self.elo, self.payoff, strict=True):
            rows.append(f"{step or 'random':>12} {elo:7.0f} {payoff.sum() / others:7.2f} {payoff[-1]:15.2f}")
        games = f"{self.games} games of each pair"
        return [*rows, f"{games}, rank correlation of step and Elo {self.rank_correlation:.3f}"]


def tournament(run: Path | str, games: int = 100, checkpoints: int = 20, seed: int = 0) -> Tournament:
    """The checkpoints of a run and a random player, each pair over so many games, moves drawn as in training."""
    if games < 2 or checkpoints < 1:
        raise ConfigError(f"games = {games}, checkpoints = {checkpoints}: takes games >= 2 and checkpoints >= 1")
    agents, env = load(run, checkpoints)
    movers: list[Mover] = [at_random, *(of_agent(agent, stochastic=True) for agent in agents.values())]
    M = len(movers)
    payoff, points = np.zeros((M, M)), np.full((M, M), 0.5)
    for i in range(M):
        for j in range(i):
            result, _ = play_games(env, movers[i], movers[j], games, seed=seed * M * M + i * M + j)
            payoff[i, j], points[i, j] = result.mean(), (np.sign(result) + 1).mean() / 2
            payoff[j, i], points[j, i] = -payoff[i, j], 1 - points[i, j]
    return Tournament(env, np.array([0, *agents]), payoff, points, games, elo(points * games, games))


def elo(points: Array, games: float) -> Array:
    """The most likely ratings (M,), sum zero, for points (M, M) out of so many games of each pair.

    Each pair is given one draw more, so that one who won every game has a finite rating. Newton's method on the
    log-likelihood, which is concave; steps are halved where they overshoot.
    """
    M, unit = len(points), np.log(10) / SCALE
    points, games = points + 0.5, games + 1.0
    apart = ~np.eye(M, dtype=bool)

    def likelihood(r: Array) -> float:
        return float(-(np.logaddexp(0, r[None] - r[:, None]) * points)[apart].sum())

    rating = np.zeros(M)
    for _ in range(100):
        p = 1 / (1 + np.exp(rating[None] - rating[:, None]))  # (M, M): P(row beats column)
        gradient = ((points - games * p) * apart).sum(axis=1)
        if np.abs(gradient).max() < 1e-9 * games:
            break
        weight = games * p * (1 - p) * apart
        step = np.linalg.solve(np.diag(weight.sum(axis=1)) - weight + 1.0, gradient)  # the 1s hold the sum at zero
        while likelihood(rating + step) < likelihood(rating) and np.abs(step).max() > 1e-12:
            step = step / 2
        rating = rating + step
    return (rating - rating.mean()) / unit


def ranks(x: Array) -> Array:
    """Ranks (N,) from 0; those of equal values are their mean."""
    return ((x[:, None] > x).sum(axis=1) + (x[:, None] >= x).sum(axis=1) - 1) / 2


def spearman(x: Array, y: Array) -> float:
    """Rank correlation of x and y (N,), in [−1, 1]; NaN where either is constant."""
    a, b = (ranks(np.asarray(each)) - (len(each) - 1) / 2 for each in (x, y))
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 0 else float("nan")
