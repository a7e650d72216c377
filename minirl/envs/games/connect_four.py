"""Connect-four, B boards side by side."""

import numpy as np

from minirl.envs.games.in_a_row import InARow
from minirl.numerics.arrays import Array

BOTTOM = np.int64(1) << 7 * np.arange(7, dtype=np.int64)  # the lowest cell of each column
COLUMN = BOTTOM * 0b111111  # all of its cells


class ConnectFour(InARow):
    """Connect-four: four in a line on 6×7; action a drops a stone into column a, counted from the left."""

    num_actions = 7
    rows, columns, length = 6, 7, 4
    names = tuple(f"column {column}" for column in range(7))

    def landing(self) -> Array:
        """The lowest free cell of each column: one more than all that lie in it."""
        return (self.taken()[:, None] + BOTTOM) & COLUMN

    def drawn(self, board: int) -> str:
        """One board above the actions of its columns."""
        return f"{super().drawn(board)}\n{' '.join(map(str, range(self.num_actions)))}"
