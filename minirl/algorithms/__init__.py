"""The algorithms in the order in which they were found: a file is one idea more than the one before. Adding one: a file and a row here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minirl.algorithms import npg, ppo, reinforce, trpo
from minirl.config import Config, explain_fields
from minirl.errors import ConfigError


@dataclass(frozen=True)
class Algorithm:
    """`init(nets, cfg, rng) -> state`; `update(nets, state, batch, cfg, rng, progress, comm) -> (state, info)`."""

    name: str
    config: type[Config]
    init: Callable[..., dict[str, Any]]
    update: Callable[..., tuple[dict[str, Any], dict[str, Any]]]
    summary: str


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
        Algorithm("ppo", ppo.PPOConfig, ppo.init, ppo.update, "clipped ratios, minibatches, Adam: a trust region at first order"),
    )
}
for each in ALGORITHMS.values():
    explain_fields(each.config)


def find(name: str) -> Algorithm:
    """The algorithm of that name; ConfigError lists those there are."""
    if name not in ALGORITHMS:
        raise ConfigError(f"algorithm {name!r}: takes one of {', '.join(ALGORITHMS)}")
    return ALGORITHMS[name]


def having(field: str) -> list[str]:
    """The algorithms whose configuration has a field of that name."""
    return [a.name for a in ALGORITHMS.values() if field in a.config.__dataclass_fields__]
