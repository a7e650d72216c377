"""One step of conjugate gradients: the twin of compiled/cg_step.pyx, in place as the kernel is.

The whole algorithm, these lines among the others, is on one page in minirl/numerics/conjugate_gradient.py.
"""

__all__ = ["cg_step"]


def cg_step(x, r, p, Ap, rr, pAp):
    """One step of conjugate gradients, in place on float64 vectors (n,); returns the new rᵀr. [TR-8]

    α = rᵀr / pᵀAp;  x ← x + α p;  r ← r − α Ap;  β = r'ᵀr' / rᵀr;  p ← r' + β p
    """
    alpha = rr / pAp
    x += alpha * p  # [TR-8]
    r -= alpha * Ap  # [TR-8]
    rr_new = float(r @ r)
    beta = rr_new / rr
    p *= beta
    p += r  # [TR-8]
    return rr_new
