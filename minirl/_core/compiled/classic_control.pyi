"""Shapes and meaning: reference/classic_control.py, whose functions have the same names."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

def env_step(
    name: str,
    state: Array,
    steps: Array,
    action: Array,
    skip: Array,
    limit: int,
    obs: Array,
    reward: Array,
    terminated: Array,
    truncated: Array,
) -> int: ...
def env_reset(
    name: str, bit_generators: list[Any], rows: Array, low: Array, high: Array, state: Array, steps: Array, obs: Array
) -> None: ...
