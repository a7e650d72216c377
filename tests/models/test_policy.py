"""φ(s) from θ with the state-independent log σ, the value function, and the products of both Jacobians."""

import dataclasses

import autograd
import gymnasium
import numpy as np
import pytest
from oracles import (
    directional,
    gradient,
    made_up_batch,
    plain_mlp,
    plain_phi,
    random_theta,
    relative_error,
    same_bits,
    weighted,
)
from toy_envs import learner, vector

from minirl.algorithms.losses import value_loss
from minirl.algorithms.npg import NPGConfig
from minirl.algorithms.value_fit import fit_critic, track_returns
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

POLICIES = [
    Policy(Categorical(3), 4, (8,), "tanh"),
    Policy(Categorical(2), 1, (), "tanh"),
    Policy(Categorical(5), 3, (7, 1, 5), "relu"),
    Policy(DiagGaussian(1), 3, (), "tanh"),
    Policy(DiagGaussian(3), 4, (8,), "tanh"),
    Policy(DiagGaussian(2), 1, (5, 3), "relu"),
    Policy(MultiCategorical((2, 3)), 2, (4,), "tanh"),
    Policy(Bernoulli(2), 2, (), "tanh"),
    Policy(StateGaussian(2), 3, (4,), "tanh"),
    Policy(FullGaussian(3), 2, (4,), "tanh"),
    Policy(SquashedGaussian(2), 1, (3,), "tanh"),
    Policy(Beta(2), 3, (4,), "relu"),
]
policies = pytest.mark.parametrize("policy", POLICIES, ids=lambda p: f"{p.dist.name}-{'-'.join(map(str, p.mlp.sizes))}")
critics = pytest.mark.parametrize("critic", [Critic(3, (), "tanh"), Critic(4, (7, 5), "tanh"), Critic(1, (3,), "relu")])
batches = pytest.mark.parametrize("n", [0, 1, 11])
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
RTOL = {np.float32: 2e-5, np.float64: 1e-12}  # a dozen roundings deep in either type


def smooth(net):
    """Half-width of the differences: a ReLU net must not cross a kink."""
    return 1e-3 if net.mlp.activation == "tanh" else 1e-6


def points(net, n, rng, dtype=np.float64):
    return (
        random_theta(net, rng, dtype),
        rng.standard_normal((n, net.mlp.sizes[0])).astype(dtype),
        random_theta(net, rng, dtype),
    )


@dtypes
@batches
@policies
def test_phi_is_the_network_beside_the_free_parameters(policy, n, dtype, rng):
    theta, obs, _ = points(policy, n, rng, dtype)
    phi, _ = policy.forward(theta, obs)
    assert phi.shape == (n, policy.dist.num_params) and phi.dtype == dtype
    assert relative_error(phi, plain_phi(policy, theta.astype(np.float64), obs.astype(np.float64))) <= RTOL[dtype]
    assert relative_error(policy.infer(theta, obs), phi) <= RTOL[dtype]


@dtypes
@batches
@policies
def test_dot_product_of_vjp_and_jvp(policy, n, dtype, rng):  # [TR-9]
    theta, obs, v = points(policy, n, rng, dtype)
    dphi = rng.standard_normal((n, policy.dist.num_params)).astype(dtype)
    _, cache = policy.forward(theta, obs)
    phi_dot, dtheta = policy.jvp(theta, cache, v), policy.vjp(theta, cache, dphi)
    assert phi_dot.dtype == dtheta.dtype == dtype and phi_dot.shape == dphi.shape and dtheta.shape == theta.shape
    left, right = (
        float(np.vdot(a.astype(np.float64), b.astype(np.float64))) for a, b in ((dphi, phi_dot), (dtheta, v))
    )
    assert abs(left - right) <= RTOL[dtype] * (
        np.linalg.norm(dphi) * np.linalg.norm(phi_dot) + np.linalg.norm(dtheta) * np.linalg.norm(v)
    )


