"""Action distributions: one suite for all families, each by a row in DISTS and one in PLAIN;
then what is particular to the first two.
"""

from itertools import pairwise

import numpy as np
import pytest
from autograd import elementwise_grad
from oracles import gradient, hessian, relative_error, sigmas
from oracles.plain_families import PLAIN
from scipy import stats
from scipy.integrate import quad
from scipy.special import logsumexp

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
from minirl.spaces.actions import BoxAction

DISTS = [
    Categorical(1),
    Categorical(2),
    Categorical(7),
    MultiCategorical((2, 3)),
    MultiCategorical((3, 1, 4)),
    Bernoulli(1),
    Bernoulli(3),
    DiagGaussian(1),
    DiagGaussian(3),
    StateGaussian(2),
    FullGaussian(1),
    FullGaussian(3),
    SquashedGaussian(1),
    SquashedGaussian(2),
    Beta(1),
    Beta(2),
]
families = pytest.mark.parametrize("dist", DISTS, ids=lambda d: f"{d.name}{d.num_params}")
# one action alone has no spread
varied = pytest.mark.parametrize("dist", DISTS[1:], ids=lambda d: f"{d.name}{d.num_params}")
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
sizes = pytest.mark.parametrize("n", [0, 1, 9])

# rounding: 1e-12 for sums of a few float64 terms; float32 has 1.2e-7 per operation, and log π adds up a handful of them
RTOL = {np.float32: 2e-5, np.float64: 1e-12}
# no closed form: a quadrature that ends where the density has fallen to e^(−24)
ENTROPY_RTOL = {"squashed_gaussian": 1e-9}
# of extreme pairs: L⁻¹ has rounding errors as large as L is ill-conditioned
FAR_RTOL = {"full_gaussian": 1e-10}


@pytest.fixture
def raises_on_overflow():
    """Overflow, division by zero and NaN raise; underflow to 0 is what a vanishing probability is."""
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        yield


def random_phi(dist, n, rng, dtype=np.float64):
    return (0.8 * rng.standard_normal((n, dist.num_params))).astype(dtype)


def functions(dist, phi_old, action):
    """name -> f(φ), its derivative, and the textbook's f in float64."""
    plain, wide_old = PLAIN[dist.name], phi_old.astype(np.float64)
    return {
        "log_prob": (
            lambda p: dist.log_prob(p, action),
            lambda p: dist.dlog_prob(p, action),
            lambda p: plain.log_prob(p, action),
        ),
        "entropy": (dist.entropy, dist.dentropy, plain.entropy),
        "kl": (lambda p: dist.kl(phi_old, p), lambda p: dist.dkl(phi_old, p), lambda p: plain.kl(wide_old, p)),
    }


def expectation(dist, phi_row, f):
    """E_a[f(a)] exactly: Σ p_a f(a) over all actions or quadrature nodes; f takes M actions and returns (M, …)."""
    action, p = PLAIN[dist.name].outcomes(phi_row)
    return np.tensordot(p, f(action), axes=1)


def exactly(f, *phis):
    """A textbook formula in extended precision, so that its own rounding does not count."""
    return f(*(np.asarray(phi, np.longdouble) for phi in phis))


def rows(phi_row, n):
    return np.repeat(phi_row[None], n, axis=0)


# ------------------------------------------------------------------------------------------------ every family: values


@sizes
@dtypes
@families
def test_values_are_the_textbooks(dist, dtype, n, rng):
    phi_old, phi = random_phi(dist, n, rng, dtype), random_phi(dist, n, rng, dtype)
    action, wide = dist.sample(phi, rng), phi.astype(np.float64)
    for name, (f, df, plain) in functions(dist, phi_old, action).items():
        value = f(phi)
        assert value.dtype == df(phi).dtype == dtype, name
        rtol = max(RTOL[dtype], ENTROPY_RTOL.get(dist.name, 0) if name == "entropy" else 0)
        assert relative_error(value, plain(wide)) <= rtol, name
        assert relative_error(df(phi), elementwise_grad(plain)(wide)) <= rtol, name


