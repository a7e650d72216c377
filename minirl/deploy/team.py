"""The policies of several agents, as one thing that acts; a policy file for each of them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from minirl.deploy import policy_file
from minirl.deploy.agent import Agent
from minirl.errors import FileError, SpaceError

FOLDER = "policies"  # in a run directory: a policy file for each agent, each of which acts by itself
SUFFIX = ".safetensors"


@dataclass(frozen=True, repr=False)
class Team:
    """A policy for each agent, by its id; several agents may have the same one."""

    agents: Mapping[str, Agent]

    def act(
        self, obs: Mapping[str, Any], rng: np.random.Generator | None = None, masks: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The action of each agent that observes something: the mode, or a sample when a generator is given."""
        masks = masks or {}
        return {name: self._of(name).act(seen, rng, masks.get(name)) for name, seen in obs.items()}

    def act_batch(
        self, obs: Mapping[str, Any], rng: np.random.Generator | None = None, masks: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Actions id -> (B, …) of observations id -> (B, …)."""
        masks = masks or {}
        return {name: self._of(name).act_batch(seen, rng, masks.get(name)) for name, seen in obs.items()}

    def _of(self, name: str) -> Agent:
        if name not in self.agents:
            raise SpaceError(f"agent {name!r}: there are policies of {', '.join(self.agents)}")
        return self.agents[name]

    def __repr__(self) -> str:
        return f"Team({', '.join(self.agents)})"


def save(directory: Path, team: Team, algorithm: str, env: str, said: dict[str, Any] | None = None) -> None:
    """Write policies/AGENT.safetensors for each agent."""
    folder = directory / FOLDER
    folder.mkdir(exist_ok=True)
    for name, agent in team.agents.items():
        policy_file.save(folder / file_name(name), agent, algorithm, env, said)


def load(path: Path | str) -> tuple[Team, dict[str, Any]]:
    """The team in a run directory, and what its files say of the training; FileError where one cannot be read."""
    folder = Path(path) / FOLDER
    files = sorted(folder.glob(f"*{SUFFIX}"))
    if not files:
        raise FileError(f"{folder}: there is no policy file of an agent in it")
    loaded = {unquote(file.name.removesuffix(SUFFIX)): policy_file.load(file) for file in files}
    return Team({name: agent for name, (agent, _) in loaded.items()}), next(iter(loaded.values()))[1]


def load_policy(path: Path | str) -> tuple[Agent | Team, dict[str, Any]]:
    """Whatever acts in a run directory or a policy file, and what is said of its training."""
    if isinstance(path, str | os.PathLike) and (Path(path) / FOLDER).is_dir():
        return load(path)
    return policy_file.load(path)


def file_name(agent: str) -> str:
    """agent_0.safetensors; a letter that no file's name could have is written as %2F."""
    return f"{quote(agent, safe='')}{SUFFIX}"
