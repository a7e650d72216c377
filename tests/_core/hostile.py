"""Every kernel with arrays that are wrong, or right in an unusual way: a typed error or the right answer, no crash.

For each array of a call of `test_kernel_arguments.GOOD`, also those inside of tuples, and for each number and word, the
values of `ARRAYS` and `OTHERS`. Every array lies between guards that are looked at after the call; what refuses a call
has changed nothing; what accepts one gives to the bit what it gives for a plain copy, and what its NumPy twin gives.
"""

import copy
import itertools
import math
import random
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minirl import _core

WRITTEN = {
    "env_rollout": (1, 2, 3, 7)
}  # what a kernel writes into that does not look whether an input overlaps with it
ERRORS = (TypeError, ValueError, OverflowError, ZeroDivisionError, MemoryError)
GUARD, PATTERN = 256, 0xA5  # bytes before and behind each array
Path = tuple[int, ...]


class Guarded:
    """A view into memory of its own with guards around it; the layout is that of `order` or of negative strides."""

    def __init__(self, x: np.ndarray, shift: int = 0, step: int = 1, order: str = "C"):
        size = x.nbytes * abs(step)
        self.memory = np.full(GUARD + size + shift + GUARD, PATTERN, np.uint8)
        self.low, self.high = GUARD + shift, GUARD + shift + size
        inside = self.memory[self.low : self.high].view()
        if shift:  # no view of that type can be taken at an odd address but by way of a buffer
            flat = np.frombuffer(self.memory, x.dtype, x.size, self.low)
        else:
            flat = inside.view(x.dtype)[:: abs(step)] if x.size else np.empty(0, x.dtype)
        shaped = flat.reshape(x.shape, order=order) if step == 1 else flat.reshape(x.shape)
        if step < 0:
            shaped = shaped[(slice(None, None, -1),) * x.ndim]
        self.array = shaped
        self.array[...] = x

    def intact(self) -> bool:
        return bool((self.memory[: self.low] == PATTERN).all() and (self.memory[self.high :] == PATTERN).all())


def plain(x: np.ndarray) -> np.ndarray:
    return Guarded(x).array


class Subclass(np.ndarray):
    """Says nothing else than ndarray, and may."""


def _memmap(x: np.ndarray) -> np.ndarray:
    if not x.size:
        return x
    with tempfile.TemporaryFile() as file:  # the mapping holds it
        mapped = np.memmap(file, x.dtype, "w+", shape=x.shape or (1,))
    mapped[...] = x
    return mapped


def _read_only(x: np.ndarray) -> np.ndarray:
    x = plain(x)
    x.flags.writeable = False
    return x


def _zeros_strides(x: np.ndarray) -> np.ndarray:
    return np.broadcast_to(x[:1], x.shape) if x.ndim and len(x) else x


