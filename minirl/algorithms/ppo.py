"""Proximal policy optimisation with the clipped objective (Schulman et al., 2017, arXiv:1707.06347).

    maximise    mean_n[ min(r_n A_n, clip(r_n, 1−ε, 1+ε) A_n) ]  [PPO-1, PPO-2]
              + c_H mean_n[ H(π_θ(·|s_n)) ]  [PPO-7]
              − c_V mean_n[ (V_θ(s_n) − V̂_n)² ]  [PPO-8]

First order: minibatches and Adam instead of trpo.py's Fisher matrix and line search. Options: a KL penalty instead of
the clip [PPO-4], and KL kept near a target by adapting its coefficient [PPO-5] or the step size [PPO-6].
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Literal, TypedDict

import numpy as np

from minirl.algorithms.diagnostics import (
    MinibatchLosses,
    explained_variance,
    kl_estimates,
    minibatch_means,
    surrogate_gain,
)
from minirl.algorithms.kl_stop import KLStop
from minirl.algorithms.losses import clipped_value_loss, surrogate, value_loss
from minirl.algorithms.value_fit import track_returns
from minirl.config import AtLeastOne, Config, NonNegative, Positive, Range
from minirl.errors import ConfigError, MinirlError, NonFiniteError
from minirl.models.actor_critic import Networks, SharedNetworks
from minirl.models.critic import Critic
from minirl.models.distributions import Family
from minirl.models.policy import Policy
from minirl.numerics.arrays import Array
from minirl.numerics.optimizers import AdamState, adam_init, adam_step, ascent_step, clip_by_global_norm, copy_adam
from minirl.samples.batch import Batch, Minibatch, minibatches

VANISHING = 1e-9  # entries of a clipped gradient below this, far below Adam's ε, change nothing
KL_COEF_RANGE = (1e-4, 1e4)  # limits of β where it adapts
LR_RANGE = (0.01, 10.0)  # limits of α where it adapts, as multiples of the configured one


@dataclass(frozen=True, kw_only=True)
class PPOConfig(Config):
    """Configuration of PPO."""

    lr: Annotated[float, Positive] = 1e-3  # Adam step size α, > 0
    anneal_lr: bool = True  # α decreases linearly to 0 over the training
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
    dead_band: Annotated[float, AtLeastOne] = 1.0  # lr adapts outside [D/band, band D], >= 1; 1 is the rule as printed
    target_kl: Annotated[float, Positive] | None = None  # stop before KL(old‖new) exceeds 1.5 times this, > 0
    clip_value: Annotated[float, Positive] | None = None  # ε_V: clip V to its old value ± this, in reward units, > 0
    dual_clip: Annotated[float, Range(1, open=True)] | None = None  # c of dual clipping: c A bounds r A for A < 0, > 1
    huber: Annotated[float, Positive] | None = None  # beyond it (in σ with normalize_value) the loss is linear, > 0
    recompute_adv: bool = False  # recompute advantages and returns before each epoch, with the current critic
    share_trunk: bool = False  # π and V share their hidden layers: PPO alone updates both with one gradient
    optimizer: Literal["adam", "ascent"] = "adam"  # ascent is θ ← θ + α∇L and nothing else

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.adapt == "kl_coef" and self.objective != "kl":
            raise ConfigError("adapt = 'kl_coef': there is a KL coefficient only with objective = 'kl'")
        if self.adapt == "lr" and self.anneal_lr:
            raise ConfigError("adapt = 'lr': set anneal_lr to False, for both would change the step size")
        if self.dual_clip is not None and self.objective != "clip":
            raise ConfigError(f"dual_clip = {self.dual_clip!r}: it belongs to objective = 'clip'")
        if self.clip_value is not None and self.normalize_value:
            raise ConfigError(f"clip_value = {self.clip_value!r}: normalize_value changes its units, set one of them")
        if self.huber is not None and self.clip_value is not None:
            raise ConfigError(f"huber = {self.huber!r}: clip_value is another value loss, set one of them")


class PPOState(TypedDict):
    """What learning changes."""

    theta_pi: Array
    theta_v: Array
    adam: AdamState  # one over both
    kl_coef: float  # β, where it adapts
    lr: float  # α, where it adapts


def policy_loss(
    dist: Family, phi: Array, part: Minibatch, cfg: PPOConfig, kl_coef: float = 0.0
) -> tuple[float, Array, Array]:
    """−(L + c_H H), its gradient in φ (N, P), and r (N,). [PPO-1, PPO-4, PPO-7]

    L is L^CLIP, or L^KLPEN with `kl_coef` as β.
    """
    clip = cfg.clip if cfg.objective == "clip" else np.inf
    loss, dphi, ratio = surrogate(dist, phi, part, clip, cfg.dual_clip, cfg.ent_coef)  # [PPO-1, PPO-2, PPO-3, PPO-7]
    loss = part.weights.total(loss)
    if cfg.objective == "kl":  # the analytic KL, old first: β changes the direction
        loss += kl_coef * part.weights.mean(dist.kl(part.phi_old, phi))  # [PPO-4]
        share = (kl_coef * part.weights.w).astype(phi.dtype)[:, None]
        dphi += dist.dkl(part.phi_old, phi) * share  # ∇(r A) − β ∇KL [PPO-4]
    return loss, dphi, ratio


def minibatch_gradient(
    nets: Networks, theta: Array, part: Minibatch, cfg: PPOConfig, kl_coef: float = 0.0
) -> tuple[Array, MinibatchLosses, Array]:
    """Gradient of one minibatch's loss in θ of both networks (n,), the losses, and the policy's φ (N, P) on it."""
    phi, value, cache = nets.forward(theta, part.obs, part.mask)
    loss_pi, dphi, ratio = policy_loss(nets.policy.dist, phi, part, cfg, kl_coef)
    if cfg.clip_value is None:
        weights, limit = nets.critic.in_units(theta, part.weights), cfg.huber and cfg.huber * nets.critic.unit(theta)
        loss_v, dvalue = value_loss(weights, value, part.returns, limit)  # [PPO-8]
    else:
        loss_v, dvalue = clipped_value_loss(part.weights, value, part.value, part.returns, cfg.clip_value)

    gradient = part.weights.total(nets.vjp(theta, cache, dphi, dvalue * theta.dtype.type(cfg.vf_coef)))
    return gradient, MinibatchLosses(loss_pi, loss_v, ratio, part.weights), phi


def take_step(nets: Networks, theta: Array, gradient: Array, adam: AdamState, cfg: PPOConfig, lr: float) -> None:
    """One step with step size α = lr, in place; an error where it would be 0 or NaN. [PPO-9, PPO-12]"""
    norm, scale = clip_by_global_norm(gradient, cfg.max_grad_norm)
    check_gradient(nets.policy_alone(gradient), norm, scale)
    if cfg.optimizer == "adam":
        adam_step(theta, gradient, adam, lr, scale)  # [PPO-9]
    else:
        ascent_step(theta, gradient, lr, scale)  # θ ← θ + α ∇L [PPO-12]


def check_gradient(gradient_pi: Array, norm: float, scale: float) -> None:
    """An error where the gradient is not finite, or where clipping leaves the policy nothing beside the value loss."""
    if not math.isfinite(norm):
        raise NonFiniteError("the gradient of the loss", "check the rewards' scale, set normalize_reward, or lower lr")
    if scale < VANISHING and gradient_pi.any() and scale * np.abs(gradient_pi).max() < VANISHING:
        remedy = "set normalize_reward, or scale the rewards"
        raise MinirlError(f"the gradient's norm is {norm:.1e}: clipped, it would not move the policy; {remedy}")


def passes(nets: Networks, theta: Array, batch: Batch, cfg: PPOConfig, rng: np.random.Generator) -> Iterator[Minibatch]:
    """Every minibatch of the K epochs; `recompute_adv` uses the critic as θ (n,) has it when an epoch begins."""
    value_old = batch.value
    for epoch in range(cfg.epochs):  # K passes [PPO-9]
        if epoch > 0 and cfg.recompute_adv:
            batch = batch.estimated_by(lambda obs: nets.value(theta, obs))
            if cfg.clip_value is not None:  # V is clipped around that of the rollout, not of this epoch
                batch = replace(batch, value=value_old)
        yield from minibatches(batch, cfg.minibatch_size, rng)


def ppo_step(
    nets: Networks, state: PPOState, batch: Batch, cfg: PPOConfig, rng: np.random.Generator
) -> tuple[Array, AdamState, dict[str, float]]:
    """K epochs of minibatch steps from θ_old -> θ of both networks (n,), Adam's state, info. [PPO-9]

    α is state["lr"], β state["kl_coef"]; `batch` has phi_old and logp_old of π_old. The arguments are not changed.
    """
    theta, adam = nets.join(state["theta_pi"], state["theta_v"]), copy_adam(state["adam"])
    stop = KLStop(nets, batch, cfg.target_kl)
    steps: list[MinibatchLosses] = []
    for part in passes(nets, theta, batch, cfg, rng):
        gradient, losses, phi = minibatch_gradient(nets, theta, part, cfg, state["kl_coef"])
        if stop.exceeded_on(part, phi):
            break
        stop.remember(theta, adam)
        take_step(nets, theta, gradient, adam, cfg, state["lr"])  # θ ← θ + α ∇(L^CLIP − c_V L_V + c_H H) [PPO-9]
        steps.append(losses)
        if stop.shorten_first(theta):
            break
    theta, adam = stop.undone(theta, adam)
    kept = steps[: len(steps) - stop.exceeded]
    info = minibatch_means(kept, cfg.clip) | {"gradient_steps": len(kept)}
    return theta, adam, info if cfg.target_kl is None else info | {"first_step": stop.first_step}


def networks(policy: Policy, critic: Critic, cfg: PPOConfig) -> Networks:
    """π and V as separate networks, or with shared hidden layers."""
    return (SharedNetworks if cfg.share_trunk else Networks)(policy, critic)


def init(nets: Networks, cfg: PPOConfig, rng: np.random.Generator) -> PPOState:
    """First training state: θ of policy and critic, one Adam over both, and β and α."""
    theta = nets.join(nets.policy.init(rng, cfg.log_std, cfg.dtype), nets.critic.init(rng, cfg.dtype))
    (theta_pi, theta_v), adam = nets.split(theta), adam_init(len(theta), cfg.dtype)
    return {"theta_pi": theta_pi, "theta_v": theta_v, "adam": adam, "kl_coef": cfg.kl_coef, "lr": cfg.lr}


def update(
    nets: Networks, state: PPOState, batch: Batch, cfg: PPOConfig, rng: np.random.Generator, progress: float = 0.0
) -> tuple[PPOState, dict[str, float]]:
    """state, batch -> new state, metrics; nothing is changed in place. `progress` in [0, 1): share of training done."""
    lr = state["lr"] if cfg.adapt == "lr" else cfg.lr * (1 - progress if cfg.anneal_lr else 1)
    kl_coef = state["kl_coef"] if cfg.adapt == "kl_coef" else cfg.kl_coef
    theta_v = track_returns(nets.critic, state["theta_v"], batch)
    phi_old = nets.policy.infer(state["theta_pi"], batch.obs, batch.mask)
    batch = replace(batch, phi_old=phi_old, logp_old=nets.policy.dist.log_prob(phi_old, batch.action))

    now: PPOState = {**state, "theta_v": theta_v, "lr": lr, "kl_coef": kl_coef}
    theta, adam, info = ppo_step(nets, now, batch, cfg, rng)
    if not (np.isfinite(theta).all() and np.isfinite(adam["v"]).all()):
        raise NonFiniteError("a parameter or its moment in Adam", "lower lr or max_grad_norm")

    theta_pi, theta_v = nets.split(theta)
    measured = measure(nets.policy, theta_pi, batch) | {"charts/learning_rate": lr}
    if cfg.objective == "kl":
        measured["losses/kl_coef"] = kl_coef
    kl_coef, lr = adapted(state, measured["losses/approx_kl"], cfg)
    new: PPOState = {"theta_pi": theta_pi, "theta_v": theta_v, "adam": adam, "kl_coef": kl_coef, "lr": lr}
    return new, {f"losses/{name}": value for name, value in info.items()} | measured


def adapted(state: PPOState, kl: float, cfg: PPOConfig) -> tuple[float, float]:
    """β and α of the next update."""
    if cfg.adapt == "kl_coef":
        return adapt_kl_coef(state["kl_coef"], kl, cfg.kl_target), state["lr"]  # [PPO-5]
    if cfg.adapt == "lr":
        return state["kl_coef"], adapt_lr(state["lr"], kl, cfg.kl_target, cfg.dead_band, cfg.lr)  # [PPO-6]
    return state["kl_coef"], state["lr"]


def adapt_kl_coef(kl_coef: float, kl: float, target: float) -> float:
    """β/2 where KL < D/1.5, 2β where KL > 1.5 D, else β; D = target. [PPO-5]"""
    if kl < target / 1.5:
        kl_coef = kl_coef / 2  # [PPO-5]
    elif kl > 1.5 * target:
        kl_coef = 2 * kl_coef  # [PPO-5]
    return min(max(kl_coef, KL_COEF_RANGE[0]), KL_COEF_RANGE[1])


def adapt_lr(lr: float, kl: float, target: float, band: float, configured: float) -> float:
    """α/2 where KL > band · D, 2α where KL < D/band, else α; band = 1 is the rule as printed. D = target. [PPO-6]"""
    if kl > target * band:
        lr = lr / 2  # [PPO-6]
    elif kl < target / band:
        lr = 2 * lr  # [PPO-6]
    return min(max(lr, LR_RANGE[0] * configured), LR_RANGE[1] * configured)


def measure(policy: Policy, theta_pi: Array, batch: Batch) -> dict[str, float]:
    """How the update changed the policy, over all samples: exact KL, and the estimates of it from samples."""
    dist, mean = policy.dist, batch.weights.mean
    phi = policy.infer(theta_pi, batch.obs, batch.mask)
    logratio = dist.log_prob(phi, batch.action) - batch.logp_old
    return {
        "losses/approx_kl": mean(dist.kl(batch.phi_old, phi)),  # old first [KL-11]
        "losses/surrogate_gain": surrogate_gain(logratio, batch.adv, batch.weights),
        "losses/entropy": mean(dist.entropy(phi)),
        "losses/explained_variance": explained_variance(batch.value, batch.returns, batch.weights),
    } | {f"losses/kl_{name}": value for name, value in kl_estimates(logratio, batch.weights).items()}
