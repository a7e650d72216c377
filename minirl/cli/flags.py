"""Flags from dataclasses: a field is a flag. tyro parses them; a mistake becomes one sentence, with a suggestion."""

import contextlib
import dataclasses
import difflib
import functools
import inspect
import io
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from minirl.cli.values import integer, pairs
from minirl.config import Range
from minirl.errors import MinirlError, UserError

SWITCH_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


@dataclass(frozen=True)
class Flag:
    """A field as the command line sees it."""

    owner: type  # the dataclass
    field: str
    kind: type  # int, float, str, Path, bool or dict
    many: bool  # takes several words
    choices: tuple[str, ...]
    range: str  # "> 0"; "" where there is none
    default: Any  # dataclasses.MISSING: it has to be given, without its name

    @property
    def name(self) -> str:
        return "--" + self.field.rstrip("_").replace("_", "-")  # import_, for import is no name in Python

    @property
    def comment(self) -> str:
        return comments(self.owner).get(self.field, "")

    @property
    def positional(self) -> bool:
        return self.default is dataclasses.MISSING


def flags_of(*kinds: type) -> dict[str, Flag]:
    """The flags of these dataclasses by their names, --num-envs."""
    found = {}
    for kind in kinds:
        hints = get_type_hints(kind, include_extras=True)
        for each in dataclasses.fields(kind):
            default = each.default_factory() if each.default_factory is not dataclasses.MISSING else each.default
            flag = _flag(kind, each.name, hints[each.name], default)
            found[flag.name] = flag
    return found


def _flag(owner: type, field: str, hint: Any, default: Any) -> Flag:
    many, choices, bounds = False, tuple[str, ...](), ""
    while get_args(hint) and get_origin(hint) is not dict:
        args = get_args(hint)
        if get_origin(hint) is Literal:
            hint, choices = str, tuple(map(str, args))
        elif get_origin(hint) is Annotated:
            hint, bounds = args[0], next((a.text for a in args[1:] if isinstance(a, Range)), bounds)
        else:  # tuple[X, ...] or X | None
            many = many or get_origin(hint) is tuple
            hint = next(a for a in args if a is not type(None))
    return Flag(owner, field, get_origin(hint) or hint, many, choices, bounds, default)


@functools.cache
def comments(kind: type) -> dict[str, str]:
    """The comment beside each field, read from the source; {} where only compiled files are installed."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        with contextlib.suppress(OSError, TypeError):
            found |= re.findall(r"^    (\w+): .*?  # (.*)$", inspect.getsource(base), re.M)
    return found


def parse(make: Callable[..., Any], argv: list[str], prog: str, flags: dict[str, Flag]) -> Any:
    """What `make` makes of the flags in `argv`. A mistake is a UserError of one sentence instead of tyro's box."""
    import tyro

    argv = _checked(argv, flags, prog)
    config = (tyro.conf.OmitArgPrefixes, tyro.conf.PositionalRequiredArgs)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(make, args=argv, prog=prog, config=config, registry=_registry())
    except SystemExit as end:
        if not end.code:  # tyro has a flag of its own, for shells
            return None
        raise _own_error(end) or UserError(f"{_sentence(complaint.getvalue())}; {_help(prog)}") from None


def _registry() -> Any:
    """How tyro makes whole numbers, and arguments by name."""
    from tyro.constructors import ConstructorRegistry
    from tyro.constructors import PrimitiveConstructorSpec as spec

    registry = ConstructorRegistry()

    @registry.primitive_rule
    def rule(info: Any) -> Any:
        if info.type is int:
            return spec(1, "INT", lambda words: integer(words[0]), lambda x: isinstance(x, int), lambda x: [str(x)])
        if info.type_origin is dict:
            return spec("*", "NAME=VALUE", pairs, lambda x: isinstance(x, dict), lambda x: [f"{k}={x[k]}" for k in x])
        return None

    return registry


def _own_error(end: BaseException) -> MinirlError | None:
    """The error of a configuration that tyro met when it made one."""
    error: BaseException | None = end
    while error is not None and not isinstance(error, MinirlError):
        error = error.__cause__ or error.__context__
    return error


