"""Errors of the exact theory:
policy gradients and importance sampling by enumeration, divergences, surrogate and bound.
"""

import numpy as np
from equation_register import (
    DIFFERENCES,
    ROUNDING,
    loss_of,
    mean_score,
    measures,
    over_families,
    policies,
    setting,
    tabular,
)
from oracles import PLAIN, gradient, jacobian, plain_gain, plain_kl, plain_phi, relative_error, score
from scipy.integrate import quad
from scipy.linalg import eigh
from scipy.stats import norm

from minirl.algorithms.npg import policy_gradient
from minirl.algorithms.ppo import PPOConfig
from minirl.algorithms.reinforce import ReinforceConfig, reinforce_gradient
from minirl.algorithms.trpo import TRPOConfig, trpo_step
from minirl.models.distributions import Categorical, DiagGaussian
from minirl.theory import bounds, demo, divergences, exact_batch, gradients, mdp, reweighting

# --------------------------------------------------------------------------------------------------- PG, by enumeration

HORIZON = 3


def enumerated(rng):
    problem, theta, _ = tabular(rng)
    paths = mdp.trajectories(problem, HORIZON)
    return problem, theta, paths, lambda th: mdp.trajectory_prob(paths, mdp.softmax_policy(th))


def expected_return(problem, paths, prob):
    return lambda th: float(prob(th) @ (paths.rewards * problem.gamma ** np.arange(HORIZON)).sum(axis=1))


@measures("PG-1", "expected return of all trajectories against backward induction", ROUNDING)
def _(rng):
    problem, theta, paths, prob = enumerated(rng)
    v, _q = mdp.horizon_values(problem, mdp.softmax_policy(theta), HORIZON)
    return relative_error(prob(theta) @ gradients.discounted_return(paths.rewards, problem.gamma), problem.start @ v[0])


@measures("PG-2", "sum of the probabilities of all trajectories, less 1", ROUNDING)
def _(rng):
    _, theta, _, prob = enumerated(rng)
    return abs(prob(theta).sum() - 1)


def path_scores(theta, paths):
    return gradients.score(mdp.softmax_policy(theta), paths.states[:, :-1], paths.actions).sum(axis=1)


@measures("PG-3", "P ∇log P against differences of P, all trajectories", DIFFERENCES)
def _(rng):
    _, theta, paths, prob = enumerated(rng)
    return relative_error(prob(theta)[:, None, None] * path_scores(theta, paths), jacobian(prob, theta))


@measures("PG-4", "sum of the scores against differences of log P, all trajectories", DIFFERENCES)
def _(rng):
    _, theta, paths, prob = enumerated(rng)
    return relative_error(path_scores(theta, paths), jacobian(lambda th: np.log(prob(th)), theta))


def rung(name):
    def measure(rng):
        problem, theta, paths, prob = enumerated(rng)
        found, _ = gradients.mean_and_variance(problem, theta, HORIZON, name)
        return relative_error(found, gradient(expected_return(problem, paths, prob), theta))

    return measure


for tag, name in (("PG-5", "trajectory"), ("PG-6", "reward_to_go"), ("PG-8", "baseline"), ("PG-10", "advantage")):
    weights = f"{name.replace('_', '-')} and γ^t" if tag != "PG-5" else "R(τ)"
    measures(tag, f"expected gradient with {weights} against differences of J", DIFFERENCES)(rung(name))


@measures("PG-7", "expected score of an action, both families, largest entry", ROUNDING)
def _(rng):
    worst = 0.0
    for policy in policies():
        theta, batch, _, _ = setting(policy, rng)
        actions, p = PLAIN[policy.dist.name].outcomes(policy.infer(theta, batch.obs[:1])[0])
        phi = np.repeat(policy.infer(theta, batch.obs[:1]), len(p), axis=0)
        worst = max(worst, np.abs(p @ policy.dist.dlog_prob(phi, actions)).max())
    return worst


