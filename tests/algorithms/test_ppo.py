"""The clipped objective and its update, against the textbook's densities, five-point differences and worked numbers."""

import dataclasses
import itertools
import random

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import (
    PLAIN,
    chosen,
    gradient,
    made_up_batch,
    on_rank,
    on_ranks,
    part_of,
    plain_kl,
    plain_mlp,
    plain_phi,
    random_theta,
    relative_error,
    rows_of,
    same_bits,
    weighted,
)
from toy_envs import ALGORITHMS, Counting, learner, run, vector

from minirl import algorithms
from minirl._core.reference.losses import clipped_surrogate
from minirl.algorithms import ppo
from minirl.algorithms.diagnostics import explained_variance, kl_estimates
from minirl.algorithms.losses import clipped_value_loss, value_loss
from minirl.algorithms.ppo import PPOConfig, minibatch_gradient, policy_loss, ppo_step
from minirl.envs.make import make_envs
from minirl.errors import MinirlError, NonFiniteError
from minirl.models.actor_critic import Networks
from minirl.models.critic import Critic
from minirl.models.distributions import (
    Bernoulli,
    Beta,
    Categorical,
    DiagGaussian,
    FullGaussian,
    MultiCategorical,
    SquashedGaussian,
)
from minirl.models.policy import Policy
from minirl.numerics.optimizers import adam_init
from minirl.numerics.sums_over_samples import SampleWeights
from minirl.samples.advantages import standardize_adv
from minirl.samples.batch import Batch, minibatches
from minirl.training.learner import Learner

FAMILIES = {"categorical": Categorical(3), "gaussian": DiagGaussian(2)}
both_families = pytest.mark.parametrize("dist", FAMILIES.values(), ids=FAMILIES.keys())


def networks(dist, obs_dim=4, hidden=(5,)):
    return Networks(Policy(dist, obs_dim, hidden, "tanh"), Critic(obs_dim, hidden, "tanh"))


def problem(dist, rng, n=23, dtype=np.float64, hidden=(5,), **fields):
    """Networks, θ_old = [θ_π, θ_V], and a batch of n samples of π_old."""
    nets = networks(dist, hidden=hidden)
    theta = np.concatenate([random_theta(nets.policy, rng, dtype), random_theta(nets.critic, rng, dtype)])
    return nets, theta, made_up_batch(nets.policy, theta[: nets.policy.num_params], n, rng, **fields)


def start(nets, theta, cfg):
    """The training state that holds this θ."""
    n = nets.policy.num_params
    adam = adam_init(len(theta), theta.dtype)
    return {"theta_pi": theta[:n], "theta_v": theta[n:], "adam": adam, "kl_coef": 1.0, "lr": 1e-3}


def config(**changes):
    return PPOConfig(**({"dtype": "float64", "minibatch_size": 5, "epochs": 2, "anneal_lr": False} | changes))


def frozen(tree):
    """The same tree, its arrays read-only."""
    for x in tree.values():
        if isinstance(x, dict):
            frozen(x)
        elif isinstance(x, np.ndarray):
            x.flags.writeable = False
    return tree


def plain_ratio(policy, theta, theta_old, batch):
    """π_θ(a|s) / π_old(a|s) as the quotient of two densities (N,)."""
    p, p_old = (
        anp.exp(PLAIN[policy.dist.name].log_prob(plain_phi(policy, th, batch.obs), batch.action))
        for th in (theta, theta_old)
    )
    return p / p_old


def plain_loss(nets, theta, theta_old, batch, cfg):
    """−mean min(r A, clip(r) A) − c_H mean H + c_V mean (V − V̂)² in textbook terms, differentiable by autograd."""
    policy, critic = nets
    n, w = policy.num_params, batch.weights.w
    r = plain_ratio(policy, theta[:n], theta_old[:n], batch)
    objective = anp.minimum(r * batch.adv, anp.minimum(anp.maximum(r, 1 - cfg.clip), 1 + cfg.clip) * batch.adv)
    entropy = PLAIN[policy.dist.name].entropy(plain_phi(policy, theta[:n], batch.obs))
    value = plain_mlp(theta[n:], batch.obs, critic.mlp.sizes, "tanh")[:, 0]
    error = (value - batch.returns) ** 2
    if cfg.clip_value is not None:
        near = anp.minimum(anp.maximum(value, batch.value - cfg.clip_value), batch.value + cfg.clip_value)
        error = anp.maximum(error, (near - batch.returns) ** 2)
    return anp.sum(w * (-objective - cfg.ent_coef * entropy + cfg.vf_coef * error))


def stepped(nets, theta_old, adam, batch, cfg, rng):
    """`ppo_step` from θ_old with the configured α and β, on a batch that θ_old sampled."""
    theta_pi, theta_v = nets.split(theta_old)
    state = {"theta_pi": theta_pi, "theta_v": theta_v, "adam": adam, "lr": cfg.lr, "kl_coef": cfg.kl_coef}
    return ppo_step(nets, state, sampled_by(nets.policy, theta_pi, batch), cfg, rng)


def sampled_by(policy, theta_pi, batch):
    """The batch that knows its π_old."""
    phi_old = policy.infer(theta_pi, batch.obs)
    return dataclasses.replace(batch, phi_old=phi_old, logp_old=policy.dist.log_prob(phi_old, batch.action))


def reported(policy, old, new, batch):
    """What PPO reports of an update from one θ of the policy to another."""
    return ppo.measure(policy, new, sampled_by(policy, old, batch))


def whole_gradient(nets, theta, theta_old, batch, cfg, rows=slice(None)):
    """`minibatch_gradient` with the old log-probabilities of θ_old: gradient, losses, φ."""
    policy = nets.policy
    logp_old = policy.dist.log_prob(policy.infer(theta_old[: policy.num_params], batch.obs), batch.action)
    return minibatch_gradient(nets, theta, part_of(batch, rows, logp_old), cfg)


