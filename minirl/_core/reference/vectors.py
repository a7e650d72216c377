"""Norms, and the preprocessing of observations: the twins of compiled/vectors.pyx."""

import numpy as np

__all__ = ["all_finite", "global_norm", "narrow", "standardize"]


def global_norm(grad):
    """‖g‖₂ of a flat vector, summed in float64 -> float."""
    wide = grad.astype(np.float64)
    return float(np.sqrt(wide @ wide))


def standardize(x, mean, inv_std, limit, narrow=False):
    """(x − mean) · inv_std in float64, cut at ±limit -> (N, D) in x's type, or in float32 if `narrow`.

    x (N, D), mean and inv_std (D,)
    """
    return np.minimum(np.maximum((x - mean) * inv_std, -limit), limit).astype(np.float32 if narrow else x.dtype)


def narrow(x):
    """x (N, D) float64 as float32; a number too large for it becomes infinite."""
    with np.errstate(over="ignore"):
        return np.asarray(x, np.float64).astype(np.float32, "C")


def all_finite(x):
    """True when no entry of a float array is NaN or infinite."""
    return bool(np.isfinite(x).all())
