"""Running moments, and the two normalisers made of them."""

import copy
import itertools

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from oracles import same_bits
from toy_envs import ALGORITHMS, MODES, Counting, Drift, learner, run, vector

import minirl.training.trainee
from minirl.deploy import policy_file
from minirl.envs.make import make_envs
from minirl.errors import NonFiniteError
from minirl.models.input_pipeline import ObsNormalizer
from minirl.numerics.running_moments import RunningMoments
from minirl.numerics.sums_over_samples import SampleWeights
from minirl.samples.reward_scaling import RewardScaler
from minirl.spaces.observations import BoxObs
from minirl.training.evaluation import evaluate


def counted(n):
    """The weights of n samples that all count."""
    return SampleWeights(np.ones(n))


def take(chunks, dim=1):
    """Moments of chunks (n, dim), one after the other."""
    moments = RunningMoments.zeros(dim)
    for x in chunks:
        moments = moments.update(np.asarray(x, float).reshape(-1, dim), counted(len(x)))
    return moments


# ------------------------------------------------------------------------------------------------------------- moments


def test_norm_03_merging_random_parts_equals_one_pass(rng):
    """10⁶ samples at offset 10⁸, in parts of which some are empty or of one;
    the oracle takes the offset out and works in long double.
    """
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
    moments = (
        RunningMoments.zeros(3).update(x[:10], SampleWeights(weight[:10])).update(x[10:], SampleWeights(weight[10:]))
    )
    repeated = np.repeat(x, weight.astype(int), axis=0)
    assert moments.count == len(repeated)
    np.testing.assert_allclose(moments.mean, repeated.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.var, repeated.var(axis=0), rtol=1e-12)


def test_norm_04_a_huge_count_stays_finite_and_hardly_moves():
    before = RunningMoments(np.array([3.0]), np.array([4e15]), 1e15)
    after = before.update(np.full((2048, 1), 103.0), counted(2048))
    np.testing.assert_allclose(after.mean - 3, 100 * 2048 / 1e15, rtol=1e-5)
    np.testing.assert_allclose(after.var, 4.0, rtol=1e-7)
    assert after.count == 1e15 + 2048


def test_norm_09_statistics_start_from_nothing():
    """No invented first sample: nothing is scaled before the first one, one has variance 0, two have theirs exactly."""
    moments = RunningMoments.zeros(1)
    np.testing.assert_allclose(ObsNormalizer(moments)(np.array([[3.5], [-200.0]])), [[3.5], [-10.0]], rtol=1e-7)
    one = moments.update(np.array([[5.0]]), counted(1))
    assert (one.mean[0], one.var[0], one.count) == (5.0, 0.0, 1)
    two = one.update(np.array([[8.0]]), counted(1))
    assert (two.mean[0], two.var[0], two.count) == (6.5, 2.25, 2)
    assert two.update(np.zeros((0, 1)), counted(0)) is two


# --------------------------------------------------------------------------------------------------------- observations


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_norm_05_bug_06_a_constant_feature_becomes_and_stays_0_and_surprises_are_cut(dtype, rng):
    x = np.stack([np.full(50, 7.25), rng.standard_normal(50) * 4 - 2], axis=1).astype(dtype)
    normalizer = ObsNormalizer(RunningMoments.zeros(2)).update(x, counted(50))
    y = normalizer(x)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y[:, 0], 0)
    np.testing.assert_allclose([y[:, 1].mean(), y[:, 1].std()], [0, 1], atol=1e-6)
    np.testing.assert_array_equal(normalizer(np.array([[8, 1e6], [7, -1e6]], dtype)), [[0, 10], [0, -10]])


