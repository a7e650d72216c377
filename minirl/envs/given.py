"""An environment as it may be given: id, `module:ID`, `module:Class`, class, function that makes one, or object."""

import copy
import functools
import importlib.util
import json
import math
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec

from minirl.errors import ConfigError, EnvError

KINDS = "a gymnasium id, an environment's class, a function that makes one, or an environment"
PACKAGES = {"ALE": "ale_py", "MiniGrid": "minigrid", "BabyAI": "minigrid", "highway": "highway_env"}  # of these ids
BY_ID = ("GymV21Environment", "GymV26Environment")  # gymnasium's, for what gym makes of an id among the arguments
# The attributes that hold the limit of an episode, by whatever name.
LIMITS = ("_max_episode_steps", "max_episode_steps", "max_steps", "max_num_frames_per_episode")
MAX_TEXT, MAX_DEPTH = 100_000, 16  # of arguments in a file


class KeptOpen(gymnasium.Wrapper):
    """An environment of the user's: played with and handed back, never closed."""

    def close(self) -> None:
        pass


def name(env: Any) -> str:
    """What messages, titles and run directories call it: the id, or the name of the class or function."""
    if isinstance(env, str):
        return env
    if isinstance(env, EnvSpec):
        return env.id
    if isinstance(env, gymnasium.Env):
        spec = spec_of(env)
        return spec.id if spec else type(env.unwrapped).__name__
    while isinstance(env, functools.partial):
        env = env.func
    return getattr(env, "__name__", type(env).__name__).strip("<>")


def stored(env: Any) -> str | None:
    """By what a file names it, an id or module:Class that can be imported again; None where there is no such name."""
    if isinstance(env, str):
        return env
    module, path = getattr(env, "__module__", None), getattr(env, "__qualname__", None)
    if not (isinstance(module, str) and isinstance(path, str)) or module == "__main__":
        return None
    return f"{module}:{path}" if attribute(sys.modules.get(module), path) is env else None


def same(env: Any, known: Any) -> bool:
    """Whether a file or Result calls `env` `known`; the module that registers an id may be left out."""
    if env is known:
        return True
    mine, its = stored(env), stored(known)
    if not mine or not its or mine == its:
        return bool(mine) and mine == its
    parts = mine.rpartition(":"), its.rpartition(":")
    return parts[0][2] == parts[1][2] and not (parts[0][0] and parts[1][0])


def would_import(env: str) -> bool:
    """Whether making an environment of that id imports a module that the id, or its arguments, name."""
    return ":" in env or env.startswith(BY_ID)


def attribute(module: Any, path: str) -> Any:
    """What a module calls `path`, which may have dots; None where there is nothing that can be called."""
    found = module
    for part in path.split("."):
        found = getattr(found, part, None)
    return found if callable(found) else None


def spec_of(env: Any) -> Any:
    """gymnasium's spec of an environment, a copy; None where it has none."""
    try:
        return copy.deepcopy(env.spec)
    except Exception:  # arguments of wrappers that cannot be copied
        return None


def own_limit(env: Any) -> int:
    """The largest number of steps that an environment, or a wrapper around it, says its episodes have, else 0."""
    spec = spec_of(env)
    found = [spec.max_episode_steps, *(spec.kwargs.get(name) for name in LIMITS)] if spec else []
    layer = env
    while layer is not None:
        found += [getattr(layer, name, None) for name in LIMITS]
        layer = layer.env if isinstance(layer, gymnasium.Wrapper) else None
    return int(max((n for n in found if isinstance(n, int | np.integer)), default=0))


def check(env: Any) -> None:
    """EnvError for what is no single environment and makes none."""
    if isinstance(env, str | EnvSpec | gymnasium.Env):
        return
    kind = env if isinstance(env, type) else type(env)
    if issubclass(kind, gymnasium.vector.VectorEnv) or hasattr(env, "num_envs"):
        remedy = f"give one environment here, {KINDS}; minirl.learn takes a vector"
        raise EnvError(f"env is a vector environment, {kind.__name__}: {remedy}")
    if callable(env):
        return
    if hasattr(env, "reset") and hasattr(env, "step"):
        named = f"{kind.__module__}.{kind.__name__}"
        raise EnvError(f"env is a {named}, which is no gymnasium.Env: derive its class from gymnasium.Env")
    raise EnvError(f"env = {env!r}: takes {KINDS}")


