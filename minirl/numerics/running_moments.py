"""The one place where sums over samples are taken, in float64, over one process or many.

Each sample has a weight (1, unless it is not to count); `share` makes the weights of a batch sum to 1 over all ranks, and then
every mean, variance, gradient and Fisher product is a weighted sum that `comm.sum` completes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minirl.errors import NonFiniteError
from minirl.numerics.communicator import SERIAL

RESOLUTION = 2.0**-40  # of a number in float64: a deviation below this part of it is the rounding of sums, not variation


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


@dataclass(frozen=True)
class RunningMoments:
    """Count, mean and sum of squared deviations of D columns in float64, from count 0; merging is Chan et al.'s (1983)."""

    mean: np.ndarray
    m2: np.ndarray
    count: float = 0.0

    @classmethod
    def zeros(cls, dim: int) -> "RunningMoments":
        return cls(np.zeros(dim), np.zeros(dim))

    @property
    def var(self) -> np.ndarray:
        """m2 / count (D,), never negative; 1 before the first sample, so that nothing is scaled then."""
        return self.m2 / self.count if self.count > 0 else np.ones_like(self.m2)

    def inv_std(self, resolution: Any = RESOLUTION) -> np.ndarray:
        """1/σ (D,), and 0 for a column that is constant to `resolution`: scaled by it, whatever it does next stays 0."""
        constant = is_constant(self.var, self.mean, resolution) & (self.count > 0)
        return np.where(constant, 0.0, 1 / np.sqrt(np.where(constant, 1.0, self.var)))

    def tree(self) -> dict[str, Any]:
        """The state as arrays and scalars, copied; `RunningMoments(**tree)` is its inverse."""
        return {"mean": self.mean.copy(), "m2": self.m2.copy(), "count": self.count}

    def merge(self, n: float, mean: np.ndarray, m2: np.ndarray) -> "RunningMoments":
        """The moments of both sets of samples together."""
        if n == 0:
            return self
        total = self.count + n
        shift = mean - self.mean
        return RunningMoments(
            mean=self.mean + shift * (n / total),
            m2=self.m2 + m2 + shift * shift * (self.count * (n / total)),
            count=total,
        )

    def update(self, x: np.ndarray, weight: np.ndarray, comm=SERIAL) -> "RunningMoments":
        """Take in x (N, D), each row with its weight, over all ranks; NonFiniteError where a square would overflow."""
        with np.errstate(over="ignore", invalid="ignore"):
            merged = self.merge(*moments(weight, x, comm))
        if not np.isfinite(merged.m2).all():
            column = int(np.flatnonzero(~np.isfinite(merged.m2))[0])
            raise NonFiniteError("the running variance", f"column {column} holds numbers too large to be squared; scale them")
        return merged
