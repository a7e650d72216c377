"""What is particular to the families beyond the first two; the suite that all share is test_distributions.py."""

from decimal import Decimal, localcontext
from itertools import product

import numpy as np
import pytest
from oracles import relative_error, sigmas
from scipy import special as scipy_special
from scipy import stats
from scipy.integrate import quad

from minirl.models.distributions import (
    FAMILIES,
    Bernoulli,
    Beta,
    Categorical,
    DiagGaussian,
    FullGaussian,
    MultiCategorical,
    SquashedGaussian,
    StateGaussian,
)
from minirl.models.distributions.squashed_gaussian import log_slope
from minirl.numerics import gamma_functions

dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])


def rows(phi_row, n):
    return np.repeat(phi_row[None], n, axis=0)


@pytest.mark.parametrize("name", list(FAMILIES))
def test_a_family_can_do_what_it_declares_and_declares_what_it_can_do(name):
    family = FAMILIES[name]
    assert family.bounded == hasattr(family, "unit") and family.maskable == hasattr(family, "possible")
    dist = family((2,) if name == "multi_categorical" else 2)
    assert family.maskable == hasattr(dist, "num_actions")
    assert not family.maskable or sum(dist.num_actions) == dist.num_params


# ---------------------------------------------------------------------------------------------------- special functions


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (gamma_functions.lgamma, scipy_special.gammaln),
        (gamma_functions.digamma, scipy_special.digamma),
        (gamma_functions.trigamma, lambda x: scipy_special.polygamma(1, x)),
    ],
    ids=["lgamma", "digamma", "trigamma"],
)
def test_gamma_functions_are_scipys(ours, theirs):
    x = np.concatenate([np.geomspace(1e-6, 1e29, 4001), np.linspace(0.5, 15, 2001)])
    assert (np.abs(ours(x) - theirs(x)) / np.maximum(1, np.abs(theirs(x)))).max() <= 3e-14
    assert ours(np.ones((0, 3))).shape == (0, 3)


def test_the_gap_between_lgamma_and_its_tangent(rng):
    """Against the difference where it is large, and its Taylor series, ½ ψ′ h² + ⅙ ψ″ h³ + …,
    where the difference would be rounding.
    """
    x, to = 1 + 5 * rng.random(1000), 1 + 5 * rng.random(1000)
    direct = scipy_special.gammaln(to) - scipy_special.gammaln(x) - scipy_special.digamma(x) * (to - x)
    assert np.abs(gamma_functions.lgamma_gap(x, to) - direct).max() <= 1e-13
    h = 1e-6 * rng.standard_normal(1000)
    h = (x + h) - x  # as it is in floating point
    series = sum(scipy_special.polygamma(k - 1, x) * h**k / scipy_special.factorial(k) for k in (2, 3, 4))
    assert np.abs(gamma_functions.lgamma_gap(x, x + h) - series).max() <= 1e-17
    assert (gamma_functions.lgamma_gap(x, x) == 0).all()


def test_sigmoid_and_softplus_do_not_overflow():
    x = np.array([-1e4, -50, 0, 50, 1e4])
    with np.errstate(over="raise", invalid="raise"):
        np.testing.assert_allclose(gamma_functions.softplus(x), [0, np.exp(-50), np.log(2), 50, 1e4], rtol=1e-15)
        np.testing.assert_allclose(gamma_functions.sigmoid(x), scipy_special.expit(x), atol=1e-16)


# --------------------------------------------------------------------------------------------- several discrete choices


def test_dist_19_a_multi_categorical_is_the_categorical_over_all_combinations(rng):
    dist, joint = MultiCategorical((2, 3, 4)), Categorical(24)
    old, new = rng.standard_normal((2, 5, 9))

    def combined(phi):  # the logits of a combination are the sums of its parts'
        a, b, c = phi[:, :2], phi[:, 2:5], phi[:, 5:]
        return (a[:, :, None, None] + b[:, None, :, None] + c[:, None, None, :]).reshape(len(phi), 24)

    for number, action in enumerate(product(range(2), range(3), range(4))):
        alone = dist.log_prob(new, np.tile(action, (5, 1)))
        np.testing.assert_allclose(alone, joint.log_prob(combined(new), np.full(5, number)), rtol=1e-10)
    np.testing.assert_allclose(dist.entropy(new), joint.entropy(combined(new)), rtol=1e-10)
    np.testing.assert_allclose(dist.kl(old, new), joint.kl(combined(old), combined(new)), rtol=1e-10)


