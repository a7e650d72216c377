"""One choice among K actions, and several choices at once. A logit of −∞ is an action that is not allowed."""

import numpy as np

from minirl import _core
from minirl.numerics.arrays import Array


class Categorical:
    """K actions, φ = logits (N, K)."""

    name = "categorical"
    sampler = density = "categorical"
    bounded, maskable = False, True
    num_free = 0
    action_shape: tuple[int, ...] = ()
    action_dtype: type[np.generic] = np.int64

    def __init__(self, num_actions: int):
        self.num_params = int(num_actions)
        self.num_actions = (self.num_params,)

    def start(self, log_std: float) -> Array:
        """Uniform: logits of 0 (K,)."""
        return np.zeros(self.num_params)

    def noise(self, rng: np.random.Generator, n: int) -> Array:
        """Uniform u (n,) in [0, 1): one number per action."""
        return rng.random(n)

    def from_noise(self, phi: Array, noise: Array) -> Array:
        """The action whose interval of the cumulative distribution contains u."""
        return _core.categorical_sample(phi, noise)

    def sample(self, phi: Array, rng: np.random.Generator) -> Array:
        """Draw one action per row: (N, K) -> (N,)."""
        return self.from_noise(phi, self.noise(rng, len(phi)))

    def mode(self, phi: Array) -> Array:
        """The most likely action, the first of equals."""
        return np.asarray(phi.argmax(axis=1))

    def possible(self, mask: Array) -> Array:
        """Which rows of a mask (N, K) leave an action to choose -> (N,) bool."""
        return np.asarray(mask.any(axis=1))

    log_prob = staticmethod(_core.categorical_log_prob)
    dlog_prob = staticmethod(_core.categorical_dlog_prob)
    entropy = staticmethod(_core.categorical_entropy)
    dentropy = staticmethod(_core.categorical_dentropy)
    kl = staticmethod(_core.categorical_kl)
    dkl = staticmethod(_core.categorical_dkl)
    fisher_vec = staticmethod(_core.categorical_fisher_vec)


class MultiCategorical:
    """m independent choices among K₁, …, K_m actions, φ = their logits side by side (N, ΣK), action (N, m).

    log π, H and KL are sums over the choices; derivatives and Fisher products are side by side, as the logits are.
    """

    name = "multi_categorical"
    sampler = density = ""
    bounded, maskable = False, True
    num_free = 0
    action_dtype: type[np.generic] = np.int64

    def __init__(self, num_actions: tuple[int, ...]):
        self.num_actions = tuple(int(k) for k in num_actions)
        self.num_params = sum(self.num_actions)
        self.action_shape: tuple[int, ...] = (len(self.num_actions),)
        ends = np.cumsum(self.num_actions)
        self.slices = [slice(end - k, end) for k, end in zip(self.num_actions, ends.tolist(), strict=True)]

    def start(self, log_std: float) -> Array:
        """Uniform: logits of 0 (ΣK,)."""
        return np.zeros(self.num_params)

    def noise(self, rng: np.random.Generator, n: int) -> Array:
        """Uniform u (n, m) in [0, 1): one number per choice."""
        return rng.random((n, len(self.slices)))

    def from_noise(self, phi: Array, noise: Array) -> Array:
        """Each choice by its own u -> (N, m)."""
        return np.stack([_core.categorical_sample(phi[:, s], noise[:, i]) for i, s in enumerate(self.slices)], axis=1)

    def sample(self, phi: Array, rng: np.random.Generator) -> Array:
        """Draw one action per row: (N, ΣK) -> (N, m)."""
        return self.from_noise(phi, self.noise(rng, len(phi)))

    def mode(self, phi: Array) -> Array:
        """The most likely action of each choice, the first of equals -> (N, m)."""
        return np.stack([phi[:, s].argmax(axis=1) for s in self.slices], axis=1)

    def possible(self, mask: Array) -> Array:
        """Which rows of a mask (N, ΣK) leave an action for each choice -> (N,) bool."""
        return np.asarray(np.all([mask[:, s].any(axis=1) for s in self.slices], axis=0))

    def log_prob(self, phi: Array, action: Array) -> Array:
        """Σ_i log π_i(a_i) -> (N,)."""
        terms = (_core.categorical_log_prob(phi[:, s], action[:, i]) for i, s in enumerate(self.slices))
        return sum(terms, np.zeros(len(phi), phi.dtype))

    def dlog_prob(self, phi: Array, action: Array) -> Array:
        """1[k = a_i] − p_k, choice by choice -> (N, ΣK)."""
        parts = [_core.categorical_dlog_prob(phi[:, s], action[:, i]) for i, s in enumerate(self.slices)]
        return np.concatenate(parts, axis=1)

    def entropy(self, phi: Array) -> Array:
        """Σ_i H_i -> (N,)."""
        return sum((_core.categorical_entropy(phi[:, s]) for s in self.slices), np.zeros(len(phi), phi.dtype))

    def dentropy(self, phi: Array) -> Array:
        """−p_k (log p_k + H_i), choice by choice -> (N, ΣK)."""
        return np.concatenate([_core.categorical_dentropy(phi[:, s]) for s in self.slices], axis=1)

    def kl(self, phi_old: Array, phi_new: Array) -> Array:
        """D(old ‖ new) = Σ_i D(old_i ‖ new_i) -> (N,), old first. [KL-4]"""
        terms = (_core.categorical_kl(phi_old[:, s], phi_new[:, s]) for s in self.slices)
        return sum(terms, np.zeros(len(phi_old), phi_old.dtype))  # [KL-4]

    def dkl(self, phi_old: Array, phi_new: Array) -> Array:
        """q − p, choice by choice -> (N, ΣK)."""
        return np.concatenate([_core.categorical_dkl(phi_old[:, s], phi_new[:, s]) for s in self.slices], axis=1)

    def fisher_vec(self, phi: Array, phi_dot: Array) -> Array:
        """F(φ) φ̇ = p ⊙ (φ̇ − p·φ̇), choice by choice -> (N, ΣK). [TR-4]"""
        return np.concatenate([_core.categorical_fisher_vec(phi[:, s], phi_dot[:, s]) for s in self.slices], axis=1)
