"""Observation spaces as arrays: observations of every kind become rows of numbers. Data, so it travels with the policy."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from minirl import _core
from minirl.errors import SpaceError
from minirl.numerics.running_moments import RESOLUTION
from minirl.spaces.observation_checks import NUMBERS, ObservationError, numbers, printable, rows_of_numbers, several, shown

MAX_NESTING = 14  # of Dict and Tuple: what is deeper would not fit the policy's file


@dataclass(frozen=True)
class ObsCodec:
    """Observations of a batch -> (N, D). Box and MultiBinary are flattened, a Discrete becomes one-hot (first number `start`).

    The others are made of parts, whose columns stand side by side in gymnasium's order: a MultiDiscrete of one Discrete per entry, a
    Tuple of its spaces, a Dict of those under its `keys`. A batch of a Tuple is a tuple of batches, one of a Dict a dict of batches.
    """

    kind: str  # box, multi_binary, discrete, multi_discrete, tuple or dict
    shape: tuple[int, ...]
    start: int = 0
    size: int = 0
    parts: tuple["ObsCodec", ...] = ()
    keys: tuple[str, ...] = ()
    dtype: str = "float32"  # of a Box's numbers

    @cached_property
    def dim(self) -> int:
        if self.kind in ("discrete", "multi_discrete"):
            return int(self.choices[1].sum())
        return sum(part.dim for part in self.parts) if self.kind in ("tuple", "dict") else math.prod(self.shape)

    @cached_property
    def choices(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each entry of a Discrete or MultiDiscrete: its first number, how many there are, and its first column."""
        entries = self.parts if self.kind == "multi_discrete" else (self,)
        first, size = np.array([(entry.start, entry.size) for entry in entries], np.int64).reshape(-1, 2).T.copy()
        return first, size.view(np.uint64), size.cumsum() - size

    @cached_property
    def wide(self) -> bool:
        """Whether float32 would lose digits: a Box of float64, or of integers of 32 bits or more, here or in a part."""
        return any(part.wide for part in self.parts) or (self.kind == "box" and np.result_type(self.dtype, np.float32) != np.float32)

    def encoded_type(self, dtype: Any, standardised: bool) -> np.dtype:
        """The type to encode in for networks of `dtype`: float64 where digits would be lost before the mean is taken off."""
        return np.dtype(np.float64 if self.wide and standardised else dtype)

    @cached_property
    def resolution(self) -> np.ndarray:
        """The part of a number below which a deviation is rounding, for each column (D,): two units in the last place of its type."""
        if self.kind in ("tuple", "dict"):
            return np.concatenate([part.resolution for part in self.parts])
        exact = self.kind != "box" or np.dtype(self.dtype).kind != "f"
        return np.full(self.dim, RESOLUTION if exact else max(RESOLUTION, 2 * float(np.finfo(self.dtype).eps)))

    @cached_property
    def vector(self) -> bool:
        """Whether an observation is an array of one axis, (D,)."""
        return self.kind == "box" and len(self.shape) == 1

    def encode_one(self, obs: Any, dtype: np.dtype) -> np.ndarray:
        """A single observation -> (1, D), perhaps a view of it."""
        if self.vector and type(obs) is np.ndarray and obs.shape == self.shape:
            if obs.dtype == dtype:
                return obs[None]
            if obs.dtype.kind in NUMBERS:
                return cast(obs[None], dtype)
        return self.encode(self.stack([obs]), dtype)

    def encode(self, obs: Any, dtype: Any) -> np.ndarray:
        """(N, *shape) or (N,), or a tuple or dict of such -> (N, D) of the given float type, always a fresh array."""
        if self.kind in ("tuple", "dict"):
            columns = self._of_parts(self._inside(obs), lambda part, x: part.encode(x, dtype))
            return np.concatenate(list(columns), axis=1)
        x = obs if type(obs) is np.ndarray and obs.dtype.kind in NUMBERS else rows_of_numbers(obs)
        if x.shape[1:] != self.shape or not x.ndim:
            remedy = "pass one batch axis in front"
            raise ObservationError(f"of shape {x.shape[1:]}: this policy takes {self.shape}; {remedy}")
        if self.vector:  # the usual case
            return x.copy() if x.dtype == dtype else cast(x, dtype)
        flat = x.reshape(len(x), math.prod(self.shape))
        if self.kind in ("discrete", "multi_discrete"):
            return self._one_hot(flat, dtype)
        return flat.copy() if x.dtype == dtype else cast(flat, dtype)

    def _one_hot(self, x: np.ndarray, dtype: Any) -> np.ndarray:
        """Whole numbers (N, entries) -> (N, D): a 1 among the columns of each entry."""
        first, size, column = self.choices
        if x.dtype.kind == "f":
            raise ObservationError(f"of type {x.dtype}, {shown(x.ravel())}: this policy takes whole numbers")
        if x.dtype == np.uint64:
            x = np.minimum(x, np.iinfo(np.int64).max).astype(np.int64)
        index = x - first
        wrong = index.view(np.uint64) >= size  # or below 0, which is a large number here
        if wrong.any():
            row, entry = (int(i) for i in np.argwhere(wrong)[0])
            place = f" at {tuple(map(int, np.unravel_index(entry, self.shape)))}" if self.shape else ""
            takes = f"this policy takes whole numbers, {first[entry]} to {int(first[entry]) + int(size[entry] - 1)}"
            raise ObservationError(f"is {x[row, entry]}{place}: {takes}", row if len(x) > 1 else None)
        y = np.zeros((len(x), self.dim), dtype)
        y[np.arange(len(x))[:, None], index + column] = 1
        return y

    def _of_parts(self, inside: Iterable[Any], function: Any) -> Iterator[Any]:
        """function(part, what is inside of it) for each part; an error names the part."""
        for name, part, x in zip(self.keys or range(len(self.parts)), self.parts, inside, strict=True):
            try:
                yield function(part, x)
            except ObservationError as why:
                raise ObservationError(why.what, why.row, f"[{name!r}]{why.part}") from None

    def _inside(self, obs: Any, row: int | None = None) -> list[Any]:
        """What an observation, or a batch of them, holds for each part."""
        if self.kind == "dict":
            if not isinstance(obs, dict) or set(obs) != set(self.keys):
                held = several(sorted(map(str, obs))) if isinstance(obs, dict) else type(obs).__name__
                raise ObservationError(f"with {held}: this policy takes a dict with {several(self.keys)}", row)
            return [obs[key] for key in self.keys]
        if not isinstance(obs, tuple | list) or len(obs) != len(self.parts):
            raise ObservationError(f"of type {type(obs).__name__}: this policy takes a tuple of {len(self.parts)}", row)
        return list(obs)

    def stack(self, observations: list[Any]) -> Any:
        """Single observations -> a batch of them, as `encode` takes it."""
        rows = range(len(observations)) if len(observations) > 1 else [None]
        if self.kind not in ("tuple", "dict"):
            arrays = [self._single(obs, row) for row, obs in zip(rows, observations, strict=True)]
            return np.stack(arrays) if len(arrays) > 1 else arrays[0][None]
        inside = zip(*(self._inside(obs, row) for row, obs in zip(rows, observations, strict=True)), strict=True)
        batches = list(self._of_parts(inside, lambda part, xs: part.stack(list(xs))))
        return dict(zip(self.keys, batches, strict=True)) if self.kind == "dict" else tuple(batches)

    def _single(self, obs: Any, row: int | None) -> np.ndarray:
        """One observation as an array of numbers of the right shape."""
        x = numbers(obs, row)
        if x.shape != self.shape:
            raise ObservationError(f"of shape {x.shape}: this policy takes {self.shape}", row)
        return x

    def __str__(self) -> str:
        if self.kind in ("tuple", "dict"):
            names = [f"{printable(key)}: " for key in self.keys] or [""] * len(self.parts)
            return f"{self.kind}({', '.join(f'{name}{part}' for name, part in zip(names, self.parts, strict=True))})"
        if self.kind == "multi_discrete":
            sizes = [part.size for part in self.parts]
            alike = len(sizes) > 8 and len(set(sizes)) == 1
            return f"{self.kind} {self.shape} of {f'[{sizes[0]}] * {len(sizes)}' if alike else sizes}"
        return f"{self.kind} {self.size if self.kind == 'discrete' else self.shape}"


