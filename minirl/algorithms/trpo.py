"""Trust-region policy optimisation (Schulman et al., 2015, arXiv:1502.05477v5).                                    [TR-14]

    maximise  L(θ) = mean_n[ r_n(θ) A_n ]   subject to   mean_n KL(π_old(·|s_n) ‖ π_θ(·|s_n)) ≤ δ                  [TR-1]

npg.py proposes the natural step; here a line search makes the constraint true, not only its second-order model.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from minirl.algorithms.npg import NPGConfig, init, natural_step, update_with
from minirl.config import AtLeastOne, Range
from minirl.networks import Networks
from minirl.reduce import SERIAL, mean, share

__all__ = ["TRPOConfig", "init", "trpo_step", "update"]


@dataclass(frozen=True, kw_only=True)
class TRPOConfig(NPGConfig):
    """Configuration of TRPO."""

    backtracks: Annotated[int, AtLeastOne] = 10  # tries before the update is given up, >= 1
    shrink: Annotated[float, Range(0, 1, open=True)] = 0.5  # each try takes this share of the step before it, in (0, 1]


def trpo_step(policy, theta_old, batch, cfg, comm=SERIAL):
    """One constrained step on a batch of N samples: θ_old (n,) -> θ (n,), info. Returns θ_old itself if no try is accepted."""
    step, phi_old, info = natural_step(policy, theta_old, batch, cfg, comm)  # √(2δ / xᵀFx) x                       [TR-7]
    if not step.any():
        return theta_old, info | {"kl": 0.0, "gain": 0.0, "backtracks": 0, "accepted": 0}
    w = share(batch.weight, comm)
    logp_old = policy.dist.log_prob(phi_old, batch.action)  # (N,)

    for i in range(cfg.backtracks):
        with np.errstate(over="ignore", invalid="ignore"):  # a try may go too far: then it is refused
            theta = theta_old + (cfg.shrink**i * step).astype(theta_old.dtype)  # [TR-11]
            phi, _ = policy.forward(theta, batch.obs)  # (N, P)
            ratio = np.exp(policy.dist.log_prob(phi, batch.action) - logp_old)  # r_n                               [IS-2]
            gain = mean(w, (ratio - 1) * batch.adv, comm)  # L(θ) − L(θ_old)                                        [SUR-1, SUR-3]
            kl = mean(w, policy.dist.kl(phi_old, phi), comm)  # old first                                          [KL-11]
        if kl <= cfg.delta and gain > 0 and np.isfinite(theta).all():  # [TR-1, TR-11]; NaN compares false, tanh hides an infinity
            return theta, info | {"kl": kl, "gain": gain, "backtracks": i, "accepted": 1}
    return theta_old, info | {"kl": 0.0, "gain": 0.0, "backtracks": cfg.backtracks, "accepted": 0}


def update(nets: Networks, state, batch, cfg: TRPOConfig, rng, progress: float = 0.0, comm=SERIAL):
    """state, batch -> new state, info; nothing is changed in place. Policy first, then the critic.                [TR-14]"""
    return update_with(trpo_step, nets, state, batch, cfg, rng, comm)
