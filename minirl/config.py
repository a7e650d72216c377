"""What every algorithm shares of its configuration: a frozen dataclass, a comment per field, ranges in the type.

The command line is made from these classes: a field is a flag, its comment the help, its range part of it. The same
comments are what `help(TRPOConfig)` shows.
"""

import contextlib
import dataclasses
import inspect
import math
import numbers
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

import numpy as np

from minirl.errors import ConfigError
from minirl.models.distributions import NAMES


@dataclass(frozen=True)
class Range:
    """An interval that a number has to lie in; `text` is how messages and help name it."""

    low: float = -math.inf
    high: float = math.inf
    open: bool = False  # the lower end itself is excluded

    def __contains__(self, value: float) -> bool:
        return (self.low < value if self.open else self.low <= value) and value <= self.high  # NaN compares false

    @property
    def text(self) -> str:
        if self.high == math.inf:
            return f"{'>' if self.open else '>='} {self.low:g}"
        return f"in {'(' if self.open else '['}{self.low:g}, {self.high:g}]"


Positive = Range(0, open=True)
NonNegative = Range(0)
AtLeastOne = Range(1)
Unit = Range(0, 1)
MAX_HIDDEN = 31  # layers, with the last one what the kernels have room for
if TYPE_CHECKING:
    Environment = Any  # an id, a class, a function that makes one, an object
else:
    Environment = str  # what a flag of the command line holds
BoxFamily = Literal["auto", *NAMES["box"]]  # type: ignore[valid-type]


class Unset(int):
    """A default that the user has not set: where there is a better value, that is taken."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Fields that every algorithm has."""

    env: Environment = "CartPole-v1"  # gymnasium id, module:ID or module:Class; in Python also a class or function
    env_kwargs: dict[str, Any] = field(default_factory=dict, hash=False)  # arguments that the environment is made with
    seed: Annotated[int, NonNegative] = 0  # the one seed that every random stream is spawned from, >= 0
    total_timesteps: Annotated[int, AtLeastOne] = 100_000  # transitions to learn from, >= 1, in full updates
    num_envs: Annotated[int, AtLeastOne] = Unset(4)  # environments stepped together (B), >= 1
    num_steps: Annotated[int, AtLeastOne] = 256  # steps per environment and update (T), >= 1
    gamma: Annotated[float, Unit] = 0.99  # discount γ, in [0, 1]
    lam: Annotated[float, Unit] = 0.95  # λ of GAE, in [0, 1]: 0 is TD, 1 is Monte Carlo minus V
    advantage: Literal["gae", "baseline", "reward_to_go", "trajectory"] = "gae"  # Â: GAE, G_t − V(s_t), G_t, or R(τ)
    hidden: tuple[Annotated[int, AtLeastOne], ...] = (64, 64)  # widths of the hidden layers, each >= 1
    activation: Literal["tanh", "relu"] = "tanh"  # of the hidden layers
    rbf: Annotated[int, NonNegative] = 0  # number of random Fourier features of the observation, >= 0; 0: none
    rbf_width: Annotated[float, Positive] = 1.0  # length scale of the features, in normalised observations, > 0
    log_std: Annotated[float, Range(-5, 2)] = 0.0  # initial log σ of Gaussian policies, in [-5, 2]
    family: BoxFamily = "auto"  # of Box actions
    mask_actions: bool = False  # never take what info["action_mask"] rules out (Discrete and MultiDiscrete actions)
    dtype: Literal["float32", "float64"] = "float32"  # of parameters and samples: float32 trains, float64 proves
    normalize_adv: bool = True  # advantages to mean 0 and deviation 1 over the batch
    scale_actions: bool = True  # a Gaussian acts in half-ranges around the centre of finite bounds
    normalize_obs: bool = True  # observations by their running mean and variance, clipped at ±10
    normalize_reward: bool = True  # rewards divided by the running deviation of the discounted return
    reward_limit: Annotated[float, Positive] | None = None  # clip the rewards that are learned from at ± this, > 0
    normalize_value: bool = False  # the critic learns in units of the returns' running deviation (PopArt)
    vectorization: Literal["auto", "sync", "async", "vector_entry_point"] = "auto"  # how environments run
    check_env: bool = True  # try a few steps first and explain what breaks gymnasium's contract

    def __post_init__(self) -> None:
        check_ranges(self)
        if len(self.hidden) > MAX_HIDDEN:
            raise ConfigError(f"hidden has {len(self.hidden)} layers: takes at most {MAX_HIDDEN}")

    def replace(self, **changes: Any):
        """A copy with other values, checked again."""
        return dataclasses.replace(self, **changes)