# ----------------------------------------------------------------------------------------------- the clipped objective


@pytest.mark.parametrize(
    ("case", "adv", "ratio", "expected", "slope"),
    [
        ("EX-4: 2.6 becomes 2.4", 2, 1.3, 2.4, 0),
        ("EX-5: −1.2 and −1.6, the min takes −1.6", -2, 0.6, -1.6, 0),
        ("EX-5 at r = 1.5: −3 and −2.4, the min does not clip", -2, 1.5, -3.0, -2),
        ("CLIP-07", -1, 0.5, -0.8, 0),
        ("CLIP-07", -1, 1.0, -1.0, -1),
        ("CLIP-07", -1, 1.5, -1.5, -1),
        ("PPO-1: a good action may become likelier again", 2, 0.5, 1.0, 2),
    ],
)
def test_ex_4_ex_5_clip_07_worked_numbers(case, adv, ratio, expected, slope):  # [PPO-2]
    surrogate, dratio = clipped_surrogate(np.array([float(ratio)]), np.array([float(adv)]), 0.2)
    np.testing.assert_allclose([surrogate[0], dratio[0]], [expected, slope], rtol=1e-14, err_msg=case)


@settings(deadline=None)
@given(st.floats(0, 5), st.floats(-3, 3), st.floats(0.01, 0.9))
def test_ppo_3_the_clipped_term_is_never_above_the_unclipped_one(ratio, adv, clip):  # [PPO-3]
    surrogate, _ = clipped_surrogate(np.array([ratio]), np.array([adv]), clip)
    assert surrogate[0] <= ratio * adv
    assert surrogate[0] == ratio * adv or not 1 - clip <= ratio <= 1 + clip  # [PPO-2]: inside, nothing is clipped


@both_families
def test_ppo_1_the_gradient_is_zero_exactly_where_clipping_says_so(dist, rng):  # [PPO-2, IS-5]
    """dL/dφ of a sample vanishes iff (A > 0 and r > 1+ε) or (A < 0 and r < 1−ε),
    from far below the clip to far above.
    """
    n, cfg = 41, config(clip=0.2)
    phi = rng.standard_normal((n, dist.num_params))
    action = dist.sample(phi, rng)
    ratio = np.linspace(0.3, 1.9, n)
    for sign in (1.0, -1.0):
        adv = sign * (0.1 + rng.random(n))
        logp_old = dist.log_prob(phi, action) - np.log(ratio)
        _, dphi, measured = policy_loss(dist, phi, chosen(action, adv, logp_old), cfg)
        np.testing.assert_allclose(measured, ratio, rtol=1e-12)
        clipped = ratio > 1.2 if sign > 0 else ratio < 0.8
        assert 5 < clipped.sum() < 36
        np.testing.assert_array_equal((dphi == 0).all(axis=1), clipped)


@pytest.mark.parametrize(
    "dist",
    [Bernoulli(3), MultiCategorical((2, 3)), Beta(2), FullGaussian(2), SquashedGaussian(2)],
    ids=lambda dist: dist.name,
)
def test_ppo_7_the_loss_of_families_that_no_kernel_knows(dist, rng):
    """Its definition, and its gradient in φ by differences. [PPO-1, PPO-7]"""
    phi = 0.3 * rng.standard_normal((9, dist.num_params))
    action, adv = dist.sample(phi, rng), rng.standard_normal(9)
    part = chosen(action, adv, dist.log_prob(phi + 0.1 * rng.standard_normal(phi.shape), action))
    loss, dphi, ratio = policy_loss(dist, phi, part, config(ent_coef=0.3))
    np.testing.assert_allclose(ratio, np.exp(dist.log_prob(phi, action) - part.logp_old), rtol=1e-12)
    gained = np.minimum(ratio * adv, np.clip(ratio, 0.8, 1.2) * adv) + 0.3 * dist.entropy(phi)
    assert loss == pytest.approx(-gained.mean(), rel=1e-12)
    differences = gradient(
        lambda flat: policy_loss(dist, flat.reshape(phi.shape), part, config(ent_coef=0.3))[0], phi.ravel()
    )
    assert relative_error(dphi.ravel(), differences) < 1e-6


@both_families
def test_is_2_ex_7_the_ratio_is_the_quotient_of_densities(dist, rng):
    nets, theta_old, batch = problem(dist, rng)
    theta = theta_old + 0.2 * rng.standard_normal(len(theta_old))
    ratio = whole_gradient(nets, theta, theta_old, batch, config())[1].ratio
    n = nets.policy.num_params
    np.testing.assert_allclose(ratio, plain_ratio(nets.policy, theta[:n], theta_old[:n], batch), rtol=1e-11)
    assert ratio.min() < 0.8 and ratio.max() > 1.2
    # EX-7: the first action 20 % likelier, the second 20 % less likely
    p = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
    q = np.array([[0.6, 0.24, 0.16], [0.6, 0.24, 0.16]])
    log_prob = Categorical(3).log_prob
    logp_old = log_prob(np.log(p), np.array([0, 1]))
    ratio = policy_loss(Categorical(3), np.log(q), chosen(np.array([0, 1]), np.ones(2), logp_old), config())[2]
    np.testing.assert_allclose(ratio, [1.2, 0.8], rtol=1e-14)


@both_families
@pytest.mark.parametrize("moved", [0.0, 0.2])
def test_is_5_the_ratios_gradient_is_the_ratio_times_the_score(dist, moved, rng):
    """∇ of mean r A without clipping, entropy or value, against differences of the quotient of densities."""
    nets, theta_old, batch = problem(dist, rng)
    theta, n = theta_old + moved * rng.standard_normal(len(theta_old)), nets.policy.num_params
    free = config(clip=1e6, vf_coef=0.0)
    g = whole_gradient(nets, theta, theta_old, batch, free)[0][:n]
    expected = gradient(lambda th: -np.mean(plain_ratio(nets.policy, th, theta_old[:n], batch) * batch.adv), theta[:n])
    assert relative_error(g, expected) < 1e-8
    if not moved:  # at θ_old ∇r is the score itself
        log_prob = PLAIN[dist.name].log_prob
        scores = gradient(
            lambda th: -np.mean(log_prob(plain_phi(nets.policy, th, batch.obs), batch.action) * batch.adv), theta[:n]
        )
        assert relative_error(g, scores) < 1e-8


