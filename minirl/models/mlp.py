"""The multi-layer perceptron: a pure function of one flat θ. The class holds shapes only."""

from itertools import pairwise
from typing import Any

import numpy as np

from minirl import _core
from minirl.numerics.arrays import Array

Cache = tuple[Array, ...]  # the activations of each layer, of a forward pass


class MLP:
    """x (N, D) -> y (N, out) through tanh or ReLU layers; θ (n,) = [W₁ (in, out) row by row, b₁, W₂, b₂, …].

    The three products that everything stands on, J = ∂y/∂θ:

        y, cache = forward(θ, x)        vjp(θ, cache, dy) = Jᵀ dy  (n,)        jvp(θ, cache, v) = J v  (N, out)

    `free` parameters of no layer may stand at the end of θ, as a log σ does; they are handed on behind each row of y.
    """

    def __init__(self, sizes: tuple[int, ...], activation: str = "tanh"):
        self.sizes = tuple(int(s) for s in sizes)
        self.activation = activation
        self.num_params = sum((n_in + 1) * n_out for n_in, n_out in pairwise(self.sizes))

    def init(self, rng: np.random.Generator, head_gain: float, dtype: Any = np.float32) -> np.ndarray:
        """Orthogonal weights (Saxe et al., 2014), gain √2 for hidden layers and `head_gain` for the last, zero biases -> θ (n,)."""
        theta = np.zeros(self.num_params, dtype)
        layers = _core.mlp_layers(theta, self.sizes)
        for i, (weight, _) in enumerate(layers):
            gain = head_gain if i + 1 == len(layers) else np.sqrt(2)
            weight[...] = gain * orthogonal(weight.shape, rng)
        return theta

    def forward(self, theta: np.ndarray, x: np.ndarray, free: int = 0) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """y (N, out + free), and the activations of each layer as cache."""
        acts = _core.mlp_forward(theta, x, self.sizes, self.activation, free)
        return acts[-1], acts

    def infer(self, theta: np.ndarray, x: np.ndarray, free: int = 0) -> np.ndarray:
        """y (N, out + free) alone, for acting."""
        return _core.mlp_infer(theta, x, self.sizes, self.activation, free)

    def vjp(self, theta: np.ndarray, cache: tuple[np.ndarray, ...], dy: np.ndarray, free: int = 0) -> np.ndarray:
        """Jᵀ dy: (N, out + free) -> (n,), summed over the samples."""
        return _core.mlp_vjp(theta, cache, dy, self.sizes, self.activation, free)

    def jvp(self, theta: np.ndarray, cache: tuple[np.ndarray, ...], theta_dot: np.ndarray, free: int = 0) -> np.ndarray:
        """J θ̇: (n,) -> (N, out + free)."""
        return _core.mlp_jvp(theta, cache, theta_dot, self.sizes, self.activation, free)


def orthogonal(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A matrix with orthonormal rows or columns, whichever are fewer, uniform over all such (Q of a Gaussian, signs fixed by R)."""
    rows, columns = shape
    gaussian = rng.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(gaussian)
    q = q * np.sign(np.diag(r))
    return q if rows >= columns else q.T
