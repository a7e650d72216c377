"""What the native environments share: gymnasium's vector interface around one call of a kernel per step."""

import math
import operator
from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from minirl import _core
from minirl._core.arguments import EnvArguments, PolicyArguments, RolloutArrays
from minirl.envs import memory
from minirl.envs.resumable import Resumable
from minirl.errors import EnvError
from minirl.files.tree import check_like
from minirl.numerics import random_streams


class NativeVectorEnv(VectorEnv, Resumable):
    """B copies of a problem, stepped together; transitions, seeds and infos as of a SyncVectorEnv of gymnasium's.

    num_envs: B
    max_episode_steps: truncation, gymnasium's limit unless given
    autoreset_mode: SAME_STEP, NEXT_STEP or DISABLED
    copy: hand out a copy of the observations, else one array that the next step overwrites
    render_mode: None or rgb_array
    """

    kernel: str  # name of the problem in _core
    single: str  # id of gymnasium's environment, from which come the spaces, the time limit and the pictures
    states: int  # S
    low: np.ndarray  # bounds of what a reset draws
    high: np.ndarray
    _one: Any = None  # gymnasium's environment

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.SAME_STEP,
        copy: bool = True,
        render_mode: str | None = None,
    ):
        spec = gymnasium.spec(self.single)
        limit = spec.max_episode_steps if max_episode_steps is None else max_episode_steps
        counts: dict[str, Any] = {"num_envs": num_envs, "max_episode_steps": limit}
        for name, value in counts.items():
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value < 1 << 31:
                raise EnvError(f"{name} = {value!r}: takes a whole number from 1 to {(1 << 31) - 1}")
        memory.refuse(("environments", memory.NATIVE * int(num_envs), {"num_envs": num_envs}))
        if render_mode not in (None, "rgb_array"):
            raise EnvError(f"render_mode = {render_mode!r}: takes None or 'rgb_array'")
        try:
            self.autoreset_mode = AutoresetMode(autoreset_mode)
        except ValueError:
            raise EnvError(
                f"autoreset_mode = {autoreset_mode!r}: takes one of {', '.join(m.value for m in AutoresetMode)}"
            ) from None
        self._one = gymnasium.make(self.single, render_mode=render_mode, disable_env_checker=True).unwrapped
        self.num_envs, self.copy, self.render_mode, self._limit = int(num_envs), copy, render_mode, int(limit)  # type: ignore[arg-type]
        self.metadata = self._one.metadata | {"render_modes": ["rgb_array"], "autoreset_mode": self.autoreset_mode}
        self.single_observation_space, self.single_action_space = self._one.observation_space, self._one.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._make_arrays()

    def _make_arrays(self) -> None:
        """What lives between steps: states and observations, one generator per environment, whose episode is over."""
        B, discrete = self.num_envs, isinstance(self.single_action_space, gymnasium.spaces.Discrete)
        # None: actions as they come, the kernel takes any integers.
        self._action_dtype = None if discrete else self.single_action_space.dtype
        self._generators: list[Any] = [None] * B
        self._seeds: list[int] = [-1] * B
        self._bits: list[Any] = [None] * B  # the generators' bit generators, as the kernel takes them
        self._state = np.zeros((B, self.states))
        self._steps = np.zeros(B, dtype=np.int64)  # since the reset
        self._obs = np.zeros((B, *self._one.observation_space.shape), dtype=np.float32)
        self._none = np.zeros(B, dtype=bool)
        # Episodes that are over and wait for their reset; the very array _none where there is none.
        self._awaiting_reset = self._none
        self._begun = False
        self._last_action: float | None = None  # of environment 0, for the picture

    @property
    def state(self) -> np.ndarray:
        """A copy of the states (B, S), float64."""
        return self._state.copy()

    @property
    def observations(self) -> np.ndarray:
        """What is seen now (B, D): the array itself, which the next step overwrites."""
        return self._obs

    @property
    def can_rollout(self) -> bool:
        """Whether `rollout` gives what `step` would: SAME_STEP, and `step` and `reset` are not overridden."""
        own = ("reset", "step", "_end", "_start")
        ours = all(
            getattr(type(self), name) is getattr(NativeVectorEnv, name) and name not in vars(self) for name in own
        )
        return ours and self.autoreset_mode is AutoresetMode.SAME_STEP and self._begun

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """New episodes -> obs (B, D), {}.

        seed: s for s, s+1, …; a list with one (or None) each; None goes on with the streams as they are.
        options: reset_mask (B,) bool resets these alone; low and high (Pendulum: x_init and y_init) bound the start.
        """
        options = options or {}
        rows = self._rows(options)
        low, high = self._bounds(options)
        self._seed(self._one_each(seed), rows)
        _core.env_reset(self.kernel, self._bits, rows, low, high, self._state, self._steps, self._obs)
        left = self._awaiting_reset & ~rows
        self._awaiting_reset = left if left.any() else self._none
        self._begun = True
        if rows[0]:
            self._last_action = None
        return self._obs.copy() if self.copy else self._obs, {}

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Actions (B,) or (B, 1) -> obs (B, D), reward (B,), terminated (B,), truncated (B,), info."""
        B, awaiting = self.num_envs, self._awaiting_reset
        if not self._begun:
            raise EnvError("step() before reset(): call reset() first")
        if awaiting is not self._none and self.autoreset_mode is AutoresetMode.DISABLED:
            raise EnvError(
                f"step() after an episode's end, env={int(np.argmax(awaiting))}: "
                "reset it with options={'reset_mask': mask}"
            )
        reward, terminated, truncated = np.empty(B), np.empty(B, dtype=bool), np.empty(B, dtype=bool)
        try:
            action = np.ascontiguousarray(actions, dtype=self._action_dtype)
            ended = _core.env_step(
                self.kernel,
                self._state,
                self._steps,
                action,
                awaiting,
                self._limit,
                self._obs,
                reward,
                terminated,
                truncated,
            )
        except (TypeError, ValueError) as why:
            raise EnvError(self._wrong_action(actions, awaiting, why)) from why
        if awaiting is not self._none:  # NEXT_STEP: this was the step that only resets them
            self._start(awaiting)
            self._awaiting_reset = self._none
        if self.render_mode:
            self._last_action = None if awaiting[0] else float(action.flat[0])
        info = self._end(terminated | truncated) if ended else {}
        return self._obs.copy() if self.copy else self._obs, reward, terminated, truncated, info

    def rollout(
        self, policy: PolicyArguments, noise: np.ndarray, out: tuple[np.ndarray, ...], spread: Any = None
    ) -> int:
        """A step per row of `noise` (T, B, …), `policy` choosing the actions -> how many were taken. SAME_STEP only.

        out: the fields of RolloutArrays
        spread: centre and half-range that a Gaussian's actions are in, None for 0 and 1

        What `reset` and `step` would have given one by one: _core's `env_rollout` says what the arguments are.
        """
        if not self.can_rollout:
            raise EnvError(
                "rollout(): takes environments that were reset, "
                "with autoreset_mode = SAME_STEP and minirl's own step and reset"
            )
        space: Any = self.single_action_space
        bounds = None
        if self._action_dtype is not None:
            bounds = np.concatenate(
                [np.ravel(x).astype(np.float64) for x in (space.low, space.high, *(spread or (0.0, 1.0)))]
            )
        env, arrays = EnvArguments(self.kernel, self._bits, self.low, self.high, self._limit), RolloutArrays(*out)
        done = _core.env_rollout(env, self._state, self._steps, self._obs, policy, noise, bounds, arrays)
        if self.render_mode and done:
            self._last_action = None if self._steps[0] == 0 else float(arrays.action[done - 1].flat[0])
        return done

    def snapshot(self) -> dict[str, Any] | None:
        """States, observations, generators: all that lives between steps, copied; None before the first reset."""
        if not self._begun:
            return None
        arrays = {"state": self._state, "steps": self._steps, "obs": self._obs, "awaiting": self._awaiting_reset}
        return {name: x.copy() for name, x in arrays.items()} | {
            "rngs": [random_streams.get_state(rng) for rng in self._generators],
            "seeds": list(self._seeds),
            "last_action": self._last_action,
        }

    def restore(self, tree: dict[str, Any]) -> np.ndarray:
        """Back to a snapshot of as many of these -> observations (B, D); EnvError for others."""
        mine = {"state": self._state, "steps": self._steps, "obs": self._obs, "awaiting": self._none}
        check_like({name: tree[name] for name in mine}, mine, "envs")
        if not len(tree["rngs"]) == len(tree["seeds"]) == self.num_envs:
            raise EnvError(f"a snapshot of {len(tree['rngs'])} environments: these are {self.num_envs}")
        self._state[:], self._steps[:], self._obs[:] = tree["state"], tree["steps"], tree["obs"]
        self._awaiting_reset = tree["awaiting"].copy() if tree["awaiting"].any() else self._none
        self._generators = [random_streams.from_state(state) for state in tree["rngs"]]
        self._bits = [rng.bit_generator for rng in self._generators]
        self._seeds, self._last_action, self._begun = list(tree["seeds"]), tree["last_action"], True
        return self._obs

    def _end(self, done: np.ndarray) -> dict[str, Any]:
        """Episodes of `done` are over: reset now (-> info with final observations), or later (`_awaiting_reset`)."""
        if self.autoreset_mode is not AutoresetMode.SAME_STEP:
            self._awaiting_reset = done
            return {}
        rows = done.nonzero()[0]
        final = np.empty(self.num_envs, dtype=object)  # None where no episode ended
        for b, obs in zip(rows.tolist(), self._obs[rows], strict=True):
            final[b] = obs
        self._start(done)
        return {"final_obs": final, "_final_obs": done, "final_info": {}, "_final_info": done.copy()}

    def _start(self, rows: np.ndarray) -> None:
        """New episodes for `rows`, from their own streams."""
        _core.env_reset(self.kernel, self._bits, rows, self.low, self.high, self._state, self._steps, self._obs)
        if rows[0]:
            self._last_action = None

    def _rows(self, options: dict[str, Any]) -> np.ndarray:
        """Which environments to reset (B,): all, or options["reset_mask"]."""
        B = self.num_envs
        mask = options.get("reset_mask")
        if mask is None:
            return np.ones(B, dtype=bool)
        if not isinstance(mask, np.ndarray) or mask.shape != (B,) or mask.dtype != np.bool_ or not mask.any():
            raise EnvError(f"reset_mask = {mask!r}: takes an array of {B} booleans, at least one of them True")
        if not self._begun and not mask.all():
            raise EnvError("reset_mask before the first reset(): reset all of them first")
        return np.ascontiguousarray(mask)

    def _bounds(self, options: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """low and high of the draws, each a number for all of them."""
        low = np.full(len(self.low), number("low", options.get("low", self.low[0])))
        high = np.full(len(self.high), number("high", options.get("high", self.high[0])))
        if low[0] > high[0]:
            raise EnvError(f"low = {low[0]}, high = {high[0]}: low has to be the lower one")
        return low, high

    def _one_each(self, seed: Any) -> list[Any]:
        """A seed or None per environment."""
        B = self.num_envs
        if seed is None:
            return [None] * B
        if np.ndim(seed) == 0:
            first = integer(seed)
            return [first + i for i in range(B)]
        if len(seed) != B:
            raise EnvError(f"seed of length {len(seed)}: takes a whole number, or {B} of them, one per environment")
        return [None if s is None else integer(s) for s in seed]

    def _seed(self, seeds: list[Any], rows: np.ndarray) -> None:
        """New streams for those of `rows` that have a seed, or that have no stream yet."""
        for b in np.flatnonzero(rows).tolist():
            if seeds[b] is not None or self._generators[b] is None:
                self._generators[b], self._seeds[b] = seeding.np_random(seeds[b])
                self._bits[b] = self._generators[b].bit_generator

    def _wrong_action(self, actions: Any, awaiting: np.ndarray, why: Exception) -> str:
        """What is wrong with actions that the kernel refused."""
        B, space = self.num_envs, self.single_action_space
        discrete = isinstance(space, gymnasium.spaces.Discrete)
        wanted = f"{B} whole numbers 0 to {space.n - 1}" if discrete else f"numbers of shape ({B}, 1)"  # type: ignore[attr-defined]
        try:
            action = np.asarray(actions, dtype=self._action_dtype)
        except (TypeError, ValueError):
            return f"actions = {actions!r}: takes {wanted}"
        if action.shape != self.action_space.shape:
            return f"actions of shape {action.shape}: takes {wanted}, one per environment"
        if discrete and action.dtype.kind not in "iu":
            return f"actions of type {action.dtype}: takes {wanted}"
        good = (action >= 0) & (action < space.n) if discrete else np.isfinite(action[:, 0])  # type: ignore[attr-defined]
        if (good | awaiting).all():
            return f"actions: {why}"
        env = int(np.argmin(good | awaiting))
        return (
            f"actions, env={env}: {action.flat[env]} is {'out of range' if discrete else 'not finite'}; takes {wanted}"
        )

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """The generators of the environments' first states."""
        self._seed([None] * self.num_envs, ~self._none)
        return tuple(self._generators)

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """What they were seeded with."""
        self._seed([None] * self.num_envs, ~self._none)
        return tuple(self._seeds)

    def render(self) -> tuple[Any, ...]:
        """A picture (H, W, 3) of environment 0, drawn by gymnasium, in a tuple."""
        if self.render_mode is None:
            raise EnvError("render() needs render_mode='rgb_array' when the environments are made")
        if not self._begun:
            raise EnvError("render() before reset(): call reset() first")
        return (self._picture(self._one),)

    def _picture(self, one: Any) -> Any:
        """What gymnasium's environment draws of our state."""
        one.state = self._state[0].copy()
        return one.render()

    def close_extras(self, **kwargs: Any) -> None:
        """Close gymnasium's environment, which holds the pictures; there is none when making this one has failed."""
        if self._one is not None:
            self._one.close()


def number(name: str, value: Any) -> float:
    """A finite number from the options of reset."""
    try:
        result = float(value)
    except (TypeError, ValueError):
        result = math.nan
    if not math.isfinite(result):
        raise EnvError(f"{name} = {value!r}: takes a finite number")
    return result


def integer(seed: Any) -> int:
    """A seed as gymnasium takes it."""
    try:
        result = -1 if isinstance(seed, bool) else operator.index(seed)
    except TypeError:
        result = -1
    if result < 0:
        raise EnvError(f"seed = {seed!r}: takes a whole number >= 0")
    return result
