"""Running moments: observations to mean 0 and variance 1, rewards by the deviation of the discounted return.

State is a tree of arrays; nothing changes while a rollout is collected or a policy evaluated, only `update` moves it.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from minirl import _core
from minirl.errors import NonFiniteError
from minirl.reduce import RESOLUTION, SERIAL, is_constant, moments

LIMIT = 10.0  # where standardised observations are cut


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


@dataclass(frozen=True)
class Identity:
    """x as it is, where observations are not normalised."""

    affine = (None, None)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return x


IDENTITY = Identity()


@dataclass(frozen=True)
class ObsNormalizer:
    """x -> (x − μ)/σ, cut at ±10; a column that has not varied so far is 0.

    Counted: each observation that the policy acted on, once; not the final ones of episodes. Statistics and the difference are in
    float64, so that a small variation around a large number keeps its digits; what comes out is in `dtype` (None: that of x).
    """

    moments: RunningMoments
    resolution: Any = RESOLUTION  # of each column, or of all: the part of a number below which a deviation is rounding
    dtype: Any = None
    variance_floor: float = 0.0  # added to σ²: 1e-8 in policy files of format 1, which act as they did
    inv_std: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        floored = self.variance_floor > 0
        inv_std = 1 / np.sqrt(self.moments.var + self.variance_floor) if floored else self.moments.inv_std(self.resolution)
        object.__setattr__(self, "inv_std", inv_std)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(N, D) -> (N, D), with the statistics as they are."""
        return _core.standardize(x, self.moments.mean, self.inv_std, LIMIT, self.dtype == np.float32)

    @property
    def affine(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and inverse deviation (D,), as kernels take them."""
        return self.moments.mean, self.inv_std

    def update(self, x: np.ndarray, weight: np.ndarray, comm=SERIAL) -> "ObsNormalizer":
        """Take in x (N, D), each row with its weight."""
        return replace(self, moments=self.moments.update(x, weight, comm))


@dataclass(frozen=True)
class RewardScaler:
    """r -> r/σ(R), where R_t = r_t + γ R_{t−1} starts again after termination and truncation. The mean stays.

    Nothing is scaled as long as R is constant. The order and the differences of rewards survive: nothing is cut here.
    """

    moments: RunningMoments
    carry: np.ndarray  # R of each environment (B,)

    def update(self, reward: np.ndarray, cut: np.ndarray, weight: np.ndarray, gamma: float, comm=SERIAL) -> "RewardScaler":
        """Take in a rollout: reward, cut, weight (T, B)."""
        sums, carry = _core.running_return(reward, cut, self.carry, gamma)
        return replace(self, moments=self.moments.update(sums.reshape(-1, 1), weight.reshape(-1), comm), carry=carry)

    def __call__(self, reward: np.ndarray) -> np.ndarray:
        """The rewards in units of σ(R)."""
        return reward * (self.moments.inv_std()[0] or 1.0)
