"""The natural step and its line search:
Fisher products, step length, constraint, and every way in which a step is refused.

Batches are made up; no environment is needed. Oracles: scores enumerated over actions by autograd, differences,
densities in float64.
"""

import dataclasses

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from oracles import (
    PLAIN,
    dense_fisher,
    gradient,
    hessian,
    made_up_batch,
    on_rank,
    on_ranks,
    plain_gain,
    plain_kl,
    plain_mlp,
    plain_phi,
    random_theta,
    relative_error,
    rows_of,
    same_bits,
    weighted,
)

from minirl.algorithms import npg, trpo
from minirl.algorithms.npg import NPGConfig, fisher_vector_product, natural_step, npg_step, policy_gradient
from minirl.algorithms.trpo import TRPOConfig, trpo_step
from minirl.algorithms.value_fit import fit_critic
from minirl.errors import ConfigError
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
    StateGaussian,
)
from minirl.models.policy import Policy
from minirl.numerics.optimizers import adam_init
from minirl.numerics.sums_over_samples import SampleWeights
from minirl.samples.advantages import standardize_adv
from minirl.samples.batch import Batch, one_in

CATEGORICAL = Policy(Categorical(3), 4, (8,), "tanh")
GAUSSIAN = Policy(DiagGaussian(3), 4, (8,), "tanh")
POLICIES = [
    CATEGORICAL,
    GAUSSIAN,
    Policy(Categorical(2), 1, (), "tanh"),
    Policy(Categorical(4), 3, (5, 1, 3), "relu"),
    Policy(DiagGaussian(1), 2, (), "tanh"),
    Policy(DiagGaussian(2), 3, (7, 5), "relu"),
]


FAMILIES = [
    Policy(MultiCategorical((2, 3)), 4, (3,), "tanh"),
    Policy(Bernoulli(3), 4, (3,), "tanh"),
    Policy(StateGaussian(2), 4, (3,), "tanh"),
    Policy(FullGaussian(2), 4, (3,), "tanh"),
    Policy(SquashedGaussian(1), 4, (3,), "tanh"),
    Policy(Beta(1), 4, (3,), "tanh"),
]


def named(policy):
    return f"{policy.dist.name}-{'-'.join(map(str, policy.mlp.sizes))}-{policy.mlp.activation}"


policies = pytest.mark.parametrize("policy", POLICIES, ids=named)
both = pytest.mark.parametrize("policy", [CATEGORICAL, GAUSSIAN], ids=named)
every_family = pytest.mark.parametrize("policy", [CATEGORICAL, GAUSSIAN, *FAMILIES], ids=named)
policies_and_families = pytest.mark.parametrize("policy", POLICIES + FAMILIES, ids=named)
steps = pytest.mark.parametrize(
    ("step", "config"), [(npg_step, NPGConfig), (trpo_step, TRPOConfig)], ids=["npg", "trpo"]
)
modules = pytest.mark.parametrize(("module", "config"), [(npg, NPGConfig), (trpo, TRPOConfig)], ids=["npg", "trpo"])
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
SAMPLES = ("obs", "action", "adv", "returns", "value")


def products(policy, theta, obs, damping=0.0, weight=None):
    """v -> (F + βI) v at θ, as the library makes it."""
    phi, cache = policy.forward(theta, obs)
    weights = SampleWeights(np.ones(len(obs)) if weight is None else weight)
    return fisher_vector_product(policy, theta, cache, phi, weights, damping)


def gradient_of(policy, theta, batch):
    phi, cache = policy.forward(theta, batch.obs)
    return policy_gradient(policy, theta, cache, phi, batch)


# ------------------------------------------------------------------------------------------- gradient and Fisher matrix


@pytest.mark.parametrize("n", [1, 9])
@policies_and_families
def test_policy_gradient_is_that_of_the_surrogate_and_of_the_mean_score(policy, n, rng):  # [PG-11, IS-5, SUR-2]
    theta = random_theta(policy, rng)
    batch = made_up_batch(policy, theta, n, rng, weight=rng.integers(1, 4, size=n).astype(float))
    g = gradient_of(policy, theta, batch)
    h = 1e-3 if policy.mlp.activation == "tanh" else 1e-6
    # ∇L = ∇(r A) at θ_old
    assert relative_error(g, gradient(lambda th: plain_gain(policy, theta, th, batch), theta, h)) <= 1e-6
    log_prob, w = PLAIN[policy.dist.name].log_prob, batch.weights.w
    auto = autograd.grad(lambda th: anp.sum(w * batch.adv * log_prob(plain_phi(policy, th, batch.obs), batch.action)))(
        theta
    )
    assert relative_error(g, auto) <= 1e-12


@both
@pytest.mark.parametrize("solver", ["cg", "dense"])
def test_tr_8_the_configured_solver_solves_the_damped_system(policy, solver, rng):
    """Against Gaussian elimination on the matrix whose columns are the products with unit vectors."""
    theta, obs = random_theta(policy, rng), rng.standard_normal((40, policy.mlp.sizes[0]))
    fvp = products(policy, theta, obs, damping=0.1)
    matrix = np.stack([fvp(unit) for unit in np.eye(policy.num_params)], axis=1)
    g = rng.standard_normal(policy.num_params)
    solution = npg.solve(fvp, g, NPGConfig(solver=solver, cg_iters=3 * policy.num_params, dtype="float64"))
    np.testing.assert_allclose(solution.x, np.linalg.solve(matrix, g), rtol=1e-4, atol=1e-5)  # [TR-8]
    np.testing.assert_allclose(solution.residual, g - matrix @ solution.x, atol=1e-8)


@policies_and_families
def test_step_01_fisher_products_are_the_enumerated_score_products(policy, rng):  # [TR-4, TR-9]
    """F = E[∇log π ∇log πᵀ], every action of every state, against Jᵀ F_dist J v:
    50 random v, some samples counting more.
    """
    theta, obs = random_theta(policy, rng), rng.standard_normal((5, policy.mlp.sizes[0]))
    weight = np.array([1.0, 2, 0, 1, 1])
    fisher = dense_fisher(policy, theta, obs, weight / weight.sum())
    product = products(policy, theta, obs, weight=weight)
    for v in rng.standard_normal((50, policy.num_params)):
        assert relative_error(product(v), fisher @ v) <= 1e-12


@every_family
def test_step_01_fisher_products_are_the_hessian_of_mean_kl(policy, rng):  # [TR-4, TR-9]
    theta, obs = random_theta(policy, rng), rng.standard_normal((5, 4))
    phi_old = policy.infer(theta, obs)
    curvature = hessian(lambda th: policy.dist.kl(phi_old, policy.infer(th, obs)).mean(), theta)
    product = products(policy, theta, obs)
    for v in rng.standard_normal((50, policy.num_params)):
        assert relative_error(product(v), curvature @ v) <= 1e-5


@policies_and_families
def test_step_02_fisher_is_symmetric_and_positive(policy, rng):
    theta, obs = random_theta(policy, rng), rng.standard_normal((7, policy.mlp.sizes[0]))
    product = products(policy, theta, obs)
    for u, v in rng.standard_normal((100, 2, policy.num_params)):
        fv = product(v)
        assert abs(u @ fv - v @ product(u)) <= 1e-12 * np.linalg.norm(u) * np.linalg.norm(fv)
        assert v @ fv >= -1e-12


@pytest.mark.parametrize("n", [1, 7, 40])
@both
def test_step_21_damping_is_added_once_and_does_not_depend_on_the_batch(policy, n, rng):  # [TR-10]
    theta, obs, v = random_theta(policy, rng), rng.standard_normal((n, 4)), rng.standard_normal(policy.num_params)
    added = products(policy, theta, obs, damping=0.1)(v) - products(policy, theta, obs)(v)
    assert relative_error(added, 0.1 * v) <= 1e-12


