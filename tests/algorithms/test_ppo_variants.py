"""PPO's other losses and the rules that keep KL near a target,
against the textbook's formulas and against each other.
"""

import dataclasses
import itertools

import numpy as np
import pytest
from oracles import PLAIN, gradient, made_up_batch, part_of, plain_phi, random_theta, relative_error

from minirl import algorithms
from minirl._core.reference.losses import clipped_surrogate
from minirl.algorithms import ppo
from minirl.algorithms.losses import value_loss
from minirl.algorithms.ppo import KL_COEF_RANGE, LR_RANGE, PPOConfig, adapt_kl_coef, adapt_lr, minibatch_gradient
from minirl.envs.make import make_envs
from minirl.errors import ConfigError
from minirl.models.actor_critic import Networks, SharedNetworks
from minirl.models.critic import Critic
from minirl.models.distributions import Categorical, DiagGaussian
from minirl.models.policy import Policy
from minirl.numerics.sums_over_samples import SampleWeights
from minirl.samples.batch import Minibatch
from minirl.training.learner import Learner

both_families = pytest.mark.parametrize("dist", [Categorical(3), DiagGaussian(2)], ids=lambda d: d.name)


def problem(dist, rng, n=37):
    """Networks, old and new θ of the policy alone matter: θ_old, θ (n,), a batch under θ_old."""
    nets = Networks(Policy(dist, 3, (5,), "tanh"), Critic(3, (4,), "tanh"))
    theta_old = np.concatenate([random_theta(nets.policy, rng), random_theta(nets.critic, rng)])
    batch = made_up_batch(nets.policy, theta_old[: nets.policy.num_params], n, rng)
    return nets, theta_old, theta_old + 0.1 * rng.standard_normal(len(theta_old)), batch


def policy_gradient_of(nets, theta, theta_old, batch, cfg, kl_coef):
    """The policy's part of `minibatch_gradient` on the whole batch, and its loss."""
    n = nets.policy.num_params
    phi_old = nets.policy.infer(theta_old[:n], batch.obs)
    logp_old = nets.policy.dist.log_prob(phi_old, batch.action)
    g, losses, _ = minibatch_gradient(nets, theta, part_of(batch, slice(None), logp_old, phi_old), cfg, kl_coef=kl_coef)
    return g[:n], losses.policy


def plain_penalised(nets, theta_pi, theta_old, batch, kl_coef):
    """−mean[r A − β KL(old ‖ new)], r a quotient of densities and KL the textbook's."""
    plain, n = PLAIN[nets.policy.dist.name], nets.policy.num_params
    old, new = (plain_phi(nets.policy, th, batch.obs) for th in (theta_old[:n], theta_pi))
    ratio = np.exp(plain.log_prob(new, batch.action)) / np.exp(plain.log_prob(old, batch.action))
    return -np.mean(ratio * batch.adv - kl_coef * plain.kl(old, new))


@both_families
@pytest.mark.parametrize("kl_coef", [0.0, 0.7, 30.0])
def test_clip_11_ppo_4_the_penalised_loss_and_its_gradient(dist, kl_coef, rng):
    """The penalty is the exact KL, not an estimate from samples: its gradient would be that of another function."""
    nets, theta_old, theta, batch = problem(dist, rng)
    g, loss = policy_gradient_of(nets, theta, theta_old, batch, PPOConfig(objective="kl", dtype="float64"), kl_coef)
    n = nets.policy.num_params
    assert loss == pytest.approx(plain_penalised(nets, theta[:n], theta_old, batch, kl_coef), rel=1e-11)
    expected = gradient(lambda th: plain_penalised(nets, th, theta_old, batch, kl_coef), theta[:n])
    assert relative_error(g, expected) < 1e-7  # [PPO-4]


@both_families
def test_ppo_4_beta_turns_the_direction_a_step_size_does_not(dist, rng):
    """cos of the angle to the unpenalised gradient falls as β grows;
    of the loss scaled by a step size it stays 1.  [PPO-4]
    """
    nets, theta_old, theta, batch = problem(dist, rng)
    free, _ = policy_gradient_of(nets, theta, theta_old, batch, PPOConfig(objective="kl", dtype="float64"), 0.0)

    def cosine(kl_coef):
        g, _ = policy_gradient_of(nets, theta, theta_old, batch, PPOConfig(objective="kl", dtype="float64"), kl_coef)
        return g @ free / np.sqrt((g @ g) * (free @ free))

    cosines = [cosine(b) for b in (0.0, 0.5, 2.0, 10.0)]
    assert cosines[0] == pytest.approx(1, abs=1e-12)
    assert all(a > b for a, b in itertools.pairwise(cosines)) and cosines[-1] < 0.9


