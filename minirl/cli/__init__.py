"""The command line: `minirl COMMAND …`. The flags come from dataclasses, `commands.py` has what is done with them.

Exit codes: 0 done, 2 the user's mistake (one sentence on stderr), 3 the run directory is in use, 130/143 stopped by a
signal with everything saved, 1 anything else, also output that could not be written.
"""

import importlib.util
import os
import sys

from minirl.cli import console
from minirl.errors import MinirlError, UserError

NEEDED = ("tyro", "rich")
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
USAGE = """usage: minirl COMMAND [flags]

  train ALGORITHM   learn a policy                minirl train trpo --env CartPole-v1
  resume RUN        go on with a run              minirl resume runs/CartPole-v1-trpo-0-1
  verify RUN        train it again and compare    minirl verify runs/CartPole-v1-trpo-0-1
  eval RUN          play a trained policy         minirl eval runs/CartPole-v1-trpo-0-1
  plot RUN ...      draw learning curves          minirl plot runs/* --out curves.png
  play RUN          play a game against it        minirl play runs/minirl_TicTacToe-v0-selfplay-0-1
  league RUN        rate a run's checkpoints      minirl league runs/minirl_TicTacToe-v0-selfplay-0-1
  list              algorithms, environments, runs minirl list --envs cart
  equations TAG     what computes an equation     minirl equations TR-9
  demo              one step, TRPO and PPO        minirl demo
  figures           the documents' figures        minirl figures --out figures

`minirl COMMAND --help` shows the flags of a command, `minirl --version` the version."""


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code; nothing but a mistake in minirl itself gets through as an exception."""
    console.prepare()
    for name in THREADS:  # before NumPy is imported: small matrices gain nothing from threads, and sums stay the same
        os.environ.setdefault(name, "1")
    # As with `python -m minirl`, --env module:Name-v0 finds a module of the working directory; last: to shadow nothing.
    if "" not in sys.path:
        sys.path.append("")
    try:
        code = _dispatch(sys.argv[1:] if argv is None else argv)
    except MinirlError as mistake:
        console.complain(_in_flags(str(mistake)))
        code = mistake.exit_code
    except KeyboardInterrupt:
        code = 130
    if console.Lost.reason:
        console.complain(f"the output cannot be written: {console.Lost.reason}")
    return code or int(bool(console.Lost.reason))


def _in_flags(message: str) -> str:
    from minirl.cli.wording import in_flags

    return in_flags(message)


def _dispatch(argv: list[str]) -> int:
    """The command is the first word; the rest are its flags."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        console.say_all(USAGE.splitlines())
        return 0 if argv else 2
    if argv[0] == "--version":
        import minirl

        console.say(f"minirl {minirl.__version__}")
        return 0
    _check_installed()
    from minirl.cli import flags, help
    from minirl.cli.commands import COMMANDS
    from minirl.cli.train import train

    name, rest = argv[0].lower(), argv[1:]
    if name == "train":
        return train(rest)
    if name not in COMMANDS:
        raise UserError(_unknown(argv[0]))
    kind, command = COMMANDS[name]
    if help.is_asked(rest):
        console.say_all(help.command(f"minirl {name}", kind, console.width()))
        return 0
    given = flags.parse(kind, rest, f"minirl {name}", flags.flags_of(kind))
    return 0 if given is None else command(given)


def _unknown(word: str) -> str:
    from minirl.cli.commands import COMMANDS
    from minirl.cli.flags import did_you_mean
    from minirl.methods import every

    near = did_you_mean(word, ("train", *COMMANDS, *(f"train {name}" for name in every())))
    near = f"; did you mean train {word.lower()}?" if word.lower() in every() else near
    return f"command {word!r}: takes one of train, {', '.join(COMMANDS)}{near}; `minirl --help` explains them"


def _check_installed() -> None:
    for name in NEEDED:
        try:
            missing = importlib.util.find_spec(name) is None
        except ImportError:
            missing = True
        if missing:
            raise UserError(f'the command line needs {name}: pip install ".[cli]" in the clone')