# The same values in another layout: what is accepted has to give what a plain copy gives.
LAYOUTS: dict[str, Callable[[np.ndarray], Any]] = {
    "plain": plain,
    "Fortran": lambda x: Guarded(x, order="F").array,
    "every second": lambda x: Guarded(x, step=2).array,
    "backwards": lambda x: Guarded(x, step=-1).array,
    "every second backwards": lambda x: Guarded(x, step=-2).array,
    "misaligned": lambda x: Guarded(x, shift=1).array,
    "read-only": _read_only,
    "read-only and misaligned": lambda x: np.frombuffer(b"\0" + x.tobytes(), x.dtype, x.size, 1).reshape(x.shape),
    "byte-swapped": lambda x: x.astype(x.dtype.newbyteorder()),
    "memmap": _memmap,
    "one row again and again": _zeros_strides,
    "windows that overlap": lambda x: np.lib.stride_tricks.as_strided(
        np.resize(x, 2 * x.size + 2), x.shape, (x.itemsize,) * x.ndim, writeable=False
    ),
}
TYPES = ("f2", "f4", "f8", "g", "i1", "i4", "i8", "u1", "u4", "u8", "?", "c8", "c16", "O", "U8", "S8")
# Other types and shapes. What is accepted has to give what the same values give in a plain array.
ARRAYS: dict[str, Callable[[np.ndarray], Any]] = LAYOUTS | {
    **{f"as {t}": (lambda x, t=t: x.astype(t)) for t in TYPES},
    "dates": lambda x: x.astype("i8").view("M8[s]"),
    "records": lambda x: x.astype([("a", x.dtype), ("b", "f4")]),
    "records of objects": lambda x: np.zeros(x.shape, [("a", "O")]),
    "void": lambda x: np.zeros(x.shape, "V8"),
    "void of nothing": lambda x: np.zeros(x.shape, "V0"),
    "masked": lambda x: np.ma.masked_array(x, mask=True),
    "subclass": lambda x: x.view(Subclass),
    "recarray": lambda x: x.view(np.recarray),
    "matrix": lambda x: x.view(np.matrix) if x.ndim == 2 else None,
    "None": lambda x: None,
    "list": lambda x: x.tolist(),
    "bytes": lambda x: x.tobytes(),
    "memoryview": lambda x: memoryview(plain(x)),
    "a number": lambda x: 1.0,
    "NumPy's number": lambda x: x.dtype.type(1),
    "no dimension": lambda x: plain(np.ones((), x.dtype)),
    "one more": lambda x: plain(x[None]),
    "one more behind": lambda x: plain(x[..., None]),
    "32 dimensions": lambda x: x.reshape(x.shape + (1,) * (32 - x.ndim)),
    "flat": lambda x: plain(x.ravel()),
    "no rows": lambda x: plain(x[:0]) if x.ndim else None,
    "no columns": lambda x: plain(x[..., :0]) if x.ndim else None,
    "nothing": lambda x: np.empty((0,) * x.ndim, x.dtype),
    "shorter": lambda x: plain(x[:-1]) if x.ndim else None,
    "longer": lambda x: plain(np.concatenate([x, x[:1]])) if x.ndim else None,
    "narrower": lambda x: plain(x[..., :-1]) if x.ndim else None,
    "wider": lambda x: plain(np.concatenate([x, x[..., :1]], axis=-1)) if x.ndim else None,
    "transposed": lambda x: plain(x.T),
    "2^40 rows": lambda x: np.broadcast_to(x[:1], (1 << 40, *x.shape[1:])) if x.ndim and len(x) else None,
    "2^40 columns": lambda x: np.broadcast_to(x[..., :1], (*x.shape[:-1], 1 << 40)) if x.ndim and x.size else None,
    "2^58 rows of nothing": lambda x: np.empty((1 << 58, *(0,) * (x.ndim - 1)), x.dtype) if x.ndim > 1 else None,
    "NaN": lambda x: plain(np.full_like(x, np.nan)) if x.dtype.kind == "f" else None,
    "infinite": lambda x: plain(np.full_like(x, -np.inf)) if x.dtype.kind == "f" else None,
    "largest": lambda x: plain(np.full_like(x, np.finfo(x.dtype).max)) if x.dtype.kind == "f" else None,
    "subnormal": lambda x: plain(np.full_like(x, np.finfo(x.dtype).tiny / 4)) if x.dtype.kind == "f" else None,
    "2^62 as index": lambda x: plain(np.full_like(x, 1 << 62)) if x.dtype.kind == "i" else None,
    "-1 as index": lambda x: plain(np.full_like(x, -1)) if x.dtype.kind == "i" else None,
    "the least index": lambda x: plain(np.full_like(x, -(1 << 63))) if x.dtype.kind == "i" else None,
    "a bool of 255": lambda x: plain(np.full(x.shape, 255, np.uint8)).view("?") if x.dtype == np.bool_ else None,
}
OTHERS: list[Any] = [None, True, -1, 0, 1, 7, 1 << 31, (1 << 62) - 1, 1 << 62, -(1 << 63), 1 << 100, 0.5, -0.5, 1e308]
OTHERS += [
    math.nan,
    math.inf,
    -math.inf,
    "",
    "x",
    "tanh",
    "gaussian",
    "categorical",
    "pendulum",
    "\0",
    b"x",
    (),
    [],
    {},
]
OTHERS += [np.float32(1), np.array(1), np.ones(3), object()]


# ------------------------------------------------------------------------------------------------------------- a call


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Everything in a call that is no tuple or list, with the way to it."""
    if isinstance(value, tuple | list):
        for i, each in enumerate(value):
            yield from leaves(each, (*path, i))
    else:
        yield path, value


def with_leaf(value: Any, path: Path, new: Any) -> Any:
    """The same with something else in one place."""
    if not path:
        return new
    parts = list(value)
    parts[path[0]] = with_leaf(parts[path[0]], path[1:], new)
    return type(value)(parts)


def filled(value: Any, rng: np.random.Generator) -> Any:
    """The call with numbers that mean something: floats from 0.1 to 0.9, integers 0 and 1, flags by chance."""
    for path, x in list(leaves(value)):
        if isinstance(x, np.ndarray):
            low, high = (0.1, 0.9) if x.dtype.kind == "f" else (0, 2)
            numbers = rng.uniform(low, high, x.shape) if x.dtype.kind == "f" else rng.integers(low, high, x.shape)
            value = with_leaf(value, path, numbers.astype(x.dtype))
    return value


def separate(value: Any) -> Any:
    """A copy in which every array is one of its own, and random generators are where they were."""
    for path, x in list(leaves(value)):
        if isinstance(x, np.ndarray):
            value = with_leaf(value, path, x.copy())
        elif isinstance(x, np.random.BitGenerator):
            value = with_leaf(value, path, copy.deepcopy(x))
    return value


def outcome(kernel: Callable[..., Any], name: str, args: Any) -> list[Any]:
    """What a kernel returns, and what its arrays then hold, as arrays. Its typed error comes through."""
    result = kernel(*args)
    if name == "policy_actor":  # a function
        x = np.linspace(-1, 1, 12, dtype=args[0].dtype).reshape(4, 3)
        result = result(x, None)
    found = [x for _, x in leaves(result) if x is not None]
    return [np.asarray(x) for x in (*found, *(x for _, x in leaves(args) if isinstance(x, np.ndarray)))]


def native(x: Any) -> Any:
    """The same values in a plain array of the machine's byte order."""
    return np.array(x, dtype=x.dtype.newbyteorder("="), order="C") if type(x) in (np.ndarray, np.memmap) else x


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and native(a).tobytes() == native(b).tobytes()


