"""The multi-layer perceptron: a pure function of one flat θ. The class holds shapes only."""

from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from minirl import _core
from minirl.numerics.arrays import Array

Cache: TypeAlias = tuple[Array, ...]  # the activations of each layer in a forward pass


class MLP:
    """x (N, D) -> y (N, out) through tanh or ReLU layers; θ (n,) = [W₁ (in, out) row by row, b₁, W₂, b₂, …].

    The three products that everything else is made of, J = ∂y/∂θ:

        y, cache = forward(θ, x)        vjp(θ, cache, dy) = Jᵀ dy  (n,)        jvp(θ, cache, v) = J v  (N, out)

    θ may end in `free` parameters that belong to no layer, such as log σ; they are appended to each row of y.
    """

    def __init__(self, sizes: tuple[int, ...], activation: str = "tanh"):
        self.sizes = tuple(int(s) for s in sizes)
        self.activation = activation
        self.num_params = sum((n_in + 1) * n_out for n_in, n_out in pairwise(self.sizes))

    def init(self, rng: np.random.Generator, head_gain: float, dtype: npt.DTypeLike = np.float32) -> Array:
        """Orthogonal weights (Saxe et al., 2014), gain √2, in the last layer `head_gain`; zero biases -> θ (n,)."""
        theta = np.zeros(self.num_params, dtype)
        layers = _core.mlp_layers(theta, self.sizes)
        for i, (weight, _) in enumerate(layers):
            gain = head_gain if i + 1 == len(layers) else np.sqrt(2)
            weight[...] = gain * orthogonal(weight.shape, rng)
        return theta

    def forward(self, theta: Array, x: Array, free: int = 0) -> tuple[Array, Cache]:
        """y (N, out + free), and the activations of each layer as cache."""
        acts = _core.mlp_forward(theta, x, self.sizes, self.activation, free)
        return acts[-1], acts

    def infer(self, theta: Array, x: Array, free: int = 0) -> Array:
        """y (N, out + free) alone, for acting."""
        return _core.mlp_infer(theta, x, self.sizes, self.activation, free)

    def vjp(self, theta: Array, cache: Cache, dy: Array, free: int = 0) -> Array:
        """Jᵀ dy: (N, out + free) -> (n,), summed over the samples."""
        return _core.mlp_vjp(theta, cache, dy, self.sizes, self.activation, free)

    def jvp(self, theta: Array, cache: Cache, theta_dot: Array, free: int = 0) -> Array:
        """J θ̇: (n,) -> (N, out + free)."""
        return _core.mlp_jvp(theta, cache, theta_dot, self.sizes, self.activation, free)


def orthogonal(shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """A matrix with orthonormal rows or columns, whichever are fewer, uniformly distributed.

    It is Q of a Gaussian matrix, its signs fixed by those of R's diagonal.
    """
    rows, columns = shape
    gaussian = rng.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(gaussian)
    q = q * np.sign(np.diag(r))
    return q if rows >= columns else q.T
