"""The natural policy gradient (Kakade, 2001): steepest ascent where distance is the change of the policy, not of θ.

    maximise  gᵀΔθ   subject to   ½ ΔθᵀFΔθ ≤ δ       ⟹       Δθ = √(2δ / gᵀF⁻¹g) F⁻¹g  [TR-5, TR-7]

g is the policy gradient, F the Fisher matrix = the Hessian of mean KL(π_old‖π_θ) at θ_old. One step per batch, which is
only rejected where its KL is many times δ: trpo.py adds a check of each step.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Literal, TypedDict, TypeVar

import numpy as np
import numpy.typing as npt

from minirl.algorithms.diagnostics import surrogate_gain
from minirl.algorithms.value_fit import ValueFitConfig, fit_critic, track_returns
from minirl.config import AtLeastOne, NonNegative, Positive
from minirl.errors import ConfigError
from minirl.models.actor_critic import Networks
from minirl.models.mlp import Cache
from minirl.models.policy import Policy
from minirl.numerics.arrays import Array
from minirl.numerics.conjugate_gradient import Solution, conjugate_gradient
from minirl.numerics.dense_solve import dense_solve
from minirl.numerics.optimizers import AdamState, adam_init
from minirl.numerics.sums_over_samples import SampleWeights
from minirl.samples.batch import Batch, one_in

Info = dict[str, float | int | str]
Product = Callable[[Array], Array]
C = TypeVar("C", bound="NPGConfig")
DENSE_LIMIT = 5000  # parameters; F then takes 200 MB
# the status of a step of 0, by that of the solver
NO_STEP = {"zero_rhs": "zero_gradient", "max_iters": "no_direction", "converged": "no_direction"}
RUNAWAY = 100.0  # where KL exceeds δ by this factor, the quadratic model of it has failed


@dataclass(frozen=True, kw_only=True)
class NPGConfig(ValueFitConfig):
    """Configuration of the natural policy gradient."""

    delta: Annotated[float, Positive] = 0.01  # trust-region radius δ: KL(old‖new) that a step may cost, in nats, > 0
    damping: Annotated[float, NonNegative] = 0.1  # β of (F + βI)v, >= 0
    cg_iters: Annotated[int, AtLeastOne] = 10  # Fisher-vector products spent on F⁻¹g, >= 1
    solver: Literal["cg", "dense"] = "cg"  # F⁻¹g by conjugate gradient, or exact from an explicit F (n <= 5000)
    fisher_every: Annotated[int, AtLeastOne] = 1  # k: F⁻¹g from one sample in k, drawn for each update, >= 1


class NPGState(TypedDict):
    """What learning changes: the policy's step has no state of its own, the critic's is Adam's."""

    theta_pi: Array
    theta_v: Array
    adam_v: AdamState


def policy_gradient(policy: Policy, theta: Array, cache: Cache, phi: Array, batch: Batch) -> Array:
    """g = ∇L(θ_old) = Σ_n w_n A_n ∇log π(a_n|s_n) -> (n,) float64. [PG-11, IS-5]

    At θ_old the gradient of the ratio is that of log π.
    """
    w = batch.weights.w
    dphi = policy.dist.dlog_prob(phi, batch.action) * (w * batch.adv).astype(phi.dtype)[:, None]  # [PG-11, SUR-2]
    return batch.weights.total(policy.vjp(theta, cache, dphi).astype(np.float64))


def fisher_vector_product(
    policy: Policy, theta: Array, cache: Cache, phi: Array, weights: SampleWeights, damping: float
) -> Product:
    """v -> (F + βI)v without F:  F v = Σ_n w_n J_nᵀ F_dist(φ_n) J_n v, J_n = ∂φ_n/∂θ, v (n,) float64. [TR-9, TR-10]"""
    w = weights.w.astype(phi.dtype)[:, None]

    def product(v: Array) -> Array:
        phi_dot = policy.jvp(theta, cache, v.astype(theta.dtype))  # J v
        dphi = policy.dist.fisher_vec(phi, phi_dot) * w  # F_dist J v, weighted [TR-4]
        fv = weights.total(policy.vjp(theta, cache, dphi).astype(np.float64))  # Jᵀ F_dist J v [TR-9]
        return fv + damping * v  # [TR-10]

    return product


