"""What tells runs apart: their settings, all but the seed and what cannot change the curve, and names for them."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from minirl.methods import every

ELSEWHERE = ("env", "seed", "run", "check_env")  # a panel, the runs of a band, and what changes nothing
SHOWN = 12  # differing fields in a name
LONGEST = 40  # letters of a value
MISSING = object()


@dataclass(frozen=True)
class Setting:
    """An algorithm with its fields: the runs of one setting are a band."""

    algorithm: str
    fields: tuple[tuple[str, Any], ...]

    @cached_property
    def by_name(self) -> dict[str, Any]:
        return dict(self.fields)

    def get(self, name: str) -> Any:
        return self.by_name.get(name, MISSING)


def settings_of(about: dict[str, Any], column: str) -> dict[str, Any]:
    """Field -> value, of what config.json says and can change this column; defaults where a version had no such field.

    Versions and machines are left out, and how environments are stepped together; for columns of time that and the core
    count.
    """
    config = _defaults(about["algorithm"]) | about["config"]
    config = {name: value for name, value in config.items() if name not in ELSEWHERE}
    if column == "charts/SPS" or column.startswith("time/"):
        config["core"] = about.get("core")
    elif config.get("vectorization") in ("sync", "async"):
        config["vectorization"] = "auto"  # the same numbers
    return dict(_flat(config))


@cache
def _defaults(algorithm: str) -> dict[str, Any]:
    return dataclasses.asdict(every()[algorithm].config()) if algorithm in every() else {}


def _flat(config: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Dictionaries opened, env_kwargs.size = 8, and lists as tuples, so that values can be keys."""
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", _frozen(value)


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple((name, _frozen(each)) for name, each in sorted(value.items()))
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def setting(algorithm: str, settings: dict[str, Any]) -> Setting:
    return Setting(algorithm, tuple(sorted(settings.items())))


def differing(settings: Sequence[Setting]) -> list[str]:
    """Fields with several values within an algorithm, or between algorithms by more than their defaults."""
    names = dict.fromkeys(name for each in settings for name in [*_defaults(each.algorithm), *each.by_name])
    return [name for name in names if _differs(name, settings)]


def _differs(name: str, settings: Sequence[Setting]) -> bool:
    values: dict[str, set[Any]] = {}
    for each in settings:
        values.setdefault(each.algorithm, set()).add(each.get(name))
    if any(len(own) > 1 for own in values.values()):
        return True
    if "." not in name:  # an argument that is not named has the environment's own default, a field another algorithm's
        values = {algorithm: own for algorithm, own in values.items() if own != {MISSING}}
    usual = all(own == {_frozen(_defaults(algorithm).get(name, MISSING))} for algorithm, own in values.items())
    return not usual and len(set.union(set(), *values.values())) > 1


def labels(settings: Sequence[Setting]) -> dict[Setting, str]:
    """A name for each setting, made of its algorithm and of what differs between them; no name twice."""
    fields, named = differing(settings), dict[Setting, str]()
    for each in settings:
        name = ", ".join([plain(each.algorithm).upper(), *described(each, fields)])
        while name in named.values():  # what differs was cut away
            name += "′"
        named[each] = name
    return named


def described(setting: Setting, fields: Sequence[str]) -> list[str]:
    """["delta = 0.02", …]: the first few of these fields as this setting has them."""
    own = [(name, setting.get(name)) for name in fields if setting.get(name) is not MISSING or "." in name]
    return [f"{plain(name)} = {_value(value)}" for name, value in own[:SHOWN]] + ["…"] * (len(own) > SHOWN)


def shared(settings: Sequence[Setting], fields: Sequence[str]) -> list[str]:
    """The first few of these fields that all of the settings have alike, as `described` words them."""
    values = {name: {each.get(name) for each in settings} - {MISSING} for name in fields}
    own = [(name, *found) for name, found in values.items() if len(found) == 1]
    return [f"{plain(name)} = {_value(value)}" for name, value in own[:SHOWN]] + ["…"] * (len(own) > SHOWN)


def order(setting: Setting, fields: Sequence[str]) -> list[tuple[bool, float, str]]:
    """Sorts the settings of one algorithm by these fields, numbers by their size."""
    return [_sortable(setting.get(name)) for name in fields]


def _sortable(value: Any) -> tuple[bool, float, str]:
    number = isinstance(value, int | float) and abs(value) < 1e300
    return (True, float(value), "") if number else (False, 0.0, _value(value))


def _value(value: Any) -> str:
    if value is MISSING:
        return "default"
    if isinstance(value, tuple):
        return plain(f"({', '.join(map(_value, value))})")
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return plain(str(value))


def plain(text: str, longest: int = LONGEST) -> str:
    """Text that fits into a picture: printable, and cut where it is long."""
    text = "".join(letter if letter.isprintable() else "�" for letter in text[: longest + 1])
    return text if len(text) <= longest else f"{text[:longest]}…"
