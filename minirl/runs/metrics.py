"""Where the numbers of an update go: metrics.csv and metrics.jsonl, one row per update, and TensorBoard when asked for.

A row is {"update", "global_step", tag: value}; NaN and infinity are empty in CSV and null in JSON.
"""

import csv
import io
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minirl.errors import FileError, UserError
from minirl.files.atomic import no_link, open_regular, read_file, still_at, write_atomically
from minirl.training.learner import Update

COLUMNS = ("update", "global_step")
TRACKERS = ("tensorboard",)
MAX_CSV = 1 << 28  # bytes, some 900,000 updates
END = 1 << 18  # bytes at the beginning and at the end of a metrics.csv that tell its columns and last rows


def row_of(update: Update) -> dict[str, Any]:
    """Plain Python numbers and strings by column; None for what is not finite."""
    return dict(zip(COLUMNS, (update.number, update.global_step), strict=True)) | {
        tag: _plain(v) for tag, v in update.metrics.items()
    }


def _plain(value: Any) -> Any:
    if isinstance(value, str | bool | int):
        return value
    number = value.item() if hasattr(value, "item") else value
    return number if isinstance(number, int) or math.isfinite(number) else None


class Appended:
    """A text file that this process alone appends to; FileError once it was removed, replaced or cut."""

    def __init__(self, path: Path, start: bytes = b""):
        self.path = path
        self._begin(start)

    def _begin(self, start: bytes) -> None:
        write_atomically(self.path, start)
        try:
            self.file = open(self.path, "a", encoding="utf-8", newline="", opener=no_link)  # noqa: SIM115
        except OSError as why:
            raise FileError(f"{self.path} cannot be written: {why.strerror or why}") from why
        self.size = len(start)

    def check(self) -> None:
        if not still_at(self.file.fileno(), self.path) or os.fstat(self.file.fileno()).st_size < self.size:
            raise FileError(f"{self.path} was removed, replaced or cut short in mid-run: rows are missing from it")

    def append(self, text: str) -> None:
        self.check()
        self.file.write(text)
        self.file.flush()
        self.size += len(text.encode())

    def start_again(self, data: bytes) -> None:
        """Other contents from now on; the old ones stay where the new ones cannot be written."""
        self.check()
        old = self.file
        self._begin(data)
        old.close()

    def close(self) -> None:
        try:
            self.check()
        finally:
            self.file.close()


class CsvWriter:
    """One header, one line per row. A tag that is new gets a column of its own: the file is then written again."""

    def __init__(self, path: Path):
        self.columns = list(COLUMNS)
        self.file = Appended(path, _csv_bytes([self.columns]))

    def write(self, row: dict[str, Any]) -> None:
        new = [name for name in row if name not in self.columns]
        if new:
            self._widen(new)
        self.file.append(_csv_bytes([[row.get(name) for name in self.columns]]).decode())

    def _widen(self, new: list[str]) -> None:
        self.file.file.flush()  # rows that a full disk has kept back
        with open(self.file.path, encoding="utf-8", newline="") as old:
            _, *rows = csv.reader(old)
        columns = self.columns + new
        self.file.start_again(_csv_bytes([columns, *(row + [""] * len(new) for row in rows)]))
        self.columns = columns

    def close(self) -> None:
        self.file.close()


def _csv_bytes(rows: list[list[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


class JsonlWriter:
    """One JSON object per line."""

    def __init__(self, path: Path):
        self.file = Appended(path)

    def write(self, row: dict[str, Any]) -> None:
        self.file.append(json.dumps(row, allow_nan=False) + "\n")

    def close(self) -> None:
        self.file.close()


class TensorboardWriter:
    """The same tags as scalars against global_step, for `tensorboard --logdir runs`."""

    def __init__(self, path: Path):
        from tensorboardX import SummaryWriter

        self.path, self.writer = path, SummaryWriter(str(path))

    def write(self, row: dict[str, Any]) -> None:
        for tag, value in row.items():
            if tag not in COLUMNS and isinstance(value, int | float):
                self.writer.add_scalar(tag, value, row["global_step"])

    def close(self) -> None:
        self.writer.close()
        if not any(self.path.glob("events.*")):
            raise FileError(f"{self.path} was removed in mid-run: its numbers are lost")


def check_tracker(track: str | None, run: Any) -> None:
    """UserError for a tracker that is unknown, not installed, or has no run to write into, before anything is made."""
    if track is not None and track not in TRACKERS:
        raise UserError(f"track = {track!r}: takes one of {', '.join(TRACKERS)}")
    if track is not None and run is None:
        raise UserError(f"track = {track!r}: it is written into a run directory; name one as `run`, or 'auto'")
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
    """Number and cells of each complete line of metrics.csv, the header first; a truncated last line is left out.

    OSError, ValueError when it cannot be read.
    """
    yield from _lines(read_file(path, MAX_CSV))


def _lines(data: bytes) -> Iterator[tuple[int, list[str]]]:
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


def read_ends(path: Path) -> tuple[list[str], list[list[str]]]:
    """The columns and the last rows of a metrics.csv of any length; OSError or ValueError where it is no such file."""
    with open_regular(path) as file:
        header, newline, _ = file.read(END).partition(b"\n")
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - END, len(header) + 1))
        rows = file.read(END)
    if not newline:
        raise ValueError("it has no header")
    rows = rows if size <= END else rows.partition(b"\n")[2]
    (_, columns), *lines = _lines(header + b"\n" + rows)
    return columns, [cells for _, cells in lines if len(cells) == len(columns)]
