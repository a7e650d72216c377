"""Several agents, and games against past selves: IPPO, MAPPO, self-play.

Built on Trainee, Policy and Batch; lower floors know nothing of them.
"""

from typing import Any

import numpy as np

from minirl.algorithms import Algorithm, ppo
from minirl.envs.games import Game, make_game
from minirl.envs.make_many_agents import make_many_agents
from minirl.envs.many_agents import ManyAgents
from minirl.errors import ConfigError, EnvError
from minirl.multiagent.game_env import OpponentVector
from minirl.multiagent.game_evaluation import evaluate_games
from minirl.multiagent.ippo import IPPOConfig
from minirl.multiagent.mappo import MAPPOConfig
from minirl.multiagent.opponent_pool import Pool
from minirl.multiagent.self_play import SelfPlayConfig, SelfPlayLearner
from minirl.multiagent.team_evaluation import evaluate_team
from minirl.multiagent.team_learner import TeamLearner


def many_agents(config: Any) -> ManyAgents:
    """The parallel environment of a configuration."""
    return make_many_agents(config.env, config.num_envs, **config.env_kwargs)


def given_agents(envs: Any, config: Any) -> ManyAgents:
    """What a user gave to learn on, if it is one."""
    if isinstance(envs, type) or not isinstance(envs, ManyAgents):
        wanted = "learn takes what minirl.envs.make_many_agents.make_many_agents makes, or use minirl.train"
        raise EnvError(f"envs is a {kind(envs)}, no vector of several agents: {wanted}")
    return envs


def game(config: Any) -> OpponentVector:
    """The game of a configuration, against a pool that has nobody but a random player yet."""
    if config.env_kwargs:
        raise ConfigError(f"env_kwargs = {config.env_kwargs!r}: a game takes none, leave it out")
    return against_itself(make_game(config.env, config.num_envs), config)


def against_itself(game: Any, config: Any) -> OpponentVector:
    """A game, as make_game makes it, against a pool that has nobody but a random player yet."""
    if isinstance(game, type) or not isinstance(game, Game):
        wanted = "learn takes what minirl.envs.games.make_game makes, or use minirl.train"
        raise EnvError(f"envs is a {kind(game)}, no game of two players: {wanted}")
    pool = Pool(config.pool_size, config.opponents, np.random.default_rng([config.seed, 1]))
    return OpponentVector(game, pool)


def kind(thing: Any) -> str:
    """What messages call it."""
    return f"class, {thing.__name__}" if isinstance(thing, type) else type(thing).__name__


TEAM: dict[str, Any] = {
    "networks": ppo.networks,
    "environments": many_agents,
    "learner": TeamLearner,
    "evaluate": evaluate_team,
    "given": given_agents,
}
METHODS = {
    row.name: row
    for row in (
        Algorithm(
            "ippo", IPPOConfig, ppo.init, ppo.update, "every agent its own PPO: policy and value function", **TEAM
        ),
        Algorithm(
            "mappo", MAPPOConfig, ppo.init, ppo.update, "own policies, one critic that sees what all see", **TEAM
        ),
        Algorithm(
            "selfplay",
            SelfPlayConfig,
            ppo.init,
            ppo.update,
            "PPO against a growing pool of its past selves",
            ppo.networks,
            game,
            SelfPlayLearner,
            evaluate_games,
            against_itself,
        ),
    )
}
