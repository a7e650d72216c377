"""Ctrl-C and SIGTERM: the first lets the loop stop where everything can be saved, the second ends the process."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """`signum` is the signal that came, 0 before. The handler does nothing else: no file is touched in it."""

    signum = 0

    def handle(self, signum: int, _frame: Any) -> None:
        if self.signum:
            if sys.stdout is not None and sys.stdout.isatty():
                os.write(sys.stdout.fileno(), b"\x1b[?25h\n")  # the live view hides the cursor
            os._exit(128 + signum)
        self.signum = signum


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Inside, the signals only set a flag; afterwards they do what they did before."""
    stop = Stop()
    before = {s: signal.signal(s, stop.handle) for s in SIGNALS}
    try:
        yield stop
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)


@contextmanager
def workers_ignore_ctrl_c() -> Iterator[None]:
    """Processes started inside take no notice of Ctrl-C, which a terminal sends to all; SIGTERM still ends them."""
    if threading.current_thread() is not threading.main_thread():  # Python lets the main thread alone set handlers
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN), signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])
