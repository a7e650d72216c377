"""Running moments, and the two normalisers made of them."""

import copy
import itertools

import numpy as np
import pytest
from gymnasium import spaces
from oracles import same_bits
from toy_envs import MODES, Counting, Drift, learner, run, vector

import minirl.learner
from minirl.environments import make_envs
from minirl.errors import NonFiniteError
from minirl.evaluation import evaluate
from minirl.normalize import ObsNormalizer, RewardScaler, RunningMoments


def take(chunks, dim=1):
    """Moments of chunks (n, dim), one after the other."""
    moments = RunningMoments.zeros(dim)
    for x in chunks:
        moments = moments.update(np.asarray(x, float).reshape(-1, dim), np.ones(len(x)))
    return moments


# ------------------------------------------------------------------------------------------------------------- moments


def test_norm_03_merging_random_parts_equals_one_pass(rng):
    """10⁶ samples at offset 10⁸, in parts of which some are empty or of one; the oracle takes the offset out and works in long double."""
    n, offset = 1_000_000, 1e8
    small = rng.standard_normal((n, 2)) * [1.0, 30.0]
    x = small + offset
    at = np.sort(np.concatenate([rng.integers(0, n, 40), [0, 0, 1, 500, 500, 501, n]]))
    moments = take(np.split(x, at), dim=2)
    exact = (x - offset).astype(np.longdouble)  # the subtraction is exact
    assert moments.count == n
    np.testing.assert_allclose(moments.mean, np.float64(exact.mean(axis=0)) + offset, rtol=1e-14)
    np.testing.assert_allclose(moments.var, np.float64(exact.var(axis=0)), rtol=1e-8)  # BLAS may add 10⁵ × 10⁸ in a row


def test_norm_03_sample_by_sample_equals_one_pass(rng):
    x = rng.standard_normal(997) * 3 + 1e6
    np.testing.assert_allclose(take(x[:, None]).var, np.var(x - 1e6), rtol=1e-9)


@pytest.mark.parametrize("value", [0.1, 1e8 + 0.1, -3e-5, 0.0])
def test_norm_03_the_variance_of_a_constant_is_never_negative(value, rng):
    moments = take(np.split(np.full(10_001, value), np.sort(rng.integers(0, 10_001, 25))))
    assert 0 <= moments.var[0] <= (1e-12 * value) ** 2 + 1e-300


def test_norm_03_weights_count_samples(rng):
    """Weight 0 leaves a row out, weight 2 takes it twice."""
    x, weight = rng.standard_normal((31, 3)), rng.integers(0, 3, 31).astype(float)
    moments = RunningMoments.zeros(3).update(x[:10], weight[:10]).update(x[10:], weight[10:])
    repeated = np.repeat(x, weight.astype(int), axis=0)
    assert moments.count == len(repeated)
    np.testing.assert_allclose(moments.mean, repeated.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.var, repeated.var(axis=0), rtol=1e-12)


def test_norm_04_a_huge_count_stays_finite_and_hardly_moves():
    before = RunningMoments(np.array([3.0]), np.array([4e15]), 1e15)
    after = before.update(np.full((2048, 1), 103.0), np.ones(2048))
    np.testing.assert_allclose(after.mean - 3, 100 * 2048 / 1e15, rtol=1e-5)
    np.testing.assert_allclose(after.var, 4.0, rtol=1e-7)
    assert after.count == 1e15 + 2048


def test_norm_09_statistics_start_from_nothing():
    """No invented first sample: nothing is scaled before the first one, one has variance 0, two have theirs exactly."""
    moments = RunningMoments.zeros(1)
    np.testing.assert_allclose(ObsNormalizer(moments)(np.array([[3.5], [-200.0]])), [[3.5], [-10.0]], rtol=1e-7)
    one = moments.update(np.array([[5.0]]), np.ones(1))
    assert (one.mean[0], one.var[0], one.count) == (5.0, 0.0, 1)
    two = one.update(np.array([[8.0]]), np.ones(1))
    assert (two.mean[0], two.var[0], two.count) == (6.5, 2.25, 2)
    assert two.update(np.zeros((0, 1)), np.zeros(0)) is two