@families
def test_probabilities_sum_to_one(dist, rng):
    for row in random_phi(dist, 2, rng):
        action, weight = PLAIN[dist.name].volume(row)
        assert np.exp(dist.log_prob(rows(row, len(action)), action)) @ weight == pytest.approx(1, abs=1e-12)


@families
def test_entropy_is_the_mean_surprise(dist, rng):
    phi = random_phi(dist, 5, rng)
    surprise = [expectation(dist, row, lambda a, row=row: -dist.log_prob(rows(row, len(a)), a)) for row in phi]
    assert relative_error(dist.entropy(phi), np.array(surprise)) <= ENTROPY_RTOL.get(dist.name, 1e-12)


@families
def test_kl_is_the_mean_log_ratio_and_cross_entropy_minus_entropy(dist, rng):  # [KL-1, KL-2, KL-3, KL-6]
    old, new = random_phi(dist, 5, rng), random_phi(dist, 5, rng)
    kl = dist.kl(old, new)  # one number per state  [KL-6]
    for n in range(5):
        log_p, log_q = (lambda a, row=phi[n]: dist.log_prob(rows(row, len(a)), a) for phi in (old, new))
        ratio = expectation(dist, old[n], lambda a, p=log_p, q=log_q: p(a) - q(a))
        cross = expectation(dist, old[n], lambda a, q=log_q: -q(a))
        assert kl[n] == pytest.approx(ratio, abs=1e-12)  # [KL-1, KL-2]
        # [KL-3]
        assert kl[n] == pytest.approx(cross - dist.entropy(old[n : n + 1])[0], abs=ENTROPY_RTOL.get(dist.name, 1e-12))


@varied
def test_dist_16_kl_direction_is_old_first(dist, rng):
    # [KL-11], on pairs so different that the directions cannot be confused
    old, new = 2 * random_phi(dist, 20, rng), 2 * random_phi(dist, 20, rng)
    plain = PLAIN[dist.name].kl
    assert relative_error(dist.kl(old, new), exactly(plain, old, new)) <= 1e-11
    assert np.abs(plain(old, new) - plain(new, old)).max() > 0.3


@varied
def test_kl_is_positive_zero_only_for_equals_and_not_symmetric(dist, rng):  # [KL-5]
    old, new = random_phi(dist, 300, rng), random_phi(dist, 300, rng)
    forward, backward = dist.kl(old, new), dist.kl(new, old)
    assert (forward > 0).all() and (dist.kl(old, old) == 0).all()
    assert np.abs(forward - backward).max() > 0.1


@varied
@dtypes
def test_dist_17_kl_of_near_equals_is_exact_to_rounding(dist, dtype, rng):
    """The clamp at 0 hides errors below it, so the error is measured from the true value, on both sides of it."""
    n, limit = 100_000, {np.float32: 1e-6, np.float64: 1e-14}[dtype]
    old = random_phi(dist, n, rng, dtype)
    for gap in (0.0, 1e-9, 1e-6, 1e-3):
        new = (old + gap * rng.standard_normal(old.shape)).astype(dtype)
        kl = dist.kl(old, new)
        exact = exactly(PLAIN[dist.name].kl, old[:5000], new[:5000])
        assert kl.min() >= 0 and (gap or not kl.any())  # of equals to the bit
        assert np.abs(kl[:5000] - exact).max() <= limit


@dtypes
@varied
def test_dist_17_kl_of_random_pairs_is_never_negative(dist, dtype, rng):
    old, new = 2 * random_phi(dist, 100_000, rng, dtype), 2 * random_phi(dist, 100_000, rng, dtype)
    kl = dist.kl(old, new)
    exact = exactly(PLAIN[dist.name].kl, old[:5000], new[:5000])
    assert kl.min() >= 0
    assert relative_error(kl[:5000], exact) <= max(RTOL[dtype], FAR_RTOL.get(dist.name, 0))


# -------------------------------------------------------------------------------------------- every family: derivatives


@sizes
@families
@pytest.mark.parametrize("name", ["log_prob", "entropy", "kl"])
def test_dist_20_derivatives_match_differences_and_autodiff(dist, name, n, rng):
    phi_old, phi = random_phi(dist, n, rng), random_phi(dist, n, rng)
    f, df, plain = functions(dist, phi_old, dist.sample(phi, rng))[name]
    assert relative_error(df(phi), gradient(lambda p: f(p).sum(), phi)) <= 1e-6
    assert relative_error(df(phi), elementwise_grad(plain)(phi)) <= (
        ENTROPY_RTOL.get(dist.name, 1e-12) if name == "entropy" else 1e-12
    )


