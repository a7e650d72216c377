"""The multi-layer perceptron over a flat θ, forward, backward and tangent: the twins of compiled/mlp.pyx."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

__all__ = ["mlp_forward", "mlp_infer", "mlp_jvp", "mlp_vjp"]

ACTIVATIONS: dict[str, Callable] = {"tanh": np.tanh, "relu": lambda x: np.maximum(x, 0)}
# the derivative, from the activation's output
SLOPES = {"tanh": lambda y: 1 - y * y, "relu": lambda y: (y > 0).astype(y.dtype)}


class Layer(NamedTuple):
    """One affine map, h W + b."""

    weight: np.ndarray  # (in, out)
    bias: np.ndarray  # (out,)


def mlp_layers(theta: np.ndarray, sizes: Sequence[int]) -> list[Layer]:
    """Named views into the flat θ (n,), first layer first; writing to a view writes to θ."""
    layers: list[Layer] = []
    at = 0
    for n_in, n_out in pairwise(sizes):
        weight = theta[at : at + n_in * n_out].reshape(n_in, n_out)
        at += n_in * n_out
        layers.append(Layer(weight, theta[at : at + n_out]))
        at += n_out
    return layers


def mlp_forward(theta, x, sizes, activation, free=0):
    """h₀ = x, h_l = σ(h_{l−1} W_l + b_l), y = [h_{L−1} W_L + b_L, free] -> (h₀, …, h_{L−1}, y).

    These activations are all that the two products below need.

    θ may end in `free` parameters that belong to no layer, such as log σ; they are appended to each row of y.
    """
    acts = [x]
    *hidden, (weight, bias) = mlp_layers(theta, sizes)
    for w, b in hidden:
        acts.append(ACTIVATIONS[activation](acts[-1] @ w + b))
    acts.append(append_free(acts[-1] @ weight + bias, theta, free))
    return tuple(acts)


def append_free(y, theta, free):
    """[y, the last `free` numbers of θ] in each row (N, out + free)."""
    return np.hstack([y, np.broadcast_to(theta[len(theta) - free :], (len(y), free))]) if free else y


def mlp_infer(theta, x, sizes, activation, free=0):
    """y (N, out + free) alone, nothing kept: acting."""
    return mlp_forward(theta, x, sizes, activation, free)[-1]


def mlp_vjp(theta, acts, dy, sizes, activation, free=0):
    """dyᵀ ∂y/∂θ -> (n,): dW_l = h_{l−1}ᵀ dz_l, db_l = Σ_n dz_l, dh_{l−1} = dz_l W_lᵀ, dz_l = dh_l ⊙ σ'(z_l).

    The free parameters' part is the sum over n of their columns of dy.
    """
    dtheta = np.empty_like(theta)
    dz = dy[:, : sizes[-1]]
    dtheta[len(theta) - free :] = dy[:, sizes[-1] :].sum(axis=0, dtype=np.float64)
    layers, grads = mlp_layers(theta, sizes), mlp_layers(dtheta, sizes)
    for i in range(len(layers) - 1, -1, -1):
        grads[i].weight[...] = acts[i].T @ dz
        grads[i].bias[...] = dz.sum(axis=0)
        if i > 0:
            dz = (dz @ layers[i].weight.T) * SLOPES[activation](acts[i])
    return dtheta


def mlp_jvp(theta, acts, theta_dot, sizes, activation, free=0):
    """∂y/∂θ θ̇ -> (N, out + free): ż_l = h_{l−1} Ẇ_l + ḃ_l + ḣ_{l−1} W_l, ḣ_l = ż_l ⊙ σ'(z_l), ḣ₀ = 0."""
    h_dot = None
    z_dot = None
    layers, tangents = mlp_layers(theta, sizes), mlp_layers(theta_dot, sizes)
    for i, ((w, _), (w_dot, b_dot)) in enumerate(zip(layers, tangents, strict=True)):
        z_dot = acts[i] @ w_dot + b_dot
        if h_dot is not None:
            z_dot += h_dot @ w
        if i + 1 < len(layers):
            h_dot = z_dot * SLOPES[activation](acts[i + 1])
    return append_free(z_dot, theta_dot, free)
