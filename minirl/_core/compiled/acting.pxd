"""What rollout.pyx takes of acting.pyx."""

from minirl._core.compiled.arrays cimport Array
from minirl._core.compiled.mlp cimport Network

cdef struct Call:  # checked arguments; NULL is None
    Network net
    Py_ssize_t rows
    bint categorical
    bint x_wide  # x is float64, whatever θ is
    const void *x
    const double *noise
    const double *mean
    const double *inv_std
    double limit
    void *action

cdef class Actor:
    cdef Call call  # of every step, but for x, noise and action
    cdef Array theta
    cdef Py_ssize_t d  # numbers to an action
    cdef object kept  # the arrays that `call` points into
    cpdef object act(self, object x, object noise)
