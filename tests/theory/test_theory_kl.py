"""Divergences: what the documents say of them, on tables and Gaussians, against sums, quadrature and samples."""

import numpy as np
import pytest
from oracles import sigmas
from oracles.tabular import occupancy, off_by, plain_kl, problem, softmax
from scipy import stats
from scipy.integrate import quad
from scipy.special import rel_entr

from minirl.models.distributions import Categorical, DiagGaussian
from minirl.theory.demo import bernoulli_kl
from minirl.theory.divergences import (
    cross_entropy,
    gaussian_kl_full,
    mean_ratio,
    step_kl,
    surprise,
    tabular_kl,
    total_variation,
    trajectory_kl,
)
from minirl.theory.mdp import sample_trajectories, trajectories, trajectory_prob


def covariance(rng, d):
    a = rng.standard_normal((d, d + 2))
    return a @ a.T / d


def test_kl_1_kl_6_a_table_of_policies_state_by_state(rng):
    """scipy's relative entropy; and the library's family on the logarithms."""
    p, q = rng.dirichlet(np.ones(5), 40), rng.dirichlet(np.ones(5), 40)
    assert off_by(tabular_kl(p, q), rel_entr(p, q).sum(axis=1)) <= 1e-14
    assert off_by(Categorical(5).kl(np.log(p), np.log(q)), rel_entr(p, q).sum(axis=1)) <= 1e-13


def test_kl_1_kl_13_the_true_distribution_comes_first(rng):
    """D(P‖Q) is the extra surprise of one who believes Q while P happens.

    GUIDE: "if I think P, but it is Q": the other way round.
    """
    p, q = np.array([0.5, 0.5]), np.array([0.9, 0.1])
    for true, believed, nats in ((p, q, 0.5108), (q, p, 0.3681)):
        drawn = rng.choice(2, 20_000, p=true)
        extra = surprise(believed)[drawn] - surprise(true)[drawn]
        assert sigmas(extra, float(tabular_kl(true, believed))) <= 3
        assert sigmas(extra, float(tabular_kl(believed, true))) > 10
        assert tabular_kl(true, believed) == pytest.approx(nats, abs=1e-4)


def test_kl_2_kl_7_the_integral_of_two_gaussians(rng):
    for mean1, log_std1, mean2, log_std2 in rng.standard_normal((8, 4)):
        p, q = stats.norm(mean1, np.exp(log_std1)), stats.norm(mean2, np.exp(log_std2))
        low, high = mean1 - 12 * np.exp(log_std1), mean1 + 12 * np.exp(log_std1)
        integral = quad(lambda x, p=p, q=q: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), low, high, epsabs=1e-12, limit=200)[
            0
        ]
        kl = DiagGaussian(1).kl(np.array([[mean1, log_std1]]), np.array([[mean2, log_std2]]))[0]
        assert kl == pytest.approx(integral, rel=1e-9, abs=1e-10)
        full = gaussian_kl_full(
            *(np.array(x) for x in ([mean1], [[np.exp(2 * log_std1)]], [mean2], [[np.exp(2 * log_std2)]]))
        )
        assert full == pytest.approx(integral, rel=1e-9, abs=1e-10)


def test_kl_3_cross_entropy_minus_entropy(rng):
    p, q = rng.dirichlet(np.ones(6), 100), rng.dirichlet(np.ones(6), 100)
    assert off_by(cross_entropy(p, q) - cross_entropy(p, p), plain_kl(p, q)) <= 1e-13
    assert off_by(cross_entropy(p, p), stats.entropy(p, axis=1)) <= 1e-14
    assert off_by(cross_entropy(p, p), Categorical(6).entropy(np.log(p))) <= 1e-13
    one_sided = cross_entropy(np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.75, 0.0]))
    assert one_sided == pytest.approx(-0.5 * np.log(0.25) - 0.5 * np.log(0.75))  # what never happens costs nothing


def test_kl_4_divergences_of_independent_parts_add_up(rng):
    """Two tables as one of their products; three dimensions as one Gaussian.

    Means of P/Q multiply instead, as GUIDE says.
    """
    p1, q1 = rng.dirichlet(np.ones(3), 50), rng.dirichlet(np.ones(3), 50)
    p2, q2 = rng.dirichlet(np.ones(4), 50), rng.dirichlet(np.ones(4), 50)
    p, q = ((a[:, :, None] * b[:, None, :]).reshape(50, 12) for a, b in ((p1, p2), (q1, q2)))
    assert off_by(tabular_kl(p, q), plain_kl(p1, q1) + plain_kl(p2, q2)) <= 1e-13
    assert off_by(mean_ratio(p, q) / (mean_ratio(p1, q1) * mean_ratio(p2, q2)), np.ones(50)) <= 1e-13
    old, new = rng.standard_normal((2, 20, 6))
    parts = sum(DiagGaussian(1).kl(old[:, [i, 3 + i]], new[:, [i, 3 + i]]) for i in range(3))
    assert off_by(DiagGaussian(3).kl(old, new), parts) <= 1e-13


