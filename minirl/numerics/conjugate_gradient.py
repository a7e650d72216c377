"""A x = b from products A v alone, by conjugate gradient, whole on this page. Knows nothing of policies."""

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


def dot(a: Array, b: Array) -> float:
    """aᵀb without warnings: the status reports numbers that are not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(a @ b)


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
    rr = dot(r, r)
    if rr == 0.0:
        return Solution(x, r, 0, "zero_rhs")
    if not np.isfinite(rr):
        return Solution(x, r, 0, "non_finite")

    p, goal, largest = r.copy(), rtol * rtol * rr, 0.0
    for i in range(iters):
        Ap = np.array(matvec(p), dtype=np.float64)  # a copy: matvec may return its argument
        pAp = dot(p, Ap)
        if not np.isfinite(pAp):
            return Solution(x, r, i, "non_finite")
        curvature = pAp / dot(p, p)
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
