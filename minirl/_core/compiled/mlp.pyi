"""Shapes and meaning: reference/mlp.py, whose functions have the same names."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

def mlp_forward(theta: Array, x: Array, sizes: Sequence[int], activation: str, free: int = 0) -> tuple[Array, ...]: ...
def mlp_infer(theta: Array, x: Array, sizes: Sequence[int], activation: str, free: int = 0) -> Array: ...
def mlp_vjp(
    theta: Array,
    acts: Sequence[Array],
    dy: Array,
    sizes: Sequence[int],
    activation: str,
    free: int = 0,
) -> Array: ...
def mlp_jvp(
    theta: Array,
    acts: Sequence[Array],
    theta_dot: Array,
    sizes: Sequence[int],
    activation: str,
    free: int = 0,
) -> Array: ...