@pytest.mark.parametrize(
    ("kl", "expected"),
    [(0.0066, 0.5), (0.0067, 1.0), (0.01, 1.0), (0.015, 1.0), (0.0151, 2.0), (0.0, 0.5), (np.inf, 2.0)],
)
def test_clip_18_ppo_5_the_coefficient_halves_and_doubles(kl, expected):
    """D = 0.01: below D/1.5 = 0.00667 half, above 1.5 D = 0.015 double, else as it was."""
    assert adapt_kl_coef(1.0, kl, 0.01) == expected  # [PPO-5]


def test_ppo_5_the_ends_of_the_band_belong_to_it():
    # 1.5/1.5 and 1.5·1.5 without rounding [PPO-5]
    assert adapt_kl_coef(1.0, 1.0, 1.5) == adapt_kl_coef(1.0, 2.25, 1.5) == 1.0


def test_clip_18_ppo_5_the_coefficient_stays_in_its_range():
    low = high = 1.0
    for _ in range(100):
        low, high = adapt_kl_coef(low, 0.0, 0.01), adapt_kl_coef(high, 1.0, 0.01)
    assert (low, high) == KL_COEF_RANGE


@pytest.mark.parametrize(
    ("kl", "band", "expected"),
    [
        (0.011, 1.0, 0.5),
        (0.009, 1.0, 2.0),
        (0.01, 1.0, 1.0),
        (0.011, 2.0, 1.0),
        (0.021, 2.0, 0.5),
        (0.0049, 2.0, 2.0),
        (0.0051, 2.0, 1.0),
    ],
)
def test_ppo_6_the_step_size_halves_and_doubles(kl, band, expected):
    """As printed (band 1) α moves at every update but the one that hits D exactly;
    a dead band leaves it alone near D.
    """
    assert adapt_lr(1.0, kl, 0.01, band, 1.0) == expected  # [PPO-6]


def test_ppo_6_the_step_size_stays_within_multiples_of_the_configured_one():
    low = high = 3e-4
    for _ in range(100):
        low, high = adapt_lr(low, 1.0, 0.01, 1.0, 3e-4), adapt_lr(high, 0.0, 0.01, 1.0, 3e-4)
    assert (low / 3e-4, high / 3e-4) == pytest.approx(LR_RANGE)


def test_ppo_6_as_printed_moves_at_every_update():
    cfg = PPOConfig(adapt="lr", anneal_lr=False, num_envs=2, num_steps=32, total_timesteps=256, epochs=2)
    rates = [
        u.metrics["charts/learning_rate"] for u in Learner(algorithms.find("ppo"), make_envs("CartPole-v1", 2), cfg)
    ]
    factors = {round(b / a, 9) for a, b in itertools.pairwise(rates)}
    assert rates[0] == cfg.lr and factors <= {0.5, 2.0} and len(rates) == 4


def test_ppo_5_the_coefficient_of_the_next_update_follows_the_measured_kl():
    cfg = PPOConfig(objective="kl", adapt="kl_coef", num_envs=2, num_steps=64, total_timesteps=1280, lr=3e-3)
    metrics = [u.metrics for u in Learner(algorithms.find("ppo"), make_envs("CartPole-v1", 2), cfg)]
    coefs, kls = [m["losses/kl_coef"] for m in metrics], [m["losses/approx_kl"] for m in metrics]
    for coef, kl, following in zip(coefs, kls, coefs[1:], strict=False):
        factor = 0.5 if kl < 0.01 / 1.5 else 2.0 if kl > 0.015 else 1.0
        assert following == coef * factor
    assert len(set(coefs)) > 2


@pytest.mark.parametrize(
    "fields",
    [
        {"adapt": "kl_coef"},
        {"adapt": "lr"},
        {"objective": "kl", "dual_clip": 3.0},
        {"huber": 1.0, "clip_value": 0.2},
        {"dual_clip": 1.0},
        {"dead_band": 0.5},
    ],
    ids=lambda f: "-".join(f),
)
def test_combinations_without_meaning_are_refused(fields):
    with pytest.raises(ConfigError, match=next(iter(fields))):
        PPOConfig(**fields)


