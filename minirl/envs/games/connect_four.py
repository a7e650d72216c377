"""Connect-four, B boards side by side."""

import numpy as np

from minirl.envs.games.in_a_row import InARow
from minirl.numerics.arrays import Array


class ConnectFour(InARow):
    """Connect-four: four in a line on 6×7; action a drops a stone into column a, counted from the left."""

    num_actions = 7
    rows, columns, length = 6, 7, 4
    names = tuple(f"column {column}" for column in range(7))

    def landing(self) -> Array:
        """The lowest free cell of each column: one more than all that lie in it."""
        bottom = np.int64(1) << (self.rows + 1) * np.arange(self.columns)
        return (self.taken()[:, None] + bottom) & (bottom * ((1 << self.rows) - 1))

    def drawn(self, board: int) -> str:
        """One board above the actions of its columns."""
        return f"{super().drawn(board)}\n{' '.join(map(str, range(self.num_actions)))}"
