"""What `import minirl` offers: train, learn, load, save, evaluate."""

import contextlib
import dataclasses
import difflib
import os
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, overload

from minirl import methods
from minirl.algorithms import Algorithm
from minirl.algorithms.npg import NPGConfig
from minirl.algorithms.ppo import PPOConfig
from minirl.algorithms.reinforce import ReinforceConfig
from minirl.algorithms.trpo import TRPOConfig
from minirl.config import AtLeastOne, Config, NonNegative, Unset, check_value
from minirl.deploy import load, policy_file
from minirl.deploy.agent import Agent
from minirl.deploy.team import Team
from minirl.envs import given
from minirl.errors import ConfigError, FileError
from minirl.runs.callback import listener
from minirl.runs.interrupt import StoppedError
from minirl.runs.player import player, trained_on
from minirl.runs.recorder import Recording
from minirl.runs.result import Result
from minirl.runs.resume import resumed
from minirl.runs.session import training, warn_of_images
from minirl.runs.verify import verify
from minirl.training.evaluation import Evaluation
from minirl.training.learner import Learner

__all__ = ["Result", "configure", "evaluate", "learn", "load", "save", "train", "verify"]

RunPath: TypeAlias = str | os.PathLike[str] | None
Callback: TypeAlias = Callable[..., Any] | None


class Own(str):
    """An environment that nobody has named: the configuration has one of its own."""


OWN = Own("CartPole-v1")


@overload
def configure(algorithm: Literal["reinforce"], **fields: Any) -> ReinforceConfig: ...
@overload
def configure(algorithm: Literal["npg"], **fields: Any) -> NPGConfig: ...
@overload
def configure(algorithm: Literal["trpo"], **fields: Any) -> TRPOConfig: ...
@overload
def configure(algorithm: Literal["ppo"], **fields: Any) -> PPOConfig: ...
@overload
def configure(algorithm: str | Algorithm, **fields: Any) -> Config: ...
def configure(algorithm: str | Algorithm, **fields: Any) -> Config:
    """The algorithm's configuration with these fields; ConfigError for a name that it lacks, with those near it.

    algorithm: a name of `minirl list`, or a row of your own, minirl.algorithms.Algorithm(…); as in `train` and `learn`.
    `help(minirl.configure("trpo"))` explains the fields.
    """
    row = methods.find(algorithm)
    kind = row.config
    known = [field.name for field in dataclasses.fields(kind)]
    for name in fields:
        if name not in known:
            close = difflib.get_close_matches(name, known)
            others = methods.having(name)
            hint = f"did you mean {' or '.join(close)}?" if close else f"it takes {', '.join(known)}"
            hint = f"{methods.listed(others)} can do that" if others else hint
            raise ConfigError(f"{row.name} has no field {name!r}: {hint}")
    return kind(**fields)


@overload
def train(
    algorithm: Literal["reinforce"],
    env: Any = ...,
    run: RunPath = ...,
    callback: Callback = ...,
    **fields: Any,
) -> Result[ReinforceConfig]: ...
@overload
def train(
    algorithm: Literal["npg"],
    env: Any = ...,
    run: RunPath = ...,
    callback: Callback = ...,
    **fields: Any,
) -> Result[NPGConfig]: ...
@overload
def train(
    algorithm: Literal["trpo"],
    env: Any = ...,
    run: RunPath = ...,
    callback: Callback = ...,
    **fields: Any,
) -> Result[TRPOConfig]: ...
@overload
def train(
    algorithm: Literal["ppo"],
    env: Any = ...,
    run: RunPath = ...,
    callback: Callback = ...,
    **fields: Any,
) -> Result[PPOConfig]: ...
@overload
def train(
    algorithm: str | Algorithm | None = ..., env: Any = ..., run: RunPath = ..., callback: Callback = ..., **fields: Any
) -> Result[Config]: ...
def train(
    algorithm: str | Algorithm | None = None,
    env: Any = OWN,
    run: RunPath = None,
    callback: Callback = None,
    *,
    resume: RunPath = None,
    track: Any = None,
    save_every: int | None = None,
    eval_every: int = 0,
    eval_episodes: int = 20,
    progress: bool = False,
    **config: Any,
) -> Result[Any]:
    """Train from the first step to `total_timesteps`; keywords are the fields of the algorithm's configuration.

    env: a gymnasium id, a class or function that makes one (with `env_kwargs`), or an environment of gymnasium.make;
        for IPPO and MAPPO a parallel environment, for self-play a game. By default the configuration's own.
    run: directory for metrics and policy, "auto" for runs/ENV-ALGORITHM-SEED-N, None to write nothing.
    callback: called with each update, or with (update, learner) where it takes two; a true result stops.
    resume: the directory of a run that goes on after its last checkpoint, in place of all the others; `env` where a
        file cannot name it, `total_timesteps` where it is to go on longer.
    save_every: updates between two saves of policy and checkpoint; None: 20, but not more often than once in 5 s.
    eval_every: updates between two evaluations of `eval_episodes` greedy episodes each, 0 for none: metrics eval/…, and
        the policy that scored highest is kept as RUN/best.safetensors.
    progress: show what the command line shows.

    Ctrl-C without a run directory gives back the Result so far, `interrupted`; with one it comes through, as do SIGTERM
    and SIGHUP (SystemExit), all up to the last update saved; so does what an environment raises. Other errors are
    MinirlErrors.
    """
    heard = listener(callback)
    check_value("save_every", save_every, Annotated[int, AtLeastOne] | None)
    check_value("eval_every", eval_every, Annotated[int, NonNegative])
    check_value("eval_episodes", eval_episodes, Annotated[int, AtLeastOne])
    check_value("progress", progress, bool)
    if resume is not None:
        if run is not None or track is not None or save_every is not None or eval_every or eval_episodes != 20:
            raise ConfigError(
                "resume: the run goes on in its own directory as it began, leave run, track, save_every out"
            )
        session = resumed(resume, None if isinstance(env, Own) else env, config, algorithm)
    else:
        if algorithm is None:
            raise ConfigError(f"algorithm = None: takes one of {', '.join(methods.every())}, or resume=RUN")
        settings = configure(algorithm, **(config if isinstance(env, Own) else {"env": env, **config}))
        if eval_every and run is None:
            raise ConfigError(
                f"eval_every = {eval_every}: the best policy is kept in a run directory, name one as `run`"
            )
        recording = Recording(track, save_every, eval_every, eval_episodes)
        session = training(methods.find(algorithm), settings, run, recording)
    try:
        return _trained(session, heard, progress, run is None and resume is None)
    except StoppedError as why:
        why.end_the_process()


