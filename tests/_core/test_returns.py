"""Advantages and returns: the golden numbers, the sums that define them, and the ends of episodes.

[GAE-1 … GAE-4, PG-6, PPO-11]

The oracles are the defining sums (and a matrix of powers), never the recursion; most cases go through `make_batch`, as
training does.
"""

import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import step_weights
from scipy.signal import lfilter
from toy_envs import MODES, Counting, Drift, learner, vector

from minirl import _core
from minirl._core.reference import returns
from minirl.algorithms.losses import value_loss
from minirl.numerics.sums_over_samples import SampleWeights
from minirl.samples.advantages import evaluate_states
from minirl.samples.batch import make_batch
from minirl.samples.rollout import Rollout

NO_END = [5.15132672, 5.960176, 5.6808, 3.89]
TERMINATED_AT_1 = [2.012, 1.6, 5.6808, 3.89]
TRUNCATED_AT_1 = [2.4656, 2.23, 5.6808, 3.89]


def golden(terminated=(), truncated=(), v=(0.5, 0.4, 0.3, 0.2), v_final=0.7, v_last=0.1, gamma=0.9, lam=0.8):
    """Advantages (4,) and returns (4,) of the golden set by `make_batch`:
    state t is observed as [t], a final observation as [100 + t].
    """
    flags = np.zeros((2, 4, 1), bool)
    flags[0, list(terminated)], flags[1, list(truncated)] = True, True
    table = dict(enumerate(v)) | {4: v_last} | {100 + t: v_final for t in range(4)}
    cut = flags.any(axis=0)[:, 0]
    rollout = Rollout(
        obs=np.arange(4.0).reshape(4, 1, 1),
        action=np.zeros((4, 1), np.int64),
        reward=np.arange(1.0, 5.0).reshape(4, 1),
        next_obs=np.where(cut, 100 + np.arange(4.0), 1 + np.arange(4.0)).reshape(4, 1, 1),
        terminated=flags[0],
        truncated=flags[1] & ~flags[0],
        valid=np.ones((4, 1), bool),
    )
    cfg = types.SimpleNamespace(gamma=gamma, lam=lam, advantage="gae", normalize_adv=False)
    batch = make_batch(
        rollout,
        rollout.reward,
        step_weights(rollout),
        lambda obs: np.array([table[int(x)] for x in obs[:, 0]]),
        lambda obs: obs,
        cfg,
    )
    return batch.adv, batch.returns


def gae_by_powers(reward, value, next_value, terminated, cut, gamma, lam):
    """A = M δ, M[t, s] = (γλ)^(s−t) for s ≥ t with no cut in t … s−1:
    the sum of [GAE-2] as one matrix per environment.
    """
    T, B = reward.shape
    adv = np.zeros((T, B))
    for b in range(B):
        episode = np.concatenate([[0], np.cumsum(cut[:-1, b])]) if T else np.zeros(0)
        ahead = np.subtract.outer(np.arange(T), np.arange(T)).T  # s − t
        powers = np.where((ahead >= 0) & np.equal.outer(episode, episode), (gamma * lam) ** np.maximum(ahead, 0), 0.0)
        adv[:, b] = powers @ (reward[:, b] + gamma * np.where(terminated[:, b], 0, next_value[:, b]) - value[:, b])
    return adv


def made_up(rng, T, B, p_term=0.1, p_trunc=0.1):
    """reward, value, next_value, terminated, cut (T, B), with terminated and truncated never both."""
    reward, value, next_value = rng.standard_normal((3, T, B))
    terminated = rng.random((T, B)) < p_term
    return reward, value, next_value, terminated, terminated | (rng.random((T, B)) < p_trunc)


# --------------------------------------------------------------------------------------------------- the golden numbers


@pytest.mark.parametrize(
    ("case", "ends", "expected"),
    [
        ("RET-01 no end", {}, NO_END),
        ("RET-02 terminated", {"terminated": [1]}, TERMINATED_AT_1),
        ("RET-03 truncation bootstraps from the final observation", {"truncated": [1]}, TRUNCATED_AT_1),
        ("RET-05 both flags: terminated wins", {"terminated": [1], "truncated": [1]}, TERMINATED_AT_1),
        ("RET-07 terminated in the last row", {"terminated": [3]}, [5.1177344, 5.91352, 5.616, 3.8]),
        ("RET-07 truncated in the last row", {"truncated": [3]}, [5.35288064, 6.240112, 6.0696, 4.43]),
    ],
)
def test_ret_01_02_03_05_07_golden_numbers(case, ends, expected):  # [PPO-11]
    adv, returns = golden(**ends)
    np.testing.assert_allclose(adv, expected, rtol=1e-12, err_msg=case)
    np.testing.assert_allclose(returns - adv, [0.5, 0.4, 0.3, 0.2], rtol=1e-12)  # the critic's targets are A + V


