"""gymnasium's environments one after the other, with less around them than in gymnasium's own vector."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array, iterate

from minirl.envs.contract import KEY, as_flag, as_mask, fitted, mask_size
from minirl.envs.faults import close, raise_placed
from minirl.envs.opener import Opener
from minirl.envs.resumable import EpisodeLog, Resumable, beginning, replayed

ARRAYS = (spaces.Box, spaces.MultiDiscrete, spaces.MultiBinary)  # a batch of them is one array, a row per environment


class SerialVectorEnv(SyncVectorEnv, Resumable):
    """A SyncVectorEnv with SAME_STEP that gives the same, but in `step` spends a fifth of the time on it.

    The observations are one array that the next step overwrites; final_obs are copies, since the reset comes before
    they are handed over and may write into their array. What does not fit the spaces is an EnvError that names
    environment and step. Of gymnasium's class nothing private is used.
    """

    # The infos that are handed on, besides final_obs; None: all of them. A collector sets it to what it reads.
    kept: tuple[str, ...] | None = None

    def __init__(self, env_fns: Sequence[Callable[[], Any]]):
        openers = [Opener(make) for make in env_fns]
        try:
            super().__init__(openers, copy=False, autoreset_mode=AutoresetMode.SAME_STEP)
        except BaseException:
            self.closed = True
            for opener in openers:
                for env in opener.opened:
                    close(env, "the environment")
            raise
        space: Any = self.single_observation_space
        # Of the observations, where they are one array.
        self._row = (space.shape, space.dtype) if type(space) is spaces.Box else None
        self._buffer: Any = create_empty_array(space, n=self.num_envs, fn=np.zeros)
        self._numbers = (int, np.int64) if type(space) is spaces.Discrete else ()  # types that need no second look
        self._seen: list[Any] = [None] * self.num_envs  # the last observation of each, where they are not one array
        self._action_rows = type(self.action_space) in ARRAYS
        self._mask_size = mask_size(self.single_action_space)
        self._taken = 0  # steps, for messages
        self.log: EpisodeLog | None = None  # how the episodes came to where they are, where somebody saves that

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """New episodes -> observations, infos.

        seed: s for s, s + 1, …; a list with one (or None) each.  options: reset_mask (B,) bool resets these alone.
        """
        seeds, rows, options = reset_arguments(seed, options, self.num_envs)
        infos: dict[str, Any] = {}
        for i in rows:
            try:
                how = None if self.log is None or options else beginning(self.envs[i], seeds[i])
                obs, info = self.envs[i].reset(seed=seeds[i], options=options)
                self._keep(i, obs, info, infos)
                if self.log is not None:
                    self.log.began(i, how)
            except BaseException as why:
                raise_placed(why, f"env={i}, step={self._taken}")
        return self._observed(), infos

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """An action for each -> observations, reward (B,), terminated (B,), truncated (B,), infos."""
        B, rows, seen = self.num_envs, self._buffer, self._seen
        row, numbers = (self._row, self._numbers) if self.kept == () else (None, ())
        envs: Any = self.envs
        each = (
            actions if self._action_rows and type(actions) is np.ndarray else list(iterate(self.action_space, actions))
        )
        if len(each) != B:
            raise ValueError(f"{len(each)} actions: it takes {B}, one for each environment")
        reward, terminated, truncated = np.empty(B), np.empty(B, bool), np.empty(B, bool)
        infos: dict[str, Any] = {}
        self._taken += 1
        if self.log is not None:
            self.log.acted(actions)
        try:
            for i, env in enumerate(envs):
                obs, reward[i], over, stopped, info = env.step(each[i])
                if type(over) is not bool or type(stopped) is not bool:
                    over, stopped = as_flag("terminated", over), as_flag("truncated", stopped)
                terminated[i], truncated[i] = over, stopped
                if over or stopped:
                    self._end(i, obs, info, infos)
                    if self.log is not None:
                        self.log.began(i, beginning(env, None))
                    obs, info = env.reset()
                if row is not None and type(obs) is np.ndarray and (obs.shape, obs.dtype) == row:
                    rows[i] = obs  # the usual case
                elif type(obs) in numbers:
                    seen[i] = obs
                else:
                    self._keep(i, obs, info, infos)
        except BaseException as why:
            raise_placed(why, f"env={i}, step={self._taken}")
        return self._observed(), reward, terminated, truncated, infos

    def _keep(self, i: int, obs: Any, info: dict[str, Any], infos: dict[str, Any]) -> None:
        """Take in what environment i returned, if it fits, and add what is kept of its info to `infos`."""
        fit = fitted(self.single_observation_space, obs)
        if self._row is not None:
            self._buffer[i] = fit
        else:
            self._seen[i] = fit
        if self.kept is not None:
            info = {key: info[key] for key in self.kept if key in info}
            if KEY in info:
                info[KEY] = as_mask(self._mask_size, info[KEY])
        if info:
            add_info(infos, info, i, self.num_envs)

    def _end(self, i: int, obs: Any, info: dict[str, Any], infos: dict[str, Any]) -> None:
        """Environment i has ended an episode with this observation and info, which is not read unless all are kept."""
        fitted(self.single_observation_space, obs)
        last = {"final_obs": copy.deepcopy(obs)}
        add_info(infos, last | {"final_info": info} if self.kept is None else last, i, self.num_envs)

    def _observed(self) -> Any:
        if self._row is None:  # parts, or numbers
            self._buffer = concatenate(self.single_observation_space, self._seen, self._buffer)
        return self._buffer

    def record(self) -> None:
        """From the next reset on, remember what `snapshot` needs."""
        self.log = EpisodeLog(self.num_envs)

    def forget(self) -> None:
        """Drop what belongs to episodes that are over."""
        if self.log is not None:
            self.log.forget()

    def snapshot(self) -> dict[str, Any] | None:
        """How each episode began, and the actions since; None where an environment's generator cannot be saved."""
        return self.log.tree() if self.log is not None and self.repeats else None

    def restore(self, tree: dict[str, Any]) -> Any:
        """Play the episodes of a snapshot again -> observations; EnvError where they end, or an environment raises."""
        self.record()
        assert self.log is not None
        self.log.take(tree)
        self._taken = self.log.taken
        self.paid = paid = np.zeros(self.num_envs)
        for i, env in enumerate(self.envs):
            try:
                obs, info, paid[i] = replayed(env, *self.log.of(i))
                self._keep(i, obs, info, {})
            except BaseException as why:
                raise_placed(why, f"env={i}, step={self._taken}")
        return self._observed()

    def close_extras(self, **kwargs: Any) -> None:
        """Close every environment, also when one of them raises."""
        for i, env in enumerate(self.envs):
            close(env, f"env={i}")