def _trained(opened: Any, heard: Callable[..., Any], progress: bool, alone: bool) -> Result[Any]:
    """The Result of a session; `alone`: without a run directory."""
    history, interrupted = [], False
    with opened as session:
        learner = session.learner
        name = learner.algorithm.name
        try:
            with _view(name, learner.config, progress) as view:
                for update in session:
                    history.append(update)
                    if view is not None:
                        view.show(update)
                    if heard(update, learner):
                        break
        except KeyboardInterrupt:
            if not alone or not history:
                raise
            interrupted = True
            warnings.warn(f"interrupted after {history[-1].global_step} steps: this is the Result so far", stacklevel=3)
        return Result(learner.policy, history, session.path, name, learner.config, interrupted)


def learn(algorithm: str | Algorithm, envs: Any, config: Config | None = None) -> Learner:
    """An iterator over updates on a gymnasium VectorEnv: stop at any time, go on later; `.policy` is the current Agent.

    envs: for IPPO and MAPPO what make_many_agents makes, for self-play what make_game makes.
    config: what `configure` makes (None: the defaults). ConfigError where it does not fit, EnvError for no vector.
    """
    row = methods.find(algorithm)
    kind = row.config
    if row.given is None:
        given.check_vector(envs)
    config = kind() if config is None else config
    if not isinstance(config, kind):
        raise ConfigError(
            f"config is a {type(config).__name__}: {row.name} takes a {kind.__name__}, made by minirl.configure"
        )
    if row.given is not None:
        envs = row.given(envs, config)
    if isinstance(config.num_envs, Unset):
        config = config.replace(num_envs=envs.num_envs)
    if config.num_envs != envs.num_envs:
        raise ConfigError(f"num_envs = {config.num_envs}: the vector environment has {envs.num_envs}")
    learner: Any = (row.learner or Learner)(row, envs, config)
    if row.given is None:
        warn_of_images(learner)
    return learner


def save(
    policy: Agent | Result[Any] | Learner, path: str | os.PathLike[str], env: Any = None, algorithm: str = ""
) -> None:
    """Write a policy, for example `learner.policy`, into one file that `load` reads. env: what it was trained on."""
    if not isinstance(path, str | os.PathLike):
        raise FileError(f"path = {path!r}: takes the name of a file, not {type(path).__name__}")
    if isinstance(policy, str | os.PathLike):
        raise ConfigError(f"policy = {policy!r}: takes a policy, a Result or a Learner, not {type(policy).__name__}")
    agent, method, known, kwargs = player(policy)
    if isinstance(agent, Team):
        raise ConfigError(
            "policy is a team: its agents are saved one by one, team.agents[name]; a run directory holds them all"
        )
    if env is not None and not given.same(env, known):
        known, kwargs = given.plain(env, {})
    name, said = given.named(known, kwargs or {})
    policy_file.save(Path(path), agent, algorithm or method, name, said)


def evaluate(
    policy_or_run: Agent | Result[Any] | Learner | str | os.PathLike[str],
    env: Any = None,
    episodes: int = 20,
    stochastic: bool = False,
    seed: int = 0,
    env_kwargs: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Play complete episodes without learning.

    env: an id, a class, a function that makes an environment, or one itself, which stays open; by default what a run,
    Result or policy file was trained on, made with the same `env_kwargs`. Raises ConfigError, FileError, SpaceError, or
    EnvError where the environment cannot be made or raises.
    """
    check_value("episodes", episodes, Annotated[int, AtLeastOne])
    check_value("stochastic", stochastic, bool)
    check_value("seed", seed, Annotated[int, NonNegative])
    check_value("env_kwargs", env_kwargs or {}, dict[str, Any])
    agent, method, known, kwargs = player(policy_or_run)
    if env is None:
        env = trained_on(known, isinstance(policy_or_run, str | os.PathLike))
    elif not given.same(env, known):
        kwargs = {}
    if env_kwargs is not None:
        kwargs = dict(env_kwargs)
    if kwargs is None:
        raise ConfigError(
            "env_kwargs = None: the environment was made with arguments that no file can hold, give them again"
        )
    return methods.evaluate(agent, method, env, int(episodes), stochastic, int(seed), kwargs)


def _view(algorithm: str, config: Config, progress: bool) -> Any:
    """What the command line shows of a training, in plain lines where rich is missing; nothing without `progress`."""
    if not progress:
        return contextlib.nullcontext()
    live: Any = import_module("minirl.cli.live")  # only here: the library does not depend on the command line
    try:
        return live.open_view(
            f"{algorithm} · {given.name(config.env)} · seed {config.seed}", config.total_timesteps, False
        )
    except ModuleNotFoundError:
        return live.PlainView(config.total_timesteps)
