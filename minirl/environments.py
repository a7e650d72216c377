"""gymnasium's environments: making vectors of them, seeding them, and saying clearly what is wrong with one."""

import copy
import difflib
import importlib
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode

from minirl import streams
from minirl.envs import given
from minirl.errors import EnvError
from minirl.spaces import ObsCodec, obs_codec

__all__ = ["AutoresetMode", "autoreset_mode", "check_env", "make_envs", "reset"]


OURS = "minirl/"  # what the ids of the native environments begin with


class OwnFinalObs(gymnasium.Wrapper):
    """Copies an episode's last observation: SAME_STEP hands it over after the reset, which may write into the array it is in.

    For async; SerialVectorEnv does it itself.
    """

    def step(self, action: Any) -> Any:
        obs, reward, terminated, truncated, info = self.env.step(action)
        if terminated or truncated:
            obs = copy.deepcopy(obs)
        return obs, reward, terminated, truncated, info


def make_envs(env_id: Any, num_envs: int, vectorization: str = "auto", /, **kwargs: Any) -> Any:
    """`num_envs` copies of an environment as a VectorEnv; where we choose, SAME_STEP and one buffer for observations.

    env_id: an id, a class, a function, or an environment that has a spec; without one it is stepped alone, itself.
    auto: all together in one call for the native environments (`minirl/…`), one after the other for the rest.
    """
    env, kwargs = given.plain(env_id, kwargs)
    env_id = given.name(env)
    if isinstance(env, gymnasium.Env):
        return alone(env, num_envs, vectorization)
    spec = find(env)
    native = spec.id.startswith(OURS)
    if vectorization == "auto":
        vectorization = "vector_entry_point" if native else "sync"
    options = kwargs
    if vectorization == "async":
        options = kwargs | {"vector_kwargs": {"autoreset_mode": AutoresetMode.SAME_STEP, "copy": False}, "wrappers": (OwnFinalObs,)}
    elif native and vectorization == "vector_entry_point":
        options = kwargs | {"copy": False}  # the collector copies what it keeps
    try:
        if vectorization == "sync":
            return serial(spec, num_envs, kwargs)
        return gymnasium.make_vec(spec, num_envs, vectorization_mode=vectorization, **options)
    except (EOFError, ConnectionError) as why:  # a worker of async died, its traceback is on stderr
        remedy = "it has to be importable there, not only registered or defined in this one; or set vectorization = sync"
        raise EnvError(f"env = {env_id!r}: a worker process ended while making it, see its traceback above; {remedy}") from why
    except EnvError:
        raise
    except Exception as why:
        raise EnvError(f"env = {env_id!r} cannot be made ({vectorization}): {one_line(why)}") from why


def alone(env: Any, num_envs: int, vectorization: str) -> Any:
    """A vector of one environment object, which stays open when it is closed; EnvError where copies are needed."""
    from minirl.envs.serial import SerialVectorEnv

    if num_envs > 1 or vectorization not in ("auto", "sync"):
        needs = f"num_envs = {num_envs}" if num_envs > 1 else f"vectorization = {vectorization!r}"
        remedy = "give a function that makes one, or its class, or set num_envs to 1 to use this object alone"
        raise EnvError(f"env is a {type(env).__name__} that gymnasium cannot make again, and {needs} needs copies: {remedy}")
    return SerialVectorEnv([partial(given.KeptOpen, env)])


def serial(spec: Any, num_envs: int, kwargs: dict[str, Any]) -> Any:
    """The vector that make_vec makes of `sync`, with our own step; its spec holds the environment's own kwargs alone."""
    from minirl.envs.serial import SerialVectorEnv

    envs = SerialVectorEnv([partial(gymnasium.make, spec, **kwargs)] * num_envs)
    if len({id(env.unwrapped) for env in envs.envs}) < num_envs:
        raise EnvError(f"env = {spec.id!r} gives the same object each time: it has to make a new environment in each call")
    envs.spec = copy.deepcopy(spec)
    envs.spec.kwargs |= kwargs
    return envs


def find(env_id: Any) -> Any:
    """gymnasium's spec of an id, or one made of a class or function; EnvError with a suggestion when there is none.

    `module:ID` imports the module that registers it, `module:Class` the one that the class stands in.
    """
    given.check(env_id)
    if isinstance(env_id, gymnasium.Env):
        return given.spec_of(env_id) or given.spec_for(type(env_id.unwrapped), given.name(env_id))
    if not isinstance(env_id, str):
        return env_id if isinstance(env_id, EnvSpec) else given.spec_for(env_id, given.name(env_id))
    module, _, name = env_id.rpartition(":")
    if name.startswith(OURS):
        module = module or "minirl.envs"
    try:
        make = given.attribute(importlib.import_module(module), name) if module else None
        return gymnasium.spec(name) if make is None or name in gymnasium.registry else given.spec_for(make, name)
    except Exception as why:
        close, said = _resembling(name), one_line(why).rstrip("?.!")
        said = f"{said.partition('. Did you mean')[0]}; did you mean {' or '.join(close)}?" if close else said
        hint = " `minirl list --envs` shows those that are" if close else "" if module else f"; {given.remedy(name)}"
        raise EnvError(f"env = {env_id!r} is not known to gymnasium: {said}{hint}") from why


