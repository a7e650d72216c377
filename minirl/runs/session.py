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
from minirl.envs.resumable import Resumable
from minirl.runs import metrics
from minirl.runs.best import check_playable
from minirl.runs.directory import current, open_run
from minirl.runs.interrupt import Stop, stop_on_signals
from minirl.runs.record import describe
from minirl.runs.recorder import DEFAULT, Recorder, Recording
from minirl.spaces.observations import BoxObs
from minirl.training.learner import Learner, Update

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

    def __init__(self, learner: Learner, recorder: Recorder | None, stop: Stop):
        self.learner, self.recorder, self.stop = learner, recorder, stop
        self.path: Path | None = recorder.path if recorder else None  # absolute
        self.name = recorder.directory.name if recorder else ""  # as the caller called it

    @property
    def note(self) -> str:
        """What there is to say when all is saved."""
        return self.recorder.note if self.recorder else ""

    @property
    def best(self) -> str:
        """Which policy scored highest on the way, in words; "" where none was asked."""
        best = self.recorder.best if self.recorder else None
        if best is None or not best.update:
            return ""
        return f"best policy: return {best.mean:.2f} after update {best.update}, {best.name} in {self.name}"

    def __iter__(self) -> Iterator[Update]:
        """StoppedError where a signal comes, if this is a run."""
        if self.recorder is None:
            yield from self.learner
            return
        while True:
            with self.recorder.all_or_nothing(), self.stop.can_be_dropped():
                update = next(self.learner, None)
                if update is not None:
                    self.recorder.evaluate(update)
                    snapshot = self.recorder.snapshot()  # may ask environments in other processes
            if update is None:
                return
            self.recorder.record(update, snapshot)
            yield update


def gymnasium_vector(config: Config) -> Any:
    """The vector of environments of a configuration, tried out first where that is asked for."""
    tried = config.check_env and config.vectorization != "vector_entry_point"
    repeats = check.check_env(config.env, config.seed, env_kwargs=config.env_kwargs) if tried else True
    envs = make.make_envs(config.env, config.num_envs, config.vectorization, **config.env_kwargs)
    if isinstance(envs, Resumable) and not repeats:
        envs.repeats = False
    return envs


@contextmanager
def training(
    algorithm: Algorithm,
    config: Config,
    run: str | os.PathLike[str] | None = None,
    recording: Recording = DEFAULT,
    command: str | None = None,
) -> Iterator[Training]:
    """Everything checked and opened before the first step, everything saved and closed at the end, however that comes.

    run: a directory, "auto" for runs/ENV-ALGORITHM-SEED-N, or None to write nothing. The errors are those of its parts,
    and StoppedError for a signal where there is a run.
    """
    here = current() if run is not None else None  # a module or an environment may change it
    config = plain(algorithm, config)
    metrics.check_tracker(recording.track, run)
    with ExitStack() as stack:
        stop = stack.enter_context(stop_on_signals()) if run is not None else Stop()
        directory = None
        if run is not None:
            directory = stack.enter_context(open_run(run, given.name(config.env), algorithm.name, config.seed, here))
        if recording.eval_every:
            check_playable(config)
        with stop.can_be_dropped():
            learner = make_learner(algorithm, config, stack)
        recorder = None
        if directory is not None:
            directory.start(describe(algorithm.name, config, command) | {"recording": vars(recording)})
            recorder = stack.enter_context(Recorder(directory, learner, recording))
        yield Training(learner, recorder, stop)


def plain(algorithm: Algorithm, config: Config) -> Config:
    """The configuration with the id and arguments of an environment that gymnasium.make made; memory is checked."""
    env = config.env
    if algorithm.environments is None:
        env, kwargs = given.plain(env, config.env_kwargs)
        config = config.replace(env=env, env_kwargs=kwargs)
    each = 0 if algorithm.environments else make.chosen(make.find(env), config.vectorization)[1]
    memory.check(config, config.num_envs, each=each)
    return config


def make_learner(algorithm: Algorithm, config: Config, stack: ExitStack) -> Any:
    """The learner on environments of its own, which `stack` closes."""
    envs = (algorithm.environments or gymnasium_vector)(config)
    stack.callback(faults.close, envs, f"env = {given.name(config.env)!r}")
    learner: Any = (algorithm.learner or Learner)(algorithm, envs, config)
    if algorithm.environments is None:
        warn_of_images(learner, stacklevel=7)  # at the call of minirl.train
    return learner
