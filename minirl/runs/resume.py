"""A run that goes on where its last checkpoint stands, as if nothing had happened."""

import json
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, get_type_hints

from minirl import methods
from minirl.algorithms import Algorithm
from minirl.config import Config, check_value
from minirl.envs import given
from minirl.errors import ConfigError, FileError, MinirlError
from minirl.runs.checkpoints import Checkpoints
from minirl.runs.directory import RunDir, open_again
from minirl.runs.interrupt import stop_on_signals
from minirl.runs.record import CONFIG, NOT_STORED, surroundings, what_changed
from minirl.runs.recorder import Recorder, Recording
from minirl.runs.session import Training, make_learner, plain

MAY_CHANGE = ("total_timesteps",)  # of a run that goes on


@contextmanager
def resumed(
    run: str | os.PathLike[str],
    env: Any = None,
    changes: Mapping[str, Any] | None = None,
    method: str | Algorithm | None = None,
) -> Iterator[Training]:
    """A run of minirl.train or the command line, opened again after its last checkpoint that can be read.

    env: what it was trained on, where a file cannot name it or would import a module.
    method: that of the run, to be named only where it is a row of the user's own.
    changes: fields that may change, MAY_CHANGE.  FileError for a directory without a run or checkpoint, or one whose
    configuration was changed; ConfigError for fields that may not change.
    """
    with ExitStack() as stack:
        stop = stack.enter_context(stop_on_signals())
        directory = stack.enter_context(open_again(run))
        algorithm, config = configuration(directory.record, directory.name, env, method)
        checkpoints = Checkpoints(directory.path, directory.name)
        update, saved = 0, None
        if not _ended_before_the_first(directory, checkpoints):
            update, saved = checkpoints.newest(lambda said: warnings.warn(said, stacklevel=7))
            check_unchanged(directory, saved.get("config"))
        config = plain(algorithm, changed(config, changes or {}))
        with stop.can_be_dropped():
            learner = make_learner(algorithm, config, stack)
            exact = saved is None or _restored(learner, saved.get("learner"), str(checkpoints.path(update)))
        if changes and config.total_timesteps < learner.global_step:
            done = f"{directory.name} has {learner.global_step} steps already"
            raise ConfigError(f"total_timesteps = {config.total_timesteps}: {done}")
        if not exact:
            learner.begin_again()
            why = "its environments cannot be brought back to where they were"
            warnings.warn(f"{directory.name}: {why}; they begin new episodes after update {update}", stacklevel=5)
        warn_of_other_surroundings(directory)
        before = saved["config"]["total_timesteps"] if saved else config.total_timesteps
        directory.note_resumed(update, exact, before, config.total_timesteps)
        recorder = _recorder(directory, learner, saved, str(checkpoints.path(update)))
        directory.write_record()
        yield Training(learner, stack.enter_context(recorder), stop)


def _restored(learner: Any, state: Any, path: str) -> bool:
    """Whether the environments are back as well; FileError for a state that this learner cannot be in."""
    try:
        return bool(learner.restore(state))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as why:
        said = f"it lacks {why}" if isinstance(why, KeyError) else why
        raise FileError(f"{path} holds no state of this run: {said}") from why


def _recorder(directory: RunDir, learner: Any, saved: dict[str, Any] | None, path: str) -> Recorder:
    """The recorder that goes on; FileError where the checkpoint does not say which policy was the best."""
    try:
        return Recorder(directory, learner, recording_of(directory.record, directory.name), saved)
    except (KeyError, TypeError, ValueError) as why:
        if isinstance(why, MinirlError):
            raise
        raise FileError(f"{path} holds no state of this run: it lacks the best policy's score") from why


def _ended_before_the_first(directory: RunDir, checkpoints: Checkpoints) -> bool:
    """Whether the run was killed before there was a checkpoint or a row: then it begins."""
    rows = directory.path / "metrics.jsonl"
    return not checkpoints.there() and not (rows.is_file() and rows.stat().st_size)


def recording_of(about: dict[str, Any], name: str) -> Recording:
    """How the run was recorded; FileError where config.json says nonsense."""
    try:
        recording = Recording(**about.get("recording", {}))
        for field, hint in get_type_hints(Recording, include_extras=True).items():
            check_value(field, vars(recording)[field], hint)
        return recording
    except (TypeError, ConfigError) as why:
        raise FileError(f"{name}/{CONFIG} cannot be used: its recording: {why}") from why


