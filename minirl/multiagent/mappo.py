"""Multi-agent PPO (Yu et al., 2022, arXiv:2103.01955): decentralised policies, a centralised critic. [EXT-2]

Each policy π_i(a_i|o_i) acts on what its agent sees; the critic, which is needed in training only, sees all of them:
the joint state s = (o_1, …, o_N) and V(s), or the joint action as well and Q(s, a), from which each agent takes what
its own action added (Foerster et al., 2018, arXiv:1705.08926):

    Â_i = Q(s, a) − Σ_{a_i'} π_i(a_i'|o_i) Q(s, (a_i', a_−i))
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from minirl.config import explain_fields
from minirl.errors import ConfigError
from minirl.models.policy import Policy
from minirl.multiagent.ippo import TeamConfig
from minirl.numerics.arrays import Array
from minirl.samples.advantages import Function


@dataclass(frozen=True, kw_only=True)
class MAPPOConfig(TeamConfig):
    """Configuration of MAPPO."""

    critic: Literal["state", "actions"] = "state"  # V of the joint state, or Q of it and the actions
    share_policy: bool = True  # agents with equal spaces learn one policy and one value function

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.share_trunk:
            raise ConfigError(
                "share_trunk = True: the policy must not see what the central critic sees, set it to False"
            )
        if self.critic == "actions" and self.recompute_adv:
            raise ConfigError("recompute_adv = True: with critic = 'actions' Â is made once, set it to False")


explain_fields(MAPPOConfig)


def counterfactual_advantages(
    policy: Policy, theta_pi: Array, q_of: Function, rows: Array, mask: Array | None, own_actions: slice, action: Array
) -> Array:
    """Â_i = Q(s, a) − Σ_{a_i'} π_i(a_i'|o_i) Q(s, (a_i', a_−i)) of rows (N, ·), N samples of one agent -> (N,). [EXT-2]

    q_of: rows -> Q (N,);  own_actions: the columns that hold the agent's own action as indicator (K of them).
    """
    K = own_actions.stop - own_actions.start
    phi = policy.infer(theta_pi, rows, mask)
    q = np.empty((len(rows), K))
    for k in range(K):  # every action that it could have taken, the others' actions as they were
        other = rows.copy()
        other[:, own_actions] = np.eye(K)[k]
        q[:, k] = q_of(other)
    pi = np.exp(np.stack([policy.dist.log_prob(phi, np.full(len(rows), k)) for k in range(K)], axis=1))
    return q[np.arange(len(rows)), action] - (pi * q).sum(axis=1)  # [EXT-2]
