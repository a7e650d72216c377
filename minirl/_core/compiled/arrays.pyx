"""Argument checks, so that a kernel never sees None, a short, misaligned, byte-swapped or read-only array, or two arrays that overlap.

A wrapper passes each argument through one of these and then takes a typed memoryview or a `Span`. What is only laid out differently
(strides, alignment, a narrower type where float64 is asked) is copied into the layout the kernel wants; anything else is a TypeError or
ValueError that names the argument. The usual case costs one look at the array's struct, about 5 ns.
"""

import numpy as np

F32, F64, INT64, BOOL = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64), np.dtype(np.bool_)
empty = np.empty

cdef object ARRAYS = (np.ndarray, np.memmap)  # not their subclasses: a masked array has a mask that a kernel would not see
cdef object NDARRAY = np.ndarray


cdef char ready(object array, int ndim) noexcept:
    """The element code of a plain array that a kernel can take as it is, else 0."""
    if type(array) is not NDARRAY:
        return 0
    cdef Look seen = look_at(array)
    return seen.code if seen.plain and seen.ndim == ndim else 0


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
    return look_at(array).code == c'd'


cdef int span(Span *out, object array, str name, int ndim, bint writable=False) except -1:
    """Where a float array is, with no copy: for arrays changed in place, and for what a kernel reads by pointer.

    The caller's reference keeps the array alive, and NumPy resizes no array that is referred to (unless called with refcheck=False).
    """
    if type(array) is not NDARRAY and type(array) not in ARRAYS:
        raise TypeError(f"{name} must be a NumPy array of float32 or float64, not {type(array).__name__}")
    cdef Look seen = look_at(array)
    out.start, out.rows, out.cols, out.wide = seen.start, seen.rows, seen.cols, seen.code == c'd'
    if not seen.plain or seen.ndim != ndim:
        raise ValueError(
            f"{name} must be C-contiguous and aligned with {ndim} dimension(s), has shape {array.shape} and strides {array.strides}")
    if seen.code != c'd' and seen.code != c'f':
        raise TypeError(f"{name} must hold float32 or float64, not {array.dtype}")
    if writable and not seen.writable:
        raise ValueError(f"{name} cannot be used: it is read-only")
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


cdef int same_vectors(Span *spans, tuple names) except -1:
    """Vectors of one length and one type that do not overlap."""
    cdef Py_ssize_t i, j
    for i in range(len(names)):
        expect(names[i], spans[i].rows, -1, spans[0].rows, -1)
        if spans[i].wide != spans[0].wide:
            raise TypeError(f"{names[i]} must hold {F64 if spans[0].wide else F32} as {names[0]} does")
        for j in range(i):
            apart(&spans[i], names[i], &spans[j], names[j])
    return 0
