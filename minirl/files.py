"""Files that are written whole or not at all, and JSON that is read strictly."""

import json
import math
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from minirl.errors import FileError

MAX_DEPTH = 32
MAX_JSON = 1 << 24  # bytes


def write_atomically(path: Path, data: bytes) -> None:
    """Put `data` at `path` so that a reader, or a power cut, meets the old file or the new one. FileError names the path."""
    temp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise FileError(f"{path} cannot be written: it is not a regular file")  # the rename would take /dev/null away
    try:
        try:
            with open(temp, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())  # before the rename: else the name may reach the disk before the bytes
            os.replace(temp, path)
        except BaseException:
            temp.unlink(missing_ok=True)
            raise
        _sync_directory(path.parent)
    except OSError as why:
        raise FileError(f"{path} cannot be written: {why.strerror or why}") from why


def _sync_directory(path: Path) -> None:
    if os.name != "posix":  # Windows opens no directories
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sweep(directory: Path, names: Iterable[str]) -> None:
    """Remove the temporary files of these names that a killed process left; nobody else's."""
    for stale in directory.glob(".*.tmp"):
        if any(re.fullmatch(rf"\.{re.escape(name)}\.\d+\.tmp", stale.name) for name in names):
            stale.unlink(missing_ok=True)


def still_at(fd: int, path: Path) -> bool | None:
    """Whether `path` names the open file; None where nothing is there any more."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except (FileNotFoundError, NotADirectoryError):
        return None


def open_regular(path: Path) -> BinaryIO:
    """A file opened for reading; ValueError for what is none: reading a pipe or device may never end. OSError as usual."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        raise ValueError("it is a directory" if stat.S_ISDIR(mode) else "it is not a regular file")
    return open(path, "rb")


def read_file(path: Path, limit: int) -> bytes:
    """The bytes of a file. ValueError beyond `limit`, and for what is none; OSError."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise ValueError(f"it has {size} bytes, at most {limit} are read")
        return file.read(size)


def parse_json(text: str) -> Any:
    """JSON with each key once, finite numbers and at most MAX_DEPTH levels; ValueError says what is wrong."""
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_finite, parse_float=_finite)
        _check_depth(value, MAX_DEPTH)
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) < len(pairs):
        raise ValueError("its JSON has a key twice")
    return keys


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"its JSON holds the number {text}")
    return number


def _check_depth(value: Any, left: int) -> None:
    if left == 0:
        raise RecursionError
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_depth(item, left - 1)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; FileError when it is missing or is not one."""
    try:
        value = parse_json(read_file(path, MAX_JSON).decode("utf-8"))
        if not isinstance(value, dict):
            raise ValueError("it holds no JSON object")
    except (OSError, ValueError) as why:
        raise FileError(f"{path} cannot be read: {getattr(why, 'strerror', None) or why}") from why
    return value


def write_json(path: Path, value: dict[str, Any]) -> None:
    """An object as indented JSON."""
    write_atomically(path, (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8", "backslashreplace"))
