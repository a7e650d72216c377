"""Policy optimisation in NumPy with a small compiled core: trust regions and their relatives, every equation in sight.

    result = minirl.train("trpo", "CartPole-v1", seed=0, total_timesteps=100_000)
    for update in minirl.learn("ppo", envs, config): ...
    policy = minirl.load(run);  action = policy.act(obs)

Names are looked up when they are first used, so that `minirl.deploy` needs NumPy alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minirl import deploy
    from minirl.api import Result, configure, evaluate, learn, load, save, train, verify

from minirl.version import __version__

__all__ = ["Result", "__version__", "configure", "deploy", "evaluate", "learn", "load", "save", "train", "verify"]

_HOMES = dict.fromkeys(("Result", "configure", "evaluate", "learn", "save", "train", "verify"), "minirl.api")
_HOMES["load"] = "minirl.deploy"


def __getattr__(name: str) -> Any:
    """Import what is asked for (PEP 562) and keep it."""
    if name == "deploy":
        return import_module("minirl.deploy")
    if name not in _HOMES:
        raise AttributeError(f"module 'minirl' has no attribute {name!r}")
    globals()[name] = value = vars(import_module(_HOMES[name]))[name]
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