# --------------------------------------------------------------------------------------------------------- observations


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_norm_05_a_constant_feature_becomes_0_and_surprises_are_cut(dtype, rng):
    x = np.stack([np.full(50, 7.25), rng.standard_normal(50) * 4 - 2], axis=1).astype(dtype)
    normalizer = ObsNormalizer(RunningMoments.zeros(2)).update(x, np.ones(50))
    y = normalizer(x)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y[:, 0], 0)
    np.testing.assert_allclose([y[:, 1].mean(), y[:, 1].std()], [0, 1], atol=1e-6)
    np.testing.assert_array_equal(normalizer(np.array([[8, 1e6], [7, -1e6]], dtype)), [[10, 10], [-10, -10]])


@pytest.mark.parametrize("mode", MODES)
def test_norm_06_what_is_counted(mode):
    """Each observation that was acted on, once: first ones of episodes are, final ones (13, 23) are not."""
    made, _ = run("ppo", vector(Counting, {"lengths": (3,), "ends": ("terminated", "truncated")}, mode=mode), 1)
    seen = [10, 11, 12, 20, 21, 22, 30]
    np.testing.assert_allclose([made.normalizer.moments.mean[0], made.normalizer.moments.var[0]], [np.mean(seen), np.var(seen)], rtol=1e-12)
    assert made.normalizer.moments.count == 7


@pytest.mark.parametrize("actions", [3, 2, spaces.Box(-1, 1, (2,))], ids=["three", "two", "box"])
def test_norm_08_clip_05_the_statistics_stand_still_from_acting_to_learning(actions, monkeypatch):
    """log π(a|s) at acting time and in the batch agree to rounding, though the statistics move with every update."""
    made = learner("ppo", vector(Drift, *[{"actions": actions}] * 3), normalize_obs=True)
    policy, acted, batches = made.nets.policy, [], []
    infer, actor, make = policy.infer, policy.actor, minirl.learner.make_batch

    def watched(theta, inputs):
        def act(obs, noise, mask):
            acted.append(infer(theta, inputs(obs)))
            action = actor(theta, inputs)(obs, noise, mask)
            np.testing.assert_array_equal(action, policy.dist.from_noise(acted[-1], noise))
            return action

        return act

    monkeypatch.setattr(policy, "actor", watched)
    monkeypatch.setattr(minirl.learner, "make_batch", lambda *args: batches.append(make(*args)) or batches[-1])
    for _ in range(3):
        acted.clear()
        theta = made.state["policy"]
        made.step()
        batch = batches[-1]
        at_acting = policy.dist.log_prob(np.concatenate(acted[:7]), batch.action)
        in_batch = policy.dist.log_prob(infer(theta, batch.obs), batch.action)
        np.testing.assert_allclose(np.exp(in_batch - at_acting), 1.0, atol=1e-14)
    assert made.normalizer.moments.count == 63


def test_norm_02_one_infinite_observation_leaves_no_trace():
    for value in (np.inf, -np.inf, np.nan):
        envs = vector(Counting, {"lengths": ()}, {"lengths": (), "fault": ("obs", 25, value)}, {"lengths": ()})
        made = learner("ppo", envs, num_steps=10, normalize_reward=True)
        made.step(), made.step()
        before = made.snapshot()
        with pytest.raises(NonFiniteError, match="obs is not finite, env=1, step=25"):
            made.step()
        after = made.snapshot()
        assert all(same_bits(before[part], after[part]) for part in ("algorithm", "normalizer", "scaler", "counters", "updates_stream"))
        assert np.isfinite(made.normalizer.moments.mean).all() and np.isfinite(made.normalizer.moments.m2).all()