@batches
@policies
def test_vjp_matches_differences_and_autodiff(policy, n, rng):
    theta, obs, _ = points(policy, n, rng)
    dphi = rng.standard_normal((n, policy.dist.num_params))
    _, cache = policy.forward(theta, obs)
    dtheta = policy.vjp(theta, cache, dphi)
    assert (
        relative_error(dtheta, gradient(lambda th: np.vdot(dphi, policy.forward(th, obs)[0]), theta, smooth(policy)))
        <= 1e-6
    )
    assert relative_error(dtheta, autograd.grad(lambda th: np.sum(dphi * plain_phi(policy, th, obs)))(theta)) <= 1e-12


@batches
@policies
def test_jvp_matches_differences(policy, n, rng):
    theta, obs, v = points(policy, n, rng)
    _, cache = policy.forward(theta, obs)
    expected = directional(lambda th: policy.forward(th, obs)[0], theta, v, smooth(policy))
    assert relative_error(policy.jvp(theta, cache, v), expected) <= 1e-6


@policies
def test_step_24_free_parameters_are_the_last_numbers_of_theta(policy, rng):
    theta, obs, _ = points(policy, 3, rng)
    free = policy.dist.num_free
    assert policy.num_params == policy.mlp.num_params + free == len(theta)
    moved = theta.copy()
    moved[len(theta) - free :] += 1.0
    gap = policy.infer(moved, obs) - policy.infer(theta, obs)
    np.testing.assert_allclose(gap, np.tile([0.0] * (policy.dist.num_params - free) + [1.0] * free, (3, 1)), atol=1e-15)


@policies
def test_products_leave_their_arguments_alone(policy, rng):
    theta, obs, v = points(policy, 5, rng)
    dphi = rng.standard_normal((5, policy.dist.num_params))
    before = [a.copy() for a in (theta, obs, v, dphi)]
    phi, cache = policy.forward(theta, obs)
    kept = phi.copy()
    policy.vjp(theta, cache, dphi), policy.jvp(theta, cache, v)
    assert all(same_bits(a, b) for a, b in zip((theta, obs, v, dphi, phi), (*before, kept), strict=True))


@dtypes
def test_the_first_policy_is_near_uniform_and_near_mean_zero(dtype, rng):
    obs = (3 * rng.standard_normal((50, 4))).astype(dtype)
    policy = Policy(Categorical(6), 4, (64, 64), "tanh")
    phi = policy.infer(policy.init(rng, 0.0, dtype), obs)
    assert phi.dtype == dtype and 0 < np.abs(phi).max() < 0.2
    assert policy.dist.entropy(phi).min() > np.log(6) - 0.01
    gaussian = Policy(DiagGaussian(3), 4, (64, 64), "tanh")
    theta = gaussian.init(rng, -0.7, dtype)
    phi = gaussian.infer(theta, obs)
    assert theta.dtype == dtype and 0 < np.abs(phi[:, :3]).max() < 0.2
    np.testing.assert_array_equal(phi[:, 3:], np.full((50, 3), -0.7, dtype))


@pytest.mark.parametrize("dist", [p.dist for p in POLICIES[-6:]], ids=lambda d: d.name)
def test_the_first_policy_is_near_the_familys_start_in_every_state(dist, rng):
    obs = 3 * rng.standard_normal((50, 4))
    policy = Policy(dist, 4, (64, 64), "tanh")
    phi = policy.infer(policy.init(rng, -0.7, np.float64), obs)
    assert 0 < np.abs(phi - dist.start(-0.7)).max() < 0.2
    std = dist.sample(np.repeat(dist.start(-0.7)[None], 20_000, axis=0), rng).std(axis=0)
    if "gaussian" in dist.name:  # `log_std` is what it says, by a bias or a free parameter
        np.testing.assert_allclose(std, np.exp(-0.7), rtol=0.03)


# ------------------------------------------------------------------------------------------------------- value function


@batches
@critics
def test_critic_products_match_differences_and_autodiff(critic, n, rng):
    theta, obs, _ = points(critic, n, rng)
    dvalue = rng.standard_normal(n)
    value, cache = critic.forward(theta, obs)
    assert (
        value.shape == (n,)
        and relative_error(value, plain_mlp(theta, obs, critic.mlp.sizes, critic.mlp.activation)[:, 0]) <= 1e-12
    )
    dtheta = critic.vjp(theta, cache, dvalue)
    assert (
        relative_error(dtheta, gradient(lambda th: dvalue @ critic.forward(th, obs)[0], theta, smooth(critic))) <= 1e-6
    )
    auto = autograd.grad(lambda th: np.sum(dvalue * plain_mlp(th, obs, critic.mlp.sizes, critic.mlp.activation)[:, 0]))(
        theta
    )
    assert relative_error(dtheta, auto) <= 1e-12


