"""Advantages and the critic's targets from a rollout: from R(τ) to GAE."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from minirl import _core
from minirl.config import Config
from minirl.numerics.arrays import Array
from minirl.numerics.running_moments import is_constant
from minirl.numerics.sums_over_samples import SampleWeights
from minirl.samples.rollout import Rollout

Function: TypeAlias = Callable[[Array], Array]


def evaluate_states(rollout: Rollout, value_of: Function, preprocess: Function) -> tuple[Array, Array, Array]:
    """The networks' inputs (T·B, ·), V(s_t) and V(s'_t) (T, B).

    V(s'_t) is V of the next row, or of `next_obs` where the next row belongs to another episode or there is none. After
    termination it is 0.
    """
    T, B, D = rollout.obs.shape
    obs = preprocess(rollout.obs.reshape(T * B, D))  # one batch of all actors [PPO-10]
    value = value_of(obs).reshape(T, B)
    next_value = np.zeros((T, B))
    next_value[:-1] = value[1:]
    final = rollout.cut.copy()
    final[-1:] = True
    final &= ~rollout.terminated  # a truncated episode is continued by V, a terminated one is not [PPO-11]
    next_value[rollout.terminated] = 0.0  # [PPO-11]
    if final.any():
        next_value[final] = value_of(preprocess(rollout.next_obs[final]))
    return obs, value, next_value


def advantages(reward: Array, value: Array, next_value: Array, rollout: Rollout, cfg: Config) -> tuple[Array, Array]:
    """Â and the critic's targets (T, B) by `cfg.advantage`: R(τ), G_t, G_t − V(s_t) or GAE.

    An unfinished episode is continued by V of its last state; one that began in an earlier rollout counts from here on.
    """
    if cfg.advantage == "gae":
        adv = _core.gae(reward, value, next_value, rollout.terminated, rollout.cut, cfg.gamma, cfg.lam)  # [GAE-2]
        return adv, adv + value
    returns = _core.discounted_returns(reward, next_value, rollout.terminated, rollout.cut, cfg.gamma)  # G_t [PG-6]
    if cfg.advantage == "baseline":
        return returns - value, returns  # G_t − V(s_t) [PG-7, PG-8]
    if cfg.advantage == "reward_to_go":
        return returns, returns
    first = segment_starts(rollout)  # R(τ) is G_t at the first step of its episode in this rollout [PG-5]
    return np.take_along_axis(returns, first, axis=0), returns


def segment_starts(rollout: Rollout) -> Array:
    """For each row the first row of the same episode in this rollout, (T, B) int; a reset step is a part of its own."""
    rows = np.arange(len(rollout.cut))[:, None]
    begins = np.ones(rollout.cut.shape, bool)
    begins[1:] = (rollout.cut | ~rollout.valid)[:-1]
    return np.maximum.accumulate(np.where(begins, rows, 0), axis=0)


def standardize_adv(adv: Array, weights: SampleWeights) -> Array:
    """Advantages (N,) to mean 0 and standard deviation 1 over all ranks, float64.

    Two passes in float64 and a relative threshold: values that differ by rounding alone become exactly 0 instead of
    noise of full size. Fewer than two samples are left as they are.
    """
    centre, m2 = weights.moments(adv[:, None])
    if weights.n < 2:
        return adv.astype(np.float64)
    if is_constant(m2[0] / weights.n, centre[0]):
        return np.zeros(len(adv))
    return np.asarray((adv.astype(np.float64) - centre[0]) / np.sqrt(m2[0] / weights.n))
