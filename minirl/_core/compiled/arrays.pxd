"""The one way by which an array enters a kernel, which then runs without bounds checks. See arrays.pyx."""

cdef extern from "array.h" nogil:
    ctypedef struct Array:  # an array that was looked at
        void *start
        Py_ssize_t rows, cols  # cols is 1 for a vector
        int ndim
        char code
        bint wide  # float64
        bint plain, writable
    enum:  # element types, and flags to them
        FLOAT32
        FLOAT64
        EITHER_FLOAT
        INT64
        BOOL
        SAME
        AS_IT_IS
        IN_PLACE
        FOLDED
    enum:  # shapes
        ANY
        VECTOR

ctypedef fused real:  # a loop that is written in Cython is compiled for both; one in C by each_type.h
    float
    double

cdef object take(Array *a, object array, str name, int kind, Py_ssize_t rows, Py_ssize_t cols)
cdef object new_array(Array *a, char code, Py_ssize_t rows, Py_ssize_t cols)
cdef int apart(const Array **arrays, tuple names) except -1
