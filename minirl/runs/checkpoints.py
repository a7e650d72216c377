"""The checkpoints of a run: the newest two, so that one is readable whatever happens while another is written.

RUN/checkpoints/000000040.safetensors    all that learning changes, and where the environments are, after update 40
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minirl.errors import FileError
from minirl.files import tree

FOLDER, KIND = "checkpoints", "checkpoint"
KEPT = 2  # generations
NAME = re.compile(r"(\d{9,12})\.safetensors")


class Checkpoints:
    """The checkpoints in a run directory; FileError for what cannot be written, or where none can be read."""

    def __init__(self, run: Path, name: str):
        self.folder, self.name = run / FOLDER, f"{name}/{FOLDER}"

    def save(self, update: int, state: dict[str, Any]) -> None:
        """Write one; those of later updates go, which another course has left, and all but the newest KEPT."""
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as why:
            raise FileError(f"{self.name} cannot be made: {why.strerror or why}") from why
        tree.write(self.path(update), KIND, state)
        there = self.there()
        for number in there:
            if number > update or number not in sorted(n for n in there if n <= update)[-KEPT:]:
                self.path(number).unlink(missing_ok=True)

    def newest(self, tell: Callable[[str], None]) -> tuple[int, dict[str, Any]]:
        """The update and state of the newest one that can be read; `tell` hears of those that cannot."""
        for number in reversed(self.there()):
            try:
                return number, tree.read(self.path(number), KIND)
            except FileError as why:
                tell(f"{why}; the checkpoint before it is taken")
        raise FileError(f"{self.name} holds no checkpoint that can be read: the run cannot be resumed, train it again")

    def there(self) -> list[int]:
        """The updates that files are named after, from old to new."""
        found = (NAME.fullmatch(each.name) for each in self.folder.iterdir()) if self.folder.is_dir() else ()
        return sorted(int(match[1]) for match in found if match)

    def path(self, update: int) -> Path:
        """Where the checkpoint of an update stands."""
        return self.folder / f"{update:09d}.safetensors"
