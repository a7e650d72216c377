"""TRPO's other forms: the constraint on every visited state, the penalty, and the bound as objective."""

import dataclasses
import types

import numpy as np
import pytest
from oracles import dense_fisher, made_up_batch, plain_gain, plain_kl, random_theta, relative_error, score

from minirl import algorithms
from minirl.algorithms import trpo
from minirl.algorithms.npg import natural_step
from minirl.algorithms.trpo import TRPOConfig, bound_coef, first_length, trpo_step
from minirl.envs.make import make_envs
from minirl.errors import ConfigError
from minirl.models.distributions import Categorical, DiagGaussian
from minirl.models.policy import Policy
from minirl.numerics.sums_over_samples import SampleWeights
from minirl.training.learner import Learner

both_families = pytest.mark.parametrize("dist", [Categorical(3), DiagGaussian(2)], ids=lambda d: d.name)


def problems(dist, rng, count, n=41):
    """Policies with a batch each, far from their starts and from each other."""
    policy = Policy(dist, 3, (5,), "tanh")
    for _ in range(count):
        theta = random_theta(policy, rng)
        yield policy, theta, made_up_batch(policy, theta, n, rng)


def config(**fields):
    return TRPOConfig(**{"dtype": "float64", "cg_iters": 30, "damping": 0.0} | fields)


@both_families
def test_tr_13_every_visited_state_keeps_its_kl_below_delta(dist, rng):
    """Accepted steps obey D(π_old(·|s)‖π_θ(·|s)) ≤ δ state by state;
    most are accepted, and they are not needlessly short.  [TR-13]
    """
    cfg, largest = config(kl="max", delta=0.01, shrink=0.8, backtracks=15), []
    for policy, theta_old, batch in problems(dist, rng, 60):
        theta, info = trpo_step(policy, theta_old, batch, cfg)
        if info["accepted"]:
            kl = plain_kl(policy, theta_old, theta, batch.obs)
            assert kl.max() <= 0.01 * (1 + 1e-9) and info["kl_max"] == pytest.approx(kl.max(), rel=1e-6)
            assert plain_gain(policy, theta_old, theta, batch) > 0
            largest.append(kl.max())
    assert len(largest) >= 54 and np.median(largest) >= 0.01 / 4


@both_families
def test_tr_13_kl_12_the_mean_constraint_does_not_bound_every_state(dist, rng):
    over = 0
    for policy, theta_old, batch in problems(dist, rng, 10):
        theta, _ = trpo_step(policy, theta_old, batch, config(delta=0.01))
        over += plain_kl(policy, theta_old, theta, batch.obs).max() > 0.01  # [KL-12]
    assert over >= 5


@both_families
def test_tr_13_tr_3_the_first_try_brings_the_worst_states_model_to_delta(dist, rng):
    """½ ΔθᵀF_nΔθ = δ in the state where it is largest,
    F_n dense from enumerated scores of that state alone.  [TR-13, TR-3]
    """
    policy, theta, batch = next(problems(dist, rng, 1, n=13))
    step, _, info = natural_step(policy, theta, batch, config())
    step = first_length(policy, theta, batch, step, info["predicted_gain"], config(kl="max")) * step
    model = [0.5 * step @ dense_fisher(policy, theta, s[None]) @ step for s in batch.obs]
    assert max(model) == pytest.approx(0.01, rel=1e-9)


@both_families
def test_tr_12_the_penalised_step_maximises_its_quadratic_model(dist, rng):
    """First try: Δθ = F⁻¹g/β, where gᵀΔθ − (β/2) ΔθᵀFΔθ has gradient 0; dense F from enumerated scores.  [TR-12]"""
    policy, theta, batch = next(problems(dist, rng, 1, n=61))
    cfg = config(form="penalty", kl_coef=7.0, damping=1e-6, cg_iters=400)
    step, _, info = natural_step(policy, theta, batch, cfg)
    step = first_length(policy, theta, batch, step, info["predicted_gain"], cfg) * step
    g = np.mean(
        [a * score(policy, theta, s, act) for a, s, act in zip(batch.adv, batch.obs, batch.action, strict=True)], axis=0
    )
    fisher = dense_fisher(policy, theta, batch.obs) + 1e-6 * np.eye(len(theta))
    assert relative_error(7.0 * fisher @ step, g) < 1e-4  # conjugate gradient's residual


