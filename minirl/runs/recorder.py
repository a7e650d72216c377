"""What a run leaves in its directory: a row for each update, the policy, checkpoints; nothing that is there is lost.

After each update the learner's snapshot is kept in memory: a checkpoint is always of such a moment, whatever a signal
or an error breaks off afterwards.
"""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from minirl.config import AtLeastOne, NonNegative
from minirl.envs import faults, given
from minirl.errors import FileError
from minirl.runs import metrics, plot
from minirl.runs.best import Best
from minirl.runs.checkpoints import Checkpoints
from minirl.runs.directory import RunDir
from minirl.runs.interrupt import StoppedError
from minirl.training.learner import Learner, Update

SAVE_EVERY = 20  # updates, where nothing else is said, but
SECONDS = 5.0  # between two saves at least, and
COST = 200  # times as long as the last save took


@dataclass(frozen=True)
class Recording:
    """What is written besides the metrics, and how often; stands in config.json."""

    track: Literal["tensorboard"] | None = None  # a tracker
    save_every: Annotated[int, AtLeastOne] | None = None  # updates between two saves; None: SAVE_EVERY and SECONDS
    eval_every: Annotated[int, NonNegative] = 0  # updates between two evaluations, 0 for none
    eval_episodes: Annotated[int, NonNegative] = 20  # of each


DEFAULT = Recording()


class Recorder:
    """Writes what a learner does into its run directory; a full disk interrupts the record, not the learning.

    A context manager: at its end it writes what is left, or raises FileError, which is a warning beside another error.
    saved: the checkpoint after which the run goes on, None for a new run.
    """

    def __init__(self, directory: RunDir, learner: Learner, recording: Recording, saved: dict[str, Any] | None = None):
        self.directory, self.path = directory, directory.path
        self.learner, self.save_every = learner, recording.save_every
        self.checkpoints = Checkpoints(directory.path, directory.name)
        every, episodes = recording.eval_every, recording.eval_episodes
        self.best = Best(learner, every, episodes, self.path) if every else None
        if self.best is not None and saved is not None:
            self.best.take(saved["best"])
            self.best.keep_what_is_there()
        after = (0, 0) if saved is None else (learner.updates, learner.global_step)
        self.writers = metrics.open_writers(directory.path, recording.track, *after)
        self.warned = False
        self.note = ""
        self.lost = ""  # why the last save failed, where another error came first
        self.saved = self.tried = -1 if saved is None else learner.updates  # the last checkpoint, the last attempt
        self.next_save = 0.0  # on the monotonic clock: the wall's may jump
        first = self.snapshot()
        # Whether the environments come back to where they were; of a run that goes on this has been said.
        self.exact = saved is None or first["learner"]["collector"]["envs"] is not None
        self.keep(first, stacklevel=7)
        if saved is None:
            self._try(self.save)

    def snapshot(self) -> dict[str, Any]:
        """Where all is, for a checkpoint; environments in other processes are asked."""
        best = self.best.tree() if self.best else None
        return {"config": self.directory.record["config"], "learner": self.learner.snapshot(), "best": best}

    def keep(self, snapshot: dict[str, Any], stacklevel: int = 6) -> None:
        """Remember it for the next checkpoint; a warning where the environments cannot say where they are."""
        self.update, self.kept = self.learner.updates, snapshot
        if self.exact and self.kept["learner"]["collector"]["envs"] is None:
            self.exact = False
            what = f"{given.name(self.learner.config.env)} does not come back to where it was"
            warnings.warn(f"{what}: if this run is resumed, it begins new episodes then", stacklevel=stacklevel)

    def evaluate(self, update: Update) -> None:
        """Let the policy play where it is time, and add what came of it to the update's metrics."""
        if self.best is not None:
            update.metrics.update(self.best.play(update.number))

    def record(self, update: Update, snapshot: dict[str, Any]) -> None:
        """A complete update: a row for it, and what else is due. snapshot: that after it."""
        row = metrics.row_of(update)
        for writer in self.writers:
            self._try(writer.write, row)
        if self.best is not None:
            self._try(self.best.save)
        self.keep(snapshot)
        if self._is_due():
            self._try(self.save)

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """What breaks off inside leaves the learner where it was remembered."""
        try:
            yield
        except BaseException:
            self.learner.restore(self.kept["learner"], environments=False)
            if self.best is not None:
                self.best.take(self.kept["best"])
            raise

    def save(self) -> None:
        """The policy and a checkpoint, once the rows up to here are written. Where it fails, the next one is as far."""
        start, self.tried = time.monotonic(), self.update
        try:
            for writer in self.writers:
                writer.flush()
            if self.best is not None:
                self.best.save()
            self.save_policy()
            self.save_checkpoint()
        finally:
            self.next_save = time.monotonic() + max(SECONDS, COST * (time.monotonic() - start))

    def save_policy(self) -> None:
        self.directory.hold()
        config = self.learner.config
        env, said = given.named(config.env, config.env_kwargs)
        self.learner.save_policy(self.path, env, said)

    def save_checkpoint(self) -> None:
        self.directory.hold()
        self.checkpoints.save(self.update, self.kept)
        self.saved = self.update

    def _is_due(self) -> bool:
        often = self.save_every or SAVE_EVERY
        return self.update - self.tried >= often and (self.save_every is not None or time.monotonic() >= self.next_save)

    def _try(self, action: Callable[..., None], *args: Any) -> None:
        said = self._failed(lambda: action(*args))
        if said and not self.warned:
            warnings.warn(f"{said}; the training goes on", stacklevel=4)
            self.warned = True

    def _failed(self, end: Callable[[], None], what: str = "the metrics") -> str:
        """Why a last write failed; "" where it did not."""
        try:
            end()
        except FileError as why:
            return str(why)
        except OSError as why:
            return f"{self.path}: {what} cannot be written: {why.strerror or why}"
        return ""

    def finish(self, picture: bool = True) -> None:
        """Policy and checkpoint after the last complete update, the ends of the metrics files, a picture if it can.

        Where rows are missing there is no checkpoint behind them: a run that goes on writes them.
        """
        lost = self._failed(self.save_policy)
        saved = "" if lost else f"the policy is in {self.directory.name}"
        failures = [lost, *(self._failed(writer.close) for writer in self.writers)]
        failures += [self._failed(self.best.save, "the best policy")] if self.best else []
        missing = any(writer.waiting for writer in self.writers) or (self.best and self.best.unsaved)
        failures += [self._failed(self.save_checkpoint)] if self.saved < self.update and not missing else []
        if any(failures):
            raise FileError("; ".join(filter(None, [*failures, saved])))
        try:
            if picture:
                plot.plot([self.path])
        except Exception as why:  # a picture that cannot be drawn is no reason to lose a run
            self.note = f"no curve.png: {why}"

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> None:
        try:
            self.finish(picture=not isinstance(error, StoppedError))  # who sends a signal does not wait for one
        except Exception as why:
            if error is None:
                raise
            self.lost = str(why) if isinstance(why, FileError) else f"the run cannot be saved: {faults.named(why)}"
            warnings.warn(self.lost, stacklevel=2)  # the error that ended the training is the one to report
