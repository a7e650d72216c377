"""What an observation may hold, numbers and nothing else, and the errors that say what it holds instead."""

import reprlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from minirl.errors import SpaceError

NUMBERS = "biuf"  # the kinds of NumPy's types that observations may have


class ObservationError(SpaceError):
    """An observation that does not fit: what is wrong, in which row of a batch, and in which part of it."""

    def __init__(self, what: str, row: int | None = None, part: str = ""):
        self.what, self.row, self.part = what, row, part
        super().__init__(f"observation{part}{'' if row is None else f', row={row},'} {what}")

    def of_an_env(self, step: int, envs: np.ndarray) -> SpaceError:
        """The same, said of the environment that the row came from."""
        row = 0 if len(envs) == 1 else self.row
        where = "" if row is None else f", env={envs[row]}"
        return SpaceError(f"observation{self.part}{where}, step={step}, {self.what}")


def numbers(obs: Any, row: int | None = None) -> np.ndarray:
    """An observation as an array; ObservationError where it is not made of numbers."""
    if type(obs) is np.ndarray and obs.dtype.kind in NUMBERS:
        return obs
    try:
        x = np.asarray(obs)
        if x.dtype.kind in NUMBERS and not masked(obs, x.ndim):
            return x
        what = {"O": "object", "U": "text"}.get(x.dtype.kind, "masked array" if masked(obs, x.ndim) else str(x.dtype))
    except Exception as why:  # of an object that says how it becomes an array, any
        what = f"{type(obs).__name__} ({' '.join(str(why).split())[:100]})"
    remedy = "this policy takes numbers; make them by numpy.asarray(obs, float)"
    raise ObservationError(f"of type {what}, {shown(obs)}: {remedy}", row)


def masked(obs: Any, ndim: int) -> bool:
    """Whether it is a masked array, or several of them: NumPy takes what is under the mask."""
    if ndim > 1 and isinstance(obs, (list, tuple)):
        return any(isinstance(row, np.ma.MaskedArray) for row in obs)
    return isinstance(obs, np.ma.MaskedArray)


def rows_of_numbers(obs: Any) -> np.ndarray:
    """A batch of observations as an array; ObservationError with the row that is not made of numbers."""
    try:
        return numbers(obs)
    except ObservationError:
        rows = obs.tolist() if isinstance(obs, np.ndarray) else obs
        for row, each in enumerate(rows if isinstance(rows, list | tuple) else ()):
            numbers(each, row)
        raise


def shown(x: Any) -> str:
    """The beginning of what stands in an observation, on one line."""
    return " ".join(reprlib.repr(x.tolist() if isinstance(x, np.ndarray) else x).split())


def several(names: Iterable[str]) -> str:
    """Names for a message: the first of many."""
    names = list(names)
    return ", ".join(map(printable, names[:10])) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def printable(name: str) -> str:
    """A name as it is, or quoted where it holds what no terminal prints."""
    return name if name.isprintable() else repr(name)