@families
def test_the_mean_score_is_zero_with_any_baseline(dist, rng):  # [PG-7]
    for row in random_phi(dist, 5, rng):
        mean = expectation(dist, row, lambda a, row=row: dist.dlog_prob(rows(row, len(a)), a) * 3.7)
        assert np.abs(mean).max() <= 1e-12


@families
def test_fisher_vec_is_the_covariance_of_the_score(dist, rng):  # [TR-4], enumerated
    phi, phi_dot = random_phi(dist, 5, rng), rng.standard_normal((5, dist.num_params))
    for row, v, fv in zip(phi, phi_dot, dist.fisher_vec(phi, phi_dot), strict=True):
        outer = expectation(
            dist, row, lambda a, row=row: (s := dist.dlog_prob(rows(row, len(a)), a))[:, :, None] * s[:, None, :]
        )
        assert relative_error(fv, outer @ v) <= 1e-12


@varied
def test_fisher_vec_is_the_covariance_of_sampled_scores(dist, rng):  # [TR-4], the sampler included: at 3σ
    n = 40_000
    row, v, u = random_phi(dist, 1, rng)[0], *rng.standard_normal((2, dist.num_params))
    score = dist.dlog_prob(rows(row, n), dist.sample(rows(row, n), rng))
    assert sigmas((score @ u) * (score @ v), u @ dist.fisher_vec(row[None], v[None])[0]) <= 3


@varied
def test_fisher_vec_is_the_hessian_of_the_kl(dist, rng):  # [TR-4]
    row, v = random_phi(dist, 1, rng), rng.standard_normal((1, dist.num_params))
    curvature = hessian(lambda p: dist.kl(row, p[None])[0], row[0])
    assert relative_error(dist.fisher_vec(row, v)[0], curvature @ v[0]) <= 1e-5


@dtypes
@sizes
@families
def test_fisher_vec_in_both_types(dist, dtype, n, rng):
    phi, phi_dot = random_phi(dist, n, rng, dtype), rng.standard_normal((n, dist.num_params)).astype(dtype)
    narrow, wide = dist.fisher_vec(phi, phi_dot), dist.fisher_vec(phi.astype(np.float64), phi_dot.astype(np.float64))
    assert narrow.dtype == dtype
    assert relative_error(narrow, wide) <= RTOL[dtype]


# ------------------------------------------------------------------------------------------------ every family: samples


@families
def test_samples_have_the_shape_and_come_from_the_noise_alone(dist, rng):
    for n in (0, 1, 6):
        phi = random_phi(dist, n, rng)
        noise = dist.noise(rng, n)
        action = dist.from_noise(phi, noise)
        assert action.shape == (n, *dist.action_shape) and action.dtype == dist.action_dtype
        np.testing.assert_array_equal(action, dist.from_noise(phi, noise.copy()))
        seeds = np.random.default_rng(5), np.random.default_rng(5)
        np.testing.assert_array_equal(dist.sample(phi, seeds[0]), dist.from_noise(phi, dist.noise(seeds[1], n)))


@families
def test_each_row_is_drawn_from_its_own_parameters(dist, rng):
    phi = random_phi(dist, 6, rng)
    noise = dist.noise(rng, 6)
    alone = [dist.from_noise(phi[n : n + 1], noise[n : n + 1])[0] for n in range(6)]
    np.testing.assert_array_equal(dist.from_noise(phi, noise), np.array(alone))


@varied
def test_sampled_surprise_is_the_entropy(dist, rng):  # at 3σ: sampler, log π and H agree
    n = 40_000
    phi = rows(random_phi(dist, 1, rng)[0], n)
    assert sigmas(-dist.log_prob(phi, dist.sample(phi, rng)), dist.entropy(phi[:1])[0]) <= 3


