"""Policy and critic, and the one flat θ (n,) of both. Shapes only: the parameters are in the algorithm's state."""

from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np

from minirl import _core
from minirl.models.critic import Critic
from minirl.models.mlp import MLP, Cache
from minirl.models.policy import Policy, masked
from minirl.numerics.arrays import Array

Caches: TypeAlias = tuple[Cache, Cache]  # the policy's and the critic's, () where the two share their layers


class Networks(NamedTuple):
    """π_θ and V_θ, separate: fitting one cannot move the other. θ = [θ_π, θ_V]."""

    policy: Policy
    critic: Critic

    @property
    def shared(self) -> bool:
        """Whether the hidden layers serve both."""
        return False

    def join(self, theta_pi: Array, theta_v: Array) -> Array:
        """θ of both, a copy."""
        return np.concatenate([theta_pi, theta_v])

    def split(self, theta: Array) -> tuple[Array, Array]:
        """θ_π and θ_V, each as its own class takes it."""
        return theta[: self.policy.num_params], theta[self.policy.num_params :]

    def value(self, theta: Array, obs: Array) -> Array:
        """V (N,) in float64, of θ of both."""
        _, theta_v = self.split(theta)
        return self.critic.value(theta_v, obs)

    def policy_alone(self, theta: Array) -> Array:
        """The part of θ, or of a gradient, that the value loss does not depend on."""
        return theta[: self.policy.num_params]

    def forward(self, theta: Array, obs: Array, mask: Array | None = None) -> tuple[Array, Array, Caches]:
        """obs (N, D) -> φ (N, P), V (N,) and the cache that vjp takes."""
        theta_pi, theta_v = self.split(theta)
        phi, cache_pi = self.policy.forward(theta_pi, obs, mask)
        value, cache_v = self.critic.forward(theta_v, obs)
        return phi, value, (cache_pi, cache_v)

    def vjp(self, theta: Array, cache: Caches, dphi: Array, dvalue: Array) -> Array:
        """The gradient in θ (n,) of a loss with the gradients dφ (N, P) and dV (N,)."""
        theta_pi, theta_v = self.split(theta)
        return np.concatenate([self.policy.vjp(theta_pi, cache[0], dphi), self.critic.vjp(theta_v, cache[1], dvalue)])


class SharedNetworks(Networks):
    """One trunk, two heads: a single MLP whose output columns are the policy's and V.

    θ = [trunk, heads, free parameters of π, μ and σ of a scaled critic]. For updates with one
    gradient of both losses.
    """

    @property
    def shared(self) -> bool:
        return True

    @cached_property
    def mlp(self) -> MLP:
        """The trunk with both heads."""
        sizes = self.policy.mlp.sizes
        return MLP((*sizes[:-1], sizes[-1] + 1), self.policy.mlp.activation)

    def join(self, theta_pi: Array, theta_v: Array) -> Array:
        """θ with the trunk of θ_π; that of θ_V is not used."""
        weights, free = self.policy.split(theta_pi)
        weights_v, scale = self.critic.split(theta_v)
        *_, (weight, bias) = _core.mlp_layers(weights, self.policy.mlp.sizes)
        *_, (weight_v, bias_v) = _core.mlp_layers(weights_v, self.critic.mlp.sizes)
        trunk = weights[: len(weights) - weight.size - bias.size]
        return np.concatenate([trunk, np.hstack([weight, weight_v]).ravel(), bias, bias_v, free, scale])

    def split(self, theta: Array) -> tuple[Array, Array]:
        """θ_π and θ_V, copies, the trunk in each of them."""
        n = self.mlp.num_params
        *_, (weight, bias) = _core.mlp_layers(theta[:n], self.mlp.sizes)
        trunk, rest = theta[: n - weight.size - bias.size], theta[n:]
        free, scale = rest[: self.policy.dist.num_free], rest[self.policy.dist.num_free :]
        theta_pi = np.concatenate([trunk, weight[:, :-1].ravel(), bias[:-1], free])
        return theta_pi, np.concatenate([trunk, weight[:, -1], bias[-1:], scale])

    def policy_alone(self, theta: Array) -> Array:
        """π's head and free parameters, a copy."""
        n, free = self.mlp.num_params, self.policy.dist.num_free
        *_, (weight, bias) = _core.mlp_layers(theta[:n], self.mlp.sizes)
        return np.concatenate([weight[:, :-1].ravel(), bias[:-1], theta[n : n + free]])

    def forward(self, theta: Array, obs: Array, mask: Array | None = None) -> tuple[Array, Array, Caches]:
        """obs (N, D) -> φ (N, P), V (N,) and the cache that vjp takes, in one pass."""
        n, free = self.mlp.num_params, self.policy.dist.num_free
        y, cache = self.mlp.forward(theta[:n], obs)
        phi = np.hstack([y[:, :-1], np.broadcast_to(theta[n : n + free], (len(y), free))])
        return masked(phi, mask), self.critic.scale(theta, y[:, -1]), (cache, ())

    def vjp(self, theta: Array, cache: Caches, dphi: Array, dvalue: Array) -> Array:
        """The gradient in θ (n,): the trunk's is the sum over both heads."""
        n, free = self.mlp.num_params, self.policy.dist.num_free
        outputs = self.mlp.sizes[-1] - 1
        dy = np.hstack([dphi[:, :outputs], (dvalue * self.critic.unit(theta)).astype(theta.dtype)[:, None]])
        rest = np.zeros(len(theta) - n, theta.dtype)  # μ and σ have no gradient
        rest[:free] = dphi[:, outputs:].sum(axis=0, dtype=np.float64)
        return np.concatenate([self.mlp.vjp(theta[:n], cache[0], dy), rest])
