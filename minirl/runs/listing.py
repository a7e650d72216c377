"""Which runs a directory holds: what differs between their configurations, and how far each has come."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from minirl.errors import FileError
from minirl.files import read_json
from minirl.runs.directory import CONFIG
from minirl.runs.metrics import read_ends

MISSING = "–"


@dataclass(frozen=True)
class Listed:
    """A run: its settings, algorithm, env and seed first, its last return of an episode and its steps, all as text."""

    name: str
    settings: dict[str, str] = field(default_factory=dict)
    last_return: str = MISSING
    steps: str = MISSING
    unreadable: str = ""  # why nothing else is known


def find_runs(*directories: Path) -> list[Listed]:
    """The runs in directories, or that these are, by name. FileError where one cannot be read or holds none."""
    found: list[Listed] = []
    for directory in directories:
        try:
            names = sorted(name for name in ["", *os.listdir(directory)] if os.path.lexists(directory / name / CONFIG))
        except (OSError, ValueError) as why:
            raise FileError(f"{directory} cannot be read: {getattr(why, 'strerror', None) or why}") from why
        if not names:
            raise FileError(f"{directory} holds no runs: none of its folders has a {CONFIG}")
        for name in names:
            run = read_run(directory / name)
            found.append(run if len(directories) == 1 else replace(run, name=str(directory / name)))
    return found


def read_run(run: Path) -> Listed:
    """What there is to say about one run; it says so itself where that cannot be read."""
    try:
        about = read_json(run / CONFIG)
        config = about["config"]
        first = {"algorithm": about["algorithm"], "env": config["env"], "seed": config["seed"]}
        settings = {str(name): _text(value) for name, value in (first | config).items()}
    except FileError as why:
        return Listed(run.name, unreadable=str(why))
    except (KeyError, TypeError, AttributeError):
        return Listed(run.name, unreadable=f"{run / CONFIG} is no configuration of a run")
    try:
        columns, rows = read_ends(run / "metrics.csv")
        last, steps = (_last(columns, rows, tag) for tag in ("charts/episodic_return", "global_step"))
        last, steps = f"{float(last):.2f}" if last else MISSING, f"{int(steps):,}" if steps else MISSING
    except (OSError, ValueError) as why:
        return Listed(run.name, settings, unreadable=f"no metrics: {getattr(why, 'strerror', None) or why}")
    return Listed(run.name, settings, last, steps)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}={_text(each)}" for name, each in value.items()) or MISSING
    if isinstance(value, list):
        return ",".join(map(_text, value)) or MISSING
    return MISSING if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _last(columns: Sequence[str], rows: Sequence[Sequence[str]], tag: str) -> str:
    """The last entry of a column that is not empty; "" where there is none."""
    if tag not in columns:
        return ""
    at = list(columns).index(tag)
    return next((row[at] for row in reversed(rows) if row[at]), "")


def differences(runs: Sequence[Listed]) -> list[str]:
    """The names of the settings in which runs that have them differ, in the order in which they stand."""
    values: dict[str, set[str]] = {}
    for run in runs:
        for name, value in run.settings.items():
            values.setdefault(name, set()).add(value)
    return [name for name, seen in values.items() if len(seen) > 1]
