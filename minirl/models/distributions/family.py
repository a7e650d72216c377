"""What every distribution family has, and what some have besides: each says so itself, nobody looks for a method."""

from typing import Any, Protocol

import numpy as np


class Family(Protocol):
    """What an algorithm may ask of a distribution. N samples; action is (N,) for Categorical, (N, d) for the others.

    `action` is the raw one, as sampled and stored. What an environment gets is made of it in spaces/actions.py, and
    never converted back.
    """

    name: str
    num_params: int  # P
    num_free: int  # how many of the last φ do not depend on the state (they are parameters of their own, as log σ)
    sampler: str  # how policy_actor samples it in one call: "categorical", "gaussian", or "" where only `from_noise` can
    density: str  # whose log π and H policy_surrogate takes for it, by the same names; "" where only its own will do
    bounded: bool  # actions lie between bounds, and it is a BoundedFamily
    maskable: bool  # a logit of −∞ rules an action out, and it is a MaskableFamily
    action_shape: tuple[int, ...]
    action_dtype: Any  # np.int64, or np.float64 for actions in the policy's own float type

    def start(self, log_std: float) -> np.ndarray: ...  # φ (P,) that a new policy has in every state, but for its small first weights
    def noise(self, rng: np.random.Generator, n: int) -> np.ndarray: ...  # n then m rows are the same numbers as n + m
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


class BoundedFamily(Family, Protocol):
    """One with `bounded = True`."""

    def unit(self, action: np.ndarray) -> np.ndarray: ...  # raw -> [0, 1], how far from low to high


class MaskableFamily(Family, Protocol):
    """One with `maskable = True`: its φ are the logits of one or more choices side by side."""

    num_actions: tuple[int, ...]  # of each choice

    def possible(self, mask: np.ndarray) -> np.ndarray: ...  # rows of a mask (N, P) that leave something to choose (N,)