@dtypes
@critics
def test_values_are_float64_as_the_returns_are(critic, dtype, rng):
    theta, obs, _ = points(critic, 7, rng, dtype)
    value = critic.value(theta, obs)
    assert value.dtype == np.float64 and value.shape == (7,)
    assert relative_error(value, critic.forward(theta, obs)[0]) <= RTOL[dtype]


def test_clip_17_value_loss_is_the_mean_square_without_a_half(rng):  # [PPO-8]
    weights, value, target = SampleWeights(np.array([1.0, 1, 1, 0])), np.array([1.0, 2, 3, 9]), np.array([3.0, 2, 6, 0])
    loss, dvalue = value_loss(weights, value, target)
    assert loss == pytest.approx((4 + 0 + 9) / 3)  # a sample of weight 0 does not count
    assert relative_error(dvalue, gradient(lambda v: value_loss(weights, v, target)[0], value)) <= 1e-9
    assert value_loss(weights, value.astype(np.float32), target)[1].dtype == np.float32
    assert value_loss(SampleWeights(np.zeros(0)), np.zeros(0), np.zeros(0))[0] == 0


@pytest.mark.parametrize("n", [0, 1, 7])
def test_a_scaled_critic_is_its_mlp_in_other_units(n, rng):
    critic, plain = Critic(3, (5,), "tanh", scaled=True), Critic(3, (5,), "tanh")
    theta = np.concatenate([random_theta(plain, rng), [2.0, 3.0]])
    obs, dvalue = rng.standard_normal((n, 3)), rng.standard_normal(n)
    value, cache = critic.forward(theta, obs)
    np.testing.assert_allclose(value, 2 + 3 * plain.value(theta[:-2], obs), rtol=1e-12)
    np.testing.assert_allclose(critic.value(theta, obs), value, rtol=1e-12)
    g = critic.vjp(theta, cache, dvalue)
    assert not g[-2:].any()
    assert (
        relative_error(
            g[:-2], gradient(lambda th: dvalue @ critic.forward(np.append(th, [2.0, 3.0]), obs)[0], theta[:-2])
        )
        < 1e-7
    )


def test_rescaling_changes_the_units_and_not_the_values(rng):
    """PopArt: V(s) stays to rounding, whatever the new μ and σ;
    returns then have mean 0 and deviation 1 in the new units.
    """
    critic = Critic(3, (5,), "tanh", scaled=True)
    theta, obs = critic.init(rng, np.float64), rng.standard_normal((23, 3))
    before = critic.value(theta, obs)
    for mean, std in ((5.0, 3.0), (-200.0, 0.01), (0.0, 1e4)):
        theta = critic.rescale(theta, mean, std)
        assert (theta[-2], critic.unit(theta)) == (mean, std)
        np.testing.assert_allclose(critic.value(theta, obs), before, rtol=1e-8, atol=1e-8)


class Arms(gymnasium.Env):
    """One-step episodes in one state: the reward is the offset and the number of the action."""

    observation_space, action_space = gymnasium.spaces.Box(-1, 1, (1,)), gymnasium.spaces.Discrete(2)

    def __init__(self, offset):
        self.offset = offset

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), self.offset + float(action), True, False, {}


@dtypes
@pytest.mark.parametrize(
    ("algorithm", "fields"),
    [("ppo", {}), ("ppo", {"share_trunk": True}), ("npg", {}), ("trpo", {}), ("reinforce", {})],
)
def test_bug_04_an_offset_of_all_rewards_changes_nothing(algorithm, fields, dtype):
    """Rewards c + a: after each update V is c + the V of c = 0, whatever c is, and the policy is the same."""
    ends = {}
    for offset in (0.0, 1000.0, -1000.0, 2.0**17, -(2.0**17)):
        small = {"hidden": (8,), "dtype": np.dtype(dtype).name, "num_steps": 16, "minibatch_size": 16} | fields
        made = learner(algorithm, vector(Arms, *[{"offset": offset}] * 4), normalize_value=True, **small)
        for _ in range(8):
            metrics = made.step().metrics
        obs = np.zeros((1, 1), made.state["theta_v"].dtype)
        ends[offset] = np.append(made.policy.phi(obs)[0], made.value(obs) - offset), metrics["losses/value_loss"]
    for end, loss in ends.values():
        np.testing.assert_allclose(end, ends[0.0][0], atol=2e-3 if dtype is np.float32 else 1e-6)
        assert loss == pytest.approx(ends[0.0][1], abs=0.01) and abs(end[-1] - 0.5) < 0.6


