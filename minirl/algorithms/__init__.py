"""The algorithms in historical order: each file adds one idea to the one before it.

Adding one: a file and a row in ALGORITHMS; or an Algorithm of your own, passed wherever a name is accepted
(docs/your-own-algorithm.md).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypedDict

from minirl.algorithms import npg, ppo, reinforce, trpo
from minirl.config import Config, explain_fields
from minirl.errors import ConfigError
from minirl.models.actor_critic import Networks
from minirl.numerics.arrays import Array


class State(TypedDict):
    """What the state of every algorithm contains, besides entries of its own."""

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
    networks: `(policy, critic, cfg) -> Networks`, whether the two are separate or share layers.
    ConfigError for a name that cannot be part of a directory's name, and for a `config` that is no Config dataclass.
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
    given: Callable[..., Closeable] | None = None  # (what `learn` got, configuration) -> environments, or EnvError

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and re.fullmatch(r"\w[\w.-]*", self.name)):
            raise ConfigError(
                f"name = {self.name!r}: takes letters, digits, '_', '.' and '-', as a directory's name does"
            )
        if not (isinstance(self.config, type) and issubclass(self.config, Config)):
            raise ConfigError(f"config = {self.config!r}: takes a dataclass that derives from minirl.config.Config")
        if "__annotations__" in vars(self.config) and "__dataclass_fields__" not in vars(self.config):
            raise ConfigError(
                f"config = {self.config.__name__}: decorate it with @dataclass(frozen=True, kw_only=True)"
            )


ALGORITHMS = {
    a.name: a
    for a in (
        Algorithm(
            "reinforce",
            reinforce.ReinforceConfig,
            reinforce.init,
            reinforce.update,
            "the policy gradient: more of what paid off",
        ),
        Algorithm(
            "npg",
            npg.NPGConfig,
            npg.init,
            npg.update,
            "the natural gradient: a step of fixed KL length, without a check",
        ),
        Algorithm(
            "trpo",
            trpo.TRPOConfig,
            trpo.init,
            trpo.update,
            "the natural step, and a line search that keeps mean KL ≤ δ",
        ),
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


def find(algorithm: object, table: Mapping[str, Algorithm] = ALGORITHMS) -> Algorithm:
    """The algorithm of that name; an Algorithm is returned as it is. ConfigError lists the names."""
    if isinstance(algorithm, Algorithm):
        return algorithm
    if not isinstance(algorithm, str):
        names = ", ".join(table)
        raise ConfigError(f"algorithm = {algorithm!r}: takes a name, one of {names}, or an Algorithm of your own")
    if algorithm not in table:
        raise ConfigError(f"algorithm {algorithm!r}: takes one of {', '.join(table)}")
    return table[algorithm]


def having(field: str, table: Mapping[str, Algorithm] = ALGORITHMS) -> list[str]:
    """The algorithms whose configuration has a field of that name."""
    return [a.name for a in table.values() if field in a.config.__dataclass_fields__]
