"""How far the surrogate can be trusted: the performance difference, the surrogate L, and the bound η ≥ L − C·max KL, all exact."""

import numpy as np

from minirl.theory.mdp import MDP, solve


def tabular_kl(pi: np.ndarray, pi_new: np.ndarray) -> np.ndarray:
    """D(π(·|s) ‖ π̃(·|s)) of each state (S,), old first; +∞ where π̃ = 0 < π.                                            [KL-6]"""
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(pi > 0, pi * (np.log(pi) - np.log(pi_new)), 0.0)
    return terms.sum(axis=1)  # [KL-6]


def total_variation(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """D_TV = ½ Σ|p − q| along the last axis.                                                                             [KL-10]"""
    return 0.5 * np.abs(p - q).sum(axis=-1)


def surrogate(mdp: MDP, pi: np.ndarray, pi_new: np.ndarray) -> float:
    """L_π(π̃) = η(π) + Σ_s ρ^π(s) Σ_a π̃(a|s) A^π(s,a): the old policy's states.                                         [SUR-5]"""
    old = solve(mdp, pi)
    return old.j + float(old.rho @ (pi_new * old.adv).sum(axis=1))  # [SUR-5]


def performance_difference(mdp: MDP, pi: np.ndarray, pi_new: np.ndarray) -> float:
    """η(π̃) − η(π) = Σ_s ρ^π̃(s) Σ_a π̃(a|s) A^π(s,a): the new policy's states.                                          [SUR-4]"""
    return float(solve(mdp, pi_new).rho @ (pi_new * solve(mdp, pi).adv).sum(axis=1))  # [SUR-4]


def penalty(mdp: MDP, pi: np.ndarray, factor: float = 4.0) -> float:
    """C = 4 γ max|A| / (1−γ)² of Schulman et al. (2015), Theorem 1; factor 2 holds as well, by Pinsker on the tighter TV form. [SUR-7]"""
    return factor * mdp.gamma * float(np.abs(solve(mdp, pi).adv).max()) / (1 - mdp.gamma) ** 2


def lower_bound(mdp: MDP, pi: np.ndarray, pi_new: np.ndarray, factor: float = 4.0) -> float:
    """L_π(π̃) − C max_s D(π‖π̃)(s) ≤ η(π̃), with the largest KL over all states.                                        [SUR-7, KL-12]"""
    return surrogate(mdp, pi, pi_new) - penalty(mdp, pi, factor) * float(tabular_kl(pi, pi_new).max())  # [SUR-7]
