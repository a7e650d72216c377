"""Playing a policy without learning: returns of whole episodes, each with a seed of its own, whatever was trained before."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minirl import streams
from minirl.agent import Agent
from minirl.environments import make_env


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


def evaluate(agent: Agent, env_id: str, episodes: int = 20, stochastic: bool = False, seed: int = 0, **kwargs: Any) -> Evaluation:
    """Play `episodes` of a registered environment: greedy, or sampled when `stochastic`. Nothing of the agent changes."""
    env = make_env(env_id, **kwargs)
    sequence = streams.stream_seeds(seed)["evaluation"]
    rng = streams.generator(sequence) if stochastic else None
    returns, lengths = np.zeros(episodes), np.zeros(episodes, dtype=np.int64)
    try:
        for i, env_seed in enumerate(streams.integer_seeds(sequence, episodes)):
            obs, _ = env.reset(seed=env_seed)
            over = False
            while not over:
                obs, reward, terminated, truncated, _ = env.step(agent.act(obs, rng))
                returns[i] += float(reward)
                lengths[i] += 1
                over = bool(terminated or truncated)
    finally:
        env.close()
    return Evaluation(returns, lengths)
