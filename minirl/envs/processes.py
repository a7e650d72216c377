"""The processes of a ParallelVectorEnv, seen from the parent: asked together, waited for with an end, and ended."""

import contextlib
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.reduction import ForkingPickler
from typing import Any, NoReturn

from gymnasium.vector.utils import CloudpickleWrapper, clear_mpi_env_vars

from minirl.envs.sent_errors import Failure, raise_unpacked
from minirl.envs.worker import SENT_TO_ALL, Job, work
from minirl.errors import EnvError, EnvProcessError

LOOK = 0.1  # seconds of waiting after which it is looked who is still alive
GRACE = 0.5  # seconds that the other workers get to answer when one has failed
PATIENCE = 1.0  # seconds that workers get to close their environments
ENDING = 0.25  # seconds for a process to end after SIGTERM, and again after SIGKILL
IMPORTABLE = "it has to be importable there, not only registered or defined here; or set vectorization to sync"


@contextlib.contextmanager
def signals_wait() -> Iterator[None]:
    """Signals that come inside take effect behind it; in a process started inside, when that lets them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SENT_TO_ALL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Processes:
    """One worker and one pipe for each environment. A worker answers each request once, so that none gets mixed up.

    What is asked after a worker has died, hung or was not waited for is refused.
    """

    def __init__(self, makes: Sequence[Callable[[], Any]], spaces: tuple[Any, Any], shared: Any, context: Any):
        self.home = os.getpid()  # a fork of this process has a copy, which must not end anything
        self.pipes: list[Any] = []
        self.processes: list[Any] = []
        self.steps = 0  # that were asked for
        self._broken = ""  # why nothing can be asked any more
        self._pending: set[int] = set()  # whose answer has not been read
        self._ready: list[Callable[[int], Any]] = []  # each pipe's wait, in milliseconds
        forks = context.get_start_method() == "fork"
        main = threading.current_thread() is threading.main_thread()
        try:
            with clear_mpi_env_vars():
                for i, make in enumerate(makes):
                    ours, theirs = context.Pipe()
                    self.pipes.append(ours)
                    inherited = tuple(self.pipes) if forks else ()
                    job = Job(i, len(makes), CloudpickleWrapper(make), spaces, theirs, inherited, shared, main)
                    process = context.Process(target=work, args=(job,), name=f"minirl env={i}", daemon=True)
                    with signals_wait():
                        process.start()
                        self.processes.append(process)
                    theirs.close()
                    self._ready.append(_waiter(ours))
        except BaseException:
            self.stop()
            raise

    def ask(self, name: str, each: dict[int, tuple[Any, ...]], timeout: float) -> list[Any]:
        """Let the worker i run its method `name` with the arguments each[i] -> their answers, in the order of `each`.

        timeout: seconds for all of them.  The environment's own error of the first that raised; EnvProcessError.
        """
        if self._broken or self._pending:
            says = self._broken or "an earlier call was interrupted"
            raise EnvError(f"{says}; close these environments and make new ones")
        requests = [(i, ForkingPickler.dumps((name, args))) for i, args in each.items()]
        self.steps += name == "step"
        self._pending = set(each)
        for i, request in requests:
            try:
                self.pipes[i].send_bytes(request)
            except OSError:
                self._raise_died(i, name)
        answers = self._collect(name, timeout)
        failed = [answer for _, answer in sorted(answers.items()) if type(answer) is Failure]
        if failed:
            raise_unpacked(failed[0])
        return [answers[i] for i in each]

    def _collect(self, name: str, timeout: float) -> dict[int, Any]:
        """The answers of all that were asked; of those that are there, where one is a Failure and others take long.

        The time is counted in looks: while this process is stopped it stands still.
        """
        answers: dict[int, Any] = {}
        waited = 0.0
        for i in sorted(self._pending):
            while i in self._pending:
                if self._ready[i](int(LOOK * 1000)):
                    self._read(i, name, answers)
                    continue
                waited += LOOK
                self._look(name, answers)
                if self._pending and waited >= GRACE and any(type(a) is Failure for a in answers.values()):
                    self._broken = "an environment has raised, and others had not answered"
                    return answers
                if self._pending and waited >= timeout:
                    self._raise_hung(min(self._pending), name, timeout)
        return answers

    def _read(self, i: int, name: str, answers: dict[int, Any]) -> None:
        try:
            message = self.pipes[i].recv_bytes()
        except (EOFError, OSError):
            self._raise_died(i, name)
        self._pending.discard(i)
        try:
            answers[i] = ForkingPickler.loads(message)
        except Exception as why:  # for example of a class that only the worker knows
            answers[i] = Failure(None, f"env={i}: its answer to {name} cannot be read: {why}", str(why))

    def _look(self, name: str, answers: dict[int, Any]) -> None:
        """Read what has come meanwhile, whoever is waited for, and find out who has died, also after its answer."""
        for i, process in enumerate(self.processes):
            dead = process.exitcode is not None  # before its pipe: it may have answered first
            if i in self._pending and self._ready[i](0):
                self._read(i, name, answers)
            elif dead:
                self._raise_died(i, name)

    def _raise_died(self, i: int, name: str) -> NoReturn:
        process = self.processes[i]
        wait_for([process], ENDING)
        code = process.exitcode
        if code is None:  # it has closed its end
            end([process])
        if code == -signal.SIGTERM:
            time.sleep(LOOK)  # it may have been sent to all: then what this process does with it comes first
        how, remedy = _manner(code)
        if name == "make" and code == 1:  # it could not even read what makes the environment
            remedy = f"see its traceback above; {IMPORTABLE}"
        self._raise(i, how, name, remedy, code)

    def _raise_hung(self, i: int, name: str, timeout: float) -> NoReturn:
        end([self.processes[i]])
        remedy = "it was ended; where that is not long, raise minirl.envs.parallel.TIMEOUT"
        self._raise(i, f"did not answer for {timeout:g} seconds", name, remedy, None)

    def _raise(self, i: int, how: str, name: str, remedy: str, code: int | None) -> NoReturn:
        where = {"step": f"at step {self.steps}", "make": "while it was made"}
        at = where.get(name, f"in {name}() after step {self.steps}")
        self._broken = f"env={i}: its process {how} {at}"
        raise EnvProcessError(f"{self._broken}; {remedy}", env=i, step=self.steps, exitcode=code)

    def stop(self) -> None:
        """End all: those that can do so close their environments first. Takes at most PATIENCE + 2 ENDING."""
        if os.getpid() != self.home:
            return
        self._broken = self._broken or "they are closed"
        for pipe in self.pipes:
            _hang_up(pipe)
        wait_for(self.processes, PATIENCE)
        end(self.processes)
        for pipe in self.pipes:
            pipe.close()


def end(processes: Sequence[Any]) -> None:
    """SIGTERM, then SIGKILL; nothing to those that have ended."""
    for process in _running(processes):
        process.terminate()
    wait_for(processes, ENDING)
    for process in _running(processes):
        process.kill()
    wait_for(processes, ENDING)


def wait_for(processes: Sequence[Any], seconds: float) -> None:
    """Until they have ended, or for so long. By their exit codes: children of theirs may hold a sentinel open."""
    until, pause = time.monotonic() + seconds, 0.0005
    while _running(processes) and time.monotonic() < until:
        time.sleep(pause)
        pause = min(2 * pause, 0.01)
    for process in processes:
        if process.exitcode is not None:
            process.join()


def _running(processes: Sequence[Any]) -> list[Any]:
    return [process for process in processes if process.exitcode is None]


def _hang_up(pipe: Any) -> None:
    """The worker reads the end of the pipe, and writes into it no more, whoever else has a copy of our end."""
    if os.name == "nt":
        return pipe.close()
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(pipe.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)


def _waiter(pipe: Any) -> Callable[[int], Any]:
    """What waits for a pipe so many milliseconds: in a microsecond if there is something, `pipe.poll` takes ten."""
    if not hasattr(select, "poll"):
        return lambda milliseconds: pipe.poll(milliseconds / 1000)
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    return poll.poll


def _manner(code: int | None) -> tuple[str, str]:
    """How a process has ended, and what to do about it."""
    if code is None:
        return "has closed its connection", "the environment, or what it calls, closes files that are not its own"
    if code >= 0:
        return f"ended with exit code {code}", "the environment, or what it calls, leaves without an exception"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if name == "SIGKILL":
        return f"was killed by {name}", "where nobody did it, memory has run out: lower num_envs"
    if name in ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE"):
        return f"was killed by {name}", "the compiled code of the environment has crashed"
    return f"was killed by {name}", "somebody has sent it that signal"
