"""The learner: snapshots are trees of arrays and scalars, and restoring one is a copy."""

import json

import gymnasium
import numpy as np
import pytest
import toy_envs
from gymnasium.spaces import Box, Discrete
from toy_envs import Counting

import minirl
from minirl import algorithms
from minirl.envs.make import make_envs
from minirl.errors import ConfigError
from minirl.training.learner import Learner


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
    learner = Learner(algorithms.find(name), make_envs(env, 3), cfg)
    learner.step()
    before = learner.snapshot()
    for path, leaf in leaves(before):
        assert isinstance(leaf, np.ndarray) or json.dumps(leaf), path

    frozen = learner.snapshot()
    learner.step()
    assert_equal_trees(before, frozen)  # training on did not reach into the snapshot
    assert not np.array_equal(learner.state["theta_pi"], before["algorithm"]["theta_pi"])
    learner.restore(before)
    assert_equal_trees(learner.snapshot(), before)
    learner.step()
    assert_equal_trees(before, frozen)  # nor does training after a restore


def test_learning_stops_and_goes_on():
    cfg = algorithms.find("ppo").config(num_envs=2, num_steps=8, total_timesteps=80, minibatch_size=5)
    learner = Learner(algorithms.find("ppo"), make_envs("CartPole-v1", 2), cfg)
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
    learner = Learner(algorithms.find(name), make_envs("Pendulum-v1", 3), cfg)
    *_, last = learner
    assert last.number == 3 and np.isfinite(last.metrics["losses/value_loss"])
    assert learner.state["theta_v"][-2] < -20 and learner.nets.critic.unit(learner.state["theta_v"]) > 1
    assert last.metrics["losses/value_loss"] < 50  # in units of the returns' deviation, not in rewards squared


def test_an_interrupted_rollout_is_dropped_and_the_next_begins_with_fresh_episodes(monkeypatch):
    """Ctrl-C in the middle of a rollout:
    what was half collected counts nowhere, and later episode lengths are true ones.
    """
    cfg = algorithms.find("ppo").config(num_envs=2, num_steps=16, total_timesteps=10_000)
    learner = Learner(algorithms.find("ppo"), make_envs("CartPole-v1", 2), cfg)
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
    assert learner.global_step == 32 and np.array_equal(learner.state["theta_pi"], before["algorithm"]["theta_pi"])

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


# ------------------------------------------------------------------------------ snapshots of others, episodes of others


def made(algorithm="ppo", env="CartPole-v1", num_envs=4, **fields):
    """A learner on an environment, one hidden layer of 8."""
    cfg = {"num_envs": num_envs, "num_steps": 16, "hidden": (8,), "total_timesteps": 10_000} | fields
    return Learner(algorithms.find(algorithm), make_envs(env, num_envs), minirl.configure(algorithm, env=env, **cfg))


@pytest.mark.parametrize(
    "other, name",
    [
        ({"algorithm": "trpo"}, "method"),
        ({"env": "Acrobot-v1"}, "env"),
        ({"env": "Pendulum-v1"}, "env"),
        ({"num_envs": 2}, "num_envs"),
        ({"num_steps": 32}, "num_steps"),
        ({"hidden": (8, 8)}, "hidden"),
        ({"activation": "relu"}, "activation"),
        ({"rbf": 10}, "rbf"),
        ({"dtype": "float64"}, "dtype"),
        ({"share_trunk": True}, "share_trunk"),
        ({"normalize_value": True}, "normalize_value"),
    ],
)
def test_bug_08_bug_37_a_snapshot_of_another_learner_is_refused_by_what_differs(other, name):
    ours, theirs = made(), made(**other)
    next(ours)
    before = ours.snapshot()
    with pytest.raises(ConfigError, match=f"the snapshot's {name} is .* this learner's"):
        ours.restore(theirs.snapshot())
    assert_equal_trees(before, ours.snapshot())  # nothing of it was taken
    next(ours)


@pytest.mark.parametrize("tree", [None, {}, {"learner": 3}, [1]])
def test_bug_37_what_is_no_snapshot_is_refused(tree):
    with pytest.raises(ConfigError, match="snapshot"):
        made().restore(tree)


def test_bug_37_spaces_are_compared_where_the_vector_has_no_id():
    """Actions 0, 1 and actions 5, 6 are the same network's, and not the same environment's."""
    one, other = (
        toy_envs.learner("ppo", toy_envs.vector(Counting, {"actions": Discrete(2, start=start)})) for start in (0, 5)
    )
    with pytest.raises(ConfigError, match="actions"):
        other.restore(one.snapshot())


@pytest.mark.parametrize("env", ["CartPole-v1", "minirl/CartPole-v1"])
def test_bug_08_in_fresh_episodes_the_running_return_starts_at_0(env):
    """γ = 0.99, rewards 1: the R of the first rollout's first row is 1 in the learner that was restored into."""
    one, other = made(env=env), made(env=env)
    next(one)
    assert one.scaler.carry.any()
    other.restore(one.snapshot(), environments=False)
    np.testing.assert_array_equal(other.scaler.carry, 0)
    next(one), next(other)


class Count(gymnasium.Env):
    """Step t of episode e is seen as 100 e + t; an episode has 10 steps."""

    observation_space, action_space = Box(-np.inf, np.inf, (1,), np.float64), Discrete(2)
    episode = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.t = self.episode + 1, 0
        return np.array([100.0 * self.episode]), {}

    def step(self, action):
        self.t += 1
        return np.array([100.0 * self.episode + self.t]), 1.0, self.t == 10, False, {}


@pytest.mark.parametrize("mode", toy_envs.MODES)
def test_bug_17_after_reset_no_transition_is_made_up(mode):
    """Somebody plays between two updates and says so:
    every transition is one of the environment, every episode has 10 steps.
    """
    learner = toy_envs.learner("ppo", toy_envs.vector(Count, {}, {}, mode=mode), num_steps=16, normalize_reward=True)
    collect, rollouts, lengths = learner.collector.collect, [], []
    learner.collector.collect = lambda *a: rollouts.append(collect(*a)) or rollouts[-1]
    for _ in range(3):
        lengths += next(learner).lengths.tolist()
        learner.collector.envs.reset(seed=1)
        for _ in range(5):
            learner.collector.envs.step(np.zeros(2, int))
        learner.reset()
    assert set(lengths) == {10}
    for r in rollouts:
        np.testing.assert_array_equal((r.next_obs - r.obs)[r.valid], 1.0)
    assert [r.obs[0, 0, 0] % 100 for r in rollouts] == [0, 0, 0]
