"""Action spaces as data: a class per kind, their table, and the codec of a space or of a policy file's facts."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import numpy as np

from minirl.errors import SpaceError
from minirl.models.distributions import FAMILIES, Family
from minirl.spaces.action_interface import BOUNDS, ActionCodec, Arrays, RangedAction
from minirl.spaces.facts import FLOATS, MAX_SIZE, Facts, among

__all__ = [
    "BOUNDS",
    "KINDS",
    "ActionCodec",
    "BoxAction",
    "DiscreteAction",
    "MultiBinaryAction",
    "MultiDiscreteAction",
    "action_codec",
    "read_actions",
]


@dataclass(frozen=True)
class DiscreteAction(ActionCodec):
    """One of `size` numbers from `start` on."""

    kind, scalar, least = "discrete", True, 1
    size: int
    start: int = 0
    dtype: str = "int64"
    family_name: str = "auto"
    shape: tuple[int, ...] = field(default=(), init=False)

    @classmethod
    def of_space(cls, space: Any, family: str, scaled: bool) -> "DiscreteAction":
        return cls(int(space.n), int(space.start), str(space.dtype), family)

    @classmethod
    def read_rest(cls, shape: tuple[int, ...], about: Facts, family: str, arrays: Arrays) -> "DiscreteAction":
        return cls(about["size"], about["start"], about["dtype"], family)

    def describe(self) -> Facts:
        return super().describe() | {"size": self.size}

    def decode(self, action: np.ndarray) -> np.ndarray:
        chosen = action if action.dtype == self.element else action.astype(self.element)
        return chosen + self.element.type(self.start) if self.start else chosen

    def family(self) -> Family:
        return cast(Family, FAMILIES[self.family_name](self.size))

    def facts(self) -> list[Any]:
        return [self.kind, list(self.shape), self.size, self.start, None, None]

    @property
    def extent(self) -> str:
        return f" from {self.start}"

    def __str__(self) -> str:
        return f"{self.kind} {self.size}"


@dataclass(frozen=True)
class MultiBinaryAction(ActionCodec):
    """Zeros and ones of any shape."""

    kind = "multi_binary"
    shape: tuple[int, ...]
    dtype: str = "int8"
    family_name: str = "auto"

    @classmethod
    def of_space(cls, space: Any, family: str, scaled: bool) -> "MultiBinaryAction":
        return cls(tuple(space.shape), str(space.dtype), family)

    @classmethod
    def read_rest(cls, shape: tuple[int, ...], about: Facts, family: str, arrays: Arrays) -> "MultiBinaryAction":
        return cls(shape, about["dtype"], family)

    def decode(self, action: np.ndarray) -> np.ndarray:
        return _shaped(action, self.shape, self.element)


@dataclass(frozen=True)
class MultiDiscreteAction(RangedAction):
    """Several choices at once: whole numbers from `low` to `high`."""

    kind = "multi_discrete"
    shape: tuple[int, ...]
    dtype: str
    low: np.ndarray
    high: np.ndarray
    family_name: str = "auto"

    @classmethod
    def of_space(cls, space: Any, family: str, scaled: bool) -> "MultiDiscreteAction":
        low = np.array(space.start, space.dtype)
        high = (low + space.nvec - 1).astype(space.dtype)
        return cls(tuple(space.shape), str(space.dtype), low, high, family)

    @classmethod
    def read_rest(cls, shape: tuple[int, ...], about: Facts, family: str, arrays: Arrays) -> "MultiDiscreteAction":
        (low, high), limits = cls.read_bounds(shape, arrays), np.iinfo(about["dtype"])
        fits = (np.abs(low) <= 2**53) & (np.abs(high) <= 2**53) & (low >= limits.min) & (high <= limits.max)
        whole = (low == np.round(low)) & (high == np.round(high))
        if not (fits & whole).all() or (high - low + 1).sum() > MAX_SIZE:
            wanted = f"whole ones of type {about['dtype']}, at most {MAX_SIZE} in all"
            raise ValueError(f"the first and last numbers of the choices have to be {wanted}")
        return cls(shape, about["dtype"], low.astype(about["dtype"]), high.astype(about["dtype"]), family)

    def decode(self, action: np.ndarray) -> np.ndarray:
        numbers: np.ndarray = _shaped(action, self.shape, self.element) + self.low
        return numbers

    def family(self) -> Family:
        return cast(Family, FAMILIES[self.family_name]((self.high - self.low + 1).reshape(-1)))

    def __str__(self) -> str:
        return f"{self.kind} {(self.high - self.low + 1).tolist()}"


@dataclass(frozen=True)
class BoxAction(RangedAction):
    """Floats, clipped at the bounds; those of a bounded family are spread between them.

    A Gaussian's values u are, where the space is `scaled`, in half-ranges around the centre of finite bounds,
    a = centre + half-range · u, else in the environment's units.
    """

    kind, dtypes = "box", FLOATS
    shape: tuple[int, ...]
    dtype: str
    low: np.ndarray
    high: np.ndarray
    family_name: str = "auto"
    scaled: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bounded and not (np.isfinite(self.low).all() and np.isfinite(self.high).all()):
            needs = f"it needs finite bounds, the action space has {self.low} to {self.high}"
            raise SpaceError(f"family = {self.family_name!r}: {needs}")

    @classmethod
    def of_space(cls, space: Any, family: str, scaled: bool) -> "BoxAction":
        if not np.issubdtype(space.dtype, np.floating):
            raise _unknown(space)
        return cls(tuple(space.shape), str(space.dtype), space.low.copy(), space.high.copy(), family, scaled)

    @classmethod
    def read_rest(cls, shape: tuple[int, ...], about: Facts, family: str, arrays: Arrays) -> "BoxAction":
        low, high = cls.read_bounds(shape, arrays)
        with np.errstate(over="ignore"):
            low, high = low.astype(about["dtype"]), high.astype(about["dtype"])
        return cls(shape, about["dtype"], low, high, family, about.get("scaled", False))

    def describe(self) -> Facts:
        return super().describe() | {"scaled": self.scaled}

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """low and high (1, *shape): NumPy is twice as fast where one action meets bounds of its own shape."""
        return self.low[None], self.high[None]

    @cached_property
    def spread(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Centre and half-range (1, *shape) float64 of a `scaled` Box: 0 and 1 without bounds, None if all are so.

        A bound of the order of the largest number of its type, or of float32, is none.
        """
        if self.bounded or not self.scaled:
            return None
        low, high = (bound.astype(np.float64) for bound in self.bounds)
        largest = min(float(np.finfo(self.element).max), float(np.finfo(np.float32).max))
        finite = np.maximum(np.abs(low), np.abs(high)) < largest / 4
        low, high = np.where(finite, low, -1.0), np.where(finite, high, 1.0)
        centre, half = low / 2 + high / 2, high / 2 - low / 2
        return (centre, half) if (centre != 0).any() or (half != 1).any() else None

    def decode(self, action: np.ndarray) -> np.ndarray:
        low, high = self.bounds
        if self.bounded:
            unit = FAMILIES[self.family_name].unit(action.astype(np.float64))  # how far from low to high
            unit = unit.reshape(len(action), *self.shape)
            action = self.low * (1 - unit) + self.high * unit
        elif self.spread is not None:
            centre, half = self.spread
            action = centre + half * action.reshape(len(action), *self.shape)
            action = np.minimum(np.maximum(action, low), high)  # before the cast, which could overflow
        clipped: np.ndarray = np.minimum(np.maximum(_shaped(action, self.shape, self.element), low), high)
        return clipped


