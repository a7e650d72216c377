"""Playing a policy without learning: returns of complete episodes, each with a seed of its own."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from minirl.deploy.agent import Agent
from minirl.envs import given
from minirl.envs.contract import Misfit, as_flag
from minirl.envs.faults import close, is_fault, one_line
from minirl.envs.make import make_env
from minirl.errors import EnvError, EnvRaisedError, MinirlError, SpaceError
from minirl.numerics import random_streams
from minirl.spaces import action_masks
from minirl.spaces.actions import action_codec
from minirl.spaces.observations import obs_codec

MAX_STEPS = 20_000  # of an episode, unless the environment's own limit is larger: some environments never end


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Undiscounted returns and lengths, one entry per episode."""

    returns: np.ndarray
    lengths: np.ndarray
    cut: int = 0  # episodes that were stopped before they had ended

    @property
    def mean(self) -> float:
        return float(self.returns.mean())

    @property
    def std(self) -> float:
        return float(self.returns.std())

    def __repr__(self) -> str:
        stopped = f", {self.cut} of them stopped" if self.cut else ""
        numbers = f"return {self.mean:.6g} ± {self.std:.6g}, length {self.lengths.mean():.6g}"
        return f"Evaluation({numbers}, {len(self.returns)} episodes{stopped})"


def check_fits(agent: Agent, env_id: str, env: Any) -> None:
    """SpaceError where observations or actions are others than those that the policy was trained for."""
    obs, action = obs_codec(env.observation_space), action_codec(env.action_space)
    if obs.facts() != agent.obs_codec.facts():
        its, mine = str(obs), str(agent.obs_codec)
        started = "" if its != mine else ", but their numbers start elsewhere"
        raise SpaceError(f"env = {env_id!r}: its observations are {its}, the policy was trained for {mine}{started}")
    if action.facts() != agent.action_codec.facts():
        its, mine = (f"{codec}{codec.extent}" for codec in (action, agent.action_codec))
        raise SpaceError(f"env = {env_id!r}: its actions are {its}, the policy was trained for {mine}")


def evaluate(
    agent: Agent,
    env_id: Any,
    episodes: int = 20,
    stochastic: bool = False,
    seed: int = 0,
    env_kwargs: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Play `episodes` of an environment: greedy, or sampled when `stochastic`. Nothing of the agent changes.

    env_id: an id, a class, a function that makes one, or an environment, which is not closed. An episode that has not
    ended after MAX_STEPS steps, or the environment's own limit where that is larger, is stopped: a warning says so, and
    `cut` how many. EnvError where the environment cannot be made or raises, SpaceError where its spaces are others than
    those that the policy was trained on.
    """
    env, name = make_env(env_id, **(env_kwargs or {})), given.name(env_id)
    returns, lengths, cut = np.zeros(episodes), np.zeros(episodes, dtype=np.int64), 0
    try:
        check_fits(agent, name, env)
        sequence, limit = random_streams.stream_seeds(seed)["evaluation"], max(MAX_STEPS, given.own_limit(env))
        rng = random_streams.generator(sequence) if stochastic else None
        for i, env_seed in enumerate(random_streams.integer_seeds(sequence, episodes)):
            returns[i], lengths[i], ended = play(agent, env, f"env = {name!r}, episode {i + 1}", env_seed, rng, limit)
            cut += not ended
    finally:
        close(env, f"env = {name!r}")
    if cut:
        remedy = "their returns are those so far; give the environment a limit with gymnasium.wrappers.TimeLimit"
        warnings.warn(
            f"env = {name!r}: {cut} of {episodes} episodes were stopped after {limit} steps: {remedy}", stacklevel=4
        )
    return Evaluation(returns, lengths, cut)


def play(agent: Agent, env: Any, where: str, env_seed: int, rng: Any, limit: int) -> tuple[float, int, bool]:
    """One episode -> its return, length, whether it ended. EnvError names `where` and the step of what goes wrong."""
    total, steps, call = 0.0, 0, "reset"
    try:
        obs, info = env.reset(seed=env_seed)
        while steps < limit:
            mask = action_masks.given(info, call) if agent.masked else None
            action = agent.act(obs, rng, mask)
            steps, call = steps + 1, "step"
            obs, reward, terminated, truncated, info = env.step(action)
            total += float(reward)
            if as_flag("terminated", terminated) or as_flag("truncated", truncated):
                return total, steps, True
    except EnvError:
        raise
    except (MinirlError, Misfit) as why:
        raise EnvError(f"{where}, step {steps}: {why}") from why
    except BaseException as why:
        if not is_fault(why):
            raise
        raise EnvRaisedError(f"{where}, step {steps}: {call}() raised {type(why).__name__}: {one_line(why)}") from why
    return total, steps, False