@policies_and_families
def test_float32_fisher_products_are_the_float64_ones_to_rounding(policy, rng):
    theta, obs = (
        random_theta(policy, rng, np.float32),
        rng.standard_normal((33, policy.mlp.sizes[0])).astype(np.float32),
    )
    v = rng.standard_normal(policy.num_params)
    narrow, wide = (
        products(policy, theta, obs)(v),
        products(policy, theta.astype(np.float64), obs.astype(np.float64))(v),
    )
    assert narrow.dtype == np.float64 and relative_error(narrow, wide) <= 2e-5


# ------------------------------------------------------------------------------------------------- length and direction


@pytest.mark.parametrize("cg_iters", [1, 3, 300])
@policies
def test_step_11_predicted_kl_of_the_full_step_is_delta(policy, cg_iters, rng):
    # [TR-5, TR-7]: ½ΔᵀFΔ = δ, however short CG is cut
    theta = random_theta(policy, rng)
    batch = made_up_batch(policy, theta, 11, rng)
    fisher = dense_fisher(policy, theta, batch.obs)
    step, _, _ = natural_step(policy, theta, batch, NPGConfig(delta=0.02, damping=0.0, cg_iters=cg_iters))
    assert 0.5 * step @ fisher @ step == pytest.approx(0.02, rel=1e-6)


@both
def test_step_11_with_damping_the_damped_matrix_sets_the_length(policy, rng):  # [TR-7, TR-10]
    theta = random_theta(policy, rng)
    batch = made_up_batch(policy, theta, 11, rng)
    fisher = dense_fisher(policy, theta, batch.obs)
    step, _, info = natural_step(policy, theta, batch, NPGConfig(delta=0.02, damping=0.1, cg_iters=300))
    assert 0.5 * step @ (fisher + 0.1 * np.eye(len(theta))) @ step == pytest.approx(0.02, rel=1e-6)
    assert 0.5 * step @ fisher @ step < 0.02
    # direction F̃⁻¹g  [TR-6]
    expected = np.linalg.solve(fisher + 0.1 * np.eye(len(theta)), gradient_of(policy, theta, batch))
    assert info["status"] == "converged"
    assert relative_error(step / np.linalg.norm(step), expected / np.linalg.norm(expected)) <= 1e-7
    assert info["predicted_gain"] == pytest.approx(gradient_of(policy, theta, batch) @ step, rel=1e-12)


def test_step_11_a_quadratic_kl_is_measured_as_delta(rng):
    """Linear Gaussian policy, actions one σ from the mean:
    the score of log σ, z² − 1, is 0, and KL in the mean is exactly quadratic.
    """
    policy = Policy(DiagGaussian(2), 3, (), "tanh")
    theta = random_theta(policy, rng)
    obs = rng.standard_normal((15, 3))
    phi = policy.infer(theta, obs)
    action = phi[:, :2] + np.exp(phi[:, 2:]) * rng.choice([-1.0, 1.0], size=(15, 2))
    batch = dataclasses.replace(made_up_batch(policy, theta, 15, rng, obs=obs), action=action)
    new, info = npg_step(policy, theta, batch, NPGConfig(delta=0.3, damping=0.0))
    np.testing.assert_allclose(new[-2:], theta[-2:], atol=1e-9)
    assert info["kl"] == pytest.approx(0.3, rel=1e-6)
    assert plain_kl(policy, theta, new, obs).mean() == pytest.approx(0.3, rel=1e-6)


@both
def test_the_full_step_solves_the_quadratic_problem(policy, rng):  # [TR-5]: KKT, and nothing feasible gains more
    theta, delta = random_theta(policy, rng), 0.01
    batch = made_up_batch(policy, theta, 40, rng)
    fisher, g = dense_fisher(policy, theta, batch.obs), gradient_of(policy, theta, batch)
    step, _, _ = natural_step(policy, theta, batch, NPGConfig(delta=delta, damping=0.0, cg_iters=1000))
    lagrange = (g @ step) / (2 * delta)
    assert lagrange > 0 and np.linalg.norm(g - lagrange * fisher @ step) <= 1e-6 * np.linalg.norm(g)  # stationary
    for v in rng.standard_normal((1000, len(theta))) * rng.uniform(0, 1, size=(1000, 1)) + step * rng.choice(
        [0, 1, 30], size=(1000, 1)
    ):
        feasible = v * np.sqrt(2 * delta / (v @ fisher @ v))
        assert g @ feasible <= g @ step * (1 + 1e-6)


@every_family
def test_the_linear_model_of_the_gain_is_off_by_second_order(policy, rng):  # [TR-2]
    theta, v = random_theta(policy, rng), rng.standard_normal(policy.num_params)
    v /= np.linalg.norm(v)
    batch = made_up_batch(policy, theta, 21, rng)
    g, scales = gradient_of(policy, theta, batch), np.geomspace(1e-3, 1e-2, 5)
    errors = [abs(plain_gain(policy, theta, theta + s * v, batch) - s * g @ v) for s in scales]
    # reached as s -> 0; a wrong gradient would give 1
    assert np.polyfit(np.log(scales), np.log(errors), 1)[0] >= 2 - 0.1


@every_family
def test_the_quadratic_model_of_the_kl_is_off_by_third_order(policy, rng):  # [TR-3]
    theta, v = random_theta(policy, rng), rng.standard_normal(policy.num_params)
    v /= np.linalg.norm(v)
    obs = rng.standard_normal((21, 4))
    bend, scales = v @ products(policy, theta, obs)(v), np.geomspace(1e-3, 1e-2, 5)
    phi_old = policy.infer(theta, obs)
    errors = [
        abs(policy.dist.kl(phi_old, policy.infer(theta + s * v, obs)).mean() - 0.5 * s * s * bend) for s in scales
    ]
    assert np.polyfit(np.log(scales), np.log(errors), 1)[0] >= 3 - 0.1  # reached as s -> 0; a wrong F would give 2


@pytest.mark.parametrize("dist", [Categorical(4), DiagGaussian(2)], ids=lambda d: d.name)
def test_the_natural_step_does_not_depend_on_the_parametrisation(dist, rng):  # [TR-6]
    """A linear policy on observations s and on s' = s M + c: other parameters for the same policies.

    Damping 0: the same new policy.
    """
    policy = Policy(dist, 3, (), "tanh")
    theta = random_theta(policy, rng)
    batch = made_up_batch(policy, theta, 25, rng)
    mix, shift = np.diag([0.1, 1.0, 5.0]) @ np.linalg.qr(rng.standard_normal((3, 3)))[0], rng.standard_normal(3)

    outputs = policy.mlp.sizes[-1]
    weight, rest = theta[: 3 * outputs].reshape(3, outputs), theta[3 * outputs :].copy()
    other_weight = np.linalg.solve(mix, weight)  # s W + b = s' M⁻¹ W + (b − c M⁻¹ W)
    rest[:outputs] -= shift @ other_weight
    other_theta = np.concatenate([other_weight.ravel(), rest])
    other = dataclasses.replace(batch, obs=batch.obs @ mix + shift)

    def moved(damping):
        cfg = NPGConfig(delta=0.05, damping=damping, cg_iters=200)
        pairs = [(theta, batch), (other_theta, other)]
        phis = [plain_phi(policy, th + natural_step(policy, th, b, cfg)[0], b.obs) for th, b in pairs]
        return [PLAIN[dist.name].log_prob(phi, batch.action) for phi in phis]

    assert relative_error(*moved(0.0)) <= 1e-6
    assert relative_error(*moved(0.1)) > 1e-3  # the damping is not invariant, nor is a plain gradient step