def _resembling(name: str) -> list[str]:
    """The registered ids that a name is like, in whichever case; without a version: the newest one."""
    ids = {each.lower(): each for each in gymnasium.registry}
    if name.lower() in ids:
        return [ids[name.lower()]]
    versions = [each for each in ids if re.fullmatch(re.escape(name.lower()) + r"-v\d+", each)]
    newest = sorted(versions, key=lambda each: int(each.rpartition("-v")[2]))[-1:]
    return [ids[each] for each in newest or difflib.get_close_matches(name.lower(), ids, n=2, cutoff=0.75)]


def make_env(env_id: Any, /, **kwargs: Any) -> Any:
    """One environment of an id, a class or a function; an environment is handed back, and its close does nothing."""
    given.check(env_id)
    if isinstance(env_id, gymnasium.Env):
        given.plain(env_id, kwargs)
        return given.KeptOpen(env_id)
    spec, env_id = find(env_id), given.name(env_id)
    try:
        return gymnasium.make(spec, **kwargs)
    except Exception as why:
        raise EnvError(f"env = {env_id!r} cannot be made: {one_line(why)}") from why


def one_line(why: BaseException) -> str:
    """An exception's message on one line."""
    return " ".join(str(why).split()) or type(why).__name__


def autoreset_mode(envs: Any) -> AutoresetMode:
    """What the vector does at the end of an episode, from its metadata; EnvError where it does not say."""
    mode = (getattr(envs, "metadata", None) or {}).get("autoreset_mode")
    try:
        return mode if isinstance(mode, AutoresetMode) else AutoresetMode(mode)
    except ValueError:
        names = ", ".join(m.value for m in AutoresetMode)
        raise EnvError(f"metadata['autoreset_mode'] = {mode!r}: a vector environment has to say one of {names}") from None


def reset(envs: Any, seed: np.random.SeedSequence) -> tuple[Any, dict[str, Any]]:
    """First observations (B, …) and infos. gymnasium's sync and async vectors and ours take a seed each; others take one for all."""
    from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

    from minirl.envs import NativeVectorEnv

    seeds = streams.integer_seeds(seed, envs.num_envs)
    envs.action_space.seed(seeds[0])
    one_each = isinstance(envs.unwrapped, SyncVectorEnv | AsyncVectorEnv | NativeVectorEnv)
    return envs.reset(seed=seeds if one_each else seeds[0])


def check_env(env_id: Any, seed: int = 0, steps: int = 3, env_kwargs: Mapping[str, Any] | None = None) -> None:
    """Reset a copy of the environment and take a few random steps; EnvError names what breaks gymnasium's contract."""
    env = make_env(env_id, **(env_kwargs or {}))
    env_id = given.name(env_id)
    try:
        env.action_space.seed(seed)
        obs, _ = _call(env_id, "reset() has to return (obs, info)", lambda: env.reset(seed=seed), 2)
        _check_obs(env_id, env.observation_space, obs)
        for _ in range(steps):
            result = _call(
                env_id,
                "step() has to return (obs, reward, terminated, truncated, info)",
                lambda: env.step(env.action_space.sample()),
                5,
            )
            obs, reward, terminated, truncated, _ = result
            _check_obs(env_id, env.observation_space, obs)
            _check_scalar(env_id, "reward", reward, "a number")
            _check_scalar(env_id, "terminated", terminated, "True or False")
            _check_scalar(env_id, "truncated", truncated, "True or False")
            if terminated or truncated:
                env.reset()
    finally:
        env.close()


def _call(env_id: str, contract: str, call: Any, length: int) -> Any:
    try:
        result = call()
    except Exception as why:
        raise EnvError(f"env = {env_id!r}: {contract}; it raised {type(why).__name__}: {one_line(why)}") from why
    if not isinstance(result, tuple) or len(result) != length:
        raise EnvError(f"env = {env_id!r}: {contract}, not {type(result).__name__}")
    return result


def _check_obs(env_id: str, space: Any, obs: Any) -> None:
    if not isinstance(space, gymnasium.spaces.Box | gymnasium.spaces.Discrete):
        return _check_encoding(env_id, obs_codec(space), obs)
    try:
        shape = np.asarray(obs, dtype=np.float64).shape
    except (TypeError, ValueError) as why:
        raise EnvError(f"env = {env_id!r}: obs has to be numbers, it is {obs!r} ({type(obs).__name__})") from why
    if shape != space.shape:
        raise EnvError(f"env = {env_id!r}: obs has shape {shape}, its observation_space says {space.shape}")
    if isinstance(space, gymnasium.spaces.Discrete) and not space.contains(obs):
        raise EnvError(f"env = {env_id!r}: obs {obs!r} is not in its observation_space {space}")


def _check_encoding(env_id: str, codec: ObsCodec, obs: Any) -> None:
    try:
        codec.encode(codec.stack([obs]), np.float64)
    except (TypeError, ValueError) as why:
        raise EnvError(f"env = {env_id!r}: obs {obs!r} does not fit its observation_space: {why}") from why


def _check_scalar(env_id: str, name: str, value: Any, wanted: str) -> None:
    kinds = bool | np.bool_ if wanted == "True or False" else bool | int | float | np.bool_ | np.integer | np.floating
    if isinstance(value, kinds) or (isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "fiub" and value.ndim == 0):
        return
    raise EnvError(f"env = {env_id!r}: {name} has to be {wanted}, it is {value!r} ({type(value).__name__})")