def test_ret_04_a_truncation_does_not_leak_into_the_episode_before():
    v = np.array([0.5, 0.4, 0.3, 0.2])
    td = np.array([1, 2, 3, 4]) + 0.9 * np.array([0.4, 0.7, 0.2, 0.1]) - v
    leak = [sum(0.72**k * td[t + k] for k in range(4 - t)) for t in range(4)]
    np.testing.assert_allclose(leak[:2], [5.4105, 6.3202], atol=1e-4)  # the bug's numbers …
    adv, _ = golden(truncated=[1])
    assert np.abs(adv[:2] - leak[:2]).min() > 2.5  # … are far from ours
    changed, _ = golden(truncated=[1], v=(0.5, 0.4, 7.0, -3.0), v_last=11.0)
    np.testing.assert_array_equal(changed[:2], adv[:2])  # nothing after the cut is seen before it
    assert (changed[2:] != adv[2:]).all()


def test_ret_06_the_reset_observation_is_no_bootstrap():
    adv, _ = golden(truncated=[1], v=(0.5, 0.4, 99.0, 0.2))
    np.testing.assert_allclose(adv[:2], TRUNCATED_AT_1[:2], rtol=1e-12)
    np.testing.assert_allclose(adv[2], 3 + 0.9 * 0.2 - 99 + 0.72 * 3.89, rtol=1e-12)


def test_ret_08_gae_3_lambda_0_is_the_td_error():
    np.testing.assert_allclose(golden(lam=0.0)[0], [0.86, 1.87, 2.88, 3.89], rtol=1e-12)


def test_ret_08_gae_4_lambda_1_is_monte_carlo_minus_v():
    adv, returns = golden(lam=1.0)
    np.testing.assert_allclose(adv, [7.71161, 7.6129, 6.381, 3.89], rtol=1e-12)
    monte_carlo = [sum(0.9**k * (t + k + 1) for k in range(4 - t)) + 0.9 ** (4 - t) * 0.1 for t in range(4)]
    np.testing.assert_allclose(returns, monte_carlo, rtol=1e-12)


@pytest.mark.parametrize("T", [1, 2, 17])
def test_ret_09_gamma_1_lambda_1_with_a_constant_value(T):
    reward, value = np.zeros((T, 1)), np.full((T, 1), 3.5)
    reward[-1] = 10.0
    ends = np.zeros((T, 1), bool)
    ends[-1] = True
    np.testing.assert_array_equal(_core.gae(reward, value, value, ends, ends, 1.0, 1.0), np.full((T, 1), 6.5))


# ----------------------------------------------------------------------------------------------------------- the sums


@pytest.mark.parametrize(("gamma", "lam"), [(0.99, 0.95), (0.9, 0.0), (0.9, 1.0), (1.0, 1.0), (0.0, 0.7)])
def test_gae_1_gae_2_is_the_discounted_sum_of_td_errors(rng, gamma, lam):
    T, B = 13, 3
    reward, value, next_value, terminated, cut = made_up(rng, T, B)
    adv = _core.gae(reward, value, next_value, terminated, cut, gamma, lam)
    for t, b in np.ndindex(T, B):
        last = next((s for s in range(t, T) if cut[s, b]), T - 1)
        delta = [
            reward[s, b] + (0 if terminated[s, b] else gamma * next_value[s, b]) - value[s, b]
            for s in range(t, last + 1)
        ]
        np.testing.assert_allclose(
            adv[t, b], sum((gamma * lam) ** k * d for k, d in enumerate(delta)), rtol=1e-11, atol=1e-13
        )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 300), st.integers(0, 8), st.floats(0, 1), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_ret_13_gae_equals_the_matrix_of_powers(T, B, p_end, lam, seed):
    rng = np.random.default_rng(seed)
    arrays = made_up(rng, T, B, p_end * 0.3, p_end * 0.3)
    expected = gae_by_powers(*arrays, 0.97, lam)
    scale = np.abs(expected).max(initial=1.0)
    np.testing.assert_allclose(
        _core.gae(*arrays, 0.97, lam), expected, rtol=0, atol=scale * np.finfo(float).eps * (T + 8)
    )