@varied
def test_sampled_log_ratio_is_the_kl(dist, rng):  # [KL-11] at 3σ: samples of the old policy
    n = 40_000
    old, new = (rows(random_phi(dist, 1, rng)[0], n) for _ in range(2))
    action = dist.sample(old, rng)
    assert sigmas(dist.log_prob(old, action) - dist.log_prob(new, action), dist.kl(old[:1], new[:1])[0]) <= 3


@pytest.mark.parametrize(
    "dist", [d for d in DISTS if d.name != "squashed_gaussian"], ids=lambda d: f"{d.name}{d.num_params}"
)
def test_the_mode_is_the_likeliest_action(dist, rng):
    # a squashed Gaussian's greedy action is its median: test_families.py
    phi = random_phi(dist, 8, rng)
    best = dist.log_prob(phi, dist.mode(phi))
    for _ in range(50):
        assert (dist.log_prob(phi, dist.sample(phi, rng)) <= best).all()
    before = phi.copy()
    dist.mode(phi)[...] = 0  # a copy: writing to it leaves φ alone
    np.testing.assert_array_equal(phi, before)


def test_the_family_table_names_each_family():
    assert {name: family.name for name, family in FAMILIES.items()} == {name: name for name in FAMILIES}
    assert set(FAMILIES) == set(PLAIN)  # a family without a row in the oracles is not tested


# ---------------------------------------------------------------------------------------------------------- categorical


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
@pytest.mark.parametrize(
    ("logits", "log_probs"),
    [
        ([1e4, 0], [0, -1e4]),
        ([-1e4, -1e4], [-np.log(2)] * 2),
        ([1e38, -1e38], [0, -2e38]),
        ([0, 0, -np.inf], [-np.log(2)] * 2 + [-np.inf]),
    ],
)
def test_dist_01_softmax_does_not_overflow(logits, log_probs, dtype, raises_on_overflow):
    k = len(logits)
    dist, phi = Categorical(k), rows(np.array(logits, dtype), k)
    log_p = dist.log_prob(phi, np.arange(k))
    np.testing.assert_allclose(log_p, log_probs, rtol=1e-6)
    assert np.exp(log_p).sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(dist.dlog_prob(phi, np.arange(k)), np.eye(k) - np.exp(log_probs), atol=1e-7)
    assert np.isfinite(dist.entropy(phi)).all() and np.isfinite(dist.dentropy(phi)).all()
    assert (dist.kl(phi, phi) == 0).all() and (dist.dkl(phi, phi) == 0).all()
    assert np.isfinite(dist.fisher_vec(phi, np.ones_like(phi))).all()


@dtypes
def test_dist_02_entropy_of_a_masked_logit(dtype, raises_on_overflow):
    dist, phi = Categorical(3), np.array([[0, 0, -np.inf]], dtype)
    assert dist.entropy(phi)[0] == pytest.approx(np.log(2), rel=1e-6)
    np.testing.assert_allclose(dist.dentropy(phi), [[0, 0, 0]], atol=1e-7)
    tilted = np.array([[1, 0, -np.inf]], dtype)
    allowed = gradient(lambda p: Categorical(2).entropy(p)[0], np.array([[1.0, 0.0]]))
    np.testing.assert_allclose(dist.dentropy(tilted), [[*allowed[0], 0]], rtol=1e-5)
    assert dist.dentropy(tilted)[0, 2] == 0


@dtypes
def test_dist_03_a_masked_action_is_impossible_however_bad_the_others(dtype, rng, raises_on_overflow):
    dist, phi = Categorical(3), np.array([[-1e9, -2e9, -np.inf]], dtype)  # a mask of −1e8 would make action 2 certain
    p = np.exp(dist.log_prob(rows(phi[0], 3), np.arange(3)))
    np.testing.assert_array_equal(p, [1, 0, 0])
    assert (dist.sample(rows(phi[0], 1000), rng) == 0).all()
    assert dist.entropy(phi)[0] == 0