@both_families
@pytest.mark.parametrize("clip_value", [None, 0.3])
def test_ppo_1_ppo_7_ppo_8_gradient_of_the_whole_loss(dist, clip_value, rng):
    """Five-point differences of the textbook's loss; samples within 0.01 of a kink weigh nothing."""
    nets, theta_old, batch = problem(dist, rng, n=61)
    cfg = config(clip=0.2, ent_coef=0.07, vf_coef=0.4, clip_value=clip_value)
    theta, n = theta_old + 0.15 * rng.standard_normal(len(theta_old)), nets.policy.num_params
    r = plain_ratio(nets.policy, theta[:n], theta_old[:n], batch)
    value = plain_mlp(theta[n:], batch.obs, nets.critic.mlp.sizes, "tanh")[:, 0]
    batch = dataclasses.replace(batch, value=value + rng.choice([-0.5, -0.1, 0.1, 0.5], 61))
    limit = clip_value or 1.0
    near = batch.value + np.clip(value - batch.value, -limit, limit)
    kink = np.abs(np.abs(r - 1) - 0.2) < 0.01
    kink |= (near != value) & (np.abs(np.abs(near - batch.returns) - np.abs(value - batch.returns)) < 0.01)
    batch = weighted(batch, np.where(kink, 0.0, 0.5 + rng.random(61)))
    assert kink.sum() < 15 and (np.abs(r - 1) > 0.2).sum() > 10

    g, losses, _ = whole_gradient(nets, theta, theta_old, batch, cfg)
    expected = gradient(lambda th: plain_loss(nets, th, theta_old, batch, cfg), theta, h=1e-4)
    assert relative_error(g, expected) < 1e-6
    assert relative_error(g[:n], expected[:n]) < 1e-6 and relative_error(g[n:], expected[n:]) < 1e-6
    total = losses.policy + cfg.vf_coef * losses.value
    np.testing.assert_allclose(total, plain_loss(nets, theta, theta_old, batch, cfg), rtol=1e-11)


def test_clip_08_extreme_log_ratios_stay_finite_or_are_refused(rng):  # [PPO-3]
    """float32, log r = ±100: r = ∞.

    Clipped it pushes nothing; unclipped (A < 0) the update ends in an error, the state as it was.
    """
    n, dist, cfg = 4, Categorical(3), config(dtype="float32")
    phi = rng.standard_normal((n, 3)).astype(np.float32)
    action = np.array([0, 1, 2, 0])
    far = dist.log_prob(phi, action) + np.array([-100, 100, -100, 100], np.float32)
    _, dphi, ratio = policy_loss(dist, phi, chosen(action, np.array([1.0, 1.0, 2.0, 2.0]), far), cfg)
    np.testing.assert_allclose(ratio, [np.inf, 0, np.inf, 0], atol=1e-40)
    np.testing.assert_allclose(dphi, 0, atol=1e-40)
    assert not dphi[[0, 2]].any()
    estimates = kl_estimates(np.array([100.0, -100.0], np.float32), SampleWeights(np.ones(2)))
    assert all(np.isfinite(v) for v in estimates.values())
    np.testing.assert_allclose(estimates["k3"], (np.exp(20) - 21 + np.exp(-20) + 19) / 2, rtol=1e-12)  # clamped at ±20

    nets, theta, batch = problem(dist, rng, n=7, dtype=np.float32, hidden=(), adv=np.array([-1.0, 1, 1, 1, 1, 1, 1]))
    # in state 0 the others have probability e^−200 …
    theta[nets.policy.num_params - 3 : nets.policy.num_params] = [200, 0, 0]
    batch = dataclasses.replace(batch, obs=0 * batch.obs, action=np.full(7, 1))
    state = frozen(start(nets, theta, cfg))
    with pytest.raises(NonFiniteError):  # … and after one huge step probability 1
        ppo.update(nets, state, batch, config(dtype="float32", lr=400.0, minibatch_size=7), rng)


# -------------------------------------------------------------------------------------------------------------- values


def test_ppo_8_clip_17_the_value_loss_has_no_half():
    loss, dvalue = value_loss(SampleWeights(np.ones(2)), np.array([1.0, 2.0]), np.array([3.0, 5.0]))
    assert loss == (4 + 9) / 2
    np.testing.assert_array_equal(dvalue, [-2.0, -3.0])


@both_families
def test_clip_17_vf_coef_multiplies_the_value_loss_alone(dist, rng):
    nets, theta, batch = problem(dist, rng)
    n = nets.policy.num_params
    once, fourfold = (whole_gradient(nets, theta, theta, batch, config(vf_coef=c))[0] for c in (0.5, 2.0))
    np.testing.assert_array_equal(once[:n], fourfold[:n])
    np.testing.assert_array_equal(4 * once[n:], fourfold[n:])  # a power of two: no sum is rounded differently


def test_clip_09_value_clipping_takes_the_larger_error():
    """V_old = 0, V = 1, V̂ = 2, ε = 0.2: max((1−2)², (0.2−2)²) = 3.24 pulls no more; at V̂ = −2 the unclipped 9 does."""
    one = SampleWeights(np.ones(1))
    for target, expected, slope in ((2.0, 3.24, 0.0), (-2.0, 9.0, 6.0)):
        loss, dvalue = clipped_value_loss(one, np.array([1.0]), np.array([0.0]), np.array([target]), 0.2)
        np.testing.assert_allclose([loss, dvalue[0]], [expected, slope], rtol=1e-14)
    value, old, target = np.array([0.1]), np.array([0.0]), np.array([2.0])
    assert clipped_value_loss(one, value, old, target, 0.2) == value_loss(one, value, target)
    assert PPOConfig().clip_value is None