def test_dist_19_six_coins_enumerated(rng):
    dist = Bernoulli(6)
    old, new = rng.standard_normal((2, 1, 6))
    actions = np.array(list(product((0, 1), repeat=6)))
    p, q = (
        np.prod(np.where(actions == 1, 1 / (1 + np.exp(-phi)), 1 - 1 / (1 + np.exp(-phi))), axis=1)
        for phi in (old, new)
    )
    np.testing.assert_allclose(np.exp(dist.log_prob(rows(old[0], 64), actions)), p, rtol=1e-10)
    assert p.sum() == pytest.approx(1, rel=1e-12)
    assert dist.entropy(old)[0] == pytest.approx(-(p * np.log(p)).sum(), rel=1e-10)
    assert dist.kl(old, new)[0] == pytest.approx((p * np.log(p / q)).sum(), rel=1e-10)


@pytest.mark.parametrize("dist", [MultiCategorical((2, 3)), Bernoulli(3)], ids=lambda d: d.name)
def test_dist_19_combinations_come_as_often_as_their_probabilities_say(dist, rng):
    n, row = 60_000, rng.standard_normal(dist.num_params)
    action = dist.sample(rows(row, n), rng)
    each, counts = np.unique(action, axis=0, return_counts=True)
    expected = n * np.exp(dist.log_prob(rows(row, len(each)), each))
    assert len(each) == 6 or len(each) == 8
    assert stats.chisquare(counts, expected).pvalue > 0.0027  # 3σ


def test_one_coin_is_the_categorical_over_its_sides(rng):  # [KL-9]
    old, new = rng.standard_normal((2, 7, 1))
    sides = [np.concatenate([np.zeros((7, 1)), phi], axis=1) for phi in (old, new)]
    assert relative_error(Bernoulli(1).kl(old, new), Categorical(2).kl(*sides)) <= 1e-12
    assert relative_error(Bernoulli(1).entropy(new), Categorical(2).entropy(sides[1])) <= 1e-12