def check_dense(n: int, cfg: NPGConfig) -> None:
    """ConfigError where an explicit F (n, n) would not fit into memory."""
    if cfg.solver == "dense" and n > DENSE_LIMIT:
        raise ConfigError(f"solver = 'dense': F would be {n} × {n}, beyond {DENSE_LIMIT} parameters; use cg or fewer")


def solve(fvp: Product, g: Array, cfg: NPGConfig, dtype: npt.DTypeLike | None = None) -> Solution:
    """x ≈ (F+βI)⁻¹ g by the configured solver; dtype: of the products, the configured one when None. [TR-8]"""
    if cfg.solver == "cg":
        return conjugate_gradient(fvp, g, cfg.cg_iters)  # [TR-8]
    check_dense(len(g), cfg)
    return dense_solve(fvp, g, float(np.finfo(cfg.dtype if dtype is None else dtype).eps))


def subsampled_product(policy: Policy, theta: Array, batch: Batch, cfg: NPGConfig) -> Product:
    """v -> (F + βI)v with F estimated from the rows `batch.fisher`, weighted to represent all samples."""
    rows = one_in(cfg.fisher_every, batch.weights.weight) if batch.fisher is None else batch.fisher
    phi, cache = policy.forward(theta, batch.obs[rows], batch.mask_of(rows))
    return fisher_vector_product(policy, theta, cache, phi, batch.weights.standing_for_all(rows), cfg.damping)


def natural_step(policy: Policy, theta_old: Array, batch: Batch, cfg: NPGConfig) -> tuple[Array, Array, Info]:
    """Δθ = √(2δ / xᵀ(F+βI)x) x with x ≈ (F+βI)⁻¹ g: (n,) float64, φ_old (N, P), info. [TR-6, TR-7]

    The damped matrix of all samples sets the length, so that ½ ΔθᵀFΔθ ≤ δ, with equality at β = 0. Where there is no
    direction (zero or non-finite gradient, no positive curvature) Δθ is exactly 0 and info["status"] gives the reason.
    """
    phi_old, cache = policy.forward(theta_old, batch.obs, batch.mask)  # (N, P)
    g = policy_gradient(policy, theta_old, cache, phi_old, batch)
    fvp = fisher_vector_product(policy, theta_old, cache, phi_old, batch.weights, cfg.damping)
    subsampled = cfg.fisher_every > 1
    product = subsampled_product(policy, theta_old, batch, cfg) if subsampled else fvp
    x, residual, iters, status = solve(product, g, cfg, theta_old.dtype)  # F x = g [TR-6, TR-8]

    with np.errstate(over="ignore", invalid="ignore"):  # a result that is not finite gives no step
        xfx = float(x @ (fvp(x) if subsampled else g - residual))  # xᵀ(F+βI)x, for (F+βI)x = g − r
        relative = float(np.linalg.norm(residual) / (np.linalg.norm(g) or 1.0))  # 0 where there is no gradient
    if not (np.isfinite(xfx) and xfx > 0):
        status = NO_STEP.get(status, status)
        step = np.zeros_like(g)
    else:
        step = np.sqrt(2 * cfg.delta / xfx) * x  # [TR-5, TR-7]
    predicted = float(g @ step) if step.any() else 0.0  # gᵀΔθ [TR-2]
    return step, phi_old, {"status": status, "cg_iters": iters, "cg_residual": relative, "predicted_gain": predicted}


