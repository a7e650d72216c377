"""Observations that are one array: Box, MultiBinary, Discrete and MultiDiscrete, each as rows of numbers."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np

from minirl.numerics.running_moments import RESOLUTION
from minirl.spaces.facts import FLOATS, INTEGERS, Facts, among
from minirl.spaces.observation_checks import NUMBERS, ObservationError, shown
from minirl.spaces.observation_interface import ArrayObs, Entries, ObsCodec, cast


@dataclass(frozen=True)
class BoxObs(ArrayObs):
    """Numbers of any shape, flattened."""

    kind = "box"
    shape: tuple[int, ...]
    dtype: str = "float32"

    @classmethod
    def of_space(cls, space: Any, part: Callable[[Any], ObsCodec]) -> "BoxObs":
        return cls(tuple(space.shape), str(space.dtype) if space.dtype.itemsize <= 8 else "float64")

    @classmethod
    def read(cls, about: Facts, entries: Entries, part: Callable[[Any], ObsCodec]) -> "BoxObs":
        shape, dtype = cls.read_shape(about), about.get("dtype", "float32")  # which files of format 1 do not state
        among("obs dtype", dtype, ("bool", *FLOATS, *INTEGERS))
        return cls(shape, dtype)

    def describe(self) -> Facts:
        return super().describe() | {"dtype": self.dtype}

    @cached_property
    def loses_digits(self) -> bool:
        return bool(np.result_type(self.dtype, np.float32) != np.float32)

    @cached_property
    def precision(self) -> float:
        """Two units in the last place of its type."""
        exact = np.dtype(self.dtype).kind != "f"
        return RESOLUTION if exact else max(RESOLUTION, 2 * float(np.finfo(self.dtype).eps))

    @cached_property
    def vector(self) -> bool:
        """Whether an observation has one axis, (D,): the usual case, quickly."""
        return len(self.shape) == 1

    def encode_one(self, obs: Any, dtype: np.dtype) -> np.ndarray:
        if self.vector and type(obs) is np.ndarray and obs.shape == self.shape:
            if obs.dtype == dtype:
                return obs[None]
            if obs.dtype.kind in NUMBERS:
                return cast(obs[None], dtype)
        return self.encode(self.stack([obs]), dtype)

    def encode(self, obs: Any, dtype: Any) -> np.ndarray:
        if not self.vector:
            return super().encode(obs, dtype)
        x = self.checked(obs)
        return x.copy() if x.dtype == dtype else cast(x, dtype)

    def as_given(self, obs: Any, x: np.ndarray, row: int, column: int) -> Any:
        return np.asarray(obs)[row].reshape(-1)[column]


@dataclass(frozen=True)
class MultiBinaryObs(ArrayObs):
    """Zeros and ones of any shape, flattened."""

    kind = "multi_binary"
    shape: tuple[int, ...]

    @classmethod
    def of_space(cls, space: Any, part: Callable[[Any], ObsCodec]) -> "MultiBinaryObs":
        return cls(tuple(space.shape))

    @classmethod
    def read(cls, about: Facts, entries: Entries, part: Callable[[Any], ObsCodec]) -> "MultiBinaryObs":
        return cls(cls.read_shape(about))


class OneHotObs(ArrayObs):
    """Whole numbers, each as one column of ones and zeros for every number that it may be."""

    ranges: tuple[tuple[int, int], ...]  # of each of them the first number, and how many there are

    @cached_property
    def columns(self) -> int:
        return int(self.choices[1].sum())

    @cached_property
    def choices(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each of them its first number, how many there are, and its first column. OverflowError beyond int64."""
        first, size = np.array(self.ranges, np.int64).reshape(-1, 2).T.copy()
        return first, size.view(np.uint64), size.cumsum() - size

    def encode(self, obs: Any, dtype: Any) -> np.ndarray:
        x = self.checked(obs)
        x = x.reshape(len(x), math.prod(self.shape))
        first, size, column = self.choices
        if x.dtype.kind == "f":
            raise ObservationError(f"of type {x.dtype}, {shown(x.ravel())}: this policy takes whole numbers")
        if x.dtype == np.uint64:
            x = np.minimum(x, np.iinfo(np.int64).max).astype(np.int64)
        index = x - first
        wrong = index.view(np.uint64) >= size  # or below 0, which is a large number here
        if wrong.any():
            raise self._outside(x, *np.argwhere(wrong)[0].tolist())
        y = np.zeros((len(x), self.dim), dtype)
        y[np.arange(len(x))[:, None], index + column] = 1
        return y

    def _outside(self, x: np.ndarray, row: int, entry: int) -> ObservationError:
        """The error for an entry (of x, flattened) that is none of its numbers."""
        first, size, _ = self.choices
        place = f" at {tuple(map(int, np.unravel_index(entry, self.shape)))}" if self.shape else ""
        takes = f"this policy takes whole numbers, {first[entry]} to {int(first[entry]) + int(size[entry] - 1)}"
        return ObservationError(f"is {x[row, entry]}{place}: {takes}", row if len(x) > 1 else None)


