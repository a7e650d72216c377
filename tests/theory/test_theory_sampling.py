"""From sampled paths to gradients: the library's own estimators on rollouts of a tabular problem, against exact values.

What can be enumerated is: then every path is one environment of the rollout, with its probability as weight, and
nothing is left to chance. Where chance is the point, means of independent groups are held against exact values at 3σ.
"""

from dataclasses import replace

import numpy as np
import pytest
from oracles import gradient, sigmas, step_weights
from oracles.tabular import occupancy, off_by, problem, series_j, softmax, walks

from minirl.algorithms.npg import NPGConfig
from minirl.algorithms.reinforce import ReinforceConfig, reinforce_gradient
from minirl.numerics.sums_over_samples import SampleWeights
from minirl.samples.batch import make_batch
from minirl.samples.rollout import Rollout
from minirl.theory.exact_batch import pack, tabular_policy
from minirl.theory.gradients import RUNGS, discounted_return, exact_gradient, gae_bias, mean_and_variance
from minirl.theory.mdp import Trajectories, horizon_values, sample_trajectories, solve, trajectories, trajectory_prob

H = 3
LAMBDAS = [0.0, 0.3, 0.9, 1.0]
PLAIN = {"normalize_adv": False, "normalize_obs": False, "normalize_reward": False, "dtype": "float64"}


def rollout_of(paths, states, truncated):
    """M paths as T = H steps of M environments, one-hot observations; the last step ends the episode."""
    T = paths.actions.shape[1]
    ends = np.zeros((T, len(paths.actions)), bool)
    ends[-1] = True
    eye = np.eye(states)
    return Rollout(
        obs=eye[paths.states[:, :-1].T],
        action=np.ascontiguousarray(paths.actions.T),
        reward=np.ascontiguousarray(paths.rewards.T),
        next_obs=eye[paths.states[:, 1:].T],
        terminated=ends & (not truncated),
        truncated=ends & truncated,
        valid=np.ones_like(ends),
    )


def batch_of(paths, values, cfg, truncated):
    """The library's batch: rows are time by time, as in a rollout."""
    rollout = rollout_of(paths, len(values), truncated)
    return make_batch(rollout, rollout.reward, step_weights(rollout), lambda obs: obs @ values, lambda obs: obs, cfg)


def by_start(mdp, prob, paths, first):
    """E[x | s₀, a₀] (S, K) of a quantity of paths x (M,)."""
    S, K = mdp.shape
    out = np.empty((S, K))
    for s in range(S):
        for a in range(K):
            here = (paths.states[:, 0] == s) & (paths.actions[:, 0] == a)
            out[s, a] = prob[here] @ first[here] / prob[here].sum()
    return out


# ---------------------------------------------------------------------------------------------------------- the samples


def test_pg_1_pg_2_sampled_paths_have_the_probabilities_and_the_mean_return():
    mdp, theta = problem(0.9)
    pi, n = softmax(theta), 40_000
    paths = sample_trajectories(mdp, pi, H, n, np.random.default_rng(11))
    assert sigmas(discounted_return(paths.rewards, 0.9), series_j(mdp, pi, H)) <= 3  # [PG-1]
    seen = {}
    for s, a in zip(map(tuple, paths.states), map(tuple, paths.actions), strict=True):
        seen[s, a] = seen.get((s, a), 0) + 1
    expected = {(s, a): n * p for s, a, p in walks(mdp, pi, H)}
    chi2 = sum((seen.get(path, 0) - e) ** 2 / e for path, e in expected.items())  # [PG-2]
    cells = len(expected) - 1
    assert abs(chi2 - cells) <= 4 * np.sqrt(2 * cells) + sum(1 / e for e in expected.values())  # rare paths widen it


def test_sur_6_the_share_of_discounted_steps_is_rho():
    mdp, theta = problem(0.5, states=4, actions=3)
    pi = softmax(theta)
    paths = sample_trajectories(mdp, pi, 30, 4000, np.random.default_rng(12))
    for s in range(4):
        visits = (paths.states[:, :-1] == s) @ 0.5 ** np.arange(30)
        assert sigmas(visits, solve(mdp, pi).rho[s]) <= 3


