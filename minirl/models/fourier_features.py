"""Random Fourier features: fixed nonlinear features, with which a linear policy goes far (Rajeswaran et al., 2017)."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minirl import _core
from minirl.numerics.arrays import Array


@dataclass(frozen=True)
class RandomFeatures:
    """x (N, D) -> sin(x P + φ) (N, M), P and φ drawn once and never trained.

    Inner products of features depend on the distance of the observations alone: a radial basis (Rahimi & Recht, 2007).
    """

    weight: Array  # P (D, M) float64, normal with deviation 1/ν
    phase: Array  # φ (M,) float64, uniform in [−π, π)
    # [P, φ] by element type
    _layer: dict[np.dtype[Any], Array] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def draw(cls, rng: np.random.Generator, dim: int, num: int, width: float) -> "RandomFeatures":
        """`num` features of `dim` numbers; ν is `width` times √(2 dim), the distance of two normalised observations."""
        weight = rng.standard_normal((dim, num)) / (width * np.sqrt(2 * max(dim, 1)))
        return cls(weight, rng.uniform(-np.pi, np.pi, num))

    def __call__(self, x: Array) -> Array:
        """The features in the type of x."""
        if x.dtype not in self._layer:
            self._layer[x.dtype] = np.concatenate([self.weight.ravel(), self.phase]).astype(x.dtype)
        # one affine layer: the last layer has no activation
        return np.sin(_core.mlp_infer(self._layer[x.dtype], x, self.weight.shape, "tanh"))

    def tree(self) -> dict[str, Array]:
        """P and φ, copied; `RandomFeatures(**tree)` is the inverse."""
        return {"weight": self.weight.copy(), "phase": self.phase.copy()}
