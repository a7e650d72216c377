"""Reading metrics.csv and metrics.jsonl: whole, their ends alone, or up to an update after which a run goes on."""

import csv
import io
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minirl.errors import FileError, reason
from minirl.files.atomic import open_regular, read_file
from minirl.files.strict_json import parse_json

COLUMNS = ("update", "global_step")
MAX_CSV = 1 << 28  # bytes, some 900,000 updates
END = 1 << 18  # bytes at the beginning and at the end of a metrics.csv that tell its columns and last rows


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


def csv_before(path: Path, update: int) -> tuple[list[str], list[list[str]]]:
    """Columns and rows up to an update, of a file that may go on behind it, or break off in a row."""
    try:
        (_, columns), *lines = csv_lines(path)
        if tuple(columns[:2]) != COLUMNS:
            raise ValueError(f"its first columns are not {' and '.join(COLUMNS)}")
        return columns, [cells for _, cells in lines if len(cells) == len(columns) and _number(cells[0]) <= update]
    except (OSError, ValueError) as why:
        raise FileError(f"{path} cannot be continued: {reason(why)}; move it away to go on without it") from why


def jsonl_before(path: Path, update: int) -> bytes:
    """The lines up to an update, of a file that may go on behind it, or break off in a line."""
    try:
        data = read_file(path, MAX_CSV)
    except (OSError, ValueError) as why:
        raise FileError(f"{path} cannot be continued: {reason(why)}; move it away to go on without it") from why
    lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
    return b"".join(line for line in lines if _update_of(line) <= update)


def _update_of(line: bytes) -> float:
    """The update of a JSON line; infinite for what is none."""
    try:
        return _number(parse_json(line.decode())["update"])
    except (ValueError, KeyError, TypeError):
        return math.inf


def _number(text: Any) -> float:
    """A row's update; infinite for what is none, so that it is left out."""
    try:
        return int(text)
    except (TypeError, ValueError):
        return math.inf
