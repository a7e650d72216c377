"""Shapes and meaning: reference/simple_spread.py, whose functions have the same names."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

def spread_step(
    state: Array,
    steps: Array,
    action: Array,
    limit: int,
    local_ratio: float,
    obs: Array,
    reward: Array,
    truncated: Array,
) -> int: ...
def spread_reset(bit_generators: list[Any], rows: Array, state: Array, steps: Array, obs: Array) -> None: ...
