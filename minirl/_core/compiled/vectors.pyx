"""Norms, and the preprocessing of observations."""

from libc.math cimport sqrt

from minirl._core.compiled.arrays cimport ANY, EITHER_FLOAT, FLOAT32, FLOAT64, FOLDED, VECTOR, Array, new_array, take


cdef extern from "vectors.h" nogil:
    void standardize_rows(
        bint wide, bint out_wide, const void *x, const double *mean, const double *inv_std, void *out,
        Py_ssize_t rows, Py_ssize_t cols, double limit)
    bint finite_numbers(bint wide, const void *x, Py_ssize_t count)
    double sum_of_squares(bint wide, const void *x, Py_ssize_t count)


def global_norm(grad):
    """‖g‖₂ of a flat vector, summed in float64 -> float."""
    cdef Array g
    grad = take(&g, grad, "grad", EITHER_FLOAT, ANY, VECTOR)
    return sqrt(sum_of_squares(g.wide, g.start, g.rows))


def standardize(x, mean, inv_std, double limit, bint narrow=False):
    """(x − mean) · inv_std in float64, cut at ±limit -> (N, D) in x's type, or in float32 if `narrow`.

    x (N, D), mean and inv_std (D,)
    """
    cdef Array x_, mean_, inv_std_, out_
    x = take(&x_, x, "x", EITHER_FLOAT, ANY, ANY)
    mean = take(&mean_, mean, "mean", FLOAT64, x_.cols, VECTOR)
    inv_std = take(&inv_std_, inv_std, "inv_std", FLOAT64, x_.cols, VECTOR)
    out = new_array(&out_, FLOAT64 if x_.wide and not narrow else FLOAT32, x_.rows, x_.cols)
    standardize_rows(x_.wide, out_.wide, x_.start, <const double *> mean_.start, <const double *> inv_std_.start,
                     out_.start, x_.rows, x_.cols, limit)
    return out


def narrow(x):
    """x (N, D) float64 as float32; a number too large for it becomes infinite."""
    cdef Array x_, y_
    cdef Py_ssize_t i
    x = take(&x_, x, "x", FLOAT64, ANY, ANY)
    y = new_array(&y_, FLOAT32, x_.rows, x_.cols)
    for i in range(x_.rows * x_.cols):
        (<float *> y_.start)[i] = <float> (<const double *> x_.start)[i]
    return y


def all_finite(x):
    """True when no entry of a float array of any shape is NaN or infinite."""
    cdef Array x_
    x = take(&x_, x, "x", EITHER_FLOAT | FOLDED, ANY, ANY)
    return finite_numbers(x_.wide, x_.start, x_.rows * x_.cols)