@both_families
@pytest.mark.parametrize("kl_coef", [0.5, 20.0])
def test_tr_12_accepted_steps_improve_the_penalised_objective(dist, kl_coef, rng):
    accepted = 0
    for policy, theta_old, batch in problems(dist, rng, 15):
        theta, info = trpo_step(policy, theta_old, batch, config(form="penalty", kl_coef=kl_coef))
        accepted += info["accepted"]
        objective = (
            plain_gain(policy, theta_old, theta, batch) - kl_coef * plain_kl(policy, theta_old, theta, batch.obs).mean()
        )
        assert objective > 0 if info["accepted"] else np.array_equal(theta, theta_old)
    assert accepted >= 13


def test_tr_12_a_larger_beta_makes_a_shorter_step(rng):
    policy, theta, batch = next(problems(Categorical(3), rng, 1))
    moved = [
        np.linalg.norm(trpo_step(policy, theta, batch, config(form="penalty", kl_coef=b))[0] - theta)
        for b in (1.0, 10.0, 100.0)
    ]
    assert moved[0] > moved[1] > moved[2] > 0


@both_families
def test_sur_7_the_bound_as_objective_improves_the_bound(dist, rng):
    """L(θ) − L(θ_old) − (1−γ) C max KL > 0 with C = 4 γ max|A| / (1−γ)²;
    the factor 1−γ because L is a mean over visits.  [SUR-7]
    """
    for policy, theta_old, batch in problems(dist, rng, 8):
        cfg = config(form="bound", gamma=0.9, normalize_adv=False)
        coef = 4 * 0.9 * np.abs(batch.adv).max() / 0.1
        assert bound_coef(batch, cfg) == pytest.approx(coef, rel=1e-12)
        theta, info = trpo_step(policy, theta_old, batch, cfg)
        kl = plain_kl(policy, theta_old, theta, batch.obs)
        assert info["accepted"] and plain_gain(policy, theta_old, theta, batch) - coef * kl.max() > 0


@both_families
def test_bug_34_without_a_discount_the_bound_is_the_surrogate(dist, rng):
    """γ = 0 makes C = 0: whatever gains is taken. The first try, as for a tiny C, has a worst model KL of δ."""
    for policy, theta_old, batch in problems(dist, rng, 3, n=7):
        for gamma in (0.0, 1e-300, 1e-9):
            cfg = config(form="bound", gamma=gamma, normalize_adv=False)
            step, _, natural = natural_step(policy, theta_old, batch, cfg)
            first = first_length(policy, theta_old, batch, step, natural["predicted_gain"], cfg) * step
            model = [0.5 * first @ dense_fisher(policy, theta_old, s[None]) @ first for s in batch.obs]
            assert max(model) == pytest.approx(0.01, rel=1e-9)
            theta, info = trpo_step(policy, theta_old, batch, cfg)
            assert info["accepted"] and plain_gain(policy, theta_old, theta, batch) > 0
    nothing = dataclasses.replace(batch, adv=np.zeros(7))
    for gamma in (0.0, 0.99):
        theta, info = trpo_step(policy, theta_old, nothing, config(form="bound", gamma=gamma, normalize_adv=False))
        assert np.array_equal(theta, theta_old) and (info["accepted"], info["status"]) == (0, "zero_gradient")


def test_bug_34_the_command_that_divided_by_zero_trains():
    cfg = TRPOConfig(form="bound", normalize_adv=False, gamma=0.0, num_envs=2, num_steps=32, total_timesteps=192)
    assert (
        sum(
            u.metrics["step/accepted"]
            for u in Learner(algorithms.find("trpo"), make_envs("minirl/CartPole-v1", 2), cfg)
        )
        == 3
    )


@both_families
@pytest.mark.parametrize("gamma", [0.9, 0.99, 0.999])
def test_bug_40_the_bound_in_float32_takes_the_steps_of_float64(dist, gamma, rng):
    """Gains of 1e-6 and KLs of 1e-9 drown in float32's rounding of them: measured in float64 they are right."""
    for policy, wide, batch in problems(dist, rng, 6):
        theta_old = wide.astype(np.float32)
        wide, obs = theta_old.astype(np.float64), batch.obs.astype(np.float32)
        action = batch.action if batch.action.dtype.kind == "i" else batch.action.astype(np.float32)
        narrow = dataclasses.replace(batch, obs=obs, action=action)
        cfg = config(form="bound", gamma=gamma, normalize_adv=False, dtype="float32", damping=0.1)
        theta, info = trpo_step(policy, theta_old, narrow, cfg)
        assert info["accepted"] and theta.dtype == np.float32
        plain = dataclasses.replace(batch, obs=obs.astype(np.float64), action=action.astype(batch.action.dtype))
        gain, kl = plain_gain(policy, wide, theta, plain), plain_kl(policy, wide, theta, plain.obs).max()
        assert gain - 4 * gamma * np.abs(batch.adv).max() / (1 - gamma) * kl > 0
        expected, info_new = trpo_step(policy, wide, plain, cfg)
        assert (
            relative_error(theta - theta_old, expected - wide) < 1e-2 and info_new["backtracks"] == info["backtracks"]
        )


