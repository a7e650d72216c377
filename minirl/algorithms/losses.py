"""PPO's losses and their gradients in φ and V, written out."""

import numpy as np

from minirl import _core
from minirl.models.distributions import Family
from minirl.numerics.arrays import Array
from minirl.numerics.sums_over_samples import SampleWeights
from minirl.samples.batch import Minibatch


def surrogate(
    dist: Family, phi: Array, part: Minibatch, clip: float, dual: float | None, ent_coef: float
) -> tuple[float, Array, Array]:
    """−Σ_n w_n (min(r A, clip(r, 1−ε, 1+ε) A) + c_H H) over this rank's samples, its gradient in φ (N, P), and r (N,).

    One kernel call where a kernel implements the family.
    """
    w = part.weights.w
    if dist.density:
        return _core.policy_surrogate(phi, part.action, part.logp_old, part.adv, w, clip, dual, ent_coef, dist.density)
    with np.errstate(over="ignore", invalid="ignore"):
        logp = dist.log_prob(phi, part.action)
        loss, dlogp, ratio = _core.surrogate_loss(logp, part.logp_old, part.adv, w, clip, dual)
        dphi = dist.dlog_prob(phi, part.action) * dlogp[:, None]
    if ent_coef:
        loss -= ent_coef * float(np.dot(w, dist.entropy(phi)))  # [PPO-7]
        dphi -= dist.dentropy(phi) * (ent_coef * w).astype(phi.dtype)[:, None]
    return loss, dphi, ratio


def value_loss(weights: SampleWeights, value: Array, target: Array, huber: float | None = None) -> tuple[float, Array]:
    """L_V = mean (V − V̂)², no ½, and dL/dV (N,) for this rank's samples. [PPO-8]

    huber: beyond this distance κ, in the units of `value`, the loss is linear with the same slope, κ (2|V − V̂| − κ).
    """
    if huber is None:
        loss, dvalue = _core.squared_loss(weights.w, value, target)  # [PPO-8]
        return weights.total(loss), dvalue
    error = value - target
    far = np.abs(error)
    loss = np.where(far <= huber, error * error, huber * (2 * far - huber))
    return weights.mean(loss), (2 * weights.w * np.clip(error, -huber, huber)).astype(value.dtype)


def clipped_value_loss(
    weights: SampleWeights, value: Array, value_old: Array, target: Array, clip: float
) -> tuple[float, Array]:
    """mean max((V − V̂)², (V_old + clip(V − V_old, ±ε_V) − V̂)²), the larger of both errors, and dL/dV (N,). No ½."""
    near = value_old + np.clip(value - value_old, -clip, clip)
    error, near_error = value - target, near - target
    use_near = near_error * near_error > error * error
    moves = np.abs(value - value_old) <= clip
    dvalue = 2 * weights.w * np.where(use_near, near_error * moves, error)
    return weights.mean(np.maximum(error * error, near_error * near_error)), dvalue.astype(value.dtype)