@both_families
def test_kl_11_what_an_update_reports_is_the_mean_kl_from_old_to_new(dist, rng):
    """On a pair so different that the directions cannot be confused; some samples count more."""
    nets, theta, batch = problem(dist, rng)
    batch = weighted(batch, rng.integers(1, 4, size=len(batch)).astype(float))
    old = theta[: nets.policy.num_params]
    new = old + rng.standard_normal(len(old))
    forth, back = (
        np.average(plain_kl(nets.policy, *pair, batch.obs), weights=batch.weights.w)
        for pair in ((old, new), (new, old))
    )
    assert abs(forth - back) > 0.05 * forth
    batch = dataclasses.replace(batch, value=batch.returns + 0.5 * batch.value)
    measured = reported(nets.policy, old, new, batch)
    assert measured["losses/approx_kl"] == pytest.approx(forth, rel=1e-10)  # [KL-11]
    w, mean = batch.weights.w, batch.weights.w @ batch.returns
    error = (batch.returns - batch.value) - w @ (batch.returns - batch.value)
    explained = 1 - w @ error**2 / (w @ (batch.returns - mean) ** 2)  # CLIP-19: prediction, then target
    assert measured["losses/explained_variance"] == pytest.approx(explained, rel=1e-9)
    new = old + 0.3 * (new - old)  # nearer: log-ratios beyond ±20 would be cut
    measured = reported(nets.policy, old, new, batch)
    w, ratio = batch.weights.w, plain_ratio(nets.policy, new, old, batch)
    assert measured["losses/surrogate_gain"] == pytest.approx(w @ ((ratio - 1) * batch.adv), rel=1e-9)
    for name, expected in {"k1": -np.log(ratio), "k2": np.log(ratio) ** 2 / 2, "k3": ratio - 1 - np.log(ratio)}.items():
        assert measured[f"losses/kl_{name}"] == pytest.approx(w @ expected, rel=1e-9)


def test_kl_11_a_ratio_that_would_overflow_is_reported_as_e_to_the_20():
    policy = Policy(Categorical(2), 1, (), "tanh")
    old, new = np.array([0.0, 0.0, 0.0, 30.0]), np.array([0.0, 0.0, 30.0, 0.0])  # logits 0, 30 and 30, 0 in every state
    one = made_up_batch(policy, old, 1, np.random.default_rng(0), action=np.zeros(1, np.int64), adv=np.ones(1))
    measured = reported(policy, old, new, one)
    assert measured["losses/surrogate_gain"] == pytest.approx(np.exp(20) - 1) and measured[
        "losses/approx_kl"
    ] == pytest.approx(30)


def test_clip_09_value_clipping_is_about_the_old_value_not_the_current_one(rng):
    """The V of the rollout, kept in the batch: recomputing it would make the clip do nothing."""
    nets, theta, batch = problem(Categorical(3), rng)
    far = dataclasses.replace(batch, value=batch.value + 100.0, returns=batch.returns + 100.0)
    g = whole_gradient(nets, theta, theta, far, config(clip_value=0.1))[0][nets.policy.num_params :]
    assert g.any()  # V is 100 below where it was: the unclipped error is the larger one
    near = dataclasses.replace(far, returns=batch.value - 100.0)
    g = whole_gradient(nets, theta, theta, near, config(clip_value=0.1))[0][nets.policy.num_params :]
    assert not g.any()  # V has moved far enough towards V̂


def test_clip_19_explained_variance_takes_prediction_then_target(rng):
    t, w = rng.standard_normal(31), SampleWeights(np.ones(31))
    for prediction, target, expected in (
        (t, t, 1.0),
        (0 * t, t, 0.0),
        (2 * t, t, 0.0),
        (t, 2 * t, 0.75),
        (-t, t, -3.0),
        (t + 7, t, 1.0),
    ):
        np.testing.assert_allclose(explained_variance(prediction, target, w), expected, atol=1e-12)
    assert explained_variance(t, np.full(31, 4.2), w) == 0.0  # a target that does not vary: no division by 0
    assert explained_variance(t[:0], t[:0], SampleWeights(np.zeros(0))) == 0.0


# ---------------------------------------------------------------------------------------------- advantages, minibatches


@pytest.mark.parametrize(("n", "size"), [(1, 64), (5, 1), (1, 1), (0, 4)])
def test_clip_01_batches_and_minibatches_of_one(n, size, rng):
    nets, theta, batch = problem(Categorical(3), rng, n=n)
    batch = dataclasses.replace(batch, adv=standardize_adv(batch.adv, batch.weights))
    state, info = ppo.update(nets, start(nets, theta, None), batch, config(minibatch_size=size), rng)
    assert np.isfinite(state["theta_pi"]).all() and all(np.isfinite(v) for v in info.values())
    assert (state["theta_pi"] != theta[: nets.policy.num_params]).any() == (n > 0)


@pytest.mark.parametrize("constant", [np.float32(0.1), 1e6 + 0.1, -3e-5, 0.0])
def test_clip_02_constant_advantages_do_not_move_the_policy(constant, rng):
    adv = standardize_adv(np.full(3000, constant), SampleWeights(np.ones(3000)))
    np.testing.assert_array_equal(adv, 0)
    nets, theta, batch = problem(Categorical(3), rng, n=3000, adv=adv)
    state, _ = ppo.update(nets, start(nets, theta, None), batch, config(minibatch_size=500), rng)
    np.testing.assert_array_equal(state["theta_pi"], theta[: nets.policy.num_params])
    assert (state["theta_v"] != theta[nets.policy.num_params :]).any()


