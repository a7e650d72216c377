"""Trust-region policy optimisation (Schulman et al., 2015, arXiv:1502.05477v5). [TR-14]

    maximise  L(θ) = mean_n[ r_n(θ) A_n ]   subject to   mean_n KL(π_old(·|s_n) ‖ π_θ(·|s_n)) ≤ δ  [SUR-1, TR-1]

npg.py proposes the natural step; a line search shortens it until KL itself, not only its second-order model, satisfies
the constraint. Options: the constraint in every visited state [TR-13], the penalised form [TR-12], and the theory's
lower bound as objective [SUR-7].
"""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np

from minirl.algorithms.npg import Info, NPGConfig, NPGState, init, natural_step, update_with
from minirl.config import AtLeastOne, Positive, Range
from minirl.errors import ConfigError
from minirl.models.actor_critic import Networks
from minirl.models.policy import Policy
from minirl.numerics.arrays import Array
from minirl.samples.batch import Batch

__all__ = ["TRPOConfig", "init", "trpo_step", "update"]


@dataclass(frozen=True, kw_only=True)
class TRPOConfig(NPGConfig):
    """Configuration of TRPO."""

    form: Literal["constraint", "penalty", "bound"] = "constraint"  # KL ≤ δ, L − β KL, or L − C max KL
    kl: Literal["mean", "max"] = "mean"  # the constraint's KL: mean or maximum over states
    kl_coef: Annotated[float, Positive] = 1.0  # β of form penalty, > 0
    backtracks: Annotated[int, AtLeastOne] = 10  # trial steps before the update is rejected, >= 1
    shrink: Annotated[float, Range(0, 1, open=True)] = 0.5  # factor from one trial step to the next, in (0, 1]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.form == "bound" and (self.normalize_adv or self.gamma == 1):
            raise ConfigError(
                "form = 'bound': C needs γ < 1 and unscaled advantages; set normalize_adv to False, gamma below 1"
            )


def trpo_step(policy: Policy, theta_old: Array, batch: Batch, cfg: TRPOConfig) -> tuple[Array, Info]:
    """One step inside the trust region: θ_old (n,) -> θ (n,), info; θ_old if no trial step is accepted. [TR-11]"""
    stored, start, weights = theta_old.dtype, theta_old, batch.weights
    if cfg.form == "bound":  # C is so large that gain and KL of its steps are below float32's rounding error
        start, batch = theta_old.astype(np.float64), in_float64(batch)
    step, phi_old, info = natural_step(policy, start, batch, cfg)  # √(2δ / xᵀFx) x [TR-7]
    loss_old = -weights.mean(batch.adv)
    nothing = {"kl": 0.0, "kl_max": 0.0, "gain": 0.0, "predicted_gain": 0.0, "policy_loss": loss_old, "accepted": 0}
    if not step.any():
        return theta_old, info | nothing | {"backtracks": 0, "refused": ""}
    logp_old = policy.dist.log_prob(phi_old, batch.action)  # (N,)
    predicted, refused = float(info["predicted_gain"]), ""
    length = first_length(policy, start, batch, step, predicted, cfg)

    for i in range(cfg.backtracks):
        with np.errstate(over="ignore", invalid="ignore"):  # a try may go too far: then it is refused
            tried = cfg.shrink**i * length * step
            theta = (start + tried.astype(start.dtype)).astype(stored)  # [TR-11]
            phi = policy.infer(theta.astype(start.dtype), batch.obs, batch.mask)  # (N, P)
            ratio = np.exp(policy.dist.log_prob(phi, batch.action) - logp_old)  # r_n [IS-2]
            gain = weights.mean((ratio - 1) * batch.adv)  # L(θ) − L(θ_old) [SUR-1, SUR-3]
            kl = policy.dist.kl(phi_old, phi)  # (N,), old first
            kl_mean, kl_max = weights.mean(kl), weights.largest(kl)  # [KL-11, KL-12]
        if accepts(gain, kl_mean, kl_max, batch, cfg) and np.isfinite(theta).all():  # tanh hides an infinity
            info |= {"kl": kl_mean, "kl_max": kl_max, "gain": gain, "policy_loss": loss_old - gain, "accepted": 1}
            promised = cfg.shrink**i * length * predicted
            return theta, info | {"predicted_gain": promised, "backtracks": i, "refused": refused}
        refused = why_refused(gain, kl_mean, kl_max, theta - start, tried, cfg)
    return theta_old, info | nothing | {"backtracks": cfg.backtracks, "refused": refused}


