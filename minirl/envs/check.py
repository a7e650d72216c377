"""Trying an environment before it is trained on, and saying clearly what is wrong with it."""

import time
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from minirl.envs import given
from minirl.envs.contract import KEY, Misfit, as_flag, as_mask, fitted, mask_size
from minirl.envs.copies import CHECKER
from minirl.envs.faults import close, is_fault, one_line
from minirl.envs.make import make_env
from minirl.envs.resumable import begin, beginning
from minirl.errors import EnvError
from minirl.numerics import random_streams
from minirl.spaces.actions import action_codec
from minirl.spaces.observations import ObsCodec, obs_codec

SECONDS = 0.5  # of an episode that is played twice, and
EPISODE = 100  # steps of an episode that is played twice, at most
RESET = "reset() has to return (obs, info)"
STEP = "step() has to return (obs, reward, terminated, truncated, info)"


def check_env(env_id: Any, seed: int = 0, steps: int = 3, env_kwargs: Mapping[str, Any] | None = None) -> bool:
    """Reset a copy of the environment and take a few random steps; EnvError names what breaks gymnasium's contract.

    -> whether it comes to the same place when it is played again from where its generator was: so a run is resumed.
    It is seeded as the first environment of a training with `seed`, looked at by gymnasium's checker too, and plays
    legal moves where its info has an action mask.
    """
    env = make_env(env_id, **({} if isinstance(env_id, gymnasium.Env) else {CHECKER: None}), **(env_kwargs or {}))
    env_id = given.name(env_id)
    first = random_streams.integer_seeds(random_streams.stream_seeds(seed)["envs"], 1)[0]
    try:
        _play(env_id, env, first, steps)
        return _comes_back(env, steps)
    except Misfit as why:
        raise EnvError(f"env = {env_id!r}: {why}") from why
    finally:
        close(env, f"env = {env_id!r}")


def _play(env_id: str, env: Any, seed: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    env.action_space.seed(seed)
    obs, info = _call(env_id, RESET, lambda: env.reset(seed=seed), 2)
    _check_obs(env_id, env.observation_space, obs)
    for _ in range(steps):
        action, over = _legal_action(env.action_space, info, rng), False
        if action is not None:
            obs, reward, terminated, truncated, info = _call(env_id, STEP, lambda action=action: env.step(action), 5)
            _check_obs(env_id, env.observation_space, obs)
            _check_reward(env_id, reward)
            over = as_flag("terminated", terminated) | as_flag("truncated", truncated)
        if over or action is None:
            obs, info = _call(env_id, RESET, env.reset, 2)
            _check_obs(env_id, env.observation_space, obs)


def _comes_back(env: Any, steps: int) -> bool:
    """Whether an episode that begins where another one began gives the same observations and rewards."""
    how = beginning(env, None)
    if how is None:
        return False
    env.action_space.seed(0)
    try:
        first, actions = _episode(env, how, EPISODE)
        _episode(env, beginning(env, None) or how, steps)  # another one between them
        again, _ = _episode(env, how, actions)
    except Exception:  # that is for the training to say
        return True
    return first == again


def _episode(env: Any, how: dict[str, Any], actions: Any) -> tuple[list[bytes], list[Any]]:
    """What is seen of an episode with these actions, or with so many random ones; and the actions."""
    rng, taken, end = np.random.default_rng(0), [], time.monotonic() + SECONDS
    obs, info = begin(env, how)
    seen = [_bytes(env.observation_space, obs)]
    for each in range(actions) if isinstance(actions, int) else actions:
        action = _legal_action(env.action_space, info, rng) if isinstance(actions, int) else each
        if action is None:
            break
        obs, reward, terminated, truncated, info = env.step(action)
        seen += [_bytes(env.observation_space, obs), np.float64(reward).tobytes()]
        taken.append(action)
        if terminated or truncated or (isinstance(actions, int) and time.monotonic() > end):
            break
    return seen, taken


def _bytes(space: Any, obs: Any) -> bytes:
    return obs_codec(space).encode(obs_codec(space).stack([obs]), np.float64).tobytes()


def _legal_action(space: Any, info: Any, rng: np.random.Generator) -> Any:
    """A random action: where info has a mask that can be read, one that it allows, or None when it allows nothing."""
    size = mask_size(space)
    if size is None or not isinstance(info, dict) or KEY not in info:
        return space.sample()
    try:
        mask = as_mask(size, info[KEY]).astype(bool)
    except Misfit:  # a mask need not be used
        return space.sample()
    codec = action_codec(space)
    dist = codec.maskable_family()
    choices = [np.flatnonzero(part) for part in np.split(mask, np.cumsum(dist.num_actions)[:-1])]
    if not all(map(len, choices)):
        return None
    raw = np.array([rng.choice(allowed) for allowed in choices])
    return codec.decode(raw.reshape(1, *dist.action_shape))[0]


def _call(env_id: str, contract: str, call: Any, length: int) -> Any:
    try:
        result = call()
    except BaseException as why:
        if not is_fault(why):
            raise
        raise EnvError(f"env = {env_id!r}: {contract}; it raised {type(why).__name__}: {one_line(why)}") from why
    if not isinstance(result, tuple) or len(result) != length:
        raise EnvError(f"env = {env_id!r}: {contract}, not {type(result).__name__}")
    return result


def _check_obs(env_id: str, space: Any, obs: Any) -> None:
    fitted(space, obs)
    if isinstance(space, gymnasium.spaces.Discrete):
        if not space.contains(obs):
            raise EnvError(f"env = {env_id!r}: obs {obs!r} is not in its observation_space {space}")
    elif not isinstance(space, gymnasium.spaces.Box):
        _check_encoding(env_id, obs_codec(space), obs)


def _check_encoding(env_id: str, codec: ObsCodec, obs: Any) -> None:
    try:
        codec.encode(codec.stack([obs]), np.float64)
    except (TypeError, ValueError) as why:
        raise EnvError(f"env = {env_id!r}: obs {obs!r} does not fit its observation_space: {why}") from why


def _check_reward(env_id: str, value: Any) -> None:
    array = isinstance(value, np.ndarray) and value.dtype.kind in "fiub" and value.ndim == 0
    if not array and not isinstance(value, bool | int | float | np.bool_ | np.integer | np.floating):
        raise EnvError(f"env = {env_id!r}: reward has to be a number, it is {value!r} ({type(value).__name__})")