def test_dual_clip_holds_bad_samples_at_c_times_the_advantage():
    """A = −1, ε = 0.2, c = 3: min(r A, clip) = −r above 1, held at −3 beyond r = 3, where the gradient is 0;
    A > 0 is untouched.
    """
    ratio = np.array([0.5, 1.0, 2.9, 3.1, 50.0])
    surrogate, dratio = clipped_surrogate(ratio, -np.ones(5), 0.2, 3.0)
    np.testing.assert_allclose(surrogate, [-0.8, -1, -2.9, -3, -3])
    np.testing.assert_array_equal(dratio, [0, -1, -1, 0, 0])
    for got, plain in zip(
        clipped_surrogate(ratio, np.ones(5), 0.2, 3.0), clipped_surrogate(ratio, np.ones(5), 0.2), strict=True
    ):
        np.testing.assert_array_equal(got, plain)


@both_families
@pytest.mark.parametrize("huber", [None, 0.7])
@pytest.mark.parametrize("shared", [False, True])
def test_bug_07_the_limit_of_huber_is_in_the_units_that_the_critic_learns_in(dist, huber, shared, rng):
    """Returns 1000 times as large, and σ too, are the same task for y: equal losses and gradients, also on the line."""
    made = SharedNetworks if shared else Networks
    nets = made(Policy(dist, 3, (5,), "tanh"), Critic(3, (5,), "tanh", scaled=True))
    state = ppo.init(nets, PPOConfig(dtype="float64", normalize_value=True), rng)
    batch = made_up_batch(nets.policy, state["theta_pi"], 37, rng, returns=2 * rng.standard_normal(37))
    cfg = PPOConfig(dtype="float64", normalize_value=True, huber=huber)
    seen = []
    for sigma in (1.0, 1000.0, 1e-6):
        critic = state["theta_v"].copy()
        critic[-2:] = 3 * sigma, sigma
        scaled = dataclasses.replace(batch, returns=sigma * (3 + batch.returns))
        logp_old = nets.policy.dist.log_prob(nets.policy.infer(state["theta_pi"], batch.obs), batch.action)
        part = part_of(scaled, logp_old=logp_old)
        g, losses, _ = minibatch_gradient(nets, nets.join(state["theta_pi"], critic), part, cfg)
        seen.append((g, losses.value))
    theta_v = nets.split(nets.join(state["theta_pi"], state["theta_v"]))[1]  # a shared trunk is the policy's
    y = nets.critic.value(theta_v, batch.obs)  # μ = 0, σ = 1
    far = np.abs(y - batch.returns)
    line = far**2 if huber is None else np.where(far <= huber, far**2, huber * (2 * far - huber))
    for g, loss in seen:
        assert loss == pytest.approx(line.mean(), rel=1e-9) and relative_error(g, seen[0][0]) < 1e-9
    assert 5 < (far > 0.7).sum() < 37 and seen[0][0][:-2].any()


def test_huber_is_the_square_near_and_a_line_far(rng):
    value, target = 3 * rng.standard_normal(29), rng.standard_normal(29)
    weights = SampleWeights(0.5 + rng.random(29))
    far = np.abs(value - target) > 0.7
    assert 3 < far.sum() < 26
    loss, dvalue = value_loss(weights, value, target, huber=0.7)
    assert (
        relative_error(dvalue, gradient(lambda v: value_loss(weights, v, target, huber=0.7)[0], value, h=1e-4)) < 1e-8
    )
    near = np.where(far, target, value)
    line = 0.7**2 + 2 * 0.7 * (np.abs(value - target) - 0.7)  # from the square's end with the square's slope
    assert loss == pytest.approx(weights.w @ np.where(far, line, (near - target) ** 2), rel=1e-12)
    assert value_loss(weights, value, target, huber=1e9)[0] == pytest.approx(
        value_loss(weights, value, target)[0], rel=1e-14
    )


