"""Trust-region problems solved exactly, over the policy's own probabilities: the documents' maximisers.

In a state with probabilities p and advantages A the best q under a multiplier λ on D(p ‖ q) has λ p_a / q_a = ν − A_a,
where ν makes it sum to 1: a larger advantage gets more probability, and none becomes 0. p has to be positive. Leading
axes are batches.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minirl.theory.bounds import penalty
from minirl.theory.divergences import tabular_kl
from minirl.theory.mdp import MDP, solve

FAR = 60.0  # e^±60 is beyond every multiplier and divergence that occurs


def bisect(falling: Callable[[np.ndarray], np.ndarray], shape: tuple[int, ...], iterations: int = 52) -> np.ndarray:
    """The roots x (shape) in [−FAR, FAR] of functions that fall in x, all at once."""
    low, high = np.full(shape, -FAR), np.full(shape, FAR)
    for _ in range(iterations):
        middle = (low + high) / 2
        above = falling(middle) > 0
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return (low + high) / 2


def tilt(pi: np.ndarray, adv: np.ndarray, log_gap: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """q = λ p / (ν − A) at ν = max A + e^log_gap, and its λ: π, A (…, S, K), log_gap (…, S) -> (…, S, K), (…, S)."""
    gap = adv.max(axis=-1, keepdims=True) - adv + np.exp(log_gap)[..., None]  # ν − A > 0
    multiplier = 1 / (pi / gap).sum(axis=-1)
    return multiplier[..., None] * pi / gap, multiplier


def penalised(pi: np.ndarray, adv: np.ndarray, beta: float) -> np.ndarray:
    """argmax over all policies of Σ_s ρ(s) [Σ_a π̃ A − β D(π‖π̃)], any ρ > 0: state by state -> (…, S, K).  [TR-12]"""
    log_gap = bisect(lambda x: beta - tilt(pi, adv, x)[1], pi.shape[:-1])  # λ = β  [TR-12]
    return tilt(pi, adv, log_gap)[0]


def inside_ball(pi: np.ndarray, adv: np.ndarray, radius: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """argmax of Σ_a π̃ A subject to D(π‖π̃)(s) ≤ radius (…, S) in every state, and multipliers.  [TR-13, KL-12]"""
    log_gap = bisect(lambda x: tabular_kl(pi, tilt(pi, adv, x)[0]) - radius, pi.shape[:-1])  # [TR-13, KL-12]
    return tilt(pi, adv, log_gap)


class Solved(NamedTuple):
    """A maximiser π̃ (S, K) of Form 1, the β at which Form 2 has the same one, and the mean KL."""

    pi: np.ndarray
    beta: float
    kl: float


def constrained(mdp: MDP, pi: np.ndarray, delta: float) -> Solved:
    """argmax of L subject to mean KL ≤ δ, by bisection on β of the penalised form with the same maximiser.  [TR-15]"""
    exact = solve(mdp, pi)
    visits = exact.rho / exact.rho.sum()

    def mean_kl(beta: float) -> float:
        return float(visits @ tabular_kl(pi, penalised(pi, exact.adv, beta)))  # [TR-1]

    log_beta = bisect(lambda x: np.asarray(mean_kl(float(np.exp(x))) - delta), ())  # mean KL falls in β  [TR-15]
    beta = float(np.exp(log_beta))
    return Solved(penalised(pi, exact.adv, beta), beta, mean_kl(beta))


def best_of_bound(mdp: MDP, pi: np.ndarray, factor: float = 4.0) -> np.ndarray:
    """argmax over all policies of L_π(π̃) − C max_s D(π‖π̃): η(argmax) ≥ η(π), step by step for ever.  [SUR-8]

    Inside max KL ≤ D the best gain g(D) = Σ_s ρ(s) max Σ_a π̃ A has the slope Σ_s ρ(s) λ_s(D), which falls.
    The best D is where the slope is C.
    """
    exact, coefficient = solve(mdp, pi), penalty(mdp, pi, factor)

    def ball(log_radius: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return inside_ball(pi, exact.adv, np.broadcast_to(np.exp(log_radius)[..., None], pi.shape[:-1]))

    log_radius = bisect(lambda x: (exact.rho * ball(x)[1]).sum(axis=-1) - coefficient, pi.shape[:-2])  # [SUR-8]
    return ball(log_radius)[0]
