"""Conjugate gradient on matrices whose spectrum is known, and on those that break it.

Nothing here knows of policies.
"""

import numpy as np
import pytest
from oracles import relative_error, same_bits
from scipy.linalg import cho_factor, cho_solve, hilbert

from minirl import _core
from minirl.numerics.conjugate_gradient import conjugate_gradient
from minirl.numerics.dense_solve import dense_solve


def spd(spectrum, rng):
    """A symmetric matrix with these eigenvalues in a random frame, and the frame."""
    frame, _ = np.linalg.qr(rng.standard_normal((len(spectrum), len(spectrum))))
    return (frame * spectrum) @ frame.T, frame


@pytest.mark.parametrize(("n", "condition"), [(1, 1), (2, 10), (7, 1e3), (31, 1e4)])
def test_cg_agrees_with_cholesky(n, condition, rng):  # [TR-8]
    matrix, _ = spd(np.geomspace(1, 1 / condition, n), rng)
    b = rng.standard_normal(n)
    x, residual, iters, status = conjugate_gradient(lambda v: matrix @ v, b, 20 * n)
    assert status == "converged" and iters <= 20 * n
    # ‖r‖ ≤ 1e-10 ‖b‖, amplified by the condition
    assert relative_error(x, cho_solve(cho_factor(matrix), b)) <= 1e-9 * condition
    assert np.linalg.norm(b - matrix @ x) <= 2e-10 * np.linalg.norm(b)
    np.testing.assert_allclose(residual, b - matrix @ x, atol=1e-12 * np.linalg.norm(b))


@pytest.mark.parametrize("distinct", [1, 2, 3, 5])
def test_cg_takes_one_iteration_per_distinct_eigenvalue(distinct, rng):  # [TR-8]: the Krylov space has that dimension
    matrix, _ = spd(np.resize(np.linspace(1, 4, distinct), 15), rng)
    _, _, iters, status = conjugate_gradient(lambda v: matrix @ v, rng.standard_normal(15), 15)
    assert (iters, status) == (distinct, "converged")


def test_cg_iterates_minimise_the_quadratic_over_the_krylov_space(rng):
    # [TR-8]: cut short, still the best of its subspace
    matrix, _ = spd(np.geomspace(1, 50, 12), rng)
    b = rng.standard_normal(12)
    for k in (1, 2, 4):
        basis = np.stack([np.linalg.matrix_power(matrix, i) @ b for i in range(k)], axis=1)
        best = basis @ np.linalg.solve(basis.T @ matrix @ basis, basis.T @ b)
        x, _, iters, status = conjugate_gradient(lambda v: matrix @ v, b, k)
        assert (iters, status) == (k, "max_iters")
        assert relative_error(x, best) <= 1e-8  # the power basis loses digits, not CG


@pytest.mark.parametrize("b", [np.zeros(3), -np.zeros(3), np.zeros(0), np.zeros(3, np.float32)])
def test_step_03_a_zero_right_side_gives_zero_without_a_product(b):
    calls = []
    x, residual, iters, status = conjugate_gradient(calls.append, b, 10)
    assert (iters, status, calls) == (0, "zero_rhs", [])
    assert same_bits(x, np.zeros(len(b))) and not residual.any()


def test_step_05_the_start_is_zero_and_draws_no_random_numbers(rng):
    matrix, _ = spd(np.geomspace(1, 10, 6), rng)
    b = 1e-7 * rng.standard_normal(6)
    before = np.random.get_state()[1].copy()
    a, again = (conjugate_gradient(lambda v: matrix @ v, b, 4).x for _ in range(2))
    assert same_bits(a, again) and same_bits(np.random.get_state()[1], before)
    assert same_bits(conjugate_gradient(lambda v: matrix @ v, b, 0).x, np.zeros(6))  # no iteration: the start itself
    assert relative_error(conjugate_gradient(lambda v: matrix @ v, b, 50).x, np.linalg.solve(matrix, b)) <= 1e-8


def test_step_06_an_exact_solution_stops_early(rng):
    matrix, frame = spd(np.array([3.0, 1.0, 0.2]), rng)
    x, residual, iters, status = conjugate_gradient(lambda v: matrix @ v, frame[:, 0], 10)
    assert (iters, status) == (1, "converged")
    assert relative_error(x, frame[:, 0] / 3) <= 1e-12
    b = rng.standard_normal(3)
    x, residual, iters, status = conjugate_gradient(lambda v: matrix @ v, b, 10)
    assert iters <= 4 and status == "converged" and np.linalg.norm(residual) <= 1e-10 * np.linalg.norm(b)
    identity = conjugate_gradient(lambda v: v, b, 10)  # the residual vanishes to the bit: no 0/0 after it
    assert identity.iters == 1 and same_bits(identity.x, b)


