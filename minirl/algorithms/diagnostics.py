"""Numbers that describe an update and change nothing."""

from typing import NamedTuple

import numpy as np

from minirl.numerics.arrays import Array
from minirl.numerics.running_moments import is_constant
from minirl.numerics.sums_over_samples import SampleWeights

LOG_RATIO_LIMIT = 20.0  # e²⁰ ≈ 5e8: log ratios are clipped to ±20 in reports, so that none is infinite


class MinibatchLosses(NamedTuple):
    """What one minibatch measured before its step."""

    policy: float
    value: float
    ratio: Array  # (N,) r
    weights: SampleWeights


def minibatch_means(minibatches: list[MinibatchLosses], clip: float) -> dict[str, float]:
    """What the minibatches of an update measured, as means over their samples, over all ranks."""
    ranks = minibatches[0].weights
    sizes = ranks.total(np.array([np.count_nonzero(each.weights.w) for each in minibatches], np.float64))
    clipped = ranks.total(np.array([np.dot(each.weights.w, np.abs(each.ratio - 1) > clip) for each in minibatches]))
    by_size = SampleWeights(sizes)  # the sizes are sums over the ranks already
    return {
        "policy_loss": by_size.mean(np.array([each.policy for each in minibatches])),
        "value_loss": by_size.mean(np.array([each.value for each in minibatches])),
        "clipfrac": by_size.mean(clipped),
    }


def surrogate_gain(logratio: Array, adv: Array, weights: SampleWeights) -> float:
    """L(θ) − L(θ_old) = Σ_n w_n (r_n − 1) A_n, log r (N,) = log π − log π_old, A (N,)."""
    return weights.mean(np.expm1(np.minimum(logratio, LOG_RATIO_LIMIT)) * adv)


def kl_estimates(logratio: Array, weights: SampleWeights) -> dict[str, float]:
    """Schulman's three estimates of KL(old‖new) from samples of the old policy, log r = log π − log π_old (N,).

    k1 = −log r (unbiased, may be negative); k2 = ½(log r)² (biased, small variance);
    k3 = (r − 1) − log r (unbiased, never negative).
    """
    logr = np.clip(logratio.astype(np.float64), -LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
    return {
        "k1": weights.mean(-logr),
        "k2": weights.mean(0.5 * logr * logr),
        "k3": weights.mean(np.expm1(logr) - logr),
    }


def explained_variance(prediction: Array, target: Array, weights: SampleWeights) -> float:
    """1 − Var(target − prediction) / Var(target), both (N,); 0 where the target does not vary."""
    _, m2_error = weights.moments((target - prediction)[:, None])
    centre, m2_target = weights.moments(target[:, None])
    if weights.n == 0 or is_constant(m2_target[0] / weights.n, centre[0]):
        return 0.0
    return float(1 - m2_error[0] / m2_target[0])