def _shaped(action: np.ndarray, shape: tuple[int, ...], element: np.dtype) -> np.ndarray:
    """(N, d) -> (N, *shape) in another type."""
    x = action if action.shape[1:] == shape else action.reshape(len(action), *shape)
    return x if x.dtype == element else x.astype(element)


KINDS: dict[str, type[ActionCodec]] = {  # by the name that a policy file has for it
    each.kind: each for each in (DiscreteAction, MultiDiscreteAction, MultiBinaryAction, BoxAction)
}


def action_codec(space: Any, family: str = "auto", scaled: bool = False) -> ActionCodec:
    """The decoder for a single environment's action space; SpaceError for an unknown space or an unsuitable family."""
    from gymnasium import spaces

    classes: dict[type, type[ActionCodec]] = {
        spaces.Discrete: DiscreteAction,
        spaces.MultiDiscrete: MultiDiscreteAction,
        spaces.MultiBinary: MultiBinaryAction,
        spaces.Box: BoxAction,
    }
    ours = next((ours for its, ours in classes.items() if isinstance(space, its)), None)
    if ours is None:
        raise _unknown(space)
    if 0 in space.shape:
        raise SpaceError(f"action space {space}: there is no number in it to choose")
    return ours.of_space(space, family, scaled)


def _unknown(space: Any) -> SpaceError:
    """The error for an action space that none of the kinds is made for."""
    return SpaceError(f"action space {space}: minirl acts in Discrete, MultiDiscrete, MultiBinary and in Box of floats")


def read_actions(about: Facts, family: Any, arrays: Arrays) -> ActionCodec:
    """The codec of a policy file's description and tensors; what is wrong raises.

    ValueError says what a fact may be; KeyError, TypeError and AttributeError come of descriptions of another form.
    """
    among("action kind", about["kind"], tuple(KINDS))
    return KINDS[about["kind"]].read(about, family, arrays)
