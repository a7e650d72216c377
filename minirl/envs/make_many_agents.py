"""Copies of a parallel environment from an id, a class, a function or an object, native or PettingZoo's."""

from typing import Any

import numpy as np

from minirl.envs import memory
from minirl.envs.many_agents import ManyAgents
from minirl.envs.native.simple_spread import SimpleSpread
from minirl.envs.parallel_source import SPREAD, close_all, is_environment, made, name, source
from minirl.envs.pettingzoo_parallel import ParallelCopies
from minirl.errors import EnvError


def make_many_agents(env: Any, num_envs: int, /, **kwargs: Any) -> ManyAgents:
    """`num_envs` copies of a parallel environment; EnvError where it is unknown, not installed or not parallel.

    env: minirl/SimpleSpread-v0 (native), mpe2/NAME, pettingzoo/NAME, module:Class, or a class, function, module or
    object with PettingZoo's parallel interface.  kwargs: what each copy is made with.
    """
    if isinstance(num_envs, bool) or not isinstance(num_envs, int | np.integer) or num_envs < 1:
        raise EnvError(f"num_envs = {num_envs!r}: takes a whole number from 1 on")
    if isinstance(env, str) and env == SPREAD:
        return made(env, lambda: SimpleSpread(int(num_envs), **kwargs))
    memory.refuse(("environments", memory.SERIAL * int(num_envs), {"num_envs": num_envs}))
    if is_environment(env):
        return ParallelCopies([alone(env, num_envs, kwargs)], name(env), keep_open=True)
    make = source(env)
    copies: list[Any] = []
    try:
        for _ in range(num_envs):
            copies.append(made(env, lambda: make(**kwargs)))
        return ParallelCopies(copies, name(env))
    except BaseException:
        close_all(copies)
        raise


def alone(env: Any, num_envs: int, kwargs: dict[str, Any]) -> Any:
    """The environment itself; EnvError where more than that is asked of it."""
    if num_envs > 1:
        remedy = "give its class, or a function that makes one, or set num_envs to 1 to use this object alone"
        raise EnvError(f"env is one {type(env).__name__}, and num_envs = {num_envs} needs copies: {remedy}")
    if kwargs:
        raise EnvError(f"env_kwargs = {kwargs!r}: the environment is made already; give its class as env")
    return env
