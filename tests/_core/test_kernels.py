"""Every compiled kernel against its NumPy twin.

What the wrappers refuse: test_kernel_arguments.py; the twins have tests of their own.
"""

import threading
import warnings
from itertools import pairwise

import numpy as np
import pytest

from minirl import _core
from minirl._core.reference import categorical, mlp, returns

pytestmark = pytest.mark.skipif(not _core.COMPILED, reason="the compiled core is not built, or MINIRL_REFERENCE is set")

ROWS = (0, 1, 2, 7, 65, 131)
RTOL = {np.float32: 2e-5, np.float64: 1e-12}
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
SIZES = [(3, 1), (4, 64, 64, 2), (11, 64, 64, 3), (1, 1, 1), (5, 17, 33, 100, 7), (3, 130, 6)]
SHAPES = pytest.mark.parametrize("sizes", SIZES, ids=str)
ACTIVATIONS = pytest.mark.parametrize("activation", ["tanh", "relu"])


def both(name, *args):
    """Kernel and twin on copies of the same arguments:
    results, and the arguments afterwards (for kernels that work in place).
    """
    ours, theirs = ([a.copy() if isinstance(a, np.ndarray) else a for a in args] for _ in range(2))
    return getattr(_core, name)(*ours), _core.TWINS[name](*theirs), ours, theirs


def same(got, want, rtol, scale=None):
    """Equal to rtol of each entry and of the array's largest one (sums cancel);
    the element type and shape are the twin's.
    """
    if isinstance(want, tuple):
        for g, w in zip(got, want, strict=True):
            same(g, w, rtol)
        return
    assert np.shape(got) == np.shape(want)
    if isinstance(want, np.ndarray):
        assert got.dtype == want.dtype and got.flags.c_contiguous
    finite = np.abs(np.asarray(want)[np.isfinite(want)])
    np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol * (finite.max() if finite.size else 0))


# -------------------------------------------------------------------------------------------------------------- returns


@pytest.mark.parametrize(("steps", "envs"), [(0, 3), (1, 1), (13, 3), (128, 1), (5, 0), (97, 37)])
def test_returns_equal_their_twins_to_the_bit(rng, steps, envs):
    reward, value, next_value = rng.standard_normal((3, steps, envs))
    terminated, cut = rng.random((2, steps, envs)) < 0.2
    cut |= terminated
    next_value[terminated] = np.nan  # a value that must not be looked at
    for name, args in {
        "gae": (reward, value, next_value, terminated, cut, 0.99, 0.95),
        "discounted_returns": (reward, next_value, terminated, cut, 0.99),
        "running_return": (reward, cut, rng.standard_normal(envs), 0.99),
    }.items():
        got, want, *_ = both(name, *args)
        for g, w in zip(got, want, strict=True) if isinstance(got, tuple) else [(got, want)]:
            np.testing.assert_array_equal(g, w)


def test_returns_widen_what_is_narrow_and_copy_what_is_strided(rng):
    reward = rng.integers(-3, 4, (2 * 9, 5)).astype(np.float32)
    cut = (rng.random((9, 5)) < 0.3).astype(np.int64)
    value = np.asfortranarray(rng.standard_normal((9, 5)))
    got = _core.gae(reward[::2], value, value, cut, cut, 0.9, 0.8)
    want = returns.gae(reward[::2].astype(float), value, value, cut != 0, cut != 0, 0.9, 0.8)
    np.testing.assert_array_equal(got, want)


# -------------------------------------------------------------------------------------------------------- distributions


