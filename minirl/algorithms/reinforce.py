"""REINFORCE (Williams, 1992): raise the log-probability of an action by how well things went after it.

    loss = −(1/|S|) Σ_i Σ_t Â_it log π_θ(a_it|s_it)             Â = R(τ) → G_t → G_t − V(s_t) → GAE             [PG-13]

|S| is the number of trajectories. `advantage` chooses the rung of the ladder [PG-5 → PG-6 → PG-8 → PG-10]: the same gradient in
expectation, with less and less variance. How far to follow it is left to a step size; npg.py asks in which metric.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np

from minirl.algorithms.value_fit import fit_critic, track_returns
from minirl.config import AtLeastOne, Config, NonNegative, Positive
from minirl.errors import NonFiniteError
from minirl.models.actor_critic import Networks
from minirl.numerics.communicator import SERIAL
from minirl.numerics.optimizers import adam_init, adam_step, ascent_step, copy_adam
from minirl.numerics.sample_weights import mean, share


@dataclass(frozen=True, kw_only=True)
class ReinforceConfig(Config):
    """Configuration of REINFORCE."""

    advantage: Literal["gae", "baseline", "reward_to_go", "trajectory"] = "baseline"  # Â: GAE, G_t − V(s_t), G_t, or R(τ)
    lr: Annotated[float, Positive] = 1e-2  # step size α, > 0
    optimizer: Literal["adam", "ascent"] = "adam"  # ascent is θ ← θ + α∇L and nothing else
    gradient_steps: Annotated[int, AtLeastOne] = 1  # steps on a batch before it is thrown away, >= 1; from the second on weighted by r
    ent_coef: Annotated[float, NonNegative] = 0.0  # weight of the entropy bonus, >= 0
    critic_lr: Annotated[float, Positive] = 1e-3  # Adam step size of the value function, > 0
    critic_epochs: Annotated[int, AtLeastOne] = 10  # passes over the batch to fit the value function, >= 1
    minibatch_size: Annotated[int, AtLeastOne] = 64  # largest minibatch of these passes, >= 1


def reinforce_gradient(policy, theta, batch, logp_old, cfg, comm=SERIAL):
    """∇loss (n,) and loss: −(1/|S|) Σ r_n A_n with r_n = 1 on fresh data, so that ∇r = ∇log π.           [PG-13, IS-6, IS-5]"""
    w = share(batch.weight, comm)
    per_trajectory = comm.sum(float(batch.weight.sum())) / comm.sum(float(batch.trajectories))  # N/|S|: Σ over t, mean over i
    phi, cache = policy.forward(theta, batch.obs, batch.mask)
    ratio = np.exp(policy.dist.log_prob(phi, batch.action) - logp_old)  # r_n, the importance weight                 [IS-2]
    loss = -per_trajectory * mean(w, ratio * batch.adv, comm)  # [IS-1, IS-6, PG-13]
    push = -per_trajectory * w * ratio * batch.adv  # ∇r = r ∇log π                                                  [IS-5]
    dphi = policy.dist.dlog_prob(phi, batch.action) * push.astype(phi.dtype)[:, None]  # [PG-11]
    if cfg.ent_coef:
        dphi -= policy.dist.dentropy(phi) * (per_trajectory * cfg.ent_coef * w).astype(phi.dtype)[:, None]
    return comm.sum(policy.vjp(theta, cache, dphi)), loss


def reinforce_step(policy, theta_old, adam, batch, cfg, comm=SERIAL):
    """`gradient_steps` steps down the loss: θ_old (n,) -> θ (n,), Adam's state, info; the inputs stay."""
    theta, adam = theta_old.copy(), copy_adam(adam)
    logp_old = policy.dist.log_prob(policy.infer(theta, batch.obs, batch.mask), batch.action)
    loss = 0.0
    for _ in range(cfg.gradient_steps):
        gradient, loss = reinforce_gradient(policy, theta, batch, logp_old, cfg, comm)
        if cfg.optimizer == "ascent":
            ascent_step(theta, gradient, cfg.lr)  # θ ← θ + α∇L                                                    [PG-12]
        else:
            adam_step(theta, gradient, adam, cfg.lr)
    if not (np.isfinite(theta).all() and np.isfinite(adam["v"]).all()):
        raise NonFiniteError("a parameter of the policy or its moment in Adam", "lower lr, or set normalize_reward")
    return theta, adam, {"losses/policy_loss": loss}


def init(nets: Networks, cfg: ReinforceConfig, rng: np.random.Generator) -> dict[str, Any]:
    """First training state: θ of policy and critic, an Adam for each."""
    policy, critic = nets.policy.init(rng, cfg.log_std, cfg.dtype), nets.critic.init(rng, cfg.dtype)
    adams = {"policy_adam": adam_init(len(policy), cfg.dtype), "adam": adam_init(len(critic), cfg.dtype)}
    return {"policy": policy, "critic": critic} | adams


def update(nets: Networks, state, batch, cfg: ReinforceConfig, rng, progress: float = 0.0, comm=SERIAL):
    """state, batch -> new state, info; nothing is changed in place."""
    policy = nets.policy
    theta, policy_adam, info = reinforce_step(policy, state["policy"], state["policy_adam"], batch, cfg, comm)
    critic = track_returns(nets.critic, state["critic"], batch, comm)
    critic, adam, critic_info = fit_critic(nets.critic, critic, state["adam"], batch, cfg, rng, comm)
    w = share(batch.weight, comm)
    phi_old, phi = policy.infer(state["policy"], batch.obs, batch.mask), policy.infer(theta, batch.obs, batch.mask)
    measured = {
        "losses/approx_kl": mean(w, policy.dist.kl(phi_old, phi), comm),
        "losses/entropy": mean(w, policy.dist.entropy(phi), comm),
    }
    return {"policy": theta, "policy_adam": policy_adam, "critic": critic, "adam": adam}, info | critic_info | measured