def test_ppo_12_plain_ascent_is_a_step_along_the_clipped_gradient(rng):
    nets, theta_old, _, batch = problem(Categorical(3), rng)
    cfg = PPOConfig(optimizer="ascent", epochs=1, minibatch_size=37, dtype="float64", max_grad_norm=1e9, vf_coef=0.0)
    n = nets.policy.num_params
    state = ppo.init(nets, cfg, rng) | {"theta_pi": theta_old[:n], "theta_v": theta_old[n:]}
    new, _ = ppo.update(nets, state, batch, cfg, rng)
    log_prob = PLAIN["categorical"].log_prob
    score = gradient(
        lambda th: np.mean(log_prob(plain_phi(nets.policy, th, batch.obs), batch.action) * batch.adv), theta_old[:n]
    )
    assert relative_error(new["theta_pi"] - theta_old[:n], cfg.lr * score) < 1e-7  # θ_old + α ∇L  [PPO-12]
    np.testing.assert_array_equal(new["theta_v"], theta_old[n:])


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
@pytest.mark.parametrize(
    "fields",
    [
        {"objective": "kl"},
        {"objective": "kl", "adapt": "kl_coef"},
        {"adapt": "lr", "anneal_lr": False, "dead_band": 1.5},
        {"dual_clip": 3.0, "huber": 1.0, "optimizer": "ascent"},
    ],
    ids=lambda f: "-".join(f),
)
def test_every_variant_trains(env, fields):
    cfg = PPOConfig(num_envs=2, num_steps=32, total_timesteps=192, **fields)
    *_, last = Learner(algorithms.find("ppo"), make_envs(env, 2), cfg)
    assert last.number == 3 and np.isfinite(last.metrics["losses/approx_kl"]) and last.metrics["losses/approx_kl"] > 0


def test_every_algorithm_is_in_the_table_with_a_config_of_its_own():
    assert list(algorithms.ALGORITHMS) == ["reinforce", "npg", "trpo", "ppo"]
    for algorithm in algorithms.ALGORITHMS.values():
        assert dataclasses.is_dataclass(algorithm.config) and algorithm.summary


@pytest.mark.parametrize("recompute", [False, True])
def test_bug_11_clip_value_keeps_to_the_value_of_the_rollout(recompute, monkeypatch):
    """Whether the targets are renewed or not: what V is clipped about is V of the rollout, in each epoch."""
    fields = {"clip_value": 0.05, "recompute_adv": recompute, "lr": 1e-2, "normalize_reward": False}
    cfg = PPOConfig(num_envs=2, num_steps=32, total_timesteps=64, epochs=4, hidden=(8,), dtype="float64", **fields)
    learner, seen = Learner(algorithms.find("ppo"), make_envs("minirl/CartPole-v1", 2), cfg), []
    take = minibatch_gradient

    def spy(nets, theta, part, *rest):
        order = np.lexsort(part.obs.T)
        rollout = learner.nets.critic.value(learner.state["theta_v"], part.obs[order])
        seen.append((part.value[order], part.returns[order], rollout))
        return take(nets, theta, part, *rest)

    monkeypatch.setattr(ppo, "minibatch_gradient", spy)
    learner.step()
    assert len(seen) == 4
    for value, returns, rollout in seen:  # the state is the old one until the update is done
        np.testing.assert_allclose(value, rollout, rtol=1e-12)
        assert np.array_equal(returns, seen[0][1]) != (recompute and returns is not seen[0][1])


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_recomputed_advantages_are_those_of_the_critic_at_the_epochs_start(env, monkeypatch):
    """After the first epoch the samples are the same, their advantages those of `make_batch` for the moved critic."""
    cfg = PPOConfig(num_envs=2, num_steps=32, total_timesteps=64, epochs=3, recompute_adv=True, lr=1e-2)
    learner, seen = Learner(algorithms.find("ppo"), make_envs(env, 2), cfg), []
    take = minibatch_gradient

    def spy(nets, theta, part, *rest):
        order = np.lexsort(part.obs.T)  # each part is the whole batch in an order of its own
        seen.append(
            (
                theta[nets.policy.num_params :].copy(),
                Minibatch(part.weights, *[None if x is None else x[order] for x in part[1:]]),
            )
        )
        return take(nets, theta, part, *rest)

    monkeypatch.setattr(ppo, "minibatch_gradient", spy)
    learner.step()
    assert len(seen) == 3  # one minibatch an epoch
    first = seen[0][1]
    for critic, batch in seen[1:]:
        np.testing.assert_array_equal(batch.obs, first.obs)
        np.testing.assert_array_equal(batch.action, first.action)
        # rows in another order
        np.testing.assert_allclose(batch.value, learner.nets.critic.value(critic, batch.obs), rtol=1e-5, atol=1e-6)
        assert not np.array_equal(batch.adv, first.adv)
        lengths = (batch.returns - batch.value) - (first.returns - first.value)
        assert np.abs(lengths).max() > 0
