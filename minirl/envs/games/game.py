"""What a two-player game is: B boards side by side, moves for all of them at once; and what the native ones share."""

import copy
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np

from minirl.errors import EnvError, UserError
from minirl.numerics.arrays import Array


@runtime_checkable
class Game(Protocol):
    """A zero-sum game of two players, 0 and 1, on B boards, each of them over until its first `reset`.

    A move replaces the arrays below instead of writing to them: whoever keeps one keeps what it was.
    """

    num_boards: int  # B
    num_actions: int  # K
    obs_dim: int  # D
    simultaneous: bool  # both players move at once, and neither sees the other's move
    to_move: Array  # (B,) int: 0 or 1; 0 where simultaneous
    over: Array  # (B,) bool
    payoff: Array  # (B, 2) float64: to each player, summing to 0, once a board is over; 0 before

    def reset(self, boards: Array, rng: np.random.Generator) -> None:
        """Start the games of these boards (B,) bool again; cards and other chance come from `rng`."""

    def observe(self, player: Array) -> Array:
        """What this player (B,) of each board sees -> (B, D) float32 in [0, 1], mine before theirs."""

    def legal(self, player: Array) -> Array:
        """The moves that this player (B,) of each board can make -> (B, K) bool; all where it has none to make."""

    def play(self, action: Array) -> None:
        """Moves (B,) of the players to move, (B, 2) of both where simultaneous; boards that are over ignore theirs.

        Raises UserError for a move that is not legal, before anything is moved.
        """

    def text(self, board: int, player: int) -> str:
        """One board as this player sees it, drawn for a terminal."""

    def action_name(self, action: int) -> str:
        """An action in words."""

    def copy(self) -> Self:
        """The same position on every board, sharing no memory."""

    def snapshot(self) -> dict[str, Any]:
        """The positions as a tree of arrays and JSON scalars, copied."""

    def restore(self, tree: dict[str, Any]) -> None:
        """Back to a snapshot of as many boards."""


CONSTANT = ("index", "cells")  # arrays of a game that no move changes


class Boards:
    """What the native games share: who is to move, which boards are over, who gets what."""

    num_actions: int
    names: tuple[str, ...]  # of the actions
    simultaneous = False

    def __init__(self, num_boards: int):
        self.num_boards = num_boards
        self.index = np.arange(num_boards)
        self.to_move = np.zeros(num_boards, int)
        self.over = np.ones(num_boards, bool)
        self.payoff = np.zeros((num_boards, 2))

    def start(self, boards: Array) -> None:
        """The games of these boards (B,) bool are not over, and player 0 is to move."""
        self.to_move = np.where(boards, 0, self.to_move)
        self.over = self.over & ~boards
        self.payoff = np.where(boards[:, None], 0.0, self.payoff)

    def none_to_make(self, player: Array) -> Array:
        """Boards (B,) bool where this player has no move to make."""
        return self.over | (self.to_move != player)

    def end(self, boards: Array, first: Array) -> None:
        """The games of these boards (B,) bool are over, with this payoff (B,) to player 0."""
        self.over = self.over | boards
        self.payoff = np.where(boards[:, None], np.stack([first, 0.0 - first], axis=1), self.payoff)

    def action_name(self, action: int) -> str:
        """An action in words."""
        return self.names[action]

    def copy(self) -> Self:
        """The same position on every board, sharing no memory."""
        other = copy.copy(self)
        for name, value in vars(self).items():
            setattr(other, name, value.copy() if isinstance(value, np.ndarray) else value)
        return other

    def snapshot(self) -> dict[str, Any]:
        """The positions: every array that moves change, copied."""
        arrays = {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return {name: value.copy() for name, value in arrays.items() if name not in CONSTANT}

    def restore(self, tree: dict[str, Any]) -> None:
        """Back to a snapshot of as many boards; EnvError for others."""
        mine = self.snapshot()
        for name, value in mine.items():
            if name not in tree or tree[name].shape != value.shape or tree[name].dtype != value.dtype:
                raise EnvError(f"a snapshot with another {name} than {value.dtype} {value.shape}: of another game")
        for name in mine:
            setattr(self, name, tree[name].copy())


def live_moves(game: Game, action: Array) -> Array:
    """The moves as given, 0 on boards that are over; UserError for one that is not legal or for the wrong shape."""
    action, shape = np.asarray(action), (game.num_boards, 2) if game.simultaneous else (game.num_boards,)
    if action.shape != shape or not np.issubdtype(action.dtype, np.integer):
        said = f"of shape {action.shape} and type {action.dtype}"
        raise UserError(f"actions {said} cannot be played: give integers of shape {shape}, a move per board")
    live = ~game.over
    moves = np.where(live[:, None], action.reshape(game.num_boards, -1).astype(np.int64), 0)
    known = (moves >= 0) & (moves < game.num_actions)
    for column in range(moves.shape[1]):
        player = np.full(game.num_boards, column) if game.simultaneous else game.to_move
        legal = game.legal(player)
        allowed = known[:, column] & legal[np.arange(game.num_boards), np.where(known, moves, 0)[:, column]]
        if not allowed.all():
            board = int(np.argmin(allowed))
            refuse(game, (board, int(player[board]), int(moves[board, column])), legal[board])
    return moves.reshape(shape)


def refuse(game: Game, what: tuple[int, int, int], legal: Array) -> None:
    """UserError for an illegal move: (board, player, action), with the moves that are legal (K,) bool there."""
    board, player, action = what
    name = f" ({game.action_name(action)})" if 0 <= action < game.num_actions else ""
    others = ", ".join(map(str, np.flatnonzero(legal)))
    raise UserError(f"action = {action}{name} of player {player} on board {board} is illegal: play one of {others}")


def drawn(sides: Array) -> str:
    """Cells (rows, columns) for a terminal: `.` where 0, X the first player's 1, O the second's 2."""
    return "\n".join(" ".join(".XO"[side] for side in row) for row in sides)
