"""The Gaussian with a diagonal covariance, φ = [μ, log σ]: the twins of compiled/gaussian.pyx."""

import numpy as np

__all__ = [
    "gaussian_dentropy",
    "gaussian_dkl",
    "gaussian_dlog_prob",
    "gaussian_entropy",
    "gaussian_fisher_vec",
    "gaussian_kl",
    "gaussian_log_prob",
    "gaussian_sample",
]

# log σ saturates at ±20 inside densities: σ² and 1/σ² stay finite in float32, the gradient beyond is 0
LOG_STD_LIMIT = 20.0
LOG_2PI = float(np.log(2 * np.pi))


def gaussian_split(phi):
    """φ -> μ, log σ saturated at ±LOG_STD_LIMIT, and the mask where log σ is not saturated; each (N, d)."""
    d = phi.shape[1] // 2
    log_std = phi[:, d:]
    free = np.abs(log_std) <= LOG_STD_LIMIT
    return phi[:, :d], np.clip(log_std, -LOG_STD_LIMIT, LOG_STD_LIMIT), free


def gaussian_log_prob(phi, action):
    """log N(a; μ, σ²) = Σ_i −½ z_i² − log σ_i − ½ log 2π with z = (a − μ)/σ; action (N, d) -> (N,)."""
    mean, log_std, _ = gaussian_split(phi)
    z = (action - mean) * np.exp(-log_std)
    half = phi.dtype.type(0.5 * LOG_2PI)
    return (-0.5 * z * z - log_std - half).sum(axis=1)


def gaussian_dlog_prob(phi, action):
    """∂/∂μ = z/σ, ∂/∂ log σ = z² − 1 -> (N, 2d)."""
    mean, log_std, free = gaussian_split(phi)
    inv_std = np.exp(-log_std)
    z = (action - mean) * inv_std
    return np.concatenate([z * inv_std, (z * z - 1) * free], axis=1)


def gaussian_entropy(phi):
    """H = Σ_i log σ_i + ½ log 2πe -> (N,)."""
    _, log_std, _ = gaussian_split(phi)
    return (log_std + phi.dtype.type(0.5 * LOG_2PI + 0.5)).sum(axis=1)


def gaussian_dentropy(phi):
    """∂H/∂μ = 0, ∂H/∂ log σ = 1 -> (N, 2d)."""
    mean, _, free = gaussian_split(phi)
    return np.concatenate([np.zeros_like(mean), free.astype(phi.dtype)], axis=1)


def gaussian_kl(phi_old, phi_new):
    """D(old ‖ new) = Σ_i log σ₂/σ₁ + (σ₁² + (μ₁ − μ₂)²) / 2σ₂² − ½ -> (N,), old (1) first. [KL-7, KL-4]

    With ℓ = log σ₂ − log σ₁ the spread's part is ℓ + ½(e^{−2ℓ} − 1), computed by expm1: no difference of large numbers
    near ℓ = 0.
    """
    mean1, log_std1, _ = gaussian_split(phi_old)
    mean2, log_std2, _ = gaussian_split(phi_new)
    widen = log_std2 - log_std1
    z = (mean1 - mean2) * np.exp(-log_std2)
    kl = (widen + 0.5 * np.expm1(-2 * widen) + 0.5 * z * z).sum(axis=1)  # [KL-2, KL-7], summed over dimensions [KL-4]
    return np.maximum(kl, 0)


def gaussian_dkl(phi_old, phi_new):
    """∂ D(old ‖ new) / ∂φ_new: ∂μ₂ = (μ₂ − μ₁)/σ₂², ∂ log σ₂ = 1 − (σ₁² + (μ₁ − μ₂)²)/σ₂² -> (N, 2d)."""
    mean1, log_std1, _ = gaussian_split(phi_old)
    mean2, log_std2, free = gaussian_split(phi_new)
    inv_std = np.exp(-log_std2)
    z = (mean2 - mean1) * inv_std
    dlog_std = -np.expm1(2 * (log_std1 - log_std2)) - z * z
    return np.concatenate([z * inv_std, dlog_std * free], axis=1)


def gaussian_fisher_vec(phi, phi_dot):
    """F(φ) φ̇ = [μ̇/σ², 2 (log σ)˙] -> (N, 2d): the covariance of the score. [TR-4]"""
    d = phi.shape[1] // 2
    _, log_std, free = gaussian_split(phi)
    return np.concatenate([phi_dot[:, :d] * np.exp(-2 * log_std), 2 * phi_dot[:, d:] * free], axis=1)  # [TR-4]


def gaussian_sample(phi, z):
    """a = μ + σ z, z (N, d) standard normal -> (N, d); σ is not saturated here: an overflow gives inf, which the caller
    rejects.
    """
    d = phi.shape[1] // 2
    with np.errstate(over="ignore", invalid="ignore"):
        return phi[:, :d] + np.exp(phi[:, d:]) * z.astype(phi.dtype)
