"""How far the surrogate can be trusted: performance difference, surrogate L, bound η ≥ L − C·max KL, all exact.

Policies (…, S, K): leading axes are batches, and results have them too.
"""

import numpy as np

from minirl.theory.divergences import tabular_kl
from minirl.theory.mdp import MDP, solve


def surrogate(mdp: MDP, pi: np.ndarray, pi_new: np.ndarray) -> np.ndarray:
    """L_π(π̃) = η(π) + Σ_s ρ^π(s) Σ_a π̃(a|s) A^π(s,a): the old policy's states.  [SUR-5]"""
    old = solve(mdp, pi)
    return old.j + (old.rho * (pi_new * old.adv).sum(axis=-1)).sum(axis=-1)  # [SUR-5]; the old policy's A  [IS-7]


def performance_difference(mdp: MDP, pi: np.ndarray, pi_new: np.ndarray) -> np.ndarray:
    """η(π̃) − η(π) = Σ_s ρ^π̃(s) Σ_a π̃(a|s) A^π(s,a): the new policy's states.  [SUR-4]"""
    return (solve(mdp, pi_new).rho * (pi_new * solve(mdp, pi).adv).sum(axis=-1)).sum(axis=-1)  # [SUR-4]


def penalty(mdp: MDP, pi: np.ndarray, factor: float = 4.0) -> np.ndarray:
    """C = 4 γ max|A| / (1−γ)²: Schulman et al. (2015), Theorem 1; 2 holds too, by Pinsker on the TV form  [SUR-7]"""
    return factor * mdp.gamma * np.abs(solve(mdp, pi).adv).max(axis=(-1, -2)) / (1 - mdp.gamma) ** 2  # [SUR-7]


def lower_bound(mdp: MDP, pi: np.ndarray, pi_new: np.ndarray, factor: float = 4.0) -> np.ndarray:
    """L_π(π̃) − C max_s D(π‖π̃)(s) ≤ η(π̃), with the largest KL over all states.  [SUR-7, KL-12]"""
    return surrogate(mdp, pi, pi_new) - penalty(mdp, pi, factor) * tabular_kl(pi, pi_new).max(axis=-1)  # [SUR-7, KL-12]


def tightness(mdp: MDP, pi: np.ndarray, pi_new: np.ndarray) -> np.ndarray:
    """(L − η) / (γ max|A| max KL / (1−γ)²): the factor of C that these policies need; never above 2.  [SUR-7]"""
    unit = penalty(mdp, pi, factor=1.0) * tabular_kl(pi, pi_new).max(axis=-1)
    return (surrogate(mdp, pi, pi_new) - solve(mdp, pi_new).j) / unit  # [SUR-7]
