"""Action spaces as arrays: what a family draws becomes what an environment takes. Data, so it travels with the policy."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from minirl.errors import SpaceError
from minirl.models.distributions import FAMILIES, NAMES, Family


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
            wanted = f"it takes {dist.num_params} numbers or booleans"
            raise SpaceError(f"action_mask of shape {allowed.shape[1:]} and type {allowed.dtype}: {wanted}")
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
