"""Rock-paper-scissors, B games side by side: both choose at once, and that was the game."""

import numpy as np

from minirl.envs.games.game import Boards, live_moves
from minirl.numerics.arrays import Array


class RockPaperScissors(Boards):
    """B games. There is nothing to see: the observation (D = 1) is always 1."""

    num_actions = 3
    obs_dim = 1
    simultaneous = True
    names = ("rock", "paper", "scissors")

    def __init__(self, num_boards: int):
        super().__init__(num_boards)
        self.chosen = np.full((num_boards, 2), -1)  # by each player; −1 before

    def reset(self, boards: Array, rng: np.random.Generator) -> None:
        """Start these games (B,) bool again."""
        self.start(boards)
        self.chosen = np.where(boards[:, None], -1, self.chosen)

    def observe(self, player: Array) -> Array:
        """Always 1 -> (B, 1) float32."""
        return np.ones((self.num_boards, 1), np.float32)

    def legal(self, player: Array) -> Array:
        """All three, always -> (B, 3) bool."""
        return np.ones((self.num_boards, 3), bool)

    def play(self, action: Array) -> None:
        """What both choose (B, 2): each of the three beats the one before it."""
        action, live = live_moves(self, action), ~self.over
        self.chosen = np.where(live[:, None], action, self.chosen)
        self.end(live, np.array([0.0, 1.0, -1.0])[(action[:, 0] - action[:, 1]) % 3])

    def text(self, board: int, player: int) -> str:
        """What both chose, once they did."""
        if not self.over[board] or self.chosen[board, 0] < 0:
            return "rock, paper or scissors?"
        mine, theirs = self.chosen[board, player], self.chosen[board, 1 - player]
        return f"you: {self.names[mine]}\nthey: {self.names[theirs]}"
