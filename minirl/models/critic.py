"""The value function V(s): an MLP, of its own unless PPO shares the trunk."""

import numpy as np
import numpy.typing as npt

from minirl import _core
from minirl.models.mlp import MLP, Cache
from minirl.numerics.arrays import Array
from minirl.numerics.sums_over_samples import SampleWeights


class Critic:
    """V_θ(s): obs (N, D) -> (N,); θ (n,) is the MLP's.

    With `scaled`, V = μ + σ y with μ, σ as the last two entries of θ. These have no gradient: `rescale` changes them
    and preserves V (PopArt, van Hasselt et al., 2016).
    """

    def __init__(self, num_inputs: int, hidden: tuple[int, ...], activation: str, scaled: bool = False):
        self.mlp = MLP((num_inputs, *hidden, 1), activation)
        self.scaled = scaled
        self.num_params = self.mlp.num_params + 2 * scaled

    def init(self, rng: np.random.Generator, dtype: npt.DTypeLike = np.float32) -> Array:
        """Orthogonal weights, gain 1 in the last layer; μ = 0, σ = 1."""
        theta = self.mlp.init(rng, 1.0, dtype)
        return np.concatenate([theta, np.array([0, 1], dtype)]) if self.scaled else theta

    def unit(self, theta: Array) -> float:
        """σ, in which errors of V are measured; 1 when not scaled."""
        return float(theta[-1]) if self.scaled else 1.0

    def in_units(self, theta: Array, weights: SampleWeights) -> SampleWeights:
        """The weights of squared errors of V, the errors taken in units of σ."""
        return weights / self.unit(theta) ** 2 if self.scaled else weights

    def split(self, theta: Array) -> tuple[Array, Array]:
        """θ of the MLP, and [μ, σ] where it is scaled."""
        return theta[: self.mlp.num_params], theta[self.mlp.num_params :]

    def network(self, theta: Array) -> Array:
        """θ of the MLP alone, a view."""
        return theta[: self.mlp.num_params]

    def scale(self, theta: Array, y: Array) -> Array:
        """V (N,) from the MLP's output y (N,): in float64 where scaled, since float32 may round σ y off beside μ."""
        return float(theta[-2]) + float(theta[-1]) * y.astype(np.float64) if self.scaled else y

    def forward(self, theta: Array, obs: Array) -> tuple[Array, Cache]:
        """V (N,) and the cache that vjp takes."""
        y, cache = self.mlp.forward(self.network(theta), obs)
        return self.scale(theta, y[:, 0]), cache

    def value(self, theta: Array, obs: Array) -> Array:
        """V (N,) in float64, as the returns are."""
        return self.scale(theta, self.mlp.infer(self.network(theta), obs)[:, 0].astype(np.float64))

    def vjp(self, theta: Array, cache: Cache, dvalue: Array) -> Array:
        """Jᵀ dV: (N,) -> (n,)."""
        if not self.scaled:
            return self.mlp.vjp(theta, cache, dvalue[:, None])
        dtheta = self.mlp.vjp(theta[:-2], cache, (self.unit(theta) * dvalue).astype(theta.dtype)[:, None])
        return np.concatenate([dtheta, np.zeros(2, theta.dtype)])

    def rescale(self, theta: Array, mean: float, std: float) -> Array:
        """θ with μ, σ = mean, std and the last layer changed so that V(s) is what it was for every s."""
        old_mean, old_std = float(theta[-2]), float(theta[-1])
        theta = theta.copy()
        theta[-2:] = mean, std
        mean, std = float(theta[-2]), float(theta[-1])  # as θ's type holds them
        *_, head = _core.mlp_layers(self.network(theta), self.mlp.sizes)
        head.weight[...] *= old_std / std
        head.bias[...] = (old_mean - mean + old_std * head.bias) / std
        return theta

    def first_scale(self, theta: Array, mean: float, std: float) -> Array:
        """θ with μ, σ = mean, std and y(s) as it was: V moves to the returns, as it has learned nothing yet."""
        theta = theta.copy()
        theta[-2:] = mean, std
        *_, head = _core.mlp_layers(self.network(theta), self.mlp.sizes)
        head.bias[...] += (mean - float(theta[-2])) / float(theta[-1])  # what θ's type cannot hold of the mean
        return theta