def test_pg_6_ret_15_reward_to_go_continues_an_unfinished_episode_by_its_value():
    """Column 0: an episode that ends, then one the rollout cuts. Column 1: truncated, then terminated.

    V' is 10 t + b + 5.
    """
    reward = np.array([[1.0, 2, 4, 8, 16], [3.0, 5, 7, 11, 13]]).T
    next_value = 10.0 * np.arange(5)[:, None] + np.arange(2) + 5
    terminated = np.array([[0, 0, 1, 0, 0], [0, 0, 0, 0, 1]], bool).T
    cut = terminated | np.array([[0, 0, 0, 0, 0], [0, 1, 0, 0, 0]], bool).T
    g = 0.5
    expected = np.array(
        [
            # G_0 is the full return, G_1 leaves r_0 out
            [1 + 2 * g + 4 * g**2, 2 + 4 * g, 4, 8 + 16 * g + 45 * g**2, 16 + 45 * g],
            [3 + 5 * g + 16 * g**2, 5 + 16 * g, 7 + 11 * g + 13 * g**2, 11 + 13 * g, 13],
        ]
    ).T
    np.testing.assert_allclose(_core.discounted_returns(reward, next_value, terminated, cut, g), expected, rtol=1e-15)


def test_ret_15_reward_to_go_is_gae_at_lambda_1_plus_v(rng):
    reward, value, next_value, terminated, cut = made_up(rng, 31, 3)
    inside = ~cut
    inside[-1] = False
    # within an episode V(s'_t) is V of the next row
    next_value[:-1] = np.where(inside[:-1], value[1:], next_value[:-1])
    returns = _core.discounted_returns(reward, next_value, terminated, cut, 0.93)
    expected = gae_by_powers(reward, value, next_value, terminated, cut, 0.93, 1.0) + value
    np.testing.assert_allclose(returns, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["trajectory", "reward_to_go", "baseline"])
def test_ret_15_pg_5_pg_6_pg_8_the_ladder_of_advantages(kind, mode):
    """R(τ), G_t and G_t − V of every real transition, episode by episode from the stepped environments; V(s) is s/8."""
    sets = [
        {"lengths": (3, 4), "ends": ("terminated", "truncated")},
        {"lengths": (5,)},
        {"lengths": (1, 2, 40), "ends": ("truncated",)},
    ]
    made = learner(
        "reinforce", vector(Counting, *[s | {"rewards": (1.0, -2.0, 4.0, 0.5)} for s in sets], mode=mode), num_steps=18
    )
    rollout = made.collector.collect(made.state["theta_pi"], lambda obs: obs)
    cfg = types.SimpleNamespace(gamma=0.5, lam=0.8, advantage=kind, normalize_adv=False)
    batch = make_batch(rollout, rollout.reward, step_weights(rollout), lambda obs: obs[:, 0] / 8, lambda obs: obs, cfg)

    expected, targets, episodes = np.full((18, 3), np.nan), np.full((18, 3), np.nan), 0
    for b in range(3):
        real = np.flatnonzero(rollout.valid[:, b])
        for rows in np.split(real, np.flatnonzero(rollout.cut[real, b]) + 1):
            if not len(rows):
                continue
            episodes += 1
            tail = 0.0 if rollout.terminated[rows[-1], b] else rollout.next_obs[rows[-1], b, 0] / 8
            rewards = [*rollout.reward[rows, b], tail]  # the value continues what is not finished
            go = [sum(0.5**k * r for k, r in enumerate(rewards[i:])) for i in range(len(rows))]
            v = rollout.obs[rows, b, 0] / 8
            targets[rows, b] = go
            expected[rows, b] = {"trajectory": go[0], "reward_to_go": go, "baseline": go - v}[kind]
    np.testing.assert_allclose(batch.adv, expected[rollout.valid], rtol=1e-12)
    np.testing.assert_allclose(batch.returns, targets[rollout.valid], rtol=1e-12)
    assert batch.trajectories == episodes > 5