@measures("PG-9", "mean of A under the policy itself", ROUNDING)
def _(rng):
    problem, theta, _ = tabular(rng, 5)
    pi = mdp.softmax_policy(theta)
    return np.abs((pi * mdp.solve(problem, pi).adv).sum(axis=1)).max()


@measures("PG-11", "policy gradient of a batch against autograd's scores", ROUNDING)
@over_families
def _(policy, theta, batch, _w, _moved, _rng):
    phi, cache = policy.forward(theta, batch.obs)
    return relative_error(policy_gradient(policy, theta, cache, phi, batch), mean_score(policy, theta, batch))


@measures("PG-13", "gradient of the loss against |S| trajectories' worth of autograd's scores", ROUNDING)
@over_families
def _(policy, theta, batch, _w, _moved, _rng):
    logp = policy.dist.log_prob(policy.infer(theta, batch.obs), batch.action)
    found, _ = reinforce_gradient(policy, theta, batch, logp, ReinforceConfig(env="CartPole-v1"))
    return relative_error(found, -len(batch) * mean_score(policy, theta, batch))


# ------------------------------------------------------------------------------------------------------------------- IS


def two_path_probs(rng):
    problem, old, new = tabular(rng)
    paths = mdp.trajectories(problem, HORIZON)
    ratio = reweighting.trajectory_ratio(paths, mdp.softmax_policy(old), mdp.softmax_policy(new))
    return ratio, *(mdp.trajectory_prob(paths, mdp.softmax_policy(theta)) for theta in (old, new))


@measures("IS-1", "reweighted expectation of a random function of the trajectory", ROUNDING)
def _(rng):
    ratio, old, new = two_path_probs(rng)
    f = rng.normal(size=len(ratio))
    return relative_error(old @ (ratio * f), new @ f)


@measures("IS-3", "product of the ratios against the quotient of the probabilities", ROUNDING)
def _(rng):
    ratio, old, new = two_path_probs(rng)
    return relative_error(ratio, new / old)


@measures("IS-4", "gradient from the old policy's trajectories against differences of J", DIFFERENCES)
def _(rng):
    problem, theta, paths, prob = enumerated(rng)
    found, _ = reweighting.reweighted_gradient(problem, rng.normal(size=theta.shape), theta, HORIZON)
    return relative_error(found, gradient(expected_return(problem, paths, prob), theta))


@measures("IS-2", "ratio against the quotient of the densities", ROUNDING)
@over_families
def _(policy, theta, batch, w, moved, _rng):
    ratio = loss_of(policy, batch, w, theta, PPOConfig(env="CartPole-v1"))(moved)[2]
    old, new = (
        np.exp(PLAIN[policy.dist.name].log_prob(plain_phi(policy, th, batch.obs), batch.action))
        for th in (theta, moved)
    )
    return relative_error(ratio, new / old)


@measures("IS-5", "r ∇log π against differences of r", DIFFERENCES)
@over_families
def _(policy, theta, batch, w, moved, _rng):
    loss = loss_of(policy, batch, w, theta, PPOConfig(env="CartPole-v1"))
    ratio = loss(moved)[2]
    scores = [r * score(policy, moved, s, u) for r, s, u in zip(ratio, batch.obs, batch.action, strict=True)]
    return relative_error(np.array(scores), jacobian(lambda th: loss(th)[2], moved))


@measures("IS-6", "gradient of the weighted loss away from θ_old against its differences", DIFFERENCES)
@over_families
def _(policy, theta, batch, _w, moved, _rng):
    logp_old = policy.dist.log_prob(policy.infer(theta, batch.obs), batch.action)
    cfg = ReinforceConfig(env="CartPole-v1")
    found, _ = reinforce_gradient(policy, moved, batch, logp_old, cfg)
    return relative_error(found, gradient(lambda th: reinforce_gradient(policy, th, batch, logp_old, cfg)[1], moved))


# ------------------------------------------------------------------------------------------------------------------- KL


def kl_against(formula, dist):
    def measure(rng):
        old, new = rng.normal(size=(2, 50, dist.num_params))
        return relative_error(dist.kl(old, new), formula(old, new))

    return measure


