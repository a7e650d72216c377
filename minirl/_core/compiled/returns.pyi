"""Shapes and meaning: reference/returns.py, whose functions have the same names."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

def gae(
    reward: Array,
    value: Array,
    next_value: Array,
    terminated: Array,
    cut: Array,
    gamma: float,
    lam: float,
) -> Array: ...
def discounted_returns(reward: Array, next_value: Array, terminated: Array, cut: Array, gamma: float) -> Array: ...
def running_return(reward: Array, cut: Array, carry: Array, gamma: float) -> tuple[Array, Array]: ...
