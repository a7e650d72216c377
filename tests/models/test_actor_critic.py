"""Separate networks and a shared trunk as one θ:
an oracle that ties the weights by hand, differences, and what training keeps.
"""

import autograd
import autograd.numpy as anp
import gymnasium
import numpy as np
import pytest
from oracles import gradient, made_up_batch, part_of, plain_mlp, random_theta, relative_error, same_bits

import minirl
from minirl import algorithms
from minirl.algorithms import ppo
from minirl.algorithms.ppo import PPOConfig, minibatch_gradient
from minirl.envs.make import make_envs
from minirl.errors import ConfigError, MinirlError
from minirl.models.actor_critic import Networks, SharedNetworks
from minirl.models.critic import Critic
from minirl.models.distributions import Beta, Categorical, DiagGaussian
from minirl.models.policy import Policy
from minirl.training.learner import Learner

DISTS = [Categorical(3), DiagGaussian(2), Beta(2)]
families = pytest.mark.parametrize("dist", DISTS, ids=lambda d: d.name)
kinds = pytest.mark.parametrize("kind", [Networks, SharedNetworks])
hiddens = pytest.mark.parametrize("hidden", [(), (5,), (6, 4)], ids=str)


def made(kind, dist, hidden=(5,), scaled=False):
    return kind(Policy(dist, 4, hidden, "tanh"), Critic(4, hidden, "tanh", scaled))


def tied(nets, rng):
    """θ_π and θ_V that agree in the trunk, if they share one."""
    theta_v = random_theta(nets.critic, rng)
    if nets.critic.scaled:
        theta_v[-1] = 1.7
    return nets.split(nets.join(random_theta(nets.policy, rng), theta_v))


