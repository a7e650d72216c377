"""The ladder of policy gradients and importance sampling, by enumeration of all paths against differences of J.

Three states, two actions, three steps: 648 paths. J for the differences is carried forward step by step, without paths.
"""

from itertools import pairwise

import numpy as np
import pytest
from oracles import gradient, jacobian, relative_error
from oracles.tabular import occupancy, off_by, plain_kl, problem, series_j, softmax, walks
from scipy import stats

from minirl.algorithms.npg import policy_gradient
from minirl.algorithms.reinforce import ReinforceConfig, reinforce_gradient, reinforce_step
from minirl.models.distributions import DiagGaussian
from minirl.models.policy import Policy
from minirl.numerics.optimizers import adam_init, ascent_step
from minirl.numerics.sums_over_samples import SampleWeights
from minirl.samples.batch import Batch
from minirl.theory.bounds import surrogate
from minirl.theory.divergences import step_kl
from minirl.theory.exact_batch import exact_batch, pack, tabular_policy
from minirl.theory.gradients import (
    RUNGS,
    discounted_return,
    exact_gradient,
    mean_and_variance,
    reward_to_go,
    rung_gradients,
    score,
)
from minirl.theory.mdp import horizon_values, softmax_policy, solve, trajectories, trajectory_prob
from minirl.theory.reweighting import reweighted_gradient, trajectory_ratio

H = 3
gammas = pytest.mark.parametrize("gamma", [0.5, 0.9, 1.0])


def finite_j(mdp, theta):
    return series_j(mdp, softmax(theta), H)


def weights_of(gradient_in_theta, mdp):
    """The part of a gradient in θ = [W, b] that belongs to the logits (S, K)."""
    S, K = mdp.shape
    return gradient_in_theta[: S * K].reshape(S, K)


def batch_of(paths, weight, adv):
    """All steps of M paths as samples of the library: weight (M, H), adv (M, H)."""
    M, T = paths.actions.shape
    S = paths.states.max() + 1
    flat = np.zeros(M * T)
    return Batch(
        obs=np.eye(S)[paths.states[:, :-1].ravel()],
        action=paths.actions.ravel(),
        adv=adv.ravel(),
        returns=flat,
        value=flat,
        weights=SampleWeights(np.ascontiguousarray(weight).ravel()),
        trajectories=M,
    )


# ---------------------------------------------------------------------------------------------------- paths and returns


@gammas
def test_pg_1_j_is_the_mean_return_over_all_paths(gamma):
    mdp, theta = problem(gamma)
    paths = trajectories(mdp, H)
    enumerated = trajectory_prob(paths, softmax_policy(theta)) @ discounted_return(paths.rewards, gamma)
    assert off_by(enumerated, finite_j(mdp, theta)) <= 1e-14


@pytest.mark.parametrize("gamma", [0.1, 0.5, 0.9, 0.99])
def test_pg_1_pg_9_solved_values_are_the_sums_over_time(gamma):
    """V, Q, A and J of the linear systems,
    against discounted rewards added up from each state and each first action.
    """
    mdp, theta = problem(gamma, states=4, actions=3)
    pi, exact = softmax(theta), solve(mdp, softmax_policy(theta))
    from_state = [series_j(type(mdp)(mdp.p, mdp.r, d, gamma), pi) for d in np.eye(4)]
    after = [
        [mdp.r[s, a] + gamma * series_j(type(mdp)(mdp.p, mdp.r, mdp.p[s, a], gamma), pi) for a in range(3)]
        for s in range(4)
    ]
    assert off_by(exact.j, series_j(mdp, pi)) <= 1e-12
    assert off_by(exact.v, np.array(from_state)) <= 1e-12
    assert off_by(exact.adv, np.array(after) - np.array(from_state)[:, None]) <= 2e-12  # [PG-9]
    assert np.abs((pi * exact.adv).sum(axis=1)).max() <= 1e-12  # so that the mean advantage is 0 in every state


def test_pg_2_the_probabilities_of_all_paths_are_the_products_and_sum_to_1():
    mdp, theta = problem(0.9)
    paths = trajectories(mdp, H)
    prob = trajectory_prob(paths, softmax_policy(theta))
    assert len(prob) == 3 ** (H + 1) * 2**H
    assert off_by(prob.sum(), 1.0) <= 1e-14
    assert off_by(prob, np.array([p for _, _, p in walks(mdp, softmax(theta), H)])) <= 1e-15
    visited = [[prob[paths.states[:, t] == s].sum() for s in range(3)] for t in range(H)]
    assert off_by(np.array(visited), occupancy(mdp, softmax(theta), H)) <= 1e-14


