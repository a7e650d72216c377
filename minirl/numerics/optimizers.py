"""Adam on one flat vector, and clipping by the global norm."""

from typing import TypedDict

import numpy as np
import numpy.typing as npt

from minirl import _core
from minirl.numerics.arrays import Array

ADAM_EPS = 1e-5  # as in the PPO implementations that published their curves; Kingma & Ba's default is 1e-8
BETA1, BETA2 = 0.9, 0.999  # decay rates of the running mean, and of that of squares


class AdamState(TypedDict):
    """Adam's state."""

    m: Array  # (n,) running mean of the gradient
    v: Array  # (n,) and of its square
    t: int  # steps taken


def adam_init(num_params: int, dtype: npt.DTypeLike) -> AdamState:
    """Moments m, v (n,) of 0, and t = 0."""
    return {"m": np.zeros(num_params, dtype), "v": np.zeros(num_params, dtype), "t": 0}


def adam_step(
    theta: Array, grad: Array, state: AdamState, lr: float, scale: float = 1.0, eps: float = ADAM_EPS
) -> None:
    """θ ← θ − lr m̂/(√v̂ + ε), the gradient first multiplied by `scale`. In place on θ and `state`."""
    state["t"] += 1
    _core.adam(theta, grad, state["m"], state["v"], state["t"], lr, BETA1, BETA2, eps, scale)


def copy_adam(state: AdamState) -> AdamState:
    """Adam's state, copied, so that steps on the copy leave the original."""
    return {"m": state["m"].copy(), "v": state["v"].copy(), "t": state["t"]}


def ascent_step(theta: Array, grad: Array, lr: float, scale: float = 1.0) -> None:
    """θ ← θ − lr · scale · ∇loss, in place: plain gradient ascent on the objective. [PG-12]"""
    theta -= theta.dtype.type(lr * scale) * grad  # [PG-12]


def clip_by_global_norm(grad: Array, max_norm: float) -> tuple[float, float]:
    """‖g‖ over the whole vector, and the factor min(1, max_norm/‖g‖) that brings it to at most max_norm."""
    norm = _core.global_norm(grad)
    return norm, min(1.0, max_norm / norm) if norm > 0 else 1.0
