"""A x = b from products A v alone: conjugate gradient, or the explicit matrix where n is small."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minirl import _core
from minirl.numerics.arrays import Array


class Solution(NamedTuple):
    """x (n,) float64, the residual b − A x, the number of products A v, and why the solver stopped."""

    x: Array
    residual: Array
    iters: int
    status: str  # converged, max_iters, zero_rhs, singular, negative_curvature, non_finite


def _dot(a: Array, b: Array) -> float:
    """aᵀb without warnings: the status reports numbers that are not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(a @ b)


EPS = float(np.finfo(np.float64).eps)


def dense_solve(matvec: Callable[[Array], Array], b: Array, eps: float = EPS) -> Solution:
    """A x = b with symmetric positive A (n, n) made explicit, column by column: exact, for small n.

    For a singular A the least-squares solution of least norm: eigenvalues up to n · eps times the largest count as 0.
    eps: of the type in which the products were computed. "singular" where ‖b − A x‖ exceeds half of ‖b‖.
    """
    n, b = len(b), b.astype(np.float64)
    if not b.any():
        return Solution(np.zeros(n), b, 0, "zero_rhs")
    matrix = np.stack([matvec(column) for column in np.eye(n)], axis=1)
    if not (np.isfinite(matrix).all() and np.isfinite(b).all()):
        return Solution(np.zeros(n), b, n, "non_finite")
    matrix = (matrix + matrix.T) / 2
    try:
        np.linalg.cholesky(matrix - n * eps * np.abs(matrix).sum(axis=0).max() * np.eye(n))
        x = np.linalg.solve(matrix, b)  # every eigenvalue is above the cut-off
    except np.linalg.LinAlgError:
        x = _least_norm(matrix, b, n * eps)
    residual = b - matrix @ x
    return Solution(x, residual, n, "singular" if 4 * _dot(residual, residual) > _dot(b, b) else "converged")


def _least_norm(matrix: Array, b: Array, cut: float) -> Array:
    """A⁺b of a symmetric A; eigenvalues up to `cut` times the largest count as 0."""
    values, vectors = np.linalg.eigh(matrix)
    kept = values > cut * np.abs(values).max()
    return np.asarray(vectors[:, kept] @ ((vectors[:, kept].T @ b) / values[kept]))


def conjugate_gradient(
    matvec: Callable[[Array], Array],
    b: Array,
    iters: int,
    rtol: float = 1e-10,
    flat: float = 1e-14,
    fused: bool = _core.COMPILED,
) -> Solution:
    """A x = b for symmetric positive A (Hestenes & Stiefel, 1952), from x = 0, vectors in float64. [TR-8]

    x: the iterate; r = b − A x: the residual; p: the direction of the next step, pᵢᵀA pⱼ = 0 for i ≠ j; Ap: A p.
    Stops at ‖r‖ ≤ rtol ‖b‖, after `iters` products, or when the curvature pᵀAp/pᵀp is not positive beyond `flat`
    times the largest so far (A singular or indefinite along p): x is then the iterate so far. b = 0 gives x = 0.
    fused: α, x, r, β and p by the kernel; the other branch shows what it computes, and runs where nothing is compiled.
    """
    r = b.astype(np.float64)  # a copy: r = b − A·0
    x = np.zeros_like(r)
    rr = _dot(r, r)
    if rr == 0.0:
        return Solution(x, r, 0, "zero_rhs")
    if not np.isfinite(rr):
        return Solution(x, r, 0, "non_finite")

    p, goal, largest = r.copy(), rtol * rtol * rr, 0.0
    for i in range(iters):
        Ap = np.array(matvec(p), dtype=np.float64)  # a copy: matvec may return its argument
        pAp = _dot(p, Ap)
        if not np.isfinite(pAp):
            return Solution(x, r, i, "non_finite")
        curvature = pAp / _dot(p, p)
        if curvature <= flat * largest:
            return Solution(x, r, i, "negative_curvature" if curvature < -flat * largest else "singular")
        largest = max(largest, curvature)
        if fused:
            rr = _core.cg_step(x, r, p, Ap, rr, pAp)  # the other branch, compiled [TR-8]
        else:
            alpha = rr / pAp
            x += alpha * p  # [TR-8]
            r -= alpha * Ap  # [TR-8]
            rr_old, rr = rr, float(r @ r)
            beta = rr / rr_old
            p = r + beta * p  # [TR-8]
        if rr <= goal:
            return Solution(x, r, i + 1, "converged")
    return Solution(x, r, iters, "max_iters")
