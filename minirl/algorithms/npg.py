"""The natural policy gradient (Kakade, 2001): steepest ascent measured by how much the policy changes, not its parameters.

    maximise  gᵀΔθ   subject to   ½ ΔθᵀFΔθ ≤ δ       ⟹       Δθ = √(2δ / gᵀF⁻¹g) F⁻¹g                       [TR-5, TR-7]

g is the policy gradient, F the Fisher matrix = the Hessian of mean KL(π_old‖π_θ) at θ_old. One step per batch; nothing checks
what the step really does: trpo.py adds that.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np

from minirl.config import AtLeastOne, Config, NonNegative, Positive
from minirl.critic import fit_critic, track_returns
from minirl.errors import ConfigError
from minirl.networks import Networks
from minirl.optim import adam_init
from minirl.reduce import SERIAL, mean, share
from minirl.solvers import conjugate_gradient, dense_solve

DENSE_LIMIT = 5000  # parameters; F then takes 200 MB


@dataclass(frozen=True, kw_only=True)
class NPGConfig(Config):
    """Configuration of the natural policy gradient."""

    delta: Annotated[float, Positive] = 0.01  # trust-region radius δ: KL(old‖new) that a step may cost, in nats, > 0
    damping: Annotated[float, NonNegative] = 0.1  # β of (F + βI)v, >= 0
    cg_iters: Annotated[int, AtLeastOne] = 10  # Fisher-vector products spent on F⁻¹g, >= 1
    solver: Literal["cg", "dense"] = "cg"  # F⁻¹g by conjugate gradient, or with F written out (exact, for up to 5000 parameters)
    fisher_every: Annotated[int, AtLeastOne] = 1  # F from each k-th sample only, >= 1; KL is always checked on all
    critic_lr: Annotated[float, Positive] = 1e-3  # Adam step size of the value function, > 0
    critic_epochs: Annotated[int, AtLeastOne] = 10  # passes over the batch to fit the value function, >= 1
    minibatch_size: Annotated[int, AtLeastOne] = 64  # largest minibatch of these passes, >= 1


def policy_gradient(policy, theta, cache, phi, batch, w, comm=SERIAL):
    """g = ∇L(θ_old) = Σ_n w_n A_n ∇log π(a_n|s_n) -> (n,) float64: at θ_old the ratio's gradient is the score's.  [PG-11, IS-5]"""
    dphi = policy.dist.dlog_prob(phi, batch.action) * (w * batch.adv).astype(phi.dtype)[:, None]  # [PG-11, SUR-2]
    return comm.sum(policy.vjp(theta, cache, dphi).astype(np.float64))


def fisher_vector_product(policy, theta, cache, phi, w, damping, comm=SERIAL):
    """v -> (F + βI)v without F:  F v = Σ_n w_n J_nᵀ F_dist(φ_n) J_n v, J_n = ∂φ_n/∂θ, v (n,) float64.             [TR-9, TR-10]"""
    w = w.astype(phi.dtype)[:, None]

    def product(v):
        phi_dot = policy.jvp(theta, cache, v.astype(theta.dtype))  # J v
        dphi = policy.dist.fisher_vec(phi, phi_dot) * w  # F_dist J v, weighted                                     [TR-4]
        fv = comm.sum(policy.vjp(theta, cache, dphi).astype(np.float64))  # Jᵀ F_dist J v                           [TR-9]
        return fv + damping * v  # [TR-10]

    return product


def check_dense(n, cfg):
    """ConfigError where F (n, n) is to be written out and would not fit."""
    if cfg.solver == "dense" and n > DENSE_LIMIT:
        raise ConfigError(f"solver = 'dense': F would have {n}² entries, the limit is {DENSE_LIMIT} parameters; use cg or fewer")


def solve(fvp, g, cfg):
    """x ≈ (F+βI)⁻¹ g by the configured solver.                                                                     [TR-8]"""
    if cfg.solver == "cg":
        return conjugate_gradient(fvp, g, cfg.cg_iters)  # [TR-8]
    check_dense(len(g), cfg)
    return dense_solve(fvp, g)


def natural_step(policy, theta_old, batch, cfg, comm=SERIAL):
    """Δθ = √(2δ / xᵀ(F+βI)x) x with x ≈ (F+βI)⁻¹ g: (n,) float64, φ_old (N, P), info.                          [TR-6, TR-7]

    The damped matrix sets the length, so that ½ ΔθᵀFΔθ ≤ δ, with equality at β = 0. Where there is no direction (zero or
    non-finite gradient, no positive curvature) Δθ is exactly 0 and info["status"] says why.
    """
    w = share(batch.weight, comm)
    phi_old, cache = policy.forward(theta_old, batch.obs, batch.mask)  # (N, P)
    g = policy_gradient(policy, theta_old, cache, phi_old, batch, w, comm)

    k, phi_f, cache_f, w_f = cfg.fisher_every, phi_old, cache, w
    if k > 1:  # every k-th sample stands for k
        phi_f, cache_f = policy.forward(theta_old, np.ascontiguousarray(batch.obs[::k]), batch.mask_of(np.s_[::k]))
        w_f = share(batch.weight[::k], comm)
    fvp = fisher_vector_product(policy, theta_old, cache_f, phi_f, w_f, cfg.damping, comm)
    x, residual, iters, status = solve(fvp, g, cfg)  # F x = g                                [TR-6, TR-8]

    xfx = float(x @ (g - residual))  # xᵀ(F+βI)x, for (F+βI)x = g − r
    if not (np.isfinite(xfx) and xfx > 0):
        status = {"zero_rhs": "zero_gradient", "max_iters": "no_direction", "converged": "no_direction"}.get(status, status)
        return np.zeros_like(g), phi_old, {"status": status, "cg_iters": iters}
    step = np.sqrt(2 * cfg.delta / xfx) * x  # [TR-5, TR-7]
    return step, phi_old, {"status": status, "cg_iters": iters, "predicted_gain": float(g @ step)}  # gᵀΔθ  [TR-2]


def npg_step(policy, theta_old, batch, cfg, comm=SERIAL):
    """θ_old + Δθ, taken blindly; θ_old itself, flagged, when there is no finite step. θ (n,) -> θ (n,), info."""
    step, phi_old, info = natural_step(policy, theta_old, batch, cfg, comm)
    if not step.any():
        return theta_old, info | {"kl": 0.0, "accepted": 0}
    with np.errstate(over="ignore", invalid="ignore"):  # a step may go too far: then it is refused
        theta = theta_old + step.astype(theta_old.dtype)
        phi = policy.infer(theta, batch.obs, batch.mask)
        kl = mean(share(batch.weight, comm), policy.dist.kl(phi_old, phi), comm)  # [KL-11]
    if not (np.isfinite(theta).all() and np.isfinite(kl)):
        return theta_old, info | {"status": "non_finite", "kl": 0.0, "accepted": 0}
    return theta, info | {"kl": kl, "accepted": 1}


def init(nets: Networks, cfg: NPGConfig, rng: np.random.Generator) -> dict[str, Any]:
    """First training state: θ of policy and critic, and the critic's Adam. ConfigError where a dense F would be too large."""
    check_dense(nets.policy.num_params, cfg)
    policy = nets.policy.init(rng, cfg.log_std, cfg.dtype)
    critic = nets.critic.init(rng, cfg.dtype)
    return {"policy": policy, "critic": critic, "adam": adam_init(len(critic), cfg.dtype)}