@dataclass(frozen=True)
class DiscreteObs(OneHotObs):
    """One of `size` numbers from `start` on."""

    kind = "discrete"
    size: int
    start: int = 0
    shape: tuple[int, ...] = field(default=(), init=False)

    @classmethod
    def of_space(cls, space: Any, part: Callable[[Any], ObsCodec]) -> "DiscreteObs":
        return cls(int(space.n), int(space.start))

    @classmethod
    def read(cls, about: Facts, entries: Entries, part: Callable[[Any], ObsCodec]) -> "DiscreteObs":
        cls.read_shape(about, scalar=True, least=1)
        return cls(about["size"], about["start"])

    def describe(self) -> Facts:
        return super().describe() | {"start": self.start, "size": self.size}

    def facts(self) -> tuple[Any, ...]:
        return self.kind, self.start, self.size

    @cached_property
    def ranges(self) -> tuple[tuple[int, int], ...]:  # type: ignore[override]
        return ((self.start, self.size),)

    def __str__(self) -> str:
        return f"{self.kind} {self.size}"


@dataclass(frozen=True)
class MultiDiscreteObs(OneHotObs):
    """Several whole numbers, `ranges` in the order of the flattened array."""

    kind = "multi_discrete"
    shape: tuple[int, ...]
    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def of_space(cls, space: Any, part: Callable[[Any], ObsCodec]) -> "MultiDiscreteObs":
        first, size = space.start.ravel().tolist(), space.nvec.ravel().tolist()
        return cls(tuple(space.shape), tuple(zip(first, size, strict=True)))

    @classmethod
    def read(cls, about: Facts, entries: Entries, part: Callable[[Any], ObsCodec]) -> "MultiDiscreteObs":
        shape = cls.read_shape(about)
        if "parts" in about:  # format 1
            return cls(shape, _ranges_of_parts([part(each) for each in about["parts"]], math.prod(shape)))
        ranges = tuple(islice(entries, math.prod(shape)))
        if len(ranges) < math.prod(shape):
            raise ValueError("obs_choices has fewer rows than its multi_discrete observations have entries")
        return cls(shape, ranges)

    def entries(self) -> list[tuple[int, int]]:
        return list(self.ranges)

    def facts(self) -> tuple[Any, ...]:
        return self.kind, self.shape, self.ranges

    def __str__(self) -> str:
        sizes = [size for _, size in self.ranges]
        alike = len(sizes) > 8 and len(set(sizes)) == 1
        return f"{self.kind} {self.shape} of {f'[{sizes[0]}] * {len(sizes)}' if alike else sizes}"


def _ranges_of_parts(parts: list[ObsCodec], number: int) -> tuple[tuple[int, int], ...]:
    """The entries of a MultiDiscrete that stand as so many Discretes in a file of format 1."""
    ranges = tuple((part.start, part.size) for part in parts if isinstance(part, DiscreteObs))
    if not len(ranges) == len(parts) == number:
        raise ValueError("a multi_discrete observation has to have a discrete part for each entry")
    return ranges