def test_step_07_a_singular_matrix_stops_with_a_flag():
    diagonal, b = np.array([1.0, 0.0]), np.ones(2)
    x, residual, _, status = conjugate_gradient(lambda v: diagonal * v, b, 10)
    assert status == "singular"
    assert np.isfinite(x).all() and np.linalg.norm(x) < 10  # not the 6e9 of a solver that divides by rounding
    np.testing.assert_allclose(residual, b - diagonal * x, atol=1e-12)
    damped = conjugate_gradient(lambda v: diagonal * v + 0.1 * v, b, 10)
    assert damped.status == "converged" and relative_error(damped.x, b / (diagonal + 0.1)) <= 1e-9  # [TR-10]
    flat = conjugate_gradient(np.zeros_like, b, 10)  # no curvature at all
    assert flat.status == "singular" and not flat.x.any()


@pytest.mark.parametrize("scale", [2.0**-60, 1.0, 2.0**60])
def test_step_07_curvature_that_is_rounding_counts_as_none(scale, rng):
    """In a random frame the flat direction has a curvature of ±10⁻¹⁷ of the largest, not 0:
    dividing by it gives x of 10¹⁶.
    """
    for _ in range(50):
        matrix, frame = spd(np.array([3.0, 2.0, 1.0, 0.0]), rng)
        b = frame.sum(axis=1)  # as much in the flat direction as in each other
        x, _, _, status = conjugate_gradient(lambda v, matrix=matrix: scale * (matrix @ v), b, 20)
        assert status == "singular" and np.linalg.norm(scale * x) < 20


@pytest.mark.parametrize(
    ("diagonal", "b", "x", "status"),
    [
        ([1.0, -2.0], [1.0, 1.0], [0, 0], "negative_curvature"),  # at once: the start is the last good x
        ([-1.0, -1.0], [1.0, 2.0], [0, 0], "negative_curvature"),
        ([1.0, -1.0], [1.0, 1.0], [0, 0], "singular"),  # exactly flat along b
        # after one good iteration, α = bᵀb / bᵀAb = 5/3
        ([1.0, -1.0], [2.0, 1.0], [10 / 3, 5 / 3], "negative_curvature"),
    ],
)
def test_step_08_an_indefinite_matrix_stops_at_the_last_good_iterate(diagonal, b, x, status):
    diagonal = np.array(diagonal)
    solution = conjugate_gradient(lambda v: diagonal * v, np.array(b), 10)
    assert solution.status == status
    np.testing.assert_allclose(solution.x, x, rtol=1e-12)


def test_step_09_vectors_are_float64_whatever_comes_in():
    """Ten iterations on Hilbert's 12×12 (condition 10¹⁶), b = 1:
    float32 vectors stay at a residual of 0.031, float64 get below half.
    """
    matrix = hilbert(12)
    narrow = conjugate_gradient(lambda v: matrix @ v, np.ones(12, np.float32), 10)
    wide = conjugate_gradient(lambda v: matrix @ v, np.ones(12), 10)
    assert narrow.x.dtype == narrow.residual.dtype == np.float64 and same_bits(narrow.x, wide.x)
    assert np.linalg.norm(1 - matrix @ narrow.x) < 0.015
    weights = matrix.astype(np.float32)  # products as a float32 network makes them, vectors still in float64
    products = conjugate_gradient(lambda v: weights @ v.astype(np.float32), np.ones(12), 10)
    assert products.x.dtype == np.float64
    assert np.linalg.norm(1 - matrix @ products.x) < 0.025


# 1e-30, 1e-8, 1e8, 1e30, without rounding of their own
@pytest.mark.parametrize("scale", [2.0**-100, 2.0**-27, 2.0**27, 2.0**100])
def test_step_10_the_tolerance_is_relative(scale, rng):
    matrix, _ = spd(np.geomspace(1, 100, 9), rng)
    b = rng.standard_normal(9)
    one, other = (conjugate_gradient(lambda v: matrix @ v, s * b, 30) for s in (1.0, scale))
    assert (one.status, one.iters) == (other.status, other.iters) == ("converged", one.iters)
    assert relative_error(other.x / scale, one.x) <= 1e-12
    bigger = conjugate_gradient(lambda v: scale * (matrix @ v), b, 30)  # and so are the curvature tests
    assert bigger.status == "converged" and relative_error(bigger.x * scale, one.x) <= 1e-12


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_step_04_what_is_not_finite_never_enters_the_iterate(bad, rng):
    solution = conjugate_gradient(lambda v: v, np.array([1.0, bad]), 10)
    assert solution.status == "non_finite" and same_bits(solution.x, np.zeros(2))

    # bᵀb overflows: flagged, without a warning
    assert conjugate_gradient(lambda v: v, np.full(2, 1e200), 10).status == "non_finite"

    matrix, _ = spd(np.geomspace(1, 10, 5), rng)
    b, calls = rng.standard_normal(5), []

    def third_product_breaks(v):
        calls.append(v)
        return matrix @ v if len(calls) < 3 else np.full(5, bad)

    broken = conjugate_gradient(third_product_breaks, b, 10)
    assert (broken.status, broken.iters) == ("non_finite", 2)
    assert same_bits(broken.x, conjugate_gradient(lambda v: matrix @ v, b, 2).x)  # the last good iterate


