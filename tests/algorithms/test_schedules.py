"""Learning-rate schedule and counters: full at the first update, never 0 at the last, exact in transitions."""

import itertools

import numpy as np
import pytest
from oracles import same_bits
from toy_envs import ALGORITHMS, MODES, Counting, Drift, learner, run, vector

from minirl.algorithms import ppo


def test_sch_01_the_first_update_uses_all_of_lr_and_the_last_a_fifth(monkeypatch):
    """Five updates: [1, 0.8, 0.6, 0.4, 0.2] of lr, in the metrics and in the steps that Adam takes;
    each moves the policy.
    """
    used, adam_step = [], ppo.adam_step
    monkeypatch.setattr(
        ppo,
        "adam_step",
        lambda theta, grad, state, lr, *rest: used.append(lr) or adam_step(theta, grad, state, lr, *rest),
    )
    made = learner("ppo", vector(Drift, {}, {}), total_timesteps=70, lr=0.03)
    logged, before = [], made.state["theta_pi"]
    for update in made:
        logged.append(update.metrics["charts/learning_rate"])
        assert (made.state["theta_pi"] != before).mean() > 0.9
        before = made.state["theta_pi"]
    np.testing.assert_allclose(logged, 0.03 * np.array([1, 0.8, 0.6, 0.4, 0.2]), rtol=1e-12)
    np.testing.assert_array_equal(used, np.repeat(logged, 6))  # 2 epochs of 3 minibatches


def test_sch_01_without_annealing_lr_is_constant():
    _, updates = run("ppo", vector(Drift, {}), 3, total_timesteps=21, anneal_lr=False, lr=0.03)
    assert [u.metrics["charts/learning_rate"] for u in updates] == [0.03] * 3


def test_sch_01_a_step_beyond_the_end_never_turns_the_learning_rate_negative():
    made = learner("ppo", vector(Drift, {}), total_timesteps=10)
    assert len(list(made)) == 2
    assert made.step().metrics["charts/learning_rate"] == 0.0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_sch_02_det_07_learning_in_pieces_equals_learning_at_once(algorithm):
    """2 + 1 + 3 updates, by different ways of asking for them:
    the schedule, Adam, the episodes and all streams go on.
    """
    whole, parts = (
        learner(algorithm, vector(Drift, {}, {}), total_timesteps=84, normalize_reward=True) for _ in range(2)
    )
    at_once = list(whole)
    in_pieces = list(itertools.islice(parts, 2))
    in_pieces.append(next(parts))
    in_pieces += list(iter(parts))
    assert len(at_once) == len(in_pieces) == 6
    assert same_bits(whole.snapshot(), parts.snapshot())
    for a, b in zip(at_once, in_pieces, strict=True):
        assert (a.number, a.global_step) == (b.number, b.global_step)
        same = {k for k in a.metrics if not k.startswith("time/") and k != "charts/SPS"}
        assert same_bits({k: a.metrics[k] for k in same}, {k: b.metrics[k] for k in same})


@pytest.mark.parametrize(("total", "updates"), [(1, 1), (13, 1), (14, 1), (15, 2), (100, 8)])
def test_sch_03_the_last_update_is_finished(total, updates):
    """14 transitions per update:
    the number asked for is reached, never fallen short of, by less than one update too many.
    """
    made = learner("ppo", vector(Drift, {}, {}), total_timesteps=total)
    done = list(made)
    assert len(done) == updates and made.global_step == done[-1].global_step == 14 * updates
    assert all(u.metrics["charts/learning_rate"] > 0 for u in done)
    with pytest.raises(StopIteration):
        next(made)


@pytest.mark.parametrize("mode", MODES)
def test_sch_03_only_real_transitions_count(mode):
    """Under NEXT_STEP reset steps take rows: fewer transitions per update, more updates for the same number."""
    envs = vector(Counting, {"lengths": (2,)}, {"lengths": (3,)}, mode=mode)
    made = learner("ppo", envs, total_timesteps=100)
    done = list(made)
    assert made.global_step == sum(env.steps for env in envs.envs) >= 100
    per_update = np.diff([0, *(u.global_step for u in done)])
    assert (per_update < 14).any() == (mode.value == "NextStep") and per_update.max() <= 14
    assert len(done) == (8 if mode.value != "NextStep" else len(done)) and made.global_step - per_update[-1] < 100


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_sch_04_steps_of_unfinished_episodes_count(algorithm):
    _, updates = run(algorithm, vector(Counting, {"lengths": ()}, {"lengths": (1000,)}), 4)
    assert [u.global_step for u in updates] == [14, 28, 42, 56]
    assert not any(len(u.lengths) for u in updates)


def test_sch_04_an_episode_longer_than_a_rollout_is_reported_whole():
    _, updates = run("trpo", vector(Counting, {"lengths": (17,), "rewards": (1.0, 2.0)}), 5)
    assert [list(u.lengths) for u in updates] == [[], [], [17], [], [17]]
    assert [list(u.returns) for u in updates] == [[], [], [25.0], [], [26.0]]