def test_ret_12_sums_are_in_float64(rng):
    T, gamma = 2048, 0.999
    reward, value = (
        (10 * rng.standard_normal((T, 1))).astype(np.float32),
        (100 + rng.standard_normal((T, 1))).astype(np.float32),
    )
    next_value = np.append(value[1:], [[np.float32(99.5)]], axis=0)
    no = np.zeros((T, 1), bool)
    td = reward.astype(np.float64) + gamma * next_value.astype(np.float64) - value
    expected = lfilter([1.0], [1.0, -gamma], td[::-1], axis=0)[::-1]
    for gae in (_core.gae, returns.gae):
        adv = gae(reward, value, next_value, no, no, gamma, 1.0)  # float32 in, float64 sums
        assert adv.dtype == np.float64
        np.testing.assert_array_equal(adv, expected)

    narrow = np.zeros(T, np.float32)
    for t in range(T - 1, -1, -1):
        narrow[t] = np.float32(td[t, 0]) + np.float32(gamma) * (narrow[t + 1] if t + 1 < T else np.float32(0))
    assert np.abs(narrow - expected[:, 0]).max() > 1e-7 * np.abs(expected).max()  # what float32 sums would have lost


# --------------------------------------------------------------------------------------------------------------- shapes


@pytest.mark.parametrize("shape", [(1, 1), (0, 3), (3, 0), (0, 0), (1, 5), (5, 1)])
def test_ret_10_odd_shapes(rng, shape):
    reward, value, next_value, terminated, cut = made_up(rng, *shape)
    assert _core.gae(reward, value, next_value, terminated, cut, 0.9, 0.8).shape == shape
    assert _core.discounted_returns(reward, next_value, terminated, cut, 0.9).shape == shape
    sums, carry = _core.running_return(reward, cut, np.zeros(shape[1]), 0.9)
    assert sums.shape == shape and carry.shape == (shape[1],)
    T, B = shape
    obs, action, valid = np.zeros((T, B, 2)), np.zeros((T, B, 3)), np.ones(shape, bool)
    rollout = Rollout(obs, action, reward, obs, terminated, cut & ~terminated, valid)
    cfg = types.SimpleNamespace(gamma=0.9, lam=0.8, advantage="gae", normalize_adv=True)
    batch = make_batch(rollout, reward, step_weights(rollout), lambda obs: np.zeros(len(obs)), lambda obs: obs, cfg)
    assert (
        batch.obs.shape == (T * B, 2)
        and batch.action.shape == (T * B, 3)
        and batch.adv.shape == batch.weights.w.shape == (T * B,)
    )


def test_ret_10_n_environments_are_n_single_ones(rng):  # [PPO-10]
    arrays = made_up(rng, 37, 5)
    together = _core.gae(*arrays, 0.97, 0.9)
    for b in range(5):
        alone = _core.gae(*(np.ascontiguousarray(x[:, b : b + 1]) for x in arrays), 0.97, 0.9)
        np.testing.assert_array_equal(together[:, b : b + 1], alone)


@pytest.mark.parametrize("shape", [(1, 1), (6, 1), (1, 4), (7, 5)], ids=str)
def test_ppo_10_ppo_11_every_actors_states_are_seen_once_and_ends_are_told_apart(rng, shape):
    """By loops over actors and steps, for a V whose every number is another:
    V of the next row, of the final observation, or nothing.
    """
    (T, B), D = shape, 3
    obs, final = rng.standard_normal((2, T, B, D))
    ends = rng.integers(0, 3, shape)  # 0 goes on, 1 terminated, 2 truncated
    rollout = Rollout(
        obs, np.zeros(shape, np.int64), np.zeros(shape), final, ends == 1, ends == 2, np.ones(shape, bool)
    )
    weight, shift = rng.standard_normal(D), rng.standard_normal(D)

    def v(x):
        return np.tanh(x @ weight)

    seen, value, next_value = evaluate_states(rollout, v, lambda x: x + shift)
    assert seen.shape == (T * B, D) and value.shape == next_value.shape == shape
    for t in range(T):
        for b in range(B):
            np.testing.assert_array_equal(seen[t * B + b], obs[t, b] + shift)  # actors stand side by side  [PPO-10]
            follows = final[t, b] if ends[t, b] == 2 or t == T - 1 else obs[t + 1, b] if t + 1 < T else None
            expected = 0.0 if ends[t, b] == 1 else v(follows + shift)  # [PPO-11]
            assert value[t, b] == pytest.approx(v(obs[t, b] + shift), rel=1e-12)
            assert next_value[t, b] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("bad", range(5))