@both
def test_step_10_the_step_does_not_depend_on_the_scale_of_the_advantages(policy, rng):
    theta = random_theta(policy, rng)
    batch = made_up_batch(policy, theta, 13, rng)
    step, _, _ = natural_step(policy, theta, batch, NPGConfig())
    for exponent in (-100, -27, 27, 100):  # 1e-30, 1e-8, 1e8, 1e30: powers of two round nothing
        scaled, _, _ = natural_step(
            policy, theta, dataclasses.replace(batch, adv=2.0**exponent * batch.adv), NPGConfig()
        )
        assert relative_error(scaled, step) <= 1e-12


@both
def test_step_09_directions_are_float64_for_float32_parameters(policy, rng):
    theta = random_theta(policy, rng, np.float32)
    batch = made_up_batch(policy, theta, 33, rng)
    step, phi, _ = natural_step(policy, theta, batch, NPGConfig())
    assert step.dtype == np.float64 and phi.dtype == np.float32
    fisher = dense_fisher(policy, theta.astype(np.float64), batch.obs.astype(np.float64)) + 0.1 * np.eye(len(theta))
    assert 0.5 * step @ fisher @ step == pytest.approx(0.01, rel=1e-4)  # [TR-7]: ten float32 products, each to 1e-6


@both
def test_samples_of_weight_zero_do_not_count(policy, rng):
    theta = random_theta(policy, rng)
    batch = made_up_batch(policy, theta, 12, rng, weight=np.array([1.0, 0, 1, 1, 0, 0, 1, 1, 1, 0, 1, 1]))
    alone = trpo_step(policy, theta, rows_of(batch, batch.weights.w > 0), TRPOConfig())
    together = trpo_step(policy, theta, batch, TRPOConfig())
    assert relative_error(together[0], alone[0]) <= 1e-9
    assert together[1]["kl"] == pytest.approx(alone[1]["kl"], rel=1e-9)


def test_parameters_near_are_not_policies_near():  # [KL-14]: two steps of one length, KLs orders of magnitude apart
    policy = Policy(Categorical(2), 1, (), "tanh")
    kl = {}
    for name, logit in (("even", 0.0), ("sure", 10.0)):
        theta = np.array([0.0, 0.0, logit, 0.0])
        kl[name] = plain_kl(policy, theta, theta - np.array([0, 0, 1.0, 0]), np.zeros((1, 1)))[0]
        measured = policy.dist.kl(
            *(policy.infer(th, np.zeros((1, 1))) for th in (theta, theta - np.array([0, 0, 1.0, 0])))
        )[0]
        assert measured == pytest.approx(kl[name], rel=1e-9)
    assert kl["even"] > 1000 * kl["sure"]


# --------------------------------------------------------------------------------------------- the constraint is obeyed


def random_update(rng, dtype, **options):
    """A random policy, batch and configuration: a step that is often too long at first."""
    dist = Categorical(int(rng.integers(2, 6))) if rng.random() < 0.5 else DiagGaussian(int(rng.integers(1, 4)))
    hidden = [(), (5,), (7, 3)][rng.integers(3)]
    policy = Policy(dist, int(rng.integers(1, 6)), hidden, str(rng.choice(["tanh", "relu"])))
    theta = random_theta(policy, rng, dtype)
    batch = made_up_batch(policy, theta, int(rng.choice([1, 7, 33])), rng)
    delta, damping, shrink = (float(rng.choice(values)) for values in ([1e-4, 0.01, 0.3], [0, 1e-3, 0.1], [0.5, 0.8]))
    cfg = TRPOConfig(**({"delta": delta, "damping": damping, "shrink": shrink} | options))
    return policy, theta, batch, cfg


@dtypes
def test_step_13_every_accepted_step_keeps_the_constraint(dtype, rng):
    # [TR-1]: 200 random updates, KL measured again in float64
    # nats: what rounding costs a KL in this type (DIST-17), nothing on top
    slack = {"float32": 1e-6, "float64": 1e-14}[dtype]
    accepted = 0
    for _ in range(200):
        policy, theta, batch, cfg = random_update(rng, dtype)
        new, info = trpo_step(policy, theta, batch, cfg)
        accepted += info["accepted"]
        assert new.dtype == theta.dtype
        assert plain_kl(policy, theta, new, batch.obs).mean() <= cfg.delta + slack
        if not info["accepted"]:
            assert same_bits(new, theta)
    assert accepted >= 150


def test_the_first_try_that_obeys_is_taken_and_reported(rng):  # [TR-11, SUR-1, SUR-3, IS-2, KL-11]
    tries = []
    for _ in range(60):
        policy, theta, batch, cfg = random_update(rng, np.float64)
        full, _, _ = natural_step(policy, theta, batch, cfg)
        new, info = trpo_step(policy, theta, batch, cfg)
        tries.append(info["backtracks"])
        if not info["accepted"]:
            continue
        for i in range(info["backtracks"]):  # those before it break the constraint or gain nothing
            earlier = theta + cfg.shrink**i * full
            kl, gain = plain_kl(policy, theta, earlier, batch.obs).mean(), plain_gain(policy, theta, earlier, batch)
            assert kl > cfg.delta * (1 - 1e-9) or gain < 1e-12
        assert relative_error(new, theta + cfg.shrink ** info["backtracks"] * full) <= 1e-12
        assert info["kl"] == pytest.approx(plain_kl(policy, theta, new, batch.obs).mean(), rel=1e-7, abs=1e-15)
        assert (
            info["gain"] == pytest.approx(plain_gain(policy, theta, new, batch), rel=1e-7, abs=1e-14)
            and info["gain"] > 0
        )
    assert tries.count(0) >= 5 and sum(t > 0 for t in tries) >= 5  # both happened


def test_the_constraint_can_be_held_for_every_visited_state(rng):  # [TR-13, KL-12]
    accepted = broken_by_the_mean = 0
    for _ in range(100):
        policy, theta, batch, cfg = random_update(rng, np.float64, kl="max")
        weight = np.where(np.arange(len(batch)) % 4 == 3, 0.0, 1.0)
        batch = weighted(batch, weight)  # a state that does not count does not bind
        new, info = trpo_step(policy, theta, batch, cfg)
        kl = plain_kl(policy, theta, new, batch.obs)[weight > 0]
        assert kl.max() <= cfg.delta + 1e-14
        assert info["kl_max"] == pytest.approx(kl.max(), rel=1e-7, abs=1e-15)
        accepted += info["accepted"]
        of_mean, info = trpo_step(policy, theta, batch, cfg.replace(kl="mean"))
        kl = plain_kl(policy, theta, of_mean, batch.obs)[weight > 0]
        assert info["kl_max"] == pytest.approx(kl.max(), rel=1e-7, abs=1e-15)
        broken_by_the_mean += kl.max() > cfg.delta
    assert accepted >= 75 and broken_by_the_mean >= 40


def test_the_penalised_form_gains_more_than_it_pays(rng):  # [TR-12]
    accepted = 0
    for _ in range(100):
        beta = float(rng.choice([0.1, 1.0, 30.0]))
        policy, theta, batch, cfg = random_update(rng, np.float64, form="penalty", kl_coef=beta)
        new, info = trpo_step(policy, theta, batch, cfg)
        kl = plain_kl(policy, theta, new, batch.obs).mean()
        accepted += info["accepted"]
        if info["accepted"]:
            assert plain_gain(policy, theta, new, batch) - beta * kl > -1e-14
            assert info["kl"] == pytest.approx(kl, rel=1e-7, abs=1e-15)
        else:
            assert same_bits(new, theta)
    assert accepted >= 75