def check_ranges(config: Any) -> None:
    """Hold every field against its type and range, and keep it as a plain Python value, also where it came from NumPy.

    ConfigError names the field, the value and what it takes.
    """
    hints = get_type_hints(type(config), include_extras=True)
    for each in dataclasses.fields(config):
        value, hint = vars(config)[each.name], hints[each.name]
        if hint is Environment and each.name == "env" and not isinstance(value, str):
            _check_environment(value)
        else:
            object.__setattr__(config, each.name, check_value(each.name, value, hint))


def check_value(name: str, value: Any, hint: Any) -> Any:
    """Hold one argument against a type and range -> its plain value."""
    return _checked(name, value, hint)


def _checked(name: str, value: Any, hint: Any) -> Any:
    """The plain value of a field."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        value = _checked(name, value, args[0])
        bounds = next((a for a in args[1:] if isinstance(a, Range)), None)
        if bounds is not None and value not in bounds:
            raise ConfigError(f"{name} = {value!r}: takes a number {bounds.text}")
    elif origin is Literal:
        if not isinstance(value, str) or value not in args:
            raise ConfigError(f"{name} = {value!r}: takes one of {', '.join(map(str, args))}")
        return str(value)
    elif origin is tuple:
        if isinstance(value, np.ndarray):
            value = value.tolist()
        if not isinstance(value, tuple | list):
            raise ConfigError(f"{name} = {value!r}: takes a sequence of numbers, for example (64, 64)")
        return tuple(_checked(name, item, args[0]) for item in value)
    elif origin is dict:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise ConfigError(
                f"{name} = {value!r}: takes a dict with names as keys, for example {{'is_slippery': False}}"
            )
        return {str(key): _plain(item) for key, item in value.items()}
    elif type(None) in args:
        if value is not None:
            return _checked(name, value, next(a for a in args if a is not type(None)))
    elif isinstance(hint, type):
        return _checked_type(name, value, hint)
    return value


def _checked_type(name: str, value: Any, kind: Any) -> Any:
    accepted = {float: numbers.Real, int: numbers.Integral, bool: bool | np.bool_}.get(kind, kind)
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(f"{name} = {value!r}: takes a value of type {kind.__name__}, not {type(value).__name__}")
    if kind is not float:
        return value if isinstance(value, Unset) else kind(value)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isinf(number):
        raise ConfigError(f"{name} = {value!r}: takes a finite number")
    return value if type(value) is int else number


def _plain(value: Any) -> Any:
    """An argument of an environment, NumPy's numbers in it as Python's; arrays and objects stay what they are."""
    if isinstance(value, np.generic):
        return value.item()
    if type(value) is dict:
        return {key: _plain(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_plain, value))
    return value


def _check_environment(value: Any) -> None:
    """Only what can be seen without gymnasium; the rest is checked when the environment is made."""
    if not (callable(value) or hasattr(value, "reset") or hasattr(value, "entry_point")):
        wanted = "a gymnasium id, an environment's class, a function that makes one, or an environment"
        raise ConfigError(f"env = {value!r}: takes {wanted}, not {type(value).__name__}")


def field_comments(kind: type) -> dict[str, str]:
    """The comment beside each field, read from the source; {} where only compiled files are installed."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        with contextlib.suppress(OSError, TypeError):
            found |= re.findall(r"^    (\w+): .*?  # (.*)$", inspect.getsource(base), re.M)
    return found


class FieldDocs:
    """A docstring with a line for each field, made on demand: reading the source takes a while."""

    def __init__(self, text: str):
        self.text = text

    def __get__(self, _config: Any, kind: type) -> str:
        said, hints = field_comments(kind), get_type_hints(kind)
        lines = []
        for name in (each.name for each in dataclasses.fields(kind) if each.name in said):
            choices = ", ".join(map(str, get_args(hints[name]))) if get_origin(hints[name]) is Literal else ""
            lines.append(f"    {name}{f' ({choices})' if choices else ''}: {said[name]}")
        return "\n".join([self.text, "", "Attributes:", *lines]) if lines else self.text


def explain_fields(kind: type) -> None:
    """Let `help` of a configuration explain its fields."""
    kind.__doc__ = FieldDocs(kind.__doc__ or "")  # type: ignore[assignment]


explain_fields(Config)