def reset_arguments(seed: Any, options: Any, num_envs: int) -> tuple[list[int | None], list[int], Any]:
    """A vector's arguments of reset -> a seed or None each, the environments to reset, the options for these."""
    seeds = [seed + i for i in range(num_envs)] if isinstance(seed, int) else seed
    if seeds is None:
        seeds = [None] * num_envs
    if len(seeds) != num_envs:
        raise ValueError(f"{len(seeds)} seeds: it takes {num_envs}, one for each environment")
    rows = (options or {}).get("reset_mask", np.ones(num_envs, bool))
    if not isinstance(rows, np.ndarray) or rows.shape != (num_envs,) or rows.dtype != bool or not rows.any():
        raise ValueError(f"reset_mask = {rows!r}: takes an array of {num_envs} booleans, at least one True")
    options = options and {key: value for key, value in options.items() if key != "reset_mask"}
    return seeds, np.flatnonzero(rows).tolist(), options


def add_info(infos: dict[str, Any], info: dict[str, Any], i: int, num_envs: int) -> None:
    """Add environment i's info to a vector's, as gymnasium does: per key an array (B, …) and whose rows count."""
    for key, value in info.items():
        if isinstance(value, dict) and key != "final_obs":
            add_info(infos.setdefault(key, {}), value, i, num_envs)
        else:
            if key not in infos:
                infos[key] = _rows_for(value, num_envs, key == "final_obs")
            infos[key][i] = value
        infos.setdefault(f"_{key}", np.zeros(num_envs, bool))[i] = True


def _rows_for(value: Any, num_envs: int, as_object: bool) -> np.ndarray:
    """An array with a row for each environment, of the type of the first one's value."""
    if not as_object and (type(value) in (int, float, bool) or isinstance(value, np.number)):
        return np.zeros(num_envs, type(value))
    if not as_object and isinstance(value, np.ndarray):
        return np.zeros((num_envs, *value.shape), value.dtype)
    return np.full(num_envs, None, object)
