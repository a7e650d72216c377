"""Games of stones on a grid: who first has so many of them in a line wins; the board is full: a draw.

A side's stones are the bits of one integer, a column after the other from its bottom, with an empty bit above each
column so that no line runs on into the next one. Stones that have another one s bits further: b & (b >> s).
"""

from abc import ABC, abstractmethod

import numpy as np

from minirl.envs.games.game import Boards, drawn, live_moves
from minirl.numerics.arrays import Array

SIDES = np.array([[0, 1], [1, 0]])  # mine, theirs


class InARow(Boards, ABC):
    """B boards of a game with `length` stones in a line, in any of the four directions.

    Observations (D = 2 rows·columns): 1 where my stones are, then 1 where theirs are, in reading order.
    """

    rows: int
    columns: int
    length: int

    def __init__(self, num_boards: int):
        super().__init__(num_boards)
        height = self.rows + 1  # with the bit that stays empty
        row, column = np.divmod(np.arange(self.rows * self.columns, dtype=np.int64), self.columns)
        self.cells = column * height + self.rows - 1 - row  # the bit of each cell
        self.steps = (1, height, height + 1, height - 1)  # to the next bit of a vertical, horizontal, diagonal line
        self.full = int((1 << self.cells).sum())
        self.obs_dim = 2 * len(self.cells)
        self.stones = np.zeros((num_boards, 2), np.int64)  # of player 0 and player 1

    def reset(self, boards: Array, rng: np.random.Generator) -> None:
        """Empty these boards (B,) bool."""
        self.start(boards)
        self.stones = np.where(boards[:, None], 0, self.stones)

    def taken(self) -> Array:
        """The stones of both sides (B,)."""
        return self.stones[:, 0] | self.stones[:, 1]

    @abstractmethod
    def landing(self) -> Array:
        """Where a stone comes to lie: bits (B, K), 0 where there is no room."""

    def observe(self, player: Array) -> Array:
        """My stones, then theirs -> (B, D) float32."""
        sides = self.stones[self.index[:, None], SIDES[player]]
        return ((sides[:, :, None] >> self.cells) & 1).astype(np.float32).reshape(self.num_boards, -1)

    def legal(self, player: Array) -> Array:
        """Where there is room -> (B, K) bool; all where this player has no move to make."""
        return (self.landing() != 0) | self.none_to_make(player)[:, None]

    def play(self, action: Array) -> None:
        """A stone of the player to move on each board (B,)."""
        action = live_moves(self, action)
        live, player = ~self.over, self.to_move
        stones = self.stones.copy()
        stones[self.index, player] |= np.where(live, self.landing()[self.index, action], 0)
        self.stones = stones
        won = live & self.has_line(stones[self.index, player])
        self.end(won | (live & (self.taken() == self.full)), np.where(won, 1.0 - 2.0 * player, 0.0))
        self.to_move = np.where(self.over, player, 1 - player)

    def winning(self, player: Array) -> Array:
        """The moves with which this player (B,) would win at once, if it were to move -> (B, K) bool."""
        landing = self.landing()
        return (landing != 0) & self.has_line(self.stones[self.index, player][:, None] | landing)

    def has_line(self, stones: Array) -> Array:
        """Whether these stones (…) have `length` in a line -> (…) bool."""
        found = np.zeros_like(stones)
        for step in self.steps:
            line = stones
            for _ in range(self.length - 1):
                line = line & (line >> step)
            found |= line
        return found != 0

    def drawn(self, board: int) -> str:
        """One board: `.` a free cell, X the first player's, O the second's."""
        first, second = (self.stones[board][:, None] >> self.cells) & 1
        return drawn((first + 2 * second).reshape(self.rows, self.columns))

    def text(self, board: int, player: int) -> str:
        """The board, and which letter is the viewer's."""
        return f"{self.drawn(board)}\nyou are {'XO'[player]}"
