"""Where the numbers of an update go: metrics.csv and metrics.jsonl, one row per update, and TensorBoard when asked for.

A row is {"update", "global_step", tag: value}; NaN and infinity are empty in CSV and null in JSON.
"""

import csv
import io
import json
import math
import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from minirl.errors import FileError, UserError
from minirl.files.atomic import no_link, still_at, write_atomically
from minirl.runs.metrics_reading import COLUMNS, csv_before, jsonl_before
from minirl.training.learner import Update

TRACKERS = ("tensorboard",)


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
    """A text file that this process alone appends whole lines to; FileError once it was removed, replaced or cut."""

    def __init__(self, path: Path, start: bytes = b""):
        self.path = path
        self._begin(start)

    def _begin(self, start: bytes) -> None:
        write_atomically(self.path, start)
        try:
            self.file = open(self.path, "ab", buffering=0, opener=no_link)  # noqa: SIM115
        except OSError as why:
            raise FileError(f"{self.path} cannot be written: {why.strerror or why}") from why
        self.size = len(start)

    def check(self) -> None:
        if not still_at(self.file.fileno(), self.path) or os.fstat(self.file.fileno()).st_size < self.size:
            raise FileError(f"{self.path} was removed, replaced or cut short in mid-run: rows are missing from it")

    def append(self, data: bytes) -> None:
        """All of it or, with OSError, nothing: where the disk is full there is no half line."""
        self.check()
        try:
            left = data
            while left:
                left = left[self.file.write(left) :]
        except BaseException:
            os.ftruncate(self.file.fileno(), self.size)
            raise
        self.size += len(data)

    def start_again(self, data: bytes) -> None:
        """Other contents from now on; the old ones stay where the new ones cannot be written."""
        self.check()
        old = self.file
        self._begin(data)
        old.close()

    def sync(self) -> None:
        """Let it reach the disk, before a checkpoint that goes on behind it."""
        os.fsync(self.file.fileno())

    def close(self) -> None:
        try:
            self.check()
        finally:
            self.file.close()


class RowWriter(ABC):
    """Rows in a file; those that a full disk does not take are written before the next ones, or at the end."""

    file: Appended

    def __init__(self) -> None:
        self.waiting: list[dict[str, Any]] = []

    @abstractmethod
    def _append(self, rows: list[dict[str, Any]]) -> None:
        """All of them or, with an error, none."""

    def write(self, row: dict[str, Any]) -> None:
        self.waiting.append(row)
        self._write_waiting()

    def _write_waiting(self) -> None:
        if not self.waiting:
            return
        rows, self.waiting = self.waiting, []
        self.file.check()  # a file that has gone takes no row later either: these are lost
        try:
            self._append(rows)
        except BaseException:
            self.waiting = rows
            raise

    def flush(self) -> None:
        """Write what a full disk has kept back; OSError where it still does."""
        self._write_waiting()
        self.file.sync()

    def close(self) -> None:
        try:
            self.flush()
        finally:
            self.file.close()


class CsvWriter(RowWriter):
    """One header, one line per row. A tag that is new gets a column of its own: the file is then written again."""

    def __init__(self, path: Path, before: int = 0):
        super().__init__()
        self.columns = list(COLUMNS)
        rows: list[list[str]] = []
        if before:
            self.columns, rows = csv_before(path, before)
        self.file = Appended(path, _csv_bytes([self.columns, *rows]))

    def _append(self, rows: list[dict[str, Any]]) -> None:
        new = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in self.columns]
        if new:
            self._widen(new)
        self.file.append(_csv_bytes([[row.get(name) for name in self.columns] for row in rows]))

    def _widen(self, new: list[str]) -> None:
        with open(self.file.path, encoding="utf-8", newline="") as old:
            _, *rows = csv.reader(old)
        columns = self.columns + new
        self.file.start_again(_csv_bytes([columns, *(row + [""] * len(new) for row in rows)]))
        self.columns = columns


def _csv_bytes(rows: list[list[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


class JsonlWriter(RowWriter):
    """One JSON object per line."""

    def __init__(self, path: Path, before: int = 0):
        super().__init__()
        self.file = Appended(path, jsonl_before(path, before) if before else b"")

    def _append(self, rows: list[dict[str, Any]]) -> None:
        self.file.append("".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode())


class TensorboardWriter:
    """The same tags as scalars against global_step, for `tensorboard --logdir runs`."""

    waiting = ()

    def __init__(self, path: Path, step: int = 0):
        from tensorboardX import SummaryWriter

        self.path, self.writer = path, SummaryWriter(str(path), purge_step=step + 1 if step else None)

    def flush(self) -> None:
        self.writer.flush()

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


def open_writers(directory: Path, track: str | None = None, update: int = 0, step: int = 0) -> list[Any]:
    """The writers of a run, which go on after an update; each has `write(row)`, `flush()` and `close()`.

    Rows of later updates are dropped: they are written again. What was moved away is begun again, without its rows.
    """
    csv_path, jsonl_path = directory / "metrics.csv", directory / "metrics.jsonl"
    writers: list[Any] = [
        CsvWriter(csv_path, update if os.path.lexists(csv_path) else 0),
        JsonlWriter(jsonl_path, update if os.path.lexists(jsonl_path) else 0),
    ]
    return writers + ([TensorboardWriter(directory / "tensorboard", step)] if track == "tensorboard" else [])
