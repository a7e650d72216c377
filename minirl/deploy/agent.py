"""A trained policy that acts: raw observation in, action for the environment out. NumPy alone, and immutable."""

from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np

from minirl import _core
from minirl.errors import ConfigError, NonFiniteError, SpaceError, shorten
from minirl.models.fourier_features import RandomFeatures
from minirl.models.input_pipeline import ObsNormalizer, Preprocess, make_preprocess
from minirl.models.policy import Policy
from minirl.spaces.actions import ActionCodec
from minirl.spaces.observation_checks import ObservationError, shown
from minirl.spaces.observations import ObsCodec


@dataclass(frozen=True, repr=False)
class Agent:
    """π_θ with what it needs to act on the outside: observation encoder and statistics, action decoder."""

    obs_codec: ObsCodec
    action_codec: ActionCodec
    theta: np.ndarray
    hidden: tuple[int, ...]
    activation: str
    normalizer: ObsNormalizer | None = None
    masked: bool = False  # trained on action masks: it expects to be given them
    features: RandomFeatures | None = None
    policy: Policy = field(init=False, repr=False, compare=False)
    preprocess: Preprocess = field(init=False, repr=False, compare=False)  # encoded observations -> inputs
    actor: Any = field(init=False, repr=False, compare=False)  # (obs, noise, mask) -> raw actions

    def __post_init__(self) -> None:
        dim = len(self.features.phase) if self.features else self.obs_codec.dim
        object.__setattr__(self, "policy", Policy(self.action_codec.family(), dim, self.hidden, self.activation))
        object.__setattr__(self, "preprocess", make_preprocess(self.normalizer, self.features))
        object.__setattr__(self, "actor", self.policy.actor(self.theta, self.preprocess))

    @cached_property
    def encoded_type(self) -> np.dtype:
        """The type that observations are encoded in."""
        return self.obs_codec.encoded_type(self.theta.dtype, self.normalizer is not None)

    def __reduce__(self) -> Any:  # other processes make their own functions of it
        return Agent, tuple(vars(self)[each.name] for each in fields(self) if each.init)

    def act(self, obs: Any, rng: np.random.Generator | None = None, mask: Any = None) -> Any:
        """The action for one observation, as the environment takes it: the mode, or a sample when a generator is given.

        mask: what is allowed, as info["action_mask"] says it (K,).
        """
        try:
            x = self.obs_codec.encode_one(obs, self.encoded_type)
        except (TypeError, ValueError) as why:  # a SpaceError is one
            raise misfit(self.obs_codec, obs, why, "act") from why
        if not _core.all_finite(x):
            raise not_finite(x)
        allowed = None if mask is None else self.action_codec.read_mask(_array(mask)[None])
        try:  # costs nothing, where a function of its own would cost a twentieth of the call
            noise = None if rng is None else self.policy.dist.noise(rng, 1)
        except (AttributeError, TypeError) as why:
            raise no_generator(rng, why) from why
        return self.action_codec.decode(self.actor(x, noise, allowed))[0]

    def act_batch(self, obs: Any, rng: np.random.Generator | None = None, mask: Any = None) -> np.ndarray:
        """Actions (N, …) for N observations (N, …), masks (N, K). SpaceError where a mask allows nothing."""
        x, allowed = self._seen(obs, mask)
        try:
            noise = None if rng is None else self.policy.dist.noise(rng, len(x))
        except (AttributeError, TypeError) as why:
            raise no_generator(rng, why) from why
        return self.action_codec.decode(self.actor(x, noise, allowed))

    def phi(self, obs: Any, mask: Any = None) -> np.ndarray:
        """The distribution's parameters (N, P) for N raw observations."""
        x, allowed = self._seen(obs, mask)
        return self.policy.infer(self.theta, self.preprocess(x), allowed)

    def _seen(self, obs: Any, mask: Any) -> tuple[np.ndarray, np.ndarray | None]:
        """Encoded observations (N, D), finite, and what is allowed (N, P)."""
        try:
            x = self.obs_codec.encode(obs, self.encoded_type)
        except (TypeError, ValueError) as why:
            raise misfit(self.obs_codec, obs, why, "act_batch") from why
        if not _core.all_finite(x):
            raise not_finite(x)
        allowed = None if mask is None else self.action_codec.read_mask(_array(mask))
        if allowed is not None and len(allowed) != len(x):
            raise SpaceError(f"action_mask of {len(allowed)} rows: there are {len(x)} observations, each takes its own")
        return x, allowed

    def __repr__(self) -> str:
        before = ", observations standardised" if self.normalizer else ""
        net = f"{'-'.join(map(str, self.hidden))} {self.activation}, {len(self.theta)} parameters{before}"
        return shorten(f"Agent({shorten(str(self.obs_codec), 40)} -> {shorten(str(self.action_codec), 30)}, {net})")


def _array(mask: Any) -> np.ndarray:
    """A mask as an array; what makes none becomes one that no codec takes."""
    try:
        return np.asarray(mask)
    except ValueError:
        return np.array(None)


CALLS = {2: "reset() returns (obs, info)", 5: "step() returns (obs, reward, terminated, truncated, info)"}


def misfit(codec: ObsCodec, obs: Any, why: Exception, call: str) -> SpaceError:
    """The error for what `act` or `act_batch` (`call`) cannot encode: what reset() returns, a batch axis too many."""
    if isinstance(obs, tuple) and len(obs) in CALLS and isinstance(obs[-1], dict):
        return SpaceError(f"obs is a tuple of {len(obs)}: {CALLS[len(obs)]}, and {call} takes obs alone")
    if not isinstance(why, ObservationError):
        return SpaceError(f"observation {shown(obs)}: this policy takes {codec}; {why}")
    if codec.nested:
        try:
            (codec.encode if call == "act" else codec.encode_one)(obs, np.dtype(np.float64))
        except (TypeError, ValueError):
            return why
        what = "a batch" if call == "act" else "a single one"
        return SpaceError(f"obs is {what}: act takes one observation, act_batch takes a batch")
    if not why.what.startswith("of shape"):
        return why
    batch = f"({', '.join(['N', *map(str, codec.shape)])}{'' if codec.shape else ','})"
    return SpaceError(f"observation of shape {np.shape(obs)}: act takes one {codec.shape}, act_batch takes {batch}")


def no_generator(rng: Any, why: Exception) -> Exception:
    """The error for what cannot draw random numbers; `why` itself where `rng` can."""
    wanted = "a generator, as numpy.random.default_rng(0) makes one, or None for the likeliest action"
    return why if isinstance(rng, np.random.Generator) else ConfigError(f"rng = {rng!r}: takes {wanted}")


def not_finite(x: np.ndarray) -> NonFiniteError:
    """The error that names the first entry that is no number."""
    row, entry = (int(i) for i in np.argwhere(~np.isfinite(x))[0])
    return NonFiniteError("obs", f"entry {entry} is {x[row, entry]}; a policy can only act on numbers", env=row)
