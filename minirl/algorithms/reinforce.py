"""REINFORCE (Williams, 1992): raise the log-probability of each action in proportion to the return that followed it.

    loss = −(1/|S|) Σ_i Σ_t Â_it log π_θ(a_it|s_it)  [PG-13]

|S| is the number of trajectories. `advantage` chooses Â: R(τ) [PG-5], G_t [PG-6], G_t − V(s_t) [PG-8] or GAE [PG-10].
The expected gradient is the same, with less variance from one to the next (λ < 1 in GAE trades more of it for bias).
A step size says how far to follow it; npg.py measures the step by the change of the policy instead.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, TypedDict

import numpy as np

from minirl.algorithms.value_fit import ValueFitConfig, fit_critic, track_returns
from minirl.config import AtLeastOne, NonNegative, Positive
from minirl.errors import NonFiniteError
from minirl.models.actor_critic import Networks
from minirl.models.policy import Policy
from minirl.numerics.arrays import Array
from minirl.numerics.optimizers import AdamState, adam_init, adam_step, ascent_step, copy_adam
from minirl.samples.batch import Batch


@dataclass(frozen=True, kw_only=True)
class ReinforceConfig(ValueFitConfig):
    """Configuration of REINFORCE."""

    advantage: Literal["gae", "baseline", "reward_to_go", "trajectory"] = "baseline"  # GAE, G_t − V(s_t), G_t, or R(τ)
    lr: Annotated[float, Positive] = 1e-2  # step size α, > 0
    optimizer: Literal["adam", "ascent"] = "adam"  # ascent is θ ← θ + α∇L and nothing else
    gradient_steps: Annotated[int, AtLeastOne] = 1  # steps on a batch, >= 1; from the second on weighted by r
    ent_coef: Annotated[float, NonNegative] = 0.0  # weight of the entropy bonus, >= 0


class ReinforceState(TypedDict):
    """What learning changes."""

    theta_pi: Array
    theta_v: Array
    adam_pi: AdamState
    adam_v: AdamState


def reinforce_gradient(
    policy: Policy, theta: Array, batch: Batch, logp_old: Array, cfg: ReinforceConfig
) -> tuple[Array, float]:
    """∇loss (n,) and loss: −(1/|S|) Σ r_n A_n with r_n = 1 on fresh data, so that ∇r = ∇log π. [PG-13, IS-6, IS-5]"""
    weights, w = batch.weights, batch.weights.w
    per_trajectory = weights.n / weights.total(float(batch.trajectories))  # N/|S|: Σ over t, mean over i
    phi, cache = policy.forward(theta, batch.obs, batch.mask)
    ratio = np.exp(policy.dist.log_prob(phi, batch.action) - logp_old)  # r_n, the importance weight [IS-2]
    loss = -per_trajectory * weights.mean(ratio * batch.adv)  # [IS-1, IS-6, PG-13]
    dlogp = -per_trajectory * w * ratio * batch.adv  # ∇r = r ∇log π [IS-5]
    dphi = policy.dist.dlog_prob(phi, batch.action) * dlogp.astype(phi.dtype)[:, None]  # [PG-11]
    if cfg.ent_coef:
        dphi -= policy.dist.dentropy(phi) * (per_trajectory * cfg.ent_coef * w).astype(phi.dtype)[:, None]
    return weights.total(policy.vjp(theta, cache, dphi)), loss


def reinforce_step(
    policy: Policy, theta_old: Array, adam: AdamState, batch: Batch, cfg: ReinforceConfig
) -> tuple[Array, AdamState, dict[str, float]]:
    """`gradient_steps` steps down the loss: θ_old (n,) -> θ (n,), Adam's state, info; arguments are not changed."""
    theta, adam, loss = theta_old.copy(), copy_adam(adam), 0.0
    logp_old = policy.dist.log_prob(policy.infer(theta, batch.obs, batch.mask), batch.action)
    for _ in range(cfg.gradient_steps):
        gradient, loss = reinforce_gradient(policy, theta, batch, logp_old, cfg)
        if cfg.optimizer == "ascent":
            ascent_step(theta, gradient, cfg.lr)  # θ ← θ + α∇L [PG-12]
        else:
            adam_step(theta, gradient, adam, cfg.lr)
    if not (np.isfinite(theta).all() and np.isfinite(adam["v"]).all()):
        raise NonFiniteError("a parameter of the policy or its moment in Adam", "lower lr, or set normalize_reward")
    return theta, adam, {"losses/policy_loss": loss}


def init(nets: Networks, cfg: ReinforceConfig, rng: np.random.Generator) -> ReinforceState:
    """First training state: θ of policy and critic, an Adam for each."""
    theta_pi, theta_v = nets.policy.init(rng, cfg.log_std, cfg.dtype), nets.critic.init(rng, cfg.dtype)
    adam_pi, adam_v = adam_init(len(theta_pi), cfg.dtype), adam_init(len(theta_v), cfg.dtype)
    return {"theta_pi": theta_pi, "theta_v": theta_v, "adam_pi": adam_pi, "adam_v": adam_v}


def update(
    nets: Networks,
    state: ReinforceState,
    batch: Batch,
    cfg: ReinforceConfig,
    rng: np.random.Generator,
    progress: float = 0.0,
) -> tuple[ReinforceState, dict[str, float]]:
    """state, batch -> new state, metrics; nothing is changed in place. `progress` is not used."""
    policy, mean = nets.policy, batch.weights.mean
    theta_pi, adam_pi, info = reinforce_step(policy, state["theta_pi"], state["adam_pi"], batch, cfg)
    theta_v = track_returns(nets.critic, state["theta_v"], batch)
    theta_v, adam_v, critic_info = fit_critic(nets.critic, theta_v, state["adam_v"], batch, cfg, rng)
    phi_old, phi = policy.infer(state["theta_pi"], batch.obs, batch.mask), policy.infer(theta_pi, batch.obs, batch.mask)
    measured = {
        "losses/approx_kl": mean(policy.dist.kl(phi_old, phi)),
        "losses/entropy": mean(policy.dist.entropy(phi)),
    }
    new: ReinforceState = {"theta_pi": theta_pi, "theta_v": theta_v, "adam_pi": adam_pi, "adam_v": adam_v}
    return new, info | critic_info | measured
