"""Mean and variance of columns, updated batch by batch, and the one rule for "this does not vary"."""

from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from minirl.errors import NonFiniteError
from minirl.numerics.arrays import Array
from minirl.numerics.sums_over_samples import SampleWeights

RESOLUTION = 2.0**-40  # relative: smaller deviations are the rounding of sums, not variation


class MomentsTree(TypedDict):
    """Running moments as arrays and a number."""

    mean: Array
    m2: Array
    count: float


def is_constant(variance: Array, centre: Array, resolution: float | Array = RESOLUTION) -> Array:
    """Whether moments are those of a constant: σ ≤ resolution · |μ|, mere rounding. Every standardisation uses it."""
    return np.asarray(np.sqrt(variance) <= resolution * np.abs(centre))


@dataclass(frozen=True)
class RunningMoments:
    """Count, mean and sum of squared deviations of D columns in float64; merged as by Chan et al. (1983)."""

    mean: Array
    m2: Array
    count: float = 0.0

    @classmethod
    def zeros(cls, dim: int) -> "RunningMoments":
        return cls(np.zeros(dim), np.zeros(dim))

    @property
    def var(self) -> Array:
        """m2 / count (D,), never negative; 1 before the first sample, so that nothing is scaled then."""
        return self.m2 / self.count if self.count > 0 else np.ones_like(self.m2)

    def inv_std(self, resolution: float | Array = RESOLUTION) -> Array:
        """1/σ (D,), and 0 for a column that is constant to `resolution`, which scaling then keeps at 0."""
        constant = is_constant(self.var, self.mean, resolution) & (self.count > 0)
        return np.where(constant, 0.0, 1 / np.sqrt(np.where(constant, 1.0, self.var)))

    def tree(self) -> MomentsTree:
        """The state as arrays and scalars, copied; `RunningMoments(**tree)` is its inverse."""
        return {"mean": self.mean.copy(), "m2": self.m2.copy(), "count": self.count}

    def merge(self, n: float, mean: Array, m2: Array) -> "RunningMoments":
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

    def update(self, x: Array, weights: SampleWeights) -> "RunningMoments":
        """Take in x (N, D), over all ranks; NonFiniteError where a square would overflow."""
        with np.errstate(over="ignore", invalid="ignore"):
            merged = self.merge(weights.n, *weights.moments(x))
        if not np.isfinite(merged.m2).all():
            column = int(np.flatnonzero(~np.isfinite(merged.m2))[0])
            raise NonFiniteError(
                "the running variance", f"column {column} holds numbers too large to be squared; scale them"
            )
        return merged