def test_norm_01_evaluation_and_further_training_change_nothing_of_an_agent():
    made = learner("trpo", make_envs("CartPole-v1", 2), num_steps=50, normalize_obs=True)
    made.step(), made.step()
    agent, obs = made.policy, np.random.default_rng(0).standard_normal((99, 4)).astype(np.float32)

    def everything(agent):
        return {"theta": agent.theta, "phi": agent.phi(obs), "inv_std": agent.normalizer.inv_std} | vars(agent.normalizer.moments)

    before = copy.deepcopy(everything(agent))
    played = [evaluate(agent, "CartPole-v1", episodes=20, stochastic=s, seed=s) for s in (False, True)]
    assert sum(p.lengths.sum() for p in played) > 500
    assert same_bits(before, everything(agent))
    made.step()
    assert same_bits(before, everything(agent)) and not same_bits(made.policy.normalizer.moments.mean, before["mean"])
    made.collector.envs.close()


def test_norm_01_without_normalize_obs_an_agent_sees_raw_numbers():
    made, _ = run("trpo", vector(Drift, {}), 1, normalize_obs=False)
    assert made.policy.normalizer is None and made.normalizer.moments.count == 0


# -------------------------------------------------------------------------------------------------------------- rewards


def discounted_so_far(reward, cut, gamma):
    """R_t as the sum over the steps of the same episode up to t, (T,)."""
    starts = [0, *(np.flatnonzero(cut) + 1)]
    return [sum(gamma ** (t - k) * reward[k] for k in range(max(s for s in starts if s <= t), t + 1)) for t in range(len(reward))]


def test_norm_07_the_discounted_return_starts_again_after_either_end(rng):
    T, B, gamma = 40, 3, 0.9
    reward, cut = 2 + rng.standard_normal((T, B)), rng.random((T, B)) < 0.15
    weight = (rng.random((T, B)) < 0.8).astype(float)  # rows that are no transitions do not count
    scaler = RewardScaler(RunningMoments.zeros(1), np.zeros(B))
    for rows in (slice(0, 1), slice(1, 13), slice(13, 13), slice(13, 40)):  # episodes go on over the ends of rollouts
        scaler = scaler.update(reward[rows], cut[rows], weight[rows], gamma)
    sums = np.array([discounted_so_far(reward[:, b], cut[:, b], gamma) for b in range(B)]).T
    counted = sums[weight > 0]
    np.testing.assert_allclose(scaler.moments.var, [counted.var()], rtol=1e-12)
    np.testing.assert_allclose(scaler(reward), reward / counted.std(), rtol=1e-7)  # scaled only: no mean is taken out


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("end", ["terminated", "truncated", "both"])
def test_norm_07_both_ends_restart_in_training(mode, end):
    """Rewards 1, 2, 4 in episodes of 3 with γ = ½: R = 1, 2.5, 5.25 again and again."""
    envs = vector(Counting, {"lengths": (3,), "ends": (end,), "rewards": (1.0, 2.0, 4.0)}, mode=mode)
    made, _ = run("ppo", envs, 3, num_steps=8, gamma=0.5, normalize_reward=True)
    np.testing.assert_allclose(made.scaler.moments.mean, [np.mean([1, 2.5, 5.25])], rtol=1e-12)
    np.testing.assert_allclose(made.scaler.moments.var, [np.var([1, 2.5, 5.25])], rtol=1e-12)
    assert made.scaler.moments.count == 24


def test_norm_07_scaling_keeps_signs_cuts_at_10_and_leaves_reported_returns_alone():
    scaler = RewardScaler(RunningMoments(np.array([100.0]), np.array([4.0]), 1.0), np.zeros(1))
    np.testing.assert_allclose(scaler(np.array([[3.0], [-1.0], [0.0], [500.0]])), [[1.5], [-0.5], [0.0], [10.0]], rtol=1e-8)
    made = learner("ppo", vector(Counting, {"rewards": (50.0, -20.0)}), num_steps=12, normalize_reward=True)
    returns = np.concatenate([u.returns for u in itertools.islice(made, 3)])
    np.testing.assert_array_equal(returns[:4], [80.0, 10.0, 80.0, 10.0])  # as the environment gave them
