"""Argument checks, so that a kernel never sees None, a short, misaligned, byte-swapped or read-only array, or two arrays that overlap.

A wrapper passes each argument through one of these and then takes a typed memoryview or a `Span`. What is only laid out differently
(strides, alignment, a narrower type where float64 is asked) is copied into the layout the kernel wants; anything else is a TypeError or
ValueError that names the argument. The usual case costs one look at the buffer, about 30 ns.
"""

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer

import numpy as np

F32, F64, INT64, BOOL = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64), np.dtype(np.bool_)
empty = np.empty

cdef object ARRAYS = (np.ndarray, np.memmap)  # not their subclasses: a masked array has a mask that a kernel would not see
cdef object NDARRAY = np.ndarray


cdef char element(Py_buffer *view) noexcept:
    """'f', 'd', '?' or 'q' (any signed 64-bit integer) for what the kernels take in native byte order, 0 for the rest."""
    cdef const char *code = <const char *> view.format
    if code == NULL or code[0] == 0 or code[1] != 0:
        return 0
    if code[0] in (c'l', c'q', c'i') and view.itemsize == 8:
        return c'q'
    return code[0] if code[0] in (c'f', c'd', c'?') else 0


cdef bint contiguous(Py_buffer *view, int ndim) noexcept:
    """C-contiguous, aligned, and of that many dimensions."""
    cdef Py_ssize_t step = view.itemsize
    cdef int i
    if view.ndim != ndim or step <= 0 or <size_t> view.buf % <size_t> step:
        return False
    for i in range(ndim - 1, -1, -1):
        if view.shape[i] > 1 and view.strides[i] != step:
            return False
        step *= view.shape[i]
    return True


cdef char ready(object array, int ndim) noexcept:
    """The element code of a plain array that a kernel can take as it is, else 0."""
    cdef Py_buffer view
    cdef char code
    if type(array) is not NDARRAY:
        return 0
    try:
        PyObject_GetBuffer(array, &view, PyBUF_STRIDES | PyBUF_FORMAT)
    except (ValueError, BufferError):  # an element type that has no buffer code
        return 0
    code = element(&view)
    if code and not contiguous(&view, ndim):
        code = 0
    PyBuffer_Release(&view)
    return code


cdef object laid_out(object array, str name, int ndim, object dtype, str kinds, str wanted):
    """The slow path: a copy in the kernel's layout, or the error that says what is wrong."""
    if type(array) not in ARRAYS:
        raise TypeError(f"{name} must be a NumPy array of {wanted}, not {type(array).__name__}")
    if array.dtype.kind not in kinds or array.dtype.itemsize > 8:
        raise TypeError(f"{name} must hold {wanted}, not {array.dtype}")
    if array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimension{'s' if ndim > 1 else ''}, not the shape {array.shape}")
    return np.require(array, dtype, "CAE")


cdef object floats(object array, str name, int ndim):
    """float32 or float64, kept as it is."""
    if ready(array, ndim) in (c'f', c'd'):
        return array
    dtype = getattr(array, "dtype", None)
    if type(array) in ARRAYS and dtype != F32 and dtype != F64:
        raise TypeError(f"{name} must hold float32 or float64, not {dtype}")
    return laid_out(array, name, ndim, dtype, "f", "float32 or float64")


cdef object floats_like(object array, str name, int ndim, bint wide):
    """The element type that the call's first array has."""
    if ready(array, ndim) == (c'd' if wide else c'f'):
        return array
    array = floats(array, name, ndim)
    if is_wide(array) != wide:
        raise TypeError(f"{name} must hold {F64 if wide else F32} as the first argument does, not {array.dtype}")
    return array


cdef object doubles(object array, str name, int ndim):
    """float64; narrower real numbers are widened."""
    return array if ready(array, ndim) == c'd' else laid_out(array, name, ndim, F64, "fiub", "real numbers")


cdef object integers(object array, str name):
    """A vector of int64; narrower integers are widened, floats refused."""
    return array if ready(array, 1) == c'q' else laid_out(array, name, 1, INT64, "iu", "integers")


cdef object flags(object array, str name, int ndim):
    """bool; integers are taken as true where they are not 0."""
    return array if ready(array, ndim) == c'?' else laid_out(array, name, ndim, BOOL, "biu", "booleans")


cdef bint is_wide(object array):
    """float64 rather than float32, of an array that floats() has passed."""
    return array.itemsize == 8


cdef int span(Span *out, object array, str name, int ndim, bint writable=False) except -1:
    """Where a float array is, with no copy: for arrays changed in place, and for what a kernel reads by pointer.

    The buffer is given back at once: the caller's reference keeps the array alive, and NumPy resizes no array that is referred to.
    """
    cdef Py_buffer view
    cdef char code
    cdef bint good
    if type(array) not in ARRAYS:
        raise TypeError(f"{name} must be a NumPy array of float32 or float64, not {type(array).__name__}")
    try:
        PyObject_GetBuffer(array, &view, PyBUF_STRIDES | PyBUF_FORMAT | (PyBUF_WRITABLE if writable else 0))
    except (ValueError, BufferError) as refused:
        raise ValueError(f"{name} cannot be used: {refused}") from None
    code = element(&view)
    good = contiguous(&view, ndim)
    out.start = view.buf
    out.rows = view.shape[0] if view.ndim > 0 else 1
    out.cols = view.shape[1] if view.ndim > 1 else 1
    out.wide = code == c'd'
    PyBuffer_Release(&view)
    if not good:
        raise ValueError(
            f"{name} must be C-contiguous and aligned with {ndim} dimension(s), has shape {array.shape} and strides {array.strides}")
    if code != c'd' and code != c'f':
        raise TypeError(f"{name} must hold float32 or float64, not {array.dtype}")
    return 0


cdef int expect(str name, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t want_rows, Py_ssize_t want_cols) except -1:
    """Exactly this shape; for a vector want_cols is −1."""
    if rows != want_rows or cols != want_cols:
        wanted, got = [want_rows, want_cols], [rows, cols]
        if want_cols < 0:
            del wanted[1], got[1]
        raise ValueError(f"{name} must have shape {tuple(wanted)}, not {tuple(got)}")
    return 0


cdef int apart(Span *a, str a_name, Span *b, str b_name) except -1:
    """No byte in common."""
    cdef size_t a_start = <size_t> a.start, b_start = <size_t> b.start
    cdef size_t a_bytes = <size_t> (a.rows * a.cols * (8 if a.wide else 4)), b_bytes = <size_t> (b.rows * b.cols * (8 if b.wide else 4))
    if a_start < b_start + b_bytes and b_start < a_start + a_bytes and a_bytes and b_bytes:
        raise ValueError(f"{a_name} and {b_name} must not overlap")
    return 0
