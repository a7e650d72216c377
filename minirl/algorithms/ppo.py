"""Proximal policy optimisation with the clipped objective (Schulman et al., 2017, arXiv:1707.06347).

    maximise  mean_n[ min(r_n A_n, clip(r_n, 1−ε, 1+ε) A_n) ] + c_H mean_n[H(π_θ(·|s_n))] − c_V mean_n[(V_θ(s_n) − V̂_n)²]

First order: minibatches and Adam instead of trpo.py's Fisher matrix and line search. Options: the KL penalty in place of the
clip [PPO-4], and KL kept near a target by adapting its coefficient [PPO-5] or the step size [PPO-6].
"""

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np

from minirl.algorithms.diagnostics import kl_estimates, minibatch_means, surrogate_gain
from minirl.algorithms.losses import KLStop, clipped_value_loss, policy_loss, value_loss
from minirl.algorithms.value_fit import track_returns
from minirl.config import AtLeastOne, Config, NonNegative, Positive, Range
from minirl.errors import ConfigError, MinirlError, NonFiniteError
from minirl.models.actor_critic import Networks, SharedNetworks
from minirl.numerics.communicator import SERIAL
from minirl.numerics.optimizers import adam_init, adam_step, ascent_step, clip_by_global_norm, copy_adam
from minirl.numerics.sample_weights import explained_variance, mean, share
from minirl.samples.batch import Minibatch, minibatches

VANISHING = 1e-9  # of a clipped gradient: far below Adam's ε, it moves nothing
KL_COEF_RANGE = (1e-4, 1e4)  # β stays in here, whatever the measured KL
LR_RANGE = (0.01, 10.0)  # and α in these multiples of the configured one


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
    objective: Literal["clip", "kl"] = "clip"  # the clipped ratio, or r A − β KL(old‖new)
    kl_coef: Annotated[float, Positive] = 1.0  # β of objective kl, > 0; its first value where it adapts
    adapt: Literal["none", "kl_coef", "lr"] = "none"  # what moves after each update to keep KL(old‖new) near kl_target
    kl_target: Annotated[float, Positive] = 0.01  # D, the KL that adapt steers to, > 0
    dead_band: Annotated[float, AtLeastOne] = 1.0  # lr adapts only outside [D/band, band D], >= 1; 1 is the rule as printed
    target_kl: Annotated[float, Positive] | None = None  # stop before a step that takes KL(old‖new) beyond 1.5 times this, > 0
    clip_value: Annotated[float, Positive] | None = None  # clip V to this distance of its old value (in reward units), > 0
    dual_clip: Annotated[float, Range(1, open=True)] | None = None  # c of dual clipping: for A < 0 no sample counts below c A, > 1
    huber: Annotated[float, Positive] | None = None  # beyond it (in σ with normalize_value) errors count linearly, > 0
    recompute_adv: bool = False  # compute advantages and returns again before each epoch, with the critic as it is then
    share_trunk: bool = False  # the same hidden layers for π and V: here one gradient moves both, a critic fitted alone would move π
    optimizer: Literal["adam", "ascent"] = "adam"  # ascent is θ ← θ + α∇L and nothing else

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.adapt == "kl_coef" and self.objective != "kl":
            raise ConfigError("adapt = 'kl_coef': there is a KL coefficient only with objective = 'kl'")
        if self.adapt == "lr" and self.anneal_lr:
            raise ConfigError("adapt = 'lr': set anneal_lr to False, for both would move the step size")
        if self.dual_clip is not None and self.objective != "clip":
            raise ConfigError(f"dual_clip = {self.dual_clip!r}: it belongs to objective = 'clip'")
        if self.clip_value is not None and self.normalize_value:
            raise ConfigError(f"clip_value = {self.clip_value!r}: normalize_value changes the units that it is in, set one of them")
        if self.huber is not None and self.clip_value is not None:
            raise ConfigError(f"huber = {self.huber!r}: clip_value is a value loss of its own, set one of them")


