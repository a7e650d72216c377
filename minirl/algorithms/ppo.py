"""Proximal policy optimisation with the clipped objective (Schulman et al., 2017, arXiv:1707.06347).

    maximise  mean_n[ min(r_n A_n, clip(r_n, 1−ε, 1+ε) A_n) ] + c_H mean_n[H(π_θ(·|s_n))] − c_V mean_n[(V_θ(s_n) − V̂_n)²]

First order: minibatches and Adam instead of trpo.py's Fisher matrix and line search.                               [PPO-1, 7, 8, 9]
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from minirl.config import AtLeastOne, Config, NonNegative, Positive
from minirl.critic import value_loss
from minirl.diagnostics import kl_estimates
from minirl.errors import MinirlError, NonFiniteError
from minirl.networks import Networks
from minirl.optim import adam_init, adam_step, clip_by_global_norm
from minirl.reduce import SERIAL, explained_variance, mean, share
from minirl.rollout import minibatches

VANISHING = 1e-9  # of a clipped gradient: far below Adam's ε, it moves nothing


@dataclass(frozen=True, kw_only=True)
class PPOConfig(Config):
    """Configuration of PPO."""

    lr: Annotated[float, Positive] = 1e-3  # Adam step size α, > 0
    anneal_lr: bool = True  # α falls linearly with the transitions left to learn from; the first update uses all of it
    epochs: Annotated[int, AtLeastOne] = 10  # passes over the batch, K, >= 1
    minibatch_size: Annotated[int, AtLeastOne] = 64  # largest minibatch, >= 1
    clip: Annotated[float, Positive] = 0.2  # ε of the clipped ratio, > 0
    ent_coef: Annotated[float, NonNegative] = 0.0  # c_H, weight of the entropy bonus, >= 0
    vf_coef: Annotated[float, NonNegative] = 0.5  # c_V, weight of the value loss (which has no ½), >= 0
    max_grad_norm: Annotated[float, Positive] = 0.5  # largest norm of the whole gradient, > 0
    target_kl: Annotated[float, Positive] | None = None  # stop before a step that takes KL(old‖new) beyond 1.5 times this, > 0
    clip_value: Annotated[float, Positive] | None = None  # clip V to this distance of its old value (in reward units), > 0


def clipped_surrogate(ratio, adv, clip):
    """ℓ_n = min(r A, clip(r, 1−ε, 1+ε) A) (N,), and dℓ/dr: A, but 0 where the clipped term is the smaller.      [PPO-1, PPO-3]"""
    clipped = np.minimum(np.maximum(ratio, 1 - clip), 1 + clip)  # [PPO-2]
    surrogate = np.minimum(ratio * adv, clipped * adv)  # [PPO-1]
    stopped = ((adv > 0) & (ratio > 1 + clip)) | ((adv < 0) & (ratio < 1 - clip))
    return surrogate, np.where(stopped, 0, adv)


def policy_loss(dist, phi, action, logp_old, adv, w, cfg, comm=SERIAL):
    """−(L^CLIP + c_H H), its gradient in φ (N, P), and r (N,).                                                     [PPO-1, PPO-7]"""
    with np.errstate(over="ignore", invalid="ignore"):
        ratio = np.exp(dist.log_prob(phi, action) - logp_old)  # r_n                                                [IS-2]
        surrogate, dratio = clipped_surrogate(ratio, adv, cfg.clip)
        loss = -mean(w, surrogate, comm)
        push = np.where(dratio == 0, 0, -w * dratio * ratio)  # 0, not 0·∞, where a clipped ratio overflowed
        dphi = dist.dlog_prob(phi, action) * push.astype(phi.dtype)[:, None]  # ∇r = r ∇log π                       [IS-5]
    if cfg.ent_coef:
        loss -= cfg.ent_coef * mean(w, dist.entropy(phi), comm)  # [PPO-7]
        dphi -= dist.dentropy(phi) * (cfg.ent_coef * w).astype(phi.dtype)[:, None]
    return loss, dphi, ratio


def clipped_value_loss(w, value, value_old, target, clip, comm=SERIAL):
    """mean max((V − V̂)², (V_old + clip(V − V_old, ±ε_V) − V̂)²), the more pessimistic of both, and dL/dV (N,). No ½."""
    near = value_old + np.clip(value - value_old, -clip, clip)
    error, near_error = value - target, near - target
    use_near = near_error * near_error > error * error
    moves = np.abs(value - value_old) <= clip
    dvalue = 2 * w * np.where(use_near, near_error * moves, error)
    return mean(w, np.maximum(error * error, near_error * near_error), comm), dvalue.astype(value.dtype)


def minibatch_gradient(nets: Networks, theta, batch, rows, logp_old, cfg, comm=SERIAL):
    """Loss and gradient of one minibatch in θ = [θ_π, θ_V] (n,), and the policy's φ and ratios on it."""
    policy, critic = nets
    w = share(batch.weight[rows], comm)
    obs, target = batch.obs[rows], batch.returns[rows]
    theta_pi, theta_v = theta[: policy.num_params], theta[policy.num_params :]

    phi, cache = policy.forward(theta_pi, obs)
    loss_pi, dphi, ratio = policy_loss(policy.dist, phi, batch.action[rows], logp_old[rows], batch.adv[rows], w, cfg, comm)
    value, cache_v = critic.forward(theta_v, obs)
    if cfg.clip_value is None:
        loss_v, dvalue = value_loss(w, value, target, comm)  # [PPO-8]
    else:
        loss_v, dvalue = clipped_value_loss(w, value, batch.value[rows], target, cfg.clip_value, comm)

    gradient = np.concatenate([policy.vjp(theta_pi, cache, dphi), critic.vjp(theta_v, cache_v, dvalue * theta.dtype.type(cfg.vf_coef))])
    return comm.sum(gradient), {"policy_loss": loss_pi, "value_loss": loss_v}, phi, ratio