def test_dist_05_a_hundred_thousand_actions_in_float32(rng):
    k = 100_000
    phi = rng.standard_normal(k).astype(np.float32)
    masked = rng.random(k) < 0.5
    phi[masked] = -np.inf
    dist = Categorical(k)
    dlog_prob = dist.dlog_prob(phi[None], np.flatnonzero(~masked)[:1])
    assert dlog_prob.sum(dtype=np.float64) == pytest.approx(0, abs=1e-5)  # Σ (1[k=a] − p_k)
    assert not dlog_prob[0, masked].any()
    action = dist.from_noise(rows(phi, 21), np.linspace(0, 1, 21, endpoint=False))
    assert not masked[action].any()
    assert dist.entropy(phi[None])[0] == pytest.approx(stats.entropy(np.exp(phi.astype(np.float64))), rel=2e-5)


def test_dist_06_u_of_zero_never_draws_a_masked_action():
    masks = np.array([[1, 0, 0, 0, 0], [1, 1, 0, 1, 0], [1, 1, 1, 1, 0], [0, 1, 1, 1, 1], [1, 0, 1, 0, 1]], bool)
    phi = np.where(masks, -np.inf, 0.3)
    for u in (0.0, np.nextafter(0, 1), 1e-300):
        np.testing.assert_array_equal(Categorical(5).from_noise(phi, np.full(5, u)), [1, 2, 4, 0, 1])


@dtypes
@pytest.mark.parametrize("u", [0.9999999, 1 - 2**-53, 1.0])  # 1: a uniform that was rounded to float32 on its way
def test_dist_07_u_next_to_one_draws_the_last_allowed_action(dtype, u):
    phi = np.full((2, 1000), np.log(1e-3), dtype)  # probabilities of 1e-3 added up in float32 stop at 0.99999
    phi[1, -1] = -np.inf
    np.testing.assert_array_equal(Categorical(1000).from_noise(phi, np.full(2, u)), [999, 998])


def test_dist_06_07_random_masks_and_extreme_noise_stay_inside_the_mask(rng):
    n, k = 2000, 7
    phi = np.where(rng.random((n, k)) < 0.6, -np.inf, 30 * rng.standard_normal((n, k)))
    phi[np.arange(n), rng.integers(k, size=n)] = 0.0  # at least one allowed
    u = rng.choice([0.0, 1e-12, 0.5, 1 - 1e-12, 1 - 2**-53], size=n)
    p = np.exp(phi - logsumexp(phi, axis=1, keepdims=True))
    assert (p[np.arange(n), Categorical(k).from_noise(phi, u)] > 0).all()


def test_the_inverse_cdf_gives_each_action_its_stretch_of_u(rng):
    k, n = 5, 10_000
    phi = rng.standard_normal(k)
    action = Categorical(k).from_noise(rows(phi, n), (np.arange(n) + 0.5) / n)
    counts = np.bincount(action, minlength=k)
    assert (np.diff(action) >= 0).all()
    # each end of a stretch is off by ½ a cell
    np.testing.assert_allclose(counts / n, np.exp(phi) / np.exp(phi).sum(), atol=1 / n)


def test_dist_07_the_cumulative_sum_of_float32_logits_does_not_drift(rng):
    """A million actions: a running sum in float32 is off by the stretches of dozens of them."""
    k, u = 1_000_000, np.linspace(0.1, 0.9, 5)
    phi = rng.standard_normal(k).astype(np.float32)
    cdf = np.cumsum(np.exp(phi.astype(np.longdouble)))
    gap = Categorical(k).from_noise(rows(phi, len(u)), u) - np.searchsorted(cdf / cdf[-1], u, side="right")
    assert np.abs(gap).max() <= 1


def test_categorical_frequencies_pass_chi_square(rng):
    k, n = 6, 60_000
    phi = rng.standard_normal(k)
    counts = np.bincount(Categorical(k).sample(rows(phi, n), rng), minlength=k)
    assert stats.chisquare(counts, n * np.exp(phi) / np.exp(phi).sum()).pvalue > 0.0027  # 3σ


def test_a_draw_of_equals_goes_to_the_first():
    np.testing.assert_array_equal(Categorical(3).mode(np.array([[1.0, 1, 0], [0, 2, 2]])), [0, 1])


