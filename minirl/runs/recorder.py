"""What a run leaves in its directory: a row for each update, the policy, checkpoints; nothing that is there is lost.

After each update the learner's snapshot is kept in memory: a checkpoint is always of such a moment, whatever a signal
or an error breaks off afterwards.
"""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from minirl.envs import given
from minirl.errors import FileError
from minirl.runs import metrics, plot
from minirl.runs.checkpoints import Checkpoints
from minirl.runs.directory import RunDir
from minirl.training.learner import Learner, Update

SAVE_EVERY = 20  # updates, where nothing else is said, but
SECONDS = 5.0  # between two saves at least, and
COST = 100  # times as long as the last save took


class Recorder:
    """Writes what a learner does into its run directory; a full disk interrupts the record, not the learning.

    A context manager: at its end it writes what is left, or raises FileError, which is a warning beside another error.
    save_every: updates between two saves; None: SAVE_EVERY, but not more often than once in SECONDS.
    resumed: the run goes on after an update of the learner's, whose rows are there already.
    """

    def __init__(
        self, directory: RunDir, learner: Learner, track: str | None, save_every: int | None, resumed: bool = False
    ):
        self.directory, self.path, self.learner, self.save_every = directory, directory.path, learner, save_every
        self.checkpoints = Checkpoints(directory.path, directory.name)
        after = (learner.updates, learner.global_step) if resumed else (0, 0)
        self.writers = metrics.open_writers(directory.path, track, *after)
        self.warned = False
        self.note = ""
        self.saved = -1  # the update of the last checkpoint
        self.next_save = 0.0  # on the monotonic clock: the wall's may jump
        self.keep()
        if not resumed:
            self._try(self.save)

    def keep(self) -> None:
        """Remember where the learner is, for the next checkpoint."""
        self.update, self.snapshot = self.learner.updates, self.learner.snapshot()

    def record(self, update: Update) -> None:
        """A row for the update, and what else is due."""
        row = metrics.row_of(update)
        for writer in self.writers:
            self._try(writer.write, row)
        self.keep()
        if self._is_due():
            self._try(self.save)

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """What breaks off inside leaves the learner where it was remembered."""
        try:
            yield
        except BaseException:
            self.learner.restore(self.snapshot, environments=False)
            raise

    def save(self) -> None:
        """The policy and a checkpoint, once the rows up to here are written."""
        start = time.monotonic()
        for writer in self.writers:
            writer.flush()
        self.save_policy()
        self.save_checkpoint()
        self.next_save = time.monotonic() + max(SECONDS, COST * (time.monotonic() - start))

    def save_policy(self) -> None:
        self.directory.hold()
        config = self.learner.config
        env, said = given.named(config.env, config.env_kwargs)
        self.learner.save_policy(self.path, env, said)

    def save_checkpoint(self) -> None:
        self.directory.hold()
        state = {"config": self.directory.record["config"], "learner": self.snapshot}
        self.checkpoints.save(self.update, state)
        self.saved = self.update

    def _is_due(self) -> bool:
        often = self.save_every or SAVE_EVERY
        return self.update - self.saved >= often and (self.save_every is not None or time.monotonic() >= self.next_save)

    def _try(self, action: Callable[..., None], *args: Any) -> None:
        try:
            action(*args)
        except (OSError, FileError) as why:
            if not self.warned:
                warnings.warn(f"{why}; the training goes on, and it is tried again", stacklevel=4)
            self.warned = True

    def _failed(self, end: Callable[[], None]) -> str:
        """Why a last write failed; "" where it did not."""
        try:
            end()
        except FileError as why:
            return str(why)
        except OSError as why:
            return f"{self.path}: the metrics cannot be written: {why.strerror or why}"
        return ""

    def finish(self) -> None:
        """Policy and checkpoint after the last complete update, the ends of the metrics files, a picture if it can."""
        lost = self._failed(self.save_policy)
        saved = "" if lost else f"the policy is in {self.directory.name}"
        failures = [lost, *(self._failed(writer.close) for writer in self.writers)]
        failures += [self._failed(self.save_checkpoint)] if self.saved < self.update else []
        if any(failures):
            raise FileError("; ".join(filter(None, [*failures, saved])))
        try:
            plot.plot([self.path])
        except Exception as why:  # a picture that cannot be drawn is no reason to lose a run
            self.note = f"no curve.png: {why}"

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> None:
        try:
            self.finish()
        except FileError as why:
            if error is None:
                raise
            warnings.warn(str(why), stacklevel=2)  # the error that ended the training is the one to report
