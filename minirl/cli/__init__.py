"""The command line: `minirl COMMAND …`. tyro makes the flags from dataclasses, `commands.py` has what is done with them.

Exit codes: 0 done, 2 the user's mistake (one sentence on stderr), 3 the run directory is in use, 130/143 stopped by a signal with
everything saved, 1 anything else.
"""

import contextlib
import importlib.util
import io
import os
import re
import sys
from collections.abc import Callable
from typing import Any

from minirl.cli import console
from minirl.errors import MinirlError, UserError

NEEDED = ("tyro", "rich")
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
USAGE = """usage: minirl COMMAND [flags]

  train ALGORITHM   learn a policy                minirl train trpo --env CartPole-v1
  eval RUN          play a trained policy         minirl eval runs/CartPole-v1-trpo-0-1
  plot RUN ...      draw learning curves          minirl plot runs/* --out curves.png
  list              algorithms, environments      minirl list --envs cart
  equations TAG     what computes an equation     minirl equations TR-9
  demo              one step, TRPO and PPO        minirl demo
  figures           the documents' figures        minirl figures --out figures

`minirl COMMAND --help` shows the flags of a command, `minirl --version` the version."""


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code; nothing but a mistake in minirl itself gets through as an exception."""
    console.prepare()
    for name in THREADS:  # before NumPy is imported: small matrices gain nothing from threads, and sums stay the same
        os.environ.setdefault(name, "1")
    if "" not in sys.path:  # as with `python -m minirl`, --env module:Name-v0 finds a module that lies here; last, so it shadows nothing
        sys.path.append("")
    try:
        return _dispatch(sys.argv[1:] if argv is None else argv)
    except MinirlError as mistake:
        console.complain(re.sub(r"`([a-z_]+)`", lambda m: "--" + m[1].replace("_", "-"), str(mistake)))  # fields as flags
        return mistake.exit_code
    except KeyboardInterrupt:
        return 130


def _dispatch(argv: list[str]) -> int:
    """The command is the first word; the rest are its flags."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        console.say(USAGE)
        return 0 if argv else 2
    if argv[0] == "--version":
        import minirl

        console.say(f"minirl {minirl.__version__}")
        return 0
    _check_installed()
    from minirl.cli.commands import COMMANDS
    from minirl.cli.train import train

    name, rest = argv[0], argv[1:]
    if name == "train":
        return train(rest, parse)
    if name not in COMMANDS:
        raise UserError(f"command {name!r}: takes one of train, {', '.join(COMMANDS)}; `minirl --help` explains them")
    kind, command = COMMANDS[name]
    flags = parse(kind, rest, f"minirl {name}")
    return 0 if flags is None else command(flags)


def _check_installed() -> None:
    for name in NEEDED:
        try:
            missing = importlib.util.find_spec(name) is None
        except ImportError:
            missing = True
        if missing:
            raise UserError(f'the command line needs {name}: pip install ".[cli]" in the clone')


def parse(kind: Callable[..., Any], argv: list[str], prog: str) -> Any:
    """Make `kind` from the flags in `argv`; None after --help. A mistake is a UserError of one sentence instead of tyro's box."""
    import tyro

    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(kind, args=argv, prog=prog, config=(tyro.conf.OmitArgPrefixes, tyro.conf.PositionalRequiredArgs))
    except SystemExit as end:
        if not end.code:
            return None
        raise _own_error(end) or UserError(_sentence(complaint.getvalue(), prog)) from None


def _own_error(end: BaseException) -> MinirlError | None:
    """The error of a configuration that tyro met when it made one."""
    error: BaseException | None = end
    while error is not None and not isinstance(error, MinirlError):
        error = error.__cause__ or error.__context__
    return error


def _sentence(box: str, prog: str) -> str:
    """tyro's complaint on one line: what stands between the title of its box and the next rule, in whichever letters it is drawn."""
    text: list[str] = []
    for line in box.splitlines()[1:]:
        line = line.strip("│| ")
        if line.strip("─-+╰╯"):
            text.append(line)
        elif text:
            break
    return f"{' '.join(text).rstrip('.')}; `{prog} --help` explains the flags"