# ------------------------------------------------------------------------------------------------ Monte-Carlo gradients


@pytest.mark.parametrize("advantage", ["trajectory", "reward_to_go", "baseline"])
@pytest.mark.parametrize("gamma", [1.0, 0.8])
def test_pg_11_pg_13_the_sampled_gradient_is_unbiased(advantage, gamma):
    """REINFORCE's gradient, sum over t and mean over trajectories, on sampled batches:
    every component within 3σ of its exact mean.

    At γ = 1 that is ∇J on every rung. Below, R(τ) still gives ∇J, the others the gradient as printed, whose bias is
    known.
    """
    mdp, theta = problem(gamma)
    pi, policy, th = softmax(theta), tabular_policy(mdp), pack(theta)
    v = horizon_values(mdp, pi, H)[0][0]  # a baseline of the state: V with H steps to go
    cfg = ReinforceConfig(advantage=advantage, gamma=gamma, **PLAIN)
    grads, rng = [], np.random.default_rng(13)
    for _ in range(200):
        batch = batch_of(sample_trajectories(mdp, pi, H, 60, rng), v, cfg, truncated=False)
        logp = policy.dist.log_prob(policy.infer(th, batch.obs), batch.action)
        grads.append(-reinforce_gradient(policy, th, batch, logp, cfg)[0][: theta.size])
    true = gradient(lambda x: series_j(mdp, softmax(x), H), theta).ravel()
    rung = "trajectory" if advantage == "trajectory" else "reward_to_go"
    expected = mean_and_variance(mdp, theta, H, rung, discounted=False)[0].ravel()
    grads = np.array(grads)
    assert max(sigmas(grads[:, i], expected[i]) for i in range(len(expected))) <= 3
    unbiased = gamma == 1 or advantage == "trajectory"
    assert off_by(expected, true) <= 1e-11 if unbiased else np.abs(expected - true).max() > 0.05
    # 3σ is tight enough to see 30 %
    assert max(sigmas(grads[:, i], 1.3 * expected[i]) for i in range(len(expected))) > 4


def test_pg_6_pg_11_weights_of_gamma_to_the_t_make_the_sampled_gradient_exact():
    """All 648 paths at once, each with its probability:
    with weight P(τ) γ^t the library's batch gradient is ∇J to rounding.
    """
    mdp, theta = problem(0.8)
    pi, policy, th = softmax(theta), tabular_policy(mdp), pack(theta)
    paths = trajectories(mdp, H)
    cfg = ReinforceConfig(advantage="reward_to_go", gamma=0.8, **PLAIN)
    batch = batch_of(paths, np.zeros(3), cfg, truncated=False)
    logp = policy.dist.log_prob(policy.infer(th, batch.obs), batch.action)
    true = gradient(lambda x: series_j(mdp, softmax(x), H), theta).ravel()
    prob = np.tile(trajectory_prob(paths, pi), H)
    step = np.repeat(np.arange(H), len(paths.actions))

    def weighted(weight):
        all_paths = replace(batch, weights=SampleWeights(weight))
        return -batch.trajectories * reinforce_gradient(policy, th, all_paths, logp, cfg)[0][: theta.size]

    assert off_by(weighted(prob * 0.8**step), true) <= 1e-11
    assert np.abs(weighted(prob) - true).max() > 0.05  # as printed


@pytest.mark.parametrize("rung", RUNGS)
def test_pg_5_pg_6_pg_8_pg_10_the_librarys_ladder_is_that_of_the_theory(rung):
    """Advantages of `make_batch` on every path, averaged with P(τ): the mean of each rung, without its γ^t."""
    mdp, theta = problem(0.8)
    pi, policy, th = softmax(theta), tabular_policy(mdp), pack(theta)
    paths = trajectories(mdp, H)
    v, q = horizon_values(mdp, pi, H)
    name = {"advantage": "baseline"}.get(rung, rung)
    batch = batch_of(paths, v[0], ReinforceConfig(advantage=name, gamma=0.8, **PLAIN), truncated=False)
    adv = batch.adv.reshape(H, -1)
    if rung == "advantage":  # G − V has A as its mean given s₀ and a₀
        assert off_by(by_start(mdp, trajectory_prob(paths, pi), paths, adv[0]), (q - v[..., None])[0]) <= 1e-13
        return
    obs, action = batch.obs, batch.action
    scores = policy.dist.dlog_prob(policy.infer(th, obs), action)  # (N, K)
    push = np.einsum("n,n,ns,nk->sk", np.tile(trajectory_prob(paths, pi), H), batch.adv, obs, scores)
    assert off_by(push, mean_and_variance(mdp, theta, H, rung, discounted=False)[0]) <= 1e-12


