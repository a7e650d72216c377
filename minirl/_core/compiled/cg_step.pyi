"""Shapes and meaning: reference/cg_step.py, whose functions have the same names."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

def cg_step(x: Array, r: Array, p: Array, Ap: Array, rr: float, pAp: float) -> float: ...
