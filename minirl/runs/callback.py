"""A function of the user's that hears of each update."""

import inspect
from collections.abc import Callable
from typing import Any

from minirl.errors import ConfigError

POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def listener(callback: Any) -> Callable[[Any, Any], Any]:
    """(update, learner) -> what `callback` says of them: both where it needs two arguments, or calls one `learner`.

    ConfigError for what cannot be called with either.
    """
    if callback is None:
        return lambda _update, _learner: None
    if not callable(callback):
        raise ConfigError(
            f"callback = {callback!r}: takes a function of (update) or (update, learner), not {type(callback).__name__}"
        )
    try:
        parameters = inspect.signature(callback).parameters
    except (TypeError, ValueError):  # of some functions written in C nothing is known
        return lambda update, _learner: callback(update)
    places = [p for p in parameters.values() if p.kind in POSITIONAL]
    needed = [p for p in places if p.default is inspect.Parameter.empty]
    keywords = [
        p
        for p in parameters.values()
        if p.kind is inspect.Parameter.KEYWORD_ONLY and p.default is inspect.Parameter.empty
    ]
    several = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters.values())
    if len(needed) > 2 or keywords or not (places or several):
        named = ", ".join(p.name for p in [*needed, *keywords]) or "no arguments"
        raise ConfigError(f"callback = {callback!r} takes {named}: it is called with (update) or (update, learner)")
    if len(needed) == 2 or [p.name for p in places[1:2]] == ["learner"]:
        return callback
    return lambda update, _learner: callback(update)
