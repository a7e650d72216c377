"""A learner with all that surrounds it: environments made and closed, each update recorded, the policy saved."""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from minirl import environments, memory, policyfile
from minirl.config import Config
from minirl.errors import FileError
from minirl.learner import Learner, Update
from minirl.runs import metrics, plot
from minirl.runs.directory import RunDir, describe, open_run
from minirl.runs.interrupt import workers_ignore_ctrl_c

SAVE_EVERY = 20  # updates


class Recorder:
    """Writes what a learner does into its run directory; a full disk interrupts the record, not the learning.

    `finish` writes what is left and raises FileError where that cannot be done.
    """

    def __init__(self, directory: RunDir, learner: Learner, track: str | None, save_every: int):
        self.path, self.learner, self.save_every = directory.path, learner, save_every
        self.writers = metrics.open_writers(directory.path, track)
        self.warned = False
        self.note = ""

    def record(self, update: Update) -> None:
        row = metrics.row_of(update)
        for writer in self.writers:
            self._try(writer.write, row)
        if update.number % self.save_every == 0:
            self._try(self.save_policy)

    def _try(self, action: Any, *args: Any) -> None:
        try:
            action(*args)
        except (OSError, FileError) as why:
            if not self.warned:
                warnings.warn(f"{why}; the training goes on and the next update tries again", stacklevel=4)
            self.warned = True

    def save_policy(self) -> None:
        config = self.learner.config
        policyfile.save(self.path / policyfile.FILE, self.learner.policy, self.learner.algorithm.name, config.env)

    def finish(self) -> None:
        """The policy as it was after the last whole update, the ends of the metrics files, and a picture where matplotlib is."""
        self.save_policy()
        for writer in self.writers:
            try:
                writer.close()
            except OSError as why:
                raise FileError(f"{self.path}: the metrics cannot be written: {why.strerror or why}") from why
        try:
            plot.plot([self.path])
        except Exception as why:  # a picture that cannot be drawn is no reason to lose a run
            self.note = f"no curve.png: {why}"


class Training:
    """An iterator over updates that records each before it hands it out; `path` is the run directory or None."""

    def __init__(self, learner: Learner, recorder: Recorder | None):
        self.learner, self.recorder = learner, recorder
        self.path: Path | None = recorder.path if recorder else None

    @property
    def note(self) -> str:
        """What there is to say when all is saved."""
        return self.recorder.note if self.recorder else ""

    def __iter__(self) -> Iterator[Update]:
        for update in self.learner:
            if self.recorder:
                self.recorder.record(update)
            yield update


@contextmanager
def training(
    algorithm: str,
    config: Config,
    run: Path | str | None = None,
    track: str | None = None,
    save_every: int = SAVE_EVERY,
    command: str | None = None,
) -> Iterator[Training]:
    """Everything checked and opened before the first step, everything saved and closed at the end, however that comes.

    run: a directory, "auto" for runs/ENV-ALGORITHM-SEED-N, or None to write nothing. The errors are those of its parts.
    """
    spec = environments.find(config.env)
    memory.check(config, config.num_envs, each=environments.chosen(spec, config.vectorization)[1])
    metrics.check_tracker(track)
    with ExitStack() as stack:
        directory = stack.enter_context(open_run(run, config.env, algorithm, config.seed)) if run is not None else None
        if config.check_env and config.vectorization != "vector_entry_point":
            environments.check_env(config.env, config.seed)
        with workers_ignore_ctrl_c():
            envs = environments.make_envs(config.env, config.num_envs, config.vectorization)
        stack.callback(environments.close, envs, f"env = {config.env!r}")
        learner = Learner(algorithm, envs, config)
        recorder = None
        if directory is not None:
            directory.start(describe(algorithm, config, command))
            recorder = Recorder(directory, learner, track, save_every)
            stack.callback(recorder.finish)
        yield Training(learner, recorder)