def test_kl_5_properties(rng):
    p, q = rng.dirichlet(np.ones(4), 100_000), rng.dirichlet(np.ones(4), 100_000)
    assert tabular_kl(p, q).min() > 0 and np.abs(tabular_kl(p, p)).max() == 0
    assert np.abs(tabular_kl(p, q) - tabular_kl(q, p)).max() > 1  # asymmetric
    assert tabular_kl(np.array([0.5, 0.5]), np.array([1.0, 0.0])) == np.inf  # q = 0 < p
    assert tabular_kl(np.array([1.0, 0.0]), np.array([0.5, 0.5])) == pytest.approx(np.log(2))  # p = 0 < q is finite
    a, b, c = (np.array([x, 1 - x]) for x in (0.5, 0.7, 0.9))
    # .511 against .087 + .154: no triangle inequality
    assert tabular_kl(a, c) > tabular_kl(a, b) + tabular_kl(b, c) + 0.2


@pytest.mark.parametrize("d", [1, 2, 5])
def test_kl_8_gaussians_with_full_covariance(d, rng):
    """Diagonal: the sum of KL-7. Otherwise: in the axes that make both covariances diagonal, and by samples."""
    mean1, mean2, log_std = *rng.standard_normal((2, d)), rng.standard_normal((2, d))
    diagonal = gaussian_kl_full(mean1, np.diag(np.exp(2 * log_std[0])), mean2, np.diag(np.exp(2 * log_std[1])))
    phi = [np.concatenate([m, s])[None] for m, s in ((mean1, log_std[0]), (mean2, log_std[1]))]
    assert off_by(diagonal, DiagGaussian(d).kl(*phi)[0]) <= 1e-12
    cov1, cov2 = covariance(rng, d), covariance(rng, d)
    full = gaussian_kl_full(mean1, cov1, mean2, cov2)
    whiten = np.linalg.inv(np.linalg.cholesky(cov2))  # Σ₂ -> I; then rotate Σ₁ to its eigenvalues
    values, axes = np.linalg.eigh(whiten @ cov1 @ whiten.T)
    shift = axes.T @ whiten @ (mean1 - mean2)
    # KL-7 with σ₂ = 1
    by_axes = sum(-0.5 * np.log(v) + (v + s * s) / 2 - 0.5 for v, s in zip(values, shift, strict=True))
    assert full == pytest.approx(by_axes, rel=1e-10)
    p, q = stats.multivariate_normal(mean1, cov1), stats.multivariate_normal(mean2, cov2)
    x = p.rvs(20_000, random_state=7).reshape(-1, d)
    assert sigmas(p.logpdf(x) - q.logpdf(x), full) <= 3
    if d > 1:
        diagonals = gaussian_kl_full(mean1, np.diag(np.diag(cov1)), mean2, np.diag(np.diag(cov2)))
        assert abs(full - diagonals) > 0.05  # the correlations count
    assert gaussian_kl_full(mean1, cov1, mean1, cov1) == pytest.approx(0, abs=1e-12)


def test_kl_9_two_coins():
    for p, q in ((0.2, 0.6), (0.5, 0.9), (0.99, 0.01), (1e-6, 0.3)):
        assert bernoulli_kl(p, q) == pytest.approx(stats.entropy([p, 1 - p], [q, 1 - q]), rel=1e-12)


def test_kl_10_pinsker_on_a_hundred_thousand_pairs(rng):
    """D_TV² ≤ ½ D_KL; near equality for two nearly equal halves, so the ½ cannot be made smaller.

    Without TV's own ½ it is false.
    """
    concentration = 10.0 ** rng.uniform(-1, 1, 100_000)
    mass = rng.standard_gamma(np.repeat(concentration[:, None], 4, axis=1), size=(100_000, 4)) + 1e-12
    q = mass / mass.sum(axis=1, keepdims=True)
    p = rng.dirichlet(np.ones(4), 100_000)
    p[::2] = (q * np.exp(0.05 * rng.standard_normal(q.shape)))[::2]
    p /= p.sum(axis=1, keepdims=True)
    tv, kl = total_variation(p, q), tabular_kl(p, q)
    by_events = np.maximum(p - q, 0).sum(axis=1)  # the largest difference in the probability of an event
    assert off_by(tv, by_events) <= 1e-14
    assert (tv**2 - 0.5 * kl).max() <= 1e-12
    assert ((np.abs(p - q).sum(axis=1)) ** 2 > 0.5 * kl).mean() > 0.1
    half, near = np.array([0.5, 0.5]), np.array([0.501, 0.499])
    assert total_variation(half, near) ** 2 / tabular_kl(half, near) == pytest.approx(0.5, rel=1e-4)