def near(a: np.ndarray, b: np.ndarray) -> bool:
    tolerance = 1e-4 if np.float32 in (a.dtype, b.dtype) else 1e-9
    return a.shape == b.shape and np.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)


def guards_of(args: Any) -> list[np.ndarray]:
    """The memory in which the arrays lie."""
    bases = []
    for _, x in leaves(args):
        while isinstance(x, np.ndarray) and isinstance(x.base, np.ndarray):
            x = x.base
        if isinstance(x, np.ndarray) and x.dtype == np.uint8 and x.ndim == 1 and len(x) >= 2 * GUARD:
            bases.append(x)
    return bases


def intact(memory: np.ndarray) -> bool:
    return bool((memory[:GUARD] == PATTERN).all() and (memory[-GUARD:] == PATTERN).all())


def check(name: str, args: Any, what: str, twin: bool = True, compared: bool = True) -> bool:
    """Whether the kernel accepts the call; AssertionError for a wrong answer, a change on refusal, a touched guard.

    twin: whether the twin has the same answer; compared: whether there is a right one.
    """
    kernel, memories = getattr(_core, name), guards_of(args)
    before = [m.copy() for m in memories]
    simple = plain_call(args)
    try:
        got = outcome(kernel, name, args)
    except ERRORS:
        assert all(np.array_equal(a, b) for a, b in zip(memories, before, strict=True)), f"{what}: refused, but changed"
        return False
    assert all(map(intact, memories)), f"{what}: wrote beside an array"
    if simple is None or not compared:
        return True
    wanted = outcome(kernel, name, separate(simple))
    assert len(got) == len(wanted) and all(map(same_bits, got, wanted)), f"{what}: {got} is not {wanted}"
    if twin:
        with np.errstate(all="ignore"):
            theirs = outcome(_core.TWINS[name], name, separate(simple))
        assert all(map(near, wanted, theirs)), f"{what}: {wanted} is not the twin's {theirs}"
    return True


def plain_call(args: Any) -> Any:
    """The call with plain arrays of the same values; None where one is no array, or overlaps another."""
    for path, x in list(leaves(args)):
        if isinstance(x, np.ndarray):
            if type(x) not in (np.ndarray, np.memmap) or x.size > 1 << 20:
                return None
            args = with_leaf(args, path, native(x))
    return separate(args)


# --------------------------------------------------------------------------------------------------------- many calls


def guarded(args: Any) -> Any:
    for path, x in list(leaves(args)):
        if isinstance(x, np.ndarray):
            args = with_leaf(args, path, plain(x))
    return args


def one_at_a_time(name: str, args: Any) -> Iterator[tuple[Any, str, bool, bool]]:
    """Each array in each way, each number and word, then two arrays that are one; with the arguments of `check`."""
    for path, x in list(leaves(args)):
        if isinstance(x, np.ndarray):
            for what, change in ARRAYS.items():
                new = change(x.copy())
                if new is not None or what == "None":
                    call = with_leaf(guarded(separate(args)), path, new)
                    yield call, f"{name}, argument {path}: {what}", what in LAYOUTS, True
        elif not isinstance(x, np.random.BitGenerator):
            for other in OTHERS:
                call = with_leaf(guarded(separate(args)), path, other)
                yield call, f"{name}, argument {path}: {other!r}", False, True
    paths = [path for path, x in leaves(args) if isinstance(x, np.ndarray)]
    for a, b in itertools.combinations(paths, 2):
        call = guarded(separate(args))
        call = with_leaf(call, b, dict(leaves(call))[a])
        one_is_written = (a[0] in WRITTEN.get(name, ())) != (b[0] in WRITTEN.get(name, ()))
        yield call, f"{name}, arguments {a} and {b} are one", False, not one_is_written


def by_chance(name: str, args: Any, rng: random.Random) -> tuple[Any, str]:
    """Several arguments at once."""
    call, said = guarded(separate(args)), [name]
    for path, x in list(leaves(args)):
        if rng.random() < 0.5:
            continue
        if isinstance(x, np.ndarray):
            what = rng.choice(list(ARRAYS) + 4 * list(LAYOUTS))
            call = with_leaf(call, path, ARRAYS[what](x.copy()))
            said.append(f"{path}: {what}")
        elif not isinstance(x, np.random.BitGenerator) and rng.random() < 0.2:
            other = rng.choice(OTHERS)
            call = with_leaf(call, path, other)
            said.append(f"{path}: {other!r}")
    return call, ", ".join(said)