def test_pg_2_as_notes_print_it_the_logarithm_lacks_the_dynamics():
    """NOTES: log p_θ(τ) = Σ_t log π.

    As a value it is wrong by the log of the dynamics; quotients and gradients do not see that.
    """
    mdp, theta = problem(0.9)
    paths = trajectories(mdp, H)
    printed = np.log(softmax(theta)[paths.states[:, :-1], paths.actions]).sum(axis=1)
    missing = np.log(trajectory_prob(paths, softmax_policy(theta))) - printed
    assert np.exp(printed).sum() > 20  # "probabilities" that sum to 81 instead of 1
    assert off_by(missing, np.log(paths.dynamics)) <= 1e-12 and missing.max() < -1


def test_pg_3_pg_4_the_score_of_a_path_is_the_sum_of_its_actions_scores():
    """∇P and ∇log P of every path by differences, dynamics included, against Σ_t ∇log π alone."""
    mdp, theta = problem(0.9)
    paths = trajectories(mdp, H)
    scores = score(softmax_policy(theta), paths.states[:, :-1], paths.actions).sum(axis=1)  # [PG-4]
    prob = trajectory_prob(paths, softmax_policy(theta))
    by_differences = jacobian(lambda th: np.array([p for _, _, p in walks(mdp, softmax(th), H)]), theta)
    assert off_by(prob[:, None, None] * scores, by_differences) <= 1e-11  # [PG-3]
    assert off_by(scores, jacobian(lambda th: np.log(trajectory_prob(paths, softmax(th))), theta)) <= 1e-10  # [PG-4]
    other, _ = problem(0.9, seed=1)
    moved = trajectories(other, H)
    # whatever the dynamics
    assert off_by(scores, jacobian(lambda th: np.log(trajectory_prob(moved, softmax(th))), theta)) <= 1e-10


# ----------------------------------------------------------------------------------------------------------- the ladder


@gammas
@pytest.mark.parametrize("rung", RUNGS)
def test_pg_5_pg_6_pg_8_pg_10_every_rung_is_the_gradient_of_j(rung, gamma):
    """With γ^t at term t; the first rung has it inside R(τ)."""
    mdp, theta = problem(gamma)
    mean, _ = mean_and_variance(mdp, theta, H, rung)
    assert off_by(mean, gradient(lambda th: finite_j(mdp, th), theta)) <= 1e-11


@pytest.mark.parametrize("rung", RUNGS[1:])
def test_pg_6_pg_8_pg_10_as_printed_the_gradient_is_biased_below_gamma_1(rung):
    """Without γ^t: the bias is the gradient of Σ_t (1 − γ^t) E[∇log π A], the same on every rung, and gone at γ = 1."""
    bias = {}
    for gamma in (0.5, 0.9, 1.0):
        mdp, theta = problem(gamma)
        printed, _ = mean_and_variance(mdp, theta, H, rung, discounted=False)
        true = gradient(lambda th, mdp=mdp: finite_j(mdp, th), theta)
        bias[gamma] = np.abs(printed - true).max()
        pi, (v, q) = softmax(theta), horizon_values(mdp, softmax(theta), H)
        adv = pi * (q - v[..., None])  # Σ_a π ∇log π A, in the logits
        expected = sum((1 - gamma**t) * d[:, None] * adv[t] for t, d in enumerate(occupancy(mdp, pi, H)))
        assert off_by(printed - true, expected) <= 1e-11
    assert bias[1.0] <= 1e-11 < 0.01 < bias[0.9] < 0.05 < bias[0.5]  # 0.041 and 0.17


def test_pg_5_pg_6_pg_8_pg_10_each_rung_has_less_variance_here():
    """On this problem: measured, for it is usual and not certain."""
    for gamma in (0.5, 0.9, 1.0):
        mdp, theta = problem(gamma)
        variance = [mean_and_variance(mdp, theta, H, rung)[1] for rung in RUNGS]
        assert all(b < 0.97 * a for a, b in pairwise(variance)), variance
        paths, pi = trajectories(mdp, H), softmax_policy(theta)
        prob = trajectory_prob(paths, pi)
        grads = rung_gradients(mdp, theta, paths, RUNGS[1])
        second = (prob[:, None, None] * grads**2).sum() - ((prob[:, None, None] * grads).sum(axis=0) ** 2).sum()
        assert off_by(variance[1], second) <= 1e-12  # Σ E[g²] − E[g]²


