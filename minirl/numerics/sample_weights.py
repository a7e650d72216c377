"""The one place where sums over samples are taken, in float64, over one process or many.

Each sample has a weight (1, unless it is not to count); `share` makes the weights of a batch sum to 1 over all ranks, and then
every mean, variance, gradient and Fisher product is a weighted sum that `comm.sum` completes.
"""

import numpy as np

from minirl.numerics.communicator import SERIAL
from minirl.numerics.running_moments import is_constant, moments


def share(weight, comm=SERIAL):
    """w_n = weight_n / Σ weight: (N,) -> (N,) float64, summing to 1 over all ranks. A total of 0 gives zeros."""
    total = comm.sum(float(weight.sum(dtype=np.float64)))
    return weight / total if total > 0 else np.zeros(len(weight))


def share_each(weight, lengths, comm=SERIAL):
    """`share` of each of several parts, one after the other in weight (N,) and as long as `lengths` says -> (N,)."""
    part = np.repeat(np.arange(len(lengths)), lengths)
    total = comm.sum(np.bincount(part, weight, len(lengths)))
    return weight / np.where(total > 0, total, np.inf)[part]


def mean(w, x, comm=SERIAL) -> float:
    """Σ_n w_n x_n over all ranks: w (N,) from `share`, x (N,) -> float; ValueError for x of another shape, which would broadcast."""
    if x.shape != w.shape:
        raise ValueError(f"mean of an array of shape {x.shape} with weights of shape {w.shape}")
    return float(comm.sum(float(np.dot(w, x))))


def standardize_adv(adv, weight, comm=SERIAL):
    """Advantages (N,) to mean 0 and standard deviation 1 over all ranks, float64.

    Two passes in float64 and a relative threshold: values that differ by rounding alone become exactly 0 instead of
    noise of full size. Fewer than two samples are left as they are.
    """
    n, centre, m2 = moments(weight, adv[:, None], comm)
    if n < 2:
        return adv.astype(np.float64)
    if is_constant(m2[0] / n, centre[0]):
        return np.zeros(len(adv))
    return (adv.astype(np.float64) - centre[0]) / np.sqrt(m2[0] / n)


def explained_variance(prediction, target, weight, comm=SERIAL) -> float:
    """1 − Var(target − prediction) / Var(target); NaN-free: 0 where the target does not vary."""
    _, _, m2_error = moments(weight, (target - prediction)[:, None], comm)
    n, centre, m2_target = moments(weight, target[:, None], comm)
    return 0.0 if n == 0 or is_constant(m2_target[0] / n, centre[0]) else float(1 - m2_error[0] / m2_target[0])
