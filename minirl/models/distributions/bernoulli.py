"""d independent coins."""

import numpy as np

from minirl.numerics.arrays import Array
from minirl.numerics.gamma_functions import sigmoid, softplus


class Bernoulli:
    """d coins, φ = log p/(1−p) (N, d), action (N, d) of 0 and 1.

    With s(x) = ln(1 + eˣ): log p = −s(−φ), log(1−p) = −s(φ).
    """

    name = "bernoulli"
    sampler = density = ""
    bounded = maskable = False
    num_free = 0
    action_dtype: type[np.generic] = np.int64

    def __init__(self, dim: int):
        self.num_params = int(dim)
        self.action_shape: tuple[int, ...] = (self.num_params,)

    def start(self, log_std: float) -> Array:
        """Fair coins: logits of 0 (d,)."""
        return np.zeros(self.num_params)

    def noise(self, rng: np.random.Generator, n: int) -> Array:
        """Uniform u (n, d) in [0, 1)."""
        return rng.random((n, self.num_params))

    def from_noise(self, phi: Array, noise: Array) -> Array:
        """a = 1[u < p]."""
        return (noise < sigmoid(phi.astype(np.float64))).astype(np.int64)

    def sample(self, phi: Array, rng: np.random.Generator) -> Array:
        """Draw one action per row: (N, d) -> (N, d)."""
        return self.from_noise(phi, self.noise(rng, len(phi)))

    def mode(self, phi: Array) -> Array:
        """The more likely side of each coin; 0 where both are equally likely."""
        return (phi > 0).astype(np.int64)

    def log_prob(self, phi: Array, action: Array) -> Array:
        """Σ_i −s(−φ_i) where a_i = 1, −s(φ_i) where a_i = 0 -> (N,)."""
        return -np.asarray(softplus(np.where(action == 1, -phi, phi)).sum(axis=1))

    def dlog_prob(self, phi: Array, action: Array) -> Array:
        """a − p -> (N, d)."""
        return np.where(action == 1, sigmoid(-phi), -sigmoid(phi))

    def entropy(self, phi: Array) -> Array:
        """Σ_i p s(−φ_i) + (1−p) s(φ_i) -> (N,)."""
        return np.asarray((sigmoid(phi) * softplus(-phi) + sigmoid(-phi) * softplus(phi)).sum(axis=1))

    def dentropy(self, phi: Array) -> Array:
        """−p (1−p) φ -> (N, d)."""
        return -sigmoid(phi) * sigmoid(-phi) * phi

    def kl(self, phi_old: Array, phi_new: Array) -> Array:
        """D(old ‖ new) = Σ_i p log(p/q) + (1−p) log((1−p)/(1−q)) -> (N,), old first, clipped at 0. [KL-9]"""
        heads = softplus(-phi_new) - softplus(-phi_old)  # log p/q
        tails = softplus(phi_new) - softplus(phi_old)  # log (1−p)/(1−q)
        kl = sigmoid(phi_old) * heads + sigmoid(-phi_old) * tails  # [KL-9]
        return np.asarray(np.maximum(kl.sum(axis=1), 0))  # over the coins [KL-4]

    def dkl(self, phi_old: Array, phi_new: Array) -> Array:
        """∂ D(old ‖ new) / ∂φ_new = q − p -> (N, d)."""
        return sigmoid(phi_new) - sigmoid(phi_old)

    def fisher_vec(self, phi: Array, phi_dot: Array) -> Array:
        """F(φ) φ̇ = p (1−p) φ̇ -> (N, d). [TR-4]"""
        return sigmoid(phi) * sigmoid(-phi) * phi_dot  # [TR-4]
