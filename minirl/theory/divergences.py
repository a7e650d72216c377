"""Divergences of tabular distributions, and what they are made of. Probabilities along the last axis; in nats."""

import numpy as np

from minirl.theory.mdp import Trajectories, softmax_policy, trajectory_prob


def surprise(p: np.ndarray) -> np.ndarray:
    """−log p of each outcome, +∞ where p = 0.  [KL-13]"""
    with np.errstate(divide="ignore"):
        return -np.log(p)  # [KL-13]


def cross_entropy(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """H(p, q) = −Σ p log q, the surprise of one who believes in q where p is true; H(p, p) is the entropy.  [KL-3]"""
    with np.errstate(invalid="ignore"):
        return np.where(p > 0, p * surprise(q), 0.0).sum(axis=-1)  # [KL-3]


def tabular_kl(pi: np.ndarray, pi_new: np.ndarray) -> np.ndarray:
    """D(π(·|s) ‖ π̃(·|s)) of each state, (…, S, K) -> (…, S), old first; +∞ where π̃ = 0 < π.  [KL-6]"""
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(pi > 0, pi * (np.log(pi) - np.log(pi_new)), 0.0)
    return terms.sum(axis=-1)  # [KL-6]


def mean_ratio(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Σ p · p/q, no logarithm: 1 at p = q, no upper bound. 1 + χ²(p‖q) = 1 + the variance of p/q under q.  [KL-13]"""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(p > 0, p * (p / q), 0.0).sum(axis=-1)  # [KL-13]


def total_variation(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """D_TV = ½ Σ|p − q| along the last axis.  [KL-10]"""
    return 0.5 * np.abs(p - q).sum(axis=-1)  # [KL-10]


def gaussian_kl_full(mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray) -> float:
    """D(N(μ₁, Σ₁) ‖ N(μ₂, Σ₂)) = ½[log |Σ₂|/|Σ₁| − d + tr(Σ₂⁻¹Σ₁) + ΔμᵀΣ₂⁻¹Δμ]: μ (d,), Σ (d, d).  [KL-8]"""
    gap = mean2 - mean1
    log_det = np.linalg.slogdet(cov2)[1] - np.linalg.slogdet(cov1)[1]
    trace = np.trace(np.linalg.solve(cov2, cov1))
    return float(0.5 * (log_det - len(gap) + trace + gap @ np.linalg.solve(cov2, gap)))  # [KL-8]


def step_kl(theta: np.ndarray, step: np.ndarray) -> np.ndarray:
    """KL of a step in the logits θ (…, S, K) in each state: equal length, different divergence.  [PG-14, KL-14]"""
    return tabular_kl(softmax_policy(theta), softmax_policy(theta + step))  # [PG-14, KL-14]


def trajectory_kl(paths: Trajectories, pi: np.ndarray, pi_new: np.ndarray) -> float:
    """D(p(τ;π) ‖ p(τ;π̃)) over all enumerated paths, dynamics and all.  [KL-14]"""
    return float(tabular_kl(trajectory_prob(paths, pi), trajectory_prob(paths, pi_new)))  # [KL-14]