def update_with(step, nets: Networks, state, batch, cfg, rng, comm):
    """One update: `step` moves the policy, then the critic is fitted to the returns."""
    theta, info = step(nets.policy, state["policy"], batch, cfg, comm)
    critic = track_returns(nets.critic, state["critic"], batch, comm)
    critic, adam, critic_info = fit_critic(nets.critic, critic, state["adam"], batch, cfg, rng, comm)
    phi = nets.policy.infer(theta, batch.obs, batch.mask)
    entropy = mean(share(batch.weight, comm), nets.policy.dist.entropy(phi), comm)
    return {"policy": theta, "critic": critic, "adam": adam}, metrics(info) | critic_info | {"losses/entropy": entropy}


def metrics(info: dict[str, Any]) -> dict[str, Any]:
    """A step's info under the tags of the metrics files."""
    names = {"kl": "losses/approx_kl", "gain": "losses/surrogate_gain", "predicted_gain": "losses/predicted_gain"}
    return {names.get(key, f"step/{key}"): value for key, value in info.items()}


def update(nets: Networks, state, batch, cfg: NPGConfig, rng, progress: float = 0.0, comm=SERIAL):
    """state, batch -> new state, info; nothing is changed in place. `progress` is not used: the step has its own length."""
    return update_with(npg_step, nets, state, batch, cfg, rng, comm)
