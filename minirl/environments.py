"""gymnasium's environments: making vectors of them, seeding them, and saying clearly what is wrong with one."""

import importlib
from typing import Any, NoReturn

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode

from minirl import memory, streams
from minirl.envs.contract import KEY, Misfit, as_mask, fitted, mask_size, truth
from minirl.envs.copies import CHECKER, OwnFinalObs, copies, make_one
from minirl.envs.faults import ENDS, close, is_fault, named, one_line, place, raise_placed
from minirl.errors import EnvError
from minirl.spaces import ObsCodec, action_codec, obs_codec

__all__ = ["AutoresetMode", "OwnFinalObs", "autoreset_mode", "check_env", "close", "make_envs", "one_line", "reset"]


OURS = "minirl/"  # what the ids of the native environments begin with


def make_envs(env_id: str, num_envs: int, vectorization: str = "auto", **kwargs: Any) -> Any:
    """`num_envs` copies of a registered environment as a VectorEnv; where we choose, SAME_STEP and one buffer for the observations.

    auto: all together in one call for the native environments (`minirl/…`), one after the other for the rest.
    """
    spec = find(env_id)
    how, each = chosen(spec, vectorization)
    options: dict[str, Any] = {}
    if how == "vector_entry_point" and spec.id.startswith(OURS):
        options["copy"] = False  # the collector copies what it keeps
    memory.refuse(("environments", each * num_envs, {"num_envs": num_envs}))
    try:
        if how in ("sync", "async"):
            return copies(spec, num_envs, how, kwargs)
        return gymnasium.make_vec(env_id, num_envs, vectorization_mode=how, **kwargs, **options)
    except BaseException as why:
        if how == "async" and isinstance(why, EOFError | ConnectionError) and not getattr(why, "__notes__", ()):
            remedy = "it has to be importable there, not only registered or defined here; or set vectorization = sync"
            said = "a worker process ended while making it, see its traceback above"
            raise EnvError(f"env = {env_id!r}: {said}; {remedy}") from why
        raise_not_made(why, f"env = {env_id!r} cannot be made ({how})")


def raise_not_made(why: BaseException, what: str, remedy: str = "") -> NoReturn:
    """EnvError for an environment that could not be made or found; `why` itself where no environment is to blame."""
    if not is_fault(why):
        raise why
    raise EnvError(f"{what}: {named(why) if isinstance(why, ENDS) else one_line(why)}{remedy}") from why


def chosen(spec: Any, vectorization: str) -> tuple[str, int]:
    """How copies of an environment are stepped, and how many bytes one of them takes at least."""
    native = spec.id.startswith(OURS)
    if vectorization == "auto":
        vectorization = "vector_entry_point" if native else "sync"
    each = {"sync": memory.SERIAL, "async": memory.PARALLEL}
    return vectorization, each.get(vectorization, memory.NATIVE if native else 0)


def find(env_id: str) -> Any:
    """gymnasium's spec of an id; EnvError with its suggestion when there is none. `module:ID` imports the module that registers it."""
    module, _, name = env_id.rpartition(":")
    if name.startswith(OURS):
        module = module or "minirl.envs"
    try:
        if module:
            importlib.import_module(module)
        return gymnasium.spec(name)
    except BaseException as why:
        remedy = "; `minirl list --envs` shows those that are"
        raise_not_made(why, f"env = {env_id!r} is not known to gymnasium", remedy)


def make_env(env_id: str, **kwargs: Any) -> Any:
    """One environment by its id."""
    spec = find(env_id)
    try:
        return make_one(spec, kwargs)
    except BaseException as why:
        raise_not_made(why, f"env = {env_id!r} cannot be made")


def autoreset_mode(envs: Any) -> AutoresetMode:
    """What the vector does at the end of an episode, from its metadata; EnvError where it does not say."""
    mode = (getattr(envs, "metadata", None) or {}).get("autoreset_mode")
    try:
        return mode if isinstance(mode, AutoresetMode) else AutoresetMode(mode)
    except ValueError:
        names = ", ".join(m.value for m in AutoresetMode)
        raise EnvError(f"metadata['autoreset_mode'] = {mode!r}: a vector environment has to say one of {names}") from None


def reset(envs: Any, seed: np.random.SeedSequence) -> tuple[Any, dict[str, Any]]:
    """First observations (B, …) and infos. gymnasium's sync and async vectors and ours take a seed each; others take one for all."""
    from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

    from minirl.envs import NativeVectorEnv

    seeds = streams.integer_seeds(seed, envs.num_envs)
    envs.action_space.seed(seeds[0])
    one_each = isinstance(envs.unwrapped, SyncVectorEnv | AsyncVectorEnv | NativeVectorEnv)
    try:
        return envs.reset(seed=seeds if one_each else seeds[0])
    except BaseException as why:
        raise_placed(why, place(why, envs, 0))


RESET = "reset() has to return (obs, info)"
STEP = "step() has to return (obs, reward, terminated, truncated, info)"


def check_env(env_id: str, seed: int = 0, steps: int = 3, **kwargs: Any) -> None:
    """Reset a copy of the environment and take a few random steps; EnvError names what breaks gymnasium's contract.

    It is seeded as the first environment of a training with `seed`, looked at by gymnasium's checker too, and plays
    legal moves where its info has an action mask.
    """
    env = make_env(env_id, **({CHECKER: None} | kwargs))
    first = streams.integer_seeds(streams.stream_seeds(seed)["envs"], 1)[0]
    try:
        _play(env_id, env, first, steps)
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
            over = truth("terminated", terminated) | truth("truncated", truncated)
        if over or action is None:
            obs, info = _call(env_id, RESET, env.reset, 2)
            _check_obs(env_id, env.observation_space, obs)


def _legal_action(space: Any, info: Any, rng: np.random.Generator) -> Any:
    """A random action: where info has a mask that can be read, one that it allows, or None when it allows nothing."""
    size = mask_size(space)
    if size is None or not isinstance(info, dict) or KEY not in info:
        return space.sample()
    try:
        mask = as_mask(size, info[KEY]).astype(bool)
    except Misfit:  # nobody has to read it
        return space.sample()
    codec: Any = action_codec(space)
    counts = np.reshape(space.n if codec.kind == "discrete" else space.nvec, -1)
    choices = [np.flatnonzero(part) for part in np.split(mask, np.cumsum(counts)[:-1])]
    if not all(map(len, choices)):
        return None
    raw = np.array([[rng.choice(allowed) for allowed in choices]])
    return codec.decode(raw[:, 0] if codec.kind == "discrete" else raw)[0]


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
