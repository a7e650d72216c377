"""A policy, from whatever holds one, and what is known of the environment that it was trained on."""

import os
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from minirl.algorithms import Algorithm
from minirl.deploy.agent import Agent
from minirl.deploy.team import Team, load_policy
from minirl.envs import given
from minirl.errors import ConfigError
from minirl.runs.result import Result


@runtime_checkable
class Trains(Protocol):
    """A Learner, of one agent or of several."""

    @property
    def policy(self) -> Any:
        """What acts."""
        ...

    algorithm: Algorithm


def player(policy: Any) -> tuple[Agent | Team, str, Any, dict[str, Any] | None]:
    """The policy, its method, what it was trained on (None: unknown), with which arguments (None: not in a file)."""
    if isinstance(policy, Agent | Team):
        return policy, "", None, {}
    if isinstance(policy, Result):
        return policy.policy, policy.algorithm, policy.config.env, policy.config.env_kwargs
    if isinstance(policy, Trains):
        return policy.policy, policy.algorithm.name, None, {}
    if isinstance(policy, str | os.PathLike):
        agent, about = load_policy(Path(policy))
        return agent, about["algorithm"], about["env"] or None, about.get("env_kwargs", {})
    kind = type(policy).__name__
    raise ConfigError(
        f"policy_or_run is a {kind}: takes a policy, a Result, a Learner, a run directory or a policy file"
    )


def trained_on(env: Any, from_file: bool) -> Any:
    """The environment that is known, but for one that would import a module: a file does not get to say that."""
    if env is None:
        who = "the file" if from_file else "a policy"
        raise ConfigError(f"env = None: {who} does not know its environment, name it")
    if from_file and given.would_import(env):
        raise ConfigError(
            f"env = None: the file names {env!r}, which would import a module; if you trust it, set env to {env!r}"
        )
    return env
