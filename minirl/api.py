"""What `import minirl` offers: train, learn, load, evaluate."""

import dataclasses
import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from minirl import algorithms, evaluation, policyfile
from minirl.agent import Agent
from minirl.config import Config
from minirl.deploy import load
from minirl.errors import ConfigError, EnvError
from minirl.evaluation import Evaluation
from minirl.learner import Learner, Update
from minirl.runs.training import SAVE_EVERY, training

__all__ = ["Result", "configure", "evaluate", "learn", "load", "save", "train"]


class Result(NamedTuple):
    """What `train` gives back."""

    policy: Agent
    history: list[Update]
    run: Path | None  # the run directory, where one was asked for


def configure(algorithm: str, **fields: Any) -> Config:
    """The algorithm's configuration with these fields; ConfigError for a name that it does not have, with those it resembles."""
    kind = algorithms.find(algorithm).config
    known = [field.name for field in dataclasses.fields(kind)]
    for name in fields:
        if name not in known:
            close = difflib.get_close_matches(name, known)
            others = algorithms.having(name)
            hint = f"did you mean {' or '.join(close)}?" if close else f"it takes {', '.join(known)}"
            hint = f"{' and '.join(others)} can do that" if others else hint
            raise ConfigError(f"{algorithm} has no field {name!r}: {hint}")
    return kind(**fields)


def train(
    algorithm: str,
    env: str = "CartPole-v1",
    run: str | Path | None = None,
    callback: Callable[[Update], Any] | None = None,
    *,
    track: str | None = None,
    save_every: int = SAVE_EVERY,
    **config: Any,
) -> Result:
    """Train from the first step to `total_timesteps`; keywords are the fields of the algorithm's configuration.

    run: directory for metrics and policy, "auto" for runs/ENV-ALGORITHM-SEED-N, None to write nothing. callback: called with each
    update; a true result stops. Errors are MinirlErrors; what an environment raises comes through, the last policy saved.
    """
    history: list[Update] = []
    with training(algorithm, configure(algorithm, env=env, **config), run, track, save_every) as session:
        for update in session:
            history.append(update)
            if callback is not None and callback(update):
                break
        return Result(session.learner.policy, history, session.path)


def learn(algorithm: str, envs: Any, config: Config | None = None) -> Learner:
    """An iterator over updates on a gymnasium VectorEnv: stop when you like and go on later; `.policy` is the Agent so far.

    config: what `configure` makes (None: the defaults). ConfigError where it does not fit, EnvError where `envs` is no vector.
    """
    kind = algorithms.find(algorithm).config
    if not hasattr(envs, "num_envs"):
        raise EnvError(f"envs is a {type(envs).__name__}: learn takes a vector environment, for example gymnasium.make_vec(ID, num_envs=4)")
    if config is None:
        config = kind(num_envs=envs.num_envs)
    if not isinstance(config, kind):
        raise ConfigError(f"config is a {type(config).__name__}: {algorithm} takes a {kind.__name__}, made by minirl.configure")
    if config.num_envs != envs.num_envs:
        raise ConfigError(f"num_envs = {config.num_envs}: the vector environment has {envs.num_envs}")
    return Learner(algorithm, envs, config)


def save(policy: Agent, path: str | Path, env: str, algorithm: str = "") -> None:
    """Write a policy, for example `learner.policy`, into one file that `load` reads; `env` is the id that it was trained on."""
    policyfile.save(path, policy, algorithm, env)


def evaluate(
    policy_or_run: Agent | str | Path, env: str | None = None, episodes: int = 20, stochastic: bool = False, seed: int = 0
) -> Evaluation:
    """Play whole episodes without learning. env: by default the one that a run or policy file was trained on.

    Raises ConfigError, FileError, or EnvError where the environment cannot be made.
    """
    if episodes < 1:
        raise ConfigError(f"episodes = {episodes!r}: takes a number >= 1")
    if seed < 0:
        raise ConfigError(f"seed = {seed!r}: takes a number >= 0")
    if isinstance(policy_or_run, Agent):
        agent = policy_or_run
        if env is None:
            raise ConfigError("env = None: a policy does not know its environment, name it")
    else:
        agent, about = policyfile.load(policy_or_run)
        env = env or _trained_on(about)
    return evaluation.evaluate(agent, env, episodes, stochastic, seed)


def _trained_on(about: dict[str, Any]) -> str:
    """The environment that a policy file names, but for one that would import a module: a file does not get to say that."""
    env: str = about["env"]
    if ":" in env:
        raise ConfigError(f"env = None: the file names {env!r}, which would import a module; name it yourself if you trust it")
    return env
