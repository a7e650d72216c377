"""The run directory: found or made, locked while a process writes to it, and the record of how the run was started.

    RUN/  config.json  metrics.csv  metrics.jsonl  policy.safetensors  curve.png  (tensorboard/)  (checkpoints/)  .lock

The lock is the kernel's: it goes when the process goes, however that ends.
"""

import contextlib
import dataclasses
import datetime
import os
import platform
import re
import socket
from pathlib import Path
from typing import Any

from minirl.errors import FileError, RunInUseError
from minirl.files import sweep, write_atomically, write_json

try:
    import fcntl
except ModuleNotFoundError:  # Windows: no lock
    fcntl = None  # type: ignore[assignment]

CONFIG, LOCK = "config.json", ".lock"
WRITTEN = (CONFIG, "metrics.csv", "policy.safetensors", "curve.png", ".probe")  # atomically, by way of a temporary file each
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
FORMAT = 1


class RunDir:
    """A directory that this process alone writes to; a context manager that lets go of it.

    It is locked and proved writable when it is opened, and holds nothing until `start`: one that never starts is removed again.
    FileError when it cannot be used or holds a run already, RunInUseError when another process has it.
    """

    def __init__(self, path: Path, made: bool):
        self.path, self.made, self.started = path, made, False
        self.lock = _lock(path)
        try:
            if (path / CONFIG).exists():
                raise FileError(f"{path} already holds a run: choose another directory with `run`, or remove this one")
            sweep(path, WRITTEN)
            write_atomically(path / ".probe", b"")
            (path / ".probe").unlink()
        except BaseException:
            self.close()
            raise

    def start(self, record: dict[str, Any]) -> None:
        """Write config.json: from now on the directory holds a run."""
        write_json(self.path / CONFIG, record)
        self.started = True

    def close(self) -> None:
        """Unlock; what was made for a run that never started is removed."""
        if self.made and not self.started:
            (self.path / LOCK).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # somebody put something into it
                self.path.rmdir()
        os.close(self.lock)

    def __enter__(self) -> "RunDir":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_run(path: Path | str, env: str, algorithm: str, seed: int) -> RunDir:
    """The directory at `path`, made where it does not exist; "auto" is runs/ENV-ALGORITHM-SEED-N with the first free N."""
    try:
        if path == "auto":
            return RunDir(_first_free(Path("runs"), f"{re.sub(r'[^A-Za-z0-9._-]', '_', env)}-{algorithm}-{seed}"), made=True)
        made = not Path(path).exists()
        Path(path).mkdir(parents=True, exist_ok=True)
        return RunDir(Path(path), made)
    except OSError as why:
        reason = "it is a file" if isinstance(why, FileExistsError) else why.strerror or why
        raise FileError(f"run directory {path} cannot be used: {reason}; choose another one with `run`") from why


def _first_free(parent: Path, name: str) -> Path:
    """PARENT/NAME-N, made; two processes never get the same one."""
    parent.mkdir(parents=True, exist_ok=True)
    n = 1
    while True:
        try:
            (parent / f"{name}-{n}").mkdir()
            return parent / f"{name}-{n}"
        except FileExistsError:
            n += 1


def _lock(path: Path) -> int:
    """Take the lock without waiting, and write into it who has it. -> file descriptor"""
    fd = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if fcntl is not None:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(fd, 0)
        os.write(fd, f"process {os.getpid()} on {socket.gethostname()}".encode())
    except BlockingIOError:
        holder = os.read(fd, 200).decode("utf-8", "replace")
        os.close(fd)
        raise RunInUseError(f"{path} is in use by {holder or 'another process'}: choose another directory with `run`") from None
    except BaseException:
        os.close(fd)
        raise
    return fd


def describe(algorithm: str, config: Any, command: str | None = None) -> dict[str, Any]:
    """How a run was started: what config.json holds."""
    import gymnasium
    import numpy

    import minirl
    from minirl._core import COMPILED
    from minirl.envs import given

    named = {"env": given.stored(config.env), "env_kwargs": given.as_json(config.env_kwargs)}  # null where a file can hold no such thing
    return {
        "format": FORMAT,
        "algorithm": algorithm,
        "config": {each.name: getattr(config, each.name) for each in dataclasses.fields(config)} | named,
        "environment": given.name(config.env),
        "versions": {
            "minirl": minirl.__version__,
            "python": platform.python_version(),
            "numpy": numpy.__version__,
            "gymnasium": gymnasium.__version__,
        },
        "core": "compiled" if COMPILED else "twins",
        "machine": {"platform": platform.platform(), "cpu": _cpu(), "cores": os.cpu_count()},
        "threads": {name: os.environ.get(name) for name in THREADS},
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command,
    }


def _cpu() -> str:
    """The processor's name, from Linux where there is one."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()