# ---------------------------------------------------------------------------------------------------- GAE, exact critic


@pytest.mark.parametrize("lam", LAMBDAS)
def test_gae_1_gae_2_gae_3_gae_4_with_the_true_values_every_lambda_is_unbiased(lam):
    """E[Â₀ | s₀, a₀] over all paths, cut after three steps and continued by V: A(s₀, a₀) to rounding, for each λ."""
    mdp, theta = problem(0.9)
    pi, exact, paths = softmax(theta), solve(mdp, softmax(theta)), trajectories(mdp, H)
    batch = batch_of(paths, exact.v, NPGConfig(lam=lam, gamma=0.9, **PLAIN), truncated=True)
    mean = by_start(mdp, trajectory_prob(paths, pi), paths, batch.adv.reshape(H, -1)[0])
    assert off_by(mean, exact.adv) <= 1e-13


def test_gae_2_the_variance_grows_with_lambda_here():
    mdp, theta = problem(0.9)
    pi, exact = softmax(theta), solve(mdp, softmax(theta))
    paths = trajectories(mdp, H)
    prob = trajectory_prob(paths, pi)
    spread = []
    for lam in LAMBDAS:
        adv = batch_of(paths, exact.v, NPGConfig(lam=lam, gamma=0.9, **PLAIN), truncated=True).adv.reshape(H, -1)[0]
        spread.append(prob @ (adv - exact.adv[paths.states[:, 0], paths.actions[:, 0]]) ** 2)
    assert np.diff(spread).min() > 0 and spread[-1] > 1.5 * spread[0]


@pytest.mark.parametrize("lam", LAMBDAS)
def test_gae_2_on_sampled_rollouts_within_three_sigma(lam):
    """Long rollouts, a start in one state and one first action at a time."""
    mdp, theta = problem(0.9)
    pi, exact = softmax(theta), solve(mdp, softmax(theta))
    paths = sample_trajectories(mdp, pi, 25, 6000, np.random.default_rng(14))
    adv = batch_of(paths, exact.v, NPGConfig(lam=lam, gamma=0.9, **PLAIN), truncated=True).adv.reshape(25, -1)[0]
    for s in range(3):
        for a in range(2):
            here = (paths.states[:, 0] == s) & (paths.actions[:, 0] == a)
            assert here.sum() > 100
            assert sigmas(adv[here], exact.adv[s, a]) <= 3


# -------------------------------------------------------------------------------------------------- GAE, inexact critic


def finite_bias(mdp, pi, error, lam, steps):
    """−e(s) + Σ_l γ(γλ)^l E[e(s_{l+1})] − Σ_{l≥1} (γλ)^l E[e(s_l)], the sums cut after `steps`,
    carried forward from (s, a).
    """
    g, bias = mdp.gamma, np.empty(mdp.shape)
    for s in range(mdp.shape[0]):
        for a in range(mdp.shape[1]):
            later = occupancy(type(mdp)(mdp.p, mdp.r, mdp.p[s, a], g), pi, steps) @ error  # E[e(s_1)], E[e(s_2)], …
            l = np.arange(steps)  # noqa: E741
            bias[s, a] = -error[s] + (g * (g * lam) ** l * later).sum() - ((g * lam) ** l[1:] * later[:-1]).sum()
    return bias


