"""lgamma, digamma and trigamma on arrays of positive numbers: NumPy has none of them, and SciPy is not a dependency.

The recurrence raises x by SHIFT; there the asymptotic series (DLMF 5.11) is exact to rounding, for every x > 0.
"""

from collections.abc import Sequence

import numpy as np

from minirl.numerics.arrays import Array

SHIFT = 10
HALF_LOG_2PI = 0.5 * float(np.log(2 * np.pi))
BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6)  # B₂, B₄, …


def _shifted(x: Array) -> Array:
    """x + k for k = 0 … SHIFT − 1, on a last axis of its own, float64."""
    return np.asarray(x, np.float64)[..., None] + np.arange(SHIFT)


def _series(x: Array, coefficients: Sequence[float]) -> Array:
    """Σ_i c_i / x²ⁱ, i = 0, 1, …"""
    inverse = 1 / (x * x)
    total = np.zeros_like(x)
    for c in reversed(coefficients):
        total = total * inverse + c
    return total


def _tail(y: Array) -> Array:
    """Σ B₂ᵢ / (2i (2i−1) y²ⁱ⁻¹), the remainder of Stirling's formula for ln Γ(y)."""
    return _series(y, [b / (2 * i * (2 * i - 1)) for i, b in enumerate(BERNOULLI, 1)]) / y


def _tail_slope(y: Array) -> Array:
    """Its derivative, −Σ B₂ᵢ / (2i y²ⁱ)."""
    return np.asarray(-_series(y, [b / (2 * i) for i, b in enumerate(BERNOULLI, 1)]) / (y * y))


def lgamma(x: Array) -> Array:
    """ln Γ(x) = (y − ½) ln y − y + ½ ln 2π + Σ B₂ᵢ / (2i (2i−1) y²ⁱ⁻¹) − ln Π_k (x + k), y = x + SHIFT; x ≤ 1e30."""
    y = np.asarray(x, np.float64) + SHIFT
    product: Array = _shifted(x).prod(axis=-1)
    return np.asarray((y - 0.5) * np.log(y) - y + HALF_LOG_2PI + _tail(y) - np.log(product))


def digamma(x: Array) -> Array:
    """ψ(x) = ln y − 1/2y − Σ B₂ᵢ / (2i y²ⁱ) − Σ_k 1/(x + k), y = x + SHIFT."""
    y = np.asarray(x, np.float64) + SHIFT
    return np.asarray(np.log(y) - 0.5 / y + _tail_slope(y) - (1 / _shifted(x)).sum(axis=-1))


def trigamma(x: Array) -> Array:
    """ψ′(x) = 1/y + 1/2y² + Σ B₂ᵢ / y²ⁱ⁺¹ + Σ_k 1/(x + k)², y = x + SHIFT."""
    y = np.asarray(x, np.float64) + SHIFT
    return np.asarray(1 / y + 0.5 / (y * y) + _series(y, BERNOULLI) / y**3 + (1 / _shifted(x) ** 2).sum(axis=-1))


def lgamma_gap(x: Array, to: Array) -> Array:
    """ln Γ(to) − ln Γ(x) − ψ(x) (to − x), the error of the tangent at x.

    Term by term, so that no digits cancel where to ≈ x. With r = (to − x)/(x + k) each factor of the
    recurrence leaves r − ln(1 + r), and y ln y leaves y ((1 + r) ln(1 + r) − r).
    """
    x, step = np.asarray(x, np.float64), np.asarray(to - x, np.float64)
    y, r = x + SHIFT, step[..., None] / _shifted(x)
    factors: Array = (r - np.log1p(r)).sum(axis=-1)
    r = step / y
    stirling = y * ((1 + r) * np.log1p(r) - r) + 0.5 * (r - np.log1p(r))
    return np.asarray(stirling + factors + (_tail(y + step) - _tail(y) - _tail_slope(y) * step))


def softplus(x: Array) -> Array:
    """ln(1 + eˣ), without overflow."""
    return np.logaddexp(0, x)


def sigmoid(x: Array) -> Array:
    """1 / (1 + e⁻ˣ), without overflow: ½ (1 + tanh ½x)."""
    return 0.5 * (1 + np.tanh(0.5 * x))