@pytest.mark.parametrize(
    ("n", "size", "parts"), [(2049, 64, 33), (128, 64, 2), (65, 64, 2), (7, 64, 1), (1, 1, 1), (5, 1, 5)]
)
def test_clip_03_every_sample_is_used_once_per_epoch_in_even_parts(n, size, parts, rng):
    number, weight = np.arange(n), rng.random(n)
    batch = Batch(number[:, None], number, number, number, number, SampleWeights(weight), logp_old=number)
    drawn = list(minibatches(batch, size, rng))
    np.testing.assert_array_equal(np.sort(np.concatenate([part.action for part in drawn])), number)
    sizes = [len(part.weights) for part in drawn]
    # 2049: not 32 of 64 and one of 1
    assert len(drawn) == parts and max(sizes) <= size and max(sizes) - min(sizes) <= 1
    for part in drawn:  # all columns in one order, and each part's weights its own
        for column in (part.obs[:, 0], part.adv, part.returns, part.value, part.logp_old):
            np.testing.assert_array_equal(column, part.action)
        np.testing.assert_allclose(part.weights.w, weight[part.action] / weight[part.action].sum(), rtol=1e-14)


@pytest.fixture
def calls(monkeypatch):
    """What each call of `minibatch_gradient` was given and gave: the minibatch, losses, and θ at that time."""
    seen = []

    def spy(nets, theta, part, cfg, kl_coef):
        result = minibatch_gradient(nets, theta, part, cfg, kl_coef)
        seen.append((part, result[1], theta.copy()))
        return result

    monkeypatch.setattr(ppo, "minibatch_gradient", spy)
    return seen


def test_clip_03_clip_06_ppo_9_epochs_of_minibatches_on_one_batch(calls, rng):
    nets, theta, batch = problem(DiagGaussian(2), rng, n=23)
    cfg, state = config(minibatch_size=4, epochs=3, ent_coef=0.01), frozen(start(nets, theta, None))
    frozen(vars(batch))  # neither state nor batch may be written to
    for _ in range(2):
        calls.clear()
        state, info = ppo.update(nets, state, batch, cfg, rng)
        frozen(state)
        drawn = [part for part, *_ in calls]
        assert info["losses/gradient_steps"] == len(drawn) == 3 * 6
        epochs = [np.concatenate([part.returns for part in drawn[i : i + 6]]) for i in (0, 6, 12)]
        for epoch in epochs:
            np.testing.assert_array_equal(np.sort(epoch), np.sort(batch.returns))
        assert not np.array_equal(epochs[0], epochs[1])  # a new order in each epoch
        for part in drawn:  # CLIP-06: in every epoch the old log-probabilities are those of the first θ
            plain = PLAIN["diag_gaussian"].log_prob(
                plain_phi(nets.policy, calls[0][2][: nets.policy.num_params], part.obs), part.action
            )
            np.testing.assert_allclose(part.logp_old, plain, rtol=1e-11)
    assert state["adam"]["t"] == 36


def test_clip_04_the_order_comes_from_the_given_generator(rng):
    nets, theta, batch = problem(Categorical(3), rng)
    results = []
    for seed, poison in ((1, 5), (1, 6), (2, 5)):
        np.random.seed(poison)
        random.seed(poison)
        before = np.random.get_state()[1].tobytes(), random.getstate()
        results.append(ppo.update(nets, start(nets, theta, None), batch, config(), np.random.default_rng(seed))[0])
        assert (np.random.get_state()[1].tobytes(), random.getstate()) == before
    assert same_bits(results[0], results[1]) and not same_bits(results[0]["theta_pi"], results[2]["theta_pi"])


@pytest.mark.parametrize(
    ("dist", "log_std"),
    [(Categorical(5), 0), (DiagGaussian(3), 0), (DiagGaussian(3), -1)],
    ids=["categorical", "gaussian", "narrow gaussian"],
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-14), (np.float32, 2e-6)])
def test_clip_05_is_2_the_first_ratios_are_1(dist, log_std, dtype, tolerance, rng):
    """Old log-probabilities of 2048 rows at once, new ones of 64:
    rounding may differ, by no more than the last bits.
    """
    nets = networks(dist, obs_dim=7, hidden=(64, 64))
    theta = np.concatenate([nets.policy.init(rng, log_std, dtype), nets.critic.init(rng, dtype)])
    batch = made_up_batch(nets.policy, theta[: nets.policy.num_params], 2048, rng)
    for rows in rng.permutation(2048).reshape(-1, 64)[:5]:
        ratio = whole_gradient(nets, theta, theta, batch, config(dtype=np.dtype(dtype).name), rows)[1].ratio
        assert np.abs(ratio - 1).max() <= tolerance


# ----------------------------------------------------------------------------------------------------------- the update


@both_families
def test_ppo_9_the_update_is_adam_on_the_textbooks_gradient(dist, calls, rng):
    """Two epochs: the minibatches that were drawn, autograd's gradient,
    the global clip and Adam written out again. [PPO-9]
    """
    nets, theta_old, batch = problem(dist, rng)
    cfg = config(lr=0.01, ent_coef=0.02, max_grad_norm=0.3, clip_value=0.3)
    theta, adam, _ = stepped(nets, theta_old, adam_init(len(theta_old), float), batch, cfg, rng)
    expected, m, v = theta_old.copy(), np.zeros_like(theta_old), np.zeros_like(theta_old)
    for t, (drawn, *_) in enumerate(calls, start=1):
        part = Batch(drawn.obs, drawn.action, drawn.adv, drawn.returns, drawn.value, drawn.weights)
        g = autograd.grad(lambda th, part=part: plain_loss(nets, th, theta_old, part, cfg))(expected)
        g *= min(1, 0.3 / np.linalg.norm(g))
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        expected = expected - 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-5)
    assert len(calls) == 10
    assert relative_error(theta - theta_old, expected - theta_old) < 1e-8
    assert relative_error(adam["m"], m) < 1e-8 and relative_error(adam["v"], v) < 1e-8


