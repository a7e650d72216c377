"""exp, expm1 and log of a `real` in its own precision; the first two of many numbers at once, where vectors pay."""

from libc.math cimport log

from minirl._core.compiled.arrays cimport real


cdef extern from "<math.h>" nogil:
    float logf(float)

cdef extern from "exp.h" nogil:
    void exp_each_float(float *, Py_ssize_t)
    void exp_each_double(double *, Py_ssize_t)
    void expm1_each_float(float *, Py_ssize_t)
    void expm1_each_double(double *, Py_ssize_t)


cdef inline void exp_each(real *x, Py_ssize_t count) noexcept nogil:
    """x ← eˣ, in place, of so many numbers."""
    if real is float:
        exp_each_float(x, count)
    else:
        exp_each_double(x, count)


cdef inline void expm1_each(real *x, Py_ssize_t count) noexcept nogil:
    """x ← eˣ − 1, in place, of so many numbers, |x| ≤ 80."""
    if real is float:
        expm1_each_float(x, count)
    else:
        expm1_each_double(x, count)


cdef inline real log_(real x) noexcept nogil:
    if real is float:
        return logf(x)
    else:
        return log(x)