@pytest.mark.parametrize("delta", [1e-3, 10.0])
@both
def test_the_first_try_of_the_penalised_form_maximises_its_model(policy, delta, rng):  # [TR-12]: F⁻¹g/β, whatever δ is
    theta = random_theta(policy, rng)
    batch = made_up_batch(policy, theta, 13, rng)
    cfg = TRPOConfig(form="penalty", kl_coef=50.0, delta=delta, cg_iters=300)
    new, info = trpo_step(policy, theta, batch, cfg)
    damped = dense_fisher(policy, theta, batch.obs) + 0.1 * np.eye(len(theta))
    assert (info["accepted"], info["backtracks"]) == (1, 0)
    assert relative_error(new - theta, np.linalg.solve(damped, gradient_of(policy, theta, batch)) / 50.0) <= 1e-6


def test_the_bound_as_objective_is_raised_by_every_accepted_step(rng):
    # [SUR-7]: mean L − (1−γ) C max KL with C = 4 γ max|A| / (1−γ)²
    accepted, gamma = 0, 0.5
    for _ in range(60):
        policy, theta, batch, cfg = random_update(rng, np.float64, form="bound", normalize_adv=False, gamma=gamma)
        new, info = trpo_step(policy, theta, batch, cfg)
        worst = plain_kl(policy, theta, new, batch.obs).max()
        accepted += info["accepted"]
        if info["accepted"]:
            assert (
                plain_gain(policy, theta, new, batch) - 4 * gamma * np.abs(batch.adv).max() / (1 - gamma) * worst
                > -1e-14
            )
        else:
            assert same_bits(new, theta)
    assert accepted >= 45


@pytest.mark.parametrize("options", [{"normalize_adv": True}, {"normalize_adv": False, "gamma": 1.0}])
def test_the_bound_needs_true_advantages_and_a_discount(options):
    with pytest.raises(ConfigError, match="bound"):
        TRPOConfig(form="bound", **options)


def tabular(logits):
    """θ of a linear policy on one-hot states with these logits (S, K)."""
    return np.concatenate([np.ravel(logits), np.zeros(np.shape(logits)[1])]).astype(float)


@pytest.fixture
def two_states():
    """Two states, two actions, and two policies whose KL depends on the direction:
    (policy, batch, θ_a, θ_b, KL(a‖b), KL(b‖a)).
    """
    policy = Policy(Categorical(2), 2, (), "tanh")
    a, b = tabular([[0.0, 0.0], [0.0, 1.0]]), tabular([[0.0, 4.0], [0.0, 1.5]])
    obs = np.eye(2)
    batch = Batch(obs, np.array([1, 1]), np.array([1.0, 1.0]), np.zeros(2), np.zeros(2), SampleWeights(np.ones(2)))
    forward, backward = plain_kl(policy, a, b, obs).mean(), plain_kl(policy, b, a, obs).mean()
    assert forward > 1.5 * backward
    return policy, batch, a, b, forward, backward


def propose(monkeypatch, step):
    """Let trpo_step and npg_step try this step instead of the natural one."""

    def fixed(policy, theta_old, batch, cfg):
        return step, policy.infer(theta_old, batch.obs), {"status": "converged", "predicted_gain": 1.0}

    monkeypatch.setattr(trpo, "natural_step", fixed)
    monkeypatch.setattr(npg, "natural_step", fixed)


def test_step_12_the_constraint_is_kl_of_old_from_new(two_states, monkeypatch):  # [KL-11, TR-1]
    policy, batch, a, b, forward, backward = two_states
    between = TRPOConfig(delta=(forward + backward) / 2, backtracks=1)
    down = dataclasses.replace(batch, adv=-batch.adv)
    # up in one direction, down in the other: both gain
    for old, new, samples, kl in ((a, b, batch, forward), (b, a, down, backward)):
        propose(monkeypatch, new - old)
        theta, info = trpo_step(policy, old, samples, between)
        accepted = kl <= between.delta
        assert info["accepted"] == accepted and relative_error(theta, new if accepted else old) <= 1e-15
        if accepted:
            assert info["kl"] == pytest.approx(kl, rel=1e-12)
        assert npg_step(policy, old, samples, NPGConfig())[1]["kl"] == pytest.approx(kl, rel=1e-12)


def test_step_20_the_constraint_is_checked_on_every_sample(rng):
    """F⁻¹g from nine samples whose states are so small that they hardly see what the step does to the others."""
    policy, tight = Policy(Categorical(3), 2, (5,), "tanh"), 0
    for _ in range(20):
        theta = random_theta(policy, rng)
        obs = rng.standard_normal((41, 2)) * np.where(np.arange(41) % 5 == 0, 0.01, 3.0)[:, None]
        batch = made_up_batch(policy, theta, 41, rng, obs=obs, fisher=np.arange(0, 41, 5))
        cfg = TRPOConfig(fisher_every=5, damping=1e-4, delta=0.01, backtracks=30)
        new, info = trpo_step(policy, theta, batch, cfg)
        full, _, _ = natural_step(policy, theta, batch, cfg)
        tight += plain_kl(policy, theta, theta + full, obs).mean() > cfg.delta  # the full step breaks it
        assert info["accepted"] and info["kl"] <= cfg.delta
        assert info["kl"] == pytest.approx(plain_kl(policy, theta, new, obs).mean(), rel=1e-7)
    assert tight >= 5


@pytest.mark.parametrize("every", [1, 2, 5, 17, 100])
@both
def test_step_20_bug_03_the_direction_is_of_some_samples_and_the_length_of_all(policy, every, rng):
    """x = F̃⁻¹g with F of the rows that were drawn, each with its weight, and ½ ΔθᵀFΔθ = δ with F of all.  [TR-7]"""
    theta = random_theta(policy, rng)
    rows = one_in(every, np.ones(17), rng)
    weight = rng.integers(1, 4, 17).astype(float)
    batch = made_up_batch(policy, theta, 17, rng, fisher=rows, weight=weight)
    step, phi_old, _ = natural_step(policy, theta, batch, NPGConfig(fisher_every=every, cg_iters=300))
    every_row, damping = np.arange(17), 0.1 * np.eye(len(theta))
    some, all_ = (
        dense_fisher(policy, theta, batch.obs[r], weight[r] / weight[r].sum()) + damping for r in (rows, every_row)
    )
    x = np.linalg.solve(some, gradient_of(policy, theta, batch))  # the gradient is of all samples
    assert relative_error(step, np.sqrt(0.02 / (x @ all_ @ x)) * x) <= 1e-6
    assert len(phi_old) == 17


