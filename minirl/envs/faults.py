"""The errors of environments, with the environment and the step that they come from."""

import signal
import traceback
import warnings
from pathlib import Path
from typing import Any, NoReturn

from minirl.envs.contract import Misfit
from minirl.errors import EnvError, EnvRaisedError, MinirlError

# Raised by an environment these would pass for the end of a loop or of the process.
ENDS = (StopIteration, StopAsyncIteration, GeneratorExit, SystemExit)
PLACE, IN_A_WORKER = "environment: ", "in a worker process: "  # how the notes begin that say where an error comes from


def one_line(why: BaseException) -> str:
    """An exception's message on one line."""
    return " ".join(str(why).split()) or type(why).__name__


def raise_placed(why: BaseException, where: str) -> NoReturn:
    """Raise `why`, which an environment raised, with a note of the place; or an EnvError that names it.

    `where` is for example "env=1, step=5". An error of ours, which has its place, and Ctrl-C come through unchanged.
    """
    if isinstance(why, Misfit):
        raise EnvError(f"{where}: {why}") from why
    if isinstance(why, ENDS) and is_fault(why):
        raise EnvRaisedError(f"{where}: the environment raised {named(why)}") from why
    noted = any(note.startswith(PLACE) for note in getattr(why, "__notes__", ()))
    if isinstance(why, Exception) and not isinstance(why, MinirlError) and not noted:
        why.add_note(PLACE + where)
    raise why


def named(why: BaseException) -> str:
    """An exception's type, message and line of code."""
    text = type(why).__name__ + (f": {one_line(why)}" if str(why) else "")
    frames = traceback.extract_tb(why.__traceback__)
    return f"{text} ({Path(frames[-1].filename).name}:{frames[-1].lineno} in {frames[-1].name})" if frames else text


def described(why: BaseException) -> str:
    """The same, after the environment and the step where an environment raised it; of a worker's, the line there."""
    notes = getattr(why, "__notes__", ())
    places = [note.removeprefix(PLACE) for note in notes if note.startswith(PLACE)]
    elsewhere = [note.removeprefix(IN_A_WORKER) for note in notes if note.startswith(IN_A_WORKER)]
    if elsewhere:
        return elsewhere[0].partition("\n")[0]
    return f"{places[0]}: the environment raised {named(why)}" if places else named(why)


def is_fault(why: BaseException) -> bool:
    """Whether an environment is to blame: not for Ctrl-C, nor for a signal handler that calls sys.exit."""
    if isinstance(why, Exception):
        return True
    handlers = {getattr(signal.getsignal(each), "__code__", None) for each in signal.valid_signals()} - {None}
    by_handler = any(frame.f_code in handlers for frame, _ in traceback.walk_tb(why.__traceback__))
    return isinstance(why, ENDS) and not by_handler


def place(why: BaseException, envs: Any, step: int) -> str:
    """Where in a vector `why` was raised: the step, and of a SyncVectorEnv the one whose method is in the traceback."""
    inside = list(getattr(getattr(envs, "unwrapped", envs), "envs", None) or ())
    for frame, _ in traceback.walk_tb(why.__traceback__):
        first = frame.f_locals.get(frame.f_code.co_varnames[0]) if frame.f_code.co_varnames else None
        for i, env in enumerate(inside):
            if env is first:
                return f"env={i}, step={step}"
    return f"step={step}"


def close(env: Any, name: str) -> None:
    """Close an environment, or a vector of them; an error there becomes a warning, so that no result is lost."""
    try:
        env.close()
    except BaseException as why:
        if not is_fault(why):
            raise
        warnings.warn(f"{name}: close() raised {named(why)}; nothing that was done before is lost", stacklevel=2)
