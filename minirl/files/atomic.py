"""Files that are written completely or not at all, and read only where they are regular files."""

import itertools
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from minirl.errors import FileError

MAX_JSON = 1 << 24  # bytes
NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)  # Windows has neither of the two
NONBLOCK = getattr(os, "O_NONBLOCK", 0)
LINK = "it is a symbolic link, which is not followed"
_numbers = itertools.count()  # `next` of it is one step: no two threads get the same


def write_atomically(path: Path, data: bytes, sync: bool = True) -> None:
    """Put `data` at `path` so that a reader, or a power cut, finds the old file or the new one. FileError: the path.

    sync: False leaves it to the system when the bytes reach the disk: after a power cut the file may be damaged.
    A symbolic link at `path` is replaced, what it points to stays as it is. Of several writers the last one stays.
    """
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise FileError(f"{path} cannot be written: it is not a regular file")  # the rename would take /dev/null away
    try:
        temp, file = _temporary(path)
        try:
            with file:
                file.write(data)
                file.flush()
                if sync:
                    os.fsync(file.fileno())  # before the rename: else the name may reach the disk before the bytes
            os.replace(temp, path)
        except BaseException:
            temp.unlink(missing_ok=True)
            raise
        if sync:
            _sync_directory(path.parent)
    except OSError as why:
        raise FileError(f"{path} cannot be written: {why.strerror or why}") from why


def _temporary(path: Path) -> tuple[Path, BinaryIO]:
    """A file beside `path` that did not exist before, under a name that no other call uses."""
    while True:
        temp = path.with_name(f".{path.name}.{os.getpid()}-{next(_numbers)}.tmp")
        try:
            return temp, open(temp, "xb", opener=no_link)
        except FileExistsError:  # left by a killed process of the same number
            continue


def no_link(path: str | Path, flags: int) -> int:
    """An `opener` for `open` that refuses a symbolic link at the path itself."""
    return os.open(path, flags | NOFOLLOW, 0o666)


def _sync_directory(path: Path) -> None:
    if os.name != "posix":  # Windows opens no directories
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sweep(directory: Path, names: Iterable[str]) -> None:
    """Remove the temporary files of these names that a killed process left, and no other file."""
    _sweep(directory, "|".join(map(re.escape, names)))


def sweep_ending(directory: Path, ending: str) -> None:
    """The same for all names that end so, in a folder that only minirl writes to."""
    _sweep(directory, rf"[^/]+{re.escape(ending)}")


def _sweep(directory: Path, names: str) -> None:
    for stale in directory.glob(".*.tmp"):
        if re.fullmatch(rf"\.({names})\.\d+(-\d+)?\.tmp", stale.name):
            stale.unlink(missing_ok=True)


def still_at(fd: int, path: Path) -> bool | None:
    """Whether `path` names the open file; None where nothing is there any more."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except (FileNotFoundError, NotADirectoryError):
        return None


def open_regular(path: Path) -> BinaryIO:
    """A file opened for reading; ValueError for a pipe or device, where reading may never end. OSError as usual."""
    _check_regular(os.stat(path).st_mode)
    file = open(path, "rb", opener=_no_wait)  # noqa: SIM115
    try:
        _check_regular(os.fstat(file.fileno()).st_mode)  # another may stand there by now
    except BaseException:
        file.close()
        raise
    return file


def _no_wait(path: str | Path, flags: int) -> int:
    return os.open(path, flags | NONBLOCK)


def _check_regular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise ValueError("it is a directory" if stat.S_ISDIR(mode) else "it is not a regular file")


def read_file(path: Path, limit: int) -> bytes:
    """The bytes of a file. ValueError beyond `limit`, and for what is none; OSError."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise ValueError(f"it has {size} bytes, at most {limit} are read")
        return file.read(size)
