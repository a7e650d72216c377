"""Shapes and meaning: reference/losses.py, whose functions have the same names."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

def surrogate_loss(
    logp: Array, logp_old: Array, adv: Array, w: Array, clip: float, dual: float | None = None
) -> tuple[float, Array, Array]: ...
def squared_loss(w: Array, value: Array, target: Array) -> tuple[float, Array]: ...
def policy_surrogate(
    phi: Array,
    action: Array,
    logp_old: Array,
    adv: Array,
    w: Array,
    clip: float,
    dual: float | None,
    ent_coef: float,
    family: str,
) -> tuple[float, Array, Array]: ...
