"""PPO's losses and their gradients in φ and V, written out, and what ends an update before KL runs away."""

from typing import Any

import numpy as np

from minirl import _core
from minirl.numerics.communicator import SERIAL
from minirl.numerics.optimizers import copy_adam
from minirl.numerics.sample_weights import mean, share

HALVINGS = 30  # of a first step that goes too far, before none of it is taken


def policy_loss(dist, phi, part, cfg, comm=SERIAL, kl_coef=0.0):
    """−(L + c_H H), its gradient in φ (N, P), and r (N,): L is L^CLIP, or L^KLPEN with `kl_coef` as β.              [PPO-1, 4, 7]"""
    clip = cfg.clip if cfg.objective == "clip" else np.inf
    loss, dphi, ratio = surrogate(dist, phi, part, clip, cfg.dual_clip, cfg.ent_coef)  # [PPO-1, PPO-2, PPO-3, PPO-7]
    loss = comm.sum(loss)
    if cfg.objective == "kl":  # the analytic KL, old first: β changes the direction
        loss += kl_coef * mean(part.w, dist.kl(part.phi_old, phi), comm)  # [PPO-4]
        dphi += dist.dkl(part.phi_old, phi) * (kl_coef * part.w).astype(phi.dtype)[:, None]  # ∇(r A) − β ∇KL       [PPO-4]
    return loss, dphi, ratio


def surrogate(dist, phi, part, clip, dual, ent_coef):
    """−Σ_n w_n (min(r A, clip(r, 1−ε, 1+ε) A) + c_H H), its gradient in φ (N, P), and r (N,); one call where a kernel knows the family."""
    if dist.density:
        return _core.policy_surrogate(phi, part.action, part.logp_old, part.adv, part.w, clip, dual, ent_coef, dist.density)
    with np.errstate(over="ignore", invalid="ignore"):
        loss, dlogp, ratio = _core.surrogate_loss(dist.log_prob(phi, part.action), part.logp_old, part.adv, part.w, clip, dual)
        dphi = dist.dlog_prob(phi, part.action) * dlogp[:, None]
    if ent_coef:
        loss -= ent_coef * mean(part.w, dist.entropy(phi))  # [PPO-7]
        dphi -= dist.dentropy(phi) * (ent_coef * part.w).astype(phi.dtype)[:, None]
    return loss, dphi, ratio


def value_loss(w, value, target, comm=SERIAL, huber=None) -> tuple[float, np.ndarray]:
    """L_V = mean (V − V̂)², no ½, and dL/dV (N,); w (N,) from `share`.                                              [PPO-8]

    huber: beyond this distance κ the square goes on as a line of the same slope, κ (2|V − V̂| − κ).
    """
    if huber is None:
        loss, dvalue = _core.squared_loss(w, value, target)  # [PPO-8]
        return comm.sum(loss), dvalue
    error = value - target
    far = np.abs(error)
    loss = np.where(far <= huber, error * error, huber * (2 * far - huber))
    return mean(w, loss, comm), (2 * w * np.clip(error, -huber, huber)).astype(value.dtype)


def clipped_value_loss(w, value, value_old, target, clip, comm=SERIAL):
    """mean max((V − V̂)², (V_old + clip(V − V_old, ±ε_V) − V̂)²), the more pessimistic of both, and dL/dV (N,). No ½."""
    near = value_old + np.clip(value - value_old, -clip, clip)
    error, near_error = value - target, near - target
    use_near = near_error * near_error > error * error
    moves = np.abs(value - value_old) <= clip
    dvalue = 2 * w * np.where(use_near, near_error * moves, error)
    return mean(w, np.maximum(error * error, near_error * near_error), comm), dvalue.astype(value.dtype)


class KLStop:
    """Ends an update before KL(old‖new) exceeds 1.5 `target_kl`: that step is undone, a first one shortened."""

    def __init__(self, nets, batch, phi_old, target_kl, comm=SERIAL):
        self.nets, self.batch, self.phi_old, self.comm = nets, batch, phi_old, comm
        self.limit = None if target_kl is None else 1.5 * target_kl
        self.before: Any = None  # θ and Adam's state before the last step

    def passed(self, w, phi_old, phi) -> bool:
        """Whether the mean KL is beyond the limit; NaN is."""
        if self.limit is None:
            return False
        with np.errstate(over="ignore", invalid="ignore"):
            return not mean(w, self.nets.policy.dist.kl(phi_old, phi), self.comm) <= self.limit

    def passed_by(self, theta_pi) -> bool:
        """Whether that of the whole batch is."""
        if self.limit is None:
            return False
        with np.errstate(over="ignore", invalid="ignore"):
            phi = self.nets.policy.infer(theta_pi, self.batch.obs, self.batch.mask)
        return self.passed(share(self.batch.weight, self.comm), self.phi_old, phi)

    def remember(self, theta, adam) -> None:
        """Copy what the next step may have to go back to."""
        if self.limit is not None:
            self.before = theta.copy(), copy_adam(adam)

    def undo(self, taken):
        """θ and Adam's state before the last of the steps `taken`, which is one no more."""
        taken.pop()
        return self.before

    def shorten(self, theta) -> tuple[np.ndarray, float]:
        """θ with as much of the last step in the policy as the limit lets it: all, ½, ¼, … or none; and that share.

        The critic keeps all of its step, and Adam what it has seen: both learn, however often the policy is held back.
        """
        new, critic = self.nets.split(theta)
        if not self.passed_by(new):
            return theta, 1.0
        old = self.nets.split(self.before[0])[0]
        for part in 0.5 ** np.arange(1.0, HALVINGS):
            shorter = old + theta.dtype.type(part) * (new - old)
            if not self.passed_by(shorter):
                return self.nets.join(shorter, critic), float(part)
        return self.nets.join(old, critic), 0.0