def in_float64(batch: Batch) -> Batch:
    """The batch with observations and continuous actions in float64."""
    action = batch.action if batch.action.dtype.kind == "i" else batch.action.astype(np.float64)
    return replace(batch, obs=batch.obs.astype(np.float64), action=action)


def accepts(gain: float, kl_mean: float, kl_max: float, batch: Batch, cfg: TRPOConfig) -> bool:
    """Whether a trial step improves L inside the trust region; NaN compares false, so it is rejected. [TR-11]"""
    if cfg.form == "penalty":
        return gain - cfg.kl_coef * kl_mean > 0  # Form 2 [TR-12]
    if cfg.form == "bound":
        return gain - bound_coef(batch, cfg) * kl_max > 0  # [SUR-7, SUR-8]
    kl = kl_mean if cfg.kl == "mean" else kl_max
    return kl <= cfg.delta and gain > 0  # Form 1 [TR-1, TR-11], or for every visited state [TR-13]


def why_refused(gain: float, kl_mean: float, kl_max: float, moved: Array, step: Array, cfg: TRPOConfig) -> str:
    """Which test a trial step failed; "resolution" where more than half of it was lost to the rounding of θ's type."""
    if not (np.isfinite([gain, kl_mean, kl_max]).all() and np.isfinite(moved).all()):
        return "not finite"
    if cfg.form == "constraint" and (kl_mean if cfg.kl == "mean" else kl_max) > cfg.delta:
        return "kl"
    return "resolution" if np.abs(moved - step).sum() > 0.5 * np.abs(step).sum() else "gain"


def bound_coef(batch: Batch, cfg: TRPOConfig) -> float:
    """(1−γ) C = 4 γ max|A| / (1−γ), C of Schulman et al., Theorem 1. [SUR-7]

    The factor 1−γ is there because L is a mean over samples here, and a sum over discounted visits in the theorem.
    """
    return 4 * cfg.gamma * batch.weights.largest(np.abs(batch.adv)) / (1 - cfg.gamma)  # [SUR-7]


def first_length(
    policy: Policy, theta_old: Array, batch: Batch, step: Array, predicted_gain: float, cfg: TRPOConfig
) -> float:
    """Length of the first trial step, as a multiple t of the natural step Δθ, whose mean KL is δ to second order.

    Form penalty: Δθ = (1/λ) F⁻¹g with λ = gᵀΔθ / 2δ [TR-7], and gᵀΔθ − (β/2) ΔθᵀFΔθ is largest at λ/β times that.
    KL max: t² q = δ, where q is the largest second-order KL of a state, ½ φ̇ᵀF_dist φ̇ with φ̇ = J Δθ.
    Form bound: t gᵀΔθ − C t² q is largest, but not beyond t² q = δ: t has no limit as C goes to 0 (with γ).
    """
    if cfg.form == "penalty":
        return predicted_gain / (2 * cfg.delta * cfg.kl_coef)  # λ/β [TR-12, TR-15]
    if cfg.form == "constraint" and cfg.kl == "mean":
        return 1.0
    phi, cache = policy.forward(theta_old, batch.obs, batch.mask)
    phi_dot = policy.jvp(theta_old, cache, step.astype(theta_old.dtype))
    model = 0.5 * (phi_dot * policy.dist.fisher_vec(phi, phi_dot)).sum(axis=1)  # q_n [TR-3]
    worst = batch.weights.largest(model)
    if not worst > 0:
        return 1.0
    at_delta, curvature = float(np.sqrt(cfg.delta / worst)), 0.0
    if cfg.form == "bound":
        curvature = 2 * bound_coef(batch, cfg) * worst
    return min(predicted_gain / curvature, at_delta) if curvature > 0 else at_delta


def update(
    nets: Networks, state: NPGState, batch: Batch, cfg: TRPOConfig, rng: np.random.Generator, progress: float = 0.0
) -> tuple[NPGState, Info]:
    """state, batch -> new state, metrics; nothing is changed in place. Policy first, then the critic. [TR-14]"""
    return update_with(trpo_step, nets, state, batch, cfg, rng)  # [TR-14]