def check_gradient(gradient_pi, norm, scale):
    """Raise instead of going on without a word when the policy would get NaN, or nothing because the value loss fills the norm."""
    if not np.isfinite(norm):
        raise NonFiniteError("the gradient of the loss", "check the scale of the rewards, set normalize_reward, or lower lr")
    if scale < VANISHING and gradient_pi.any() and scale * np.abs(gradient_pi).max() < VANISHING:
        raise MinirlError(
            f"the gradient's norm is {norm:.1e}: clipped, it would not move the policy; set normalize_reward, or scale rewards"
        )


def ppo_step(nets: Networks, theta_old, adam, batch, cfg, lr, rng, comm=SERIAL):
    """K epochs of minibatch ascent from θ_old = [θ_π, θ_V] (n,): -> θ, Adam's state, info; the inputs stay.        [PPO-9]

    With `target_kl`, the step that takes the exact KL(old‖new) beyond 1.5 times it is undone and the update ends. It is measured
    on the minibatch that follows the step, after the last one on the whole batch.
    """
    policy, n = nets.policy, nets.policy.num_params
    theta, adam = theta_old.copy(), {"m": adam["m"].copy(), "v": adam["v"].copy(), "t": adam["t"]}
    phi_old = policy.infer(theta[:n], batch.obs)
    logp_old = policy.dist.log_prob(phi_old, batch.action)
    logp_old.flags.writeable = False

    def too_far(rows, phi):
        kl = mean(share(batch.weight[rows], comm), policy.dist.kl(phi_old[rows], phi), comm)
        return not kl <= 1.5 * cfg.target_kl  # NaN is too far

    clipped, losses, steps, before = [], {"policy_loss": 0.0, "value_loss": 0.0}, 0, None

    for rows in (rows for _ in range(cfg.epochs) for rows in minibatches(len(batch), cfg.minibatch_size, rng)):
        gradient, measured, phi, ratio = minibatch_gradient(nets, theta, batch, rows, logp_old, cfg, comm)
        if before is not None and too_far(rows, phi):
            theta, adam, steps = *before, steps - 1
            break
        losses = measured
        if cfg.target_kl is not None:
            before = theta.copy(), {"m": adam["m"].copy(), "v": adam["v"].copy(), "t": adam["t"]}
        norm, scale = clip_by_global_norm(gradient, cfg.max_grad_norm)
        check_gradient(gradient[:n], norm, scale)
        adam_step(theta, gradient, adam, lr, scale)  # θ ← θ − α ∇loss                                              [PPO-9, PPO-12]
        clipped.append(float(np.count_nonzero(np.abs(ratio - 1) > cfg.clip)) / max(len(rows), 1))
        steps += 1
    else:
        if before is not None and too_far(slice(None), policy.infer(theta[:n], batch.obs)):
            theta, adam, steps = *before, steps - 1
    return theta, adam, losses | {"clipfrac": float(np.mean(clipped or [0.0])), "gradient_steps": steps}


def init(nets: Networks, cfg: PPOConfig, rng: np.random.Generator) -> dict[str, Any]:
    """First training state: θ of policy and critic, and one Adam over both."""
    policy = nets.policy.init(rng, cfg.log_std, cfg.dtype)
    critic = nets.critic.init(rng, cfg.dtype)
    return {"policy": policy, "critic": critic, "adam": adam_init(len(policy) + len(critic), cfg.dtype)}


def update(nets: Networks, state, batch, cfg: PPOConfig, rng, progress: float = 0.0, comm=SERIAL):
    """state, batch -> new state, info; nothing is changed in place. `progress` in [0, 1) is the part of the training done."""
    lr = cfg.lr * (1 - progress) if cfg.anneal_lr else cfg.lr
    n, dist = nets.policy.num_params, nets.policy.dist
    theta_old = np.concatenate([state["policy"], state["critic"]])
    theta, adam, info = ppo_step(nets, theta_old, state["adam"], batch, cfg, lr, rng, comm)
    if not (np.isfinite(theta).all() and np.isfinite(adam["v"]).all()):
        raise NonFiniteError("a parameter or its moment in Adam", "lower lr or max_grad_norm")

    w = share(batch.weight, comm)
    phi_old, phi = nets.policy.infer(theta_old[:n], batch.obs), nets.policy.infer(theta[:n], batch.obs)
    logratio = dist.log_prob(phi, batch.action) - dist.log_prob(phi_old, batch.action)
    measured = {
        "losses/approx_kl": mean(w, dist.kl(phi_old, phi), comm),  # exact, old first                               [KL-11]
        "losses/surrogate_gain": mean(w, np.expm1(np.minimum(logratio, 20)) * batch.adv, comm),
        "losses/entropy": mean(w, dist.entropy(phi), comm),
        "losses/explained_variance": explained_variance(batch.value, batch.returns, batch.weight, comm),
        "losses/kl_k3": kl_estimates(logratio, w, comm)["k3"],
        "charts/learning_rate": lr,
    }
    return {"policy": theta[:n], "critic": theta[n:], "adam": adam}, {f"losses/{k}": v for k, v in info.items()} | measured
