"""The algorithms in the order in which they were found: a file is one idea more than the one before.

Adding one: a file and a row here; or a row of your own from outside, wherever a name is taken (docs/your-own-algorithm.md).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict

from minirl.algorithms import npg, ppo, reinforce, trpo
from minirl.config import Config, explain_fields
from minirl.errors import ConfigError
from minirl.models.actor_critic import Networks
from minirl.numerics.arrays import Array


class State(TypedDict):
    """What every algorithm's state has beside its own."""

    theta_pi: Array
    theta_v: Array


class Closeable(Protocol):
    """Environments, whatever kind."""

    def close(self) -> None:
        """Close what was opened."""
        ...


@dataclass(frozen=True)
class Algorithm:
    """`init(nets, cfg, rng) -> state`; `update(nets, state, batch, cfg, rng, progress) -> (state, info)`.

    state: a tree of arrays and numbers, with θ of both networks; info: metrics by their names in the metrics files.
    networks: `(policy, critic, cfg) -> Networks`, how the two stand beside each other.
    ConfigError for a name that no directory could have, and for a configuration that does not derive from Config.
    """

    name: str
    config: type[Config]
    init: Callable[..., State]
    update: Callable[..., tuple[State, Mapping[str, float | int | str]]]
    summary: str = ""
    networks: Callable[..., Networks] = lambda policy, critic, _cfg: Networks(policy, critic)
    environments: Callable[..., Closeable] | None = None  # of a configuration; None: a gymnasium vector of its `env`
    learner: Callable[..., object] | None = None  # (row, environments, configuration) -> what iterates; None: a Learner
    evaluate: Callable[..., object] | None = None  # in place of training.evaluation.evaluate, with its arguments

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and re.fullmatch(r"\w[\w.-]*", self.name)):
            raise ConfigError(f"name = {self.name!r}: takes letters, digits, '_', '.' and '-', for run directories have it in their names")
        if not (isinstance(self.config, type) and issubclass(self.config, Config)):
            raise ConfigError(f"config = {self.config!r}: takes a dataclass that derives from minirl.config.Config")
        if "__annotations__" in vars(self.config) and "__dataclass_fields__" not in vars(self.config):
            raise ConfigError(f"config = {self.config.__name__}: its fields do not count before @dataclass(frozen=True, kw_only=True)")


ALGORITHMS = {
    a.name: a
    for a in (
        Algorithm(
            "reinforce",
            reinforce.ReinforceConfig,
            reinforce.init,
            reinforce.update,
            "the policy gradient: likelier what paid",
        ),
        Algorithm("npg", npg.NPGConfig, npg.init, npg.update, "the natural gradient: a step of fixed KL length, taken blindly"),
        Algorithm("trpo", trpo.TRPOConfig, trpo.init, trpo.update, "the natural step, and a line search that keeps mean KL ≤ δ"),
        Algorithm(
            "ppo",
            ppo.PPOConfig,
            ppo.init,
            ppo.update,
            "clipped ratios, minibatches, Adam: a trust region at first order",
            ppo.networks,
        ),
    )
}
for each in ALGORITHMS.values():
    explain_fields(each.config)


def find(algorithm: Any) -> Algorithm:
    """The row of that name; a row is itself. ConfigError lists the names there are."""
    if isinstance(algorithm, Algorithm):
        return algorithm
    if not isinstance(algorithm, str):
        names = ", ".join(ALGORITHMS)
        raise ConfigError(f"algorithm = {algorithm!r}: takes a name, one of {names}, or an Algorithm of your own")
    if algorithm not in ALGORITHMS:
        raise ConfigError(f"algorithm {algorithm!r}: takes one of {', '.join(ALGORITHMS)}")
    return ALGORITHMS[algorithm]


def having(field: str) -> list[str]:
    """The algorithms whose configuration has a field of that name."""
    return [a.name for a in ALGORITHMS.values() if field in a.config.__dataclass_fields__]
