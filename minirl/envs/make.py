"""Environments from an id, a class, a function or an object: one, or a vector of copies; seeding them."""

import difflib
import importlib
import re
from functools import partial
from typing import Any, NoReturn

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec

from minirl.envs import given, memory
from minirl.envs.copies import copies, make_one
from minirl.envs.faults import ENDS, IN_A_WORKER, is_fault, named, one_line, place, raise_placed
from minirl.envs.processes import IMPORTABLE
from minirl.errors import EnvError
from minirl.numerics import random_streams

OURS = "minirl/"  # what the ids of the native environments begin with


def make_envs(env_id: Any, num_envs: int, vectorization: str = "auto", /, **kwargs: Any) -> Any:
    """`num_envs` copies of an environment as a VectorEnv; where we choose, SAME_STEP and one buffer for observations.

    env_id: an id, a class, a function, or an environment that has a spec; without one it is stepped alone, itself.
    auto: all together in one call for the native environments (`minirl/…`), one after the other for the rest.
    """
    env, kwargs = given.plain(env_id, kwargs)
    if isinstance(env, gymnasium.Env):
        return alone(env, num_envs, vectorization)
    spec, name = find(env), given.name(env)
    how, each = chosen(spec, vectorization)
    options: dict[str, Any] = {}
    if how == "vector_entry_point" and spec.id.startswith(OURS):
        options["copy"] = False  # the collector copies what it keeps
    memory.refuse(("environments", each * num_envs, {"num_envs": num_envs}))
    try:
        if how in ("sync", "async"):
            return each_its_own(spec.id, copies(spec, num_envs, how, kwargs))
        return gymnasium.make_vec(spec, num_envs, vectorization_mode=how, **kwargs, **options)
    except BaseException as why:
        raise_not_made(why, f"env = {name!r} cannot be made ({how})", _where_imported(why))


def _where_imported(why: BaseException) -> str:
    """The remedy for an import that fails in a worker process."""
    if isinstance(why, ImportError) and any(IN_A_WORKER in note for note in getattr(why, "__notes__", ())):
        return f" (in a worker process); {IMPORTABLE}"
    return ""


def each_its_own(env_id: str, envs: Any) -> Any:
    """The vector itself; EnvError where a function hands out one object again and again."""
    inside = getattr(envs, "envs", ())
    if len({id(env.unwrapped) for env in inside}) < len(inside):
        raise EnvError(
            f"env = {env_id!r} gives the same object each time: it has to make a new environment in each call"
        )
    return envs


def alone(env: Any, num_envs: int, vectorization: str) -> Any:
    """A vector of one environment object, which stays open when it is closed; EnvError where copies are needed."""
    from minirl.envs.serial import SerialVectorEnv

    if num_envs > 1 or vectorization not in ("auto", "sync"):
        needs = f"num_envs = {num_envs}" if num_envs > 1 else f"vectorization = {vectorization!r}"
        remedy = "give a function that makes one, or its class, or set num_envs to 1 to use this object alone"
        raise EnvError(
            f"env is a {type(env).__name__} that gymnasium cannot make again, and {needs} needs copies: {remedy}"
        )
    return SerialVectorEnv([partial(given.KeptOpen, env)])


def raise_not_made(why: BaseException, what: str, remedy: str = "") -> NoReturn:
    """EnvError for an environment that could not be made or found; `why` itself where no environment is to blame."""
    if not is_fault(why):
        raise why
    raise EnvError(f"{what}: {named(why) if isinstance(why, ENDS) else one_line(why)}{remedy}") from why


def chosen(spec: Any, vectorization: str) -> tuple[str, int]:
    """How copies of an environment are stepped, and how many bytes one of them takes at least."""
    native = spec is not None and spec.id.startswith(OURS)  # an object may have no spec
    if vectorization == "auto":
        vectorization = "vector_entry_point" if native else "sync"
    each = {"sync": memory.SERIAL, "async": memory.PARALLEL}
    return vectorization, each.get(vectorization, memory.NATIVE if native else 0)


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
    except BaseException as why:
        if not is_fault(why):
            raise
        close, said = _resembling(name), (named(why) if isinstance(why, ENDS) else one_line(why)).rstrip("?.!")
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
        return make_one(spec, kwargs)
    except BaseException as why:
        raise_not_made(why, f"env = {env_id!r} cannot be made")


def reset(envs: Any, seed: np.random.SeedSequence) -> tuple[Any, dict[str, Any]]:
    """First observations (B, …) and infos. gymnasium's vectors and ours take a seed each, others one for all."""
    from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

    from minirl.envs import NativeVectorEnv
    from minirl.envs.parallel import ParallelVectorEnv

    seeds = random_streams.integer_seeds(seed, envs.num_envs)
    envs.action_space.seed(seeds[0])
    one_each = isinstance(envs.unwrapped, SyncVectorEnv | AsyncVectorEnv | NativeVectorEnv | ParallelVectorEnv)
    try:
        return envs.reset(seed=seeds if one_each else seeds[0])
    except BaseException as why:
        raise_placed(why, place(why, envs, 0))