def softmax(phi):
    return np.exp(phi) / np.exp(phi).sum(axis=1, keepdims=True)


def cross_minus_entropy(old, new):
    p, q = softmax(old), softmax(new)
    return -(p * np.log(q)).sum(axis=1) - Categorical(3).entropy(old)


def by_quadrature(old, new):
    pairs = [(norm(a[0], np.exp(a[1])), norm(b[0], np.exp(b[1]))) for a, b in zip(old, new, strict=True)]
    reach = [(p.mean() - 12 * p.std(), p.mean() + 12 * p.std()) for p, _ in pairs]
    integrals = zip(pairs, reach, strict=True)
    return np.array(
        [quad(lambda x, p=p, q=q: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), *r, limit=200)[0] for (p, q), r in integrals]
    )


def by_parts(old, new):
    d = old.shape[1] // 2
    return sum(DiagGaussian(1).kl(old[:, [i, d + i]], new[:, [i, d + i]]) for i in range(d))


for tag, quantity, tolerance, formula, dist in (
    ("KL-1", "against Σ p log(p/q), 50 pairs", ROUNDING, PLAIN["categorical"].kl, Categorical(3)),
    ("KL-2", "against quadrature, 50 pairs of Gaussians", 1e-7, by_quadrature, DiagGaussian(1)),
    ("KL-3", "against cross-entropy less entropy, 50 pairs", ROUNDING, cross_minus_entropy, Categorical(3)),
    ("KL-4", "three dimensions at once against one by one, 50 pairs", ROUNDING, by_parts, DiagGaussian(3)),
    ("KL-7", "against the closed form with variances, 50 pairs", ROUNDING, PLAIN["diag_gaussian"].kl, DiagGaussian(1)),
):
    measures(tag, quantity, tolerance)(kl_against(formula, dist))


@measures("KL-6", "per state, tabular against the family", ROUNDING)
def _(rng):
    old, new = rng.normal(size=(2, 40, 3))
    return relative_error(divergences.tabular_kl(softmax(old), softmax(new)), Categorical(3).kl(old, new))


@measures("KL-8", "full covariances against KL-7 summed along the axes that diagonalise both, 20 pairs", ROUNDING)
def _(rng):
    found, expected = [], []
    for _ in range(20):
        a, b = rng.normal(size=(2, 3, 3))
        (mean1, mean2), cov1, cov2 = rng.normal(size=(2, 3)), a @ a.T + 0.3 * np.eye(3), b @ b.T + 0.3 * np.eye(3)
        found.append(divergences.gaussian_kl_full(mean1, cov1, mean2, cov2))
        variance, axes = eigh(cov1, cov2)  # axesᵀ Σ₂ axes = 1, axesᵀ Σ₁ axes = diag(variance)
        old = np.concatenate([axes.T @ mean1, 0.5 * np.log(variance)])[None]
        expected.append(DiagGaussian(3).kl(old, np.concatenate([axes.T @ mean2, np.zeros(3)])[None])[0])
    return relative_error(np.array(found), np.array(expected))


@measures("KL-13", "expected extra surprise against D(p‖q), and the mean ratio at p = q against 1", ROUNDING)
def _(rng):
    p, q = softmax(rng.normal(size=(2, 50, 4)).reshape(-1, 4)).reshape(2, 50, 4)
    extra = (p * (divergences.surprise(q) - divergences.surprise(p))).sum(axis=1)
    return max(relative_error(extra, divergences.tabular_kl(p, q)), np.abs(divergences.mean_ratio(p, p) - 1).max())


@measures("KL-9", "against p ln(p/q) + (1−p) ln((1−p)/(1−q)), 100 pairs", 1e-10)
def _(rng):
    p, q = rng.uniform(0.01, 0.99, (2, 100))
    found = np.array([demo.bernoulli_kl(*pair) for pair in zip(p, q, strict=True)])
    return relative_error(found, p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))


