"""Action distributions: stateless families over their parameters φ (N, P).

A family is the same few functions for each: `sample`, `mode`, `log_prob`, `entropy`, `kl`, their derivatives in φ, and the
Fisher metric in φ. Old distribution first in every KL. The formulas stand in `_core/reference.py`, one function each.
"""

from typing import Protocol

import numpy as np

from minirl import _core


class Family(Protocol):
    """What an algorithm may ask of a distribution. N samples; action is (N,) for Categorical, (N, d) for Gaussians."""

    name: str
    num_params: int  # P
    num_free: int  # how many of the last φ do not depend on the state (they are parameters of their own, as log σ)
    action_shape: tuple[int, ...]

    def noise(self, rng: np.random.Generator, n: int) -> np.ndarray: ...
    def from_noise(self, phi: np.ndarray, noise: np.ndarray) -> np.ndarray: ...
    def sample(self, phi: np.ndarray, rng: np.random.Generator) -> np.ndarray: ...
    def mode(self, phi: np.ndarray) -> np.ndarray: ...
    def log_prob(self, phi: np.ndarray, action: np.ndarray) -> np.ndarray: ...
    def dlog_prob(self, phi: np.ndarray, action: np.ndarray) -> np.ndarray: ...
    def entropy(self, phi: np.ndarray) -> np.ndarray: ...
    def dentropy(self, phi: np.ndarray) -> np.ndarray: ...
    def kl(self, phi_old: np.ndarray, phi_new: np.ndarray) -> np.ndarray: ...
    def dkl(self, phi_old: np.ndarray, phi_new: np.ndarray) -> np.ndarray: ...
    def fisher_vec(self, phi: np.ndarray, phi_dot: np.ndarray) -> np.ndarray: ...


class Categorical:
    """K actions, φ = logits (N, K)."""

    name = "categorical"
    num_free = 0
    action_shape: tuple[int, ...] = ()
    action_dtype = np.int64

    def __init__(self, num_actions: int):
        self.num_params = int(num_actions)

    def noise(self, rng, n):
        """Uniform u (n,) in [0, 1): one number per action."""
        return rng.random(n)

    def from_noise(self, phi, noise):
        """The action whose stretch of the cumulative distribution holds u."""
        return _core.categorical_sample(phi, noise)

    def sample(self, phi, rng):
        """Draw one action per row: (N, K) -> (N,)."""
        return self.from_noise(phi, self.noise(rng, len(phi)))

    def mode(self, phi):
        """The likeliest action, the first of equals."""
        return phi.argmax(axis=1)

    log_prob = staticmethod(_core.categorical_log_prob)
    dlog_prob = staticmethod(_core.categorical_dlog_prob)
    entropy = staticmethod(_core.categorical_entropy)
    dentropy = staticmethod(_core.categorical_dentropy)
    kl = staticmethod(_core.categorical_kl)
    dkl = staticmethod(_core.categorical_dkl)
    fisher_vec = staticmethod(_core.categorical_fisher_vec)


class DiagGaussian:
    """d independent Gaussians, φ = [μ (d), log σ (d)]; log σ does not depend on the state."""

    name = "diag_gaussian"
    action_dtype = np.float64

    def __init__(self, dim: int):
        self.dim = int(dim)
        self.num_params = 2 * self.dim
        self.num_free = self.dim
        self.action_shape: tuple[int, ...] = (self.dim,)

    def noise(self, rng, n):
        """Standard normal z (n, d)."""
        return rng.standard_normal((n, self.dim))

    def from_noise(self, phi, noise):
        """a = μ + σ z."""
        return _core.gaussian_sample(phi, noise)

    def sample(self, phi, rng):
        """Draw one action per row: (N, 2d) -> (N, d)."""
        return self.from_noise(phi, self.noise(rng, len(phi)))

    def mode(self, phi):
        """μ."""
        return phi[:, : self.dim].copy()

    log_prob = staticmethod(_core.gaussian_log_prob)
    dlog_prob = staticmethod(_core.gaussian_dlog_prob)
    entropy = staticmethod(_core.gaussian_entropy)
    dentropy = staticmethod(_core.gaussian_dentropy)
    kl = staticmethod(_core.gaussian_kl)
    dkl = staticmethod(_core.gaussian_dkl)
    fisher_vec = staticmethod(_core.gaussian_fisher_vec)


FAMILIES = {"categorical": Categorical, "diag_gaussian": DiagGaussian}