@pytest.mark.parametrize("lam", LAMBDAS)
def test_gae_2_the_bias_of_a_wrong_critic_is_the_formula(lam):
    """V + e as critic: E[Â₀ | s₀, a₀] − A over all paths of three steps;
    and of infinitely many, where `gae_bias` is closed.
    """
    mdp, theta = problem(0.9)
    pi, exact, paths = softmax(theta), solve(mdp, softmax(theta)), trajectories(mdp, H)
    error = np.array([0.7, -0.4, 0.2])
    batch = batch_of(paths, exact.v + error, NPGConfig(lam=lam, gamma=0.9, **PLAIN), truncated=True)
    mean = by_start(mdp, trajectory_prob(paths, pi), paths, batch.adv.reshape(H, -1)[0])
    assert off_by(mean - exact.adv, finite_bias(mdp, pi, error, lam, H)) <= 1e-13
    assert off_by(gae_bias(mdp, pi, error, lam), finite_bias(mdp, pi, error, lam, 400)) <= 1e-12


def test_gae_2_gae_3_gae_4_only_lambda_below_1_biases_the_gradient():
    """At λ = 1 what is left of e is −e(s), a baseline: no bias in the gradient. At λ = 0 it is worst, linear in e."""
    mdp, theta = problem(0.9)
    pi, exact = softmax(theta), solve(mdp, softmax(theta))
    error = np.array([0.7, -0.4, 0.2])
    wrong = {}
    for lam in (0.0, 0.5, 0.9, 0.99, 1.0):
        bias = gae_bias(mdp, pi, error, lam)
        centred = bias - (pi * bias).sum(axis=1, keepdims=True)  # Σ_a π ∇log π x, in the logits
        wrong[lam] = np.abs(exact.rho[:, None] * pi * centred).max() / np.abs(exact_gradient(mdp, theta)).max()
        double = gae_bias(mdp, pi, 2 * error, lam)
        assert off_by(double, 2 * bias) <= 1e-13
    assert wrong[1.0] <= 1e-14
    assert off_by(gae_bias(mdp, pi, error, 1.0), np.repeat(-error[:, None], 2, axis=1)) <= 1e-14
    assert wrong[0.0] > wrong[0.5] > wrong[0.9] > wrong[0.99] > 1e-4 and wrong[0.0] > 0.05
    assert off_by(gae_bias(mdp, pi, np.ones(3), 1.0), -np.ones((3, 2))) <= 1e-14  # A itself is off by e, at every λ


def test_gae_2_the_biased_gradient_on_samples():
    """The library's REINFORCE with a wrong critic and λ = 0:
    3σ from ∇J plus the bias of the formula, and not from ∇J.
    """
    mdp, theta = problem(0.9)
    pi, exact = softmax(theta), solve(mdp, softmax(theta))
    policy, th = tabular_policy(mdp), pack(theta)
    error, T = np.array([4.0, -3.0, 1.0]), 2
    cfg = ReinforceConfig(advantage="gae", lam=0.0, gamma=0.9, **PLAIN)
    grads, rng = [], np.random.default_rng(15)
    for _ in range(200):
        paths = sample_trajectories(mdp, pi, T, 100, rng)
        batch = batch_of(paths, exact.v + error, cfg, truncated=True)
        logp = policy.dist.log_prob(policy.infer(th, batch.obs), batch.action)
        grads.append(-reinforce_gradient(policy, th, batch, logp, cfg)[0][: theta.size])
    visits = occupancy(mdp, pi, T).sum(axis=0)[:, None]  # as printed, without γ^t
    bias = finite_bias(mdp, pi, error, 0.0, 1)
    expected = [visits * pi * (x - (pi * x).sum(axis=1, keepdims=True)) for x in (exact.adv, exact.adv + bias)]
    grads = np.array(grads)
    unbiased, biased = (max(sigmas(grads[:, i], x.ravel()[i]) for i in range(theta.size)) for x in expected)
    assert biased <= 3 < 10 < unbiased


def test_sampled_paths_are_drawn_from_the_given_generator():
    mdp, theta = problem(0.9)
    one, two, other = (
        sample_trajectories(mdp, softmax(theta), H, 50, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert isinstance(one, Trajectories) and one.dynamics.sum() == pytest.approx(1)
    assert (one.states == two.states).all() and (one.actions == two.actions).all()
    assert (one.states != other.states).any()
