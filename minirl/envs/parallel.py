"""gymnasium's environments in a process each: closed in time whatever went wrong, their errors as they were raised."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from minirl.envs.faults import close
from minirl.envs.opener import Opener
from minirl.errors import EnvError

PATIENCE = 1.0  # seconds that workers are given to close their environments after an error or an interrupt


class ParallelVectorEnv(AsyncVectorEnv):
    """An AsyncVectorEnv with SAME_STEP of `Guarded` environments; the next step overwrites the array of observations.

    gymnasium's close() waits for what is under way, for ever where the error came while results were read.
    """

    def __init__(self, env_fns: Sequence[Callable[[], Any]]):
        self._under_way = False  # a call was sent and not all of its results were read
        openers = [Opener(make) for make in env_fns]
        try:
            super().__init__(openers, copy=False, autoreset_mode=AutoresetMode.SAME_STEP)
        except BaseException:
            self._stop()
            for env in openers[0].opened if openers else ():  # it is made here first, for its spaces
                close(env, "the environment")
            raise
        openers[0].opened.clear()

    @property
    def kept(self) -> tuple[str, ...] | None:
        """The infos that are handed on; None: all of them. A collector sets it to what it reads."""
        return self.get_attr("kept")[0]

    @kept.setter
    def kept(self, names: tuple[str, ...] | None) -> None:
        self.set_attr("kept", [names] * self.num_envs)

    def reset(self, **kwargs: Any) -> Any:
        return self._through(super().reset, **kwargs)

    def step(self, actions: Any) -> Any:
        return self._through(super().step, actions)

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return self._through(super().call, name, *args, **kwargs)

    def set_attr(self, name: str, values: Any) -> None:
        self._through(super().set_attr, name, values)

    def _through(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self._under_way = True  # and so it stays when it raises
        result = call(*args, **kwargs)
        self._under_way = False
        return result

    def _raise_if_errors(self, successes: Iterable[bool]) -> None:
        """The first worker's error, its traceback as a note; gymnasium prints all and makes a new error of the last."""
        failed = [i for i, success in enumerate(successes) if not success]
        errors = {}
        for _ in failed:
            with contextlib.suppress(Exception):  # what cannot be read here
                index, _kind, why, text = self.error_queue.get(timeout=PATIENCE)
                errors[index] = why, text
        if errors:
            why, text = errors[min(errors)]
            why.add_note(f"in a worker process: {text}")
            raise why
        if failed:
            raise EnvError(f"env={failed[0]}: its worker process failed without saying why")

    def close_extras(self, timeout: float | None = None, terminate: bool = False) -> None:
        """Let every worker close its environment and wait for it; no longer than PATIENCE while a call is under way."""
        if not (terminate or self._under_way):
            with contextlib.suppress(EOFError, OSError):  # a worker that is gone
                return super().close_extras(timeout)
        self._stop(0.0 if terminate else PATIENCE)

    def _stop(self, patience: float = 0.0) -> None:
        """End the workers, by force where they do not do it. A thread reads: a pipe may hold half a result."""
        pipes, processes = list(getattr(self, "parent_pipes", ())), list(getattr(self, "processes", ()))
        if patience:
            end = time.monotonic() + patience
            reader = threading.Thread(target=_ask_to_close, args=(pipes,), daemon=True)
            reader.start()
            reader.join(patience)
            _wait_for(processes, end)
        for process in processes:
            process.terminate()
        _wait_for(processes, time.monotonic() + PATIENCE / 4)
        for process in processes:
            process.kill()
            process.join()
        for pipe in pipes:
            if pipe is not None:
                pipe.close()
        self.closed = True


def _wait_for(processes: list[Any], end: float) -> None:
    """Until they have ended, or until `end`."""
    for process in processes:
        process.join(max(0.0, end - time.monotonic()))


def _ask_to_close(pipes: list[Any]) -> None:
    """Tell the workers to close and read until each has answered (None): what they sent before is in the way."""
    alive = [pipe for pipe in pipes if pipe is not None]
    for pipe in alive:
        with contextlib.suppress(Exception):
            pipe.send(("close", None))
    for pipe in alive:
        with contextlib.suppress(Exception):
            while pipe.recv()[0] is not None:
                pass
