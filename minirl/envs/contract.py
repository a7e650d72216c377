"""What an environment hands over, held against what its spaces promise."""

import reprlib
from typing import Any

import numpy as np
from gymnasium import spaces

from minirl.spaces.action_masks import KEY

NUMBERS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)  # an observation is one array


class Misfit(ValueError):
    """What is wrong with something that an environment returned; who catches it knows which environment and where."""


def fitted(space: Any, obs: Any) -> Any:
    """An observation as arrays of its space's shapes and types, perhaps itself; Misfit where a number would change."""
    kind = type(space)
    if kind is spaces.Box and type(obs) is np.ndarray and obs.shape == space.shape and obs.dtype == space.dtype:
        return obs  # the usual case
    if kind is spaces.Discrete and type(obs) in (int, np.int64):
        return obs  # whether it is one of the space's is seen when it is encoded
    if kind is spaces.Tuple or (kind not in NUMBERS and isinstance(space, spaces.Tuple)):  # isinstance is slow here
        if not isinstance(obs, (tuple, list)) or len(obs) != len(space.spaces):
            raise Misfit(f"obs has to be a tuple of {len(space.spaces)}, it is {_shown(obs)}")
        return tuple([fitted(part, x) for part, x in zip(space.spaces, obs, strict=True)])
    if kind is spaces.Dict or (kind not in NUMBERS and isinstance(space, spaces.Dict)):
        if not isinstance(obs, dict) or obs.keys() != space.spaces.keys():
            raise Misfit(f"obs has to be a dict with {', '.join(map(str, space.spaces))}, it is {_shown(obs)}")
        return {key: fitted(part, obs[key]) for key, part in space.spaces.items()}
    return _as_array(space, obs) if isinstance(space, NUMBERS) else obs


def _as_array(space: Any, obs: Any) -> np.ndarray:
    try:
        x = np.asarray(obs)
    except ValueError:  # rows of different lengths
        x = np.empty(0, object)
    if x.dtype.kind not in "biuf":
        raise Misfit(f"obs has to be numbers, it is {_shown(obs)}")
    if x.shape != space.shape:
        raise Misfit(f"obs has shape {x.shape}, its observation_space says {space.shape}")
    if x.dtype == space.dtype:
        return x
    with np.errstate(over="ignore", invalid="ignore"):  # what becomes infinite is found as such
        fits = x.astype(space.dtype)
    if space.dtype.kind != "f" and (fits != x).any():
        raise Misfit(f"obs {_shown(obs)} does not fit the {space.dtype} of its observation_space")
    return fits


def as_flag(name: str, value: Any) -> bool:
    """terminated or truncated as a bool; Misfit for what is none: "no" would count as True."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, np.ndarray) and value.shape == () and value.dtype == bool:
        return bool(value)
    raise Misfit(f"{name} has to be True or False, it is {_shown(value)}")


def as_flags(name: str, values: Any) -> np.ndarray:
    """terminated or truncated of a vector as booleans (B,), where 0 and 1 are accepted too."""
    given = np.asarray(values)
    if given.dtype.kind not in "biuf" or not ((given == 0) | (given == 1)).all():
        raise Misfit(f"{name} has to be True or False for each environment, it is {_shown(values)}")
    return given.astype(bool)


def mask_size(space: Any) -> int | None:
    """The size K of an action mask, the choices of a MultiDiscrete side by side; None where actions have no masks."""
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    return int(space.nvec.sum()) if isinstance(space, spaces.MultiDiscrete) else None


def as_mask(size: int | None, value: Any) -> np.ndarray:
    """An environment's action mask as an array (K,); Misfit for another shape or type. None: of any size."""
    try:
        mask = np.asarray(value)
    except ValueError:
        mask = np.empty(0, object)
    if mask.dtype.kind not in "biuf" or (size is not None and mask.shape != (size,)):
        wanted = "numbers" if size is None else f"{size} numbers, one for each action"
        raise Misfit(f"info['{KEY}'] has to be {wanted}, it is {_shown(value)}")
    return mask


def _shown(value: Any) -> str:
    kind = type(value).__name__
    if isinstance(value, np.ndarray) and value.ndim:
        kind += f" of shape {value.shape} and type {value.dtype}"
    return " ".join(f"{reprlib.repr(value)} ({kind})".split())
