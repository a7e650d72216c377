"""Independent Gaussians, their log σ one parameter per dimension or one output of the network."""

import numpy as np

from minirl import _core
from minirl.numerics.arrays import Array


class DiagGaussian:
    """d independent Gaussians, φ = [μ (d), log σ (d)]; log σ does not depend on the state."""

    name = "diag_gaussian"
    sampler = density = "gaussian"
    bounded = maskable = False
    action_dtype: type[np.generic] = np.float64

    def __init__(self, dim: int):
        self.dim = int(dim)
        self.num_params = 2 * self.dim
        self.num_free = self.dim
        self.action_shape: tuple[int, ...] = (self.dim,)

    def start(self, log_std: float) -> Array:
        """μ = 0, log σ as given (2d,)."""
        return np.repeat([0.0, log_std], self.dim)

    def noise(self, rng: np.random.Generator, n: int) -> Array:
        """Standard normal z (n, d)."""
        return rng.standard_normal((n, self.dim))

    def from_noise(self, phi: Array, noise: Array) -> Array:
        """a = μ + σ z."""
        return _core.gaussian_sample(phi, noise)

    def sample(self, phi: Array, rng: np.random.Generator) -> Array:
        """Draw one action per row: (N, P) -> (N, d)."""
        return self.from_noise(phi, self.noise(rng, len(phi)))

    def mode(self, phi: Array) -> Array:
        """μ."""
        return phi[:, : self.dim].copy()

    log_prob = staticmethod(_core.gaussian_log_prob)
    dlog_prob = staticmethod(_core.gaussian_dlog_prob)
    entropy = staticmethod(_core.gaussian_entropy)
    dentropy = staticmethod(_core.gaussian_dentropy)
    kl = staticmethod(_core.gaussian_kl)
    dkl = staticmethod(_core.gaussian_dkl)
    fisher_vec = staticmethod(_core.gaussian_fisher_vec)


class StateGaussian(DiagGaussian):
    """The same, but log σ(s) is an output of the network, as μ(s) is: it may explore more in some states."""

    name = "state_gaussian"

    def __init__(self, dim: int):
        super().__init__(dim)
        self.num_free = 0