@dtypes
def test_dist_18_kl_with_impossible_actions(dtype, raises_on_overflow):
    inf = np.inf
    old = np.array([[0, 0, 0], [0, 0, -inf], [0, 1, -inf], [0, -inf, -inf]], dtype)
    new = np.array([[0, 0, -inf], [0, 0, 0], [1, 0, -inf], [0, -inf, -inf]], dtype)
    two = PLAIN["categorical"].kl(np.array([[0.0, 1]]), np.array([[1.0, 0]]))[0]
    dist = Categorical(3)
    np.testing.assert_allclose(dist.kl(old, new), [inf, np.log(3 / 2), two, 0], rtol=1e-6)
    p, q = (np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) for x in (old, new))
    np.testing.assert_allclose(dist.dkl(old, new), q - p, atol=1e-6)


def test_dist_16_kl_formula_and_direction_categorical():  # [KL-1]
    dist = Categorical(3)
    p, q = np.log([[0.7, 0.2, 0.1]]), np.log([[0.5, 0.25, 0.25]])
    assert dist.kl(p, q)[0] == pytest.approx(0.0992727822, rel=1e-9)
    assert dist.kl(q, p)[0] == pytest.approx(0.1166224525, rel=1e-9)
    assert dist.entropy(p)[0] == pytest.approx(0.8018185525, rel=1e-9)


def bernoulli(p):
    """Logits of a coin (1, 2) that shows 1 with probability p."""
    return np.log([[1 - p, p]])


def kl_of_coins(p, q):
    return Categorical(2).kl(bernoulli(p), bernoulli(q))[0]


def ratio_of_coins(p, q):
    return np.exp(
        Categorical(2).log_prob(bernoulli(q), np.array([1])) - Categorical(2).log_prob(bernoulli(p), np.array([1]))
    )[0]


def test_kl_of_coins_and_the_worked_numbers():  # [KL-9, EX-1, EX-2, EX-3, EX-6]
    kl, ratio = kl_of_coins, ratio_of_coins
    for p, q in [(0.2, 0.6), (0.5, 0.9), (0.01, 0.99), (0.3, 0.3)]:
        assert kl(p, q) == pytest.approx(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)), abs=1e-14)  # [KL-9]
    # [EX-1], far over δ = .01
    assert ratio(0.2, 0.6) == pytest.approx(3) and kl(0.2, 0.6) == pytest.approx(0.3348, abs=5e-5)
    # [EX-2], below it
    assert ratio(0.2, 0.25) == pytest.approx(1.25) and kl(0.2, 0.25) == pytest.approx(0.0070, abs=5e-5)
    assert kl(0.5, 0.9) == pytest.approx(0.51, abs=5e-3) and kl(0.9, 0.5) == pytest.approx(0.37, abs=5e-3)  # [EX-3]
    assert kl(0.8, 0.79) < 1e-3 < 0.5 < kl(0.8, 0.2)  # [EX-6]


def test_kl_is_no_distance():  # [KL-5]: asymmetric, no triangle inequality
    assert kl_of_coins(0.5, 0.1) > 1.5 * (kl_of_coins(0.5, 0.25) + kl_of_coins(0.25, 0.1))


def test_kl_is_additive_over_independent_parts(rng):  # [KL-4]
    a, b = rng.standard_normal((2, 1, 3)), rng.standard_normal((2, 1, 5))
    joint = (a[:, :, :, None] + b[:, :, None, :]).reshape(2, 1, 15)  # logits of the product distribution
    parts = Categorical(3).kl(*a) + Categorical(5).kl(*b)
    assert relative_error(Categorical(15).kl(*joint), parts) <= 1e-12
    old, new = rng.standard_normal((2, 1, 8))
    one = sum(DiagGaussian(1).kl(old[:, [i, 4 + i]], new[:, [i, 4 + i]]) for i in range(4))
    assert relative_error(DiagGaussian(4).kl(old, new), one) <= 1e-12