def resumes_of(about: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """After which updates the run was resumed, and how; FileError where config.json says nonsense."""
    found = about.get("resumed", [])
    known = isinstance(found, list) and all(
        isinstance(each, dict) and isinstance(each.get("exact"), bool) and isinstance(each.get("update"), int)
        for each in found
    )
    if not known:
        raise FileError(f"{name}/{CONFIG} cannot be used: its 'resumed' is no list of resumes")
    return found


def configuration(
    about: dict[str, Any], name: str, env: Any = None, method: str | Algorithm | None = None
) -> tuple[Algorithm, Config]:
    """The method and configuration of a run's config.json; FileError where it is none of ours, ConfigError for `env`.

    A file does not get to say which module is imported: `env` has to say it.
    """
    said = method.name if isinstance(method, Algorithm) else method
    if said is not None and said != about.get("algorithm"):
        raise ConfigError(f"algorithm = {said!r}: {name} is a run of {about.get('algorithm')!r}")
    try:
        algorithm = method if isinstance(method, Algorithm) else methods.find(about["algorithm"])
        fields = {**about["config"]}
    except (KeyError, TypeError, ValueError) as why:
        raise FileError(f"{name}/{CONFIG} is no configuration of a run: {why}") from why
    named = fields.get("env")
    if env is None and (named is None or given.would_import(str(named))):
        what = f"{named!r}, which would import a module" if named else "an environment that no file can name"
        raise ConfigError(f"env = None: {name} was trained on {what}; name it yourself")
    if env is not None and not isinstance(env, str) and algorithm.environments is None:
        env, _ = given.plain(env, {})  # an object that gymnasium.make made
    if env is not None and named is not None and not given.same(env, named):
        raise ConfigError(f"env = {given.name(env)!r}: {name} was trained on {named!r}")
    fields["env"] = named if env is None else env
    kwargs = fields.get("env_kwargs")
    lost = [key for key, value in (kwargs if isinstance(kwargs, dict) else {}).items() if _is_lost(value)]
    lost += [key for key in about.get("changed_kwargs", []) if key not in lost]
    if lost:
        raise ConfigError(f"env_kwargs = {', '.join(lost)}: config.json could not hold them; the run cannot be resumed")
    try:
        return algorithm, algorithm.config(**fields)
    except (ConfigError, TypeError) as why:
        raise FileError(f"{name}/{CONFIG} cannot be used: {why}") from why


def _is_lost(value: Any) -> bool:
    return isinstance(value, dict) and NOT_STORED in value


def changed(config: Config, changes: Mapping[str, Any]) -> Config:
    """The configuration with other values; ConfigError for a field that has to stay."""
    for name in changes:
        if name not in MAY_CHANGE:
            raise ConfigError(
                f"{name} = {changes[name]!r}: a run that goes on may change {', '.join(MAY_CHANGE)} alone"
            )
    return config.replace(**changes) if changes else config


def check_unchanged(directory: RunDir, saved: Any) -> None:
    """FileError where config.json differs from what the checkpoint was saved under, with each field: old → new."""
    now = directory.record["config"]
    if not isinstance(saved, dict):
        raise FileError(f"{directory.name}: its checkpoint has no configuration")
    names = [name for name in dict.fromkeys([*saved, *now]) if name not in MAY_CHANGE]
    pairs = [(name, saved.get(name), now.get(name)) for name in names]
    other = [f"{name} {old!r} → {new!r}" for name, old, new in pairs if _as_text(old) != _as_text(new)]
    if other:
        what = f"{directory.name}/{CONFIG} was changed after the last checkpoint ({'; '.join(other)})"
        raise FileError(f"{what}: change it back, or train a new run")


def _as_text(value: Any) -> str:
    """A value as config.json has it; what stands there in no way is text that nothing else has."""
    try:
        return json.dumps(value)
    except (TypeError, ValueError):
        return repr(value)


def warn_of_other_surroundings(directory: RunDir) -> None:
    """Say what differs from where the run began, or was resumed last: then the last bits may differ as well."""
    before = [directory.record, *resumes_of(directory.record, directory.name)][-1]
    other = what_changed(before, surroundings())
    if other:
        warnings.warn(f"{directory.name}: {'; '.join(other)}: the last bits may differ from here on", stacklevel=6)
