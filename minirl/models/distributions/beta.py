"""Beta distributions, for actions with bounds: nothing is cut off, nothing lies outside."""

import numpy as np

from minirl.numerics.arrays import Array
from minirl.numerics.gamma_functions import digamma, lgamma, lgamma_gap, sigmoid, softplus, trigamma

TRIES = 6  # proposals per gamma variate; each is rejected with a probability below 0.05


class Beta:
    """a ~ Beta(α, β) in (0, 1)ᵈ, independent, φ = [for α (d), for β (d)], α, β = 1 + ln(1 + e^φ): one mode, inside.

    The action that is kept is x = log a/(1−a), so that an a next to 0 or 1 keeps its digits; log π is the density of a.
    Everything is computed in float64 and returned in φ's type.
    """

    name = "beta"
    sampler = density = ""
    bounded, maskable = True, False
    num_free = 0
    action_dtype: type[np.generic] = np.float64

    def __init__(self, dim: int):
        self.dim = int(dim)
        self.num_params = 2 * self.dim
        self.action_shape: tuple[int, ...] = (self.dim,)

    def start(self, log_std: float) -> Array:
        """α = β = 1 + ln 2: broad, its mode in the middle (2d,)."""
        return np.zeros(self.num_params)

    def noise(self, rng: np.random.Generator, n: int) -> Array:
        """Standard normals (n, d, 2, TRIES, 3): per gamma variate and proposal a normal, and two for an exponential."""
        return rng.standard_normal((n, self.dim, 2, TRIES, 3))

    def from_noise(self, phi: Array, noise: Array) -> Array:
        """x = log X − log Y with X ~ Gamma(α), Y ~ Gamma(β), so that a = X/(X + Y) -> (N, d)."""
        alpha, beta = shapes(phi)
        return (log_gamma_variate(alpha, noise[:, :, 0]) - log_gamma_variate(beta, noise[:, :, 1])).astype(phi.dtype)

    def sample(self, phi: Array, rng: np.random.Generator) -> Array:
        """Draw one action per row: (N, 2d) -> (N, d)."""
        return self.from_noise(phi, self.noise(rng, len(phi)))

    def mode(self, phi: Array) -> Array:
        """a = (α−1)/(α+β−2), as x = log (α−1)/(β−1)."""
        alpha, beta = (log_softplus(part) for part in halves(phi))
        return (alpha - beta).astype(phi.dtype)

    @staticmethod
    def unit(action: Array) -> Array:
        """x -> a in [0, 1]: how far between its bounds the action is."""
        return sigmoid(action)

    def log_prob(self, phi: Array, action: Array) -> Array:
        """Σ_i (α−1) log a + (β−1) log(1−a) − log B(α, β) -> (N,)."""
        (alpha, beta), x = shapes(phi), action.astype(np.float64)
        terms = -(alpha - 1) * softplus(-x) - (beta - 1) * softplus(x) - log_b(alpha, beta)
        return np.asarray(terms.sum(axis=1), phi.dtype)

    def dlog_prob(self, phi: Array, action: Array) -> Array:
        """∂/∂α = log a − ψ(α) + ψ(α+β), ∂/∂β = log(1−a) − ψ(β) + ψ(α+β) -> (N, 2d)."""
        (alpha, beta), x = shapes(phi), action.astype(np.float64)
        both = digamma(alpha + beta)
        return chain(phi, -softplus(-x) - digamma(alpha) + both, -softplus(x) - digamma(beta) + both)

    def entropy(self, phi: Array) -> Array:
        """H = Σ_i log B(α, β) − (α−1) ψ(α) − (β−1) ψ(β) + (α+β−2) ψ(α+β) -> (N,)."""
        alpha, beta = shapes(phi)
        spread = (alpha + beta - 2) * digamma(alpha + beta) - (alpha - 1) * digamma(alpha) - (beta - 1) * digamma(beta)
        return np.asarray((log_b(alpha, beta) + spread).sum(axis=1), phi.dtype)

    def dentropy(self, phi: Array) -> Array:
        """∂H/∂α = (α+β−2) ψ′(α+β) − (α−1) ψ′(α), β likewise -> (N, 2d)."""
        alpha, beta = shapes(phi)
        both = (alpha + beta - 2) * trigamma(alpha + beta)
        return chain(phi, both - (alpha - 1) * trigamma(alpha), both - (beta - 1) * trigamma(beta))

    def kl(self, phi_old: Array, phi_new: Array) -> Array:
        """D(old ‖ new) = Σ_i log B₂/B₁ + (α₁−α₂) ψ(α₁) + (β₁−β₂) ψ(β₁) + (α₂−α₁+β₂−β₁) ψ(α₁+β₁) -> (N,), old (1) first.

        That is log B = ln Γ(α) + ln Γ(β) − ln Γ(α+β) at the new minus its tangent from the old: no digits cancel where
        the two are close.
        """
        (alpha1, beta1), (alpha2, beta2) = shapes(phi_old), shapes(phi_new)
        kl = lgamma_gap(alpha1, alpha2) + lgamma_gap(beta1, beta2) - lgamma_gap(alpha1 + beta1, alpha2 + beta2)
        return np.asarray(np.maximum(kl.sum(axis=1), 0), phi_old.dtype)  # independent dimensions [KL-4]

    def dkl(self, phi_old: Array, phi_new: Array) -> Array:
        """∂ D(old ‖ new) / ∂α₂ = ψ(α₂) − ψ(α₁) − ψ(α₂+β₂) + ψ(α₁+β₁), β₂ likewise -> (N, 2d)."""
        (alpha1, beta1), (alpha2, beta2) = shapes(phi_old), shapes(phi_new)
        both = digamma(alpha2 + beta2) - digamma(alpha1 + beta1)
        return chain(phi_new, digamma(alpha2) - digamma(alpha1) - both, digamma(beta2) - digamma(beta1) - both)

    def fisher_vec(self, phi: Array, phi_dot: Array) -> Array:
        """F(φ) φ̇: in α and β [[ψ′(α) − c, −c], [−c, ψ′(β) − c]], c = ψ′(α+β) -> (N, 2d). [TR-4]"""
        alpha, beta = shapes(phi)
        (for_alpha, for_beta), (for_alpha_dot, for_beta_dot) = halves(phi), halves(phi_dot)
        alpha_dot, beta_dot = for_alpha_dot * sigmoid(for_alpha), for_beta_dot * sigmoid(for_beta)
        both = trigamma(alpha + beta) * (alpha_dot + beta_dot)
        return chain(phi, trigamma(alpha) * alpha_dot - both, trigamma(beta) * beta_dot - both)  # [TR-4]


