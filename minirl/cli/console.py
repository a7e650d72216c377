"""Saying something: to a terminal, a file or a pipe whose reader may have gone; training never fails for it."""

import contextlib
import os
import shutil
import sys


def say(text: str = "") -> None:
    """A line on stdout. Once nobody reads it (`| head -1`, a closed terminal, a full disk), what follows is thrown away."""
    try:
        print(text, flush=True)
    except (OSError, ValueError):
        discard()


def discard() -> None:
    """Let stdout lead nowhere, so that no later flush, also the one at exit, fails."""
    try:
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, sys.stdout.fileno())
        os.close(sink)
    except (OSError, ValueError, AttributeError):  # stdout is no file, or was closed in Python
        sys.stdout = None  # type: ignore[assignment]


def complain(text: str) -> None:
    """A line on stderr, with the program's name."""
    with contextlib.suppress(OSError, ValueError):
        print(f"minirl: {text}", file=sys.stderr, flush=True)


def prepare() -> None:
    """Replace letters that the terminal's encoding lacks instead of failing on them."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def is_terminal() -> bool:
    """True where a picture can be redrawn in place."""
    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") not in (None, "dumb", "unknown")


def width() -> int:
    return shutil.get_terminal_size().columns