def check_vector(envs: Any) -> None:
    """EnvError for what is no vector environment of gymnasium's kind."""
    kind = envs.__name__ if isinstance(envs, type) else type(envs).__name__
    wanted = "learn takes a vector environment, for example gymnasium.make_vec(ID, num_envs=4)"
    if isinstance(envs, type) or not hasattr(envs, "num_envs"):
        raise EnvError(f"envs is {'the class' if isinstance(envs, type) else 'a'} {kind}: {wanted}")
    wanted_parts = "single_observation_space single_action_space action_space metadata unwrapped reset step"
    for part in wanted_parts.split():
        if not hasattr(envs, part):
            raise EnvError(f"envs is a {kind} without {part}, so none of gymnasium's vector environments: {wanted}")
    space = envs.single_observation_space
    if not isinstance(space, gymnasium.spaces.Space):
        raise EnvError(f"envs is a {kind} with a space of {type(space).__module__}, not of gymnasium.spaces: {wanted}")


def plain(env: Any, kwargs: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """An object that gymnasium.make made -> its id and arguments, or its spec where there are wrappers; else as it was.

    EnvError for what is no environment, ConfigError for arguments beside an environment that is already made.
    """
    check(env)
    if isinstance(env, str) or not isinstance(env, EnvSpec | gymnasium.Env):
        return env, dict(kwargs)
    if isinstance(env, gymnasium.Env) and set(kwargs) - {"disable_env_checker"}:
        raise ConfigError(
            f"env_kwargs = {dict(kwargs)!r}: the environment is made already; give its class, or its id, as env"
        )
    spec = env if isinstance(env, EnvSpec) else spec_of(env)
    wrappers = getattr(spec, "additional_wrappers", ())
    if spec is None or any(wrapper.kwargs is None for wrapper in wrappers):
        return env, {}
    known = gymnasium.registry.get(spec.id)
    if known is None or wrappers or known.entry_point != spec.entry_point:
        return spec, dict(kwargs)
    own = {k: v for k, v in spec.kwargs.items() if k != "render_mode" and not _equal(v, known.kwargs.get(k, ABSENT))}
    if spec.max_episode_steps != known.max_episode_steps:
        own["max_episode_steps"] = spec.max_episode_steps or -1
    return spec.id, own | dict(kwargs)


ABSENT = object()


def _equal(a: Any, b: Any) -> bool:
    try:
        return type(a) is type(b) and bool(a == b)
    except Exception:  # arrays
        return False


class Maker:
    """A class or function as the entry point of a spec. Specs are copied often, what stands behind them is not."""

    def __init__(self, make: Callable[..., Any]):
        self.make = make

    def __call__(self, **kwargs: Any) -> Any:
        return self.make(**kwargs)

    def __deepcopy__(self, _memo: Any) -> "Maker":
        return self


def spec_for(make: Callable[..., Any], title: str) -> EnvSpec:
    """A spec, in no registry, of what a class or function makes: gymnasium.make takes it as it takes an id."""
    title = re.sub(r"[^\w:.-]", "_", title) or "environment"
    return EnvSpec(title, entry_point=Maker(make), order_enforce=False, disable_env_checker=True)


def as_json(kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
    """Arguments as a file holds them; None where it could not give the same ones back."""
    try:
        found = _as_json(kwargs, MAX_DEPTH)
        return found if len(json.dumps(found)) <= MAX_TEXT else None
    except (TypeError, ValueError):  # ValueError: a number of thousands of digits
        return None


def named(env: Any, kwargs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """How a policy file names an environment, "" where it cannot, and its arguments, null where it cannot hold them."""
    return stored(env) or "", {"env_kwargs": as_json(kwargs)} if kwargs else {}


def _as_json(value: Any, left: int) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, Mapping) and left and all(isinstance(key, str) for key in value):
        return {key: _as_json(item, left - 1) for key, item in value.items()}
    if isinstance(value, list | tuple) and left:
        return [_as_json(item, left - 1) for item in value]
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise TypeError


def remedy(env_id: str) -> str:
    """What to do about an id that gymnasium does not know: which installed module to name, or how modules are named."""
    space = env_id.partition("/")[0] if "/" in env_id else env_id.partition("-")[0]
    package = PACKAGES.get(space)
    for module in (package, space, space.lower()):
        if module and module.isidentifier() and module not in sys.stdlib_module_names and _installed(module):
            return f"the module {module} is installed, and '{module}:{env_id}' imports it first"
    if package:
        return f"pip install {package.replace('_', '-')}, then '{package}:{env_id}' imports it"
    return f"'MODULE:{env_id}' imports the module that registers it"


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # hidden, or made by hand
        return False