@kinds
@families
@hiddens
@pytest.mark.parametrize("scaled", [False, True], ids=["", "scaled"])
def test_joined_networks_are_the_two_and_come_apart_again(kind, dist, hidden, scaled, rng):
    nets = made(kind, dist, hidden, scaled)
    theta_pi, theta_v = tied(nets, rng)
    theta = nets.join(theta_pi, theta_v)
    assert same_bits(nets.split(theta), (theta_pi, theta_v)) and same_bits(nets.join(*nets.split(theta)), theta)
    obs = rng.standard_normal((7, 4))
    phi, value, _ = nets.forward(theta, obs)
    np.testing.assert_allclose(phi, nets.policy.infer(theta_pi, obs), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(value, nets.critic.value(theta_v, obs), rtol=1e-13, atol=1e-14)
    trunk = sum((a + 1) * b for a, b in zip((4, *hidden), hidden, strict=False))
    assert len(theta) == len(theta_pi) + len(theta_v) - (trunk if kind is SharedNetworks else 0)


@kinds
@families
@hiddens
@pytest.mark.parametrize("scaled", [False, True], ids=["", "scaled"])
def test_the_gradient_in_joint_parameters(kind, dist, hidden, scaled, rng):
    """⟨dφ, φ(θ)⟩ + ⟨dV, V(θ)⟩ by differences over θ; μ and σ of a scaled critic are moved by no gradient."""
    nets = made(kind, dist, hidden, scaled)
    theta = nets.join(*tied(nets, rng))
    obs, dphi, dvalue = rng.standard_normal((7, 4)), rng.standard_normal((7, dist.num_params)), rng.standard_normal(7)

    def product(th):
        phi, value, _ = nets.forward(th, obs)
        return float((phi * dphi).sum() + value @ dvalue)

    _, _, cache = nets.forward(theta, obs)
    expected = gradient(product, theta)
    if scaled:
        assert (expected[-2:] != 0).all()
        expected[-2:] = 0
    assert relative_error(nets.vjp(theta, cache, dphi, dvalue), expected) < 1e-9


def test_ppo_1_ppo_8_the_loss_of_a_shared_trunk_by_automatic_differentiation(rng):
    """One network of four outputs written out in autograd: three logits, and V."""
    nets, n = made(SharedNetworks, Categorical(3), (6, 5)), 31
    theta = nets.join(*tied(nets, rng))
    theta_old = theta + 0.3 * rng.standard_normal(len(theta))
    batch = made_up_batch(nets.policy, nets.split(theta_old)[0], n, rng)
    cfg, w, rows = PPOConfig(ent_coef=0.03, vf_coef=0.7, dtype="float64"), np.full(n, 1 / n), np.arange(n)

    def log_probs(th):
        y = plain_mlp(th, batch.obs, (4, 6, 5, 4), "tanh")
        return y[:, :3] - anp.log(anp.sum(anp.exp(y[:, :3]), axis=1, keepdims=True)), y[:, 3]

    def loss(th):
        logp, value = log_probs(th)
        r = anp.exp(logp[rows, batch.action] - log_probs(theta_old)[0][rows, batch.action])
        clipped = anp.minimum(r * batch.adv, anp.clip(r, 0.8, 1.2) * batch.adv)
        entropy = -anp.sum(anp.exp(logp) * logp, axis=1)
        return anp.sum(w * (-clipped - 0.03 * entropy + 0.7 * (value - batch.returns) ** 2))

    logp_old = nets.policy.dist.log_prob(nets.policy.infer(nets.split(theta_old)[0], batch.obs), batch.action)
    g, losses, _ = minibatch_gradient(nets, theta, part_of(batch, logp_old=logp_old), cfg)
    assert losses.policy + 0.7 * losses.value == pytest.approx(float(loss(theta)), rel=1e-12)
    assert relative_error(g, autograd.grad(loss)(theta)) < 1e-11
    assert batch.weights.of(rows).w == pytest.approx(w)


@kinds
def test_ppo_8_a_scaled_critics_errors_are_measured_in_its_unit(kind, rng):
    """The loss is mean ((V − V̂)/σ)², whatever σ is, and its gradient that loss's by differences."""
    nets, n = made(kind, Categorical(3), scaled=True), 19
    theta = nets.join(*tied(nets, rng))
    batch = made_up_batch(
        nets.policy, nets.split(theta)[0], n, rng, adv=np.zeros(n), returns=3 * rng.standard_normal(n)
    )
    cfg = PPOConfig(vf_coef=0.7, dtype="float64", normalize_value=True)
    logp_old = nets.policy.dist.log_prob(nets.policy.infer(nets.split(theta)[0], batch.obs), batch.action)
    g, losses, _ = minibatch_gradient(nets, theta, part_of(batch, logp_old=logp_old), cfg)
    assert theta[-1] == 1.7

    def loss(th):
        return float(np.mean(((nets.critic.value(nets.split(th)[1], batch.obs) - batch.returns) / 1.7) ** 2))

    assert losses.value == pytest.approx(loss(theta), rel=1e-12)  # [PPO-8]
    expected = 0.7 * gradient(loss, theta)
    expected[-2:] = 0  # no gradient moves μ and σ
    assert relative_error(g, expected) < 1e-8


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
@pytest.mark.parametrize(
    "fields", [{}, {"normalize_value": True}, {"recompute_adv": True}, {"target_kl": 0.001}], ids=lambda f: "".join(f)
)
def test_step_19_a_shared_trunk_stays_one(env, fields):
    """Policy and critic are stored each by itself;
    after every update the hidden layers of both are the same numbers, and have moved.
    """
    cfg = PPOConfig(env=env, num_envs=2, num_steps=64, total_timesteps=384, share_trunk=True, **fields)
    learner = Learner(algorithms.find("ppo"), make_envs(env, 2), cfg)
    before = None
    for update in learner:
        policy, critic = learner.state["theta_pi"], learner.state["theta_v"]
        trunk = len(critic) - 65 - 2 * bool(fields.get("normalize_value"))
        assert (
            same_bits(policy[:trunk], critic[:trunk])
            and len(learner.state["adam"]["m"]) == len(policy) + len(critic) - trunk
        )
        assert before is None or (policy[:trunk] != before).any()
        before, _ = policy[:trunk].copy(), update
    agent = learner.policy
    obs = gymnasium.make(env).observation_space.sample()
    assert np.isfinite(agent.act(obs)).all()


@pytest.mark.parametrize("algorithm", ["reinforce", "npg", "trpo"])
def test_step_19_a_critic_that_is_fitted_alone_never_shares(algorithm):
    with pytest.raises(ConfigError, match=f"{algorithm} has no field 'share_trunk': ppo, ippo"):
        minirl.configure(algorithm, share_trunk=True)


def test_step_19_the_critics_fit_leaves_the_policy_bit_equal(rng):
    """With separate networks, whatever the value loss asks for."""
    nets = made(Networks, Categorical(3))
    cfg = PPOConfig(vf_coef=100.0, dtype="float64", epochs=2)
    state = ppo.init(nets, cfg, rng)
    batch = made_up_batch(nets.policy, state["theta_pi"], 40, rng, adv=np.zeros(40))
    new, _ = ppo.update(nets, state, batch, cfg, rng)
    assert same_bits(new["theta_pi"], state["theta_pi"]) and (new["theta_v"] != state["theta_v"]).any()
    shared = made(SharedNetworks, Categorical(3))
    state = ppo.init(shared, cfg, rng)
    new, _ = ppo.update(shared, state, batch, cfg, rng)
    assert (new["theta_pi"] != state["theta_pi"]).any()  # where the trunk is shared, it does move the policy


@kinds
@families
def test_what_the_value_loss_cannot_move_is_the_policys_alone(kind, dist, rng):
    """A gradient of V alone is 0 there, one of φ alone is not;
    so a value loss that fills the norm is seen with a shared trunk too.
    """
    nets = made(kind, dist)
    theta = nets.join(*tied(nets, rng))
    obs, zero = rng.standard_normal((7, 4)), np.zeros((7, dist.num_params))
    _, _, cache = nets.forward(theta, obs)
    of_value = nets.vjp(theta, cache, zero, rng.standard_normal(7))
    of_policy = nets.vjp(theta, cache, rng.standard_normal(zero.shape), np.zeros(7))
    assert not nets.policy_alone(of_value).any() and nets.policy_alone(of_policy).any()


@pytest.mark.parametrize("share_trunk", [False, True])
def test_a_value_loss_that_leaves_the_policy_nothing_is_an_error(share_trunk):
    cfg = PPOConfig(
        env="Pendulum-v1", num_envs=2, num_steps=32, normalize_reward=False, share_trunk=share_trunk, vf_coef=1e25
    )
    with pytest.raises(MinirlError, match="would not move the policy"):
        Learner(algorithms.find("ppo"), make_envs("Pendulum-v1", 2), cfg).step()
