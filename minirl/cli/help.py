"""Help texts, made of the flags: what most people change on one screen, everything with --help-all."""

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from minirl.cli.console import writable
from minirl.cli.flags import Flag, flags_of
from minirl.methods import every

GROUPS = {  # the fields that every algorithm has, and those of a run; what is in none of these is the method's own
    "environment": ("env", "env_kwargs", "num_envs", "mask_actions", "scale_actions", "vectorization", "check_env"),
    "learning": ("total_timesteps", "num_steps", "gamma", "lam", "advantage"),
    "network": ("hidden", "activation", "family", "log_std", "rbf", "rbf_width", "dtype"),
    "normalisation": ("normalize_obs", "normalize_reward", "normalize_adv", "normalize_value", "reward_limit"),
    "run": ("seed", "run", "track", "quiet", "save_every", "eval_every", "eval_episodes"),
}
FIRST = {  # those of GROUPS that most people change; of a method's own, all
    *("env", "env_kwargs", "num_envs", "total_timesteps", "num_steps", "gamma", "lam", "hidden", "activation"),
    *("normalize_obs", "normalize_reward", "normalize_adv", "reward_limit", "seed", "run", "track", "quiet"),
}
COLUMN = 26  # of flag and value; the text stands beside it
NARROW = 60  # columns; below, a text stands under its flag
WORDS = {int: "INT", float: "NUMBER", str: "WORD", Path: "PATH", dict: "NAME=VALUE", bool: ""}


def algorithm(name: str, flags: Iterable[Flag], everything: bool, columns: int) -> Iterator[str]:
    """The help of `minirl train NAME` in groups, its own flags first: the main ones on a line each, or `everything`."""
    by_field = {flag.field: flag for flag in flags}
    yield f"usage: minirl train {name} [flags]     --no-FLAG switches off what is (on)"
    yield writable(every()[name].summary)
    grouped = {field for fields in GROUPS.values() for field in fields}
    for title, fields in ({name: [field for field in by_field if field not in grouped]} | GROUPS).items():
        shown = [by_field[f] for f in fields if f in by_field and (everything or f in FIRST or title == name)]
        yield ""
        yield f"{title}:"
        for flag in shown:
            yield from _whole(flag, columns) if everything or columns < NARROW else [_line(flag, columns)]
    if not everything:
        yield ""
        yield f"More flags: minirl train {name} --help-all"


def is_asked(argv: Iterable[str]) -> bool:
    return any(word in ("-h", "--help", "--help-all") for word in argv)


def algorithms(columns: int) -> Iterator[str]:
    """The help of `minirl train`: which methods there are, and where their flags are explained."""
    yield "usage: minirl train ALGORITHM [flags]"
    yield ""
    for each in every().values():
        yield from textwrap.wrap(f"  {each.name:10s} {writable(each.summary)}", columns, subsequent_indent=" " * 13)
    yield ""
    yield "  minirl train trpo --env CartPole-v1"
    yield "  minirl train ppo --env FrozenLake-v1 --env-kwargs is_slippery=False"
    yield ""
    text = "`minirl train ALGORITHM --help` shows its own flags and those that most people change, `--help-all` all."
    yield from textwrap.wrap(text, columns)


def command(prog: str, kind: type, columns: int) -> Iterator[str]:
    """The help of another command: its usage, what it does, and each flag."""
    flags = flags_of(kind).values()
    given = " ".join(flag.field.upper() + (" ..." if flag.many else "") for flag in flags if flag.positional)
    yield f"usage: {prog} {given} [flags]".replace("  ", " ") if flags else f"usage: {prog}"
    yield ""
    yield from textwrap.wrap(writable(kind.__doc__ or ""), columns)
    if flags:
        yield ""
    for flag in flags:
        yield from _whole(flag, columns)


def _head(flag: Flag) -> str:
    """The flag with the kind of value that it takes."""
    if flag.positional:
        return f"  {flag.field.upper()}"
    value = "|".join(flag.choices) if 0 < len(flag.choices) < 3 else WORDS[flag.kind]
    return f"  {flag.name} {value}{' ...' if flag.many else ''}".rstrip()


def _default(flag: Flag) -> str:
    value = flag.default
    if flag.positional:
        return ""
    if flag.kind is bool:
        return " (on)" if value else " (off)"
    if isinstance(value, tuple | Mapping):
        return f" ({' '.join(map(str, value))})" if value else ""
    return "" if value is None else f" ({value})"


def _choices(flag: Flag) -> str:
    return f"{', '.join(flag.choices)}: " if len(flag.choices) > 2 else ""


def _whole(flag: Flag, columns: int) -> Iterator[str]:
    """A flag with its whole comment, on as many lines as it takes."""
    head, column = _head(flag), COLUMN if columns >= NARROW else 6
    text = writable(_choices(flag) + flag.comment + _default(flag))
    lines = textwrap.wrap(text, max(columns - column, 20), break_long_words=False, break_on_hyphens=False)
    if len(head) < column - 1 and lines:
        yield f"{head:{column}}{lines.pop(0)}"
    else:
        yield head
    for line in lines:
        yield " " * column + line


def _line(flag: Flag, columns: int) -> str:
    """A flag on one line: of its comment as much as there is room for, its choices, range and default always."""
    head = f"{_head(flag):{COLUMN - 1}} "
    for text in _shorter(flag):
        limits = f", {flag.range}" if flag.range not in text else ""
        line = writable(text + limits + _default(flag))
        if len(line) <= columns - len(head):
            break
    return (head + line).rstrip()


def _shorter(flag: Flag) -> Iterator[str]:
    """The choices and comment of a flag, less and less of it: the last remarks go first, then clauses, then words."""
    choices, comment = _choices(flag), flag.comment
    yield choices + comment
    if choices:
        yield choices.removesuffix(": ")
    for mark in (r"; |: | \(", r", "):
        for end in reversed(list(re.finditer(mark, comment))):
            yield comment[: end.start()]
    for end in reversed(list(re.finditer(" ", comment))):
        yield f"{comment[: end.start()]} …"
    yield ""