@both_families
def test_ppo_12_plain_ascent_raises_the_objective(dist, rng):
    """θ + α∇L: for small α the objective rises by α‖∇L‖², from θ_old and from a policy that is partly clipped."""
    nets, theta_old, batch = problem(dist, rng, n=61)
    cfg = config(ent_coef=0.05)
    for moved in (0.0, 0.15):
        theta = theta_old + moved * rng.standard_normal(len(theta_old))
        g = whole_gradient(nets, theta, theta_old, batch, cfg)[0]
        alpha = 1e-6
        rise = plain_loss(nets, theta, theta_old, batch, cfg) - plain_loss(
            nets, theta - alpha * g, theta_old, batch, cfg
        )
        np.testing.assert_allclose(rise, alpha * (g @ g), rtol=1e-3)


@both_families
@pytest.mark.parametrize("ent_coef", [0.0, 0.1])
def test_ppo_7_clip_13_entropy_rises_with_zero_advantages(dist, ent_coef, rng):
    nets, theta, batch = problem(dist, rng, adv=np.zeros(23))
    n, state = nets.policy.num_params, start(nets, theta, None)
    entropy = [PLAIN[dist.name].entropy(plain_phi(nets.policy, state["theta_pi"], batch.obs)).mean()]
    for _ in range(4):
        state, info = ppo.update(nets, state, batch, config(ent_coef=ent_coef, lr=0.01), rng)
        entropy.append(PLAIN[dist.name].entropy(plain_phi(nets.policy, state["theta_pi"], batch.obs)).mean())
        np.testing.assert_allclose(info["losses/entropy"], entropy[-1], rtol=1e-10)
    if ent_coef:
        assert (np.diff(entropy) > 0).all()
    else:
        np.testing.assert_array_equal(state["theta_pi"], theta[:n])


@both_families
def test_clip_10_the_reported_kl_is_the_exact_one_old_first(dist, rng):
    nets, theta, batch = problem(dist, rng)
    state, info = ppo.update(nets, start(nets, theta, None), batch, config(lr=0.05), rng)
    n = nets.policy.num_params
    kl = plain_kl(nets.policy, theta[:n], state["theta_pi"], batch.obs).mean()
    np.testing.assert_allclose(info["losses/approx_kl"], kl, rtol=1e-9)
    assert not np.isclose(kl, plain_kl(nets.policy, state["theta_pi"], theta[:n], batch.obs).mean(), rtol=1e-3)
    r = plain_ratio(nets.policy, state["theta_pi"], theta[:n], batch)
    np.testing.assert_allclose(info["losses/kl_k3"], np.mean(r - 1 - np.log(r)), rtol=1e-8)
    np.testing.assert_allclose(info["losses/surrogate_gain"], np.mean((r - 1) * batch.adv), rtol=1e-8)
    assert 0 < info["losses/clipfrac"] < 1


def test_clip_10_three_estimates_of_a_known_kl():
    """π_old = N(0, 1), π = N(0.1, 1): KL = 0.005.

    Expectation and deviation of k1, k2, k3 by Gauss–Hermite quadrature.
    """
    x, w = np.polynomial.hermite_e.hermegauss(40)
    w /= w.sum()
    logr = 0.1 * x - 0.005
    expected = kl_estimates(logr, SampleWeights(w))
    np.testing.assert_allclose([expected["k1"], expected["k3"]], 0.005, rtol=1e-10)
    np.testing.assert_allclose(expected["k2"], 0.005 * 1.0025, rtol=1e-10)
    single = {
        k: np.array([kl_estimates(logr[i : i + 1], SampleWeights(np.ones(1)))[k] for i in range(40)]) for k in expected
    }
    deviation = {k: np.sqrt(w @ (v - expected[k]) ** 2) for k, v in single.items()}
    np.testing.assert_allclose([deviation["k1"], deviation["k2"], deviation["k3"]], [0.1, 0.00709, 0.00708], rtol=2e-3)
    assert (single["k3"] >= 0).all() and (single["k1"] < -0.1).any()  # a stop that reads k1 may never come


# ------------------------------------------------------------------------------------------------------------- the stop


@both_families
@pytest.mark.parametrize("lr", [3e-3, 0.05, 0.3, 30.0, 1e4])
def test_clip_12_a_step_beyond_the_target_is_undone(dist, lr, rng):
    """The whole batch as one minibatch:
    the accepted policy keeps the limit, Adam is as before the step that broke it.
    """
    nets, theta_old, batch = problem(dist, rng)
    target, n = 0.02, nets.policy.num_params
    cfg = config(minibatch_size=23, epochs=6, target_kl=target)

    def kl(theta):
        with np.errstate(all="ignore"):
            return plain_kl(nets.policy, theta_old[:n], theta[:n], batch.obs).mean()

    adam_old = frozen({"m": rng.standard_normal(len(theta_old)) * 1e-3, "v": rng.random(len(theta_old)) * 1e-3, "t": 4})
    theta, adam, info = stepped(nets, theta_old, adam_old, batch, cfg.replace(lr=lr), np.random.default_rng(0))
    steps, share = info["gradient_steps"], info["first_step"]
    assert kl(theta) <= 1.5 * target and adam["t"] == 4 + steps
    assert {3e-3: steps == 6, 0.05: steps > 0, 0.3: steps < 6}.get(lr, steps == 1)

    def untargeted(epochs):
        free = dataclasses.replace(cfg, epochs=epochs, target_kl=None)
        return stepped(nets, theta_old, adam_old, batch, free.replace(lr=lr), np.random.default_rng(0))[:2]

    free, adam_free = untargeted(steps)
    assert same_bits(adam, adam_free) and same_bits(theta[n:], free[n:])
    if share == 1:
        assert same_bits(theta, free)
        assert steps == 6 or not kl(untargeted(steps + 1)[0]) <= 1.5 * target  # the step that was undone
    else:  # BUG-05: undone with Adam's state and the critic's part, it would come again, for ever
        np.testing.assert_allclose(theta[:n], theta_old[:n] + share * (free[:n] - theta_old[:n]), rtol=1e-12)
        twice = theta_old + 2 * share * (free - theta_old)
        assert steps == 1 and not kl(twice) <= 1.5 * target  # and not half of what fits
        assert (theta[:n] != theta_old[:n]).any() and (theta[n:] != theta_old[n:]).any()
    assert (share < 1) == (lr >= 30 or (lr == 0.3 and steps == 1))


