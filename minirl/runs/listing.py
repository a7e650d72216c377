"""Which runs a directory holds: what differs between their configurations, and how far each has come."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from minirl.errors import FileError, reason
from minirl.runs.metrics_reading import read_ends
from minirl.runs.record import CONFIG, read_record
from minirl.runs.settings import Setting, described, differing, plain, setting, settings_of

NOTHING = "–"
WHICH = ("algorithm", "env", "seed")  # what stands first of a configuration


@dataclass(frozen=True)
class Listed:
    """A run: which one it is, its other settings, the last return of an episode and the steps so far."""

    name: str
    which: dict[str, str] = field(default_factory=dict)
    setting: Setting | None = None
    last_return: str = NOTHING
    steps: str = NOTHING
    unreadable: str = ""  # why there is no more to say


def find_runs(*directories: Path) -> list[Listed]:
    """The runs in directories, or that these are, by name. FileError where one cannot be read or holds none."""
    found: list[Listed] = []
    for directory in directories:
        try:
            names = sorted(name for name in ["", *os.listdir(directory)] if os.path.lexists(directory / name / CONFIG))
        except (OSError, ValueError) as why:
            raise FileError(f"{directory} cannot be read: {reason(why)}") from why
        if not names:
            raise FileError(f"{directory} holds no runs: none of its folders has a {CONFIG}")
        for name in names:
            run = read_run(directory / name)
            found.append(run if len(directories) == 1 else replace(run, name=str(directory / name)))
    return found


def read_run(run: Path) -> Listed:
    """What there is to say about one run; it says so itself where that cannot be read."""
    try:
        about = read_record(run)
        first = {"algorithm": about["algorithm"]} | about["config"]
        which = {name: plain(str(first[name])) for name in WHICH}
        listed = Listed(run.name, which, setting(about["algorithm"], settings_of(about, "")))
    except FileError as why:
        return Listed(run.name, unreadable=str(why))
    except (KeyError, TypeError, AttributeError):
        return Listed(run.name, unreadable=f"{run / CONFIG} is no configuration of a run")
    try:
        columns, rows = read_ends(run / "metrics.csv")
        last, steps = (_last(columns, rows, tag) for tag in ("charts/episodic_return", "global_step"))
        last, steps = f"{float(last):.2f}" if last else NOTHING, f"{int(steps):,}" if steps else NOTHING
    except (OSError, ValueError) as why:
        return replace(listed, unreadable=f"no metrics: {reason(why)}")
    return replace(listed, last_return=last, steps=steps)


def _last(columns: Sequence[str], rows: Sequence[Sequence[str]], tag: str) -> str:
    """The last entry of a column that is not empty; "" where there is none."""
    if tag not in columns:
        return ""
    at = list(columns).index(tag)
    return next((row[at] for row in reversed(rows) if row[at]), "")


def what_differs(runs: Sequence[Listed]) -> list[list[str]]:
    """For each run ["algorithm = trpo", "delta = 0.02", …]: how it differs from another; alone, which it is."""
    which = [name for name in WHICH if len(runs) == 1 or len({run.which[name] for run in runs if run.which}) > 1]
    fields = differing([run.setting for run in runs if run.setting])
    lines = []
    for run in runs:
        first = [f"{name} = {run.which[name]}" for name in which if run.which]
        rest = described(run.setting, fields) if run.setting else []
        lines.append(first + [each for each in rest if not each.endswith(" = default")])
    return lines
