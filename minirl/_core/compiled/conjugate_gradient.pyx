"""One step of conjugate gradients; the whole algorithm is minirl/numerics/linear_solvers.py."""

from minirl._core.compiled.arrays cimport Span, same_vectors, span


cdef extern from "vectors.h" nogil:
    double squares_double(const double *, Py_ssize_t)


cdef extern from "conjugate_gradient.h" nogil:
    void cg_move(double *, double *, const double *, const double *, Py_ssize_t, double)
    void cg_turn(double *, const double *, Py_ssize_t, double)


def cg_step(x, r, p, Ap, double rr, double pAp):
    """One step of conjugate gradients, in place on float64 vectors (n,); returns the new rᵀr.  [TR-8]

    α = rᵀr / pᵀAp;  x ← x + α p;  r ← r − α Ap;  β = r'ᵀr' / rᵀr;  p ← r' + β p
    """
    cdef Span s[4]
    cdef double rr_new
    span(&s[0], x, "x", 1, True)
    span(&s[1], r, "r", 1, True)
    span(&s[2], p, "p", 1, True)
    span(&s[3], Ap, "Ap", 1)
    if not s[0].wide:
        raise TypeError(f"x must hold float64, not {x.dtype}")
    same_vectors(s, ("x", "r", "p", "Ap"))
    if rr == 0 or pAp == 0:
        raise ZeroDivisionError(f"conjugate gradients have ended: rr={rr}, pAp={pAp}")
    cdef double alpha = rr / pAp  # [TR-8]
    cg_move(<double *> s[0].start, <double *> s[1].start, <const double *> s[2].start, <const double *> s[3].start,
            s[0].rows, alpha)
    rr_new = squares_double(<const double *> s[1].start, s[1].rows)
    cdef double beta = rr_new / rr
    cg_turn(<double *> s[2].start, <const double *> s[1].start, s[2].rows, beta)  # [TR-8]
    return rr_new