def test_pg_6_pg_8_a_rung_can_have_more_variance_than_the_one_below():
    """GUIDE: "much lower variance".

    There are problems where causality, and ones where the baseline V, makes it larger.
    """
    worse = {"reward_to_go": 0.0, "baseline": 0.0}
    for seed in range(60):
        mdp, theta = problem(0.9, seed=seed, scale=2.0)
        variance = {rung: mean_and_variance(mdp, theta, 2, rung)[1] for rung in RUNGS}
        worse["reward_to_go"] = max(worse["reward_to_go"], variance["reward_to_go"] / variance["trajectory"])
        worse["baseline"] = max(worse["baseline"], variance["baseline"] / variance["reward_to_go"])
        # E[G | s, a] in place of G: this one never loses (Rao and Blackwell)
        assert variance["advantage"] <= variance["baseline"]
    assert min(worse.values()) > 1.02, worse


def test_pg_6_reward_to_go_is_the_sum_of_what_follows():
    rewards = np.random.default_rng(3).standard_normal((4, 5))
    expected = [[sum(0.7 ** (u - t) * row[u] for u in range(t, 5)) for t in range(5)] for row in rewards]
    assert off_by(reward_to_go(rewards, 0.7), np.array(expected)) <= 1e-14


def test_pg_7_any_baseline_of_the_state_averages_out_for_a_categorical_policy(rng):
    """The library's gradient on all actions weighted by π, with b(s) as advantage: nothing."""
    mdp, theta = problem(0.9, states=5, actions=4)
    policy, th = tabular_policy(mdp), pack(theta)
    batch = exact_batch(mdp, policy, th)
    b = (100 * rng.standard_normal(5)).repeat(4)
    fake = Batch(batch.obs, batch.action, b, b, b, batch.weights)
    logp = policy.dist.log_prob(policy.infer(th, batch.obs), batch.action)
    push, _ = reinforce_gradient(policy, th, fake, logp, ReinforceConfig())
    assert np.abs(push).max() <= 1e-12 * np.abs(batch.weights.w * b).sum()
    b[::4] += 1.0  # a baseline that knows the action is not one
    tilted, _ = reinforce_gradient(
        policy, th, Batch(batch.obs, batch.action, b, b, b, batch.weights), logp, ReinforceConfig()
    )
    assert np.abs(tilted).max() > 0.1


def test_pg_7_any_baseline_of_the_state_averages_out_for_a_gaussian_policy(rng):
    """By Gauss–Hermite quadrature, exact for scores, which are quadratic in the action;
    through a network with hidden units.
    """
    policy, d = Policy(DiagGaussian(2), 3, (4,), "tanh"), 2
    theta = 0.5 * rng.standard_normal(policy.num_params)
    node, weight = np.polynomial.hermite_e.hermegauss(5)
    z = np.array([(x, y) for x in node for y in node])
    p = np.array([u * w for u in weight for w in weight]) / weight.sum() ** 2
    obs = rng.standard_normal((6, 3))
    phi = policy.infer(theta, obs)
    action = (phi[:, None, :d] + np.exp(phi[:, None, d:]) * z).reshape(-1, d)
    state = np.arange(6).repeat(len(z))

    def mean_gradient(adv):
        batch = Batch(obs[state], action, adv, adv, adv, SampleWeights(np.tile(p, 6)))
        logp = policy.dist.log_prob(policy.infer(theta, batch.obs), action)
        return np.abs(reinforce_gradient(policy, theta, batch, logp, ReinforceConfig())[0]).max()

    b = 100 * rng.standard_normal(6)
    assert mean_gradient(b[state]) <= 1e-11
    assert mean_gradient(b[state] + action[:, 0]) > 0.1


