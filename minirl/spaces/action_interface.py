"""What every action space is made into: raw actions, decoded for the environment; the kinds stand in actions."""

import math
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, ClassVar, cast

import numpy as np

from minirl.errors import SpaceError, shorten
from minirl.models.distributions import FAMILIES, NAMES, Family, MaskableFamily
from minirl.spaces.facts import INTEGERS, Facts, among, boolean, integer, natural, shape_from

Arrays = dict[str, np.ndarray]
BOUNDS = ("action_low", "action_high")  # tensors of a policy file; those of a Box may be infinite


class ActionCodec(ABC):
    """Raw actions, as a family draws them -> what the environment takes.

    `of_space` makes one of a gymnasium space, `read` of what `describe` and `tensors` gave to a policy file.
    """

    kind: ClassVar[str]  # its name in messages and in policy files, and in the table of families
    dtypes: ClassVar[tuple[str, ...]] = INTEGERS  # that a space of this kind may have
    scalar: ClassVar[bool] = False  # whether an action is one number, without a shape
    least: ClassVar[int] = 0  # what a policy file has to say at least for its size
    shape: tuple[int, ...]  # of one action
    dtype: str
    family_name: str  # of the distribution; auto is the plainest that the space allows
    start: int = 0  # what is added to a raw action

    def __post_init__(self) -> None:
        names = NAMES[self.kind]
        if self.family_name == "auto":
            object.__setattr__(self, "family_name", names[0])
        if self.family_name not in names:
            there = f"for actions of kind {self.kind} there is auto, {', '.join(names)}"
            raise SpaceError(f"family = {self.family_name!r}: {there}")

    @classmethod
    @abstractmethod
    def of_space(cls, space: Any, family: str, scaled: bool) -> "ActionCodec": ...

    @classmethod
    def read(cls, about: Facts, family: Any, arrays: Arrays) -> "ActionCodec":
        """The codec that a description states, with its bounds in `arrays`. ValueError, KeyError, TypeError."""
        among("action dtype", about["dtype"], cls.dtypes)
        among("family", family, NAMES[cls.kind])
        shape = shape_from("action", about["shape"], cls.scalar)
        integer("action start", about["start"])
        natural("action size", about["size"], cls.least)
        boolean("scaled", about.get("scaled", False))  # files of format 1 do not state it
        return cls.read_rest(shape, about, family, arrays)

    @classmethod
    @abstractmethod
    def read_rest(cls, shape: tuple[int, ...], about: Facts, family: str, arrays: Arrays) -> "ActionCodec":
        """The codec, after a look at the facts that every kind states."""

    def describe(self) -> Facts:
        """The plain facts that a policy file holds."""
        same = {"kind": self.kind, "shape": list(self.shape), "dtype": self.dtype}
        return same | {"start": self.start, "size": 0, "scaled": False}

    def tensors(self) -> Arrays:
        """What a policy file holds besides."""
        return {}

    @abstractmethod
    def decode(self, action: np.ndarray) -> np.ndarray:
        """(N,) or (N, d) -> (N, *shape) in the space's own type; perhaps `action` itself."""

    def family(self) -> Family:
        """The distribution over raw actions; a Box's is over the flattened action."""
        return cast(Family, FAMILIES[self.family_name](math.prod(self.shape)))

    def facts(self) -> list[Any]:
        """What two action spaces have to agree in to take the same actions: kind, shape, size, first number, bounds."""
        return [self.kind, list(self.shape), 0, self.start, None, None]

    @property
    def extent(self) -> str:
        """Where actions start and end, in words."""
        return ""

    @cached_property
    def bounded(self) -> bool:
        """Whether the family's actions are spread between the bounds instead of clipped at them."""
        return bool(FAMILIES[self.family_name].bounded)

    @property
    def maskable(self) -> bool:
        """Whether actions can be ruled out by a mask."""
        return bool(FAMILIES[self.family_name].maskable)

    @property
    def spread(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Centre and half-range in which a Gaussian acts; None where its values are the action."""
        return None

    @cached_property
    def element(self) -> np.dtype:
        """The type of the space's numbers."""
        return np.dtype(self.dtype)

    def maskable_family(self) -> MaskableFamily:
        """The distribution, where actions can be ruled out by a mask; SpaceError where they cannot."""
        if not self.maskable:
            there = "there are masks for Discrete and MultiDiscrete actions"
            raise SpaceError(f"mask_actions: {there}, not for kind {self.kind}")
        return cast(MaskableFamily, self.family())

    def read_mask(self, mask: Any, where: str = "row") -> np.ndarray:
        """An action mask (N, K), true where an action is allowed -> bool; SpaceError where there is nothing to choose.

        Of a MultiDiscrete the masks of the choices stand side by side. `where` is what the message calls a row.
        """
        dist = self.maskable_family()
        allowed = np.asarray(mask)
        if allowed.ndim != 2 or allowed.shape[1] != dist.num_params or allowed.dtype.kind not in "biuf":
            wanted = f"it takes {dist.num_params} numbers or booleans"
            raise SpaceError(f"action_mask of shape {allowed.shape[1:]} and type {allowed.dtype}: {wanted}")
        allowed = allowed.astype(bool)
        stuck = np.flatnonzero(~dist.possible(allowed))
        if len(stuck):
            raise SpaceError(f"action_mask, {where}={stuck[0]}: it allows no action")
        return allowed

    def __str__(self) -> str:
        return f"{self.kind} {self.shape}"


class RangedAction(ActionCodec):
    """Numbers that lie between `low` and `high`, arrays of the action's shape."""

    low: np.ndarray
    high: np.ndarray

    def tensors(self) -> Arrays:
        return {name: np.asarray(bound, np.float64) for name, bound in zip(BOUNDS, (self.low, self.high), strict=True)}

    def facts(self) -> list[Any]:
        return [self.kind, list(self.shape), 0, self.start, self.low.tolist(), self.high.tolist()]

    @property
    def extent(self) -> str:
        return f" from {_all(self.low)} to {_all(self.high)}"

    @staticmethod
    def read_bounds(shape: tuple[int, ...], arrays: Arrays) -> tuple[np.ndarray, np.ndarray]:
        """Both bounds float64, of the action's shape and in order."""
        low, high = (arrays[name] for name in BOUNDS)
        if low.shape != shape or high.shape != shape or not (low <= high).all():
            raise ValueError(f"the action bounds have to have shape {shape}, the lower one below the upper one")
        return low, high


def _all(bounds: np.ndarray) -> str:
    """Bounds in words, those that are all the same as one number."""
    alike = bounds.size and (bounds == bounds.flat[0]).all()
    return shorten(str(bounds.flat[0].item() if alike else bounds.tolist()), 60)