def test_bug_40_a_step_that_float32_cannot_hold_is_refused_by_name(rng):
    policy, wide, batch = next(problems(Categorical(3), rng, 1))
    theta, cfg = wide.astype(np.float32), config(form="bound", gamma=1 - 1e-9, normalize_adv=False)
    new, info = trpo_step(policy, theta, batch, cfg)
    assert np.array_equal(new, theta) and (info["accepted"], info["refused"]) == (0, "resolution")


def test_bug_40_the_default_type_trains():
    cfg = TRPOConfig(form="bound", normalize_adv=False, num_envs=2, num_steps=64, total_timesteps=384)
    assert cfg.dtype == "float32" and cfg.gamma == 0.99
    assert (
        sum(
            u.metrics["step/accepted"]
            for u in Learner(algorithms.find("trpo"), make_envs("minirl/CartPole-v1", 2), cfg)
        )
        == 3
    )


@pytest.mark.parametrize(
    "fields", [{"form": "bound"}, {"form": "bound", "normalize_adv": False, "gamma": 1.0}, {"kl_coef": 0.0}]
)
def test_combinations_without_meaning_are_refused(fields):
    with pytest.raises(ConfigError, match=r"form|kl_coef"):
        TRPOConfig(**fields)


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
@pytest.mark.parametrize(
    "fields",
    [{"kl": "max", "shrink": 0.8}, {"form": "penalty"}, {"form": "bound", "normalize_adv": False, "dtype": "float64"}],
    ids=["max", "penalty", "bound"],
)
def test_every_form_trains(env, fields):
    cfg = TRPOConfig(num_envs=2, num_steps=64, total_timesteps=384, **fields)
    updates = list(Learner(algorithms.find("trpo"), make_envs(env, 2), cfg))
    assert len(updates) == 3 and sum(u.metrics["step/accepted"] for u in updates) >= 2


@both_families
def test_tr_7_the_dense_fisher_gives_the_same_step_as_enough_iterations(dist, rng):
    policy, theta, batch = next(problems(dist, rng, 1, n=61))
    dense, _, info = natural_step(policy, theta, batch, config(solver="dense", damping=0.01))
    cg, _, _ = natural_step(policy, theta, batch, config(solver="cg", cg_iters=500, damping=0.01))
    assert info["cg_iters"] == len(theta) and relative_error(dense, cg) < 1e-6


def test_the_dense_fisher_refuses_what_would_not_fit():
    policy = Policy(Categorical(2), 3, (80, 80), "tanh")
    theta = random_theta(policy, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="solver"):
        natural_step(policy, theta, made_up_batch(policy, theta, 5, np.random.default_rng(0)), config(solver="dense"))


@pytest.mark.parametrize(
    ("gain", "kl", "expected"), [(0.5, 0.25, False), (0.5625, 0.25, True), (0.4375, 0.25, False), (-1.0, 0.0, False)]
)
def test_tr_12_the_penalised_form_takes_what_gains_more_than_it_costs(gain, kl, expected):
    """β = 2, in numbers without rounding: nothing won is nothing taken."""
    assert trpo.accepts(gain, kl, 9.0, None, TRPOConfig(form="penalty", kl_coef=2.0)) is expected  # [TR-12]


@pytest.mark.parametrize(
    ("gain", "kl", "expected"), [(1e-9, 0.25, True), (0.0, 0.1, False), (1.0, 0.25 + 1e-9, False), (-1.0, 0.1, False)]
)
def test_tr_11_tr_13_the_constraint_holds_with_equality_and_the_gain_does_not(gain, kl, expected):
    cfg = TRPOConfig(delta=0.25)
    assert trpo.accepts(gain, kl, 9.0, None, cfg) is expected  # [TR-1, TR-11]
    assert trpo.accepts(gain, 9.0, kl, None, cfg.replace(kl="max")) is expected  # [TR-13]


@pytest.mark.parametrize(("gain", "expected"), [(1.0, False), (1.0625, True), (0.9375, False)])
def test_sur_7_the_bounds_own_objective_has_to_rise(gain, expected):
    """γ = ½ and |A| ≤ 1 make the coefficient 4; the largest KL is ¼."""
    one = types.SimpleNamespace(adv=np.array([0.5, -1.0]), weights=SampleWeights(np.ones(2)))
    # [SUR-7]
    assert trpo.accepts(gain, 0.0, 0.25, one, TRPOConfig(form="bound", gamma=0.5, normalize_adv=False)) is expected