@pytest.mark.parametrize("gamma", [0.5, 0.9, 0.95])
def test_pg_10_pg_11_sur_2_the_gradient_theorem_and_the_librarys_gradient(gamma):
    """∇J by differences of a sum over time;
    `policy_gradient` on exact expectations is it, up to Σρ = 1/(1−γ). [PG-10]
    """
    mdp, theta = problem(gamma, states=4, actions=3)
    true = gradient(lambda th: series_j(mdp, softmax(th)), theta)
    assert off_by(exact_gradient(mdp, theta), true) <= 1e-10
    policy, th = tabular_policy(mdp), pack(theta)
    batch = exact_batch(mdp, policy, th)
    phi, cache = policy.forward(th, batch.obs)
    g = policy_gradient(policy, th, cache, phi, batch) / (1 - gamma)
    assert off_by(weights_of(g, mdp), true) <= 1e-10
    assert off_by(g[12:], true.sum(axis=0)) <= 1e-10  # the bias moves all states
    assert off_by(gradient(lambda x: surrogate(mdp, softmax(theta), softmax(x)), theta), true) <= 1e-10  # [SUR-2]


def test_sur_2_pg_10_with_undiscounted_visits_the_surrogate_has_another_gradient():
    """States weighted as a long batch has them, by the fraction of time: not even the direction is ∇J's."""
    mdp, theta = problem(0.5, seed=20, states=4, concentration=0.2)
    pi = softmax(theta)
    stationary = occupancy(mdp, pi, 4000)[-1]
    adv = solve(mdp, pi).adv
    printed, true = stationary[:, None] * pi * adv, gradient(lambda th: series_j(mdp, softmax(th)), theta)
    cosine = (printed * true).sum() / np.linalg.norm(printed) / np.linalg.norm(true)
    assert cosine < 0.7  # 50° away


# -------------------------------------------------------------------------------------------------- steps and losses


def test_pg_12_plain_ascent_adds_the_gradient_and_climbs():
    mdp, theta = problem(0.9, states=4, actions=3)
    th = pack(theta)
    ascent_step(th, -np.ones_like(th), 0.25)  # the loss falls along +1
    assert off_by(th, pack(theta) + 0.25) <= 1e-15
    policy, th = tabular_policy(mdp), pack(theta)
    cfg = ReinforceConfig(optimizer="ascent", lr=0.05, dtype="float64")
    returns = [series_j(mdp, softmax(theta))]
    first = None
    for _ in range(60):
        new, _, _ = reinforce_step(policy, th, adam_init(len(th), np.float64), exact_batch(mdp, policy, th), cfg)
        first = (new - th) if first is None else first
        th = new
        returns.append(series_j(mdp, softmax(weights_of(th, mdp) + th[12:])))
    # θ + α∇J
    assert off_by(weights_of(first, mdp) / 0.05, gradient(lambda x: series_j(mdp, softmax(x)), theta)) <= 1e-10
    assert np.diff(returns).min() > 0 and returns[-1] > returns[0] + 0.5


def test_pg_13_the_loss_of_reinforce_has_n_over_s_times_the_mean_gradient(rng):
    """∇ of −(1/|S|) Σ_i Σ_t A log π by differences;
    (N/|S|) times PG-11's mean over samples, which is −`policy_gradient`. [PG-13]
    """
    mdp, theta = problem(0.9)
    paths = trajectories(mdp, H)
    pick = rng.integers(0, len(paths.actions), 11)
    paths = type(paths)(*(x[pick] for x in paths))
    adv = rng.standard_normal((11, H))
    batch = batch_of(paths, np.ones((11, H)), adv)
    policy, th = tabular_policy(mdp), pack(theta)
    phi, cache = policy.forward(th, batch.obs)
    logp = policy.dist.log_prob(phi, batch.action)
    grad, _ = reinforce_gradient(policy, th, batch, logp, ReinforceConfig())

    def loss(w):
        return -(adv * np.log(softmax(w)[paths.states[:, :-1], paths.actions])).sum() / 11

    assert off_by(weights_of(grad, mdp), gradient(loss, theta)) <= 1e-11
    mean = policy_gradient(policy, th, cache, phi, batch)
    assert off_by(grad, -(11 * H / 11) * mean) <= 1e-13  # N/|S|


def test_pg_13_is_7_the_objective_that_evo_names_is_0_for_every_policy():
    """EVO: "ascent on E_{s,a∼π}[A_π(a, s)]". That is 0 whatever π is; its gradient is 0 too, and REINFORCE's is not."""
    mdp, theta = problem(0.9, states=4, actions=3)

    def objective(th):
        exact = solve(mdp, softmax(th))
        return exact.rho @ (softmax(th) * exact.adv).sum(axis=1)

    assert abs(objective(theta)) <= 1e-13 and np.abs(gradient(objective, theta)).max() <= 1e-10
    assert np.abs(exact_gradient(mdp, theta)).max() > 0.1


