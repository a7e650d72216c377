"""Ctrl-C, SIGTERM, SIGHUP: the first ends the training where everything can be saved, the second the process."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class StoppedError(BaseException):
    """A signal came: what was under way is dropped, all before it is kept."""

    def __init__(self, signum: int):
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum

    def end_the_process(self) -> NoReturn:
        """Raise what Python ends with as the signal asks: KeyboardInterrupt, or SystemExit with 128 and its number."""
        if self.signum == signal.SIGINT:
            raise KeyboardInterrupt from self
        raise SystemExit(128 + self.signum) from self


class Stop:
    """`signum` is the signal that came, 0 before. No file is touched in the handler.

    Where an update is under way, whose parts are only kept at its end, the handler raises StoppedError, after the
    step of an environment or the kernel that runs; elsewhere it sets the flag, and the next update does not begin.
    """

    signum = 0

    def __init__(self) -> None:
        self._under_way = False
        self._process = os.getpid()

    def handle(self, signum: int, _frame: Any) -> None:
        if os.getpid() != self._process:  # a fork, of an environment or its worker: the parent decides
            if signum == signal.SIGTERM:
                os._exit(128 + signum)
            return
        if self.signum:
            if sys.stdout is not None and sys.stdout.isatty():
                os.write(sys.stdout.fileno(), b"\x1b[?25h\n")  # the live view hides the cursor
            os._exit(128 + signum)
        self.signum = signum
        if self._under_way:
            self._under_way = False
            raise StoppedError(signum)

    @contextmanager
    def can_be_dropped(self) -> Iterator[None]:
        """What is under way inside ends with the signal."""
        self._under_way = True
        try:
            if self.signum:  # it came before
                raise StoppedError(self.signum)
            yield
        finally:
            self._under_way = False


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Inside, signals do what Stop says; afterwards what they did before. Other threads than the main one hear none."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():  # Python lets the main thread alone set handlers
        yield stop
        return
    ignored = {s for s in SIGNALS if signal.getsignal(s) == signal.SIG_IGN}  # as nohup does with SIGHUP
    before = {s: signal.signal(s, stop.handle) for s in SIGNALS if s not in ignored}
    try:
        yield stop
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