def _sentence(box: str) -> str:
    """tyro's complaint on one line: what stands in its box between the title and the next rule."""
    text: list[str] = []
    for line in re.sub(r"\x1b\[[0-9;]*m", "", box).splitlines()[1:]:  # a terminal gets colours
        line = line.strip("│| ")
        if line.strip("─-+╰╯"):
            text.append(line)
        elif text:
            break
    return " ".join(text).rstrip(".")


def _help(prog: str) -> str:
    return f"`{prog} --help` explains the flags"


def _by_flag(argv: list[str]) -> Iterator[tuple[str, list[str], list[str]]]:
    """Each flag, the words of its value, and both as they were typed; "" for what stands before the first flag."""
    name, words, typed = "", list[str](), list[str]()
    for word in argv:
        if re.match(r"--?[A-Za-z]", word) and word not in ("-inf", "-nan"):
            yield name, words, typed
            name, equals, value = word.partition("=")
            name, words, typed = name.replace("_", "-"), [value] if equals else [], [word]
        else:
            words.append(word)
            typed.append(word)
    yield name, words, typed


def _checked(argv: list[str], flags: dict[str, Flag], prog: str) -> list[str]:
    """`argv`, several --env-kwargs as one. UserError for an unknown flag, a choice or a whole number that is none."""
    kept: list[str] = []
    by_name: list[str] = []
    for name, words, typed in _by_flag(argv):
        flag = flags.get(name)
        if flag is not None and flag.kind is dict:
            by_name += words
            continue
        if flag is not None and flag.field.endswith("_"):  # tyro knows it by the field's name
            typed[0] = f"--{flag.field}{typed[0][len(name) :]}"
        kept += typed
        if flag is not None and not flag.positional:
            _check_words(flag, words, alone=not any(each.positional for each in flags.values()))
        elif name:
            _check_known(name, flags, prog)
    try:
        pairs(by_name)
    except ValueError as why:
        raise UserError(f"--env-kwargs: {why}; {_help(prog)}") from why
    return kept + (["--env-kwargs", *by_name] if by_name else [])


def _check_known(name: str, flags: dict[str, Flag], prog: str) -> None:
    """UserError, with the flags that `name` resembles, unless it switches one off or belongs to tyro."""
    off = [f"--no-{flag.name[2:]}" for flag in flags.values() if flag.kind is bool]
    if name in off or name.startswith("--tyro-"):
        return
    if name in flags:
        raise UserError(f"{prog} takes {name[2:].upper()} without {name}: {prog} {name[2:].upper()}; {_help(prog)}")
    known = [flag.name for flag in flags.values() if not flag.positional] + (off if name.startswith("--no-") else [])
    near = did_you_mean(name.lstrip("-"), [each[2:] for each in known], "--")
    raise UserError(f"{prog.removeprefix('minirl ')} has no {name}{near}; {_help(prog)}")


def _check_words(flag: Flag, words: list[str], alone: bool) -> None:
    """UserError for words that the flag does not take; `alone`: no word without a flag could follow a switch."""
    if alone and flag.kind is bool and words and words[0].lower() in SWITCH_WORDS:
        remedy = f"leave out {words[0]!r}" if SWITCH_WORDS[words[0].lower()] else f"did you mean --no-{flag.name[2:]}?"
        raise UserError(f"{flag.name} takes no value; {remedy}")
    for word in words if flag.many else words[:1]:
        if flag.choices and word not in (*flag.choices, str(flag.default)):
            near = did_you_mean(word, flag.choices)
            raise UserError(f"{flag.name} = {word!r}: takes one of {', '.join(flag.choices)}{near}")
        if flag.kind is int:
            try:
                integer(word)
            except ValueError as why:
                kind = "whole numbers" if flag.many else "a whole number"
                raise UserError(f"{flag.name} = {word!r}: takes {kind}") from why


def did_you_mean(word: str, known: Iterable[str], before: str = "") -> str:
    """`; did you mean delta?` where a word, in any case, resembles known ones, shown with `before`; else nothing."""
    lower = {each.lower(): each for each in known}
    close = difflib.get_close_matches(word.lower(), lower, n=2)
    return f"; did you mean {' or '.join(before + lower[each] for each in close)}?" if close else ""