def test_pg_14_one_step_in_the_parameters_moves_a_confident_policy_less():
    """Two states, one step of length 1 in the logit:
    KLs by scipy's relative entropy, and the ratio as the step shrinks. [PG-14]
    """
    confident, even = np.log([0.95, 0.05]), np.log([0.5, 0.5])
    theta = np.array([confident, even])

    def both(step):
        moved = np.exp(theta + step * np.array([1.0, 0.0]))
        moved /= moved.sum(axis=1, keepdims=True)
        return stats.entropy(np.array([[0.95, 0.05], [0.5, 0.5]]), moved, axis=1), moved

    for step in (-3.0, -1.0, 1.0, 3.0):
        expected, _ = both(step)
        assert off_by(step_kl(theta, np.array([step, 0.0])), expected) <= 1e-14
    forth, back, flip = (step_kl(theta, np.array([s, 0.0])) for s in (1.0, -1.0, -3.0))
    assert forth == pytest.approx([0.01788, 0.12011], abs=1e-5)  # 6.7 times the KL at 50-50
    assert back == pytest.approx([0.03242, 0.12011], abs=1e-5)  # 3.7 times in the other direction
    tiny = step_kl(theta, np.array([1e-3, 0.0]))
    assert tiny[1] / tiny[0] == pytest.approx(0.25 / 0.0475, rel=2e-3)  # p(1−p): the Fisher information, 5.26
    _, moved = both(-3.0)
    # a large enough step flips a 95 % policy too
    assert flip[0] > 0.2 and moved[0] == pytest.approx([0.486, 0.514], abs=1e-3)


# -------------------------------------------------------------------------------------------------- importance sampling


def test_is_1_an_expectation_from_another_distributions_samples(rng):  # [IS-1]
    p, q, f = rng.dirichlet(np.ones(7)), rng.dirichlet(np.ones(7)), rng.standard_normal(7)
    assert off_by((q * f * p / q).sum(), p @ f) <= 1e-15
    drawn = rng.choice(7, size=20_000, p=q)
    samples = f[drawn] * (p / q)[drawn]
    assert abs(samples.mean() - p @ f) <= 3 * samples.std() / np.sqrt(20_000)
    # without the weights it is another number
    assert abs(f[drawn].mean() - p @ f) > 10 * f[drawn].std() / np.sqrt(20_000)
    zero = np.where(np.arange(7) == 2, 0.0, q) / (1 - q[2])  # q = 0 < p: what q never shows is lost
    assert abs((zero * f * np.divide(p, zero, out=np.zeros(7), where=zero > 0)).sum() - p @ f) == pytest.approx(
        abs(p[2] * f[2])
    )


def test_is_2_is_3_the_ratio_of_paths_is_the_product_of_the_steps_ratios():  # [IS-3]
    mdp, theta = problem(0.9)
    _, other = problem(0.9, seed=5)
    paths, policy = trajectories(mdp, H), tabular_policy(mdp)
    old, new = softmax(theta), softmax(other)
    quotient = trajectory_prob(paths, new) / trajectory_prob(paths, old)  # with the dynamics
    assert relative_error(trajectory_ratio(paths, old, new), quotient) <= 1e-13
    obs, action = np.eye(3)[paths.states[:, :-1].ravel()], paths.actions.ravel()
    log_prob = [policy.dist.log_prob(policy.infer(pack(th), obs), action) for th in (theta, other)]
    step = np.exp(log_prob[1] - log_prob[0]).reshape(-1, H)  # [IS-2], as the library has it
    assert relative_error(step.prod(axis=1), quotient) <= 1e-13
    assert (trajectory_ratio(paths, old, old) == 1).all()
    assert off_by((trajectory_prob(paths, old) * quotient).sum(), 1.0) <= 1e-13  # a weight has mean 1


