"""Playing a policy without learning: returns of whole episodes, each with a seed of its own, whatever was trained before."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minirl import streams
from minirl.agent import Agent
from minirl.environments import make_env
from minirl.envs.faults import close, raise_placed
from minirl.errors import SpaceError
from minirl.spaces import action_codec, obs_codec


@dataclass(frozen=True)
class Evaluation:
    """Undiscounted returns and lengths, one entry per episode."""

    returns: np.ndarray
    lengths: np.ndarray

    @property
    def mean(self) -> float:
        return float(self.returns.mean())

    @property
    def std(self) -> float:
        return float(self.returns.std())


def check_fits(agent: Agent, env_id: str, env: Any) -> None:
    """SpaceError where observations or actions have another kind, shape or number than the policy's."""
    obs, action = obs_codec(env.observation_space), action_codec(env.action_space)
    for name, mine, its in (("observations", agent.obs_codec, obs), ("actions", agent.action_codec, action)):
        if str(mine) != str(its):
            raise SpaceError(f"env = {env_id!r}: its {name} are {its}, the policy was trained for {mine}")


MAX_STEPS = 20_000  # an episode that has not ended by then is cut: some environments never end


def evaluate(agent: Agent, env_id: str, episodes: int = 20, stochastic: bool = False, seed: int = 0, **kwargs: Any) -> Evaluation:
    """Play `episodes` of a registered environment: greedy, or sampled when `stochastic`. Nothing of the agent changes.

    An episode is cut after MAX_STEPS steps; its length tells.
    EnvError where the environment cannot be made, SpaceError where its spaces are not the ones that the policy was trained on.
    """
    sequence = streams.stream_seeds(seed)["evaluation"]
    rng = streams.generator(sequence) if stochastic else None
    returns, lengths = np.zeros(episodes), np.zeros(episodes, dtype=np.int64)
    i, env = 0, make_env(env_id, **kwargs)
    try:
        check_fits(agent, env_id, env)
        for i, env_seed in enumerate(streams.integer_seeds(sequence, episodes)):
            obs, info = env.reset(seed=env_seed)
            over = False
            while not over:
                mask = info.get("action_mask") if agent.masked else None
                obs, reward, terminated, truncated, info = env.step(agent.act(obs, rng, mask))
                returns[i] += float(reward)
                lengths[i] += 1
                over = bool(terminated or truncated) or lengths[i] >= MAX_STEPS
    except BaseException as why:
        raise_placed(why, f"env = {env_id!r}, episode {i + 1}, step={lengths[i] + 1}")
    finally:
        close(env, f"env = {env_id!r}")
    return Evaluation(returns, lengths)
