"""The value function V(s): an MLP, of its own unless PPO shares the trunk."""

from typing import Any

import numpy as np

from minirl import _core
from minirl.models.mlp import MLP
from minirl.numerics.arrays import Array
from minirl.numerics.sample_weights import SampleWeights


class Critic:
    """V_θ(s): obs (N, D) -> (N,); θ (n,) is the MLP's, and with `scaled` V = μ + σ y with μ, σ as the last two entries of θ.

    No gradient moves μ and σ: `rescale` does, and keeps V as it is (PopArt, van Hasselt et al., 2016).
    """

    def __init__(self, obs_dim: int, hidden: tuple[int, ...], activation: str, scaled: bool = False):
        self.mlp = MLP((obs_dim, *hidden, 1), activation)
        self.scaled = scaled
        self.num_params = self.mlp.num_params + 2 * scaled

    def init(self, rng: np.random.Generator, dtype: Any = np.float32) -> np.ndarray:
        """Orthogonal weights, gain 1 in the last layer; μ = 0, σ = 1."""
        theta = self.mlp.init(rng, 1.0, dtype)
        return np.concatenate([theta, np.array([0, 1], dtype)]) if self.scaled else theta

    def unit(self, theta: np.ndarray) -> float:
        """σ, in which errors of V are measured; 1 when not scaled."""
        return float(theta[-1]) if self.scaled else 1.0

    def in_units(self, theta: Array, weights: SampleWeights) -> SampleWeights:
        """The weights of squared errors of V, the errors taken in units of σ."""
        return weights / self.unit(theta) ** 2 if self.scaled else weights

    def split(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """θ of the MLP, and [μ, σ] where it is scaled."""
        return theta[: self.mlp.num_params], theta[self.mlp.num_params :]

    def network(self, theta: np.ndarray) -> np.ndarray:
        """θ of the MLP alone, a view."""
        return theta[: self.mlp.num_params]

    def scale(self, theta: np.ndarray, y: np.ndarray) -> np.ndarray:
        """V (N,) from the MLP's output y (N,): in float64 where it is scaled, for beside μ float32 might not see σ."""
        return float(theta[-2]) + float(theta[-1]) * y.astype(np.float64) if self.scaled else y

    def forward(self, theta: np.ndarray, obs: np.ndarray) -> tuple[np.ndarray, Any]:
        """V (N,) and the cache that vjp takes."""
        y, cache = self.mlp.forward(self.network(theta), obs)
        return self.scale(theta, y[:, 0]), cache

    def value(self, theta: np.ndarray, obs: np.ndarray) -> np.ndarray:
        """V (N,) in float64, as the returns are."""
        return self.scale(theta, self.mlp.infer(self.network(theta), obs)[:, 0].astype(np.float64))

    def vjp(self, theta: np.ndarray, cache: Any, dvalue: np.ndarray) -> np.ndarray:
        """Jᵀ dV: (N,) -> (n,)."""
        if not self.scaled:
            return self.mlp.vjp(theta, cache, dvalue[:, None])
        dtheta = self.mlp.vjp(theta[:-2], cache, (self.unit(theta) * dvalue).astype(theta.dtype)[:, None])
        return np.concatenate([dtheta, np.zeros(2, theta.dtype)])

    def rescale(self, theta: np.ndarray, mean: float, std: float) -> np.ndarray:
        """θ with μ, σ = mean, std and the last layer changed so that V(s) is what it was for every s."""
        old_mean, old_std = float(theta[-2]), float(theta[-1])
        theta = theta.copy()
        theta[-2:] = mean, std
        mean, std = float(theta[-2]), float(theta[-1])  # as θ's type holds them
        *_, head = _core.mlp_layers(self.network(theta), self.mlp.sizes)
        head.weight[...] *= old_std / std
        head.bias[...] = (old_mean - mean + old_std * head.bias) / std
        return theta

    def first_scale(self, theta: np.ndarray, mean: float, std: float) -> np.ndarray:
        """θ with μ, σ = mean, std and y(s) as it was: a V that has learned nothing yet goes where the returns are."""
        theta = theta.copy()
        theta[-2:] = mean, std
        *_, head = _core.mlp_layers(self.network(theta), self.mlp.sizes)
        head.bias[...] += (mean - float(theta[-2])) / float(theta[-1])  # what θ's type cannot hold of the mean
        return theta
