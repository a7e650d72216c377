"""A x = b from products A v alone: conjugate gradient, and the matrix written out where it is small. Knows nothing of policies."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minirl import _core


class Solution(NamedTuple):
    """What came out: x (n,) float64, the residual b − A x, products used, and why it stopped."""

    x: np.ndarray
    residual: np.ndarray
    iters: int
    status: str  # converged, max_iters, zero_rhs, singular, negative_curvature, non_finite


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    """aᵀb; what is not finite shows in the status, not in a warning."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(a @ b)


EPS = float(np.finfo(np.float64).eps)


def dense_solve(matvec: Callable[[np.ndarray], np.ndarray], b: np.ndarray, eps: float = EPS) -> Solution:
    """A x = b with symmetric, positive A (n, n) written out, column by column: the exact alternative for small n.

    Of a singular A the solution of least norm that comes nearest to b: an eigenvalue up to n · eps times the largest
    is rounding, and x has no part along it. eps: of the type that the products were made in. "singular" where less
    than half of b can be reached.
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
        x = np.linalg.solve(matrix, b)  # every eigenvalue is beyond the cut-off: nothing to leave out
    except np.linalg.LinAlgError:
        x = _least_norm(matrix, b, n * eps)
    residual = b - matrix @ x
    return Solution(x, residual, n, "singular" if 4 * _dot(residual, residual) > _dot(b, b) else "converged")


def _least_norm(matrix: np.ndarray, b: np.ndarray, cut: float) -> np.ndarray:
    """A⁺b of a symmetric A, eigenvalues up to `cut` times the largest taken for 0."""
    values, vectors = np.linalg.eigh(matrix)
    kept = values > cut * np.abs(values).max()
    return vectors[:, kept] @ ((vectors[:, kept].T @ b) / values[kept])


def conjugate_gradient(
    matvec: Callable[[np.ndarray], np.ndarray], b: np.ndarray, iters: int, rtol: float = 1e-10, flat: float = 1e-14
) -> Solution:
    """A x = b for symmetric positive A (Hestenes & Stiefel, 1952), from x = 0, vectors in float64.                  [TR-8]

    Stops at ‖r‖ ≤ rtol ‖b‖, after `iters` products, or when the curvature pᵀAp/pᵀp is not positive beyond `flat` times the
    largest one met (A singular or indefinite along p): x is then the last good iterate. b = 0 gives x = 0.
    """
    residual = b.astype(np.float64)  # a copy: r = b − A·0
    x = np.zeros_like(residual)
    rr = _dot(residual, residual)
    if rr == 0.0:
        return Solution(x, residual, 0, "zero_rhs")
    if not np.isfinite(rr):
        return Solution(x, residual, 0, "non_finite")

    direction, goal, steepest = residual.copy(), rtol * rtol * rr, 0.0
    for i in range(iters):
        image = np.array(matvec(direction), dtype=np.float64)  # Ap, a copy: matvec may return its argument
        curvature = _dot(direction, image)  # pᵀAp
        if not np.isfinite(curvature):
            return Solution(x, residual, i, "non_finite")
        bend = curvature / _dot(direction, direction)
        if bend <= flat * steepest:
            return Solution(x, residual, i, "negative_curvature" if bend < -flat * steepest else "singular")
        steepest = max(steepest, bend)
        rr = _core.cg_step(x, residual, direction, image, rr, curvature)  # [TR-8]
        if rr <= goal:
            return Solution(x, residual, i + 1, "converged")
    return Solution(x, residual, iters, "max_iters")
