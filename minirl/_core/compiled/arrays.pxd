"""What every wrapper asks of its arguments before a kernel runs without bounds checks. See arrays.pyx."""

cdef extern from "array_look.h":
    ctypedef struct Look:
        char *start
        Py_ssize_t rows, cols
        int ndim
        char code
        bint plain, writable
    Look look_at(object array)  # of a numpy.ndarray and nothing else

ctypedef fused real:
    float
    double

cdef struct Span:  # a checked C-contiguous array, as C sees it
    void *start
    Py_ssize_t rows
    Py_ssize_t cols  # 1 for a vector
    bint wide  # float64, else float32

cdef object F32, F64, INT64, BOOL, empty

cdef object floats(object array, str name, int ndim)
cdef object floats_like(object array, str name, int ndim, bint wide)
cdef object doubles(object array, str name, int ndim)
cdef object integers(object array, str name)
cdef object flags(object array, str name, int ndim)
cdef int span(Span *out, object array, str name, int ndim, bint writable=*) except -1
cdef int expect(str name, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t want_rows, Py_ssize_t want_cols) except -1
cdef int apart(Span *a, str a_name, Span *b, str b_name) except -1
cdef bint is_wide(object array)
cdef int same_vectors(Span *spans, tuple names) except -1

cdef inline void *at(object array) noexcept:
    """Where the elements of a checked array begin."""
    return look_at(array).start
