"""Adam, clipping by the global norm, and the one place where sums over samples are taken."""

import numpy as np
import pytest
from oracles import on_ranks, relative_error, same_bits

from minirl.algorithms.diagnostics import explained_variance
from minirl.numerics.communicator import SERIAL
from minirl.numerics.optimizers import ADAM_EPS, adam_init, adam_step, ascent_step, clip_by_global_norm
from minirl.numerics.sums_over_samples import SampleWeights
from minirl.samples.advantages import standardize_adv

dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
SPLITS = [[], [0], [1], [5], [13], [0, 0], [4, 5]]  # where 13 samples are cut into ranks: unequal, some empty
splits = pytest.mark.parametrize("cuts", SPLITS, ids=lambda c: "-".join(map(str, c)) or "whole")


# ----------------------------------------------------------------------------------------------------------------- Adam


@dtypes
def test_clip_16_three_steps_by_hand(dtype):
    """Gradients 1, −2, 3 with β = 0.9, 0.999: the moments are decimal fractions that can be written down."""
    lr, eps = 0.01, 1e-3
    m_hat = [0.1 / 0.1, -0.11 / 0.19, 0.201 / 0.271]  # m = 0.1, 0.09 − 0.2, −0.099 + 0.3;  1 − 0.9ᵗ
    # v = 0.001, 0.000999 + 0.004, 0.004994001 + 0.009
    v_hat = [0.001 / 0.001, 0.004999 / 0.001999, 0.013994001 / 0.002997001]
    theta, state, expected = np.array([0.5], dtype), adam_init(1, dtype), 0.5
    for t in range(3):
        adam_step(theta, np.array([[1.0], [-2.0], [3.0]][t], dtype), state, lr, eps=eps)
        expected -= lr * m_hat[t] / (np.sqrt(v_hat[t]) + eps)
        assert theta[0] == pytest.approx(expected, rel=1e-12 if dtype == np.float64 else 1e-6)
        assert state["t"] == t + 1 and theta.dtype == state["m"].dtype == state["v"].dtype == dtype


def test_clip_16_a_constant_gradient_moves_by_the_same_step_each_time():
    """m̂ = g and v̂ = g² at every t: an error of one in the bias correction's t would show in each step."""
    g = np.array([3.0, -0.2, 1e-5, 1e-9, 0.0])
    theta, state = np.zeros(5), adam_init(5, np.float64)
    for t in range(1, 8):
        adam_step(theta, g, state, 0.1)
        np.testing.assert_allclose(theta, -0.1 * t * g / (np.abs(g) + ADAM_EPS), rtol=1e-11)  # ε outside the root
    assert theta[4] == 0.0  # no weight decay, no noise


def test_clip_16_parameters_do_not_decay():
    theta = np.array([5.0, -7.0])
    adam_step(theta, np.zeros(2), adam_init(2, np.float64), 0.1)
    np.testing.assert_array_equal(theta, [5.0, -7.0])


@dtypes
@pytest.mark.parametrize("n", [0, 1, 37])
def test_scaling_inside_adam_is_scaling_the_gradient(n, dtype, rng):
    thetas = [np.ones(n, dtype), np.ones(n, dtype)]
    states = [adam_init(n, dtype), adam_init(n, dtype)]
    for _ in range(3):
        grad = rng.standard_normal(n).astype(dtype)
        kept = grad.copy()
        adam_step(thetas[0], grad, states[0], 0.01, scale=0.25)  # a power of two: exact
        adam_step(thetas[1], grad * dtype(0.25), states[1], 0.01)
        assert same_bits(grad, kept)
    assert same_bits(thetas[0], thetas[1]) and same_bits(states[0], states[1])


@dtypes
def test_pg_12_plain_ascent_moves_against_the_loss_by_lr_times_the_scaled_gradient(dtype):
    theta, grad = np.array([1.0, -2.0, 4.0], dtype), np.array([8.0, 0.0, -16.0], dtype)
    ascent_step(theta, grad, 0.5, scale=0.25)  # powers of two: exact
    np.testing.assert_array_equal(theta, [0.0, -2.0, 6.0])
    assert theta.dtype == dtype


