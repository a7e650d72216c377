"""Learning curves as data: the runs below the folders that were named, one column of each, and its settings."""

import os
import re
import reprlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from minirl.errors import FileError, UserError, reason, shorten
from minirl.runs.metrics_reading import csv_lines
from minirl.runs.record import CONFIG, read_record
from minirl.runs.settings import LONGEST, settings_of

RETURN = "charts/episodic_return"
DEPTH = 4  # how far below a folder runs are looked for
MAX_FOLDERS = 10_000  # that are looked into: `plot /` is a mistake, and ends as one
MAX_TOLD = 5  # runs that are left out with a sentence each
LARGEST = 1e100  # beyond it matplotlib's own arithmetic overflows


@dataclass(frozen=True)
class Curve:
    """One column of one run against the steps so far, by default the mean return of an update's finished episodes."""

    env: str
    algorithm: str
    seed: int
    step: np.ndarray
    value: np.ndarray
    settings: dict[str, Any] = field(default_factory=dict)  # what else can change the curve
    column: str = RETURN
    run: Path | None = None  # as it was named
    identity: str = ""  # its metrics, symbolic links resolved: the same for the same run, whatever it was called


class NoColumnError(UserError):
    """Metrics without the column that was asked for: those of another algorithm may have it."""

    def __init__(self, y: str, run: Path, columns: Sequence[str]):
        near = _near(y, columns)
        known = f"near it: {', '.join(near)}" if near else f"its columns: {', '.join(columns)}"
        super().__init__(f"y = {reprlib.repr(y)}: {run} has no column of that name; {known}")
        self.run, self.columns = run, columns


def read_curves(paths: Sequence[Path | str], y: str = RETURN, tell: Callable[[str], None] | None = None) -> list[Curve]:
    """The curves of runs and of all runs below folders, each run once; `tell` hears what is left out.

    A run without the column is left out, and one that cannot be read where only its folder was named. FileError,
    UserError.
    """
    curves: dict[str, Curve] = {}
    without: list[NoColumnError] = []
    broken: list[FileError] = []
    for run, named in _runs(paths):
        if (identity := _identity(run)) in curves:
            continue
        try:
            curves[identity] = read_curve(run, y)
        except NoColumnError as why:
            without.append(why)
        except FileError as why:
            if named:
                raise
            broken.append(why)
    if not curves:
        everywhere = list(dict.fromkeys(column for why in without for column in why.columns))
        raise broken[0] if broken else NoColumnError(y, without[0].run, everywhere)
    if tell is not None:
        for sentence in _left_out(y, without, broken):
            tell(sentence)
    return list(curves.values())


def _left_out(y: str, without: Sequence[NoColumnError], broken: Sequence[FileError]) -> Iterator[str]:
    yield from (f"left out: {why}" for why in broken[:MAX_TOLD])
    if len(broken) > MAX_TOLD:
        yield f"left out: {len(broken) - MAX_TOLD} more that cannot be read"
    if without:
        which = str(without[0].run) if len(without) == 1 else f"{without[0].run} and {len(without) - 1} more"
        yield f"left out: {which}, without a column {reprlib.repr(y)}"


def read_curve(run: Path | str, y: str = RETURN) -> Curve:
    """The curve of a run directory, updates without a number left out. FileError, NoColumnError."""
    run = Path(run)
    about = read_record(run)
    algorithm, config = _typed(run, about, "algorithm", str), _typed(run, about, "config", dict)
    if "env" in config and config["env"] is None:  # a class or function that no file can name
        config = config | {"env": about.get("environment")}
    env, seed = _typed(run, config, "env", str), _typed(run, config, "seed", int)
    path = run / "metrics.csv"
    try:
        column, points = _points(run, path, y)
    except UserError:
        raise
    except (OSError, ValueError) as why:
        raise FileError(f"{path} cannot be drawn: {reason(why)}") from why
    step, value = points.T
    return Curve(env, algorithm, seed, step, value, settings_of(about, column), column, run, _identity(run))


def _typed(run: Path, about: dict[str, Any], name: str, kind: type) -> Any:
    if type(value := about.get(name)) is not kind:
        what = f"{name} = {reprlib.repr(value)} is not of type {kind.__name__}"
        raise FileError(f"{run / CONFIG} is not that of a run: {what}")
    return value


def _identity(run: Path) -> str:
    return os.path.realpath(run / "metrics.csv")


# ------------------------------------------------------------------------------------------------------------ a column


