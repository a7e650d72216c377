"""Twins of losses.pyx: the losses that a first-order update takes of every minibatch, in NumPy."""

import numpy as np

from minirl._core.reference import categorical, gaussian
from minirl._core.reference.returns import same_shape

__all__ = ["policy_surrogate", "squared_loss", "surrogate_loss"]

FAMILIES = {
    "categorical": (
        categorical.categorical_log_prob,
        categorical.categorical_dlog_prob,
        categorical.categorical_entropy,
        categorical.categorical_dentropy,
    ),
    "gaussian": (
        gaussian.gaussian_log_prob,
        gaussian.gaussian_dlog_prob,
        gaussian.gaussian_entropy,
        gaussian.gaussian_dentropy,
    ),
}


def clipped_surrogate(ratio, adv, clip, dual=None):
    """ℓ_n = min(r A, clip(r, 1−ε, 1+ε) A) (N,), and dℓ/dr: A, but 0 where the clipped term is less. [PPO-1, PPO-3]

    dual: c > 1 of dual clipping (Ye et al., 2020), for A < 0 ℓ_n is at least c A. ε = ∞ clips nothing.
    """
    plain = ratio * adv
    clipped = np.minimum(np.maximum(ratio, 1 - clip), 1 + clip) * adv  # [PPO-2]
    surrogate, stopped = np.minimum(plain, clipped), clipped < plain  # [PPO-1, PPO-3]
    if dual is not None:
        floor = (adv < 0) & (surrogate < dual * adv)
        surrogate, stopped = np.where(floor, dual * adv, surrogate), stopped | floor
    return surrogate, np.where(stopped, 0, adv)


def surrogate_loss(logp, logp_old, adv, w, clip, dual=None):
    """−Σ_n w_n ℓ_n, its gradient in log π_n (N,), and r (N,). [PPO-1]

    logp, logp_old (N,) of one type, adv and w (N,) float64
    """
    same_shape(logp, logp_old, adv, w)
    with np.errstate(over="ignore", invalid="ignore"):
        ratio = np.exp(logp - logp_old)  # r_n [IS-2]
        surrogate, slope = clipped_surrogate(ratio, adv, clip, dual)
        # ∇r = r ∇log π; 0, not 0·∞, where a clipped r overflowed
        dlogp = np.where(slope == 0, 0, -w * slope * ratio)  # [IS-5, PPO-1, PPO-3]
    return -float(np.dot(w, surrogate)), dlogp.astype(logp.dtype), ratio


def policy_surrogate(phi, action, logp_old, adv, w, clip, dual, ent_coef, family):
    """−Σ_n w_n (ℓ_n + c_H H_n), its gradient in φ (N, P), ∇ℓ = (dℓ/dlog π) ∇ log π, and r (N,)."""
    if family not in FAMILIES:
        raise ValueError(f"family must be 'categorical' or 'gaussian', not {family!r}")
    log_prob, dlog_prob, entropy, dentropy = FAMILIES[family]
    with np.errstate(over="ignore", invalid="ignore"):
        loss, dlogp, ratio = surrogate_loss(log_prob(phi, action), logp_old, adv, w, clip, dual)  # [PPO-1]
        dphi = dlog_prob(phi, action) * dlogp[:, None]
    if ent_coef:
        loss -= ent_coef * float(np.dot(w, entropy(phi)))  # [PPO-7]
        dphi -= dentropy(phi) * (ent_coef * w).astype(phi.dtype)[:, None]
    return loss, dphi, ratio


def squared_loss(w, value, target):
    """Σ_n w_n (V_n − V̂_n)², no ½, and its gradient in V (N,), of V's type; w and V̂ (N,) float64. [PPO-8]"""
    same_shape(w, value, target)
    error = value - target
    return float(np.dot(w, error * error)), (2 * w * error).astype(value.dtype)  # [PPO-8]
