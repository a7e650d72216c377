"""The learner: snapshots are trees of arrays and scalars, and restoring one is a copy."""

import json

import numpy as np
import pytest

from minirl import algorithms
from minirl.environments import make_envs
from minirl.learner import Learner


def leaves(tree, path=""):
    """(path, leaf) of a nested dict or list, in order."""
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from leaves(value, f"{path}/{key}")
    else:
        yield path, tree


def assert_equal_trees(a, b):
    pairs = zip(leaves(a), leaves(b), strict=True)
    for (path, x), (other, y) in pairs:
        assert path == other
        np.testing.assert_array_equal(x, y, err_msg=path)


@pytest.mark.parametrize("name", ["npg", "trpo", "ppo"])
@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_a_snapshot_is_data_and_restoring_it_is_exact(name, env):
    cfg = algorithms.find(name).config(env=env, num_envs=3, num_steps=17, total_timesteps=1000, minibatch_size=13)
    learner = Learner(name, make_envs(env, 3), cfg)
    learner.step()
    before = learner.snapshot()
    for path, leaf in leaves(before):
        assert isinstance(leaf, np.ndarray) or json.dumps(leaf), path

    frozen = learner.snapshot()
    learner.step()
    assert_equal_trees(before, frozen)  # training on did not reach into the snapshot
    assert not np.array_equal(learner.state["policy"], before["algorithm"]["policy"])
    learner.restore(before)
    assert_equal_trees(learner.snapshot(), before)
    learner.step()
    assert_equal_trees(before, frozen)  # nor does training after a restore


def test_learning_stops_and_goes_on():
    cfg = algorithms.find("ppo").config(num_envs=2, num_steps=8, total_timesteps=80, minibatch_size=5)
    learner = Learner("ppo", make_envs("CartPole-v1", 2), cfg)
    steps = []
    for update in learner:
        steps.append(update.global_step)
        if len(steps) == 2:
            break
    for update in learner:
        steps.append(update.global_step)
    assert steps == [16, 32, 48, 64, 80]
    with pytest.raises(StopIteration):
        next(learner)


@pytest.mark.parametrize("name", ["reinforce", "npg", "trpo", "ppo"])
def test_learning_with_normalised_values_is_finite_and_moves_the_units(name):
    cfg = algorithms.find(name).config(
        env="Pendulum-v1", num_envs=3, num_steps=40, total_timesteps=360, normalize_value=True, normalize_reward=False
    )
    learner = Learner(name, make_envs("Pendulum-v1", 3), cfg)
    *_, last = learner
    assert last.number == 3 and np.isfinite(last.metrics["losses/value_loss"])
    assert learner.state["critic"][-2] < -20 and learner.nets.critic.unit(learner.state["critic"]) > 1
    assert last.metrics["losses/value_loss"] < 50  # in units of the returns' deviation, not in rewards squared


def test_an_interrupted_rollout_is_dropped_and_the_next_begins_with_fresh_episodes(monkeypatch):
    """Ctrl-C in the middle of a rollout: what was half collected counts nowhere, and later episode lengths are true ones."""
    cfg = algorithms.find("ppo").config(num_envs=2, num_steps=16, total_timesteps=10_000)
    learner = Learner("ppo", make_envs("CartPole-v1", 2), cfg)
    learner.step()
    before, calls, step = learner.snapshot(), [0], learner.collector.envs.step

    def interrupted(action):
        calls[0] += 1
        if calls[0] == 7:
            raise KeyboardInterrupt
        return step(action)

    monkeypatch.setattr(learner.collector.envs, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        learner.step()
    assert learner.global_step == 32 and np.array_equal(learner.state["policy"], before["algorithm"]["policy"])

    lived, lengths, reported = np.zeros(2, int), [], []  # an independent count from here on

    def counted(action):
        result = step(action)
        for b in range(2):
            lived[b] += 1
            if result[2][b] or result[3][b]:
                lengths.append(lived[b])
                lived[b] = 0
        return result

    monkeypatch.setattr(learner.collector.envs, "step", counted)
    for _ in range(6):
        reported += list(learner.step().lengths)
    assert reported == lengths and len(lengths) > 2