@pytest.mark.parametrize("mode", MODES)
def test_norm_06_what_is_counted(mode):
    """Each observation that was acted on, once: first ones of episodes are, final ones (13, 23) are not."""
    made, _ = run("ppo", vector(Counting, {"lengths": (3,), "ends": ("terminated", "truncated")}, mode=mode), 1)
    seen = [10, 11, 12, 20, 21, 22, 30]
    np.testing.assert_allclose(
        [made.normalizer.moments.mean[0], made.normalizer.moments.var[0]], [np.mean(seen), np.var(seen)], rtol=1e-12
    )
    assert made.normalizer.moments.count == 7


@pytest.mark.parametrize("actions", [3, 2, spaces.Box(-1, 1, (2,))], ids=["three", "two", "box"])
def test_norm_08_clip_05_the_statistics_stand_still_from_acting_to_learning(actions, monkeypatch):
    """log π(a|s) at acting time and in the batch agree to rounding, though the statistics move with every update."""
    made = learner("ppo", vector(Drift, *[{"actions": actions}] * 3), normalize_obs=True)
    policy, acted, batches = made.nets.policy, [], []
    infer, actor, make = policy.infer, policy.actor, minirl.training.trainee.make_batch

    def watched(theta, preprocess):
        def act(obs, noise, mask):
            acted.append(infer(theta, preprocess(obs)))
            action = actor(theta, preprocess)(obs, noise, mask)
            np.testing.assert_array_equal(action, policy.dist.from_noise(acted[-1], noise))
            return action

        return act

    monkeypatch.setattr(policy, "actor", watched)
    monkeypatch.setattr(minirl.training.trainee, "make_batch", lambda *args: batches.append(make(*args)) or batches[-1])
    for _ in range(3):
        acted.clear()
        theta = made.state["theta_pi"]
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
        assert all(
            same_bits(before[part], after[part])
            for part in ("algorithm", "normalizer", "scaler", "counters", "updates_stream")
        )
        assert np.isfinite(made.normalizer.moments.mean).all() and np.isfinite(made.normalizer.moments.m2).all()


def test_norm_01_evaluation_and_further_training_change_nothing_of_an_agent():
    made = learner("trpo", make_envs("CartPole-v1", 2), num_steps=50, normalize_obs=True)
    made.step(), made.step()
    agent, obs = made.policy, np.random.default_rng(0).standard_normal((99, 4)).astype(np.float32)

    def everything(agent):
        return {"theta": agent.theta, "phi": agent.phi(obs), "inv_std": agent.normalizer.inv_std} | vars(
            agent.normalizer.moments
        )

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
    return [
        sum(gamma ** (t - k) * reward[k] for k in range(max(s for s in starts if s <= t), t + 1))
        for t in range(len(reward))
    ]


def test_norm_07_the_discounted_return_starts_again_after_either_end(rng):
    T, B, gamma = 40, 3, 0.9
    reward, cut = 2 + rng.standard_normal((T, B)), rng.random((T, B)) < 0.15
    weight = (rng.random((T, B)) < 0.8).astype(float)  # rows that are no transitions do not count
    scaler = RewardScaler(RunningMoments.zeros(1), np.zeros(B))
    for rows in (slice(0, 1), slice(1, 13), slice(13, 13), slice(13, 40)):  # episodes go on over the ends of rollouts
        scaler = scaler.update(reward[rows], cut[rows], SampleWeights(weight[rows].reshape(-1)), gamma)
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


def test_norm_07_scaling_keeps_signs_and_leaves_reported_returns_alone():
    scaler = RewardScaler(RunningMoments(np.array([100.0]), np.array([4.0]), 1.0), np.zeros(1))
    np.testing.assert_allclose(
        scaler(np.array([[3.0], [-1.0], [0.0], [500.0]])), [[1.5], [-0.5], [0.0], [250.0]], rtol=1e-15
    )
    made = learner("ppo", vector(Counting, {"rewards": (50.0, -20.0)}), num_steps=12, normalize_reward=True)
    returns = np.concatenate([u.returns for u in itertools.islice(made, 3)])
    np.testing.assert_array_equal(returns[:4], [80.0, 10.0, 80.0, 10.0])  # as the environment gave them


