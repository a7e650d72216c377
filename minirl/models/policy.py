"""The policy: φ(s) from θ, and the two products of its Jacobian. Adds the state-independent log σ to the network's output."""

from collections.abc import Callable
from typing import Any, TypeGuard

import numpy as np

from minirl import _core
from minirl._core.arguments import PolicyArguments
from minirl.models.distributions import Family
from minirl.models.input_pipeline import IDENTITY, LIMIT, AffineInputs, Inputs
from minirl.models.mlp import MLP

HEAD_GAIN = 0.01  # a small last layer: the first policy is near uniform (or near mean 0) in every state


def masked(phi: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """φ with −∞ as the logit of each action that is not allowed: its probability, entropy, KL, Fisher and gradient are 0 by themselves."""
    return phi if mask is None else np.where(mask, phi, phi.dtype.type(-np.inf))


class Policy:
    """π_θ(a|s) = family(φ), φ (N, P) = [MLP(s), free parameters]; θ (n,) = [θ of the MLP, free parameters].

    Holds shapes only. `forward`, `vjp` and `jvp` are the whole contact between an algorithm and the network.
    """

    def __init__(self, dist: Family, obs_dim: int, hidden: tuple[int, ...], activation: str):
        self.dist = dist
        self.mlp = MLP((obs_dim, *hidden, dist.num_params - dist.num_free), activation)
        self.num_params = self.mlp.num_params + dist.num_free

    def init(self, rng: np.random.Generator, log_std: float, dtype: Any = np.float32) -> np.ndarray:
        """Orthogonal weights with a 0.01 head, its biases and the free parameters where the family starts -> θ (n,)."""
        start = self.dist.start(log_std).astype(dtype)
        outputs = len(start) - self.dist.num_free
        theta = np.concatenate([self.mlp.init(rng, HEAD_GAIN, dtype), start[outputs:]])
        theta[self.mlp.num_params - outputs : self.mlp.num_params] = start[:outputs]  # the biases of the last layer
        return theta

    def split(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """θ of the MLP, and the free parameters."""
        return theta[: self.mlp.num_params], theta[self.mlp.num_params :]

    def forward(self, theta: np.ndarray, obs: np.ndarray, mask: np.ndarray | None = None) -> tuple[np.ndarray, Any]:
        """obs (N, D), mask (N, P) -> φ (N, P) and the cache that vjp and jvp take."""
        phi, cache = self.mlp.forward(theta, obs, self.dist.num_free)
        return masked(phi, mask), cache

    def infer(self, theta: np.ndarray, obs: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """φ (N, P) alone, for acting."""
        return masked(self.mlp.infer(theta, obs, self.dist.num_free), mask)

    def actor(self, theta: np.ndarray, inputs: Inputs = IDENTITY) -> Callable[..., np.ndarray]:
        """The function (obs (N, D), noise, mask) -> actions, with θ and what stands before the network (`inputs`) as they are now.

        noise: the family's, or None for the likeliest actions. In one call where a kernel knows the family.
        """

        def in_steps(obs: np.ndarray, noise: Any = None, mask: np.ndarray | None = None) -> np.ndarray:
            phi = self.infer(theta, inputs(obs), mask)
            return self.dist.mode(phi) if noise is None else self.dist.from_noise(phi, noise)

        if not self.in_one_call(inputs):
            return in_steps
        act = _core.policy_actor(*self.act_arguments(theta, inputs))

        def at_once(obs: np.ndarray, noise: Any = None, mask: np.ndarray | None = None) -> np.ndarray:
            return act(obs, noise) if mask is None else in_steps(obs, noise, mask)

        return at_once

    def in_one_call(self, inputs: Inputs) -> TypeGuard[AffineInputs]:
        """Whether `policy_actor` knows the family, and what stands before the network."""
        return bool(self.dist.sampler) and isinstance(inputs, AffineInputs)

    def act_arguments(self, theta: np.ndarray, inputs: AffineInputs) -> PolicyArguments:
        """The arguments of `policy_actor`."""
        mean, inv_std = inputs.affine
        mlp, dist = self.mlp, self.dist
        return PolicyArguments(theta, mean, inv_std, LIMIT, mlp.sizes, mlp.activation, dist.num_free, dist.sampler)

    def vjp(self, theta: np.ndarray, cache: Any, dphi: np.ndarray) -> np.ndarray:
        """Jᵀ dφ: (N, P) -> (n,), summed over the samples."""
        return self.mlp.vjp(theta, cache, dphi, self.dist.num_free)

    def jvp(self, theta: np.ndarray, cache: Any, theta_dot: np.ndarray) -> np.ndarray:
        """J θ̇: (n,) -> φ̇ (N, P)."""
        return self.mlp.jvp(theta, cache, theta_dot, self.dist.num_free)
