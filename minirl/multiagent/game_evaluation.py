"""Playing games without learning: a policy against another player, half of the games on each side."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minirl.deploy.agent import Agent
from minirl.envs.games import Game, make_game, one_ply, random_moves
from minirl.errors import ConfigError, SpaceError
from minirl.multiagent.game_env import moved
from minirl.numerics.arrays import Array
from minirl.training.evaluation import Evaluation

Mover = Callable[[Game, Array, np.random.Generator], Array]  # game, players (B,), rng -> moves (B,)


def of_agent(agent: Any, stochastic: bool = False) -> Mover:
    """An agent's moves, greedy or sampled."""

    def moves(game: Game, player: Array, rng: np.random.Generator) -> Array:
        return np.asarray(agent.act_batch(game.observe(player), rng if stochastic else None, game.legal(player)))

    return moves


def at_random(game: Game, player: Array, rng: np.random.Generator) -> Array:
    """Any legal move."""
    moves = random_moves(game, rng)
    return moves[np.arange(game.num_boards), player] if game.simultaneous else moves


def looking_ahead(game: Game, player: Array, rng: np.random.Generator) -> Array:
    """A win where there is one, else a block, else any legal move."""
    return one_ply(game, rng)


OPPONENTS: dict[str, Mover] = {"random": at_random, "one_ply": looking_ahead}


def play_games(env: str, mine: Mover, theirs: Mover, games: int, seed: int = 0) -> tuple[Array, Array]:
    """Payoffs (M,) to `mine` of M games, the first half as player 0, the others as player 1; and their moves (M,)."""
    game, rng = make_game(env, games), np.random.default_rng(seed)
    side = (np.arange(games) >= (games + 1) // 2).astype(int)
    game.reset(np.ones(games, bool), rng)
    lengths = np.zeros(games, np.int64)
    while not game.over.all():
        lengths += ~game.over
        if game.simultaneous:
            both = np.stack([mine(game, side, rng), theirs(game, 1 - side, rng)], axis=1)
            game.play(np.where((side == 0)[:, None], both, both[:, ::-1]))
            continue
        turn = game.to_move == side
        for boards, mover in ((turn, mine), (~turn, theirs)):
            boards = boards & ~game.over
            if boards.any():
                moved(game, boards, mover(game, game.to_move, rng))
    return game.payoff[np.arange(games), side], lengths


def evaluate_games(
    agent: Agent,
    env: Any,
    episodes: int = 20,
    stochastic: bool = False,
    seed: int = 0,
    env_kwargs: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Play `episodes` games against a player who moves at random, or `opponent` in env_kwargs: random, one_ply.

    Returns are payoffs: 1 for a win, −1 for a loss, where the game has no others.
    """
    kwargs = dict(env_kwargs or {})
    name = kwargs.pop("opponent", "random")
    if kwargs or name not in OPPONENTS:
        raise ConfigError(f"env_kwargs = {env_kwargs!r}: a game takes opponent, one of {', '.join(OPPONENTS)}")
    game = make_game(env, 1)
    if agent.obs_codec.dim != game.obs_dim:
        raise SpaceError(
            f"env = {env!r}: its players see {game.obs_dim} numbers, the policy was trained for {agent.obs_codec}"
        )
    payoff, lengths = play_games(env, of_agent(agent, stochastic), OPPONENTS[name], episodes, seed)
    return Evaluation(payoff, lengths)