def test_kl_4_a_family_of_independent_parts_has_the_sum_of_their_divergences(rng):  # [KL-4]
    """Beta by quadrature of each dimension's density, several choices by each choice's own table."""
    old, new = rng.standard_normal((2, 1, 6))
    parts = [PLAIN["beta"].kl(old[:, [i, 3 + i]], new[:, [i, 3 + i]]) for i in range(3)]
    got = Beta(3).kl(old, new)
    assert min(p[0] for p in parts) > 1e-3 and relative_error(got, sum(parts)) <= 1e-8
    sizes, at = (2, 4, 3), (0, 2, 6, 9)
    old, new = rng.standard_normal((2, 5, 9))
    tables = [
        [np.exp(x[:, a:b]) / np.exp(x[:, a:b]).sum(axis=1, keepdims=True) for x in (old, new)] for a, b in pairwise(at)
    ]
    expected = sum((p * np.log(p / q)).sum(axis=1) for p, q in tables)
    assert relative_error(MultiCategorical(sizes).kl(old, new), expected) <= 1e-12
    p, q = 1 / (1 + np.exp(-old)), 1 / (1 + np.exp(-new))  # nine coins
    coins = (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).sum(axis=1)
    assert relative_error(Bernoulli(9).kl(old, new), coins) <= 1e-12
    near = Bernoulli(9).kl(old, old + 0.1)  # small, and not clipped
    q = 1 / (1 + np.exp(-old - 0.1))
    assert relative_error(near, (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).sum(axis=1)) <= 1e-11


def test_pinskers_inequality_holds_on_a_hundred_thousand_pairs(rng):  # [KL-10]
    n, k = 100_000, 5
    old = rng.standard_normal((n, k)) * rng.choice([0.01, 1, 5], size=(n, 1))
    new = np.where(rng.random((n, 1)) < 0.5, old + 0.01 * rng.standard_normal((n, k)), rng.standard_normal((n, k)))
    p, q = (np.exp(x - logsumexp(x, axis=1, keepdims=True)) for x in (old, new))
    tv, kl = 0.5 * np.abs(p - q).sum(axis=1), Categorical(k).kl(old, new)
    assert (tv**2 <= 0.5 * kl + 1e-12).all()
    # nearly tight somewhere: a KL too small by 5 % would be caught
    assert (tv**2 / np.maximum(0.5 * kl, 1e-300)).max() > 0.95


# ---------------------------------------------------------------------------------------------------- diagonal Gaussian


def test_dist_16_kl_formula_and_direction_gaussian():  # [KL-7], numbers, quadrature, Monte Carlo
    dist = DiagGaussian(1)
    old, new = np.array([[0.0, 0.0]]), np.array([[1.0, np.log(2)]])
    assert dist.kl(old, new)[0] == pytest.approx(0.4431471806, rel=1e-9)
    assert dist.kl(new, old)[0] == pytest.approx(1.3068528194, rel=1e-9)
    p, q = stats.norm(0, 1), stats.norm(1, 2)
    # [KL-2]
    assert dist.kl(old, new)[0] == pytest.approx(
        quad(lambda a: p.pdf(a) * (p.logpdf(a) - q.logpdf(a)), -12, 12)[0], rel=1e-9
    )
    a = p.rvs(40_000, random_state=3)
    assert sigmas(p.logpdf(a) - q.logpdf(a), dist.kl(old, new)[0]) <= 3


@pytest.mark.parametrize("d", [1, 2, 5])
def test_gaussian_kl_is_the_multivariate_formula_with_diagonal_matrices(d, rng):  # [KL-8]
    (mean1, log_std1), (mean2, log_std2) = rng.standard_normal((2, 2, d))
    cov1, cov2, gap = np.diag(np.exp(2 * log_std1)), np.diag(np.exp(2 * log_std2)), mean2 - mean1
    logdet = np.linalg.slogdet(cov2)[1] - np.linalg.slogdet(cov1)[1]
    expected = 0.5 * (logdet - d + np.trace(np.linalg.solve(cov2, cov1)) + gap @ np.linalg.solve(cov2, gap))
    phi1, phi2 = np.concatenate([mean1, log_std1])[None], np.concatenate([mean2, log_std2])[None]
    assert DiagGaussian(d).kl(phi1, phi2)[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("dtype", "widen", "rtol"), [("f8", 1e-3, 1e-9), ("f8", 1e-6, 1e-8), ("f4", 1e-2, 1e-4), ("f4", -1e-2, 1e-4)]
)
def test_dist_17_a_tiny_gaussian_kl_keeps_its_digits(dtype, widen, rtol):
    """ℓ + ½(e^(−2ℓ) − 1) = ℓ² − ⅔ℓ³ + ⅓ℓ⁴ − …:
    as a difference of numbers near 1, 10⁻¹² would keep four digits of sixteen.
    """
    ell = np.array(widen, dtype).astype(np.float64)
    kl = DiagGaussian(1).kl(np.zeros((1, 2), dtype), np.array([[0, widen]], dtype))[0]
    assert kl == pytest.approx(ell**2 - 2 / 3 * ell**3 + 1 / 3 * ell**4 - 2 / 15 * ell**5, rel=rtol)