def test_kl_11_kl_12_the_direction_and_variance_of_importance_sampling():
    """GUIDE: KL(old‖new) "controls the variance of importance sampling".

    It does not: that is χ²(new‖old), here ten million.
    """
    old, new = np.array([1 - 1e-9, 1e-9]), np.array([0.9, 0.1])
    weight = new / old
    variance = old @ (weight - 1) ** 2
    assert variance == pytest.approx(mean_ratio(new, old) - 1, rel=1e-9)
    assert tabular_kl(old, new) == pytest.approx(0.1054, abs=1e-4) and variance > 9.9e6
    states = np.array([[0.2, 0.8], [0.5, 0.5]])
    moved = np.array([[0.6, 0.4], [0.5, 0.5]])
    kls = tabular_kl(states, moved)
    # [KL-12] and [KL-11]
    assert kls.max() == pytest.approx(0.3348, abs=1e-4) and kls.mean() == pytest.approx(0.1674, abs=1e-4)


def test_kl_13_surprise_and_the_ratio_without_the_logarithm(rng):
    """Σ P (P/Q) is 1 at P = Q and has no bound.

    Nor has KL, for the same near pairs: GUIDE's contrast is one of rate. [KL-13]
    """
    assert off_by(surprise(np.array([1.0, 0.5, 0.01])), np.array([0, np.log(2), np.log(100)])) <= 1e-15
    assert surprise(np.array(0.0)) == np.inf
    p = rng.dirichlet(np.ones(5), 1000)
    q = rng.dirichlet(np.ones(5), 1000)
    assert off_by(mean_ratio(p, p), np.ones(1000)) <= 1e-14
    assert (mean_ratio(p, q) > 1).all() and off_by(mean_ratio(p, q) - 1, ((p - q) ** 2 / q).sum(axis=1)) <= 1e-10
    assert (np.log(mean_ratio(p, q)) >= tabular_kl(p, q)).all()  # Jensen: the logarithm of it is never the smaller
    near, grown = np.array([0.99, 0.01]), []
    for rare in (1e-10, 1e-100, 1e-300):
        other = np.array([1 - rare, rare])
        assert total_variation(near, other) < 0.0101
        grown.append((float(tabular_kl(near, other)), float(mean_ratio(near, other))))
    assert grown[0][0] == pytest.approx(0.174, abs=1e-3) and grown[2][0] == pytest.approx(6.85, abs=0.01)
    assert grown[0][1] > 1e5 and grown[2][1] > 1e295


def test_kl_14_parameters_near_are_not_trajectories_near():
    """Two steps of one length in θ; the divergence of p(τ), all paths enumerated, orders of magnitude apart."""
    mdp, theta = problem(0.9)
    sure, open_ = theta.copy(), theta.copy()
    sure[:, 0] += 12.0  # one action all but certain
    open_[:] = 0.0
    step, paths = np.array([[0.5, -0.5]] * 3), trajectories(mdp, 3)
    kls = [trajectory_kl(paths, softmax(th), softmax(th + step)) for th in (sure, open_)]
    assert kls[1] > 1e3 * kls[0] > 0
    for th, kl in zip((sure, open_), kls, strict=True):  # Σ_t E[KL(s_t)]: dynamics cancel, steps add up
        per_state = step_kl(th, step)
        by_steps = float(occupancy(mdp, softmax(th), 3).sum(axis=0) @ per_state)
        assert off_by(kl, by_steps) <= 1e-13
        assert off_by(per_state, plain_kl(softmax(th), softmax(th + step))) <= 1e-13
    flipped = trajectory_kl(paths, softmax(open_), softmax(open_ + 8 * step))
    assert flipped > 20 * kls[1]


def test_kl_14_kl_4_the_divergence_of_paths_by_samples():
    mdp, theta = problem(0.9)
    step = np.array([[0.7, 0.0], [0.0, 0.4], [-0.5, 0.0]])
    pi, new = softmax(theta), softmax(theta + step)
    drawn = sample_trajectories(mdp, pi, 3, 20_000, np.random.default_rng(3))
    at = drawn.states[:, :-1], drawn.actions
    paths = trajectories(mdp, 3)
    assert sigmas(np.log(pi[at] / new[at]).sum(axis=1), trajectory_kl(paths, pi, new)) <= 3
    assert (
        off_by(trajectory_kl(paths, pi, new), plain_kl(trajectory_prob(paths, pi), trajectory_prob(paths, new)))
        <= 1e-14
    )