def npg_step(policy: Policy, theta_old: Array, batch: Batch, cfg: NPGConfig) -> tuple[Array, Info]:
    """θ_old + Δθ without a line search: θ (n,) -> θ (n,), info. θ_old, and the reason, where the step is rejected.

    That is where there is no direction, F is singular along it, a number is not finite, or KL exceeds RUNAWAY δ.
    """
    step, phi_old, info = natural_step(policy, theta_old, batch, cfg)
    dist, mean = policy.dist, batch.weights.mean
    loss_old = -mean(batch.adv)
    no_step = info | {
        "policy_loss": loss_old,
        "kl": 0.0,
        "gain": 0.0,
        "predicted_gain": 0.0,
        "refused": "",
        "accepted": 0,
    }
    if not step.any():
        return theta_old, no_step
    if info["status"] == "singular":
        return theta_old, no_step | {"refused": "singular"}
    with np.errstate(over="ignore", invalid="ignore"):  # a step may go too far: then it is rejected
        theta = theta_old + step.astype(theta_old.dtype)
        phi = policy.infer(theta, batch.obs, batch.mask)
        kl = mean(dist.kl(phi_old, phi))  # [KL-11]
        logratio = dist.log_prob(phi, batch.action) - dist.log_prob(phi_old, batch.action)
        gain = surrogate_gain(logratio, batch.adv, batch.weights)
    if not (np.isfinite(theta).all() and np.isfinite([kl, gain]).all()):
        return theta_old, no_step | {"status": "non_finite", "refused": "not finite"}
    if kl > RUNAWAY * cfg.delta:
        return theta_old, no_step | {"refused": "kl"}
    return theta, info | {"policy_loss": loss_old - gain, "kl": kl, "gain": gain, "refused": "", "accepted": 1}


def init(nets: Networks, cfg: NPGConfig, rng: np.random.Generator) -> NPGState:
    """First training state: θ of policy and critic, the critic's Adam. ConfigError for a dense F that is too large."""
    check_dense(nets.policy.num_params, cfg)
    theta_pi, theta_v = nets.policy.init(rng, cfg.log_std, cfg.dtype), nets.critic.init(rng, cfg.dtype)
    return {"theta_pi": theta_pi, "theta_v": theta_v, "adam_v": adam_init(len(theta_v), cfg.dtype)}


def update_with(
    step: Callable[[Policy, Array, Batch, C], tuple[Array, Info]],
    nets: Networks,
    state: NPGState,
    batch: Batch,
    cfg: C,
    rng: np.random.Generator,
) -> tuple[NPGState, Info]:
    """One update: `step` moves the policy, then the critic is fitted to the returns."""
    if cfg.fisher_every > 1:
        batch = replace(batch, fisher=one_in(cfg.fisher_every, batch.weights.weight, rng))
    theta_pi, info = step(nets.policy, state["theta_pi"], batch, cfg)  # GUIDE's steps 3 to 6 [TR-14]
    theta_v = track_returns(nets.critic, state["theta_v"], batch)
    theta_v, adam_v, critic_info = fit_critic(nets.critic, theta_v, state["adam_v"], batch, cfg, rng)  # step 7 [TR-14]
    phi = nets.policy.infer(theta_pi, batch.obs, batch.mask)
    measured: Info = {"losses/entropy": batch.weights.mean(nets.policy.dist.entropy(phi))}
    return {"theta_pi": theta_pi, "theta_v": theta_v, "adam_v": adam_v}, metrics(info) | measured | {**critic_info}


def metrics(info: Info) -> Info:
    """A step's info under the names of the metrics files."""
    losses = {"kl": "approx_kl", "gain": "surrogate_gain"} | {key: key for key in ("predicted_gain", "policy_loss")}
    return {f"losses/{losses[key]}" if key in losses else f"step/{key}": value for key, value in info.items()}


def update(
    nets: Networks, state: NPGState, batch: Batch, cfg: NPGConfig, rng: np.random.Generator, progress: float = 0.0
) -> tuple[NPGState, Info]:
    """state, batch -> new state, metrics; nothing is changed in place. `progress` is not used: δ sets the length."""
    return update_with(npg_step, nets, state, batch, cfg, rng)
