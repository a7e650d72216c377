"""Shapes and meaning: reference.py, whose functions have the same names."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

def mlp_forward(theta: Array, x: Array, sizes: Sequence[int], activation: str) -> tuple[Array, ...]: ...
def mlp_infer(theta: Array, x: Array, sizes: Sequence[int], activation: str) -> Array: ...
def mlp_vjp(theta: Array, acts: Sequence[Array], dy: Array, sizes: Sequence[int], activation: str) -> Array: ...
def mlp_jvp(theta: Array, acts: Sequence[Array], theta_dot: Array, sizes: Sequence[int], activation: str) -> Array: ...
def policy_act(
    theta: Array,
    x: Array,
    noise: Array | None,
    mean: Array | None,
    inv_std: Array | None,
    limit: float,
    sizes: Sequence[int],
    activation: str,
    free: int,
    family: str,
) -> Array: ...
