"""What every observation space is made into, rows of numbers; the kinds stand in array_ and nested_observations."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from minirl import _core
from minirl.numerics.running_moments import RESOLUTION
from minirl.spaces.facts import Facts, integer, natural, shape_from
from minirl.spaces.observation_checks import NUMBERS, ObservationError, numbers, rows_of_numbers

Entries = Iterator[tuple[int, int]]  # of each entry of a MultiDiscrete its first number, and how many there are


class ObsCodec(ABC):
    """Observations of a batch -> (N, D). Plain data, so it travels with the policy; equal where its fields are.

    `of_space` makes one of a gymnasium space, `read` of what `describe` and `entries` gave to a policy file. Both take
    the function that does the same for a space inside of this one, which only Tuple and Dict use.
    """

    kind: ClassVar[str]  # its name in messages and in policy files
    nested: ClassVar[bool] = False  # whether an observation is a tuple or a dict of others
    shape: tuple[int, ...]  # of one observation; () where it is no array

    @classmethod
    @abstractmethod
    def of_space(cls, space: Any, part: Callable[[Any], "ObsCodec"]) -> "ObsCodec": ...

    @classmethod
    @abstractmethod
    def read(cls, about: Facts, entries: Entries, part: Callable[[Any], "ObsCodec"]) -> "ObsCodec":
        """The codec that is described; MultiDiscretes take the next `entries`. ValueError, KeyError, TypeError."""

    @classmethod
    def read_shape(cls, about: Facts, scalar: bool = False, least: int = 0) -> tuple[int, ...]:
        """The shape; checks size (`least` or more) and start too, which every kind states and not every kind has."""
        natural("obs size", about["size"], least)
        shape = shape_from("obs", about["shape"], scalar)
        integer("obs start", about["start"])
        return shape

    def describe(self) -> Facts:
        """The plain facts that a policy file holds."""
        return {"kind": self.kind, "shape": list(self.shape), "start": 0, "size": 0}

    def entries(self) -> list[tuple[int, int]]:
        """What a policy file holds besides, in a tensor: the entries of every MultiDiscrete, as they are described."""
        return []

    @abstractmethod
    def facts(self) -> tuple[Any, ...]:
        """What two spaces have to agree in to hold the same observations; not the type of a Box's numbers."""

    @abstractmethod
    def arrays(self) -> Iterator["ArrayObs"]:
        """The arrays that an observation consists of: itself, or those inside of it."""

    @cached_property
    def dim(self) -> int:
        """D, how many numbers an observation becomes."""
        return sum(array.columns for array in self.arrays())

    @cached_property
    def wide(self) -> bool:
        """Whether float32 would lose digits: a Box of float64, or of integers of 32 bits or more, somewhere in it."""
        return any(array.loses_digits for array in self.arrays())

    @cached_property
    def resolution(self) -> np.ndarray:
        """The precision of each column (D,): below that part of a number a deviation is rounding."""
        return np.concatenate([np.full(array.columns, array.precision) for array in self.arrays()])

    def encoded_type(self, dtype: Any, standardised: bool) -> np.dtype:
        """The type to encode in for networks of `dtype`: float64 where digits would be lost before standardising."""
        return np.dtype(np.float64 if self.wide and standardised else dtype)

    def encode_one(self, obs: Any, dtype: np.dtype) -> np.ndarray:
        """A single observation -> (1, D), perhaps a view of it."""
        return self.encode(self.stack([obs]), dtype)

    @abstractmethod
    def encode(self, obs: Any, dtype: Any) -> np.ndarray:
        """(N, *shape) or (N,), or a tuple or dict of such -> (N, D) of the given float type, always a fresh array."""

    def as_given(self, obs: Any, x: np.ndarray, row: int, column: int) -> Any:
        """What a number of x, obs when encoded, was before: for messages, since a cast may have made it infinite."""
        return x[row, column]

    @abstractmethod
    def stack(self, observations: list[Any]) -> Any:
        """Single observations -> a batch of them, as `encode` takes it."""


class ArrayObs(ObsCodec):
    """An observation that is one array of numbers."""

    @property
    def loses_digits(self) -> bool:
        """Whether float32 is too narrow for its numbers."""
        return False

    @property
    def precision(self) -> float:
        """The part of a number below which a deviation is rounding."""
        return RESOLUTION

    @cached_property
    def columns(self) -> int:
        """How many numbers it becomes."""
        return math.prod(self.shape)

    def arrays(self) -> Iterator["ArrayObs"]:
        yield self

    def facts(self) -> tuple[Any, ...]:
        return self.kind, self.shape

    def checked(self, obs: Any) -> np.ndarray:
        """A batch as an array of numbers (N, *shape); ObservationError where it is none."""
        x = obs if type(obs) is np.ndarray and obs.dtype.kind in NUMBERS else rows_of_numbers(obs)
        if x.shape[1:] != self.shape or not x.ndim:
            remedy = "pass one batch axis in front"
            raise ObservationError(f"of shape {x.shape[1:]}: this policy takes {self.shape}; {remedy}")
        return x

    def encode(self, obs: Any, dtype: Any) -> np.ndarray:
        x = self.checked(obs)
        flat = x.reshape(len(x), math.prod(self.shape))
        return flat.copy() if x.dtype == dtype else cast(flat, dtype)

    def stack(self, observations: list[Any]) -> np.ndarray:
        if len(observations) == 1:
            return self._single(observations[0], None)[None]
        return np.stack([self._single(obs, row) for row, obs in enumerate(observations)])

    def _single(self, obs: Any, row: int | None) -> np.ndarray:
        """One observation as an array of numbers of the right shape."""
        x = numbers(obs, row)
        if x.shape != self.shape:
            raise ObservationError(f"of shape {x.shape}: this policy takes {self.shape}", row)
        return x

    def __str__(self) -> str:
        return f"{self.kind} {self.shape}"


def cast(x: np.ndarray, dtype: Any) -> np.ndarray:
    """A C-contiguous copy in another type; a number too large for it becomes infinite, and is found as such."""
    if x.dtype == np.float64 and dtype == np.float32 and x.ndim == 2:  # the usual case, quickly
        return _core.narrow(x)
    with np.errstate(over="ignore"):
        return x.astype(dtype, "C")