@dtypes
@pytest.mark.parametrize("log_std", [-50.0, -1e3, 50.0, 1e3])
def test_dist_09_log_std_saturates_at_twenty(log_std, dtype, raises_on_overflow):
    """Beyond ±20 the density is the one at ±20, and its derivative in log σ is 0:
    nothing infinite can reach the parameters.
    """
    dist = DiagGaussian(1)
    phi, at_limit, other = (np.array([[0.5, s]], dtype) for s in (log_std, np.sign(log_std) * 20, 0.0))
    action = np.array([[1.5]], dtype)
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
        assert np.isfinite(df).all() and df[0, 1] == 0  # the Fisher metric's too [TR-4]
    mirrored = np.array([[0.5, -log_std]], dtype)  # the widest and the narrowest: e⁸⁰ still fits float32
    assert np.isfinite(dist.kl(phi, mirrored)).all() and np.isfinite(dist.dkl(phi, mirrored)).all()


def test_dist_09_an_overflowing_sample_is_infinite_and_a_collapsed_one_is_the_mean():
    phi = np.array([[0.5, 1e3], [0.5, -1e3]])
    # the collector refuses inf
    np.testing.assert_array_equal(DiagGaussian(1).from_noise(phi, np.array([[1.0], [1.0]])), [[np.inf], [0.5]])


def test_dist_10_the_raw_action_is_stored_and_the_clipped_one_sent(rng):
    dist, codec = DiagGaussian(1), BoxAction((1,), "float32", low=np.array([-1.0]), high=np.array([1.0]))
    phi, raw = np.zeros((2, 2)), np.array([[5.0], [-0.25]])
    log_prob = dist.log_prob(phi, raw)
    np.testing.assert_array_equal(codec.decode(raw), np.array([[1.0], [-0.25]], np.float32))
    np.testing.assert_array_equal(raw, [[5.0], [-0.25]])  # decoding does not touch what was stored
    np.testing.assert_allclose(log_prob, stats.norm.logpdf([5.0, -0.25]), rtol=1e-12)
    np.testing.assert_array_equal(np.exp(dist.log_prob(phi, raw) - log_prob), 1.0)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_dist_15_dimensions_are_summed(d, rng):
    dist, phi_old, phi = DiagGaussian(d), rng.standard_normal((5, 2 * d)), rng.standard_normal((5, 2 * d))
    action = rng.standard_normal((5, d))
    mean, std = phi[:, :d], np.exp(phi[:, d:])
    np.testing.assert_allclose(dist.log_prob(phi, action), stats.norm(mean, std).logpdf(action).sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(dist.entropy(phi), stats.norm(mean, std).entropy().sum(axis=1), rtol=1e-12)
    # dimensions in another order: same numbers
    swap = np.r_[d - 1 : -1 : -1, 2 * d - 1 : d - 1 : -1] if d > 1 else np.array([0, 1])
    np.testing.assert_allclose(dist.kl(phi_old[:, swap], phi[:, swap]), dist.kl(phi_old, phi), rtol=1e-12)


def test_gaussian_samples_are_normal_in_each_dimension(rng):
    n, phi = 20_000, np.array([1.0, -3.0, np.log(0.1), np.log(2.0)])
    action = DiagGaussian(2).sample(rows(phi, n), rng)
    for i in range(2):
        assert stats.kstest(action[:, i], stats.norm(phi[i], np.exp(phi[2 + i])).cdf).pvalue > 0.0027  # 3σ
    z = (action - phi[:2]) / np.exp(phi[2:])
    assert sigmas(z[:, 0] * z[:, 1], 0.0) <= 3  # the dimensions are independent