class Bandit(gymnasium.Env):
    """One step, reward offset + a."""

    observation_space, action_space = spaces.Box(-1, 1, (1,)), spaces.Discrete(2)

    def __init__(self, offset):
        self.offset = offset

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), self.offset + float(action), True, False, {}


@pytest.mark.parametrize("offset", [0.0, 6.0, -30.0])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_bug_01_an_offset_of_the_reward_hides_nothing(algorithm, offset):
    made, _ = run(
        algorithm, vector(Bandit, *[{"offset": offset}] * 4), 12, num_steps=32, normalize_reward=True, minibatch_size=64
    )
    low, high = made.policy.phi(np.zeros((1, 1)))[0]
    assert high > low + 0.1


@pytest.mark.parametrize("rewards", [[6, 7], [1, 1.05], [1e-9, 3e-9], [-1e30, 1e30], [1e8, 1e8 + 1]])
def test_bug_01_scaled_rewards_keep_their_order_and_the_ratio_of_their_differences(rewards, rng):
    """In one-step episodes, at the end of long ones, and in a task that goes on:
    differences over σ(R), whatever they are.
    """
    reward, T = rng.choice(rewards, (400, 1)), 400
    for cut in (np.ones((T, 1), bool), np.arange(T)[:, None] % 50 == 49, np.zeros((T, 1), bool)):
        scaler = RewardScaler(RunningMoments.zeros(1), np.zeros(1)).update(reward, cut, counted(T), 0.9)
        low, high = scaler(np.array(rewards, float))
        np.testing.assert_allclose(high - low, (rewards[1] - rewards[0]) / np.sqrt(scaler.moments.var[0]), rtol=1e-6)
        assert high > low


def test_bug_01_the_last_reward_of_a_long_episode_is_worth_more_than_that_of_a_failure():
    reward = np.zeros((1000, 2))
    reward[-1] = 1.0, 0.5
    cut = np.zeros((1000, 2), bool)
    cut[-1] = True
    scaler = RewardScaler(RunningMoments.zeros(1), np.zeros(2)).update(reward, cut, counted(2000), 0.99)
    good, bad = scaler(reward)[-1]
    assert good == 2 * bad > 10


def test_bug_01_rewards_are_cut_where_it_is_asked_for_and_the_share_is_told():
    """Rewards 1, 2, 30, over and over: a third of them is beyond 5."""
    envs = vector(Counting, {"rewards": (1.0, 2.0, 30.0)})
    _, updates = run("ppo", envs, 2, num_steps=12, reward_limit=5.0, normalize_adv=False, lam=0.0)
    assert [u.metrics["charts/rewards_cut"] for u in updates] == pytest.approx([1 / 3, 1 / 3])
    assert "charts/rewards_cut" not in run("ppo", vector(Counting, {}), 1)[1][0].metrics
    np.testing.assert_array_equal(updates[0].returns, [33.0] * 4)  # as the environment gave them


# ------------------------------------------------------------------------------------------ units and digits of numbers


def pairs(values, n=500):
    """A column that takes two values in turn."""
    return np.resize(np.asarray(values, float), n)[:, None]


UNITS = [1e-30, 1e-9, 1e-6, 1e-4, 1.0, 1e6, 1e30]


@pytest.mark.parametrize(
    "unit, dtype", [*((u, np.float32) for u in UNITS), *((u, np.float64) for u in (1e-150, *UNITS, 1e150))]
)
def test_bug_06_what_varies_becomes_1_in_any_unit(unit, dtype):
    x = pairs([unit, -unit]).astype(dtype)
    normalizer = ObsNormalizer(RunningMoments.zeros(1)).update(x, counted(len(x)))
    np.testing.assert_allclose(normalizer(x), pairs([1, -1]), rtol=1e-6)


