"""Tic-tac-toe, B boards side by side."""

from minirl.envs.games.in_a_row import InARow
from minirl.numerics.arrays import Array


class TicTacToe(InARow):
    """Tic-tac-toe: three in a line on 3×3; action a is cell a, counted from the top left in reading order."""

    num_actions = 9
    rows, columns, length = 3, 3, 3
    names = ("top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right")

    def landing(self) -> Array:
        """The cell itself, if it is free."""
        return (1 << self.cells) & ~self.taken()[:, None]

    def drawn(self, board: int) -> str:
        """One board with the actions in its free cells."""
        marks = super().drawn(board).split()
        cells = [str(action) if mark == "." else mark for action, mark in enumerate(marks)]
        return "\n".join(" ".join(cells[row : row + 3]) for row in (0, 3, 6))