def minibatch_gradient(nets: Networks, theta, part: Minibatch, cfg, comm=SERIAL, kl_coef=0.0):
    """Loss and gradient of one minibatch in θ of both networks (n,); the policy's φ and ratios on it."""
    phi, value, cache = nets.forward(theta, part.obs, part.mask)
    loss_pi, dphi, ratio = policy_loss(nets.policy.dist, phi, part, cfg, comm, kl_coef)
    if cfg.clip_value is None:
        w, limit = nets.critic.in_units(theta, part.w), cfg.huber and cfg.huber * nets.critic.unit(theta)
        loss_v, dvalue = value_loss(w, value, part.returns, comm, limit)  # [PPO-8]
    else:
        loss_v, dvalue = clipped_value_loss(part.w, value, part.value, part.returns, cfg.clip_value, comm)

    gradient = nets.vjp(theta, cache, dphi, dvalue * theta.dtype.type(cfg.vf_coef))
    return comm.sum(gradient), {"policy_loss": loss_pi, "value_loss": loss_v}, phi, ratio


def check_gradient(gradient_pi, norm, scale):
    """Raise instead of going on without a word when the policy would get NaN, or nothing because the value loss fills the norm."""
    if not math.isfinite(norm):
        raise NonFiniteError("the gradient of the loss", "check the scale of the rewards, set normalize_reward, or lower lr")
    if scale < VANISHING and gradient_pi.any() and scale * np.abs(gradient_pi).max() < VANISHING:
        raise MinirlError(
            f"the gradient's norm is {norm:.1e}: clipped, it would not move the policy; set normalize_reward, or scale rewards"
        )


def passes(batch, logp_old, phi_old, value_of, cfg, rng, comm):
    """Every minibatch of the K epochs; with `recompute_adv` each epoch's advantages are those of the critic so far."""
    anew, value = batch.again, batch.value
    for epoch in range(cfg.epochs):
        if epoch > 0 and cfg.recompute_adv:
            batch = anew(value_of)
            if cfg.clip_value is not None:
                batch = replace(batch, value=value)  # V is clipped about that of the rollout, not of this epoch
        yield from minibatches(batch, cfg.minibatch_size, rng, comm, logp_old, phi_old)


def ppo_step(nets: Networks, theta_old, adam, batch, phi_old, cfg, lr, rng, comm=SERIAL, kl_coef=0.0):
    """K epochs of minibatch ascent from θ_old of both networks (n,): -> θ, Adam's state, info; the inputs stay.    [PPO-9]

    phi_old (N, P): the distributions of θ_old, from which the samples came.
    With `target_kl`, the step that takes the exact KL(old‖new) beyond 1.5 times it is undone, or shortened where it is
    the first, and the update ends. KL is measured on the minibatch that follows, after the first and last step on all.
    """
    theta, adam = theta_old.copy(), copy_adam(adam)
    logp_old = nets.policy.dist.log_prob(phi_old, batch.action)
    stop, first_step = KLStop(nets, batch, phi_old, cfg.target_kl, comm), 1.0
    taken: list[Any] = []  # losses, ratios and weights of each step that stands

    def value_now(obs):
        return nets.critic.value(nets.split(theta)[1], obs)

    for part in passes(batch, logp_old, phi_old, value_now, cfg, rng, comm):
        gradient, measured, phi, ratio = minibatch_gradient(nets, theta, part, cfg, comm, kl_coef)
        if len(taken) > 1 and stop.passed(part.w, part.phi_old, phi):
            theta, adam = stop.undo(taken)
            break
        stop.remember(theta, adam)
        norm, scale = clip_by_global_norm(gradient, cfg.max_grad_norm)
        check_gradient(nets.policy_alone(gradient), norm, scale)
        if cfg.optimizer == "adam":
            adam_step(theta, gradient, adam, lr, scale)  # [PPO-9]
        else:
            ascent_step(theta, gradient, lr, scale)  # θ ← θ + α ∇L                                                [PPO-12]
        taken.append((measured, ratio, part.w))
        if len(taken) == 1:
            theta, first_step = stop.shorten(theta)
            if first_step < 1:
                break
    else:
        if len(taken) > 1 and stop.passed_by(nets.split(theta)[0]):
            theta, adam = stop.undo(taken)
    info = minibatch_means(taken, cfg.clip, comm) | {"gradient_steps": len(taken)}
    return theta, adam, info if cfg.target_kl is None else info | {"first_step": first_step}


def networks(policy, critic, cfg: PPOConfig) -> Networks:
    """π and V with a trunk each, or with one for both."""
    return (SharedNetworks if cfg.share_trunk else Networks)(policy, critic)


