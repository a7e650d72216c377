"""gymnasium's environments one after the other, with less around them than in gymnasium's own vector."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import concatenate, iterate

ARRAYS = (spaces.Box, spaces.MultiDiscrete, spaces.MultiBinary)  # batches that are one array with a row for each environment


class SerialVectorEnv(SyncVectorEnv):
    """A SyncVectorEnv with SAME_STEP that gives the same, but in `step` spends a fifth of the time on it.

    The observations are one array that the next step overwrites; final_obs are copies, since the reset comes before they are handed
    over and may write into their array.
    """

    # The infos that are handed on, besides those of an episode's end; None: all of them. A collector sets it to what it reads.
    kept: tuple[str, ...] | None = None

    def __init__(self, env_fns: Sequence[Callable[[], Any]]):
        super().__init__(env_fns, copy=False, autoreset_mode=AutoresetMode.SAME_STEP)
        self._action_rows = type(self.action_space) in ARRAYS
        space: Any = self.single_observation_space
        self._row = (space.shape, space.dtype) if type(space) is spaces.Box else None  # of the observations, where they are one array

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """An action for each -> observations, reward (B,), terminated (B,), truncated (B,), infos."""
        kept, seen, rows = self.kept, self._env_obs, self._observations
        reward, terminated, truncated = self._rewards, self._terminations, self._truncations
        infos: dict[str, Any] = {}
        each = actions if self._action_rows and type(actions) is np.ndarray else list(iterate(self.action_space, actions))
        if len(each) != self.num_envs:
            raise ValueError(f"{len(each)} actions: it takes {self.num_envs}, one for each environment")
        plain = self._row is not None
        for i, env in enumerate(self.envs):
            obs, reward[i], over, cut, info = env.step(each[i])
            terminated[i], truncated[i] = over, cut
            if over or cut:
                infos = self._add_info(infos, {"final_obs": copy.deepcopy(obs), "final_info": info}, i)
                obs, info = env.reset()
            if kept is None:
                infos = self._add_info(infos, info, i)
            elif kept:
                infos = self._add_info(infos, {key: info[key] for key in kept if key in info}, i)
            seen[i] = obs
            plain = plain and type(obs) is np.ndarray and (obs.shape, obs.dtype) == self._row
            if plain:
                rows[i] = obs
        if not plain:  # parts, numbers, or something that does not fit, which gymnasium refuses
            self._observations = concatenate(self.single_observation_space, seen, rows)
        return self._observations, reward.copy(), terminated.copy(), truncated.copy(), infos
