"""Several agents, and games against past selves: IPPO, MAPPO, self-play.

Built on Trainee, Policy and Batch; lower floors know nothing of them.
"""

from typing import Any

import numpy as np

from minirl.algorithms import Algorithm, ppo
from minirl.envs.games import make_game
from minirl.envs.make_many_agents import make_many_agents
from minirl.envs.many_agents import ManyAgents
from minirl.multiagent.games_played import evaluate_games
from minirl.multiagent.ippo import IPPOConfig
from minirl.multiagent.mappo import MAPPOConfig
from minirl.multiagent.opponent_vector import OpponentVector
from minirl.multiagent.opponents import Pool
from minirl.multiagent.self_play import SelfPlayConfig, SelfPlayLearner
from minirl.multiagent.team_learner import TeamLearner
from minirl.multiagent.team_played import evaluate_team


def many_agents(config: Any) -> ManyAgents:
    """The parallel environment of a configuration."""
    return make_many_agents(config.env, config.num_envs, **config.env_kwargs)


def game(config: Any) -> OpponentVector:
    """The game of a configuration, against a pool that has nobody but a random player yet."""
    pool = Pool(config.pool_size, config.opponents, np.random.default_rng([config.seed, 1]))
    return OpponentVector(make_game(config.env, config.num_envs), pool)


TEAM: dict[str, Any] = {
    "networks": ppo.networks,
    "environments": many_agents,
    "learner": TeamLearner,
    "evaluate": evaluate_team,
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
        ),
    )
}
