"""A policy in a file: weights, observation statistics, bounds, the description that makes them an Agent. NumPy alone.

What a file says is data: names are looked up in lists that stand here, sizes have to agree with the arrays, and no
environment is made or imported by loading.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from minirl._core.reference.mlp import ACTIVATIONS
from minirl.config import MAX_HIDDEN, Config
from minirl.deploy.agent import Agent
from minirl.errors import FileError, SpaceError
from minirl.files import safetensors
from minirl.files.strict_json import parse_json
from minirl.models.fourier_features import RandomFeatures
from minirl.models.input_pipeline import ObsNormalizer
from minirl.models.policy import Policy
from minirl.numerics.running_moments import RunningMoments
from minirl.spaces.actions import BOUNDS, ActionCodec, read_actions
from minirl.spaces.facts import MAX_SIZE, among, natural
from minirl.spaces.observations import ObsCodec, read_observations

FILE = "policy.safetensors"
# 1: no type of observations (float32), 1e-8 added to their variance, actions in the environment's units, the entries of
# a MultiDiscrete observation as parts. 2: these entries are rows of the tensor obs_choices.
FORMAT = 2
FLOOR_OF_FORMAT_1 = 1e-8
MAX_CHOICES = 1 << 18  # entries of MultiDiscrete observations
OTHERS = 4096  # bytes that the header takes at most for what does not come from the spaces
WRONG = (KeyError, TypeError, AttributeError, ValueError, OverflowError)  # what reading a description may end in


def save(
    path: Path | str, agent: Agent, algorithm: str, env: str, said: dict[str, Any] | None = None, sync: bool = True
) -> None:
    """Write all that `load` needs to make the Agent again, `algorithm`, `env` and what else is `said`. FileError."""
    obs, action = agent.obs_codec, agent.action_codec
    arrays = {"theta": agent.theta} | _tensors(obs, action)
    if agent.normalizer is not None:
        moments = agent.normalizer.moments
        arrays |= {"obs_mean": moments.mean, "obs_m2": moments.m2, "obs_count": np.array(float(moments.count))}
    if agent.features is not None:
        arrays |= {"rbf_weight": agent.features.weight, "rbf_phase": agent.features.phase}
    hidden, dtype = [int(n) for n in agent.hidden], str(agent.theta.dtype)
    network: dict[str, Any] = {"hidden": hidden, "activation": agent.activation, "dtype": dtype}
    if agent.normalizer is not None:
        network["variance_floor"] = agent.normalizer.variance_floor
    try:
        others = (said or {}) | ({"masked": True} if agent.masked else {})
        text = _description((obs, action), network, algorithm, env, others)
        _agent(parse_json(text), arrays)  # what could not be read is not written
    except WRONG as why:
        raise FileError(f"{path} cannot be written: {_reason(why)}") from why
    safetensors.write(path, arrays, {"minirl": text}, any_value=BOUNDS, sync=sync)


def check(obs: ObsCodec, action: ActionCodec, algorithm: str, config: Config, env: str, said: dict[str, Any]) -> None:
    """SpaceError where a policy could not be written, or would not be read back as the same; called before training."""
    network = {"hidden": [int(n) for n in config.hidden], "activation": config.activation, "dtype": config.dtype}
    try:
        arrays = _tensors(obs, action)
        text = _description((obs, action), network, algorithm, env, said)
        if _spaces(parse_json(text), arrays)[0] != obs:
            raise ValueError("a key of its observation space is no text that a file can hold")
        safetensors.encode(arrays, {"minirl": text, "others": " " * OTHERS}, any_value=BOUNDS)
    except WRONG as why:
        remedy = "wrap it, e.g. by gymnasium.wrappers.FlattenObservation" if len(env) < 1000 else "give it a shorter id"
        raise SpaceError(f"env = {env[:100]!r}: its policy could not be saved: {_reason(why)}; {remedy}") from why


def _description(
    codecs: tuple[ObsCodec, ActionCodec], network: dict[str, Any], algorithm: str, env: str, others: dict[str, Any]
) -> str:
    """What is no array, as JSON."""
    obs, action = codecs
    about = {
        "format": FORMAT,
        "algorithm": algorithm,
        "env": env,
        "family": action.family_name,
        **network,
        "obs": obs.describe(),
        "action": action.describe(),
    }
    return json.dumps(about | others, separators=(",", ":"))


def load(path: Path | str) -> tuple[Agent, dict[str, Any]]:
    """A run directory or policy file -> the Agent and its description (`algorithm`, `env`, …); FileError for others."""
    if not isinstance(path, str | os.PathLike):
        raise FileError(f"{path!r} is no path: takes a run directory or a policy file")
    path = Path(path)
    path = path / FILE if path.is_dir() else path
    arrays, metadata = safetensors.read(path, any_value=BOUNDS)
    try:
        if "minirl" not in metadata or "sha256" not in metadata:
            raise ValueError("its metadata have no minirl description with a checksum")
        about = parse_json(metadata["minirl"])
        return _agent(about, arrays), about
    except WRONG as why:
        raise FileError(f"{path} holds no minirl policy: {_reason(why)}") from why


def _reason(why: Exception) -> str:
    return f"its description lacks {why}" if isinstance(why, KeyError) else str(why)


def _agent(about: dict[str, Any], arrays: dict[str, np.ndarray]) -> Agent:
    """What the description and the arrays say, each checked against the other."""
    obs, action, hidden = _spaces(about, arrays)
    floor = FLOOR_OF_FORMAT_1 if about["format"] == 1 else _floor(about.get("variance_floor", 0.0))
    normalizer, features = _normalizer(arrays, obs, floor, about["dtype"]), _features(arrays, obs.dim, about["dtype"])
    theta, num_inputs = arrays["theta"], len(features.phase) if features else obs.dim
    expected = (Policy(action.family(), num_inputs, hidden, about["activation"]).num_params,)
    if theta.shape != expected or str(theta.dtype) != about["dtype"]:
        raise ValueError(f"theta is {theta.dtype} {theta.shape}, the description says {about['dtype']} {expected}")
    return Agent(obs, action, theta, hidden, about["activation"], normalizer, about.get("masked", False), features)


def _spaces(about: dict[str, Any], arrays: dict[str, np.ndarray]) -> tuple[ObsCodec, ActionCodec, tuple[int, ...]]:
    """Observations, actions and hidden layers; everything in the description is checked here."""
    if type(about["format"]) is not int or not 1 <= about["format"] <= FORMAT:
        raise ValueError(f"it has file format {about['format']!r}, this minirl reads 1 to {FORMAT}")
    for name in ("algorithm", "env"):
        if not isinstance(about[name], str) or not about[name].isprintable():
            raise ValueError(f"{name} has to be printable text")
    if not isinstance(about.get("env_kwargs", {}), dict | None):
        raise ValueError("env_kwargs has to be an object, or null for what no file can hold")
    choices = _choices(arrays)
    obs, action = read_observations(about["obs"], choices), read_actions(about["action"], about["family"], arrays)
    if next(choices, None) is not None:
        raise ValueError("obs_choices has more rows than its multi_discrete observations have entries")
    if obs.dim > MAX_SIZE:
        raise ValueError(f"its observations have {obs.dim} numbers, the limit is {MAX_SIZE}")
    hidden = tuple(natural("hidden", n, 1) for n in about["hidden"])
    if len(hidden) > MAX_HIDDEN:
        raise ValueError(f"it has {len(hidden)} hidden layers, the limit is {MAX_HIDDEN}")
    among("activation", about["activation"], tuple(ACTIVATIONS))
    among("dtype", about["dtype"], ("float32", "float64"))
    masked = about.get("masked", False)
    if type(masked) is not bool or (masked and not action.maskable):
        raise ValueError("masked has to be true or false, and true only where actions can be masked")
    return obs, action, hidden


def _tensors(obs: ObsCodec, action: ActionCodec) -> dict[str, np.ndarray]:
    """What of the spaces stands in tensors: the bounds of actions, and the entries of MultiDiscrete observations."""
    entries = obs.entries()
    return action.tensors() | ({"obs_choices": np.array(entries, np.int64)} if entries else {})


def _choices(arrays: dict[str, np.ndarray]) -> Iterator[tuple[int, int]]:
    """First number and how many there are, of each entry of a MultiDiscrete."""
    choices = arrays.get("obs_choices", np.zeros((0, 2), np.int64))
    if choices.dtype != np.int64 or choices.ndim != 2 or choices.shape[1] != 2 or len(choices) > MAX_CHOICES:
        raise ValueError(f"obs_choices has to hold two whole numbers for each entry, at most {MAX_CHOICES} of them")
    if (choices[:, 1] < 1).any() or (choices[:, 1] > MAX_SIZE).any():
        raise ValueError(f"the entries of a multi_discrete observation have to have 1 to {MAX_SIZE} numbers each")
    return iter(zip(*choices.T.tolist(), strict=True))


def _floor(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise ValueError("variance_floor has to be a number from 0 to 1")
    return float(value)


def _normalizer(arrays: dict[str, np.ndarray], obs: ObsCodec, floor: float, dtype: str) -> ObsNormalizer | None:
    if "obs_mean" not in arrays:
        return None
    dim = obs.dim
    mean, m2, count = arrays["obs_mean"], arrays["obs_m2"], arrays["obs_count"]
    if mean.shape != (dim,) or m2.shape != (dim,) or count.shape != () or (m2 < 0).any() or count < 0:
        raise ValueError(
            f"the observation statistics have to be {dim} means, {dim} sums of squares and a count, "
            "none of the last negative"
        )
    moments = RunningMoments(mean.astype(np.float64), m2.astype(np.float64), float(count))
    return ObsNormalizer(moments, obs.resolution, np.dtype(dtype), floor)


def _features(arrays: dict[str, np.ndarray], dim: int, dtype: str) -> RandomFeatures | None:
    if "rbf_weight" not in arrays:
        return None
    weight, phase = arrays["rbf_weight"], arrays["rbf_phase"]
    if phase.ndim != 1 or not len(phase) or weight.shape != (dim, len(phase)):
        raise ValueError(
            f"the random features have to be a matrix with {dim} rows, "
            "and a phase for each of its columns, at least one"
        )
    with np.errstate(over="ignore"):
        if not (np.isfinite(weight.astype(dtype)).all() and np.isfinite(phase.astype(dtype)).all()):
            raise ValueError(f"the random features are too large for {dtype}")
    return RandomFeatures(weight.astype(np.float64), phase.astype(np.float64))
