"""The vector algebra of conjugate gradients."""

from minirl._core.compiled.arrays cimport Span, same_vectors, span


cdef extern from "vectors.h" nogil:
    double squares_double(const double *, Py_ssize_t)


cdef extern from "conjugate_gradient.h" nogil:
    void cg_move(double *, double *, const double *, const double *, Py_ssize_t, double)
    void cg_turn(double *, const double *, Py_ssize_t, double)


def cg_step(x, residual, direction, image, double rr, double curvature):
    """The vector algebra of one conjugate-gradient iteration, in place on float64 vectors (n,); returns the new rᵀr.   [TR-8]

    α = rᵀr / pᵀAp;  x ← x + α p;  r ← r − α Ap;  p ← r + (r'ᵀr' / rᵀr) p        with image = Ap, curvature = pᵀAp
    """
    cdef Span s[4]
    cdef double rr_new
    span(&s[0], x, "x", 1, True)
    span(&s[1], residual, "residual", 1, True)
    span(&s[2], direction, "direction", 1, True)
    span(&s[3], image, "image", 1)
    if not s[0].wide:
        raise TypeError(f"x must hold float64, not {x.dtype}")
    same_vectors(s, ("x", "residual", "direction", "image"))
    if rr == 0 or curvature == 0:
        raise ZeroDivisionError(f"conjugate gradients have ended: rr={rr}, curvature={curvature}")
    cg_move(<double *> s[0].start, <double *> s[1].start, <const double *> s[2].start, <const double *> s[3].start, s[0].rows,
            rr / curvature)  # [TR-8]
    rr_new = squares_double(<const double *> s[1].start, s[1].rows)
    cg_turn(<double *> s[2].start, <const double *> s[1].start, s[2].rows, rr_new / rr)
    return rr_new
