"""Preprocessing of the networks' inputs: observations to mean 0 and variance 1, then perhaps random features."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from minirl import _core
from minirl.models.fourier_features import RandomFeatures
from minirl.numerics.arrays import Array
from minirl.numerics.running_moments import RESOLUTION, RunningMoments
from minirl.numerics.sums_over_samples import SampleWeights

LIMIT = 10.0  # standardised observations are clipped to ±LIMIT

Preprocess: TypeAlias = Callable[[Array], Array]  # encoded observations (N, D) -> inputs of the network


class AffinePreprocess(ABC):
    """Subtracts a mean, multiplies by an inverse standard deviation and clips to ±LIMIT: the kernels can do that."""

    @property
    def affine(self) -> tuple[Array | None, Array | None]:
        """Mean and inverse deviation (D,), as kernels take them; None for neither."""
        return None, None

    @abstractmethod
    def __call__(self, x: Array) -> Array: ...


@dataclass(frozen=True)
class Identity(AffinePreprocess):
    """x as it is, where observations are not normalised."""

    def __call__(self, x: Array) -> Array:
        return x


IDENTITY = Identity()


@dataclass(frozen=True)
class ObsNormalizer(AffinePreprocess):
    """x -> (x − μ)/σ, clipped to ±10; a column that has not varied so far is 0.

    The moments are those of the observations that the policy acted on, without the final ones of episodes. They and the
    difference are in float64, so that a small variation around a large number keeps its digits; the result is in
    `dtype` (None: that of x).
    """

    moments: RunningMoments
    resolution: float | Array = RESOLUTION  # of all columns or each: smaller relative deviations are rounding
    dtype: npt.DTypeLike | None = None
    variance_floor: float = 0.0  # added to σ²: 1e-8 in policy files of format 1, which act as they did
    inv_std: Array = field(init=False)

    def __post_init__(self) -> None:
        floored = self.variance_floor > 0
        std = np.sqrt(self.moments.var + self.variance_floor)
        object.__setattr__(self, "inv_std", 1 / std if floored else self.moments.inv_std(self.resolution))

    def __call__(self, x: Array) -> Array:
        """(N, D) -> (N, D), with the statistics as they are."""
        return _core.standardize(x, self.moments.mean, self.inv_std, LIMIT, self.dtype == np.float32)

    @property
    def affine(self) -> tuple[Array, Array]:
        return self.moments.mean, self.inv_std

    def update(self, x: Array, weights: SampleWeights) -> "ObsNormalizer":
        """Take in x (N, D)."""
        return replace(self, moments=self.moments.update(x, weights))


def make_preprocess(normalizer: ObsNormalizer | None, features: RandomFeatures | None) -> Preprocess:
    """Encoded observations (N, D) -> inputs of the networks (N, D or number of features)."""
    normalize: Preprocess = normalizer or IDENTITY
    return normalize if features is None else lambda x: features(normalize(x))
