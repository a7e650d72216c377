"""What acting.pyx takes of mlp.pyx."""

from minirl._core.compiled.arrays cimport Array


cdef extern from "kernel_limits.h" nogil:
    enum:
        MLP_MAX_LAYERS
        MLP_MAX_SIZES
        RELEASE_GIL_FROM

cdef extern from "mlp/network.h" nogil:
    ctypedef struct Network:
        Py_ssize_t layers
        Py_ssize_t size[MLP_MAX_SIZES]
        Py_ssize_t free
        bint relu
        bint wide

cdef int describe(Network *net, Array *theta_, object theta, object sizes, object activation, Py_ssize_t free) except -1
cdef char type_of(const Network *net) noexcept nogil
cdef Py_ssize_t outputs(const Network *net) noexcept nogil
cdef int infer(const Network *net, const void *theta, const void *x, void *y, Py_ssize_t rows) noexcept nogil
