"""Norms, and what stands between an observation and a network."""

from libc.math cimport sqrt

from minirl._core.compiled.arrays cimport F32, F64, Span, doubles, empty, expect, floats, span


cdef extern from "vectors.h" nogil:
    void standardize_float(const float *, const double *, const double *, float *, Py_ssize_t, Py_ssize_t, double)
    void standardize_double(const double *, const double *, const double *, double *, Py_ssize_t, Py_ssize_t, double)
    void standardize_narrow(const double *, const double *, const double *, float *, Py_ssize_t, Py_ssize_t, double)
    bint all_finite_float(const void *, Py_ssize_t)
    bint all_finite_double(const void *, Py_ssize_t)
    double squares_float(const float *, Py_ssize_t)
    double squares_double(const double *, Py_ssize_t)


def global_norm(grad):
    """‖g‖₂ of a flat vector, summed in float64 -> float."""
    cdef Span s
    grad = floats(grad, "grad", 1)
    span(&s, grad, "grad", 1)
    return sqrt(squares_double(<const double *> s.start, s.rows) if s.wide else squares_float(<const float *> s.start, s.rows))


def standardize(x, mean, inv_std, double limit, bint narrow=False):
    """(x − mean) · inv_std in float64, cut at ±limit: x (N, D), mean and inv_std (D,) -> (N, D) in x's type, or float32 if `narrow`."""
    cdef Span s[4]
    x, mean, inv_std = floats(x, "x", 2), doubles(mean, "mean", 1), doubles(inv_std, "inv_std", 1)
    span(&s[0], x, "x", 2)
    span(&s[1], mean, "mean", 1)
    span(&s[2], inv_std, "inv_std", 1)
    expect("mean", s[1].rows, -1, s[0].cols, -1)
    expect("inv_std", s[2].rows, -1, s[0].cols, -1)
    out = empty((s[0].rows, s[0].cols), F64 if s[0].wide and not narrow else F32)
    span(&s[3], out, "out", 2)
    if s[0].wide and narrow:
        standardize_narrow(<const double *> s[0].start, <const double *> s[1].start, <const double *> s[2].start, <float *> s[3].start,
                           s[0].rows, s[0].cols, limit)
    elif s[0].wide:
        standardize_double(<const double *> s[0].start, <const double *> s[1].start, <const double *> s[2].start, <double *> s[3].start,
                           s[0].rows, s[0].cols, limit)
    else:
        standardize_float(<const float *> s[0].start, <const double *> s[1].start, <const double *> s[2].start, <float *> s[3].start,
                          s[0].rows, s[0].cols, limit)
    return out


def narrow(x):
    """x (N, D) float64 as float32; a number too large for it becomes infinite."""
    cdef Span s, out
    cdef Py_ssize_t i
    x = doubles(x, "x", 2)
    span(&s, x, "x", 2)
    y = empty((s.rows, s.cols), F32)
    span(&out, y, "y", 2)
    for i in range(s.rows * s.cols):
        (<float *> out.start)[i] = <float> (<const double *> s.start)[i]
    return y


def all_finite(x):
    """True when no entry of a float array is NaN or infinite."""
    cdef Span s
    if getattr(x, "ndim", 1) == 2:
        x = floats(x, "x", 2)
        span(&s, x, "x", 2)
    else:
        x = floats(x.reshape(-1) if getattr(x, "ndim", 1) != 1 else x, "x", 1)
        span(&s, x, "x", 1)
    return all_finite_double(s.start, s.rows * s.cols) if s.wide else all_finite_float(s.start, s.rows * s.cols)
