"""Acting where almost nothing is installed: NumPy and this package, no environment, no optimiser."""

from pathlib import Path

from minirl.deploy.agent import Agent
from minirl.deploy.team import Team, load_policy

__all__ = ["Agent", "Team", "load"]


def load(path: str | Path) -> Agent | Team:
    """The policy of a run directory or policy file: `act(obs)` is greedy, `act(obs, rng)` samples.

    Of a run with several agents the Team: observations and actions are dictionaries by agent. FileError for others.
    """
    return load_policy(path)[0]
