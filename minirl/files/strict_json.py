"""JSON that is read strictly: each key once, finite numbers, limited depth."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minirl.errors import FileError, reason
from minirl.files.atomic import MAX_JSON, read_file, write_atomically

MAX_DEPTH = 32


def parse_json(text: str, integer: Callable[[str], int] | None = None) -> Any:
    """JSON with each key once, finite numbers and at most MAX_DEPTH levels; ValueError says what is wrong.

    integer: makes the integers, int() where it is None.
    """
    try:
        value = json.loads(
            text, object_pairs_hook=_unique, parse_int=integer, parse_constant=_finite, parse_float=_finite
        )
        _check_depth(value, MAX_DEPTH)
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) < len(pairs):
        raise ValueError("its JSON has a key twice")
    return keys


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"its JSON holds the number {text}")
    return number


def _check_depth(value: Any, left: int) -> None:
    if left == 0:
        raise RecursionError
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_depth(item, left - 1)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; FileError when it is missing or is not one."""
    try:
        value = parse_json(read_file(path, MAX_JSON).decode("utf-8"))
        if not isinstance(value, dict):
            raise ValueError("it holds no JSON object")
    except (OSError, ValueError) as why:
        raise FileError(f"{path} cannot be read: {reason(why)}") from why
    return value


def write_json(path: Path, value: dict[str, Any]) -> None:
    """An object as indented JSON."""
    write_atomically(
        path,
        (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8", "backslashreplace"),
    )