def test_ret_11_shapes_that_would_broadcast_are_refused(rng, bad):
    arrays = list(made_up(rng, 4, 3))
    arrays[bad] = np.ascontiguousarray(arrays[bad][:, :1])  # (4, 1) would broadcast to (4, 3)
    with pytest.raises(ValueError):
        _core.gae(*arrays, 0.9, 0.8)
    if bad != 1:
        with pytest.raises(ValueError):
            _core.discounted_returns(arrays[0], *arrays[2:], 0.9)


def test_ret_11_a_column_of_values_is_refused(rng):
    weights = SampleWeights(np.ones(4))
    with pytest.raises(ValueError):
        value_loss(weights, rng.standard_normal((4, 1)), rng.standard_normal(4))
    with pytest.raises(ValueError):
        weights.mean(rng.standard_normal((4, 1)))
    with pytest.raises(ValueError):
        weights.mean(rng.standard_normal((4, 4)))
    with pytest.raises(ValueError):
        _core.running_return(rng.standard_normal((4, 3)), np.zeros((4, 3), bool), np.zeros(1), 0.9)


# -------------------------------------------------------------------------------------------- rollouts cut by the clock


def test_ret_14_two_short_rollouts_against_one_long(rng):
    T, gamma, lam = 9, 0.97, 0.9
    v = rng.standard_normal(2 * T + 1)
    reward, no = rng.standard_normal((2 * T, 1)), np.zeros((2 * T, 1), bool)
    value, next_value = v[:-1, None], v[1:, None]
    long = _core.gae(reward, value, next_value, no, no, gamma, lam)
    first, second = (
        _core.gae(*(x[part] for x in (reward, value, next_value, no, no)), gamma, lam)
        for part in (slice(T), slice(T, None))
    )
    np.testing.assert_allclose(second, long[T:], rtol=1e-12)
    missing = (gamma * lam) ** np.arange(T, 0, -1)[:, None] * long[T]  # exactly what the clock cut off
    np.testing.assert_allclose(long[:T] - first, missing, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("mode", MODES)
def test_ret_14_the_collector_goes_on_where_it_stopped(mode):
    """Two rollouts of 6 hold the transitions of one of 12: episodes and noise streams run through."""
    rollouts = {}
    for num_steps, times in ((12, 1), (6, 2)):
        run = learner("trpo", vector(Drift, *[{}] * 3, mode=mode), num_steps=num_steps)
        parts = []
        for _ in range(times):
            parts.append(run.collector.collect(run.state["theta_pi"], lambda obs: obs))
            run.collector.commit()
        arrays = [name for name, field in vars(parts[0]).items() if isinstance(field, np.ndarray)]
        rollouts[times] = [np.concatenate([getattr(p, name) for p in parts]) for name in arrays]
    for once, twice in zip(rollouts[1], rollouts[2], strict=True):
        np.testing.assert_array_equal(once, twice)


@pytest.mark.parametrize("mode", MODES)
def test_ret_03_env_03_every_autoreset_mode_gives_the_golden_numbers(mode):
    """Rewards 1, 2 | 3, 4 with a truncation after the second, stepped by gymnasium:
    V(final) enters, V(reset) does not.
    """
    envs = vector(Counting, {"lengths": (2, 9), "ends": ("truncated",), "rewards": (1.0, 2.0, 3.0, 4.0)}, mode=mode)
    table = {10: 0.5, 11: 0.4, 12: 0.7, 20: 0.3, 21: 0.2, 22: 0.1}
    run = learner("trpo", envs, num_steps=4, gamma=0.9, lam=0.8, normalize_obs=False)
    rollout = run.collector.collect(run.state["theta_pi"], lambda obs: obs)
    np.testing.assert_array_equal(rollout.obs[:, 0, 0], [10, 11, 20, 21])
    np.testing.assert_array_equal(rollout.next_obs[:, 0, 0], [11, 12, 21, 22])
    _, value, next_value = evaluate_states(
        rollout, lambda obs: np.array([table[int(x)] for x in obs[:, 0]]), lambda obs: obs
    )
    adv = _core.gae(rollout.reward, value, next_value, rollout.terminated, rollout.cut, 0.9, 0.8)
    np.testing.assert_allclose(adv[:, 0], TRUNCATED_AT_1, rtol=1e-12)
