"""A Gaussian whose dimensions move together: full covariance, by its Cholesky factor."""

from functools import cached_property

import numpy as np

from minirl._core.reference.gaussian import LOG_2PI, LOG_STD_LIMIT
from minirl.numerics.arrays import Array


class FullGaussian:
    """N(μ, Σ), Σ = L Lᵀ, φ = [μ (d), log L_ii (d), L_ij for i > j row by row (d(d−1)/2)].

    L does not depend on the state. log L_ii saturates at ±20, as log σ does. Everything is computed in float64 and
    returned in φ's type.
    """

    name = "full_gaussian"
    sampler = density = ""
    bounded = maskable = False
    action_dtype: type[np.generic] = np.float64

    def __init__(self, dim: int):
        self.dim = int(dim)
        self.num_free = self.dim * (self.dim + 1) // 2
        self.num_params = self.dim + self.num_free
        self.action_shape: tuple[int, ...] = (self.dim,)

    @cached_property
    def below(self) -> tuple[Array, Array]:
        """Rows and columns of the entries below the diagonal."""
        return np.tril_indices(self.dim, -1)

    def start(self, log_std: float) -> Array:
        """μ = 0, σ as given in each dimension, no correlations (P,)."""
        below = self.num_free - self.dim
        return np.concatenate([np.zeros(self.dim), np.full(self.dim, log_std), np.zeros(below)])

    def noise(self, rng: np.random.Generator, n: int) -> Array:
        """Standard normal z (n, d)."""
        return rng.standard_normal((n, self.dim))

    def from_noise(self, phi: Array, noise: Array) -> Array:
        """a = μ + L z; an overflow shows as inf and is rejected by the caller."""
        mean, log_diag, below = self._split(phi)
        with np.errstate(over="ignore", invalid="ignore"):
            factor = self._matrix(np.exp(log_diag), below)
            return np.asarray(mean + (factor @ noise[:, :, None])[:, :, 0], phi.dtype)

    def sample(self, phi: Array, rng: np.random.Generator) -> Array:
        """Draw one action per row: (N, P) -> (N, d)."""
        return self.from_noise(phi, self.noise(rng, len(phi)))

    def mode(self, phi: Array) -> Array:
        """μ."""
        return phi[:, : self.dim].copy()

    # ------------------------------------------------------------------------------------------------ φ and matrices

    def _split(self, phi: Array) -> tuple[Array, Array, Array]:
        """φ -> μ (N, d), log L_ii (N, d), L_ij (N, d(d−1)/2) in float64."""
        wide = phi.astype(np.float64, copy=False)
        return wide[:, : self.dim], wide[:, self.dim : 2 * self.dim], wide[:, 2 * self.dim :]

    def _matrix(self, diagonal: Array, below: Array) -> Array:
        """Lower triangular matrices (N, d, d)."""
        out = np.zeros((len(diagonal), self.dim, self.dim))
        out[:, range(self.dim), range(self.dim)] = diagonal
        out[:, self.below[0], self.below[1]] = below
        return out

    def _read(self, phi: Array) -> tuple[Array, Array, Array, Array, Array]:
        """φ -> μ, ln L_ii saturated, L, L⁻¹, and the mask where ln L_ii has an effect on the density."""
        mean, log_diag, below = self._split(phi)
        log_diag, free = np.clip(log_diag, -LOG_STD_LIMIT, LOG_STD_LIMIT), np.abs(log_diag) <= LOG_STD_LIMIT
        factor = self._matrix(np.exp(log_diag), below)
        return mean, log_diag, factor, inverse(factor), free

    def _pack(self, phi: Array, dmean: Array, dfactor: Array, factor: Array, free: Array) -> Array:
        """A gradient in μ and in L -> in φ: ∂/∂ ln L_ii = L_ii ∂/∂L_ii, and only the lower triangle counts."""
        diagonal = np.einsum("nii->ni", dfactor) * np.einsum("nii->ni", factor) * free
        return np.concatenate([dmean, diagonal, dfactor[:, self.below[0], self.below[1]]], axis=1).astype(phi.dtype)

    # ------------------------------------------------------------------------------------------- densities, divergence

    def log_prob(self, phi: Array, action: Array) -> Array:
        """log N(a; μ, Σ) = −½ zᵀz − Σ_i ln L_ii − ½ d log 2π with z = L⁻¹(a − μ) -> (N,)."""
        mean, log_diag, _, inv, _ = self._read(phi)
        z = times(inv, action - mean)
        return np.asarray((-0.5 * z * z - log_diag - 0.5 * LOG_2PI).sum(axis=1), phi.dtype)

    def dlog_prob(self, phi: Array, action: Array) -> Array:
        """∂/∂μ = L⁻ᵀz, ∂/∂L = L⁻ᵀ(z zᵀ − I) -> (N, P)."""
        mean, _, factor, inv, free = self._read(phi)
        z = times(inv, action - mean)
        up = inv.transpose(0, 2, 1)
        return self._pack(phi, times(up, z), up @ (outer(z) - np.eye(self.dim)), factor, free)

    def entropy(self, phi: Array) -> Array:
        """H = Σ_i ln L_ii + ½ d log 2πe -> (N,)."""
        _, log_diag, _ = self._split(phi)
        log_diag = np.clip(log_diag, -LOG_STD_LIMIT, LOG_STD_LIMIT)
        return np.asarray((log_diag + 0.5 * LOG_2PI + 0.5).sum(axis=1), phi.dtype)

    def dentropy(self, phi: Array) -> Array:
        """∂H/∂ ln L_ii = 1, else 0 -> (N, P)."""
        dphi = np.zeros_like(phi)
        dphi[:, self.dim : 2 * self.dim] = np.abs(phi[:, self.dim : 2 * self.dim]) <= LOG_STD_LIMIT
        return dphi

    def kl(self, phi_old: Array, phi_new: Array) -> Array:
        """D(old ‖ new) = ½ [log |Σ₂|/|Σ₁| − d + tr(Σ₂⁻¹Σ₁) + Δμᵀ Σ₂⁻¹ Δμ] -> (N,), old (1) first. [KL-8]

        With M = L₂⁻¹L₁ the trace is Σ M_ij². The diagonal of M is e^{−ℓ}, ℓ = ln L₂ᵢᵢ − ln L₁ᵢᵢ; below it M is that of
        L₂⁻¹(L₁ − L₂): no difference of large numbers near M = I.
        """
        mean1, log_diag1, factor1, _, _ = self._read(phi_old)
        mean2, log_diag2, factor2, inv2, _ = self._read(phi_new)
        widen = log_diag2 - log_diag1
        mixed = np.tril(inv2 @ (factor1 - factor2), -1)  # M below its diagonal
        gap = times(inv2, mean1 - mean2)
        kl = (widen + 0.5 * np.expm1(-2 * widen) + 0.5 * gap * gap).sum(axis=1)  # [KL-8]
        kl = kl + 0.5 * (mixed * mixed).sum(axis=(1, 2))  # [KL-8]
        return np.asarray(np.maximum(kl, 0), phi_old.dtype)

    def dkl(self, phi_old: Array, phi_new: Array) -> Array:
        """∂ D(old ‖ new) / ∂φ_new: ∂μ₂ = −L₂⁻ᵀy, ∂L₂ = L₂⁻ᵀ(I − M Mᵀ − y yᵀ) with y = L₂⁻¹(μ₁ − μ₂) -> (N, P)."""
        mean1, _, factor1, _, _ = self._read(phi_old)
        mean2, _, factor2, inv2, free = self._read(phi_new)
        off = inv2 @ (factor1 - factor2)  # M − I
        y, up = times(inv2, mean1 - mean2), inv2.transpose(0, 2, 1)
        spread = off + off.transpose(0, 2, 1) + off @ off.transpose(0, 2, 1) + outer(y)  # M Mᵀ + y yᵀ − I
        return self._pack(phi_new, -times(up, y), -(up @ spread), factor2, free)

    def fisher_vec(self, phi: Array, phi_dot: Array) -> Array:
        """F(φ) φ̇: Σ⁻¹μ̇ in μ, L⁻ᵀ(E + Eᵀ) with E = L⁻¹L̇ in L -> (N, P). [TR-4]"""
        _, _, factor, inv, free = self._read(phi)
        mean_dot, log_diag_dot, below_dot = self._split(phi_dot)
        factor_dot = self._matrix(np.einsum("nii->ni", factor) * log_diag_dot * free, below_dot)
        relative, up = inv @ factor_dot, inv.transpose(0, 2, 1)  # E, L⁻ᵀ
        dmean, dfactor = times(up, times(inv, mean_dot)), up @ (relative + relative.transpose(0, 2, 1))  # [TR-4]
        return self._pack(phi, dmean, dfactor, factor, free)


def inverse(factor: Array) -> Array:
    """L⁻¹ of lower triangular matrices (N, d, d) by forward substitution; it is lower triangular to the bit."""
    out = np.zeros_like(factor)
    for i in range(factor.shape[1]):
        out[:, i, i] = 1
        out[:, i] -= np.einsum("nj,njk->nk", factor[:, i, :i], out[:, :i])
        out[:, i] /= factor[:, i, i, None]
    return out


def times(matrix: Array, x: Array) -> Array:
    """Matrices (N, d, d) times vectors (N, d) -> (N, d)."""
    return np.asarray(np.einsum("nij,nj->ni", matrix, x))


def outer(x: Array) -> Array:
    """x xᵀ: (N, d) -> (N, d, d)."""
    return x[:, :, None] * x[:, None, :]
