"""Observations that are made of others: Tuple and Dict. Their columns stand side by side in gymnasium's order."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minirl.errors import SpaceError
from minirl.spaces.facts import Facts
from minirl.spaces.observation_checks import ObservationError, printable, several
from minirl.spaces.observation_interface import ArrayObs, Entries, ObsCodec


class NestedObs(ObsCodec):
    """Parts with names: a batch of a Tuple is a tuple of batches, one of a Dict a dict of batches."""

    nested = True
    parts: tuple[ObsCodec, ...]

    @property
    @abstractmethod
    def names(self) -> Iterable[Any]:
        """What each part is called."""

    @abstractmethod
    def _inside(self, obs: Any, row: int | None = None) -> list[Any]:
        """What an observation, or a batch of them, holds for each part."""

    @abstractmethod
    def _together(self, batches: list[Any]) -> Any:
        """A batch of the parts -> one of these observations."""

    def describe(self) -> Facts:
        return super().describe() | {"parts": [part.describe() for part in self.parts]}

    def entries(self) -> list[tuple[int, int]]:
        return [entry for part in self.parts for entry in part.entries()]

    def facts(self) -> tuple[Any, ...]:
        return self.kind, tuple(self.names), tuple(part.facts() for part in self.parts)

    def arrays(self) -> Iterator[ArrayObs]:
        for part in self.parts:
            yield from part.arrays()

    def encode(self, obs: Any, dtype: Any) -> np.ndarray:
        columns = self._of_parts(self._inside(obs), lambda part, x: part.encode(x, dtype))
        return np.concatenate(list(columns), axis=1)

    def stack(self, observations: list[Any]) -> Any:
        rows = range(len(observations)) if len(observations) > 1 else [None]
        inside = zip(*(self._inside(obs, row) for row, obs in zip(rows, observations, strict=True)), strict=True)
        return self._together(list(self._of_parts(inside, lambda part, xs: part.stack(list(xs)))))

    def _of_parts(self, inside: Iterable[Any], function: Callable[[ObsCodec, Any], Any]) -> Iterator[Any]:
        """function(part, what is inside of it) for each part; an error names the part."""
        for name, part, x in zip(self.names, self.parts, inside, strict=True):
            try:
                yield function(part, x)
            except ObservationError as why:
                raise ObservationError(why.what, why.row, f"[{name!r}]{why.part}") from None


@dataclass(frozen=True)
class TupleObs(NestedObs):
    """Parts by their place."""

    kind = "tuple"
    parts: tuple[ObsCodec, ...]
    shape: tuple[int, ...] = field(default=(), init=False)

    @classmethod
    def of_space(cls, space: Any, part: Callable[[Any], ObsCodec]) -> "TupleObs":
        return cls(tuple(part(each) for each in space.spaces))

    @classmethod
    def read(cls, about: Facts, entries: Entries, part: Callable[[Any], ObsCodec]) -> "TupleObs":
        cls.read_shape(about, scalar=True)
        return cls(tuple(part(each) for each in about["parts"]))

    @property
    def names(self) -> Iterable[int]:
        return range(len(self.parts))

    def _inside(self, obs: Any, row: int | None = None) -> list[Any]:
        if not isinstance(obs, tuple | list) or len(obs) != len(self.parts):
            raise ObservationError(f"of type {type(obs).__name__}: this policy takes a tuple of {len(self.parts)}", row)
        return list(obs)

    def _together(self, batches: list[Any]) -> tuple[Any, ...]:
        return tuple(batches)

    def __str__(self) -> str:
        return f"{self.kind}({', '.join(map(str, self.parts))})"


@dataclass(frozen=True)
class DictObs(NestedObs):
    """Parts by their keys, which are texts."""

    kind = "dict"
    parts: tuple[ObsCodec, ...]
    keys: tuple[str, ...]
    shape: tuple[int, ...] = field(default=(), init=False)

    @classmethod
    def of_space(cls, space: Any, part: Callable[[Any], ObsCodec]) -> "DictObs":
        if not all(isinstance(key, str) for key in space.spaces):
            raise unknown(space)
        return cls(tuple(part(each) for each in space.spaces.values()), tuple(space.spaces))

    @classmethod
    def read(cls, about: Facts, entries: Entries, part: Callable[[Any], ObsCodec]) -> "DictObs":
        cls.read_shape(about, scalar=True)
        parts, keys = tuple(part(each) for each in about["parts"]), tuple(about["keys"])
        if len(set(keys)) != len(parts) or not all(isinstance(key, str) for key in keys):
            raise ValueError("a dict observation has to have a key of its own, a text, for each part")
        return cls(parts, keys)

    def describe(self) -> Facts:
        return super().describe() | {"keys": list(self.keys)}

    @property
    def names(self) -> Iterable[str]:
        return self.keys

    def _inside(self, obs: Any, row: int | None = None) -> list[Any]:
        if not isinstance(obs, dict) or set(obs) != set(self.keys):
            held = several(sorted(map(str, obs))) if isinstance(obs, dict) else type(obs).__name__
            raise ObservationError(f"with {held}: this policy takes a dict with {several(self.keys)}", row)
        return [obs[key] for key in self.keys]

    def _together(self, batches: list[Any]) -> dict[str, Any]:
        return dict(zip(self.keys, batches, strict=True))

    def __str__(self) -> str:
        parts = (f"{printable(key)}: {part}" for key, part in zip(self.keys, self.parts, strict=True))
        return f"{self.kind}({', '.join(parts)})"


def unknown(space: Any) -> SpaceError:
    """The error for an observation space that none of the kinds is made for."""
    known = "Box, Discrete, MultiDiscrete, MultiBinary, and from Tuple and Dict (with texts as keys) of these"
    remedy = "wrap it, e.g. gymnasium.wrappers.TransformObservation"
    return SpaceError(f"observation space {space}: minirl learns from {known}; {remedy}")
