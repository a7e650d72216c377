"""What acting.pyx takes of mlp.pyx."""

from minirl._core.compiled.arrays cimport Span


cdef extern from "mlp/network.h" nogil:
    enum:
        MLP_MAX_LAYERS
    ctypedef struct Network:
        Py_ssize_t layers
        Py_ssize_t size[33]  # MLP_MAX_LAYERS + 1
        Py_ssize_t free
        bint relu
        bint wide

cdef int describe(Network *net, Span *theta, object flat, object sizes, object activation, Py_ssize_t free=*) except -1
cdef int like(Network *net, Span *s, str name) except -1
cdef int infer(const Network *net, const void *theta, const void *x, void *y, Py_ssize_t rows) noexcept nogil
cdef Py_ssize_t LARGE