@DTYPES
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("actions", [1, 2, 5, 18])
def test_categorical_equals_its_twin(rng, dtype, rows, actions):
    phi, other, phi_dot = (3 * rng.standard_normal((3, rows, actions))).astype(dtype)
    action = rng.integers(0, actions, rows)
    for name, args in {
        "log_prob": (phi, action),
        "dlog_prob": (phi, action),
        "entropy": (phi,),
        "dentropy": (phi,),
        "kl": (phi, other),
        "dkl": (phi, other),
        "fisher_vec": (phi, phi_dot),
    }.items():
        got, want, *_ = both("categorical_" + name, *args)
        same(got, want, RTOL[dtype])
    u = rng.random(rows)
    got, want, *_ = both("categorical_sample", phi, u)
    cdf = np.exp(categorical.categorical_log_softmax(phi.astype(np.float64))).cumsum(axis=1)
    clear = (np.abs(cdf - u[:, None]) > 1e-6).all(axis=1)  # elsewhere u may fall between two roundings
    np.testing.assert_array_equal(got[clear], want[clear])
    assert got.shape == want.shape and got.dtype == want.dtype and clear.sum() >= 0.98 * rows


@DTYPES
@pytest.mark.parametrize("far", [np.inf, 1e38])
def test_categorical_with_impossible_actions_is_never_nan(dtype, far):
    phi = np.array([[0, -far, 1, -far], [-far, -far, 0, -far], [far if np.isfinite(far) else 5, 0, 0, 0]], dtype)
    even = np.zeros_like(phi)
    action = np.array([2, 2, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        entropy, dentropy = _core.categorical_entropy(phi), _core.categorical_dentropy(phi)
        kl, reverse = _core.categorical_kl(phi, even), _core.categorical_kl(even, phi)
        others = [
            _core.categorical_dkl(even, phi),
            _core.categorical_fisher_vec(phi, even + 1),
            _core.categorical_dlog_prob(phi, action),
        ]
        sample = _core.categorical_sample(phi, np.array([0.999999, 0.0, 0.5]))
    assert np.isfinite(entropy).all() and entropy[1] == 0 and np.isfinite(dentropy).all() and np.isfinite(kl).all()
    assert all(np.isfinite(x).all() for x in others)
    assert not np.isnan(reverse).any() and (not np.isinf(far) or np.isinf(reverse[:2]).all())
    np.testing.assert_array_equal(sample, [2, 2, 0])
    logp = [0, 0 if np.isfinite(far) else -np.log1p(3 * np.exp(-5))]
    np.testing.assert_allclose(_core.categorical_log_prob(phi, action)[1:], logp, rtol=1e-5)


def test_categorical_sample_never_takes_an_action_of_probability_zero(rng):
    phi = np.where(rng.random((999, 6)) < 0.5, -np.inf, rng.standard_normal((999, 6)))
    phi[:, 3] = 0
    for u in (np.zeros(999), np.full(999, np.nextafter(1, 0)), rng.random(999)):
        action = _core.categorical_sample(phi, u)
        assert np.isfinite(phi[np.arange(999), action]).all()
    assert (_core.categorical_sample(np.full((3, 4), np.nan), np.array([0.0, 0.5, np.nan])) < 4).all()


@DTYPES
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("d", [0, 1, 3, 17])
def test_gaussian_equals_its_twin(rng, dtype, rows, d):
    phi, other, phi_dot = rng.standard_normal((3, rows, 2 * d)).astype(dtype)
    action, z = rng.standard_normal((2, rows, d)).astype(dtype)
    if rows and d:
        phi[0, d], other[-1, d] = 25, -25  # beyond the saturation
        action[0, 0] = 3
    for name, args in {
        "log_prob": (phi, action),
        "dlog_prob": (phi, action),
        "entropy": (phi,),
        "dentropy": (phi,),
        "kl": (phi, other),
        "dkl": (phi, other),
        "fisher_vec": (phi, phi_dot),
        "sample": (phi, z.astype(np.float64)),
    }.items():
        got, want, *_ = both("gaussian_" + name, *args)
        same(got, want, RTOL[dtype])


@DTYPES
def test_exp_is_right_from_the_smallest_subnormal_to_overflow(dtype):
    x = np.concatenate(
        [np.linspace(-750, 712, 70001), np.linspace(-1e-3, 1e-3, 501), [np.inf, -np.inf, np.nan]]
    ).astype(dtype)
    phi = np.stack([np.zeros_like(x), x], axis=1)
    with np.errstate(over="ignore", under="ignore"):
        want = np.exp(x.astype(np.longdouble)).astype(dtype)
    got = _core.gaussian_sample(phi, np.ones((len(x), 1), dtype))[:, 0]  # 0 + e^x · 1
    info = np.finfo(dtype)
    np.testing.assert_allclose(got, want, rtol=1.2 * info.eps, atol=info.smallest_subnormal)


def test_gaussian_kl_of_near_twins_keeps_its_digits():
    phi, near = np.array([[0.5, -0.3]], np.float32), np.array([[0.5, -0.3 + 1e-3]], np.float32)
    widen = np.float64(near[0, 1]) - np.float64(phi[0, 1])
    np.testing.assert_allclose(_core.gaussian_kl(phi, near)[0], widen**2, rtol=2e-3)  # leading term: 2·widen²/2


# ------------------------------------------------------------------------------------------------------------------ MLP


def network(rng, sizes, dtype):
    count = sum((a + 1) * b for a, b in pairwise(sizes))
    return (rng.standard_normal((2, count)) / np.sqrt(max(sizes[:-1]))).astype(dtype)


@DTYPES
@SHAPES
@ACTIVATIONS
@pytest.mark.parametrize("rows", ROWS)
def test_mlp_equals_its_twin(rng, dtype, sizes, activation, rows):
    theta, theta_dot = network(rng, sizes, dtype)
    x, dy = rng.standard_normal((rows, sizes[0])).astype(dtype), rng.standard_normal((rows, sizes[-1])).astype(dtype)
    acts, want, *_ = both("mlp_forward", theta, x, sizes, activation)
    same(acts, want, RTOL[dtype])
    got, want, *_ = both("mlp_infer", theta, x, sizes, activation)
    same(got, want, RTOL[dtype])
    assert np.array_equal(got, acts[-1])
    acts = mlp.mlp_forward(theta, x, sizes, activation)
    for name, args in {
        "mlp_vjp": (theta, acts, dy, sizes, activation),
        "mlp_jvp": (theta, acts, theta_dot, sizes, activation),
    }.items():
        got, want, *_ = both(name, *args)
        same(got, want, RTOL[dtype])


@DTYPES
@pytest.mark.parametrize("free", [1, 3, 9])
@pytest.mark.parametrize("sizes", [(4, 2), (3, 8, 5, 2), (11, 64, 64, 3)], ids=str)
@pytest.mark.parametrize("n", [0, 1, 7, 300])
def test_free_parameters_follow_each_row_of_the_output(rng, dtype, sizes, n, free):
    """Against the twin; and the rest is what the network is without them, to the bit."""
    count = sum((a + 1) * b for a, b in pairwise(sizes))
    theta, theta_dot = (0.3 * rng.standard_normal((2, count + free))).astype(dtype)
    x, dy = rng.standard_normal((n, sizes[0])).astype(dtype), rng.standard_normal((n, sizes[-1] + free)).astype(dtype)
    (got, want, *_), (infer, *_) = (
        both("mlp_forward", theta, x, sizes, "tanh", free),
        both("mlp_infer", theta, x, sizes, "tanh", free),
    )
    same(got[-1], want[-1], 50 * RTOL[dtype])
    np.testing.assert_array_equal(got[-1], infer)
    np.testing.assert_array_equal(got[-1][:, : sizes[-1]], _core.mlp_forward(theta[:count], x, sizes, "tanh")[-1])
    np.testing.assert_array_equal(got[-1][:, sizes[-1] :], np.broadcast_to(theta[count:], (n, free)))

    gradient, want, *_ = both("mlp_vjp", theta, got, dy, sizes, "tanh", free)
    same(gradient, want, 500 * RTOL[dtype])
    alone = _core.mlp_vjp(theta[:count], got, np.ascontiguousarray(dy[:, : sizes[-1]]), sizes, "tanh")
    np.testing.assert_array_equal(gradient[:count], alone)
    np.testing.assert_allclose(
        gradient[count:], dy[:, sizes[-1] :].sum(axis=0, dtype=float), rtol=RTOL[dtype], atol=1e-6
    )
    tangent, want, *_ = both("mlp_jvp", theta, got, theta_dot, sizes, "tanh", free)
    same(tangent, want, 50 * RTOL[dtype])
    np.testing.assert_array_equal(tangent[:, sizes[-1] :], np.broadcast_to(theta_dot[count:], (n, free)))


@DTYPES
@pytest.mark.parametrize("rows", [*range(1, 15), 36])  # every remainder of a tile, and rows enough to copy panels of W
def test_mlp_equals_its_twin_at_every_remainder(rng, dtype, rows):
    for sizes in [*((3, width, (width * 5) % 36 or 1) for width in range(1, 36)), (300, 70, 520, 2)]:
        off = rng.integers(0, 4)  # θ as a slice, at any offset, as the critic's is
        theta, theta_dot = (np.concatenate([np.zeros(off, dtype), part])[off:] for part in network(rng, sizes, dtype))
        x, dy = (
            rng.standard_normal((rows, sizes[0])).astype(dtype),
            rng.standard_normal((rows, sizes[-1])).astype(dtype),
        )
        acts = _core.mlp_forward(theta, x, sizes, "tanh")
        same(acts, mlp.mlp_forward(theta, x, sizes, "tanh"), RTOL[dtype])
        same(_core.mlp_vjp(theta, acts, dy, sizes, "tanh"), mlp.mlp_vjp(theta, acts, dy, sizes, "tanh"), RTOL[dtype])
        same(
            _core.mlp_jvp(theta, acts, theta_dot, sizes, "tanh"),
            mlp.mlp_jvp(theta, acts, theta_dot, sizes, "tanh"),
            RTOL[dtype],
        )


@DTYPES
@pytest.mark.parametrize("sizes", [*SIZES, (300, 520, 2)], ids=str)
@ACTIVATIONS
def test_a_row_does_not_depend_on_the_rows_it_comes_with(rng, dtype, sizes, activation):
    theta, theta_dot = network(rng, sizes, dtype)
    x = rng.standard_normal((71, sizes[0])).astype(dtype)
    acts = _core.mlp_forward(theta, x, sizes, activation)
    y_dot = _core.mlp_jvp(theta, acts, theta_dot, sizes, activation)
    for first, last in ((0, 1), (70, 71), (1, 66), *((3, 3 + rows) for rows in range(1, 15))):
        some = _core.mlp_forward(theta, x[first:last], sizes, activation)
        for part, whole in zip(some, acts, strict=True):
            assert np.array_equal(part, whole[first:last])
        assert np.array_equal(_core.mlp_infer(theta, x[first:last], sizes, activation), acts[-1][first:last])
        assert np.array_equal(_core.mlp_jvp(theta, some, theta_dot, sizes, activation), y_dot[first:last])


@DTYPES
def test_mlp_tanh_is_tanh(dtype):
    x = np.concatenate([np.linspace(-30, 30, 60001), np.logspace(-30, 2, 2001), [np.inf, -np.inf, 0.0]]).astype(dtype)
    identity = np.array([1, 0, 1, 0], dtype)  # one unit: y = tanh(x)
    y = _core.mlp_infer(identity, x[:, None], (1, 1, 1), "tanh")[:, 0]
    np.testing.assert_allclose(y, np.tanh(x.astype(np.float64)), rtol=5e-7 if dtype == np.float32 else 1e-15, atol=0)
    assert (np.abs(y) <= 1).all()


@ACTIVATIONS
def test_mlp_lets_nan_through(activation):
    sizes = (2, 5, 1)
    theta = np.ones(2 * 5 + 5 + 5 + 1, np.float32)
    y = _core.mlp_infer(theta, np.array([[0, 1], [np.nan, 1]], np.float32), sizes, activation)
    assert np.isfinite(y[0, 0]) and np.isnan(y[1, 0])


def test_mlp_runs_in_threads_as_alone(rng):
    sizes = (11, 64, 64, 3)
    theta = network(rng, sizes, np.float32)[0]
    xs = rng.standard_normal((8, 512, 11)).astype(np.float32)
    alone, together = [_core.mlp_infer(theta, x, sizes, "tanh") for x in xs], [None] * 8

    def run(i):
        for _ in range(20):
            together[i] = _core.mlp_infer(theta, xs[i], sizes, "tanh")

    threads = [threading.Thread(target=run, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


# ---------------------------------------------------------------------------------------- optimisation, solving, acting


@DTYPES
@pytest.mark.parametrize("n", [0, 1, 7, 1001])
def test_optim_equals_its_twin(rng, dtype, n):
    theta, grad, m = rng.standard_normal((3, n)).astype(dtype)
    _, _, ours, theirs = both("adam", theta, grad, m, m * m, 3, 3e-4, 0.9, 0.999, 1e-5, 0.7)
    for got, want in zip(ours[:4], theirs[:4], strict=True):
        same(got, want, RTOL[dtype])
    got, want, *_ = both("global_norm", grad)
    assert got == pytest.approx(want, rel=1e-12)
    vectors = rng.standard_normal((4, n))
    got, want, ours, theirs = both("cg_step", *vectors, 1.7, 2.3)
    assert got == pytest.approx(want, rel=1e-12)
    for a, b in zip(ours[:4], theirs[:4], strict=True):
        same(a, b, 1e-12)
    x = 4 * rng.standard_normal((n, 3)).astype(dtype)
    got, want, *_ = both("standardize", x, np.array([0.1, -2, 3]), np.array([0.5, 2, 1e9]), 5.0)
    np.testing.assert_array_equal(got, want)
    assert got.dtype == dtype


def test_narrowing_is_numpys_and_says_nothing_of_an_overflow(rng):
    x = rng.standard_normal((5, 7)) * 10.0 ** rng.integers(-50, 50, (5, 7))
    x[0, :3] = np.nan, np.inf, -1e300
    for array in (x, x[::2, 1:], x[:0], np.asfortranarray(x)):
        got, want, *_ = both("narrow", array)
        assert got.dtype == np.float32 and got.flags.c_contiguous
        np.testing.assert_array_equal(got, want)
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(got, array.astype(np.float32))


@DTYPES
def test_all_finite_finds_one_bad_entry_anywhere(dtype):
    assert _core.all_finite(np.zeros((0, 3), dtype)) and _core.all_finite(np.full((5, 7), np.finfo(dtype).max, dtype))
    for bad in (np.nan, np.inf, -np.inf):
        for at in (0, 16, 34):
            x = np.zeros((5, 7), dtype)
            x.flat[at] = bad
            assert not _core.all_finite(x) and not _core.all_finite(x.T[::-1])


# --------------------------------------------------------------------------------------------------------------- acting


@DTYPES
@pytest.mark.parametrize("n", ROWS)
@pytest.mark.parametrize(
    ("family", "sizes", "free"), [("categorical", (4, 9, 3), 0), ("gaussian", (4, 9, 2), 2), ("gaussian", (4, 6), 0)]
)
@pytest.mark.parametrize("greedy", [False, True])
@pytest.mark.parametrize("raw", [False, True])
def test_acting_in_one_call_is_acting_step_by_step_to_the_bit(rng, dtype, n, family, sizes, free, greedy, raw):
    """Beside the twin to rounding; beside the kernels that it is made of, exactly."""
    theta = rng.standard_normal(sum((a + 1) * b for a, b in pairwise(sizes)) + free).astype(dtype)
    x = (5 * rng.standard_normal((n, 4))).astype(dtype)
    mean, inv_std = (None, None) if raw else (rng.standard_normal(4), rng.random(4))
    P = sizes[-1] + free
    noise = None if greedy else rng.random(n) if family == "categorical" else rng.standard_normal((n, P // 2))
    got, want, *_ = both("policy_act", theta, x, noise, mean, inv_std, 10.0, sizes, "tanh", free, family)
    for side in (_core.policy_actor, _core.TWINS["policy_actor"]):  # prepared once, for more than one step
        act = side(theta, mean, inv_std, 10.0, sizes, "tanh", free, family)
        np.testing.assert_array_equal(act(x[:0], noise if noise is None else noise[:0]), got[:0])
        same(act(x, noise), got, RTOL[dtype])
    if family == "gaussian":
        same(got, want, RTOL[dtype])
    else:
        # u may fall between two roundings
        assert got.shape == want.shape and got.dtype == want.dtype and (got != want).sum() <= 1
    seen = x if raw else _core.standardize(x, mean, inv_std, 10.0)
    y = _core.mlp_infer(theta[: len(theta) - free], seen, sizes, "tanh")
    phi = np.concatenate([y, np.broadcast_to(theta[len(theta) - free :], (n, free))], axis=1)
    if greedy:
        steps = phi.argmax(axis=1) if family == "categorical" else phi[:, : P // 2]
    else:
        steps = getattr(_core, f"{family}_sample")(phi, noise)
    np.testing.assert_array_equal(got, steps)


def test_acting_refuses_what_it_does_not_know():
    for family, sizes, free in (
        ("beta", (3, 2), 0),
        ("gaussian", (3, 3), 0),
        ("gaussian", (3, 2), -2),
        ("gaussian", (3, 2), 1),
    ):
        with pytest.raises(ValueError):
            _core.policy_act(np.zeros(8), np.zeros((1, 3)), None, None, None, 10.0, sizes, "tanh", free, family)


# --------------------------------------------------------------------------------------------------------------- losses


@DTYPES
@pytest.mark.parametrize("n", ROWS)
@pytest.mark.parametrize(("clip", "dual"), [(0.2, None), (0.2, 1.5), (np.inf, None), (0.9, 3.0)], ids=str)
def test_losses_equal_their_twins(rng, dtype, n, clip, dual):
    logp, logp_old = rng.standard_normal((2, n)).astype(dtype)
    adv, w = rng.standard_normal(n) * rng.integers(0, 2, n), rng.random(n)
    got, want, *_ = both("surrogate_loss", logp, logp_old, adv, w, clip, dual)
    same(got, want, RTOL[dtype])
    got, want, *_ = both("squared_loss", w, logp, adv)
    same(got, want, RTOL[dtype])


@DTYPES
@pytest.mark.parametrize("n", ROWS)
@pytest.mark.parametrize("family", ["categorical", "gaussian"])
def test_the_surrogate_of_a_family_is_its_log_prob_and_the_surrogate_of_that(rng, dtype, n, family):
    """Against the twin, and to the bit against the three kernels that it is made of."""
    phi = 0.3 * rng.standard_normal((n, 6)).astype(dtype)
    action = rng.integers(0, 4, n) if family == "categorical" else rng.standard_normal((n, 3)).astype(dtype)
    if family == "categorical":
        phi[::2, 4:] = -np.inf  # not allowed there
    adv, w = rng.standard_normal(n), rng.random(n)
    log_prob, dlog_prob = (getattr(_core, f"{family}_{name}") for name in ("log_prob", "dlog_prob"))
    logp_old = log_prob(phi + 0.2 * rng.standard_normal(phi.shape).astype(dtype), action)
    for clip, dual in ((0.2, None), (0.2, 1.5), (np.inf, None)):
        got, want, *_ = both("policy_surrogate", phi, action, logp_old, adv, w, clip, dual, 0.3, family)
        same(got, want, 50 * RTOL[dtype])
        got = _core.policy_surrogate(phi, action, logp_old, adv, w, clip, dual, 0.0, family)
        loss, dlogp, ratio = _core.surrogate_loss(log_prob(phi, action), logp_old, adv, w, clip, dual)
        for new, parts in zip(got, (loss, dlog_prob(phi, action) * dlogp[:, None], ratio), strict=True):
            np.testing.assert_array_equal(new, parts)
        assert all(np.isfinite(part).all() for part in got)


@DTYPES
def test_the_surrogate_of_a_family_treats_infinite_and_missing_numbers_as_its_parts_do(dtype):
    odd = np.array([0, 1, -1, 1000, -1000, np.inf, -np.inf, np.nan], dtype)
    n, phi = len(odd), np.tile(np.array([0.3, -0.2, -np.inf], dtype), (len(odd), 1))
    action, w = np.arange(n) % 2, np.full(n, 1 / n)
    for adv in (np.full(n, 2.0), np.full(n, -2.0)):
        got, want, *_ = both("policy_surrogate", phi, action, odd, adv, w, 0.2, None, 0.1, "categorical")
        for g, e in zip(got[1:], want[1:], strict=True):
            np.testing.assert_allclose(g, e, rtol=20 * RTOL[dtype])
        assert np.isnan(got[0]) == np.isnan(want[0])


def test_the_surrogate_of_a_family_refuses_what_it_does_not_know(rng):
    x, action = np.zeros(4), np.zeros(4, np.int64)
    for phi, a, family in (
        (np.zeros((4, 3)), np.zeros((4, 1)), "gaussian"),
        (np.zeros((4, 2)), np.zeros((4, 1)), "beta"),
    ):
        with pytest.raises(ValueError, match=r"family|a log σ for each μ"):
            _core.policy_surrogate(phi, a, x, x, x, 0.2, None, 0.0, family)
    for wrong in (3, -1):
        action[2] = wrong
        with pytest.raises(ValueError, match=r"action\[2\]"):
            _core.policy_surrogate(np.zeros((4, 3)), action, x, x, x, 0.2, None, 0.0, "categorical")


@DTYPES
def test_losses_treat_infinite_and_missing_numbers_as_their_twins_do(dtype):
    odd = np.array([0, 1, -1, 1000, -1000, np.inf, -np.inf, np.nan], dtype)
    logp, adv = (x.ravel() for x in np.meshgrid(odd, [2.0, -2.0, 0.0, np.inf, np.nan]))
    for clip, dual in ((0.2, None), (0.2, 2.0), (np.inf, None)):
        for w in (0.5, 0.0):
            with np.errstate(all="ignore"):
                got, want, *_ = both("surrogate_loss", logp, np.zeros_like(logp), adv, np.full(len(adv), w), clip, dual)
            for g, e in zip(got[1:], want[1:], strict=True):
                np.testing.assert_allclose(g, e, rtol=RTOL[dtype])
            assert np.isnan(got[0]) == np.isnan(want[0])


@DTYPES
def test_missing_numbers_are_chosen_as_argmax_and_the_twin_choose(dtype):
    logits = np.array([[0, np.nan, 1], [1, np.nan, 0], [np.nan, 0, 1], [0, 1, np.nan], [2, 1, 0]], dtype)
    sizes = (3, 3)
    bias = [np.concatenate([np.zeros(9), row]).astype(dtype) for row in logits]
    for row, theta in zip(logits, bias, strict=True):
        for noise in (None, np.array([0.5])):
            args = (theta, np.zeros((1, 3), dtype), noise, None, None, 10.0, sizes, "tanh", 0, "categorical")
            with np.errstate(all="ignore"):
                got, want, *_ = both("policy_act", *args)
            assert got == want and (noise is not None or got == row.argmax())