@dtypes
def test_dist_01_coins_of_extreme_logits_do_not_overflow(dtype):
    dist, phi = Bernoulli(1), np.array([[1e4], [-1e4], [1e4]], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        np.testing.assert_array_equal(dist.log_prob(phi, np.array([[1], [1], [0]])), np.array([0, -1e4, -1e4], dtype))
        np.testing.assert_array_equal(dist.entropy(phi), 0)
        np.testing.assert_array_equal(dist.dentropy(phi), 0)
        np.testing.assert_array_equal(dist.kl(phi, phi), 0)
        np.testing.assert_array_equal(dist.sample(phi, np.random.default_rng(0)), [[1], [0], [1]])


# ------------------------------------------------------------------------------------------------- Gaussian, covariance


def matrices(dist, phi_row):
    """μ, Σ from φ, entry by entry."""
    d = dist.dim
    factor, at = np.diag(np.exp(phi_row[d : 2 * d])), 2 * d
    for i in range(d):
        for j in range(i):
            factor[i, j], at = phi_row[at], at + 1
    return phi_row[:d], factor @ factor.T


@pytest.mark.parametrize("d", [1, 2, 4])
def test_full_gaussian_is_scipys_multivariate_normal(d, rng):
    dist = FullGaussian(d)
    phi, action = 0.5 * rng.standard_normal((6, dist.num_params)), rng.standard_normal((6, d))
    normals = [stats.multivariate_normal(*matrices(dist, row)) for row in phi]
    np.testing.assert_allclose(
        dist.log_prob(phi, action), [p.logpdf(a) for p, a in zip(normals, action, strict=True)], rtol=1e-10
    )
    np.testing.assert_allclose(dist.entropy(phi), [p.entropy() for p in normals], rtol=1e-10)


@pytest.mark.parametrize("d", [1, 2, 4])
def test_full_gaussian_kl_is_the_formula_with_its_matrices(d, rng):  # [KL-8]
    dist = FullGaussian(d)
    old, new = 0.5 * rng.standard_normal((2, 1, dist.num_params))
    (mean1, cov1), (mean2, cov2) = matrices(dist, old[0]), matrices(dist, new[0])
    logdet = np.linalg.slogdet(cov2)[1] - np.linalg.slogdet(cov1)[1]
    gap = mean2 - mean1
    expected = 0.5 * (logdet - d + np.trace(np.linalg.solve(cov2, cov1)) + gap @ np.linalg.solve(cov2, gap))
    assert dist.kl(old, new)[0] == pytest.approx(expected, rel=1e-10)


def test_full_gaussian_without_correlations_is_the_diagonal_one(rng):  # [KL-8] is the sum of [KL-7]
    full, diagonal, zeros = FullGaussian(3), DiagGaussian(3), np.zeros((5, 3))
    old, new = rng.standard_normal((2, 5, 6))
    wide_old, wide_new = (np.concatenate([phi, zeros], axis=1) for phi in (old, new))
    action = diagonal.sample(old, np.random.default_rng(1))
    np.testing.assert_allclose(full.sample(wide_old, np.random.default_rng(1)), action, rtol=1e-14)
    np.testing.assert_allclose(full.log_prob(wide_new, action), diagonal.log_prob(new, action), rtol=1e-12)
    np.testing.assert_allclose(full.kl(wide_old, wide_new), diagonal.kl(old, new), rtol=1e-12)
    np.testing.assert_allclose(full.dkl(wide_old, wide_new)[:, :6], diagonal.dkl(old, new), rtol=1e-12, atol=1e-12)


def test_full_gaussian_kl_does_not_depend_on_the_coordinates(rng):
    # [KL-8]: an affine map of the action changes nothing
    dist, mix = FullGaussian(3), rng.standard_normal((3, 3))
    pairs = [matrices(dist, 0.5 * rng.standard_normal(dist.num_params)) for _ in range(2)]

    def phi_of(mean, cov):
        factor = np.linalg.cholesky(cov)
        return np.concatenate([mean, np.log(np.diag(factor)), factor[np.tril_indices(3, -1)]])[None]

    before = dist.kl(*(phi_of(mean, cov) for mean, cov in pairs))
    after = dist.kl(*(phi_of(mix @ mean + 1, mix @ cov @ mix.T) for mean, cov in pairs))
    np.testing.assert_allclose(after, before, rtol=1e-10)


def test_full_gaussian_samples_have_its_covariance(rng):
    dist, n = FullGaussian(3), 40_000
    row = 0.5 * rng.standard_normal(dist.num_params)
    mean, cov = matrices(dist, row)
    action = dist.sample(rows(row, n), rng) - mean
    for i, j in product(range(3), repeat=2):
        assert sigmas(action[:, i] * action[:, j], cov[i, j]) <= 3


@dtypes
@pytest.mark.parametrize("log_std", [-50.0, -1e3, 50.0, 1e3])
@pytest.mark.parametrize("dist", [FullGaussian(2), StateGaussian(2), SquashedGaussian(2)], ids=lambda d: d.name)
def test_dist_09_the_spread_of_every_gaussian_saturates(dist, log_std, dtype):
    phi, other = np.zeros((1, dist.num_params), dtype), np.zeros((1, dist.num_params), dtype)
    at_limit, action = phi.copy(), np.array([[1.5, -0.5]], dtype)
    phi[:, 2:4], at_limit[:, 2:4] = log_std, np.sign(log_std) * 20
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for f in (
            lambda p: dist.log_prob(p, action),
            dist.entropy,
            lambda p: dist.kl(p, other),
            lambda p: dist.kl(other, p),
        ):
            assert np.isfinite(f(phi)).all()
            np.testing.assert_array_equal(f(phi), f(at_limit))
        for df in (
            dist.dlog_prob(phi, action),
            dist.dentropy(phi),
            dist.dkl(other, phi),
            dist.fisher_vec(phi, np.ones_like(phi)),
        ):
            assert np.isfinite(df).all() and (df[0, 2:4] == 0).all()  # the Fisher metric's too [TR-4]


def test_a_state_gaussian_is_the_diagonal_one_in_every_function(rng):
    one, other = StateGaussian(2), DiagGaussian(2)
    old, new = rng.standard_normal((2, 5, 4))
    assert (one.num_free, other.num_free, one.num_params) == (0, 2, other.num_params)
    np.testing.assert_array_equal(one.kl(old, new), other.kl(old, new))
    np.testing.assert_array_equal(one.fisher_vec(old, new), other.fisher_vec(old, new))


# ---------------------------------------------------------------------------------------------------- squashed Gaussian


def test_dist_11_the_log_determinant_is_exact_where_tanh_is_one():
    with localcontext(prec=80):
        for x in (0, 3, 5, 8, 10, 20, 50, -3, -20, -50):
            up, down = Decimal(x).exp(), Decimal(-x).exp()
            exact = float((1 - ((up - down) / (up + down)) ** 2).ln())
            assert log_slope(np.float64(x)) == pytest.approx(exact, rel=1e-6, abs=1e-15)
    assert log_slope(np.float64(20)) == pytest.approx(-38.6137, abs=1e-4)  # log(1 − tanh² + 1e-6) would be −13.8
    phi, x = np.zeros((1, 2)), np.array([[20.0]])
    expected = stats.norm.logpdf(20) + 38.61370563888010938
    assert SquashedGaussian(1).log_prob(phi, x)[0] == pytest.approx(expected, rel=1e-12)


def test_dist_11_the_density_is_that_of_tanh(rng):
    """P(a ≤ c) by integrating the density over a is P(x ≤ artanh c)."""
    dist, phi = SquashedGaussian(1), np.array([[0.3, -0.4]])
    density = lambda a: np.exp(dist.log_prob(phi, np.array([[np.arctanh(a)]]))[0])  # noqa: E731
    for c in (-0.9, 0.0, 0.7):
        assert quad(density, -1 + 1e-12, c)[0] == pytest.approx(
            stats.norm(0.3, np.exp(-0.4)).cdf(np.arctanh(c)), rel=1e-8
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dist_12_a_saturated_action_is_kept_as_it_was_drawn(dtype):
    dist, phi = SquashedGaussian(1), np.array([[20.0, -3.0]], dtype)
    x = dist.from_noise(phi, np.array([[0.5]]))
    assert x[0, 0] == pytest.approx(20.0249, abs=1e-3)  # artanh(tanh 20) would give 8.3 or infinity
    assert dist.unit(x)[0, 0] == 1.0
    assert np.isfinite(dist.log_prob(phi, x)).all() and np.isfinite(dist.dlog_prob(phi, x)).all()
    np.testing.assert_allclose(dist.dlog_prob(phi, x)[0, 1], 0.5**2 - 1, atol=1e-3)


def test_dist_13_the_log_determinant_leaves_the_ratio(rng):
    """It stands on both sides: the ratio of two squashed policies is that of their Gaussians, and 1 for equals,
    to the bit.
    """
    squashed, gaussian = SquashedGaussian(2), DiagGaussian(2)
    old, new = rng.standard_normal((2, 50, 4))
    x = squashed.sample(old, rng)
    ratio = squashed.log_prob(new, x) - squashed.log_prob(old, x)
    np.testing.assert_allclose(ratio, gaussian.log_prob(new, x) - gaussian.log_prob(old, x), atol=1e-12)
    assert (squashed.log_prob(old, x) - squashed.log_prob(old.copy(), x) == 0).all()
    np.testing.assert_array_equal(squashed.kl(old, new), gaussian.kl(old, new))


def test_dist_14_entropy_of_a_squashed_gaussian(rng):
    dist, phi = SquashedGaussian(1), np.zeros((1, 2))
    assert dist.entropy(phi)[0] == pytest.approx(0.66980, abs=5e-6)  # the Gaussian's own is 1.419
    n = 100_000
    x = dist.sample(rows(phi[0], n), rng)
    assert -dist.log_prob(rows(phi[0], n), x).mean() == pytest.approx(0.66980, rel=0.01)


@pytest.mark.parametrize(
    ("mean", "std", "atol"), [(0, 0.01, 1e-8), (1, 0.3, 1e-8), (-2, 1, 1e-8), (0.5, 2, 1e-8), (3, 5, 2e-6)]
)
def test_dist_14_entropy_by_adaptive_quadrature(mean, std, atol):
    density = stats.norm(mean, std).pdf
    log_det = quad(
        lambda x: density(x) * -2 * (np.logaddexp(x, -x) - np.log(2)),
        mean - 12 * std,
        mean + 12 * std,
        limit=400,
        points=[0],
    )[0]
    expected = stats.norm(mean, std).entropy() + log_det
    assert SquashedGaussian(1).entropy(np.array([[mean, np.log(std)]]))[0] == pytest.approx(expected, abs=atol)


def test_a_squashed_gaussians_greedy_action_is_its_median(rng):
    dist, phi = SquashedGaussian(1), np.array([[0.7, 0.3]])
    action = dist.unit(dist.sample(rows(phi[0], 40_000), rng))
    below = (action < dist.unit(dist.mode(phi))).astype(float)
    assert sigmas(below, 0.5) <= 3


# ----------------------------------------------------------------------------------------------------------------- Beta


def beta(phi_row):
    alpha, beta = 1 + np.log1p(np.exp(phi_row))
    return stats.beta(alpha, beta)


def test_beta_is_scipys(rng):
    dist, phi = Beta(1), 2 * rng.standard_normal((30, 2))
    x = 3 * rng.standard_normal((30, 1))
    a = scipy_special.expit(x)
    expected = [beta(row).logpdf(at[0]) for row, at in zip(phi, a, strict=True)]
    np.testing.assert_allclose(dist.log_prob(phi, x), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(dist.entropy(phi), [beta(row).entropy() for row in phi], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(dist.unit(x), a, rtol=1e-12)


def test_beta_kl_by_adaptive_quadrature(rng):
    for old, new in rng.standard_normal((4, 2, 2)):
        p, q = beta(old), beta(new)
        expected = quad(lambda a, p=p, q=q: p.pdf(a) * (p.logpdf(a) - q.logpdf(a)), 0, 1)[0]
        assert Beta(1).kl(old[None], new[None])[0] == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("row", [(-20.0, -20.0), (-1.0, 2.0), (5.0, 30.0), (300.0, 200.0)])
def test_beta_samples_are_scipys(row, rng):
    phi = rows(np.array(row), 20_000)
    dist = Beta(1)
    assert stats.kstest(dist.unit(dist.sample(phi, rng))[:, 0], beta(np.array(row)).cdf).pvalue > 0.0027  # 3σ


@dtypes
def test_beta_actions_next_to_the_bounds_keep_their_density(dtype):
    """a = 1 − 1e-20 is 1 in floating point: its log-density would be −∞; by its logit it is a number like others."""
    dist, phi, x = Beta(1), np.array([[0.5, 1.0]], dtype), np.array([[46.0]], dtype)
    assert dist.unit(x)[0, 0] == 1.0
    alpha_beta = 1 + np.log1p(np.exp(np.array([0.5, 1.0])))
    expected = -(alpha_beta[1] - 1) * 46 - scipy_special.betaln(*alpha_beta)
    assert dist.log_prob(phi, x)[0] == pytest.approx(expected, rel=1e-6)
    assert np.isfinite(dist.dlog_prob(phi, x)).all()


@pytest.mark.parametrize("extreme", [-1e4, -100.0, 100.0, 1e4])
def test_beta_of_extreme_parameters_stays_finite(extreme):
    dist, other = Beta(1), np.zeros((2, 2))
    phi = np.array([[extreme, 0.0], [extreme, extreme]])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        x = dist.sample(phi, np.random.default_rng(0))
        values = (dist.log_prob(phi, x), dist.entropy(phi), dist.kl(phi, other), dist.kl(other, phi), dist.mode(phi))
        slopes = (
            dist.dlog_prob(phi, x),
            dist.dentropy(phi),
            dist.dkl(other, phi),
            dist.fisher_vec(phi, np.ones_like(phi)),
        )
    assert all(np.isfinite(y).all() for y in (x, *values, *slopes))


# --------------------------------------------------------------------------------------------------------- every family


@pytest.mark.parametrize("name", list(FAMILIES))
def test_ret_14_noise_drawn_in_parts_is_the_noise_drawn_at_once(name):
    """What a rollout of 12 steps is fed is what two of 6 are fed."""
    dist = FAMILIES[name]((2, 3) if name == "multi_categorical" else 3)
    at_once, parts = np.random.default_rng(3), np.random.default_rng(3)
    np.testing.assert_array_equal(dist.noise(at_once, 7), np.concatenate([dist.noise(parts, 3), dist.noise(parts, 4)]))


@pytest.mark.parametrize("name", list(FAMILIES))
def test_a_family_starts_from_numbers_that_suit_it(name):
    dist = FAMILIES[name]((2, 3) if name == "multi_categorical" else 3)
    start = dist.start(-1.0)
    assert start.shape == (dist.num_params,) and np.isfinite(dist.entropy(start[None])).all()
