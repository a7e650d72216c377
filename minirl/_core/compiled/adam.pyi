"""Shapes and meaning: reference/adam.py, whose functions have the same names."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

def adam(
    theta: Array,
    grad: Array,
    m: Array,
    v: Array,
    t: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    scale: float,
) -> None: ...
