"""Kuhn poker (Kuhn, 1950), B tables side by side: three cards, one each, one bet of 1 on top of an ante of 1."""

import numpy as np

from minirl.envs.games.game import Boards, live_moves
from minirl.numerics.arrays import Array

PASS, BET = 0, 1
CARDS = "JQK"
DEALS = np.array([(a, b) for a in range(3) for b in range(3) if a != b])  # all that can be dealt, equally likely


class KuhnPoker(Boards):
    """B tables. Pass, pass: the higher card takes 1; bet, pass: the bet takes 1; bet, bet: the higher card takes 2.

    Observations (D = 7): my card (one of 3), whether I have passed, have bet, whether they have passed, have bet.
    """

    num_actions = 2
    obs_dim = 7
    names = ("pass", "bet")

    def __init__(self, num_boards: int):
        super().__init__(num_boards)
        self.cards = np.broadcast_to(DEALS[0], (num_boards, 2)).copy()  # of player 0 and player 1
        self.done = np.zeros((num_boards, 2, 2), bool)  # player, action: whether it has done that

    def reset(self, boards: Array, rng: np.random.Generator) -> None:
        """Deal these tables (B,) bool again."""
        self.deal(boards, DEALS[rng.integers(len(DEALS), size=int(boards.sum()))])

    def deal(self, boards: Array, cards: Array) -> None:
        """Start these tables (B,) bool with these cards, a pair for each of them."""
        self.start(boards)
        dealt = self.cards.copy()
        dealt[boards] = cards
        self.cards, self.done = dealt, self.done & ~boards[:, None, None]

    def observe(self, player: Array) -> Array:
        """My card, what I have done, what they have done -> (B, 7) float32."""
        card = self.cards[self.index, player][:, None] == np.arange(3)
        mine, theirs = self.done[self.index, player], self.done[self.index, 1 - player]
        return np.concatenate([card, mine, theirs], axis=1).astype(np.float32)

    def legal(self, player: Array) -> Array:
        """Both, always -> (B, 2) bool."""
        return np.ones((self.num_boards, 2), bool)

    def play(self, action: Array) -> None:
        """0 to pass, 1 to bet, by the player to move at each table (B,)."""
        action = live_moves(self, action)
        live, player = ~self.over, self.to_move
        faced = self.done[self.index, 1 - player]  # (B, 2): what they had done before
        done = self.done.copy()
        done[self.index, player, action] |= live
        self.done = done
        folded = live & faced[:, BET] & (action == PASS)
        shown = live & ((action == BET) & faced[:, BET] | (action == PASS) & faced[:, PASS] & ~faced[:, BET])
        higher = np.where(self.cards[:, 0] > self.cards[:, 1], 1.0, -1.0)
        self.end(folded | shown, np.where(folded, 2.0 * player - 1.0, np.where(action == BET, 2.0, 1.0) * higher))
        self.to_move = np.where(self.over, player, 1 - player)

    def text(self, board: int, player: int) -> str:
        """The viewer's card and what each has done; the other card, too, where the cards were shown."""
        card, seat = CARDS[self.cards[board, player]], ("first", "second")[player]
        lines = [f"your card: {card} (of {' < '.join(CARDS)}), {seat} to act"]
        for who, side in (("you", player), ("they", 1 - player)):
            done = [self.names[action] for action in np.flatnonzero(self.done[board, side])]
            lines.append(f"{who}: {', '.join(done) or '–'}")
        if self.over[board] and self.done[board, :, BET].sum() != 1:
            lines.append(f"their card: {CARDS[self.cards[board, 1 - player]]}")
        return "\n".join(lines)