def test_adam_finds_the_minimum_of_a_badly_scaled_bowl():
    theta, state, curvature = np.array([1.0, 1.0]), adam_init(2, np.float64), np.array([1e-3, 1e3])
    for _ in range(2000):
        adam_step(theta, curvature * theta, state, 0.01)
    assert np.abs(theta).max() < 0.02


# -------------------------------------------------------------------------------------------------------- norm clipping


@dtypes
def test_clip_15_the_norm_is_of_the_whole_vector(dtype):
    grad = np.array([3.0, 0, 0, 4.0, 12.0], dtype)
    norm, scale = clip_by_global_norm(grad, 0.5)
    assert norm == pytest.approx(13, rel=1e-7)
    assert np.linalg.norm(scale * grad) == pytest.approx(0.5, abs=1e-6)
    np.testing.assert_allclose(scale * grad, grad * 0.5 / 13, rtol=1e-6)  # one factor for all: the direction stays
    assert scale * grad[0] < 0.2  # clipping this layer alone would have left 0.5


@pytest.mark.parametrize(
    ("norm", "limit", "scale"), [(0.0, 0.5, 1.0), (0.3, 0.5, 1.0), (0.5, 0.5, 1.0), (5.0, 0.5, 0.1)]
)
def test_clip_15_a_short_gradient_is_left_as_it_is(norm, limit, scale):
    assert clip_by_global_norm(np.array([0.0, norm]), limit) == pytest.approx((norm, scale), rel=1e-15)


