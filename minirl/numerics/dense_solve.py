"""A x = b with A written out from its products, exact where it is small. Knows nothing of policies."""

from collections.abc import Callable

import numpy as np

from minirl.numerics.arrays import Array
from minirl.numerics.conjugate_gradient import Solution, dot

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
    return Solution(x, residual, n, "singular" if 4 * dot(residual, residual) > dot(b, b) else "converged")


def _least_norm(matrix: Array, b: Array, cut: float) -> Array:
    """A⁺b of a symmetric A; eigenvalues up to `cut` times the largest count as 0."""
    values, vectors = np.linalg.eigh(matrix)
    kept = values > cut * np.abs(values).max()
    return np.asarray(vectors[:, kept] @ ((vectors[:, kept].T @ b) / values[kept]))
