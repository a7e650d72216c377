"""A learner with all that surrounds it: environments made and closed, each update recorded, the policy saved."""

import math
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from minirl.algorithms import Algorithm
from minirl.config import Config
from minirl.envs import check, faults, given, make, memory
from minirl.errors import FileError
from minirl.runs import metrics, plot
from minirl.runs.directory import RunDir, current, describe, open_run
from minirl.runs.interrupt import workers_ignore_ctrl_c
from minirl.spaces.observations import BoxObs
from minirl.training.learner import Learner, Update

SAVE_EVERY = 20  # updates


class Recorder:
    """Writes what a learner does into its run directory; a full disk interrupts the record, not the learning.

    A context manager: at its end it writes what is left, or raises FileError, which is a warning beside another error.
    """

    def __init__(self, directory: RunDir, learner: Learner, track: str | None, save_every: int):
        self.directory, self.path, self.learner, self.save_every = directory, directory.path, learner, save_every
        self.writers = metrics.open_writers(directory.path, track)
        self.warned = False
        self.note = ""
        self.lost = ""  # why the last save failed, where another error came first

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
                warnings.warn(f"{why}; the training goes on", stacklevel=4)
            self.warned = True

    def _failed(self, end: Any) -> str:
        """Why a last write failed; "" where it did not."""
        try:
            end()
        except FileError as why:
            return str(why)
        except OSError as why:
            return f"{self.path}: the metrics cannot be written: {why.strerror or why}"
        return ""

    def save_policy(self) -> None:
        self.directory.hold()
        config = self.learner.config
        env, said = given.named(config.env, config.env_kwargs)
        self.learner.save_policy(self.path, env, said)

    def finish(self) -> None:
        """The policy after the last complete update, the ends of the metrics files, a picture where matplotlib is."""
        lost = self._failed(self.save_policy)
        saved = "" if lost else f"the policy is in {self.directory.name}"
        failures = [lost, *(self._failed(writer.close) for writer in self.writers)]
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
        except Exception as why:
            if error is None:
                raise
            self.lost = str(why) if isinstance(why, FileError) else f"the run cannot be saved: {faults.named(why)}"
            warnings.warn(self.lost, stacklevel=2)  # the error that ended the training is the one to report


IMAGE = 1024  # numbers, as in 32 × 32 pixels


def warn_of_images(learner: Learner, stacklevel: int = 3) -> None:
    """Say that pictures are taken as rows of numbers."""
    codec, policy = learner.collector.obs_codec, learner.nets.policy
    boxes = (array.shape for array in codec.arrays() if isinstance(array, BoxObs))
    large = [shape for shape in boxes if len(shape) > 1 and math.prod(shape) >= IMAGE]
    if large:
        what = f"observations of shape {large[0]} look like images: there is no convolution here"
        size = f"they are flattened to {codec.dim} inputs, {policy.num_params:,} parameters of the policy"
        remedy = "give it features, or smaller images (gymnasium.wrappers.GrayscaleObservation, ResizeObservation)"
        warnings.warn(f"{what}, {size}; {remedy}", stacklevel=stacklevel)


class Training:
    """An iterator over updates that records each before it hands it out; `path` is the run directory or None."""

    def __init__(self, learner: Learner, recorder: Recorder | None):
        self.learner, self.recorder = learner, recorder
        self.path: Path | None = recorder.path if recorder else None  # absolute
        self.name = recorder.directory.name if recorder else ""  # as the caller called it

    @property
    def note(self) -> str:
        """What there is to say when all is saved."""
        return self.recorder.note if self.recorder else ""

    def __iter__(self) -> Iterator[Update]:
        for update in self.learner:
            if self.recorder:
                self.recorder.record(update)
            yield update


def gymnasium_vector(config: Config) -> Any:
    """The vector of environments of a configuration, tried out first where that is asked for."""
    if config.check_env and config.vectorization != "vector_entry_point":
        check.check_env(config.env, config.seed, env_kwargs=config.env_kwargs)
    with workers_ignore_ctrl_c():
        return make.make_envs(config.env, config.num_envs, config.vectorization, **config.env_kwargs)


@contextmanager
def training(
    algorithm: Algorithm,
    config: Config,
    run: str | os.PathLike[str] | None = None,
    track: str | None = None,
    save_every: int = SAVE_EVERY,
    command: str | None = None,
) -> Iterator[Training]:
    """Everything checked and opened before the first step, everything saved and closed at the end, however that comes.

    run: a directory, "auto" for runs/ENV-ALGORITHM-SEED-N, or None to write nothing. The errors are those of its parts.
    """
    here = current() if run is not None else None  # a module or an environment may change it
    env = config.env
    if algorithm.environments is None:
        env, kwargs = given.plain(env, config.env_kwargs)
        config = config.replace(env=env, env_kwargs=kwargs)
    metrics.check_tracker(track, run)
    each = 0 if algorithm.environments else make.chosen(make.find(env), config.vectorization)[1]
    memory.check(config, config.num_envs, each=each)
    with ExitStack() as stack:
        directory = None
        if run is not None:
            directory = stack.enter_context(open_run(run, given.name(env), algorithm.name, config.seed, here))
        envs = (algorithm.environments or gymnasium_vector)(config)
        stack.callback(faults.close, envs, f"env = {given.name(env)!r}")
        learner: Any = (algorithm.learner or Learner)(algorithm, envs, config)
        if algorithm.environments is None:
            warn_of_images(learner, stacklevel=5)  # at the call of minirl.train
        recorder = None
        if directory is not None:
            directory.start(describe(algorithm.name, config, command))
            recorder = stack.enter_context(Recorder(directory, learner, track, save_every))
        yield Training(learner, recorder)