def test_the_right_side_is_not_changed(rng):
    b = rng.standard_normal(5)
    kept = b.copy()
    conjugate_gradient(lambda v: 2 * v, b, 5)
    assert same_bits(b, kept)


def test_tr_8_a_matrix_written_out_gives_what_conjugate_gradient_approaches(rng):
    q, _ = np.linalg.qr(rng.standard_normal((17, 17)))
    a = q @ np.diag(np.linspace(0.1, 3, 17)) @ q.T
    b = rng.standard_normal(17)
    exact = dense_solve(lambda v: a @ v, b)
    np.testing.assert_allclose(a @ exact.x, b, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(exact.x, conjugate_gradient(lambda v: a @ v, b, 60).x, rtol=1e-8)
    assert exact.status == "converged" and exact.iters == 17


@pytest.mark.parametrize(("products", "tolerance"), [(np.float64, 1e-11), (np.float32, 1e-3)])
@pytest.mark.parametrize(("n", "rank"), [(2, 1), (15, 10), (15, 15), (60, 3)])
def test_bug_09_of_a_singular_matrix_the_solution_of_least_norm(n, rank, products, tolerance, rng):
    """x = Σ_i u_i (u_iᵀb) / λ_i over the eigenvectors that the matrix was made of, and nothing along the others."""
    spectrum = np.append(np.geomspace(3, 0.03, rank), np.zeros(n - rank))
    for scale in (1.0, 2.0**-40):
        matrix, frame = spd(scale * spectrum, rng)
        b = frame[:, :rank] @ rng.standard_normal(rank)
        made = matrix.astype(products)
        eps = float(np.finfo(products).eps)
        solution = dense_solve(lambda v, a=made: (a @ v.astype(a.dtype)).astype(np.float64), b, eps)
        expected = frame[:, :rank] @ ((frame[:, :rank].T @ b) / (scale * spectrum[:rank]))
        assert solution.status == "converged" and relative_error(solution.x, expected) <= tolerance
        assert np.linalg.norm(frame[:, rank:].T @ solution.x) <= tolerance * np.linalg.norm(expected)


def test_bug_09_what_a_singular_matrix_does_not_reach_is_left(rng):
    matrix, frame = spd(np.array([2.0, 1.0, 0.0]), rng)
    near = dense_solve(lambda v: matrix @ v, frame @ np.array([2.0, 1.0, 0.1]))
    assert near.status == "converged" and relative_error(near.x, frame @ np.array([1.0, 1.0, 0.0])) <= 1e-10
    np.testing.assert_allclose(near.residual, 0.1 * frame[:, 2], atol=1e-12)
    far = dense_solve(lambda v: matrix @ v, frame @ np.array([1.0, 0.0, 2.0]))
    assert far.status == "singular"  # most of b lies where A is flat


@pytest.mark.parametrize(
    ("a", "b", "status"),
    [
        (np.zeros((3, 3)), np.ones(3), "singular"),
        (np.eye(3), np.zeros(3), "zero_rhs"),
        (np.full((3, 3), np.nan), np.ones(3), "non_finite"),
    ],
)
def test_the_dense_solver_says_why_there_is_no_solution(a, b, status):
    solution = dense_solve(lambda v: a @ v, b)
    assert solution.status == status and not solution.x.any()


@pytest.mark.parametrize("step", [_core.cg_step, _core.TWINS["cg_step"]], ids=["kernel", "twin"])
def test_tr_8_a_fused_step_computes_the_lines_that_the_page_shows(step, rng, monkeypatch):
    monkeypatch.setattr(_core, "cg_step", step)
    matrix, _ = spd(np.geomspace(1, 3, 12), rng)  # a small condition: rounding does not grow from step to step
    b = rng.standard_normal(12)
    for k in (1, 2, 4, 20):
        page, fused = (conjugate_gradient(lambda v: matrix @ v, b, k, 1e-4, fused=fused) for fused in (False, True))
        assert page[2:] == fused[2:]
        np.testing.assert_allclose(fused.x, page.x, rtol=0, atol=1e-11)
        np.testing.assert_allclose(fused.residual, page.residual, rtol=0, atol=1e-11)
    assert page.status == "converged"
    flat = [conjugate_gradient(lambda v: [1, -1] * v, np.array([2.0, 1.0]), 5, fused=fused) for fused in (False, True)]
    assert [one.status for one in flat] == ["negative_curvature"] * 2 and flat[0].iters == flat[1].iters == 1
