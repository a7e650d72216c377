"""Acting where almost nothing is installed: NumPy and this package, no environment, no optimiser."""

from pathlib import Path

from minirl.deploy import policy_file
from minirl.deploy.agent import Agent

__all__ = ["Agent", "load"]


def load(path: str | Path) -> Agent:
    """The policy of a run directory or policy file: `act(obs)` is greedy, `act(obs, rng)` samples. FileError."""
    return policy_file.load(path)[0]