def cast(x: np.ndarray, dtype: Any) -> np.ndarray:
    """A C-contiguous copy in another type; a number too large for it becomes infinite, and is found as such."""
    if x.dtype == np.float64 and dtype == np.float32 and x.ndim == 2:  # the usual case, quickly
        return _core.narrow(x)
    with np.errstate(over="ignore"):
        return x.astype(dtype, "C")


def obs_codec(space: Any, depth: int = 0) -> ObsCodec:
    """The encoder for a single environment's observation space, `depth` within others; SpaceError for one without."""
    if depth > MAX_NESTING:
        remedy = "flatten it, e.g. by gymnasium.wrappers.FlattenObservation"
        raise SpaceError(f"observation space: its Dict and Tuple are nested more than {MAX_NESTING} deep; {remedy}")
    codec = _codec(space, depth)
    try:
        empty = not codec.dim
    except OverflowError as why:
        raise SpaceError(f"observation space {space}: it starts beyond the numbers of type int64") from why
    if empty:
        raise SpaceError(f"observation space {space}: there is no number in it to learn from; leave it out")
    return codec


def _codec(space: Any, depth: int) -> ObsCodec:
    from gymnasium import spaces

    if isinstance(space, spaces.Box):
        return ObsCodec("box", tuple(space.shape), dtype=str(space.dtype) if space.dtype.itemsize <= 8 else "float64")
    if isinstance(space, spaces.MultiBinary):
        return ObsCodec("multi_binary", tuple(space.shape))
    if isinstance(space, spaces.Discrete):
        return ObsCodec("discrete", (), int(space.start), int(space.n))
    if isinstance(space, spaces.MultiDiscrete):
        first, size = space.start.ravel().tolist(), space.nvec.ravel().tolist()
        return multi_discrete(tuple(space.shape), zip(first, size, strict=True))
    if isinstance(space, spaces.Tuple):
        return ObsCodec("tuple", (), parts=tuple(obs_codec(part, depth + 1) for part in space.spaces))
    if isinstance(space, spaces.Dict) and all(isinstance(key, str) for key in space.spaces):
        parts = tuple(obs_codec(part, depth + 1) for part in space.spaces.values())
        return ObsCodec("dict", (), parts=parts, keys=tuple(space.spaces))
    known = "Box, Discrete, MultiDiscrete, MultiBinary, and from Tuple and Dict (with texts as keys) of these"
    raise SpaceError(f"observation space {space}: minirl learns from {known}; wrap it, e.g. gymnasium.wrappers.TransformObservation")


def multi_discrete(shape: tuple[int, ...], entries: Iterable[tuple[int, int]]) -> ObsCodec:
    """The encoder of a MultiDiscrete: of each entry the first number and how many; equal ones are one object."""
    one = cache(lambda first, size: ObsCodec("discrete", (), first, size))
    return ObsCodec("multi_discrete", shape, parts=tuple(one(first, size) for first, size in entries))
