"""Making an environment, or a vector of copies: quiet after the first, and closed when one of them cannot be made."""

import copy
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import gymnasium

from minirl.envs.contract import KEY, as_flag, as_mask, fitted, mask_size
from minirl.envs.faults import close, raise_placed
from minirl.envs.parallel import ParallelVectorEnv
from minirl.envs.resumable import beginning, replayed
from minirl.envs.serial import SerialVectorEnv

CHECKER = "disable_env_checker"  # gymnasium's keyword
SHOWN: set[str] = set()  # environments made before in this process: their warnings have been shown


def copies(spec: Any, num_envs: int, how: str, kwargs: dict[str, Any]) -> Any:
    """The vector that make_vec makes of `sync` or `async`, our own; its spec holds the environment's kwargs alone."""
    kind: Any = SerialVectorEnv if how == "sync" else ParallelVectorEnv
    envs = kind([partial(make_copy, spec, kwargs, i, os.getpid(), how == "async") for i in range(num_envs)])
    envs.spec = copy.deepcopy(spec)
    envs.spec.kwargs |= kwargs
    return envs


def make_copy(spec: Any, kwargs: dict[str, Any], index: int, home: int, guarded: bool) -> Any:
    """Environment `index` of a vector, in the process `home` or in one of its workers, where it is `guarded`."""
    try:
        env = make_one(spec, kwargs, os.getpid() != home)
    except BaseException as why:
        raise_placed(why, f"env={index}")
    return Guarded(env, index) if guarded else env


def make_one(spec: Any, kwargs: dict[str, Any], quiet: bool = False) -> Any:
    """An environment without gymnasium's checker, which `check_env` uses; no warnings if `quiet` or made before."""
    name = repr((spec.id, spec.entry_point, {key: value for key, value in kwargs.items() if key != CHECKER}))
    registered = gymnasium.registry.get(spec.id) is spec  # of an id gymnasium says where there is a newer version
    with without_warnings() if quiet or name in SHOWN else nullcontext():
        env = gymnasium.make(spec.id if registered else spec, **({CHECKER: True} | kwargs))
    SHOWN.add(name)
    return env


@contextmanager
def without_warnings() -> Iterator[None]:
    """No warnings inside, neither Python's nor those that MuJoCo prints itself."""
    mujoco: Any = sys.modules.get("mujoco")
    hooked = hasattr(mujoco, "set_mju_user_warning") and hasattr(mujoco, "get_mju_user_warning")
    before = mujoco.get_mju_user_warning() if hooked else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if hooked:
                mujoco.set_mju_user_warning(lambda _text: None)
            yield
        finally:
            if hooked:
                mujoco.set_mju_user_warning(before)


class Guarded(gymnasium.Wrapper):
    """The environment of a worker process: SAME_STEP, and what it returns is checked before it is sent.

    kept: the infos that are handed on, besides final_obs; None: all of them.
    """

    kept: tuple[str, ...] | None = None

    def __init__(self, env: Any, index: int):
        super().__init__(env)
        self.index, self.recording = index, False
        self.begun: dict[str, Any] | None = None  # what the last reset began from, where that is recorded

    def reset(self, **kwargs: Any) -> Any:
        if self.recording:
            self.begun = None if kwargs.get("options") else beginning(self.env, kwargs.get("seed"))
        obs, info = self.env.reset(**kwargs)
        return fitted(self.observation_space, obs), self._kept(info)

    def step(self, action: Any) -> Any:
        obs, reward, terminated, truncated, info = self.env.step(action)
        over, stopped = as_flag("terminated", terminated), as_flag("truncated", truncated)
        obs = fitted(self.observation_space, obs)
        if not (over or stopped):
            return obs, reward, over, stopped, self._kept(info)
        last = {"final_obs": copy.deepcopy(obs)}  # the reset may write into its array
        if self.kept is None:
            last["final_info"] = info
        obs, info = self.reset()
        return obs, reward, over, stopped, last | info

    def play(self, how: dict[str, Any], actions: list[Any]) -> tuple[Any, float]:
        """Play an episode again -> the last observation, the sum of rewards; EnvError where it ends on the way."""
        self.recording, self.begun = True, how
        obs, _, paid = replayed(self.env, how, actions)
        return fitted(self.observation_space, obs), paid

    def _kept(self, info: dict[str, Any]) -> dict[str, Any]:
        if self.kept is None:
            return info
        handed = {key: info[key] for key in self.kept if key in info}
        if KEY in handed:
            handed[KEY] = as_mask(mask_size(self.action_space), handed[KEY])
        return handed

    def close(self) -> None:
        close(self.env, f"env={self.index}")
