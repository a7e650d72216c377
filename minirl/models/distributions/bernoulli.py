"""d independent coins."""

import numpy as np

from minirl.numerics.gamma_functions import sigmoid, softplus


class Bernoulli:
    """d coins, φ = log p/(1−p) (N, d), action (N, d) of 0 and 1. With s(x) = ln(1 + eˣ): log p = −s(−φ), log(1−p) = −s(φ)."""

    name = "bernoulli"
    sampler = density = ""
    bounded = maskable = False
    num_free = 0
    action_dtype = np.int64

    def __init__(self, dim: int):
        self.num_params = int(dim)
        self.action_shape: tuple[int, ...] = (self.num_params,)

    def start(self, log_std):
        """Fair coins: logits of 0 (d,)."""
        return np.zeros(self.num_params)

    def noise(self, rng, n):
        """Uniform u (n, d) in [0, 1)."""
        return rng.random((n, self.num_params))

    def from_noise(self, phi, noise):
        """a = 1[u < p]."""
        return (noise < sigmoid(phi.astype(np.float64))).astype(np.int64)

    def sample(self, phi, rng):
        """Draw one action per row: (N, d) -> (N, d)."""
        return self.from_noise(phi, self.noise(rng, len(phi)))

    def mode(self, phi):
        """The likelier side of each coin, 0 of equals."""
        return (phi > 0).astype(np.int64)

    def log_prob(self, phi, action):
        """Σ_i −s(−φ_i) where a_i = 1, −s(φ_i) where a_i = 0 -> (N,)."""
        return -softplus(np.where(action == 1, -phi, phi)).sum(axis=1)

    def dlog_prob(self, phi, action):
        """a − p -> (N, d)."""
        return np.where(action == 1, sigmoid(-phi), -sigmoid(phi))

    def entropy(self, phi):
        """Σ_i p s(−φ_i) + (1−p) s(φ_i) -> (N,)."""
        return (sigmoid(phi) * softplus(-phi) + sigmoid(-phi) * softplus(phi)).sum(axis=1)

    def dentropy(self, phi):
        """−p (1−p) φ -> (N, d)."""
        return -sigmoid(phi) * sigmoid(-phi) * phi

    def kl(self, phi_old, phi_new):
        """D(old ‖ new) = Σ_i p log(p/q) + (1−p) log((1−p)/(1−q)) -> (N,), old first; rounding below 0 is cut off.   [KL-9]"""
        heads = softplus(-phi_new) - softplus(-phi_old)  # log p/q
        tails = softplus(phi_new) - softplus(phi_old)  # log (1−p)/(1−q)
        return np.maximum((sigmoid(phi_old) * heads + sigmoid(-phi_old) * tails).sum(axis=1), 0)  # [KL-9], summed over coins [KL-4]

    def dkl(self, phi_old, phi_new):
        """∂ D(old ‖ new) / ∂φ_new = q − p -> (N, d)."""
        return sigmoid(phi_new) - sigmoid(phi_old)

    def fisher_vec(self, phi, phi_dot):
        """F(φ) φ̇ = p (1−p) φ̇ -> (N, d).                                                                           [TR-4]"""
        return sigmoid(phi) * sigmoid(-phi) * phi_dot  # [TR-4]