@gammas
def test_is_4_the_gradient_elsewhere_from_the_old_policys_paths(gamma):
    """At θ far from θ_old: against differences of J at θ. The variance is what it costs. [IS-4]"""
    mdp, old = problem(gamma)
    _, theta = problem(gamma, seed=5, scale=2.0)
    mean, variance = reweighted_gradient(mdp, old, theta, H)
    assert off_by(mean, gradient(lambda th: finite_j(mdp, th), theta)) <= 1e-11
    at_home, plain = reweighted_gradient(mdp, theta, theta, H)
    assert off_by(at_home, mean) <= 1e-13
    assert variance > 1.5 * plain
    assert np.abs(mean - gradient(lambda th: finite_j(mdp, th), old)).max() > 0.02  # and not the gradient at θ_old


def test_is_5_the_ratio_has_the_gradient_r_times_score():
    mdp, old = problem(0.9)
    _, theta = problem(0.9, seed=5)
    paths = trajectories(mdp, H)

    def ratio(th):
        return trajectory_ratio(paths, softmax(old), softmax(th))

    for at in (theta, old):
        expected = ratio(at)[:, None, None] * score(softmax(at), paths.states[:, :-1], paths.actions).sum(axis=1)
        assert off_by(jacobian(ratio, at), expected) <= 1e-9
    assert off_by(ratio(old), np.ones(len(paths.actions))) == 0.0  # so at θ_old it is the score itself


def test_is_6_the_weighted_loss_and_its_gradient_away_from_the_old_policy(rng):  # [IS-2, IS-5, IS-6]
    mdp, old = problem(0.9)
    _, theta = problem(0.9, seed=5)
    paths = trajectories(mdp, H)
    pick = rng.integers(0, len(paths.actions), 13)
    paths = type(paths)(*(x[pick] for x in paths))
    at = paths.states[:, :-1], paths.actions
    adv = rng.standard_normal((13, H))
    batch, policy = batch_of(paths, np.ones((13, H)), adv), tabular_policy(mdp)
    logp_old = np.log(softmax(old)[at]).ravel()
    grad, loss = reinforce_gradient(policy, pack(theta), batch, logp_old, ReinforceConfig())

    def textbook(th):
        return -(softmax(th)[at] / softmax(old)[at] * adv).sum() / 13

    assert off_by(loss, textbook(theta)) <= 1e-13
    assert off_by(weights_of(grad, mdp), gradient(textbook, theta)) <= 1e-10


@pytest.mark.parametrize("gamma", [0.5, 0.9])
def test_is_7_evo_puts_the_wrong_advantage_on_the_left(gamma):
    """EVO: E_π₁[A₁] = E_π₀[(π₁/π₀) A₀]. Left 0, right not; A₀ on both sides and the same states make it true. [IS-7]"""
    mdp, theta = problem(gamma, states=4, actions=3)
    _, other = problem(gamma, seed=9, states=4, actions=3)
    old, new = softmax(theta), softmax(other)
    zero, one = solve(mdp, old), solve(mdp, new)
    left = one.rho @ (new * one.adv).sum(axis=1)
    right = zero.rho @ (old * (new / old) * zero.adv).sum(axis=1)
    assert abs(left) <= 1e-13 and abs(right) > 0.1
    # E_π₁[A₀] in π₀'s states
    by_hand = sum(zero.rho[s] * new[s, a] * zero.adv[s, a] for s in range(4) for a in range(3))
    assert off_by(right, by_hand) <= 1e-14
    assert off_by(surrogate(mdp, old, new) - zero.j, by_hand) <= 1e-12
    # with π₁'s states E_π₁[A₀] is η(π₁) − η(π₀), and not the right side
    in_new_states = one.rho @ (new * zero.adv).sum(axis=1)
    assert off_by(in_new_states, series_j(mdp, new) - series_j(mdp, old)) <= 1e-12
    assert abs(in_new_states - right) > 0.01


def test_pg_14_kl_14_the_cost_of_a_step_is_half_the_fisher_information():
    """D ≈ ½ p(1−p) s² for a short step s in one logit."""
    for p in (0.05, 0.5, 0.95):
        logit = np.log([[p, 1 - p]])
        assert step_kl(logit, np.array([1e-3, 0.0]))[0] == pytest.approx(0.5 * p * (1 - p) * 1e-6, rel=1e-3)
        moved = softmax(logit + np.array([0.7, 0.0]))
        assert off_by(step_kl(logit, np.array([0.7, 0.0])), plain_kl(np.array([[p, 1 - p]]), moved)) <= 1e-15
