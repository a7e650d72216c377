"""What is handed to a kernel in one piece, by name. Plain tuples in the same order will do."""

from typing import Any, NamedTuple

import numpy as np


class PolicyArguments(NamedTuple):
    """The arguments of `policy_actor`."""

    theta: np.ndarray  # (n + free,)
    mean: np.ndarray | None  # (D,) float64, with inv_std; None for observations as they are
    inv_std: np.ndarray | None
    limit: float  # standardised observations are cut at ±limit
    sizes: tuple[int, ...]  # widths of the network's layers
    activation: str
    free: int  # parameters of the distribution at the end of θ
    family: str  # "categorical" or "gaussian"


class EnvArguments(NamedTuple):
    """What `env_rollout` needs to start and step an environment: the same words as of `env_step` and `env_reset`."""

    name: str
    bit_generators: list[Any]  # one for each of B environments
    low: np.ndarray  # bounds of the uniform draws of a first state
    high: np.ndarray
    limit: int  # an episode is truncated at so many steps


class RolloutArrays(NamedTuple):
    """Where `env_rollout` writes T steps of B environments to. What it reads must not lie there: θ, noise, bounds."""

    obs: np.ndarray  # (T, B, D), of θ's type as next_obs
    action: np.ndarray  # (T, B) int64, or (T, B, 1) of θ's type
    reward: np.ndarray  # (T, B) float64
    next_obs: np.ndarray
    terminated: np.ndarray  # (T, B) bool
    truncated: np.ndarray
