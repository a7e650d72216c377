"""gymnasium's spaces as arrays: observation encoder, action decoder, the family that fits. Data, so they travel with the policy."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from minirl.distributions import FAMILIES, Categorical, DiagGaussian, Family
from minirl.errors import SpaceError


@dataclass(frozen=True)
class ObsCodec:
    """Observations of a batch -> (N, D): a Box is flattened, a Discrete becomes one-hot (first number `start`)."""

    kind: str  # "box" or "discrete"
    shape: tuple[int, ...]
    start: int = 0
    size: int = 0

    @property
    def dim(self) -> int:
        return math.prod(self.shape) if self.kind == "box" else self.size

    def encode(self, obs: Any, dtype: Any) -> np.ndarray:
        """(N, *shape) or (N,) -> (N, D) of the given float type, always a fresh array."""
        x = np.asarray(obs)
        if x.shape[1:] != self.shape:
            raise SpaceError(f"observation of shape {x.shape[1:]}: this policy takes {self.shape}; pass one batch axis in front")
        if self.kind == "discrete":
            index = x - self.start
            if ((index < 0) | (index >= self.size)).any():
                raise SpaceError(f"observation {x}: this policy takes {self.start} to {self.start + self.size - 1}")
            return np.eye(self.size, dtype=dtype)[index]
        with np.errstate(over="ignore"):
            return np.array(x.reshape(len(x), -1), dtype=dtype, order="C")


@dataclass(frozen=True)
class ActionCodec:
    """Raw actions -> what the environment takes: Discrete numbers from `start`, Box values reshaped, cast and then cut at the bounds."""

    kind: str
    shape: tuple[int, ...]
    dtype: str
    start: int = 0
    size: int = 0
    low: np.ndarray | None = None
    high: np.ndarray | None = None

    def decode(self, action: np.ndarray) -> np.ndarray:
        """(N,) or (N, d) -> (N, *shape) in the space's own type; a fresh array, so that nobody can change the stored one."""
        if self.kind == "discrete":
            return action.astype(self.dtype) + np.dtype(self.dtype).type(self.start)
        return np.clip(action.astype(self.dtype).reshape(len(action), *self.shape), self.low, self.high)

    def family(self) -> Family:
        """Discrete -> Categorical, Box -> diagonal Gaussian over the flattened action."""
        return Categorical(self.size) if self.kind == "discrete" else DiagGaussian(math.prod(self.shape))


def obs_codec(space: Any) -> ObsCodec:
    """The encoder for a single environment's observation space; SpaceError for one without."""
    from gymnasium import spaces

    if isinstance(space, spaces.Box):
        return ObsCodec("box", tuple(space.shape))
    if isinstance(space, spaces.Discrete):
        return ObsCodec("discrete", (), int(space.start), int(space.n))
    raise SpaceError(f"observation space {space}: minirl learns from Box and Discrete; wrap it, e.g. gymnasium.wrappers.FlattenObservation")


def action_codec(space: Any) -> ActionCodec:
    """The decoder for a single environment's action space; SpaceError for one without."""
    from gymnasium import spaces

    if isinstance(space, spaces.Discrete):
        return ActionCodec("discrete", (), str(space.dtype), int(space.start), int(space.n))
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        return ActionCodec("box", tuple(space.shape), str(space.dtype), low=space.low.copy(), high=space.high.copy())
    raise SpaceError(f"action space {space}: minirl acts in Discrete and in Box of floats")


def family_from_name(name: str, num_params: int) -> Family:
    """The family that a saved policy names."""
    if name not in FAMILIES:
        raise SpaceError(f"distribution family {name!r}: this minirl knows {', '.join(FAMILIES)}")
    return Categorical(num_params) if name == "categorical" else DiagGaussian(num_params // 2)
