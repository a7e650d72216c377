"""Networks of MAPPO: each policy sees what its agent sees, the critic what all of them see. [EXT-2]

Both read one row: [own observation (D) | what the critic sees (S)]. So batches, updates and normalisers are those of
one agent.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from minirl.models.critic import Critic
from minirl.models.distributions import Family
from minirl.models.input_pipeline import IDENTITY, ObsNormalizer
from minirl.models.mlp import Cache
from minirl.models.policy import Policy
from minirl.numerics.arrays import Array
from minirl.numerics.running_moments import RunningMoments


def first_columns(normalizer: ObsNormalizer, n: int) -> ObsNormalizer:
    """The normaliser of the first n columns."""
    m = normalizer.moments
    resolution = normalizer.resolution
    return replace(
        normalizer,
        moments=RunningMoments(m.mean[:n], m.m2[:n], m.count),
        resolution=resolution[:n] if isinstance(resolution, np.ndarray) else resolution,
    )


class LocalPolicy(Policy):
    """π(a|o): a policy that reads the first columns of a row, its own agent's observation, and no other. [EXT-2]"""

    def __init__(self, dist: Family, own: int, hidden: tuple[int, ...], activation: str):
        super().__init__(dist, own, hidden, activation)
        self.own = own

    def _local(self, x: Array) -> Array:
        return np.ascontiguousarray(x[:, : self.own])

    def forward(self, theta: Array, obs: Array, mask: Array | None = None) -> tuple[Array, Cache]:
        """φ (N, P) of rows (N, D + S), and the cache that vjp and jvp take."""
        return super().forward(theta, self._local(obs), mask)

    def infer(self, theta: Array, obs: Array, mask: Array | None = None) -> Array:
        """φ (N, P) alone."""
        return super().infer(theta, self._local(obs), mask)

    def actor(self, theta: Array, inputs: Any = IDENTITY) -> Callable[..., Array]:
        """(rows (N, D + S), noise, mask) -> actions, as of a policy that was never given the other columns."""
        mine = first_columns(inputs, self.own) if isinstance(inputs, ObsNormalizer) else inputs
        alone = Policy(self.dist, self.own, self.mlp.sizes[1:-1], self.mlp.activation).actor(theta, mine)
        return lambda obs, noise=None, mask=None: alone(self._local(obs), noise, mask)


class CentralCritic(Critic):
    """V(s) of all agents' observations, or Q(s, a) where their actions follow: columns after the first D. [EXT-2]"""

    def __init__(self, own: int, central: int, hidden: tuple[int, ...], activation: str, scaled: bool = False):
        super().__init__(central, hidden, activation, scaled)
        self.own = own

    def _central(self, x: Array) -> Array:
        return np.ascontiguousarray(x[:, self.own :])

    def forward(self, theta: Array, obs: Array) -> tuple[Array, Cache]:
        """V (N,) of rows (N, D + S), and the cache that vjp takes."""
        return super().forward(theta, self._central(obs))

    def value(self, theta: Array, obs: Array) -> Array:
        """V (N,) in float64."""
        return super().value(theta, self._central(obs))