def test_clip_12_with_minibatches_the_stop_is_measured_on_the_next_one(calls, rng):
    nets, theta_old, batch = problem(Categorical(3), rng, n=40)
    n, target = nets.policy.num_params, 0.01
    cfg = config(minibatch_size=10, epochs=20, target_kl=target)
    theta, adam, info = stepped(nets, theta_old, adam_init(len(theta_old), float), batch, cfg.replace(lr=0.01), rng)
    kls = [plain_kl(nets.policy, theta_old[:n], at[:n], part.obs).mean() for part, _, at in calls]
    steps = info["gradient_steps"]
    # one step undone, and the look that undid it
    assert 2 < steps < 80 and len(calls) == steps + 2 and adam["t"] == steps
    assert max(kls[:-1]) <= 1.5 * target < kls[-1]
    np.testing.assert_array_equal(theta, calls[steps][2])


def test_clip_12_the_kl_that_is_logged_is_that_of_the_accepted_policy(rng):
    nets, theta, batch = problem(DiagGaussian(2), rng)
    state, info = ppo.update(nets, start(nets, theta, None), batch, config(lr=10.0, target_kl=0.01), rng)
    n = nets.policy.num_params
    assert info["losses/gradient_steps"] == 1 and 0 < info["losses/first_step"] < 1
    assert info["losses/value_loss"] < 10 and np.isfinite(list(info.values())).all()  # not those of a step too many
    kl = plain_kl(nets.policy, theta[:n], state["theta_pi"], batch.obs).mean()
    assert info["losses/approx_kl"] == pytest.approx(kl, rel=1e-6) and 0 < kl <= 0.015


@pytest.mark.parametrize("target", [1e-12, 1e-4, 0.01])
@pytest.mark.parametrize("fields", [{}, {"share_trunk": True}, {"objective": "kl"}, {"optimizer": "ascent"}], ids=str)
def test_bug_05_a_target_that_every_step_passes_does_not_freeze(fields, target):
    """CartPole at a step size that is far too large for it: both networks move in every update, and KL is limited."""
    small = {"num_envs": 2, "num_steps": 32, "hidden": (16,), "minibatch_size": 16, "total_timesteps": 640}
    # ascent is as slow as its gradient
    cfg = config(target_kl=target, lr=10.0 if "optimizer" in fields else 0.3, **small, **fields)
    learner = Learner(algorithms.find("ppo"), make_envs("minirl/CartPole-v1", 2), cfg)
    moved, shares = 0, []
    for _ in range(6):
        before = learner.snapshot()["algorithm"]
        metrics = learner.step().metrics
        assert not np.array_equal(before["theta_v"], learner.state["theta_v"]) and metrics["losses/gradient_steps"] >= 1
        assert metrics["losses/approx_kl"] <= 1.5 * target * 2  # the last look is at a minibatch
        steps = 0 if "optimizer" in fields else metrics["losses/gradient_steps"]
        assert learner.state["adam"]["t"] == before["adam"]["t"] + steps
        moved += not np.array_equal(before["theta_pi"], learner.state["theta_pi"])
        shares.append(metrics["losses/first_step"])
    assert moved == 6 and min(shares) < 1


def test_bug_05_the_critic_learns_while_the_policy_is_held_back(rng):
    """Forty updates of one step each, at a target that hardly lets the policy move: V goes as it does without."""
    nets, theta, batch = problem(Categorical(3), rng)
    n, ends = nets.policy.num_params, []
    for target in (None, 1e-9):
        cfg = config(target_kl=target, lr=0.01, epochs=1, minibatch_size=23, max_grad_norm=1e9)
        state, losses, stream = start(nets, theta, None), [], np.random.default_rng(0)
        for _ in range(40):
            state, info = ppo.update(nets, state, batch, cfg, stream)
            losses.append(info["losses/value_loss"])
            assert info["losses/gradient_steps"] == 1 and info.get("losses/first_step", 0.0) < 1e-3
        ends.append(state)
        assert losses[-1] < 0.7 * losses[0] and state["adam"]["t"] == 40
    np.testing.assert_allclose(ends[1]["theta_v"], ends[0]["theta_v"], rtol=1e-12)
    assert 0 < np.abs(ends[1]["theta_pi"] - theta[:n]).max() < 1e-2 < np.abs(ends[0]["theta_pi"] - theta[:n]).max()


def test_bug_05_where_nothing_is_short_enough_the_policy_stays_and_the_critic_goes_on(rng, monkeypatch):
    nets, theta, batch = problem(Categorical(3), rng)
    monkeypatch.setattr(nets.policy.dist, "kl", lambda old, new: np.full(len(old), np.nan), raising=False)
    state, info = ppo.update(nets, start(nets, theta, None), batch, config(target_kl=0.01), rng)
    n = nets.policy.num_params
    assert (info["losses/first_step"], info["losses/gradient_steps"]) == (0, 1)
    assert same_bits(state["theta_pi"], theta[:n]) and not same_bits(state["theta_v"], theta[n:])


# ----------------------------------------------------------------------------------------------------- what is reported


