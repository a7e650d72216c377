"""The run directory: found or made, locked while a process writes to it, and the record of how the run was started.

    RUN/  config.json  metrics.csv  metrics.jsonl  policy.safetensors  checkpoints/  curve.png  (tensorboard/)
          (policies/)  (league/)  .lock

The lock is the kernel's: it goes when the process goes, however that ends.
"""

import contextlib
import os
import re
import socket
import stat
from pathlib import Path
from typing import Any

from minirl.errors import FileError, RunInUseError
from minirl.files.atomic import LINK, NONBLOCK, no_link, still_at, sweep, sweep_ending, write_atomically
from minirl.files.strict_json import write_json
from minirl.runs.record import CONFIG, now, read_record, surroundings

try:
    import fcntl
except ModuleNotFoundError:  # Windows: no lock
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
# what is written atomically, by way of a temporary file each
LEAGUE = ("league.json", "league.png")
WRITTEN = (
    CONFIG,
    "best.safetensors",
    "metrics.csv",
    "metrics.jsonl",
    "policy.safetensors",
    "curve.png",
    "traceback.txt",
    *LEAGUE,
    ".probe",
)
FOLDERS = ("tensorboard", "policies", "league", "checkpoints", "best")
OF_POLICIES = ("policies", "league", "best/policies", "checkpoints")
LONGEST = 64  # letters of an environment's id in the name of a directory


class RunDir:
    """A directory that this process alone writes to; a context manager that lets go of it.

    It is locked and proved writable when it is opened, and holds nothing until `start`: one that never starts is
    removed again. It may be a symbolic link itself; in it there may be none where the run writes, since what they
    point to is not the run's. `path` is absolute, for an environment may change the current directory; messages use
    `name`.
    FileError when it cannot be used or holds a run already, RunInUseError when another process has it.
    """

    def __init__(self, path: Path, name: str, made: bool, again: bool = False):
        self.path, self.name, self.made, self.started = path, name, made, again
        self.record: dict[str, Any] = {}
        _refuse_links(path, name)
        self.lock = _lock(path, name)
        try:
            if again:
                self.record = read_record(path)
            elif (path / CONFIG).exists():
                remedy = f"choose another directory with `run`, or remove this one; minirl resume {name} continues it"
                raise FileError(f"{name} already holds a run: {remedy}")
            sweep(path, WRITTEN)
            for folder in OF_POLICIES:
                if not (path / folder).is_symlink():
                    sweep_ending(path / folder, ".safetensors")
            write_atomically(path / ".probe", b"")
            (path / ".probe").unlink()
        except BaseException:
            self.close()
            raise

    def start(self, record: dict[str, Any]) -> None:
        """Write config.json: from now on the directory holds a run."""
        write_json(self.path / CONFIG, record)
        self.record, self.started = record, True

    def note_resumed(self, update: int, exact: bool, before: int, after: int) -> None:
        """Say that the run goes on after this update, in which surroundings, whether exactly, and to which end.

        before, after: total_timesteps. `write_record` writes it.
        """
        said = surroundings() | {"update": update, "exact": exact, "at": now()}
        said |= {} if before == after else {"total_timesteps": before}
        config = {**self.record["config"], "total_timesteps": after}
        self.record = {**self.record, "config": config, "resumed": [*self.record.get("resumed", []), said]}

    def write_record(self) -> None:
        """config.json as it is to be."""
        write_json(self.path / CONFIG, self.record)

    def hold(self) -> None:
        """Make the directory and its config.json again if they were removed; FileError where another is there."""
        there = still_at(self.lock, self.path / LOCK)
        if there is False:
            raise FileError(f"run directory {self.name} was replaced by another in mid-run")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as why:
            reason = f"was removed in mid-run and cannot be made again: {why.strerror}"
            raise FileError(f"run directory {self.name} {reason}") from why
        if self.started and not os.path.lexists(self.path / CONFIG):
            write_json(self.path / CONFIG, self.record)

    def close(self) -> None:
        """Unlock; what was made for a run that never started is removed."""
        if self.made and not self.started:
            (self.path / LOCK).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # something was put into it
                self.path.rmdir()
        os.close(self.lock)

    def __enter__(self) -> "RunDir":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def current() -> Path:
    """The current directory, before anything else may change it; FileError where it was removed."""
    try:
        return Path.cwd()
    except OSError as why:
        raise FileError(f"the current directory cannot be used: {why.strerror}; change to one that is there") from why


