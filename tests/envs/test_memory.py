"""Requests that no machine could hold are refused before anything is allocated, by an estimate that is not far off."""

import os
import tracemalloc
from pathlib import Path

import gymnasium
import numpy as np
import processes
import pytest
import toy_envs

import minirl
import minirl.envs
from minirl.envs import memory
from minirl.envs.make import make_envs
from minirl.errors import ConfigError, EnvError

HUGE = {
    "num_envs": {"num_envs": 10**9},
    "native": {"num_envs": 10**9, "env": "minirl/CartPole-v1"},
    "processes": {"num_envs": 10**6, "vectorization": "async"},
    "entry point": {"num_envs": 10**9, "vectorization": "vector_entry_point"},
    "one step": {"num_envs": 10**9, "num_steps": 1},
    "num_steps": {"num_steps": 10**12},
    "native num_steps": {"num_steps": 10**12, "env": "minirl/Pendulum-v1"},
    "width": {"hidden": (10**12,)},
    "widths": {"hidden": (10**7, 10**7)},
    "features": {"rbf": 10**12},
}


@pytest.mark.parametrize("algorithm", ["ppo", "trpo"])
@pytest.mark.parametrize("request_", HUGE)
def test_requests_beyond_memory_are_refused_with_an_estimate(request_, algorithm, tmp_path, monkeypatch):
    monkeypatch.setattr("minirl.envs.check.check_env", None)  # nothing is made, not even one to try
    monkeypatch.setattr("minirl.envs.make.make_envs", None)
    field = max(set(HUGE[request_]) - {"env", "vectorization"}, key=lambda name: np.prod(HUGE[request_][name]))
    says = rf"{field} = .* an estimated [0-9,]{{15,}} bytes of memory.*has [0-9,]+; lower .*{field}"
    with pytest.raises(ConfigError, match=says):
        minirl.train(algorithm, run=tmp_path / "run", **HUGE[request_])
    assert not (tmp_path / "run").exists()


def test_a_vector_is_refused_by_itself(monkeypatch):
    for make in (
        lambda: gymnasium.make_vec("minirl/CartPole-v1", 10**9),
        lambda: minirl.envs.Pendulum(10**9),
        lambda: make_envs("CartPole-v1", 10**9),
        lambda: make_envs("CartPole-v1", 10**6, "async"),
    ):
        with pytest.raises(ConfigError, match=r"num_envs = 10+: the environments take an estimated"):
            make()
    with pytest.raises(EnvError, match="num_envs = 2147483648: takes a whole number"):
        minirl.envs.CartPole(2**31)


def test_the_sizes_of_the_spaces_count_once_they_are_known(monkeypatch):
    """Of an image a thousandth of the steps is too much: the learner refuses before it allocates."""
    monkeypatch.setattr("minirl.training.learner.keep_freed_memory", lambda: None)
    envs = toy_envs.vector(toy_envs.Counting, {"dim": 10**6})
    tracemalloc.start()
    with pytest.raises(ConfigError, match="num_envs = 1, num_steps = 100000: the samples take an estimated"):
        toy_envs.learner("ppo", envs, num_steps=100_000)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()
    with pytest.raises(ConfigError, match=r"hidden = .*the networks take"):
        toy_envs.learner("ppo", envs, hidden=(10**5,))


@pytest.mark.parametrize("there", [10**6, 10**8])
def test_the_limit_is_the_machines(there, monkeypatch):
    monkeypatch.setattr(memory, "of_the_machine", lambda: there)
    limit = there // memory.NATIVE
    minirl.envs.CartPole(limit)
    with pytest.raises(ConfigError, match=f"has {there:,};"):
        minirl.envs.CartPole(limit + 1)


def test_the_memory_of_the_machine(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "LIMITS", ())
    whole = memory.of_the_machine()
    assert whole > 1e8
    if os.path.exists("/proc/meminfo"):
        total = int(Path("/proc/meminfo").read_text().split("MemTotal:")[1].split()[0]) * 1024
        assert abs(whole - total) < 0.01 * total
    (tmp_path / "max").write_text("max\n")
    (tmp_path / "limit").write_text("123456789\n")
    monkeypatch.setattr(memory, "LIMITS", (tmp_path / "max", tmp_path / "limit", tmp_path / "none"))
    assert memory.of_the_machine() == 123456789
    monkeypatch.setattr(memory, "LIMITS", ())
    monkeypatch.delattr(os, "sysconf")
    assert memory.of_the_machine() == memory.UNKNOWN


@pytest.mark.parametrize(
    ("envs", "fields"),
    [
        (("minirl/CartPole-v1", 64), {"num_steps": 512}),
        (("minirl/Pendulum-v1", 16), {"num_steps": 1024, "dtype": "float64"}),
        (("minirl/CartPole-v1", 2), {"num_steps": 16, "hidden": (1000, 800)}),
    ],
)
def test_the_estimate_is_not_more_than_a_training_takes(envs, fields, monkeypatch):
    """An estimate that is too high would refuse what fits; one update, measured, is the other end."""
    monkeypatch.setattr("minirl.training.learner.keep_freed_memory", lambda: None)
    monkeypatch.setattr(memory, "refuse", lambda *parts: estimates.append(sum(part[1] for part in parts)))
    estimates = []
    made = make_envs(*envs)
    tracemalloc.start()
    trained = minirl.learn("ppo", made, minirl.configure("ppo", num_envs=envs[1], epochs=1, **fields))
    next(trained)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.05 * taken < estimates[-1] < 1.2 * taken  # the twins take more for what lies between


def test_the_command_line_refuses_in_one_sentence(tmp_path):
    done = processes.cli("train", "trpo", "--num-envs", "1000000000", cwd=tmp_path)
    assert done.returncode == 2 and not list(tmp_path.iterdir())
    assert "--num-envs = 1000000000" in processes.one_sentence(done.stderr)


def test_what_fits_is_not_refused():
    many = {"num_envs": 512, "num_steps": 8, "total_timesteps": 4096}
    assert np.isfinite(minirl.train("ppo", "minirl/CartPole-v1", **many).policy.theta).all()
