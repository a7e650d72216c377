"""What stands before the network: observations to mean 0 and variance 1, then perhaps random features."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from minirl import _core
from minirl.models.fourier_features import RandomFeatures
from minirl.numerics.arrays import Array
from minirl.numerics.running_moments import RESOLUTION, RunningMoments
from minirl.numerics.sample_weights import SampleWeights

LIMIT = 10.0  # where standardised observations are cut


Inputs = Callable[[np.ndarray], np.ndarray]  # encoded observations (N, D) -> what the network sees


class AffineInputs:
    """Inputs that take a mean off, multiply by an inverse deviation and cut at ±LIMIT: kernels do so by themselves."""

    @property
    def affine(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Mean and inverse deviation (D,), as kernels take them; None for neither."""
        return None, None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        raise NotImplementedError


@dataclass(frozen=True)
class Identity(AffineInputs):
    """x as it is, where observations are not normalised."""

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return x


IDENTITY = Identity()


@dataclass(frozen=True)
class ObsNormalizer(AffineInputs):
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
        return self.moments.mean, self.inv_std

    def update(self, x: Array, weights: SampleWeights) -> "ObsNormalizer":
        """Take in x (N, D)."""
        return replace(self, moments=self.moments.update(x, weights))


def network_inputs(normalizer: ObsNormalizer | None, features: RandomFeatures | None) -> Inputs:
    """Encoded observations (N, D) -> what the networks see (N, D or number of features)."""
    before: Inputs = normalizer or IDENTITY
    return before if features is None else lambda x: features(before(x))
