"""The policy: φ(s) from θ, and the two products of its Jacobian."""

from typing import Protocol, TypeGuard

import numpy as np
import numpy.typing as npt

from minirl import _core
from minirl._core.arguments import PolicyArguments
from minirl.models.distributions import Family
from minirl.models.input_pipeline import IDENTITY, LIMIT, AffinePreprocess, Preprocess
from minirl.models.mlp import MLP, Cache
from minirl.numerics.arrays import Array

HEAD_GAIN = 0.01  # a small last layer: the first policy is near uniform (or near mean 0) in every state


def masked(phi: Array, mask: Array | None) -> Array:
    """φ with −∞ as the logit of each action that is not allowed.

    That makes its probability and its share of the entropy, KL, Fisher metric and gradient 0.
    """
    return phi if mask is None else np.where(mask, phi, phi.dtype.type(-np.inf))


class Actor(Protocol):
    """The policy as a function of observations, with θ and the preprocessing fixed."""

    def __call__(self, obs: Array, noise: Array | None = None, mask: Array | None = None, /) -> Array:
        """obs (N, D), noise as of Family.noise, mask (N, P) -> actions."""
        ...


class Policy:
    """π_θ(a|s) = family(φ), φ (N, P) = [MLP(s), free parameters]; θ (n,) = [θ of the MLP, free parameters].

    Holds shapes only. `forward`, `vjp` and `jvp` are all that an algorithm needs of the network.
    """

    def __init__(self, dist: Family, num_inputs: int, hidden: tuple[int, ...], activation: str):
        self.dist = dist
        self.mlp = MLP((num_inputs, *hidden, dist.num_params - dist.num_free), activation)
        self.num_params = self.mlp.num_params + dist.num_free

    def init(self, rng: np.random.Generator, log_std: float, dtype: npt.DTypeLike = np.float32) -> Array:
        """Orthogonal weights with a 0.01 head, its biases and the free parameters where the family starts -> θ (n,)."""
        start = self.dist.start(log_std).astype(dtype)
        outputs = len(start) - self.dist.num_free
        theta = np.concatenate([self.mlp.init(rng, HEAD_GAIN, dtype), start[outputs:]])
        theta[self.mlp.num_params - outputs : self.mlp.num_params] = start[:outputs]  # the biases of the last layer
        return theta

    def split(self, theta: Array) -> tuple[Array, Array]:
        """θ of the MLP, and the free parameters."""
        return theta[: self.mlp.num_params], theta[self.mlp.num_params :]

    def forward(self, theta: Array, obs: Array, mask: Array | None = None) -> tuple[Array, Cache]:
        """obs (N, D), mask (N, P) -> φ (N, P) and the cache that vjp and jvp take."""
        phi, cache = self.mlp.forward(theta, obs, self.dist.num_free)
        return masked(phi, mask), cache

    def infer(self, theta: Array, obs: Array, mask: Array | None = None) -> Array:
        """φ (N, P) alone, for acting."""
        return masked(self.mlp.infer(theta, obs, self.dist.num_free), mask)

    def actor(self, theta: Array, preprocess: Preprocess = IDENTITY) -> Actor:
        """The function (obs (N, D), noise, mask) -> actions for this θ and preprocessing of the observations.

        noise: the family's, or None for the most likely actions. One kernel call where a kernel implements the family.
        """

        def in_steps(obs: Array, noise: Array | None = None, mask: Array | None = None) -> Array:
            phi = self.infer(theta, preprocess(obs), mask)
            return self.dist.mode(phi) if noise is None else self.dist.from_noise(phi, noise)

        if not self.in_one_call(preprocess):
            return in_steps
        act = _core.policy_actor(*self.act_arguments(theta, preprocess))

        def at_once(obs: Array, noise: Array | None = None, mask: Array | None = None) -> Array:
            return act(obs, noise) if mask is None else in_steps(obs, noise, mask)

        return at_once

    def in_one_call(self, preprocess: Preprocess) -> TypeGuard[AffinePreprocess]:
        """Whether the kernel `policy_actor` implements the family and the preprocessing."""
        return bool(self.dist.sampler) and isinstance(preprocess, AffinePreprocess)

    def act_arguments(self, theta: Array, preprocess: AffinePreprocess) -> PolicyArguments:
        """The arguments of `policy_actor`."""
        mean, inv_std = preprocess.affine
        mlp, dist = self.mlp, self.dist
        return PolicyArguments(theta, mean, inv_std, LIMIT, mlp.sizes, mlp.activation, dist.num_free, dist.sampler)

    def vjp(self, theta: Array, cache: Cache, dphi: Array) -> Array:
        """Jᵀ dφ: (N, P) -> (n,), summed over the samples."""
        return self.mlp.vjp(theta, cache, dphi, self.dist.num_free)

    def jvp(self, theta: Array, cache: Cache, theta_dot: Array) -> Array:
        """J θ̇: (n,) -> φ̇ (N, P)."""
        return self.mlp.jvp(theta, cache, theta_dot, self.dist.num_free)