@pytest.mark.parametrize("envs", [1, 2, 4, 7])
@pytest.mark.parametrize("k", [2, 3, 4, 7, 8, 64, 1000])
def test_bug_03_every_row_every_environment_and_every_time_is_as_likely(k, envs, rng):
    """840 rows, the environments first, drawn 400 times: counted against the binomial's deviation."""
    n, draws = 840, 400
    drawn = np.array([one_in(k, np.ones(n), rng) for _ in range(draws)])
    parts = -(-n // k)
    assert drawn.shape == (draws, parts) and (np.diff(drawn) > -1).all() and drawn.min() >= 0 and drawn.max() < n
    for group in (np.arange(n) % envs, np.arange(n) * 5 // n):  # environments, and fifths of the time
        share = np.bincount(group[drawn.ravel()], minlength=group.max() + 1) / drawn.size
        expected = np.bincount(group) / n
        assert (np.abs(share - expected) <= 5 * np.sqrt(expected * (1 - expected) / drawn.size) + 1e-12).all()
    weight = np.where(np.arange(n) % 3 == 1, 0.0, 1.0)  # rows that do not count are never drawn
    some = one_in(k, weight, rng)
    assert weight[some].all() and len(some) == -(-560 // k)
    assert len(one_in(k, np.zeros(5), rng)) == len(one_in(k, np.zeros(0), rng)) == 0


@pytest.mark.parametrize("tasks", [2, 3, 4])
@steps
def test_bug_03_two_tasks_side_by_side_are_both_in_the_fisher_matrix(step, config, tasks, rng):
    """Environment i shows feature i: with each k-th row k = num_envs was environment 0 alone, and KL 150 δ."""
    policy, n = Policy(Categorical(2), tasks, (), "tanh"), 240
    theta = random_theta(policy, rng)
    batch = made_up_batch(policy, theta, n, rng, obs=np.eye(tasks)[np.arange(n) % tasks])
    for k in (1, 2, 3, 4, 5, 6, 8, 12, 30, 240, 1000):
        kl = []
        for _ in range(5):
            some = dataclasses.replace(batch, fisher=one_in(k, batch.weights.weight, rng) if k > 1 else None)
            kl.append(step(policy, theta, some, config(fisher_every=k, damping=1e-3))[1]["kl"])
        assert np.median(kl) > 0.002 and max(kl) < 0.03, k


def test_bug_03_the_rows_are_those_of_the_seed_and_new_in_each_update(rng, monkeypatch):
    """Drawn from the stream of updates; without one (a step by itself) always the same. With k = 1 nothing is drawn."""
    theta = random_theta(CATEGORICAL, rng)
    batch = made_up_batch(CATEGORICAL, theta, 41, rng)
    nets, seen = networks(CATEGORICAL), []
    spy = npg.subsampled_product
    monkeypatch.setattr(npg, "subsampled_product", lambda *args: seen.append(args[2].fisher) or spy(*args))
    cfg = NPGConfig(fisher_every=4, dtype="float64")
    for seed in (1, 1, 2):
        npg.update(nets, fresh_state(npg, nets, cfg), batch, cfg, np.random.default_rng(seed))
    assert same_bits(seen[0], seen[1]) and not np.array_equal(seen[0], seen[2])
    alone = [npg_step(CATEGORICAL, theta, batch, cfg)[0] for _ in range(2)]
    assert same_bits(*alone)
    cfg, streams = cfg.replace(fisher_every=1), [np.random.default_rng(1) for _ in range(2)]
    npg.update(nets, fresh_state(npg, nets, cfg), batch, cfg, streams[0])
    for _ in range(cfg.critic_epochs):
        streams[1].permutation(41)
    assert len(seen) == 5 and streams[0].random() == streams[1].random()


@pytest.mark.parametrize("every", [2, 5, 1000])
def test_bug_03_ranks_count_by_their_size(every, rng):
    """Three ranks with 30, 8 and 0 rows: one step on all, and the F that it is made of weighs each rank by its rows."""
    theta = random_theta(CATEGORICAL, rng)
    batch = made_up_batch(CATEGORICAL, theta, 38, rng)
    shards = [rows_of(batch, rows) for rows in np.split(np.arange(38), [30, 38])]
    cfg = NPGConfig(fisher_every=every, cg_iters=300)
    together = on_ranks(3, lambda comm: natural_step(CATEGORICAL, theta, on_rank(shards[comm.rank], comm), cfg)[0])
    rows = [one_in(every, s.weights.weight) for s in shards]
    w = np.concatenate([np.full(len(r), len(s) / max(len(r), 1)) for r, s in zip(rows, shards, strict=True)]) / 38
    obs = np.concatenate([s.obs[r] for r, s in zip(rows, shards, strict=True)])
    damped = dense_fisher(CATEGORICAL, theta, obs, w) + 0.1 * np.eye(len(theta))
    x = np.linalg.solve(damped, gradient_of(CATEGORICAL, theta, batch))
    cosines = [step @ x / np.linalg.norm(step) / np.linalg.norm(x) for step in together]
    assert same_bits(together[0], together[1]) and same_bits(together[0], together[2]) and min(cosines) > 1 - 1e-9


# ----------------------------------------------------------------------------------------------------- what is reported


def forms(rng):
    """Updates of every form, some with a first try that is refused."""
    bound = {"form": "bound", "normalize_adv": False, "gamma": 0.5}
    for fields in ({}, {"kl": "max"}, {"form": "penalty", "kl_coef": 3.0}, bound):
        for _ in range(12):
            yield random_update(rng, np.float64, **fields)


def test_bug_10_the_predicted_gain_is_that_of_the_step_taken(rng):
    """gᵀ(θ − θ_old), whatever the natural step was multiplied by, in every form; 0 where θ stayed.  [TR-2]"""
    backtracked = 0
    for policy, theta, batch, cfg in forms(rng):
        g = gradient_of(policy, theta, batch)
        for step in (npg_step, trpo_step):
            new, info = step(policy, theta, batch, cfg)
            assert info["predicted_gain"] == pytest.approx(g @ (new - theta), rel=1e-9, abs=1e-12)
        backtracked += info["accepted"] and info["backtracks"] > 0
    assert backtracked >= 5


def test_the_policy_loss_is_the_negative_surrogate_where_the_update_ends(rng):
    """−mean r A at the new θ, −mean A where it stayed; the gain is their difference.  [SUR-1, IS-2]"""
    for policy, theta, batch, cfg in forms(rng):
        for step in (npg_step, trpo_step):
            new, info = step(policy, theta, batch, cfg)
            gain = plain_gain(policy, theta, new, batch)
            assert info["policy_loss"] == pytest.approx(-batch.adv.mean() - gain, rel=1e-9, abs=1e-12)
            assert info["gain"] == pytest.approx(gain, rel=1e-9, abs=1e-12)
    nets, cfg = networks(CATEGORICAL), NPGConfig(dtype="float64")
    batch = made_up_batch(CATEGORICAL, random_theta(CATEGORICAL, rng), 9, rng)
    for module in (npg, trpo):
        _, metrics = module.update(nets, fresh_state(module, nets, cfg), batch, TRPOConfig(dtype="float64"), rng)
        gained = metrics["losses/surrogate_gain"]
        assert metrics["losses/policy_loss"] == pytest.approx(-batch.adv.mean() - gained, rel=1e-9) and gained > 0


@pytest.mark.parametrize("solver", ["cg", "dense"])
@both
def test_use_17_the_residual_is_what_the_solver_left(policy, solver, rng):
    theta = random_theta(policy, rng)
    batch = made_up_batch(policy, theta, 30, rng)
    fisher, g = dense_fisher(policy, theta, batch.obs) + 0.1 * np.eye(len(theta)), gradient_of(policy, theta, batch)
    left = []
    for iters in (1, 4, 200):
        step, _, info = natural_step(policy, theta, batch, NPGConfig(cg_iters=iters, solver=solver, dtype="float64"))
        x = step * np.sqrt(step @ fisher @ step) ** -2 * (g @ step)  # x = F⁻¹g has xᵀFx = gᵀx, and gᵀr = 0 at CG's end
        left.append(info["cg_residual"])
        expected = np.linalg.norm(g - fisher @ x) / np.linalg.norm(g)
        assert info["cg_residual"] == pytest.approx(expected, rel=1e-3, abs=1e-9)
    assert left[0] > left[1] > left[2] if solver == "cg" else max(left) < 1e-9


@pytest.mark.parametrize(
    ("why", "uphill"),
    [
        ("kl", 3.0),
        ("gain", -1e-3),
        ("not finite", np.inf),
        ("resolution", 1e-300),
        ("", 1e-3),
    ],
)
def test_use_17_a_refused_try_says_which_test_refused_it(why, uphill, rng, monkeypatch):
    """A step along the gradient that is too long, goes down, ends nowhere, or is less than the last digit of θ."""
    theta = random_theta(CATEGORICAL, rng)
    batch = made_up_batch(CATEGORICAL, theta, 9, rng)
    propose(monkeypatch, uphill * gradient_of(CATEGORICAL, theta, batch))
    new, info = trpo_step(CATEGORICAL, theta, batch, TRPOConfig(backtracks=1))
    assert info["refused"] == why and info["accepted"] == (why == "")
    if why:
        assert same_bits(new, theta)


def test_use_17_an_accepted_step_says_what_the_try_before_it_failed(rng):
    refused = set()
    for policy, theta, batch, cfg in forms(rng):
        _, info = trpo_step(policy, theta, batch, cfg)
        assert (info["refused"] == "") == (info["backtracks"] == 0)
        refused.add(info["refused"])
    assert {"", "kl", "gain"} <= refused


# ----------------------------------------------------------------------------------------- steps that must not be taken


def networks(policy):
    return Networks(policy, Critic(policy.mlp.sizes[0], (5,), "tanh"))


def fresh_state(module, nets, cfg, seed=1):
    return module.init(nets, cfg, np.random.default_rng(seed))


@dtypes
@steps
@both
def test_step_03_a_zero_gradient_moves_nothing(policy, step, config, dtype, rng):
    theta = random_theta(policy, rng, dtype)
    batch = made_up_batch(policy, theta, 9, rng, adv=np.zeros(9))
    new, info = step(policy, theta, batch, config(dtype=dtype))
    assert same_bits(new, theta)
    assert (info["accepted"], info["kl"], info["status"]) == (0, 0.0, "zero_gradient")


@both
def test_tr_2_where_there_is_no_step_no_gain_is_predicted(policy, rng):  # [TR-2]
    theta = random_theta(policy, rng)
    step, _, info = natural_step(policy, theta, made_up_batch(policy, theta, 9, rng, adv=np.zeros(9)), NPGConfig())
    assert not step.any() and info["predicted_gain"] == 0.0


@steps
@both
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_step_04_step_22_advantages_that_are_not_finite_move_nothing(policy, step, config, bad, rng):
    theta = random_theta(policy, rng)
    adv = rng.standard_normal(9)
    adv[4] = bad
    with np.errstate(invalid="ignore"):
        new, info = step(policy, theta, made_up_batch(policy, theta, 9, rng, adv=adv), config())
    assert same_bits(new, theta)
    assert (info["accepted"], info["status"]) == (0, "non_finite")


@steps
@both
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_step_04_step_22_a_fisher_product_that_is_not_finite_moves_nothing(policy, step, config, bad, rng, monkeypatch):
    theta = random_theta(policy, rng)
    batch = made_up_batch(policy, theta, 9, rng)
    monkeypatch.setattr(npg, "fisher_vector_product", lambda *_: lambda v: np.full_like(v, bad))
    new, info = step(policy, theta, batch, config())
    assert same_bits(new, theta)
    assert (info["accepted"], info["status"]) == (0, "non_finite")


@steps
@both
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_step_04_step_22_a_broken_direction_is_refused_and_the_old_bits_come_back(
    policy, step, config, bad, rng, monkeypatch
):
    theta = random_theta(policy, rng)
    batch = made_up_batch(policy, theta, 9, rng)
    direction = 1e-3 * rng.standard_normal(len(theta))
    direction[::7] = bad
    propose(monkeypatch, direction)
    kept = theta.copy()
    with np.errstate(all="ignore"):
        new, info = step(policy, theta, batch, config())
    assert same_bits(new, kept) and same_bits(theta, kept)  # a copy, never old − 0·NaN
    assert info["accepted"] == 0 and info["kl"] == 0.0


@steps
@pytest.mark.parametrize("sign", [1, -1])
def test_step_22_an_infinite_parameter_behind_a_finite_policy_is_refused(step, config, sign, rng, monkeypatch):
    """tanh of an infinite bias is ±1: φ, KL and gain are all finite, and better; the parameter must not get in."""
    theta = random_theta(CATEGORICAL, rng)
    batch = made_up_batch(CATEGORICAL, theta, 9, rng)
    for bias in range(32, 40):
        direction = np.zeros_like(theta)
        direction[bias] = sign * np.inf
        propose(monkeypatch, direction)
        new, info = step(CATEGORICAL, theta, batch, config(delta=100.0))
        assert same_bits(new, theta) and info["accepted"] == 0


@steps
@both
def test_step_08_negative_curvature_skips_the_step_with_a_flag(policy, step, config, rng, monkeypatch):
    theta = random_theta(policy, rng)
    batch = made_up_batch(policy, theta, 9, rng)
    monkeypatch.setattr(npg, "fisher_vector_product", lambda *_: lambda v: -v)
    new, info = step(policy, theta, batch, config())
    assert same_bits(new, theta)
    assert (info["accepted"], info["status"]) == (0, "negative_curvature")


@both
def test_step_07_a_singular_fisher_matrix_gives_a_finite_step(policy, rng):
    """One sample has a Fisher matrix of rank 2 or 6 at most among 70 parameters;
    without damping CG must stop in time.
    """
    theta = random_theta(policy, rng)
    batch = made_up_batch(policy, theta, 1, rng, adv=np.ones(1))
    assert np.linalg.matrix_rank(dense_fisher(policy, theta, batch.obs), tol=1e-10) <= 6
    for damping in (0.0, 0.1):
        step, _, info = natural_step(policy, theta, batch, NPGConfig(damping=damping, cg_iters=50))
        assert np.isfinite(step).all() and step.any() and np.linalg.norm(step) < 10
        assert info["status"] in ("converged", "singular")
        new, _ = trpo_step(policy, theta, batch, TRPOConfig(damping=damping, cg_iters=50))
        assert plain_kl(policy, theta, new, batch.obs)[0] <= 0.01 * (1 + 1e-9)


@dtypes
@pytest.mark.parametrize("dist", [Categorical(2), Categorical(3), MultiCategorical((2, 3))], ids=lambda d: d.name)
def test_bug_09_p_06_the_dense_step_does_not_drift_along_what_moves_nothing(dist, dtype, rng):
    """Damping 0: a shift of all logits of a choice has no Fisher information, and the step, F⁺g, none of it. [TR-6]"""
    policy = Policy(dist, 4, (), "tanh")
    for n in (5, 40):
        theta = random_theta(policy, rng, dtype)
        batch = made_up_batch(policy, theta, n, rng)
        step, _, info = natural_step(policy, theta, batch, NPGConfig(solver="dense", damping=0.0, dtype=dtype))
        per_logit = step.reshape(5, dist.num_params)  # W (4, P), b (P,)
        for choice in np.split(per_logit, np.cumsum(getattr(dist, "counts", (dist.num_params,)))[:-1], axis=1):
            assert np.abs(choice.sum(axis=1)).max() <= {"float32": 1e-4, "float64": 1e-10}[dtype] * np.linalg.norm(step)
        wide, obs = theta.astype(np.float64), batch.obs.astype(np.float64)
        fisher = dense_fisher(policy, wide, obs)
        g = gradient_of(policy, wide, dataclasses.replace(batch, obs=obs))
        x = np.linalg.pinv(fisher, rcond=1e-9, hermitian=True) @ g
        expected = np.sqrt(0.02 / (x @ fisher @ x)) * x
        assert info["status"] == "converged"
        assert relative_error(step, expected) <= {"float32": 1e-2, "float64": 1e-7}[dtype]


def test_bug_09_an_action_that_is_never_allowed_keeps_its_parameters(rng):
    policy = Policy(Categorical(4), 3, (), "tanh")
    theta = random_theta(policy, rng)
    mask = rng.random((40, 4)) < 0.7
    mask[:, 1], mask[:, 2] = False, True
    obs = rng.standard_normal((40, 3))
    action = policy.dist.sample(policy.infer(theta, obs, mask), rng)
    batch = dataclasses.replace(made_up_batch(policy, theta, 40, rng, obs=obs), action=action, mask=mask)
    step, _, info = natural_step(policy, theta, batch, NPGConfig(solver="dense", damping=0.0, dtype="float64"))
    columns = np.abs(step.reshape(4, 4)).max(axis=0)
    assert info["status"] == "converged" and columns[1] <= 1e-12 * columns.max() and columns.max() > 0.01
    assert np.abs(step.reshape(4, 4).sum(axis=1)).max() <= 1e-10


@pytest.mark.parametrize("hidden", [(6,), (5, 4)])
def test_bug_09_more_parameters_than_samples_is_a_singular_matrix_too(hidden, rng):
    """A Gaussian policy with n > N·d: the dense step at damping 0 has no part in the null space. [TR-7]"""
    policy = Policy(DiagGaussian(1), 3, hidden, "tanh")
    theta = random_theta(policy, rng)
    batch = made_up_batch(policy, theta, 12, rng)
    step, _, info = natural_step(policy, theta, batch, NPGConfig(solver="dense", damping=0.0, dtype="float64"))
    fisher = dense_fisher(policy, theta, batch.obs)
    assert np.linalg.matrix_rank(fisher, tol=1e-10) < len(theta)
    assert info["status"] == "converged" and 0.5 * step @ fisher @ step == pytest.approx(0.01, rel=1e-6)
    kept = np.linalg.pinv(fisher, rcond=1e-12, hermitian=True) @ fisher
    assert relative_error(kept @ step, step) <= 1e-6


@both
@pytest.mark.parametrize("what", ["equal", "worse", "nan gain", "nan kl", "infinite kl"])
def test_step_14_equal_surrogates_and_nan_are_rejected(policy, what, rng, monkeypatch):  # [TR-11]
    theta = random_theta(policy, rng)
    batch = made_up_batch(policy, theta, 9, rng)
    uphill = 1e-4 * gradient_of(policy, theta, batch)
    adv = {"equal": np.zeros(9), "worse": -batch.adv, "nan gain": np.full(9, np.nan)}.get(what, batch.adv)
    if "kl" in what:
        monkeypatch.setattr(
            policy.dist, "kl", lambda old, new: np.full(len(old), np.nan if what == "nan kl" else np.inf), raising=False
        )
    propose(monkeypatch, uphill)
    new, info = trpo_step(policy, theta, dataclasses.replace(batch, adv=adv), TRPOConfig(backtracks=3))
    assert same_bits(new, theta)
    assert (info["accepted"], info["kl"], info["gain"], info["backtracks"]) == (0, 0.0, 0.0, 3)
    if "kl" not in what:
        accepted = trpo_step(policy, theta, batch, TRPOConfig(backtracks=3))[1]["accepted"]
        assert accepted == 1  # the same step with the true advantages is taken


@dtypes
@both
def test_step_15_a_failed_line_search_leaves_everything_as_it_was(policy, dtype, rng):
    """δ = 1e-300 cannot be met by any step that is a step."""
    nets, cfg = networks(policy), TRPOConfig(delta=1e-300, dtype=dtype)
    state = fresh_state(trpo, nets, cfg)
    obs = rng.standard_normal((9, 4)).astype(dtype)
    before, acting = policy.infer(state["theta_pi"], obs), np.random.default_rng(2)
    batch = made_up_batch(policy, state["theta_pi"], 9, rng, obs=obs)
    snapshot = acting.bit_generator.state
    theta, info = trpo_step(policy, state["theta_pi"], batch, cfg)
    assert info["accepted"] == 0 and info["backtracks"] == cfg.backtracks
    assert same_bits(theta, state["theta_pi"]) and acting.bit_generator.state == snapshot
    new, metrics = trpo.update(nets, state, batch, cfg, np.random.default_rng(3))
    assert same_bits(new["theta_pi"], state["theta_pi"]) and metrics["step/accepted"] == 0
    after = policy.infer(new["theta_pi"], obs)
    assert same_bits(after, before)
    draws = [policy.dist.sample(phi, np.random.default_rng(4)) for phi in (before, after)]
    assert same_bits(*draws)
    fitted = fit_critic(nets.critic, state["theta_v"], state["adam_v"], batch, cfg, np.random.default_rng(3))
    assert same_bits(new["theta_v"], fitted[0]) and same_bits(new["adam_v"], fitted[1])  # the critic alone was trained


@dtypes
@modules
@both
def test_step_16_a_skipped_step_is_an_update_like_any_other(policy, module, config, dtype, rng):
    nets, cfg = networks(policy), config(dtype=dtype)
    state = fresh_state(module, nets, cfg)
    batch = made_up_batch(policy, state["theta_pi"], 9, rng, adv=np.zeros(9))
    new, metrics = module.update(nets, state, batch, cfg, np.random.default_rng(0))
    assert same_bits(new["theta_pi"], state["theta_pi"]) and not same_bits(new["theta_v"], state["theta_v"])
    assert (
        metrics["step/accepted"] == 0 and metrics["step/status"] == "zero_gradient" and metrics["losses/approx_kl"] == 0
    )
    assert np.isfinite(
        [metrics["losses/entropy"], metrics["losses/value_loss"], metrics["losses/explained_variance"]]
    ).all()


@steps
@both
@pytest.mark.parametrize("value", [0.1, 1e6 + 0.1, -3e-5])
def test_step_17_constant_advantages_are_no_step(policy, step, config, value, rng):
    theta = random_theta(policy, rng, np.float32)
    adv = standardize_adv(np.full(30, value, np.float32), SampleWeights(np.ones(30)))
    new, info = step(policy, theta, made_up_batch(policy, theta, 30, rng, adv=adv), config())
    assert same_bits(new, theta) and info["accepted"] == 0


@dtypes
@steps
@pytest.mark.parametrize("log_std", [-50.0, -1e3, 50.0, 1e3])
def test_dist_09_a_collapsed_or_exploded_sigma_does_not_reach_the_parameters(step, config, log_std, dtype, rng):
    theta = random_theta(GAUSSIAN, rng, dtype)
    theta[-3:] = log_std
    batch = dataclasses.replace(
        made_up_batch(GAUSSIAN, theta, 9, rng), action=rng.standard_normal((9, 3)).astype(dtype)
    )
    new, _ = step(GAUSSIAN, theta, batch, config(dtype=dtype))
    assert np.isfinite(new).all()
    assert same_bits(new[-3:], theta[-3:])  # beyond ±20 nothing pulls at log σ


@steps
def test_step_22_a_finite_step_to_a_policy_that_overflows_is_refused(step, config, rng):
    """Every number of Δθ fits float32, the KL behind it does not."""
    policy = Policy(DiagGaussian(1), 2, (), "tanh")
    theta = random_theta(policy, rng, np.float32)
    batch = made_up_batch(policy, theta, 7, rng)
    proposed, _, _ = natural_step(policy, theta, batch, config(delta=1e60, damping=0.0))
    assert 1e25 < np.abs(proposed).max() < 1e35
    new, info = step(
        policy, theta, batch, config(delta=1e60, damping=0.0, **({"backtracks": 1} if step is trpo_step else {}))
    )
    assert same_bits(new, theta) and (info["accepted"], info["kl"]) == (0, 0.0)


@steps
def test_step_22_a_step_beyond_float32_is_refused(step, config, rng):
    theta = random_theta(GAUSSIAN, rng, np.float32)
    new, info = step(GAUSSIAN, theta, made_up_batch(GAUSSIAN, theta, 7, rng), config(delta=1e200))
    assert same_bits(new, theta) and (info["accepted"], info["kl"]) == (0, 0.0)


# -------------------------------------------------------------------------------------------------------------- updates


@dtypes
@modules
@both
def test_update_returns_a_new_state_and_leaves_the_old_one(policy, module, config, dtype, rng):
    nets, cfg = networks(policy), config(dtype=dtype)
    state = fresh_state(module, nets, cfg)
    batch = made_up_batch(policy, state["theta_pi"], 33, rng)
    kept = {
        k: v.copy() if k != "adam_v" else {m: np.copy(a) if m != "t" else a for m, a in v.items()}
        for k, v in state.items()
    }
    samples = {name: getattr(batch, name).copy() for name in SAMPLES}
    new, _ = module.update(nets, state, batch, cfg, np.random.default_rng(0))
    assert same_bits(state, kept) and all(same_bits(getattr(batch, name), array) for name, array in samples.items())
    assert not any(np.shares_memory(new[k], state[k]) for k in ("theta_pi", "theta_v"))
    assert new.keys() == state.keys() and new["adam_v"].keys() == state["adam_v"].keys()
    assert {new["theta_pi"].dtype, new["theta_v"].dtype, new["adam_v"]["m"].dtype, new["adam_v"]["v"].dtype} == {
        np.dtype(dtype)
    }
    again, _ = module.update(nets, state, batch, cfg, np.random.default_rng(0))
    assert same_bits(new, again)  # a function of its arguments


@modules
@both
def test_step_23_every_parameter_of_both_networks_moves(policy, module, config, rng):
    """Parameters are chosen by where they stand in θ, not by name: none is left out, log σ and biases included."""
    nets, cfg = networks(policy), config(dtype="float64")
    state = {"theta_pi": random_theta(policy, rng), "theta_v": random_theta(nets.critic, rng)}
    state["adam_v"] = adam_init(len(state["theta_v"]), "float64")
    new, metrics = module.update(
        nets, state, made_up_batch(policy, state["theta_pi"], 33, rng), cfg, np.random.default_rng(0)
    )
    assert metrics["step/accepted"] == 1
    assert (new["theta_pi"] != state["theta_pi"]).all() and (new["theta_v"] != state["theta_v"]).all()


@modules
@pytest.mark.parametrize("n", [0, 1, 2])
@both
def test_tiny_batches_are_updates_too(policy, n, module, config, rng):
    nets, cfg = networks(policy), config(dtype="float64")
    state = fresh_state(module, nets, cfg)
    new, metrics = module.update(
        nets, state, made_up_batch(policy, state["theta_pi"], n, rng), cfg, np.random.default_rng(0)
    )
    assert np.isfinite(new["theta_pi"]).all() and np.isfinite(new["theta_v"]).all()
    assert metrics["step/accepted"] == (n > 0)


def test_step_18_a_batch_smaller_than_a_minibatch_trains_the_critic_on_all_samples(rng):
    """One pass over 40 samples with minibatches of 64 is one step, and Adam's first is −lr g/(|g| + ε):
    g is that of all 40.
    """
    critic, cfg = Critic(3, (5,), "tanh"), TRPOConfig(minibatch_size=64, critic_epochs=1, dtype="float64")
    theta = random_theta(critic, rng)
    policy = Policy(Categorical(2), 3, (), "tanh")
    batch = made_up_batch(policy, random_theta(policy, rng), 40, rng)
    new, adam, info = fit_critic(critic, theta, adam_init(len(theta), "float64"), batch, cfg, rng)

    def loss(th):  # [PPO-8]
        return anp.mean((plain_mlp(th, batch.obs, critic.mlp.sizes, "tanh")[:, 0] - batch.returns) ** 2)

    g = autograd.grad(loss)(theta)
    np.testing.assert_allclose(new, theta - cfg.critic_lr * g / (np.abs(g) + 1e-5), rtol=1e-9)
    assert adam["t"] == 1 and info["losses/value_loss"] == pytest.approx(loss(theta), rel=1e-12)


@pytest.mark.parametrize(("n", "minibatches"), [(40, 1), (64, 1), (65, 2), (129, 3)])
def test_step_18_every_pass_uses_every_sample_once(n, minibatches, rng, monkeypatch):
    critic, cfg = Critic(3, (), "tanh"), TRPOConfig(critic_epochs=3, dtype="float64")
    policy = Policy(Categorical(2), 3, (), "tanh")
    batch = made_up_batch(policy, random_theta(policy, rng), n, rng)
    seen, forward = [], critic.forward
    monkeypatch.setattr(critic, "forward", lambda theta, obs: seen.append(obs) or forward(theta, obs))
    _, adam, _ = fit_critic(critic, random_theta(critic, rng), adam_init(critic.num_params, "float64"), batch, cfg, rng)
    assert adam["t"] == 3 * minibatches and len(seen) == 3 * minibatches
    for i in range(3):
        rows = np.concatenate(seen[i * minibatches : (i + 1) * minibatches])
        np.testing.assert_array_equal(np.sort(rows[:, 0]), np.sort(batch.obs[:, 0]))


@modules
@both
def test_step_19_fitting_the_critic_leaves_the_actor_alone(policy, module, config, rng):
    """No layer is shared: the policy after an update is the step's, to the bit, however long the critic is trained."""
    nets = networks(policy)
    state = fresh_state(module, nets, config())
    batch = made_up_batch(policy, state["theta_pi"], 33, rng)
    outputs = []
    for epochs in (1, 30):
        new, _ = module.update(nets, state, batch, config(critic_epochs=epochs), np.random.default_rng(0))
        outputs.append((policy.infer(new["theta_pi"], batch.obs), new["theta_v"]))
    assert same_bits(outputs[0][0], outputs[1][0]) and not same_bits(outputs[0][1], outputs[1][1])


@modules
def test_updates_solve_a_bandit_whose_best_arm_depends_on_the_state(module, config, rng):
    # [TR-14], all seven steps together
    policy = Policy(Categorical(3), 2, (8,), "tanh")
    nets, cfg = networks(policy), config(delta=0.01, damping=0.01, dtype="float64", critic_lr=0.02)
    state, best, weights = fresh_state(module, nets, cfg), np.array([2, 0]), SampleWeights(np.ones(128))
    for _ in range(60):
        which = rng.integers(2, size=128)
        obs = np.eye(2)[which]
        action = policy.dist.sample(policy.infer(state["theta_pi"], obs), rng)
        reward = (action == best[which]).astype(float)
        value = nets.critic.value(state["theta_v"], obs)
        adv = standardize_adv(reward - value, weights)
        state, metrics = module.update(nets, state, Batch(obs, action, adv, reward, value, weights), cfg, rng)
    phi = policy.infer(state["theta_pi"], np.eye(2))
    assert (np.exp(policy.dist.log_prob(phi, best)) > 0.9).all()
    assert metrics["losses/value_loss"] < 0.1


@pytest.mark.parametrize("kl", ["mean", "max"])
@pytest.mark.parametrize("cuts", [[8], [13], [0], [5, 6]])
@both
def test_ranks_together_take_the_step_that_one_process_takes(policy, cuts, kl, rng):
    theta = random_theta(policy, rng)
    batch = made_up_batch(policy, theta, 13, rng)
    shards = [rows_of(batch, rows) for rows in np.split(np.arange(13), cuts)]
    cfg = TRPOConfig(cg_iters=4, kl=kl)  # few: CG doubles the rounding of a sum in another order at each iteration
    alone, info = trpo_step(policy, theta, batch, cfg)
    together = on_ranks(len(shards), lambda comm: trpo_step(policy, theta, on_rank(shards[comm.rank], comm), cfg))
    assert info["accepted"] == 1
    for new, rank_info in together:
        assert same_bits(new, together[0][0]) and rank_info == together[0][1]  # no rank drifts away
        assert relative_error(new - theta, alone - theta) <= 1e-8
        assert rank_info["kl"] == pytest.approx(info["kl"], rel=1e-8) and rank_info["gain"] == pytest.approx(
            info["gain"], rel=1e-8
        )