@dtypes
@pytest.mark.parametrize("offset", [0.0, -3e4, 1e8, -1e12])
def test_bug_04_a_critic_with_a_huge_offset_still_learns_what_differs(offset, dtype, rng):
    """Returns c + f(s) with a deviation near 1: float32 does not hold c + f, y holds f, and learns it for any c."""
    critic, cfg = Critic(3, (16,), "tanh", scaled=True), NPGConfig(critic_lr=1e-2)
    policy, stream = Policy(Categorical(2), 3, (), "tanh"), np.random.default_rng(5)
    theta, adam = critic.init(stream, dtype), adam_init(critic.num_params, dtype)
    batch = made_up_batch(policy, random_theta(policy, rng, dtype), 200, rng)
    f = 1.5 * np.tanh(batch.obs[:, 0].astype(float))
    batch = dataclasses.replace(batch, returns=offset + f)
    start = critic.mlp.infer(critic.split(theta)[0], batch.obs)[:, 0]
    theta = track_returns(critic, theta, batch)
    unit = max(1e-9 * abs(offset), f.std())  # σ is never less than 1e-9 of μ, the rounding of equal returns
    np.testing.assert_allclose((critic.value(theta, batch.obs) - offset - f.mean()) / unit, start, atol=1e-2)
    for _ in range(20):
        theta = track_returns(critic, theta, batch)
        theta, adam, _ = fit_critic(critic, theta, adam, batch, cfg, stream)
    error = critic.value(theta, batch.obs) - batch.returns
    assert np.sqrt(np.mean(error**2)) < 0.2 * unit


def test_bug_04_nothing_is_set_by_a_batch_that_says_nothing(rng):
    """All returns 0, or no sample at all: the next batch is the first one. Equal returns, but not 0, set the offset."""
    critic = Critic(3, (5,), "tanh", scaled=True)
    theta, policy = critic.init(rng), Policy(Categorical(2), 3, (), "tanh")
    batch = made_up_batch(policy, random_theta(policy, rng, np.float32), 9, rng, returns=np.zeros(9))
    assert same_bits(track_returns(critic, theta, batch), theta)
    nothing = dataclasses.replace(weighted(batch, np.zeros(9)), returns=np.ones(9))
    assert same_bits(track_returns(critic, theta, nothing), theta)
    batch = dataclasses.replace(batch, returns=np.full(9, 7.3))
    equal = track_returns(critic, theta, batch)
    np.testing.assert_allclose(critic.value(equal, batch.obs), 7.3, rtol=1e-6)
    for _ in range(200):
        equal = track_returns(critic, equal, batch)
    assert critic.unit(equal) > 0 and np.isfinite(equal).all()


def test_the_first_batch_sets_the_units_and_later_ones_move_them(rng):
    critic = Critic(3, (), "tanh", scaled=True)
    theta = critic.init(rng, np.float64)
    policy = Policy(Categorical(2), 3, (), "tanh")
    batch = made_up_batch(policy, random_theta(policy, rng), 50, rng, returns=7 + 2 * rng.standard_normal(50))
    theta = track_returns(critic, theta, batch)
    np.testing.assert_allclose(theta[-2:], [batch.returns.mean(), batch.returns.std()], rtol=1e-12)
    other = dataclasses.replace(batch, returns=batch.returns + 10)
    moved = track_returns(critic, theta, other)
    assert moved[-2] == pytest.approx(batch.returns.mean() + 0.2 * 10, rel=1e-12)
    blend = np.concatenate([np.tile(batch.returns, 4), other.returns])  # 80 % of the old moments, 20 % of the new
    assert moved[-1] == pytest.approx(blend.std(), rel=1e-12)
