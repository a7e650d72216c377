"""MPE's simple_spread, B copies in one call of a kernel: mpe2's simple_spread_v3, several hundred times faster."""

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding

from minirl import _core
from minirl._core.reference.simple_spread import MAX_AGENTS
from minirl.envs import memory
from minirl.envs.many_agents import Step
from minirl.envs.native.vector import integer
from minirl.envs.resumable import Resumable
from minirl.errors import EnvError
from minirl.files.tree import check_like
from minirl.numerics import random_streams

Array = np.ndarray[Any, Any]

BYTES = 2_000  # of one environment and agent, its generator with it


class SimpleSpread(Resumable):
    """N agents cover N landmarks and do not touch each other; the same states, rewards and observations as mpe2's.

    num_envs: B;  N: agents, and landmarks;  local_ratio: how much of a reward are the agent's own collisions
    max_cycles: steps to an episode, which is then truncated;  continuous_actions: 5 numbers in [0, 1], else one of 5
    sum_rewards: each agent gets the sum of all agents' rewards (its return is then mpe2's R), else its own
    """

    def __init__(
        self,
        num_envs: int,
        N: int = 3,
        local_ratio: float = 0.5,
        max_cycles: int = 25,
        continuous_actions: bool = False,
        sum_rewards: bool = False,
    ):
        whole_number("num_envs", num_envs, (1 << 31) - 1)
        whole_number("N", N, MAX_AGENTS)
        whole_number("max_cycles", max_cycles, (1 << 31) - 1)
        if not isinstance(local_ratio, int | float) or not 0 <= local_ratio <= 1:
            raise EnvError(f"local_ratio = {local_ratio!r}: takes a number from 0 to 1")
        memory.refuse(("environments", BYTES * num_envs * N, {"num_envs": num_envs, "N": N}))
        self.num_envs, self._local_ratio, self._limit, self._sum = num_envs, float(local_ratio), max_cycles, sum_rewards
        self._names = tuple(f"agent_{i}" for i in range(N))  # in the kernel's order
        self.agents = tuple(sorted(self._names))  # agent_10 stands before agent_2
        self._order = None if self.agents == self._names else [int(name[6:]) for name in self.agents]
        seen = spaces.Box(-np.inf, np.inf, (6 * N,), np.float32)
        action = spaces.Box(0, 1, (5,), np.float32) if continuous_actions else spaces.Discrete(5)
        self.observation_spaces: dict[str, Any] = dict.fromkeys(self.agents, seen)
        self.action_spaces: dict[str, Any] = dict.fromkeys(self.agents, action)
        self._action_type = (np.float32, (num_envs, 5)) if continuous_actions else (None, (num_envs,))
        self.masks: dict[str, Array] = {}
        self.alive = np.ones((num_envs, N), bool)  # all of them, always
        self._never = np.zeros((num_envs, N), bool)
        self.alive.flags.writeable = self._never.flags.writeable = False
        self._state = np.zeros((num_envs, 6 * N))
        self._seen_shape = (N, *self._state.shape)
        self._steps = np.zeros(num_envs, np.int64)
        self._generators: list[np.random.Generator] = []
        self._bits: list[Any] = []

    @property
    def state(self) -> Array:
        """A copy of the states (B, 6 N): positions (N, 2), velocities, landmarks of agent_0, agent_1, …; float64."""
        return self._state.copy()

    def reset(self, seeds: list[int]) -> dict[str, Array]:
        """New games, one seed for each -> first observations, id -> (B, 6 N)."""
        if len(seeds) != self.num_envs:
            raise EnvError(f"{len(seeds)} seeds: takes {self.num_envs}, one for each environment")
        self._generators = [rng for rng, _ in (seeding.np_random(integer(seed)) for seed in seeds)]
        self._bits = [rng.bit_generator for rng in self._generators]
        obs = self._empty()
        _core.spread_reset(self._bits, np.ones(self.num_envs, bool), self._state, self._steps, obs)
        return self._by_name(obs)

    def step(self, actions: dict[str, Array]) -> Step:
        """Actions id -> (B,) in 0..4 (nothing, left, right, down, up) or (B, 5) -> what happened."""
        if not self._bits:
            raise EnvError("step() before reset(): call reset() first")
        B, N = self.num_envs, len(self.agents)
        obs, reward, cut = self._empty(), np.empty((B, N)), np.empty(B, bool)
        action = self._stacked(actions)
        try:
            ended = _core.spread_step(
                self._state, self._steps, action, self._limit, self._local_ratio, obs, reward, cut
            )
        except (TypeError, ValueError) as why:
            raise EnvError(f"actions: {why}") from why
        led_to, after, truncated = self._by_name(obs), None, self._never
        if ended:
            obs = obs.copy()
            _core.spread_reset(self._bits, cut, self._state, self._steps, obs)
            after, truncated = self._by_name(obs), np.repeat(cut[:, None], N, axis=1)
        if self._sum:
            reward = np.repeat(reward.sum(axis=1, keepdims=True), N, axis=1)
        elif self._order:
            reward = np.ascontiguousarray(reward[:, self._order])
        return Step(led_to, after or led_to, reward, self._never, truncated, self.alive, {})

    def snapshot(self) -> dict[str, Any] | None:
        """States and generators, copied; None before the first reset."""
        if not self._bits:
            return None
        rngs = [random_streams.get_state(rng) for rng in self._generators]
        return {"state": self._state.copy(), "steps": self._steps.copy(), "rngs": rngs}

    def restore(self, tree: dict[str, Any]) -> None:
        """Back to a snapshot of as many games; EnvError for others."""
        mine = {"state": self._state, "steps": self._steps}
        check_like({name: tree[name] for name in mine}, mine, "envs")
        if len(tree["rngs"]) != self.num_envs:
            raise EnvError(f"a snapshot of {len(tree['rngs'])} games: these are {self.num_envs}")
        self._state[:], self._steps[:] = tree["state"], tree["steps"]
        self._generators = [random_streams.from_state(state) for state in tree["rngs"]]
        self._bits = [rng.bit_generator for rng in self._generators]

    def close(self) -> None:
        """There is nothing to close."""

    def _empty(self) -> Array:
        return np.empty(self._seen_shape, np.float32)

    def _by_name(self, obs: Array) -> dict[str, Array]:
        """Views, id -> (B, 6 N)."""
        found = dict(zip(self._names, obs, strict=False))  # as many of both; looking takes a tenth of a step
        return {name: found[name] for name in self.agents} if self._order else found

    def _stacked(self, actions: dict[str, Array]) -> Array:
        """The kernel's array, (N, B) or (N, B, 5); EnvError where somebody's are missing or of another shape."""
        dtype, shape = self._action_type
        try:
            found = [actions[name] for name in self._names]
        except KeyError as why:
            raise EnvError(f"actions without agent {why}: takes those of {', '.join(self.agents)}") from why
        for i, each in enumerate(found):
            if type(each) is not np.ndarray or dtype is not None:
                found[i] = each = np.asarray(each, dtype)
            if each.shape != shape:
                raise EnvError(f"actions of agent {self._names[i]!r} have shape {each.shape}: takes {shape}")
        return np.concatenate(found).reshape(len(found), *shape)  # np.stack takes three times as long


def whole_number(name: str, value: Any, most: int) -> None:
    """EnvError for what is none from 1 to `most`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value <= most:
        raise EnvError(f"{name} = {value!r}: takes a whole number from 1 to {most}")
