"""The categorical distribution over logits: the twins of compiled/categorical.pyx."""

import numpy as np

__all__ = [
    "categorical_dentropy",
    "categorical_dkl",
    "categorical_dlog_prob",
    "categorical_entropy",
    "categorical_fisher_vec",
    "categorical_kl",
    "categorical_log_prob",
    "categorical_sample",
]


def categorical_log_softmax(phi):
    """log p (N, K) = φ − log Σ exp φ, with the largest logit subtracted first so that nothing overflows."""
    top = phi.max(axis=1, keepdims=True)
    shifted = phi - top
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def categorical_log_prob(phi, action):
    """log π(a|s) for logits (N, K) and actions (N,) in 0..K−1 -> (N,)."""
    return categorical_log_softmax(phi)[np.arange(len(phi)), action]


def categorical_dlog_prob(phi, action):
    """∂ log π(a|s) / ∂φ_k = 1[k = a] − p_k -> (N, K)."""
    dphi = -np.exp(categorical_log_softmax(phi))
    dphi[np.arange(len(phi)), action] += 1
    return dphi


def categorical_entropy(phi):
    """H = −Σ p log p -> (N,); a logit of −∞ contributes 0."""
    logp = categorical_log_softmax(phi)
    p = np.exp(logp)
    return -(p * np.where(p > 0, logp, 0)).sum(axis=1)


def categorical_dentropy(phi):
    """∂H/∂φ_k = −p_k (log p_k + H) -> (N, K)."""
    logp = categorical_log_softmax(phi)
    p = np.exp(logp)
    logp = np.where(p > 0, logp, 0)
    return -p * (logp - (p * logp).sum(axis=1, keepdims=True))


def categorical_kl(phi_old, phi_new):
    """D(old ‖ new) = Σ p (log p − log q) -> (N,), old first. [KL-1]

    0 where p = 0, +∞ where q = 0 < p; rounding below 0 is cut off.
    """
    logp, logq = categorical_log_softmax(phi_old), categorical_log_softmax(phi_new)
    p = np.exp(logp)
    gap = np.subtract(logp, logq, out=np.zeros_like(logp), where=p > 0)
    return np.maximum((p * gap).sum(axis=1), 0)  # [KL-1, KL-5]


def categorical_dkl(phi_old, phi_new):
    """∂ D(old ‖ new) / ∂φ_new = q − p -> (N, K)."""
    return np.exp(categorical_log_softmax(phi_new)) - np.exp(categorical_log_softmax(phi_old))


def categorical_fisher_vec(phi, phi_dot):
    """F(φ) φ̇ = p ⊙ (φ̇ − p·φ̇) -> (N, K), F = diag(p) − p pᵀ the covariance of the score. [TR-4]"""
    p = np.exp(categorical_log_softmax(phi))
    return p * (phi_dot - (p * phi_dot).sum(axis=1, keepdims=True))  # [TR-4]


def categorical_sample(phi, u):
    """Inverse-CDF sample: logits (N, K), uniform u (N,) in [0, 1) -> (N,) int64, never an action of probability 0."""
    p = np.exp(phi.astype(np.float64) - phi.max(axis=1, keepdims=True))
    cdf = p.cumsum(axis=1)
    above = cdf > (u * cdf[:, -1])[:, None]
    if above[:, -1].all():
        return above.argmax(axis=1)
    last = p.shape[1] - 1 - np.argmax(p[:, ::-1] > 0, axis=1)  # u was rounded up to 1, or p is NaN
    return np.where(above[:, -1], above.argmax(axis=1), last)
