"""A receipt: a run is trained again from its config.json, and every number that it wrote is compared."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minirl.errors import FileError, reason
from minirl.files.atomic import read_file
from minirl.files.strict_json import parse_json
from minirl.runs.best import Best
from minirl.runs.metrics import row_of
from minirl.runs.metrics_reading import MAX_CSV
from minirl.runs.record import read_record, surroundings, what_changed
from minirl.runs.resume import configuration, recording_of, resumes_of
from minirl.runs.session import make_learner, plain
from minirl.training.learner import Update

TIMED = ("charts/SPS", "time/")  # what no two runs have alike


@dataclass(frozen=True)
class Verified:
    """How many rows are identical, and, where one is not, which: {column: (there, here)}; what else has changed."""

    rows: int
    update: int | None  # of the first row that differs
    differs: dict[str, tuple[Any, Any]]
    changed: list[str]  # ["numpy 1.26.4 → 2.3.5", …]
    limit: str = ""  # why rows after these cannot be verified

    def lines(self) -> list[str]:
        """In words."""
        nothing = "nothing that is recorded has changed since"
        since = f"since then: {'; '.join(self.changed)}" if self.changed else nothing
        rows = f"{self.rows} row{'' if self.rows == 1 else 's'}"
        if self.update is None:
            return [f"identical to the last bit, {rows}", *filter(None, [self.limit, since if self.changed else ""])]
        columns = "; ".join(f"{name} {old!r} there, {new!r} here" for name, (old, new) in self.differs.items())
        return [f"the row of update {self.update} differs: {columns}", f"{rows} before it are identical", since]


def verify(
    run: str | os.PathLike[str], env: Any = None, hear: Callable[[Update], None] = lambda _update: None
) -> Verified:
    """Train a run again and compare; FileError and ConfigError as in `resumed`. hear: of each update."""
    path = Path(run)
    about = read_record(path)
    rows, limit = rows_of(path), ""
    algorithm, config = configuration(about, str(run), env)
    resumes = resumes_of(about, str(run))
    first = next((each for each in resumes if not each["exact"] or "total_timesteps" in each), None)
    if first is not None:
        why = "with another total_timesteps" if "total_timesteps" in first else "with new episodes"
        limit = f"it was resumed {why} after update {first['update']}: later rows cannot be trained again"
        rows = [row for row in rows if row["update"] <= first["update"]]
        config = config.replace(total_timesteps=first.get("total_timesteps", config.total_timesteps))
    changed = what_changed(about, surroundings())
    with ExitStack() as stack:
        learner = make_learner(algorithm, plain(algorithm, config), stack)
        for done, (old, new) in enumerate(zip(rows, trained(learner, about, hear), strict=False)):
            if differs := {k: (old.get(k), new.get(k)) for k in [*old, *new] if not is_timed(k) and other(old, new, k)}:
                return Verified(done, int(new["update"]), differs, changed, limit)
    return Verified(len(rows), None, {}, changed, limit)


def trained(learner: Any, about: dict[str, Any], hear: Callable[[Update], None]) -> Iterator[dict[str, Any]]:
    """The rows as a file would give them."""
    recording = recording_of(about, "the run")
    best = Best(learner, recording.eval_every, recording.eval_episodes, None) if recording.eval_every else None
    for update in learner:
        if best is not None:
            update.metrics.update(best.play(update.number))
        hear(update)
        yield json.loads(json.dumps(row_of(update)))


def rows_of(run: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl, of which the last may be cut short; FileError where they are none."""
    path = run / "metrics.jsonl"
    try:
        data = read_file(path, MAX_CSV)
        rows = [parse_json(line.decode()) for line in data[: data.rfind(b"\n") + 1].splitlines()]
        if not rows or any(row["update"] != i for i, row in enumerate(rows, 1)):
            raise ValueError("it does not hold the rows of updates 1, 2, …")
    except (OSError, ValueError, KeyError, TypeError) as why:
        raise FileError(f"{path} cannot be verified: {reason(why)}") from why
    return rows


def is_timed(column: str) -> bool:
    """Whether a column measures time."""
    return column.startswith(TIMED)


def other(old: dict[str, Any], new: dict[str, Any], column: str) -> bool:
    """Whether two rows have not the same number there, of the same type."""
    a, b = old.get(column), new.get(column)
    return a != b or type(a) is not type(b)