def test_clip_15_large_float32_gradients_do_not_overflow():
    norm, scale = clip_by_global_norm(np.full(4, 1e30, np.float32), 1.0)  # the squares are not in float32's range
    assert norm == pytest.approx(2e30, rel=1e-6) and scale == pytest.approx(5e-31, rel=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_clip_14_a_gradient_that_is_not_finite_shows_in_the_norm(bad):
    norm, _ = clip_by_global_norm(np.array([1.0, bad], np.float32), 0.5)
    assert not np.isfinite(norm)


def test_an_empty_gradient_has_norm_zero():
    assert clip_by_global_norm(np.zeros(0), 0.5) == (0.0, 1.0)


# ------------------------------------------------------------------------------------------------ sums over the samples


def counted_moments(weight, x):
    """Σ weight, and mean and squared deviations under it."""
    weights = SampleWeights(weight)
    return weights.n, *weights.moments(x)


@pytest.mark.parametrize("weight", [[1.0], [1.0, 1, 1], [0.0, 2, 0, 1], [1e-3, 5e-4]])
def test_shares_sum_to_one_in_proportion(weight):
    weight = np.array(weight)
    w = SampleWeights(weight).w
    assert w.dtype == np.float64 and w.sum() == pytest.approx(1, rel=1e-15)
    np.testing.assert_allclose(w * weight.sum(), weight, rtol=1e-15)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_shares_of_nothing_are_zero(n):
    assert same_bits(SampleWeights(np.zeros(n)).w, np.zeros(n))
    assert SampleWeights(np.zeros(n)).mean(np.full(n, 7.0)) == 0.0


@pytest.mark.parametrize("n", [1, 2, 13])
def test_mean_and_moments_are_numpys(n, rng):
    x, weight = rng.standard_normal((n, 3)), rng.integers(0, 3, size=n).astype(float)
    weight[0] = 1.0
    assert SampleWeights(weight).mean(x[:, 0]) == pytest.approx(np.average(x[:, 0], weights=weight), rel=1e-12)
    count, centre, m2 = counted_moments(weight, x)
    repeated = np.repeat(x, weight.astype(int), axis=0)  # a weight of 2 is a sample twice
    assert count == len(repeated)
    np.testing.assert_allclose(centre, repeated.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(m2, repeated.var(axis=0) * len(repeated), rtol=1e-12, atol=1e-12)


def test_moments_with_weights_below_one(rng):
    x, weight = rng.standard_normal((3, 2)), np.array([0.25, 0.125, 0.0])
    count, centre, m2 = counted_moments(weight, x)
    assert count == 0.375
    np.testing.assert_allclose(centre, np.average(x, axis=0, weights=weight), rtol=1e-12)
    np.testing.assert_allclose(m2 / count, np.average((x - centre) ** 2, axis=0, weights=weight), rtol=1e-12)


def test_moments_of_no_samples_are_zero():
    count, centre, m2 = counted_moments(np.zeros(0), np.zeros((0, 2)))
    assert count == 0 and same_bits(centre, np.zeros(2)) and same_bits(m2, np.zeros(2))


@dtypes
def test_moments_keep_their_digits_beside_a_large_offset(dtype):
    """E[x²] − E[x]² would lose everything here; the second pass about the mean does not."""
    x = (2.0**20 + np.array([[-1.0], [0.0], [1.0]])).astype(dtype)
    _, centre, m2 = counted_moments(np.ones(3), x)
    assert centre[0] == 2.0**20 and m2[0] == 2.0
    assert counted_moments(np.ones(3), 1e9 + np.array([[-1.0], [0.0], [1.0]]))[2][0] == pytest.approx(2, rel=1e-12)


def test_clip_19_explained_variance(rng):
    target, w = rng.standard_normal(50), SampleWeights(np.ones(50))
    assert explained_variance(target, target, w) == 1.0
    assert explained_variance(np.full(50, target.mean()), target, w) == pytest.approx(0, abs=1e-12)
    prediction = target + 0.5 * rng.standard_normal(50)
    assert explained_variance(prediction, target, w) == pytest.approx(
        1 - np.var(target - prediction) / np.var(target), rel=1e-12
    )
    swapped = explained_variance(target, prediction, w)
    assert abs(swapped - explained_variance(prediction, target, w)) > 1e-3  # (prediction, target), in this order
    assert explained_variance(prediction, np.full(50, 3.0), w) == 0.0  # a target that does not vary


# ---------------------------------------------------------------------------------------------- advantages to unit size


def test_clip_01_a_batch_of_one_is_not_normalised():
    assert same_bits(standardize_adv(np.array([3.5]), SampleWeights(np.ones(1))), np.array([3.5]))
    assert same_bits(standardize_adv(np.zeros(0), SampleWeights(np.zeros(0))), np.zeros(0))
    # one that counts
    assert same_bits(standardize_adv(np.array([3.5, 8.0]), SampleWeights(np.array([1.0, 0.0]))), np.array([3.5, 8.0]))


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6 + 0.1, -3e-5, 1e-300])
@pytest.mark.parametrize("n", [2, 3, 3000])
@dtypes
def test_clip_02_step_17_constant_advantages_become_exactly_zero(value, n, dtype):
    """float32 sums of 3000 × 0.1 are off by enough to come out as ±0.69 of pure noise; exactly 0 means: no step."""
    adv = np.full(n, value, dtype)
    assert same_bits(standardize_adv(adv, SampleWeights(np.ones(n))), np.zeros(n))


def test_clip_02_rounding_noise_is_not_amplified_and_a_small_signal_is_not_lost(rng):
    noise = (1e6 + 0.1) * (1 + 1e-15 * rng.standard_normal(500))
    assert not standardize_adv(noise, SampleWeights(np.ones(500))).any()
    signal = 1.0 + 1e-4 * rng.standard_normal(500)
    out = standardize_adv(signal, SampleWeights(np.ones(500)))
    assert out.std() == pytest.approx(1, rel=1e-9) and np.corrcoef(out, signal)[0, 1] == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("n", [2, 3, 257])
@pytest.mark.parametrize(
    ("dtype", "offset", "scale"), [("f4", 0, 1), ("f4", 10, 3), ("f8", 100, 3), ("f8", 0, 1e-30), ("f8", 1e9, 1e5)]
)
def test_standardised_advantages_have_mean_zero_and_deviation_one(n, dtype, offset, scale, rng):
    adv = (offset + scale * rng.standard_normal(n)).astype(dtype)
    out = standardize_adv(adv, SampleWeights(np.ones(n)))
    assert out.dtype == np.float64
    # 1e9/1e5 costs four digits
    assert out.mean() == pytest.approx(0, abs=1e-11) and out.std() == pytest.approx(1, rel=1e-11)
    np.testing.assert_array_equal(np.argsort(out), np.argsort(adv))


