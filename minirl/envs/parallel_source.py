"""Where a parallel environment comes from: package/name, module:Class, a module, a class or a function."""

import difflib
import importlib
import pkgutil
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

from minirl.envs import given
from minirl.envs.faults import close, is_fault, named
from minirl.errors import EnvError

SPREAD = "minirl/SimpleSpread-v0"
PACKAGES = {  # where the modules of `package/name` are looked for, in this order
    "mpe2": ("mpe2",),
    "pettingzoo": tuple(f"pettingzoo.{family}" for family in ("butterfly", "sisl", "atari", "classic")),
}
KINDS = "package/name (mpe2 or pettingzoo), module:Class, a class, a function that makes one, or an environment"
EXTRA = ("pettingzoo", "mpe2", "pygame", "pygame_ce")  # what the extra `marl` brings


def name(env: Any) -> str:
    """What messages and run directories call it."""
    return env.__name__ if isinstance(env, ModuleType) else given.name(env)


def is_environment(env: Any) -> bool:
    """Whether it is an environment already, and not what makes one."""
    return not isinstance(env, type) and hasattr(env, "reset") and hasattr(env, "step")


def source(env: Any) -> Callable[..., Any]:
    """What makes one copy when it is called; EnvError where there is nothing."""
    if isinstance(env, str):
        return _by_name(env)
    if isinstance(env, ModuleType):
        return _maker(env, env.__name__)
    if not callable(env):
        raise EnvError(f"env = {env!r}: takes {KINDS}")
    return env


def close_all(copies: list[Any]) -> None:
    """Close environments that have a close."""
    for place, env in enumerate(copies):
        if hasattr(env, "close"):
            close(env, f"env={place}")


def _by_name(env: str) -> Callable[..., Any]:
    """The class or function that a text names."""
    module, colon, path = env.rpartition(":")
    if colon:
        make = given.attribute(_imported(env, module), path)
        if make is None:
            raise EnvError(f"env = {env!r}: the module {module} has no {path} that can be called")
        return make
    package, slash, short = env.partition("/")
    if not slash or package not in PACKAGES or not re.fullmatch(r"\w+", short):
        native = f"; {SPREAD} is native" if package == "minirl" else ""
        raise EnvError(f"env = {env!r} is no environment with several agents: takes {KINDS}{native}")
    for folder in PACKAGES[package]:
        where = _imported(env, folder)
        names = [found.name for found in pkgutil.iter_modules(where.__path__)]
        if short in names:
            return _maker(_imported(env, f"{folder}.{short}"), env)
    close = difflib.get_close_matches(short, _offered(env, package), n=2)
    hint = f"; did you mean {' or '.join(f'{package}/{each}' for each in close)}?" if close else ""
    raise EnvError(f"env = {env!r} is unknown: {package} has no {short}{hint}")


def _offered(env: str, package: str) -> list[str]:
    """Names with a version, which are environments."""
    folders = [_imported(env, folder).__path__ for folder in PACKAGES[package]]
    found = [each.name for folder in folders for each in pkgutil.iter_modules(folder)]
    return [each for each in found if re.search(r"_v\d+$", each)]


def _imported(env: str, module: str) -> Any:
    """A module; EnvError where it is missing, or breaks when it is imported."""
    try:
        return importlib.import_module(module)
    except BaseException as why:
        if not is_fault(why):
            raise
        if isinstance(why, ModuleNotFoundError) and env.partition("/")[0] in PACKAGES:
            package = '"minirl[marl]"' if str(why.name).partition(".")[0] in EXTRA else why.name
            raise EnvError(f"env = {env!r} needs {why.name}, which is not installed: pip install {package}") from why
        raise EnvError(f"env = {env!r}: the module {module} cannot be imported: {named(why)}") from why


def _maker(module: Any, env: str) -> Callable[..., Any]:
    """A module's `parallel_env`."""
    make = getattr(module, "parallel_env", None)
    if not callable(make):
        remedy = "takes an environment in which all agents act at once"
        raise EnvError(f"env = {env!r} is not parallel, its module has no parallel_env: {remedy}")
    return make


def made(env: Any, make: Callable[[], Any]) -> Any:
    """What `make` gives; EnvError where it raises."""
    try:
        return make()
    except BaseException as why:
        if isinstance(why, EnvError) or not is_fault(why):
            raise
        raise EnvError(f"env = {name(env)!r} cannot be made: {named(why)}") from why
