"""Simple opponents: moves for all boards at once."""

import numpy as np

from minirl.envs.games.game import Game
from minirl.envs.games.in_a_row import InARow
from minirl.errors import EnvError
from minirl.numerics.arrays import Array


def one_of(moves: Array, rng: np.random.Generator) -> Array:
    """One of these moves (B, K) bool for each board, all equally likely -> (B,)."""
    return np.where(moves, rng.random(moves.shape), -1.0).argmax(axis=1)


def random_moves(game: Game, rng: np.random.Generator) -> Array:
    """Legal moves, all equally likely -> (B,) for the players to move, (B, 2) for both where simultaneous."""
    if game.simultaneous:
        sides = [np.full(game.num_boards, player) for player in (0, 1)]
        return np.stack([one_of(game.legal(side), rng) for side in sides], axis=1)
    return one_of(game.legal(game.to_move), rng)


def one_ply(game: Game, rng: np.random.Generator) -> Array:
    """A move that wins; else one where the other side would win; else any legal one -> (B,).

    Raises EnvError for another game than tic-tac-toe and connect-four.
    """
    if not isinstance(game, InARow):
        known = "minirl/TicTacToe-v0 or minirl/ConnectFour-v0"
        raise EnvError(f"one_ply cannot look ahead in {type(game).__name__}: play {known}")
    wins, blocks = game.winning(game.to_move), game.winning(1 - game.to_move)
    urgent = np.where(wins.any(axis=1, keepdims=True), wins, blocks)
    return one_of(np.where(urgent.any(axis=1, keepdims=True), urgent, game.legal(game.to_move)), rng)
