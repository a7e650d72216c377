"""Independent PPO (de Witt et al., 2020, arXiv:2011.09533): every agent trains its own policy and V. [EXT-1]

For agent i nothing exists but its own observations, actions and rewards: the others are part of its environment. With
`share_policy`, agents with equal spaces are rows of one batch instead, and learn one policy and one value function.
"""

from dataclasses import dataclass

from minirl.algorithms.ppo import PPOConfig
from minirl.config import Environment, explain_fields
from minirl.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TeamConfig(PPOConfig):
    """What IPPO and MAPPO share."""

    env: Environment = "mpe2/simple_spread_v3"  # package/NAME of a parallel environment, or minirl/SimpleSpread-v0
    share_policy: bool = False  # agents with equal spaces learn one policy and one value function

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rbf:
            raise ConfigError(
                f"rbf = {self.rbf!r}: policies of several agents take observations as they are, set it to 0"
            )


@dataclass(frozen=True, kw_only=True)
class IPPOConfig(TeamConfig):
    """Configuration of IPPO."""


explain_fields(IPPOConfig)
