"""Whether a checkpoint has the form of what it is to be restored into: checked before anything is taken from it.

Its checksum says that nothing was damaged, not who wrote it. A learner that was just made knows which dicts, arrays and
numbers its state consists of; a checkpoint with others is refused instead of being met somewhere in the training.
"""

from typing import Any

import numpy as np

WRONG = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, ZeroDivisionError)
OWN = ("envs",)  # what environments are saved as is looked at by those who bring them back
OPTIONAL = ("carry",)  # None where episodes begin again
PARTIAL = ("collector",)  # and this has fewer parts then
GROWS = ("curve", "pool")  # parts whose lengths are those of the training


def unlike(saved: Any, fresh: Any, name: str = "learner") -> str:
    """The first part of a saved state that has not the form of a learner's fresh one, and why; "" where there is none.

    Lists, and arrays of which the learner has none yet, may be longer; what it has as None may be anything.
    """
    last = name.rpartition(".")[2]
    if fresh is None or last in OWN or (saved is None and last in OPTIONAL):
        return ""
    if isinstance(fresh, dict):
        return _unlike_dict(saved, fresh, name)
    if isinstance(fresh, list):
        if not isinstance(saved, list):
            return f"{name} is no list"
        pairs = zip(saved, fresh if len(fresh) == len(saved) else fresh[:1] * len(saved), strict=bool(fresh))
        return next((said for i, (a, b) in enumerate(pairs) if (said := unlike(a, b, f"{name}.{i}"))), "")
    if isinstance(fresh, np.ndarray):
        if not isinstance(saved, np.ndarray) or saved.dtype != fresh.dtype or saved.ndim != fresh.ndim:
            return f"{name} is no array of {fresh.dtype} with {fresh.ndim} dimensions"
        same = saved.shape == fresh.shape or not fresh.size or any(part in GROWS for part in name.split("."))
        return "" if same else f"{name} has shape {saved.shape}, not {fresh.shape}"
    if isinstance(fresh, bool) or not isinstance(fresh, int | float):
        fits = type(saved) is type(fresh)
    else:
        fits = type(saved) is int if isinstance(fresh, int) else type(saved) in (int, float)
        fits = fits and (isinstance(fresh, float) or saved >= 0)  # counts, and states of generators
    return "" if fits else f"{name} is no {type(fresh).__name__} as it should be"


def _unlike_dict(saved: Any, fresh: dict[str, Any], name: str) -> str:
    if not isinstance(saved, dict):
        return f"{name} is no object"
    lacking = [key for key in fresh if key not in saved]
    if lacking and name.rpartition(".")[2] not in PARTIAL:
        return f"{name} lacks {lacking[0]}"
    return next(
        (said for key in fresh if key in saved and (said := unlike(saved[key], fresh[key], f"{name}.{key}"))), ""
    )
