"""Where the numbers of an update go: metrics.csv and metrics.jsonl, one row per update, and TensorBoard when asked for.

A row is {"update", "global_step", tag: value}; NaN and infinity are empty in CSV and null in JSON.
"""

import csv
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minirl.errors import UserError
from minirl.files import read_file, write_atomically
from minirl.learner import Update

COLUMNS = ("update", "global_step")
TRACKERS = ("tensorboard",)
MAX_CSV = 1 << 28  # bytes, some 900,000 updates


def row_of(update: Update) -> dict[str, Any]:
    """Plain Python numbers and strings by column; None for what is not finite."""
    return dict(zip(COLUMNS, (update.number, update.global_step), strict=True)) | {tag: _plain(v) for tag, v in update.metrics.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, str | bool | int):
        return value
    number = value.item() if hasattr(value, "item") else value
    return number if isinstance(number, int) or math.isfinite(number) else None


class CsvWriter:
    """One header, one line per row. A tag that was not there before gets a new column: the file is then written again."""

    def __init__(self, path: Path):
        self.path, self.columns = path, list(COLUMNS)
        write_atomically(path, _csv_bytes([self.columns]))
        self.file = open(path, "a", encoding="utf-8", newline="")  # noqa: SIM115

    def write(self, row: dict[str, Any]) -> None:
        new = [name for name in row if name not in self.columns]
        if new:
            self._widen(new)
        csv.writer(self.file, lineterminator="\n").writerow([row.get(name) for name in self.columns])
        self.file.flush()

    def _widen(self, new: list[str]) -> None:
        self.file.close()
        with open(self.path, encoding="utf-8", newline="") as old:
            _, *rows = csv.reader(old)
        self.columns += new
        write_atomically(self.path, _csv_bytes([self.columns, *(row + [""] * len(new) for row in rows)]))
        self.file = open(self.path, "a", encoding="utf-8", newline="")  # noqa: SIM115

    def close(self) -> None:
        self.file.close()


def _csv_bytes(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


class JsonlWriter:
    """One JSON object per line."""

    def __init__(self, path: Path):
        self.file = open(path, "w", encoding="utf-8")  # noqa: SIM115

    def write(self, row: dict[str, Any]) -> None:
        self.file.write(json.dumps(row, allow_nan=False) + "\n")
        self.file.flush()

    def close(self) -> None:
        self.file.close()


class TensorboardWriter:
    """The same tags as scalars against global_step, for `tensorboard --logdir runs`."""

    def __init__(self, path: Path):
        from tensorboardX import SummaryWriter

        self.writer = SummaryWriter(str(path))

    def write(self, row: dict[str, Any]) -> None:
        for tag, value in row.items():
            if tag not in COLUMNS and isinstance(value, int | float):
                self.writer.add_scalar(tag, value, row["global_step"])

    def close(self) -> None:
        self.writer.close()


def check_tracker(track: str | None) -> None:
    """UserError for a tracker that is unknown or not installed, before anything is made."""
    if track is not None and track not in TRACKERS:
        raise UserError(f"track = {track!r}: takes one of {', '.join(TRACKERS)}")
    if track == "tensorboard":
        try:
            import tensorboardX  # noqa: F401
        except ModuleNotFoundError as why:
            raise UserError('tracking with tensorboard needs tensorboardX: pip install ".[track]"') from why


def open_writers(directory: Path, track: str | None = None) -> list[Any]:
    """The writers of a run; each has `write(row)` and `close()`."""
    writers: list[Any] = [CsvWriter(directory / "metrics.csv"), JsonlWriter(directory / "metrics.jsonl")]
    return writers + ([TensorboardWriter(directory / "tensorboard")] if track == "tensorboard" else [])


def csv_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each whole line of metrics.csv, the header first; a last line that was cut off is left out.

    OSError, ValueError when it cannot be read.
    """
    data = read_file(path, MAX_CSV)
    text = io.TextIOWrapper(io.BytesIO(data[: data.rfind(b"\n") + 1]), "utf-8", newline="")
    lines = csv.reader(text)
    try:
        for cells in lines:
            yield lines.line_num, cells
    except csv.Error as why:
        raise ValueError(f"line {lines.line_num} is not CSV: {why}") from why


def read_csv(path: Path) -> dict[str, list[str]]:
    """metrics.csv by column, as text; lines with more or fewer cells than there are columns are left out."""
    (_, header), *lines = csv_lines(path)
    rows = [cells for _, cells in lines if len(cells) == len(header)]
    return {name: [row[i] for row in rows] for i, name in enumerate(header)}
