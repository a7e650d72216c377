"""One step of conjugate gradients; the whole algorithm is minirl/numerics/conjugate_gradient.py."""

from minirl._core.compiled.arrays cimport ANY, AS_IT_IS, FLOAT64, IN_PLACE, SAME, VECTOR, Array, apart, take


cdef extern from "vectors.h" nogil:
    double sum_of_squares(bint wide, const void *x, Py_ssize_t count)


cdef extern from "cg_step.h" nogil:
    void cg_iterate(double *x, double *r, const double *p, const double *Ap, Py_ssize_t n, double alpha)
    void cg_direction(double *p, const double *r, Py_ssize_t n, double beta)


def cg_step(x, r, p, Ap, double rr, double pAp):
    """One step of conjugate gradients, in place on float64 vectors (n,); returns the new rᵀr.  [TR-8]

    α = rᵀr / pᵀAp;  x ← x + α p;  r ← r − α Ap;  β = r'ᵀr' / rᵀr;  p ← r' + β p
    """
    cdef Array x_, r_, p_, Ap_
    cdef double rr_new
    take(&x_, x, "x", FLOAT64 | IN_PLACE, ANY, VECTOR)
    take(&r_, r, "r", FLOAT64 | SAME | IN_PLACE, x_.rows, VECTOR)
    take(&p_, p, "p", FLOAT64 | SAME | IN_PLACE, x_.rows, VECTOR)
    take(&Ap_, Ap, "Ap", FLOAT64 | SAME | AS_IT_IS, x_.rows, VECTOR)
    apart([&x_, &r_, &p_, &Ap_], ("x", "r", "p", "Ap"))
    if rr == 0 or pAp == 0:
        raise ZeroDivisionError(f"conjugate gradients have ended: rr={rr}, pAp={pAp}")
    cdef double alpha = rr / pAp  # [TR-8]
    cg_iterate(<double *> x_.start, <double *> r_.start, <const double *> p_.start, <const double *> Ap_.start,
               x_.rows, alpha)
    rr_new = sum_of_squares(True, r_.start, r_.rows)
    cdef double beta = rr_new / rr
    cg_direction(<double *> p_.start, <const double *> r_.start, p_.rows, beta)  # [TR-8]
    return rr_new
