"""Shapes and meaning: reference/conjugate_gradient.py, whose functions have the same names."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

def cg_step(x: Array, r: Array, p: Array, Ap: Array, rr: float, pAp: float) -> float: ...
