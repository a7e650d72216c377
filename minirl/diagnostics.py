"""Numbers that describe an update and change nothing."""

import numpy as np

from minirl.reduce import SERIAL, mean

LOG_RATIO_LIMIT = 20.0  # e²⁰ ≈ 5e8: a log ratio beyond it is reported as ±20, never as infinity


def kl_estimates(logratio: np.ndarray, w: np.ndarray, comm=SERIAL) -> dict[str, float]:
    """Schulman's three estimates of KL(old‖new) from samples of the old policy, log r = log π − log π_old (N,), w (N,) from `share`.

    k1 = −log r (unbiased, may be negative), k2 = ½(log r)² (biased, small variance), k3 = (r − 1) − log r (unbiased, never negative).
    """
    logr = np.clip(logratio.astype(np.float64), -LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
    return {"k1": mean(w, -logr, comm), "k2": mean(w, 0.5 * logr * logr, comm), "k3": mean(w, np.expm1(logr) - logr, comm)}
