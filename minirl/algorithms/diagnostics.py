"""Numbers that describe an update and change nothing."""

import numpy as np

from minirl.numerics.communicator import SERIAL
from minirl.numerics.sample_weights import mean, share

LOG_RATIO_LIMIT = 20.0  # e²⁰ ≈ 5e8: a log ratio beyond it is reported as ±20, never as infinity


def minibatch_means(taken, clip: float, comm=SERIAL) -> dict[str, float]:
    """What the minibatches of an update measured, as means over their samples; `taken`: (losses, ratio, w) of each."""
    sizes = comm.sum(np.array([np.count_nonzero(w) for _, _, w in taken], np.float64))
    clipped = comm.sum(np.array([np.dot(w, np.abs(ratio - 1) > clip) for _, ratio, w in taken]))
    columns = {name: np.array([losses[name] for losses, _, _ in taken]) for name in ("policy_loss", "value_loss")}
    return {name: mean(share(sizes), column) for name, column in (columns | {"clipfrac": clipped}).items()}


def surrogate_gain(logratio: np.ndarray, adv: np.ndarray, w: np.ndarray, comm=SERIAL) -> float:
    """L(θ) − L(θ_old) = Σ_n w_n (r_n − 1) A_n, log r (N,) = log π − log π_old, A (N,), w (N,) from `share`."""
    return mean(w, np.expm1(np.minimum(logratio, LOG_RATIO_LIMIT)) * adv, comm)


def kl_estimates(logratio: np.ndarray, w: np.ndarray, comm=SERIAL) -> dict[str, float]:
    """Schulman's three estimates of KL(old‖new) from samples of the old policy, log r = log π − log π_old (N,), w (N,) from `share`.

    k1 = −log r (unbiased, may be negative), k2 = ½(log r)² (biased, small variance), k3 = (r − 1) − log r (unbiased, never negative).
    """
    logr = np.clip(logratio.astype(np.float64), -LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
    return {"k1": mean(w, -logr, comm), "k2": mean(w, 0.5 * logr * logr, comm), "k3": mean(w, np.expm1(logr) - logr, comm)}