def _points(run: Path, path: Path, y: str) -> tuple[str, np.ndarray]:
    """Name of the column that `y` means, its (global_step, value) (n, 2). ValueError says what is wrong and where."""
    lines = csv_lines(path)
    _, header = next(lines, (0, []))
    if "global_step" not in header:
        raise ValueError("its first line names no column global_step" if header else "it has no complete line")
    rows = _complete(lines, len(header))
    first = next(rows, None)
    if first is None:
        return y, np.empty((0, 2))  # just started: the columns come with the first update
    column = _column(run, y, header)
    at_step, at_value = header.index("global_step"), header.index(column)
    points, last = [], 0.0
    for line, cells in chain([first], rows):  # as they are read: there may be a million
        step, value = _number(line, "global_step", cells[at_step]), _number(line, column, cells[at_value])
        if not last <= step < np.inf:
            there = shorten(cells[at_step], LONGEST) or "nothing"
            raise ValueError(f"in line {line} global_step goes from {last:.15g} to {there}")
        last = step
        if np.isfinite(value):
            points.append((step, value))
    return column, np.array(points, dtype=np.float64).reshape(-1, 2)


def _complete(lines: Iterator[tuple[int, list[str]]], width: int) -> Iterator[tuple[int, list[str]]]:
    """Lines with as many cells as the header: a full disk leaves a broken one. ValueError when most are broken."""
    complete = broken = 0
    for line, cells in lines:
        if len(cells) == width:
            complete += 1
            yield line, cells
        else:
            broken += 1
    if broken > complete:
        raise ValueError(f"{broken} of its {broken + complete} lines have not the {width} cells of the first one")


def _number(line: int, column: str, cell: str) -> float:
    """A cell as a number, NaN for an empty one."""
    try:
        value = float({"": "nan", "True": "1", "False": "0"}.get(cell, cell))
    except ValueError:
        raise ValueError(f"in line {line} {column} is {reprlib.repr(cell)}, not a number") from None
    if LARGEST < abs(value) < np.inf:
        raise ValueError(f"in line {line} {column} = {value:g} is too large to be drawn")
    return value


def _column(run: Path, y: str, header: list[str]) -> str:
    """The column of that name, or with that name after its slash."""
    names = [name for name in header if name == y]
    names = names or [name for name in header if y.lower() in (name.lower(), _last(name))]
    if len(names) != 1:
        raise NoColumnError(y, run, header)
    return names[0]


def _near(y: str, columns: Sequence[str]) -> list[str]:
    """Columns whose name holds y, or has a part that is spelled like it."""
    parts = {name: {name.lower(), _last(name), *re.split("[/_]", name.lower())} for name in columns}
    close = set(get_close_matches(y.lower(), sorted(set().union(*parts.values())), cutoff=0.7))
    return [name for name in columns if (y and y.lower() in name.lower()) or parts[name] & close]


def _last(name: str) -> str:
    return name.rpartition("/")[2].lower()


# ------------------------------------------------------------------------------------------------------------- folders


def _runs(paths: Sequence[Path | str]) -> Iterator[tuple[Path, bool]]:
    """Run directories, and whether it was they that were named or a folder above them."""
    for path in map(Path, paths):
        if os.path.isfile(path):
            raise FileError(f"{path} is a file: name a run directory, or a folder of them")
        if os.path.isdir(path) and not os.path.lexists(path / CONFIG):
            found = _below(path)
            if not found:
                raise FileError(f"{path} holds no run: a run directory has {CONFIG} and metrics.csv in it")
            yield from ((run, False) for run in found)
        else:
            yield path, True


def _below(folder: Path) -> list[Path]:
    """Run directories below a folder, not inside of each other and not behind links to folders."""
    runs: list[Path] = []
    level, looked = _folders(folder), 0
    for _ in range(DEPTH):
        looked += len(level)
        if looked > MAX_FOLDERS:
            raise FileError(f"{folder} holds more than {MAX_FOLDERS} folders: name one nearer to the runs")
        runs += [child for child in level if os.path.lexists(child / CONFIG)]
        others = [child for child in level if not os.path.lexists(child / CONFIG) and not child.is_symlink()]
        level = [below for child in others for below in _folders(child, strict=False)]
    return runs


def _folders(folder: Path, strict: bool = True) -> list[Path]:
    try:
        return sorted(folder / name for name in os.listdir(folder) if name[0] != "." and os.path.isdir(folder / name))
    except OSError as why:
        if strict:
            raise FileError(f"{folder} cannot be read: {why.strerror or why}") from why
        return []