def open_run(path: str | os.PathLike[str], env: str, algorithm: str, seed: int, here: Path | None = None) -> RunDir:
    """The directory at `path`, made where it does not exist; "auto" is runs/ENV-ALGORITHM-SEED-N with the first free N.

    here: where a relative path starts, by default the current directory.
    """
    here, text = here or current(), str(path) if isinstance(path, str | os.PathLike) else ""
    if not text.strip() or "\0" in text:
        raise FileError(f"run = {path!r}: takes the name of a directory, or auto for a new one in runs")
    try:
        if path == "auto":
            name = _first_free(here / "runs", f"{_as_name(env)}-{algorithm}-{seed}")
            return RunDir(here / "runs" / name, f"runs/{name}", made=True)
        made = not (here / path).exists()
        (here / path).mkdir(parents=True, exist_ok=True)
        return RunDir(here / path, text, made)
    except OSError as why:
        reason = "it is a file" if isinstance(why, FileExistsError) else why.strerror or why
        raise FileError(f"run directory {path} cannot be used: {reason}; choose another one with `run`") from why


def open_again(path: str | os.PathLike[str]) -> RunDir:
    """The directory of a run that is to go on; FileError where there is none, RunInUseError where it still does."""
    if not isinstance(path, str | os.PathLike) or not str(path).strip() or "\0" in str(path):
        raise FileError(f"resume = {path!r}: takes the directory of a run")
    found = current() / path
    if not (found / CONFIG).is_file():
        raise FileError(f"{path} holds no run: it has no {CONFIG}")
    try:
        return RunDir(found, str(path), made=False, again=True)
    except OSError as why:
        raise FileError(f"run directory {path} cannot be used: {why.strerror or why}") from why


def _as_name(env: str) -> str:
    """An environment's id as the beginning of a folder's name: neither a path, hidden, a flag, nor too long."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", env)[:LONGEST]
    return name if re.match(r"[A-Za-z0-9_]", name) else f"_{name}"


def _first_free(parent: Path, name: str) -> str:
    """NAME-N, made in PARENT; two processes never get the same one."""
    parent.mkdir(parents=True, exist_ok=True)
    n = 1
    while True:
        try:
            (parent / f"{name}-{n}").mkdir()
            return f"{name}-{n}"
        except FileExistsError:
            n += 1


def _refuse_links(path: Path, name: str) -> None:
    """FileError where a name that a run writes to is a symbolic link: what it points to is somebody else's."""
    for each in (LOCK, *WRITTEN, *FOLDERS):
        if (path / each).is_symlink():
            raise FileError(f"run directory {name} cannot be used: {each} in it: {LINK}; remove the link")


def _lock(path: Path, name: str) -> int:
    """Take the lock without waiting, and write into it who has it. -> file descriptor"""
    fd = no_link(path / LOCK, os.O_RDWR | os.O_CREAT | NONBLOCK)
    try:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode) or about.st_nlink > 1:
            raise FileError(f"run directory {name} cannot be used: {LOCK} in it is no file of its own; remove it")
        if fcntl is not None:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        gone = not still_at(fd, path / LOCK)
        if not gone:
            os.ftruncate(fd, 0)
            os.write(fd, f"process {os.getpid()} on {socket.gethostname()}".encode())
    except BlockingIOError:
        holder = os.read(fd, 200).decode("utf-8", "replace")
        os.close(fd)
        holder = holder or "another process"
        raise RunInUseError(f"{name} is in use by {holder}: choose another directory with `run`") from None
    except BaseException:
        os.close(fd)
        raise
    if gone:  # a run that never started has just taken its file away
        os.close(fd)
        return _lock(path, name)
    return fd