def test_bug_06_rounding_is_not_variation_but_the_smallest_real_one_is():
    """Two neighbouring float32 numbers are the rounding of one; in a float64 space a part in 10¹¹ is still seen."""
    one = np.float32(1)
    cases = [("float32", [one, np.nextafter(one, np.float32(2))], 0), ("float32", [1, 1 + 2e-6], 1)]
    cases += [("float64", [1, 1 + 2e-11], 1), ("float64", [0.1 + 0.2, 0.3], 0), ("int64", [10**12, 10**12 + 100], 1)]
    for dtype, values, size in cases:
        codec, x = BoxObs((1,), dtype), pairs(values)
        normalizer = ObsNormalizer(RunningMoments.zeros(1), codec.resolution).update(x, counted(len(x)))
        np.testing.assert_allclose(np.abs(normalizer(x)), size, rtol=1e-3, err_msg=str((dtype, values)))


def test_bug_06_a_feature_that_stood_still_and_moves_later_is_0_until_it_is_counted(rng):
    normalizer = ObsNormalizer(RunningMoments.zeros(1)).update(np.full((300, 1), 5.0), counted(300))
    np.testing.assert_array_equal(normalizer(np.array([[5.001], [4.0]])), 0)
    moved = normalizer.update(5 + rng.standard_normal((3000, 1)), counted(3000))
    assert np.abs(moved(5 + rng.standard_normal((3000, 1)))).std() < 1.2


class Place(gymnasium.Env):
    """Which side of `far` am I on? Reward 1 for saying it; seen as one float64, as part of a Dict, or as an int64."""

    action_space = spaces.Discrete(2)

    def __init__(self, far, kind="float64"):
        self.far, self.kind = far, kind
        box = spaces.Box(-np.inf, np.inf, (1,), np.float64)
        whole = spaces.Box(-(2**60), 2**60, (1,), np.int64)
        self.observation_space = {
            "float64": box,
            "int64": whole,
            "dict": spaces.Dict({"where": box, "what": spaces.Discrete(2)}),
        }[kind]

    def _see(self):
        self.side = int(self.np_random.integers(2))
        x = np.array([self.far + (self.side - 0.5) * (2 if self.kind == "int64" else 0.4)])
        return {"where": x, "what": 0} if self.kind == "dict" else x.astype(self.observation_space.dtype)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._see(), {}

    def step(self, action):
        reward, self.t = float(action == self.side), self.t + 1
        return self._see(), reward, self.t == 10, False, {}


@pytest.mark.parametrize("kind", ["float64", "int64", "dict"])
@pytest.mark.parametrize("far", [0.0, 5_400_000.0, 1_700_000_000.0])
def test_bug_02_a_large_offset_costs_no_digits(far, kind, tmp_path):
    """Trained, evaluated, saved, loaded, in float32: as at 0."""
    made, _ = run(
        "trpo", vector(Place, *[{"far": far, "kind": kind}] * 4), 6, num_steps=64, dtype="float32", normalize_obs=True
    )
    agent, env = made.policy, Place(far, kind)
    policy_file.save(tmp_path / "p", agent, "trpo", "")
    loaded = policy_file.load(tmp_path / "p")[0]
    obs, _ = env.reset(seed=1)
    for _ in range(20):
        assert agent.act(obs) == loaded.act(obs) == env.side
        batch = {key: np.asarray(x)[None] for key, x in obs.items()} if kind == "dict" else obs[None]
        assert loaded.act_batch(batch)[0] == env.side
        obs = env._see()


def test_bug_02_float32_spaces_are_kept_in_float32():
    made, _ = run("ppo", make_envs("CartPole-v1", 2), 1, dtype="float32", normalize_obs=True)
    assert made.collector.state.obs.dtype == np.float32 and made.policy.encoded_type == np.float32
    raw = learner("ppo", vector(Place, {"far": 0.0}), dtype="float32", normalize_obs=False)
    assert raw.collector.state.obs.dtype == np.float32  # there is no mean to be taken off
