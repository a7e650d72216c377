"""An environment's exception on its way out of a worker process: of its own type wherever that can be made again."""

import traceback
from collections.abc import Iterator
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple, NoReturn

from minirl.envs.faults import IN_A_WORKER, named, raise_placed
from minirl.errors import EnvRaisedError


class Failure(NamedTuple):
    """What a worker answers where the environment raised: the exception, or else what there is to say of it."""

    pickled: bytes | None
    said: str
    trace: str


def packed(why: BaseException, where: str) -> Failure:
    """`why`, raised at `where` (for example "env=1, step=5"), as something that can be sent for certain."""
    trace = "".join(traceback.format_exception(why))
    try:
        said = f"{where}: the environment raised {named(why)}"
    except Exception:  # its __str__ raises
        said = f"{where}: the environment raised {type(why).__name__}"
    try:
        raise_placed(why, where)
    except Exception as placed:
        return Failure(_pickled(placed), said, trace)
    except BaseException:  # Ctrl-C is not sent to workers, and nothing that an environment raises may pass for it
        return Failure(None, said, trace)


def raise_unpacked(failure: Failure) -> NoReturn:
    """Raise what was packed, the worker's traceback as a note; an EnvRaisedError where it cannot be made again here."""
    why: BaseException = EnvRaisedError(failure.said)
    if failure.pickled is not None:
        try:
            why = _made(*ForkingPickler.loads(failure.pickled))
        except Exception:  # its class is known in the worker alone
            why = EnvRaisedError(failure.said)
    why.add_note(f"{IN_A_WORKER}{failure.said}\n{failure.trace}")
    raise why


def _pickled(why: Exception) -> bytes | None:
    """The first form that gives the same type and message when it is made again."""
    try:
        kind, text = type(why), str(why)
    except Exception:
        return None
    for parts in _forms(why, text):
        try:
            data = bytes(ForkingPickler.dumps(parts))
            again = _made(*ForkingPickler.loads(data))
            if type(again) is kind and str(again) == text:
                return data
        except Exception:  # the next form may do
            continue
    return None


def _forms(why: Exception, text: str) -> Iterator[tuple[Any, ...]]:
    """The exception as a whole; without a call of its __init__; its message alone."""
    notes = {"__notes__": list(getattr(why, "__notes__", ()))}
    yield (why,)
    yield type(why), why.args, vars(why)
    yield type(why), (text,), notes


def _made(why: Any, args: tuple[Any, ...] = (), attributes: dict[str, Any] | None = None) -> BaseException:
    if not isinstance(why, type):
        return why
    made: BaseException = why.__new__(why)  # type: ignore[call-overload]
    made.args = args
    vars(made).update(attributes or {})
    return made
