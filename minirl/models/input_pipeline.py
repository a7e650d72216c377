"""What stands before the network: observations to mean 0 and variance 1, then perhaps random features."""

from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from minirl import _core
from minirl.models.fourier_features import RandomFeatures
from minirl.numerics.communicator import SERIAL
from minirl.numerics.running_moments import RESOLUTION, RunningMoments

LIMIT = 10.0  # where standardised observations are cut


class NetworkInputs(Protocol):
    """What stands before the network: encoded observations (N, D) -> what it sees."""

    @property
    def affine(self) -> Any:
        """Mean and inverse deviation (D,), or None and None, where it takes off the one, multiplies by the other and cuts; else None."""

    def __call__(self, x: np.ndarray) -> np.ndarray: ...


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
class FeatureInputs:
    """x -> the random features of x, normalised or as it is: more than a kernel takes in."""

    before: NetworkInputs
    features: RandomFeatures
    affine = None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.features(self.before(x))


def network_inputs(normalizer: ObsNormalizer | None, features: RandomFeatures | None) -> NetworkInputs:
    """Encoded observations (N, D) -> what the networks see (N, D or number of features)."""
    before: NetworkInputs = normalizer or IDENTITY
    return before if features is None else FeatureInputs(before, features)
