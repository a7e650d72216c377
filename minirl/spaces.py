"""gymnasium's spaces as arrays: observation encoder, action decoder, the family that fits. Data, so they travel with the policy."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from minirl import _core
from minirl.distributions import FAMILIES, NAMES, Family
from minirl.errors import SpaceError
from minirl.obs_checks import NUMBERS, ObservationError, numbers, printable, rows_of_numbers, several, shown
from minirl.reduce import RESOLUTION

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


@dataclass(frozen=True)
class ActionCodec:
    """Raw actions -> what the environment takes.

    Discrete and MultiDiscrete: numbers from their start. Box: a Gaussian's values u, where the space is `scaled` spread over its finite
    bounds, a = centre + half-range · u, then cut at the bounds; those of a bounded family lie between the bounds. `low` and `high` are
    a Box's bounds or the first and last numbers of a MultiDiscrete.
    """

    kind: str  # discrete, multi_discrete, multi_binary or box
    shape: tuple[int, ...]
    dtype: str
    start: int = 0
    size: int = 0
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    family_name: str = "auto"  # of the distribution; auto is the plainest that the space allows
    scaled: bool = False  # a Gaussian's actions are in half-ranges around the centre of finite bounds, else in the environment's units

    def __post_init__(self) -> None:
        names = NAMES[self.kind]
        if self.family_name == "auto":
            object.__setattr__(self, "family_name", names[0])
        if self.family_name not in names:
            raise SpaceError(f"family = {self.family_name!r}: for actions of kind {self.kind} there is auto, {', '.join(names)}")
        if self.bounded and not (np.isfinite(self.low).all() and np.isfinite(self.high).all()):  # type: ignore[arg-type]
            raise SpaceError(f"family = {self.family_name!r}: it needs finite bounds, the action space has {self.low} to {self.high}")

    @cached_property
    def bounded(self) -> bool:
        """Whether the family's actions are spread between the bounds instead of cut at them."""
        return hasattr(FAMILIES[self.family_name], "unit")

    @cached_property
    def element(self) -> np.dtype:
        """The type of the space's numbers."""
        return np.dtype(self.dtype)

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """low and high (1, *shape): NumPy is twice as fast where one action meets bounds of its own shape."""
        return self.low[None], self.high[None]  # type: ignore[index]

    @cached_property
    def spread(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Centre and half-range (1, *shape) float64 of a `scaled` Box, 0 and 1 where a bound is missing; None where all are 0 and 1.

        A bound of the order of the largest number of its type, or of float32, is none.
        """
        if self.kind != "box" or self.bounded or not self.scaled:
            return None
        low, high = (bound.astype(np.float64) for bound in self.bounds)
        largest = min(float(np.finfo(self.element).max), float(np.finfo(np.float32).max))
        finite = np.maximum(np.abs(low), np.abs(high)) < largest / 4
        low, high = np.where(finite, low, -1.0), np.where(finite, high, 1.0)
        centre, half = low / 2 + high / 2, high / 2 - low / 2
        return (centre, half) if (centre != 0).any() or (half != 1).any() else None

    def decode(self, action: np.ndarray) -> np.ndarray:
        """(N,) or (N, d) -> (N, *shape) in the space's own type; perhaps `action` itself."""
        if self.kind == "discrete":
            chosen = action if action.dtype == self.element else action.astype(self.element)
            return chosen + self.element.type(self.start) if self.start else chosen
        if self.bounded:
            unit = FAMILIES[self.family_name].unit(action.astype(np.float64)).reshape(len(action), *self.shape)  # how far from low to high
            action = self.low * (1 - unit) + self.high * unit  # type: ignore[operator]
        elif self.spread is not None:
            centre, half = self.spread
            action = centre + half * action.reshape(len(action), *self.shape)
            action = np.minimum(np.maximum(action, self.bounds[0]), self.bounds[1])  # before the cast, which could overflow
        x = action if action.shape[1:] == self.shape else action.reshape(len(action), *self.shape)
        x = x if x.dtype == self.element else x.astype(self.element)
        if self.kind == "box":
            return np.minimum(np.maximum(x, self.bounds[0]), self.bounds[1])
        return x + self.low if self.kind == "multi_discrete" else x  # type: ignore[operator]

    def family(self) -> Family:
        """The distribution over raw actions; a Box's is over the flattened action."""
        family = FAMILIES[self.family_name]
        if self.kind == "discrete":
            return family(self.size)
        if self.kind == "multi_discrete":
            return family((self.high - self.low + 1).reshape(-1))  # type: ignore[operator]
        return family(math.prod(self.shape))

    def read_mask(self, mask: Any, where: str = "row") -> np.ndarray:
        """An action mask (N, K), anything that is true where an action is allowed -> bool; SpaceError where there is nothing to choose.

        Of a MultiDiscrete the masks of the choices stand side by side. `where` is what the message calls a row.
        """
        if self.kind not in ("discrete", "multi_discrete"):
            raise SpaceError(f"mask_actions: there are masks for Discrete and MultiDiscrete actions, not for kind {self.kind}")
        dist: Any = self.family()
        allowed = np.asarray(mask)
        if allowed.ndim != 2 or allowed.shape[1] != dist.num_params or allowed.dtype.kind not in "biuf":
            raise SpaceError(
                f"action_mask of shape {allowed.shape[1:]} and type {allowed.dtype}: it takes {dist.num_params} numbers or truths"
            )
        allowed = allowed.astype(bool)
        stuck = np.flatnonzero(~dist.possible(allowed))
        if len(stuck):
            raise SpaceError(f"action_mask, {where}={stuck[0]}: it allows no action")
        return allowed

    def facts(self) -> list[Any]:
        """What two action spaces have to agree in to take the same actions: kind, shape, size, first number, bounds."""
        ends = [None if bound is None else np.asarray(bound).tolist() for bound in (self.low, self.high)]
        return [self.kind, list(self.shape), self.size, self.start, *ends]

    def __str__(self) -> str:
        size = self.size if self.kind == "discrete" else self.shape
        return f"{self.kind} {(self.high - self.low + 1).tolist() if self.kind == 'multi_discrete' else size}"  # type: ignore[operator]


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


def action_codec(space: Any, family: str = "auto", scaled: bool = False) -> ActionCodec:
    """The decoder for a single environment's action space; SpaceError for one without, or where the family does not fit."""
    from gymnasium import spaces

    if 0 in (getattr(space, "shape", None) or ()):
        raise SpaceError(f"action space {space}: there is no number in it to choose")
    if isinstance(space, spaces.Discrete):
        return ActionCodec("discrete", (), str(space.dtype), int(space.start), int(space.n), family_name=family)
    if isinstance(space, spaces.MultiDiscrete):
        low = np.array(space.start, space.dtype)
        high = (low + space.nvec - 1).astype(space.dtype)
        return ActionCodec("multi_discrete", tuple(space.shape), str(space.dtype), low=low, high=high, family_name=family)
    if isinstance(space, spaces.MultiBinary):
        return ActionCodec("multi_binary", tuple(space.shape), str(space.dtype), family_name=family)
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        low, high = space.low.copy(), space.high.copy()
        return ActionCodec("box", tuple(space.shape), str(space.dtype), low=low, high=high, family_name=family, scaled=scaled)
    raise SpaceError(f"action space {space}: minirl acts in Discrete, MultiDiscrete, MultiBinary and in Box of floats")
