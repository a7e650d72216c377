"""Tic-tac-toe to the end: every position, its value, the perfect moves, and how often a policy loses to them.

A policy is a function (obs (N, D), legal (N, K) bool) -> probabilities (N, K): asked about many positions at once.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple, TypeAlias

import numpy as np

from minirl.errors import ConfigError
from minirl.numerics.arrays import Array

GamePolicy: TypeAlias = Callable[[Array, Array], Array]

LINES = np.array([(0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6)])
POWERS = 3 ** np.arange(9)  # a position's cells are the digits of its code


class Positions(NamedTuple):
    """All N = 5478 positions of tic-tac-toe that can be reached, by the number of stones in them."""

    place: Array  # (3⁹,): where a position stands below, by its cells as digits in base 3
    cells: Array  # (N, 9): 0 free, 1 the first player's, 2 the second's
    mover: Array  # (N,): 0 or 1, who is to move
    winner: Array  # (N,): 1 for the first player, −1 for the second, 0 for neither (yet)
    legal: Array  # (N, 9) bool; none where the game is over
    after: Array  # (N, 9): the position that a move leads to; the last one where it is not legal
    value: Array  # (N,): 1, 0 or −1 to the first player when both play perfectly
    perfect: Array  # (N, 9) bool: the moves that keep the value


@cache
def tic_tac_toe() -> Positions:
    """Every position: forward from the empty board, then values backward from the ends."""
    codes = [np.zeros(1, int)]
    for stones in range(9):
        *_, legal = opened(codes[-1])
        codes.append(np.unique((codes[-1][:, None] + (stones % 2 + 1) * POWERS)[legal]))
    code = np.concatenate(codes)
    cells, winner, legal = opened(code)
    mover = (cells > 0).sum(axis=1) % 2
    place = np.full(3**9, len(code) - 1)
    place[code] = np.arange(len(code))
    after = place[np.where(legal, code[:, None] + (mover[:, None] + 1) * POWERS, code[-1])]
    value, perfect = winner.copy(), np.zeros_like(legal)
    for start, end in reversed(spans(codes)):
        side = 1 - 2 * mover[start:end, None]
        worth = np.where(legal[start:end], side * value[after[start:end]], -2)
        best = worth.max(axis=1, keepdims=True)
        perfect[start:end] = legal[start:end] & (worth == best)
        value[start:end] = np.where(best[:, 0] > -2, (side * best)[:, 0], winner[start:end])
    return Positions(place, cells, mover, winner, legal, after, value, perfect)


def opened(code: Array) -> tuple[Array, Array, Array]:
    """Cells (N, 9), winner (N,) and legal moves (N, 9) of positions."""
    cells = code[:, None] // POWERS % 3
    first, second = ((cells[:, LINES] == side).all(axis=2).any(axis=1) for side in (1, 2))
    return cells, first.astype(int) - second, (cells == 0) & ~(first | second)[:, None]


def spans(parts: Sequence[Array]) -> list[tuple[int, int]]:
    """Where each part begins and ends in the line of all of them."""
    ends = np.cumsum([len(part) for part in parts])
    return [(int(end) - len(part), int(end)) for end, part in zip(ends, parts, strict=True)]


def planes(cells: Array, player: Array) -> Array:
    """What this player (N,) sees of these cells (N, 9), as the game shows it -> (N, 18) float32."""
    mine, theirs = cells == player[:, None] + 1, cells == 2 - player[:, None]
    return np.concatenate([mine, theirs], axis=1).astype(np.float32)


def perfect_moves(obs: Array, legal: Array) -> Array:
    """The policy that chooses uniformly among perfect moves, from obs (N, 18) alone -> probabilities (N, 9)."""
    mine, theirs = np.asarray(obs)[:, :9] > 0, np.asarray(obs)[:, 9:] > 0
    second = (mine.sum(axis=1) < theirs.sum(axis=1))[:, None]  # to move with fewer stones on the board
    tree = tic_tac_toe()
    place = tree.place[np.where(second, 2 * mine + theirs, mine + 2 * theirs) @ POWERS]
    return uniform(tree.perfect[place])


def uniform(moves: Array) -> Array:
    """Each of these moves (N, K) bool with the same probability -> (N, K); zeros where there are none."""
    return moves / np.maximum(moves.sum(axis=1, keepdims=True), 1)


def loss_probability(policy: GamePolicy, greedy: bool = True) -> Array:
    """P(the policy loses) as the first and as the second player -> (2,), over the whole game tree of tic-tac-toe.

    Its opponent chooses uniformly among perfect moves. greedy: the policy's most probable legal move, else drawn.
    """
    tree = tic_tac_toe()
    live = np.array(tree.legal.any(axis=1))
    pi = np.zeros(tree.legal.shape)
    pi[live] = asked(policy, planes(tree.cells, tree.mover)[live], tree.legal[live])
    if greedy:
        pi = np.where(live[:, None], np.eye(9)[np.where(tree.legal, pi, -1).argmax(axis=1)], 0.0)
    stones = (tree.cells > 0).sum(axis=1)
    loses = np.zeros((2, len(live)))
    for player, loss in enumerate(loses):
        choice = np.where((tree.mover == player)[:, None], pi, uniform(tree.perfect))
        loss[:] = tree.winner == (-1, 1)[player]
        for count in range(8, -1, -1):
            here = live & (stones == count)
            loss[here] = (choice[here] * loss[tree.after[here]]).sum(axis=1)
    return loses[:, 0]


def asked(policy: GamePolicy, obs: Array, legal: Array) -> Array:
    """A policy's probabilities of the legal moves (N, K), as float64 that sum to 1; ConfigError where they are none."""
    pi = np.where(legal, np.asarray(policy(obs, legal), np.float64), 0.0)
    total = pi.sum(axis=1, keepdims=True)
    if not ((pi >= 0).all() and (total > 0).all() and np.isfinite(total).all()):
        raise ConfigError("policy gives no probabilities of legal moves: each row has to be ≥ 0 with a sum above 0")
    return pi / total