@both_families
@pytest.mark.parametrize("target", [None, 0.002])
def test_the_losses_are_means_over_the_samples_of_all_accepted_minibatches(dist, target, calls, rng):
    """41 samples in parts of 11, 10, 10 and 10, two of weight 0; of the step that target_kl undoes nothing counts."""
    weight = np.where(np.arange(41) % 20 == 3, 0.0, 1.0)
    nets, theta, batch = problem(dist, rng, n=41, weight=weight)
    cfg = config(minibatch_size=12, epochs=4, target_kl=target, lr=0.005, ent_coef=0.1)
    _, info = ppo.update(nets, start(nets, theta, None), batch, cfg, rng)
    steps = info["losses/gradient_steps"]
    assert steps == 16 if target is None else 1 < steps < 15
    n, samples, sums = nets.policy.num_params, 0, np.zeros(3)
    for part, losses, at in calls[:steps]:
        counted = part.weights.w > 0
        logp = PLAIN[dist.name].log_prob(plain_phi(nets.policy, at[:n], part.obs), part.action)
        far = np.abs(np.exp(logp - part.logp_old) - 1) > cfg.clip
        samples += counted.sum()
        sums += counted.sum() * np.array([losses.policy, losses.value, far[counted].mean()])
    measured = [info[f"losses/{name}"] for name in ("policy_loss", "value_loss", "clipfrac")]
    np.testing.assert_allclose(measured, sums / samples, rtol=1e-10)
    assert np.ptp([losses.value for _, losses, _ in calls[:steps]]) > 1e-3


def test_the_losses_of_ranks_are_those_of_all_their_samples(rng):
    """Twelve and one samples, one minibatch of all: the reported means are those of one process."""
    nets, theta, batch = problem(Categorical(3), rng, n=13)
    shards = [rows_of(batch, rows) for rows in (slice(12), slice(12, 13))]
    cfg = config(minibatch_size=13, epochs=5, lr=0.05, target_kl=0.05)
    _, alone = ppo.update(nets, start(nets, theta, None), batch, cfg, rng)

    def work(comm):
        stream = np.random.default_rng(comm.rank)
        return ppo.update(nets, start(nets, theta, None), on_rank(shards[comm.rank], comm), cfg, stream)

    for _, info in on_ranks(2, work):
        for name in ("policy_loss", "value_loss", "clipfrac", "gradient_steps", "first_step"):
            assert info[f"losses/{name}"] == pytest.approx(alone[f"losses/{name}"], rel=1e-8)
    assert alone["losses/clipfrac"] > 0


@pytest.mark.parametrize("cut", [8, 12])
@both_families
def test_ranks_together_take_the_update_that_one_process_takes(dist, cut, rng):
    """Two ranks with 8 and 5, or 12 and 1 samples, one minibatch of all;
    and with several, as many of them on each, one θ on both.
    """
    nets, theta, batch = problem(dist, rng, n=13)
    shards = [rows_of(batch, rows) for rows in np.split(np.arange(13), [cut])]

    def updates(cfg):
        def work(comm):
            shard, stream = on_rank(shards[comm.rank], comm), np.random.default_rng(comm.rank)
            return ppo.update(nets, start(nets, theta, None), shard, cfg, stream)

        return on_ranks(2, work)

    cfg = config(minibatch_size=13, epochs=3, ent_coef=0.02)
    alone, info = ppo.update(nets, start(nets, theta, None), batch, cfg, rng)
    for state, measured in updates(cfg):
        for part in ("theta_pi", "theta_v"):
            np.testing.assert_allclose(state[part], alone[part], rtol=1e-9, atol=1e-12)
        assert measured["losses/approx_kl"] == pytest.approx(info["losses/approx_kl"], rel=1e-8)
    (first, some), (second, more) = updates(config(minibatch_size=5, epochs=2))
    assert same_bits(first["theta_pi"], second["theta_pi"]) and same_bits(first["theta_v"], second["theta_v"])
    assert some["losses/gradient_steps"] == more["losses/gradient_steps"] == 2 * np.ceil(cut / 5)


# ------------------------------------------------------------------------------------------------------ in the learner


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's own words on the way to ours
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1e30, 1e38, 1e200])
@pytest.mark.parametrize("normalize_adv", [True, False])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_clip_14_huge_rewards_are_refused_or_scaled_never_a_silent_standstill(algorithm, normalize_adv, scale, dtype):
    made = learner(
        algorithm, vector(Counting, {"rewards": (scale, -scale)}, {}), dtype=dtype, normalize_adv=normalize_adv
    )
    before = made.snapshot()["algorithm"]
    try:
        made.step()
    except MinirlError as why:
        assert "reward" in str(why)
        assert same_bits(made.state, before)
    else:  # then everything has moved, and will go on moving
        assert all(
            (made.state[name] != before[name]).mean() > 0.5 and np.isfinite(made.state[name]).all()
            for name in ("theta_pi", "theta_v")
        )
        assert np.isfinite(made.state["adam" if algorithm == "ppo" else "adam_v"]["v"]).all()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_clip_14_normalize_reward_makes_huge_rewards_harmless(algorithm):
    states = []
    for scale in (1.0, 1e30):
        envs = vector(Counting, {"rewards": (scale, -scale, 0.5 * scale)}, {"rewards": (scale,)})
        states.append(run(algorithm, envs, 3, normalize_reward=True)[0].state)
    assert relative_error(states[1]["theta_pi"], states[0]["theta_pi"]) < 1e-4  # ε = 1e-8 in the scaler apart


def test_clip_20_what_is_counted_is_what_was_learned_from():
    """Stopping after any update loses nothing: transitions counted = stepped, and going on changes nothing."""
    whole, parts = (
        learner("ppo", vector(Counting, {}, {"lengths": (5,)})),
        learner("ppo", vector(Counting, {}, {"lengths": (5,)})),
    )
    for k, u in enumerate(itertools.islice(whole, 5), start=1):
        assert u.number == k and u.global_step == 14 * k == sum(env.steps for env in whole.collector.envs.envs)
    for _ in parts:
        break
    for u in parts:
        if u.number == 5:
            break
    assert same_bits(whole.snapshot(), parts.snapshot())