def halves(phi: Array) -> tuple[Array, Array]:
    """The part of φ for α and that for β, each (N, d) float64."""
    d = phi.shape[1] // 2
    wide = phi.astype(np.float64, copy=False)
    return wide[:, :d], wide[:, d:]


def shapes(phi: Array) -> tuple[Array, Array]:
    """α, β = 1 + ln(1 + e^φ), each (N, d) float64."""
    a, b = halves(phi)
    return 1 + softplus(a), 1 + softplus(b)


def chain(phi: Array, dalpha: Array, dbeta: Array) -> Array:
    """A gradient in α and β -> in φ: dα/dφ = 1/(1 + e^{−φ})."""
    a, b = halves(phi)
    return np.concatenate([dalpha * sigmoid(a), dbeta * sigmoid(b)], axis=1).astype(phi.dtype)


def log_b(alpha: Array, beta: Array) -> Array:
    """log B(α, β) = ln Γ(α) + ln Γ(β) − ln Γ(α+β)."""
    return lgamma(alpha) + lgamma(beta) - lgamma(alpha + beta)


def log_softplus(x: Array) -> Array:
    """ln ln(1 + eˣ), which is x far below 0."""
    return np.where(x < -36, x, np.log(softplus(np.maximum(x, -36))))


def log_gamma_variate(shape: Array, noise: Array) -> Array:
    """log X, X ~ Gamma(shape >= 1), by Marsaglia & Tsang (2000): shape (N, d), normals (N, d, TRIES, 3) -> (N, d).

    X = d v with v = (1 + c z)³ is accepted with probability exp(½z² + d (1 − v + ln v)); the first accepted proposal is
    used. With a probability of about 1e-8 none is: then the last one is used (v = 1 where v ≤ 0).
    """
    d = (shape - 1 / 3)[:, :, None]
    z, exponential = noise[..., 0], 0.5 * (noise[..., 1] ** 2 + noise[..., 2] ** 2)  # −ln U
    root = 1 + z / np.sqrt(9 * d)
    v = np.where(root > 0, root, 1.0) ** 3
    accepted = (root > 0) & (-exponential < 0.5 * z * z + d * (1 - v + np.log(v)))
    accepted[..., -1] = True
    first = accepted.argmax(axis=2)[:, :, None]
    return np.asarray(np.log(d[:, :, 0]) + np.log(np.take_along_axis(v, first, axis=2)[:, :, 0]))