def test_samples_of_weight_zero_do_not_move_the_others(rng):
    adv, weight = rng.standard_normal(9), np.array([1.0, 1, 0, 1, 1, 0, 1, 1, 1])
    adv[[2, 5]] = 1e3
    kept = weight > 0
    np.testing.assert_allclose(
        standardize_adv(adv, SampleWeights(weight))[kept],
        standardize_adv(adv[kept], SampleWeights(np.ones(7))),
        rtol=1e-12,
    )


# ----------------------------------------------------------------------------------------------------------- many ranks


def parts(cuts, *arrays):
    """Each array cut at the same places: one tuple per rank."""
    return list(zip(*(np.split(a, cuts) for a in arrays), strict=True))


@splits
def test_ranks_together_compute_what_one_process_does(cuts, rng):
    x, target, weight = rng.standard_normal((13, 2)), rng.standard_normal(13), rng.integers(0, 3, size=13).astype(float)
    cut = parts(cuts, x, target, weight)

    def work(comm):
        x, target, weight = cut[comm.rank]
        weights = SampleWeights(weight, comm)
        return (
            weights.w,
            weights.mean(target),
            (weights.n, *weights.moments(x)),
            standardize_adv(target, weights),
            explained_variance(x[:, 0], target, weights),
        )

    ranks = on_ranks(len(cut), work)
    serial = SampleWeights(weight)
    assert relative_error(np.concatenate([r[0] for r in ranks]), serial.w) <= 1e-14
    assert relative_error(np.concatenate([r[3] for r in ranks]), standardize_adv(target, serial)) <= 1e-12
    for _, average, (count, centre, m2), _, explained in ranks:
        assert average == pytest.approx(serial.mean(target), rel=1e-12)
        assert count == weight.sum()
        np.testing.assert_allclose(centre, serial.moments(x)[0], rtol=1e-12)
        np.testing.assert_allclose(m2, serial.moments(x)[1], rtol=1e-12)
        assert explained == pytest.approx(explained_variance(x[:, 0], target, serial), rel=1e-12)
        assert (average, explained) == (ranks[0][1], ranks[0][4])  # all ranks hold the same bits


def in_parts(weight, lengths, comm):
    """`parts` in the order in which they stand, one after the other."""
    return np.concatenate([part.w for part in SampleWeights(weight, comm).parts(np.arange(len(weight)), lengths)])


def test_the_shares_of_several_parts_are_those_of_each_by_itself(rng):
    """On two ranks, parts of other lengths on each; one part weighs nothing, one is empty on a rank."""
    lengths = [[3, 0, 2, 4], [1, 2, 3, 4]]
    weights = [rng.integers(0, 3, sum(some)).astype(float) for some in lengths]
    for weight, some in zip(weights, lengths, strict=True):
        weight[sum(some[:2]) : sum(some[:3])] = 0
    cut = [np.split(weight, np.cumsum(some)[:-1]) for weight, some in zip(weights, lengths, strict=True)]
    together = on_ranks(2, lambda comm: in_parts(weights[comm.rank], lengths[comm.rank], comm))
    alone = on_ranks(2, lambda comm: np.concatenate([SampleWeights(part, comm).w for part in cut[comm.rank]]))
    for each, expected in zip(together, alone, strict=True):
        np.testing.assert_allclose(each, expected, rtol=1e-15)


def test_two_ranks_of_one_sample_each_are_a_batch_of_two():
    """Each alone would be left as it is; together they are ±1. Two ranks with equal values together vary not at all."""
    out = on_ranks(
        2, lambda comm: standardize_adv(np.array([[1.0], [5.0]][comm.rank]), SampleWeights(np.ones(1), comm))
    )
    np.testing.assert_allclose(np.concatenate(out), [-1, 1], rtol=1e-12)
    constant = on_ranks(
        2, lambda comm: standardize_adv(np.full(comm.rank + 1, 0.1), SampleWeights(np.ones(comm.rank + 1), comm))
    )
    assert not np.concatenate(constant).any()


def test_the_group_of_one_sums_nothing():
    x = np.array([1.0, 2.0])
    assert (SERIAL.rank, SERIAL.size) == (0, 1) and same_bits(SERIAL.sum(x), x)
