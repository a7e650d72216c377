"""Playing a team without learning: the sum of all agents' rewards, game by game."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from minirl.deploy.team import Team
from minirl.envs import given
from minirl.envs.make_many_agents import make_many_agents
from minirl.errors import ConfigError, SpaceError
from minirl.numerics import random_streams
from minirl.spaces.actions import action_codec
from minirl.spaces.observations import obs_codec
from minirl.training.evaluation import MAX_STEPS, Evaluation


def evaluate_team(
    team: Team,
    env: Any,
    episodes: int = 20,
    stochastic: bool = False,
    seed: int = 0,
    env_kwargs: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Play `episodes` games of a parallel environment, greedily, or sampled when `stochastic`; returns sum over agents.

    A game that has not ended after MAX_STEPS steps is stopped: a warning says so, and `cut` how many.
    """
    if not isinstance(team, Team):
        raise ConfigError("policy_or_run is one agent's policy: give the run directory, which has that of each agent")
    envs = make_many_agents(env, 1, **(env_kwargs or {}))
    sequence = random_streams.stream_seeds(seed)["evaluation"]
    rng = random_streams.generator(sequence) if stochastic else None
    returns, lengths, cut = np.zeros(episodes), np.zeros(episodes, np.int64), 0
    try:
        check_fits(team, envs, given.name(env))
        for i, game_seed in enumerate(random_streams.integer_seeds(sequence, episodes)):
            obs, alive = envs.reset([game_seed]), envs.alive
            masks = envs.masks
            while alive.any() and lengths[i] < MAX_STEPS:
                step = envs.step(team.act_batch(obs, rng, masks))
                returns[i] += step.reward.sum()
                lengths[i] += 1
                alive = alive & ~(step.terminated | step.truncated)
                obs, masks = step.obs, step.masks
            cut += bool(alive.any())
    finally:
        envs.close()
    if cut:
        warnings.warn(
            f"env = {given.name(env)!r}: {cut} of {episodes} games were stopped after {MAX_STEPS} steps", stacklevel=4
        )
    return Evaluation(returns, lengths, cut)


def check_fits(team: Team, envs: Any, name: str) -> None:
    """SpaceError where the environment has other agents, or other observations, than the team was trained for."""
    if set(envs.agents) != set(team.agents):
        its, mine = ", ".join(envs.agents), ", ".join(team.agents)
        raise SpaceError(f"env = {name!r}: its agents are {its}, the policies are of {mine}")
    for agent, policy in team.agents.items():
        obs, action = obs_codec(envs.observation_spaces[agent]), action_codec(envs.action_spaces[agent])
        if obs.facts() != policy.obs_codec.facts():
            raise SpaceError(f"env = {name!r}: {agent} observes {obs}, its policy was trained for {policy.obs_codec}")
        if action.facts() != policy.action_codec.facts():
            its, mine = (f"{codec}{codec.extent}" for codec in (action, policy.action_codec))
            raise SpaceError(f"env = {name!r}: {agent} has {its}, its policy was trained for {mine}")
