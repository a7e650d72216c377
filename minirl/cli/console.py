"""Saying something: to a terminal, a file or a pipe whose reader may have gone; training never fails for it.

All text of the command line passes through here: `say` and `complain` escape what could steer a terminal, `prepare`
sees to letters that it lacks. What could not be written is remembered: `main` says so at the end.
"""

import contextlib
import os
import shutil
import sys
import warnings
from collections.abc import Iterable
from typing import Any

from minirl.cli.letters import visible
from minirl.errors import reason

LONGEST = 4000  # letters of a complaint; an environment's message may hold a whole array


class Lost:
    """Why output was lost, "" while none was. A reader who has gone (`| head -1`) wanted no more: that is no loss."""

    over = False  # nothing is written any more
    reason = ""

    @classmethod
    def note(cls, why: BaseException | str) -> None:
        if not cls.over and not isinstance(why, BrokenPipeError):
            cls.reason = why if isinstance(why, str) else reason(why)
        cls.over = True


def writable(text: str) -> str:
    """`text` as `say` will show it, for those who have to know how wide that is."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return visible(text).encode(encoding, "minirl.spell").decode(encoding)


def say(text: str = "") -> None:
    """One line on stdout. Once one cannot be written (a closed pipe, a full disk), the following are dropped."""
    if sys.stdout is None:
        Lost.note("it is closed")
        return
    try:
        print(visible(text), flush=True)
    except (OSError, ValueError) as why:
        discard(why)


def say_all(lines: Iterable[str]) -> None:
    for line in lines:
        say(line)


def ask(prompt: str) -> str | None:
    """A line of stdin after this prompt; None at its end, or where the prompt cannot be shown."""
    if sys.stdin is None or sys.stdout is None or Lost.over:
        return None
    try:
        return input(prompt)
    except EOFError:
        say()
        return None
    except (OSError, ValueError) as why:
        discard(why)
        return None


def discard(why: BaseException) -> None:
    """Let stdout lead nowhere, so that no later flush, also the one at exit, fails."""
    Lost.note(why)
    try:
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, sys.stdout.fileno())
        os.close(sink)
    except (OSError, ValueError, AttributeError):  # stdout is no file, or was closed in Python
        sys.stdout = None  # type: ignore[assignment]


def complain(text: str) -> None:
    """One line on stderr, with the program's name."""
    if sys.stderr is None:
        return
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]} …"
    with contextlib.suppress(OSError, ValueError):
        print(f"minirl: {visible(text)}", file=sys.stderr, flush=True)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    kind = "" if category is UserWarning else f"{category.__name__}: "
    complain(kind + " ".join(str(message).split()))


def prepare() -> None:
    """Spell out letters that the encoding lacks, also where LANG=C asks for ASCII and Python would write UTF-8."""
    Lost.over, Lost.reason = False, ""
    warnings.showwarning = _show_warning
    _hold_standard_files()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="minirl.spell", **({"encoding": "ascii"} if _wants_ascii() else {}))
    if hasattr(sys.stdin, "reconfigure"):
        with contextlib.suppress(OSError):  # something was read from it before
            sys.stdin.reconfigure(errors="replace")


def _wants_ascii() -> bool:
    """Whether the locale is C by the user's own word, and nothing else chose an encoding for Python."""
    chosen = os.environ.get("PYTHONIOENCODING") or os.environ.get("PYTHONUTF8") or "utf8" in sys._xoptions
    locale = os.environ.get("LC_ALL") or os.environ.get("LANG")
    return sys.flags.utf8_mode == 1 and not chosen and locale in ("C", "POSIX")


def write_utf8() -> None:
    """Write UTF-8 where only the locale spoke against it: what follows is a page for a file."""
    if _wants_ascii() and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8")


def _hold_standard_files() -> None:
    """A standard stream that was closed (`>&-`) leaves its number to the next file: no print may end up in that."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one


def is_terminal() -> bool:
    """True where a picture can be redrawn in place."""
    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") not in (None, "dumb", "unknown")


def width() -> int:
    return shutil.get_terminal_size().columns
