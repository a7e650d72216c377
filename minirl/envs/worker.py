"""What runs in each process of a ParallelVectorEnv: one environment that does as it is asked until the pipe ends."""

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from multiprocessing.reduction import ForkingPickler
from typing import Any

from gymnasium.vector.utils import read_from_shared_memory

from minirl.envs.sent_errors import packed

SENT_TO_ALL = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
WATCH = 0.5  # seconds between two looks whether the parent is still there


@dataclass(frozen=True)
class Job:
    """What a worker is given when it starts.

    make: what makes its environment `index` of `num_envs`.  pipe: its end.  inherited: ends that a fork has copied and
    that are not its own.  shared: memory for the observations; None: they go through the pipe.
    main: whether the parent's main thread has started it.
    """

    index: int
    num_envs: int
    make: Callable[[], Any]
    spaces: tuple[Any, Any]
    pipe: Any
    inherited: Sequence[Any]
    shared: Any
    main: bool


def work(job: Job) -> None:
    """Answer every request with exactly one message, a result or a Failure, until the other end is gone."""
    for end in job.inherited:
        end.close()
    _leave_signals_to_the_parent()
    _end_with_the_parent(job.main)
    worker = Worker(job)
    try:
        with contextlib.suppress(EOFError, OSError):  # the other end is gone
            while True:
                job.pipe.send_bytes(worker.answer(job.pipe.recv_bytes()))
    finally:
        worker.close()


class Worker:
    """The environment of a process, and what can be asked of it."""

    def __init__(self, job: Job):
        kinds = self.make, self.reset, self.step, self.call, self.set
        self.requests: dict[str, Callable[..., Any]] = {method.__name__: method for method in kinds}
        self.job, self.taken = job, 0
        self.env: Any = None
        self.rows: Any = None  # the shared observations of all, an array or a dict or tuple of them

    def answer(self, request: bytes) -> Any:
        """What a request (name, arguments) gives, or its Failure."""
        try:
            name, args = ForkingPickler.loads(request)
            return ForkingPickler.dumps(self.requests[name](*args))
        except BaseException as why:
            where = f"env={self.job.index}" + (f", step={self.taken}" if self.env is not None else "")
            return ForkingPickler.dumps(packed(why, where))

    def make(self) -> tuple[bool, bool]:
        """Make the environment -> whether its observation and its action space are those of the vector."""
        job = self.job
        self.env = env = job.make()
        if job.shared is not None:
            self.rows = read_from_shared_memory(job.spaces[0], job.shared, job.num_envs)
        return env.observation_space == job.spaces[0], env.action_space == job.spaces[1]

    def reset(self, seed: int | None, options: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
        obs, info = self.env.reset(seed=seed, options=options)
        return self._handed(obs), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.taken += 1
        obs, reward, terminated, truncated, info = self.env.step(action)
        return self._handed(obs), reward, terminated, truncated, info

    def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The environment's attribute of that name, called if it can be."""
        found = self.env.get_wrapper_attr(name)
        return found(*args, **kwargs) if callable(found) else found

    def set(self, name: str, value: Any) -> None:
        self.env.set_wrapper_attr(name, value)

    def close(self) -> None:
        if self.env is not None:
            self.env.close()

    def _handed(self, obs: Any) -> Any:
        """The observation, or None where it was written into the shared memory."""
        if self.rows is None:
            return obs
        write_row(self.rows, self.job.index, obs)
        return None


def write_row(rows: Any, index: int, obs: Any) -> None:
    """Write one environment's observation into those of all, an array or a dict or tuple of them."""
    if isinstance(rows, dict):
        for key, part in rows.items():
            write_row(part, index, obs[key])
    elif isinstance(rows, tuple):
        for part, x in zip(rows, obs, strict=True):
            write_row(part, index, x)
    else:
        rows[index] = obs


def _leave_signals_to_the_parent() -> None:
    """A terminal sends Ctrl-C and its hang-up to all processes: the parent decides. SIGTERM ends a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SENT_TO_ALL)  # they waited while this process was started


def _end_with_the_parent(main: bool) -> None:
    """However the parent ends, kill -9 included: the pipe may have copies, and a long step does not look at it.

    The thread serves on every system; Linux ends also what never lets go of the interpreter, but counts the end of the
    thread that has started the process as the end of the parent: to be asked for only if that is its `main` one.
    """
    if main and sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def _watch(parent: int) -> None:
    """The sentinel is for processes that a server has started: their own parent stays."""
    there: Any = parent_process()
    while os.getppid() == parent and not connection.wait([there.sentinel], WATCH):
        pass
    os._exit(1)
