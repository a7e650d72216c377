"""The interface of distribution families, and what some have besides: flags declare it, nothing tests for a method."""

from typing import Protocol

import numpy as np

from minirl.numerics.arrays import Array


class Family(Protocol):
    """What an algorithm may ask of a distribution. N samples; action is (N,) for Categorical, (N, d) for the others.

    `action` is the raw one, as sampled and stored. spaces/actions.py converts it to what an environment takes; nothing
    converts back.
    """

    name: str
    num_params: int  # P
    num_free: int  # how many of the last φ do not depend on the state (they are parameters of their own, as log σ)
    sampler: str  # how the kernel policy_actor samples it: "categorical", "gaussian", or "" where it cannot
    density: str  # whose log π and H the kernel policy_surrogate uses for it, by the same names; "" where it cannot
    bounded: bool  # actions lie between bounds, and it is a BoundedFamily
    maskable: bool  # a logit of −∞ rules an action out, and it is a MaskableFamily
    action_shape: tuple[int, ...]
    action_dtype: type[np.generic]  # np.int64, or np.float64 for actions in the policy's own float type

    def start(
        self, log_std: float
    ) -> Array: ...  # φ (P,) of a new policy in every state, up to its small first weights
    def noise(self, rng: np.random.Generator, n: int) -> Array: ...  # n then m rows are the same numbers as n + m
    def from_noise(self, phi: Array, noise: Array) -> Array: ...
    def sample(self, phi: Array, rng: np.random.Generator) -> Array: ...
    def mode(self, phi: Array) -> Array: ...
    def log_prob(self, phi: Array, action: Array) -> Array: ...
    def dlog_prob(self, phi: Array, action: Array) -> Array: ...
    def entropy(self, phi: Array) -> Array: ...
    def dentropy(self, phi: Array) -> Array: ...
    def kl(self, phi_old: Array, phi_new: Array) -> Array: ...
    def dkl(self, phi_old: Array, phi_new: Array) -> Array: ...
    def fisher_vec(self, phi: Array, phi_dot: Array) -> Array: ...


class BoundedFamily(Family, Protocol):
    """One with `bounded = True`."""

    def unit(self, action: Array) -> Array: ...  # raw -> [0, 1], how far from low to high


class MaskableFamily(Family, Protocol):
    """One with `maskable = True`: its φ are the logits of one or more choices side by side."""

    num_actions: tuple[int, ...]  # of each choice

    def possible(self, mask: Array) -> Array: ...  # rows of a mask (N, P) that leave something to choose (N,)
