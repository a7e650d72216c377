"""The one place where sums over samples are taken, in float64, over one process or many.

Each sample has a weight (1, unless it is not to count); `share` makes the weights of a batch sum to 1 over all ranks, and then
every mean, variance, gradient and Fisher product is a weighted sum that `comm.sum` completes.
"""

from typing import Protocol

import numpy as np


class Communicator(Protocol):
    """What the reductions need of a group of processes."""

    rank: int
    size: int

    def sum(self, x):
        """Element-wise sum of a float or array over all ranks, the same result on each."""
        ...

    def max(self, x: float) -> float:
        """The largest of a float over all ranks."""
        ...


class Serial:
    """The group of one."""

    rank, size = 0, 1

    def sum(self, x):
        return x

    def max(self, x: float) -> float:
        return x


SERIAL = Serial()
RESOLUTION = 2.0**-40  # of a number in float64: a deviation below this part of it is the rounding of sums, not variation


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


def moments(weight, x, comm=SERIAL):
    """Count, mean and sum of squared deviations of the columns of x (N, D), weighted, two passes in float64.

    Returns n (float), mean (D,), m2 (D,); the second pass is about the mean, so that a large offset costs no digits.
    """
    x = x.astype(np.float64, copy=False)
    n = comm.sum(float(weight.sum(dtype=np.float64)))
    centre = comm.sum(weight @ x) / (n if n > 0 else 1.0)
    deviation = x - centre
    return n, centre, comm.sum(weight @ (deviation * deviation))


def is_constant(variance, centre, resolution=RESOLUTION):
    """Whether moments are those of a constant: σ ≤ resolution · |μ|, so it is rounding. The one rule for all that is standardised."""
    return np.sqrt(variance) <= resolution * np.abs(centre)


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
