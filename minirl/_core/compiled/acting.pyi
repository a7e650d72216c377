"""Shapes and meaning: reference/acting.py."""

from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

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
def policy_actor(
    theta: Array,
    mean: Array | None,
    inv_std: Array | None,
    limit: float,
    sizes: Sequence[int],
    activation: str,
    free: int,
    family: str,
) -> Callable[[Array, Array | None], Array]: ...