@measures("KL-10", "largest D_TV² − ½ D_KL of 10⁵ random pairs, above 0", 1e-12)
def _(rng):
    old, new = rng.normal(scale=2, size=(2, 100_000, 4))
    return max(
        0.0,
        float((divergences.total_variation(softmax(old), softmax(new)) ** 2 - 0.5 * Categorical(4).kl(old, new)).max()),
    )


@measures("KL-11", "mean KL of an accepted step, as TRPO reports it, against the textbook's densities", 1e-9)
@over_families
def _(policy, theta, batch, _w, _moved, _rng):
    after, info = trpo_step(policy, theta, batch, TRPOConfig(env="CartPole-v1"))
    return relative_error(np.array(info["kl"]), np.array(plain_kl(policy, theta, after, batch.obs).mean()))


# -------------------------------------------------------------------------------------------------- SUR, exactly solved


@measures("SUR-1", "gain of an accepted step, as TRPO reports it, against the quotient of the densities", 1e-9)
@over_families
def _(policy, theta, batch, _w, _moved, _rng):
    after, info = trpo_step(policy, theta, batch, TRPOConfig(env="CartPole-v1"))
    return relative_error(np.array(info["gain"]), np.array(plain_gain(policy, theta, after, batch)))


@measures("SUR-2", "the library's policy gradient with exact expectations against differences of J", DIFFERENCES)
def _(rng):
    problem, logits, _ = tabular(rng, 4)
    policy, theta = exact_batch.tabular_policy(problem), exact_batch.pack(logits)
    batch = exact_batch.exact_batch(problem, policy, theta)
    phi, cache = policy.forward(theta, batch.obs)
    found = policy_gradient(policy, theta, cache, phi, batch) * batch.weights.n
    eye = np.eye(problem.shape[0])
    return relative_error(
        found, gradient(lambda th: mdp.solve(problem, exact_batch.probabilities(policy, th, eye)).j, theta)
    )


def random_pairs(rng, n, gammas=(0.1, 0.5, 0.9)):
    for _ in range(n):
        problem, old, new = tabular(rng, 4, 3, rng.choice(gammas))
        yield problem, mdp.softmax_policy(old), mdp.softmax_policy(old + rng.choice((0.03, 0.3, 3.0)) * new)


@measures("SUR-4", "performance difference against the difference of the performances, 300 pairs", 1e-10)
def _(rng):
    gap = [
        abs(bounds.performance_difference(m, p, q) - (mdp.solve(m, q).j - mdp.solve(m, p).j))
        for m, p, q in random_pairs(rng, 300)
    ]
    return float(max(gap))


@measures("SUR-5", "L_π(π) − η(π), and the slope of L against that of η along a line", DIFFERENCES)
def _(rng):
    problem, old, direction = tabular(rng, 4)
    pi = mdp.softmax_policy(old)

    def along(f):
        return gradient(lambda t: f(mdp.softmax_policy(old + t[0] * direction)), np.zeros(1))

    value = abs(bounds.surrogate(problem, pi, pi) - mdp.solve(problem, pi).j)
    return max(
        value,
        relative_error(along(lambda q: bounds.surrogate(problem, pi, q)), along(lambda q: mdp.solve(problem, q).j)),
    )


@measures("SUR-6", "linear solve against the first 2000 terms of the series", ROUNDING)
def _(rng):
    problem, theta, _ = tabular(rng, 5)
    pi = mdp.softmax_policy(theta)
    step = np.einsum("sk,skt->st", pi, problem.p)
    total, now = np.zeros(5), problem.start
    for t in range(2000):
        total, now = total + problem.gamma**t * now, now @ step
    return relative_error(mdp.solve(problem, pi).rho, total)


@measures("SUR-7", "largest violation of the bound over 3000 random pairs, above 0", 1e-12)
def _(rng):
    return max(0.0, *(bounds.lower_bound(m, p, q) - mdp.solve(m, q).j for m, p, q in random_pairs(rng, 3000)))
