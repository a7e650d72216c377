"""Plain facts about a space, as a policy file states them: each held against what it may be, else ValueError."""

import math
from typing import Any

from minirl.files.safetensors import MAX_DIMS

MAX_SIZE = 1 << 24  # of an observation, an action, or a layer
FLOATS = ("float16", "float32", "float64")
INTEGERS = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))

Facts = dict[str, Any]  # what JSON gave: nothing in it can be trusted


def among(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """One of the names that are allowed, or ValueError."""
    if value not in allowed:
        raise ValueError(f"{name} {str(value)[:40]!r}: takes {', '.join(allowed)}")


def integer(name: str, value: Any) -> int:
    """A whole number of 64 bits."""
    if type(value) is not int or abs(value) >= 1 << 63:
        raise ValueError(f"{name} has to be an integer")
    return value


def natural(name: str, value: Any, least: int) -> int:
    """A whole number from `least` to MAX_SIZE."""
    if not least <= integer(name, value) <= MAX_SIZE:
        raise ValueError(f"{name} = {value}: takes {least} to {MAX_SIZE}")
    return int(value)


def boolean(name: str, value: Any) -> bool:
    """true or false, and nothing that only counts as such."""
    if type(value) is not bool:
        raise ValueError(f"{name} has to be true or false")
    return value


def shape_from(name: str, value: Any, scalar: bool) -> tuple[int, ...]:
    """A shape of reasonable size; of a space that is no array of numbers (`scalar`) it has to be ()."""
    sizes = tuple(natural(f"{name} shape", size, 0) for size in value)
    if len(sizes) > (0 if scalar else MAX_DIMS) or math.prod(sizes) > MAX_SIZE:
        raise ValueError(f"{name} shape {sizes[:4]} is too large")
    return sizes
