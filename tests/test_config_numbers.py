"""[BUG-25] A configuration holds plain Python values, wherever its numbers came from: what JSON takes, it has."""

import json
import math
from fractions import Fraction

import numpy as np
import pytest

import minirl
from minirl.errors import ConfigError
from minirl.runs.record import NOT_STORED, describe

FIELDS = {
    "seed": (np.int64(3), 3),
    "num_steps": (np.uint8(16), 16),
    "lr": (np.float32(0.5), 0.5),
    "gamma": (np.float64(0.75), 0.75),
    "lam": (Fraction(1, 4), 0.25),
    "hidden": (tuple(np.array([8, 4])), (8, 4)),
    "normalize_obs": (np.bool_(False), False),
    "env": (np.str_("CartPole-v1"), "CartPole-v1"),
    "activation": (np.str_("relu"), "relu"),
    "target_kl": (np.float16(0.5), 0.5),
    "env_kwargs": ({"a": np.int32(1), "b": (np.float32(0.5), [np.bool_(True)])}, {"a": 1, "b": (0.5, [True])}),
}


def plain(value):
    """Whether a value is made of Python's own types alone."""
    if isinstance(value, dict):
        return all(type(key) is str and plain(item) for key, item in value.items())
    if isinstance(value, tuple | list):
        return all(map(plain, value))
    return type(value) in (int, float, bool, str)


@pytest.mark.parametrize("name", FIELDS)
def test_bug_25_numbers_of_numpy_become_pythons_own(name):
    given, expected = FIELDS[name]
    config = minirl.configure("ppo", **{name: given})
    held = getattr(config, name)
    assert held == expected and type(held) is type(expected) and plain(held)
    assert getattr(config.replace(num_envs=np.int64(2)), name) == expected
    assert json.loads(json.dumps(describe("ppo", config), allow_nan=False))["config"][name] is not None


def test_bug_25_whole_sequences_too():
    for hidden in (np.array([8, 4]), [8, 4], (np.int64(8), 4)):
        assert minirl.configure("ppo", hidden=hidden).hidden == (8, 4)


@pytest.mark.parametrize("value", [math.inf, -math.inf, np.float32("inf"), math.nan, 10**400])
@pytest.mark.parametrize("name", ["max_grad_norm", "lr", "target_kl", "gamma"])
def test_bug_25_what_is_not_finite_is_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=rf"^{name} = .*: takes a (finite )?number"):
        minirl.configure("ppo", **{name: value})


def test_bug_25_a_run_starts_with_them(tmp_path):
    steps, size = {"total_timesteps": np.int64(64), "num_steps": np.arange(17)[16]}, {"hidden": tuple(np.array([8]))}
    minirl.train("ppo", run=tmp_path / "run", lr=np.float32(0.25), **steps, **size)
    config = json.loads((tmp_path / "run" / "config.json").read_text())["config"]
    assert (config["total_timesteps"], config["num_steps"], config["hidden"], config["lr"]) == (64, 16, [8], 0.25)


def test_bug_25_what_json_has_no_form_for_is_said_to_be_missing():
    kwargs = {"limit": math.inf, "goal": np.array([1, 2]), "maker": object(), "name": "x"}
    config = minirl.configure("ppo", env_kwargs=kwargs)
    assert config.env_kwargs["limit"] == math.inf and config.env_kwargs["goal"] is kwargs["goal"]
    stored = describe("ppo", config)["config"]["env_kwargs"]
    assert stored == {
        "limit": {NOT_STORED: "builtins.float"},
        "goal": [1, 2],
        "maker": {NOT_STORED: "builtins.object"},
        "name": "x",
    }