def init(nets: Networks, cfg: PPOConfig, rng: np.random.Generator) -> dict[str, Any]:
    """First training state: θ of policy and critic, one Adam over both, and what adapts."""
    theta = nets.join(nets.policy.init(rng, cfg.log_std, cfg.dtype), nets.critic.init(rng, cfg.dtype))
    (policy, critic), adam = nets.split(theta), adam_init(len(theta), cfg.dtype)
    return {"policy": policy, "critic": critic, "adam": adam, "kl_coef": cfg.kl_coef, "lr": cfg.lr}


def update(nets: Networks, state, batch, cfg: PPOConfig, rng, progress: float = 0.0, comm=SERIAL):
    """state, batch -> new state, info; nothing is changed in place. `progress` in [0, 1) is the part of the training done."""
    lr = state["lr"] if cfg.adapt == "lr" else cfg.lr * (1 - progress if cfg.anneal_lr else 1)
    kl_coef = state["kl_coef"] if cfg.adapt == "kl_coef" else cfg.kl_coef
    theta_old = nets.join(state["policy"], track_returns(nets.critic, state["critic"], batch, comm))
    phi_old = nets.policy.infer(state["policy"], batch.obs, batch.mask)
    theta, adam, info = ppo_step(nets, theta_old, state["adam"], batch, phi_old, cfg, lr, rng, comm, kl_coef)
    if not (np.isfinite(theta).all() and np.isfinite(adam["v"]).all()):
        raise NonFiniteError("a parameter or its moment in Adam", "lower lr or max_grad_norm")

    policy, critic = nets.split(theta)
    phi = nets.policy.infer(policy, batch.obs, batch.mask)
    measured = measure(nets.policy.dist, phi_old, phi, batch, comm) | {"charts/learning_rate": lr}
    kl, adapted = measured["losses/approx_kl"], {"kl_coef": state["kl_coef"], "lr": state["lr"]}
    if cfg.adapt == "kl_coef":
        adapted["kl_coef"] = adapt_kl_coef(state["kl_coef"], kl, cfg.kl_target)  # [PPO-5]
    elif cfg.adapt == "lr":
        adapted["lr"] = adapt_lr(state["lr"], kl, cfg.kl_target, cfg.dead_band, cfg.lr)  # [PPO-6]
    if cfg.objective == "kl":
        measured["losses/kl_coef"] = kl_coef
    return {"policy": policy, "critic": critic, "adam": adam} | adapted, {f"losses/{k}": v for k, v in info.items()} | measured


def adapt_kl_coef(kl_coef: float, kl: float, target: float) -> float:
    """β/2 where KL < D/1.5, 2β where KL > 1.5 D, else β; D = target.                                               [PPO-5]"""
    if kl < target / 1.5:
        kl_coef = kl_coef / 2  # [PPO-5]
    elif kl > 1.5 * target:
        kl_coef = 2 * kl_coef  # [PPO-5]
    return min(max(kl_coef, KL_COEF_RANGE[0]), KL_COEF_RANGE[1])


def adapt_lr(lr: float, kl: float, target: float, band: float, configured: float) -> float:
    """α/2 where KL > band · D, 2α where KL < D/band, else α; band = 1 is the rule as printed, which moves α every time. [PPO-6]"""
    if kl > target * band:
        lr = lr / 2  # [PPO-6]
    elif kl < target / band:
        lr = 2 * lr  # [PPO-6]
    return min(max(lr, LR_RANGE[0] * configured), LR_RANGE[1] * configured)


def measure(dist, phi_old, phi, batch, comm=SERIAL) -> dict[str, float]:
    """What the update did to the policy, on the whole batch; KL is exact, and its estimates from samples stand beside it."""
    w = share(batch.weight, comm)
    logratio = dist.log_prob(phi, batch.action) - dist.log_prob(phi_old, batch.action)
    return {
        "losses/approx_kl": mean(w, dist.kl(phi_old, phi), comm),  # old first                                      [KL-11]
        "losses/surrogate_gain": surrogate_gain(logratio, batch.adv, w, comm),
        "losses/entropy": mean(w, dist.entropy(phi), comm),
        "losses/explained_variance": explained_variance(batch.value, batch.returns, batch.weight, comm),
    } | {f"losses/kl_{name}": value for name, value in kl_estimates(logratio, w, comm).items()}
