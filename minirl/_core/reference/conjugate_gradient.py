"""The vector algebra of conjugate gradients: the twin of compiled/conjugate_gradient.pyx."""

__all__ = ["cg_step"]


def cg_step(x, residual, direction, image, rr, curvature):
    """The vector algebra of one conjugate-gradient iteration, in place on float64 vectors (n,); returns the new rᵀr.   [TR-8]

    α = rᵀr / pᵀAp;  x ← x + α p;  r ← r − α Ap;  p ← r + (r'ᵀr' / rᵀr) p        with image = Ap, curvature = pᵀAp
    """
    alpha = rr / curvature
    x += alpha * direction  # [TR-8]
    residual -= alpha * image
    rr_new = float(residual @ residual)
    direction *= rr_new / rr
    direction += residual
    return rr_new
