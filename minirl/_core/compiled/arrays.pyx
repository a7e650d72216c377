"""How an array enters a kernel.

Every array that a kernel is given goes through `take`, every array that it makes comes from `new_array`. Both fill in
an `Array`, which is all that the loops see: never None, a short, misaligned, byte-swapped or read-only array, and after
`apart` no two that overlap. The usual case costs one look at NumPy's own struct, about 5 ns.
"""

import numpy as np

cdef extern from "array.h" nogil:
    void look_at(Array *a, object array)
    bint array_fits(const Array *a, int kind, Py_ssize_t cols)
    bint arrays_overlap(const Array *a, const Array *b)

cdef object F32 = np.dtype(np.float32), F64 = np.dtype(np.float64), I64 = np.dtype(np.int64), FLAG = np.dtype(np.bool_)
cdef object NDARRAY = np.ndarray, empty = np.empty
cdef object ARRAYS = (np.ndarray, np.memmap)  # not their subclasses: a masked array has a mask that no kernel would see

cdef dict DTYPES = {FLOAT32: (F32,), FLOAT64: (F64,), EITHER_FLOAT: (F32, F64), INT64: (I64,), BOOL: (FLAG,)}
# the kinds of dtype that are converted, by what is asked for
cdef dict WIDENED = {FLOAT64: "fiub", INT64: "iu", BOOL: "biu"}
cdef dict WIDENED_NAMES = {FLOAT64: "real numbers", INT64: "integers", BOOL: "booleans"}


cdef object take(Array *a, object array, str name, int kind, Py_ssize_t rows, Py_ssize_t cols):
    """Fills in `a` and returns the array it describes, which the caller must hold for as long as it uses `a`.

    That is `array` itself, or a copy where only the layout (strides, alignment) or a narrower type is in the way and
    `kind` allows it. Anything else is a TypeError or ValueError that names the argument.
    kind: an element type with flags, see array.h; rows, cols: the shape, ANY for any number, cols = VECTOR for (rows,).
    """
    if type(array) is NDARRAY:
        look_at(a, array)
        if not array_fits(a, kind, cols):
            array = fitted(a, array, name, kind, cols)
    else:
        array = fitted(a, array, name, kind, cols)
    if (rows != a.rows and rows != ANY) or (cols != a.cols and cols >= 0):
        refuse_shape(array, name, rows, cols)
    return array


cdef object fitted(Array *a, object array, str name, int kind, Py_ssize_t cols):
    """The slow path of `take`: a copy in the kernel's layout, or the error that says what is wrong."""
    code = kind & 0xff
    exact, dtypes = code not in WIDENED or kind & (SAME | AS_IT_IS), DTYPES[code]
    holds = " or ".join(map(str, dtypes)) if exact else WIDENED_NAMES[code]
    if type(array) not in ARRAYS:
        raise TypeError(f"{name} must be a NumPy array of {holds}, not {type(array).__name__}")
    dtype = array.dtype
    if dtype not in dtypes if exact else dtype.kind not in WIDENED[code] or dtype.itemsize > 8:
        raise TypeError(f"{name} must hold {holds}{' as the first array does' if kind & SAME else ''}, not {dtype}")
    if not kind & FOLDED and array.ndim != (1 if cols == VECTOR else 2):
        dimensions = "1 dimension" if cols == VECTOR else "2 dimensions"
        raise ValueError(f"{name} must have {dimensions}, not the shape {array.shape}")
    if kind & AS_IT_IS:
        refuse_layout(array, name, kind)
    else:
        array = np.require(array, dtype if exact else dtypes[0], "CAE")
    look_at(a, array)
    return array


cdef int refuse_shape(object array, str name, Py_ssize_t rows, Py_ssize_t cols) except -1:
    """Says which shape was asked for."""
    cdef list wanted = ["any" if size == ANY else str(size) for size in (rows, cols)]
    shape = f"{wanted[0]}," if cols == VECTOR else ", ".join(wanted)
    raise ValueError(f"{name} must have shape ({shape}), not {array.shape}")


cdef int refuse_layout(object array, str name, int kind) except -1:
    """An array that cannot be copied must lie in memory as the kernel wants it."""
    if not (array.flags.c_contiguous and array.flags.aligned):
        raise ValueError(
            f"{name} must be C-contiguous and aligned, has shape {array.shape} and strides {array.strides}")
    if (kind & IN_PLACE) == IN_PLACE and not array.flags.writeable:
        raise ValueError(f"{name} must be writable, not read-only")
    return 0


cdef object new_array(Array *a, char code, Py_ssize_t rows, Py_ssize_t cols):
    """A new array (rows, cols), or (rows,) for VECTOR, not filled: a result or scratch. Hold it while `a` is used."""
    dtype = F64 if code == FLOAT64 else F32 if code == FLOAT32 else I64 if code == INT64 else FLAG
    array = empty(rows, dtype) if cols == VECTOR else empty((rows, cols), dtype)
    look_at(a, array)
    return array


cdef int apart(const Array **arrays, tuple names) except -1:
    """No two have a byte in common."""
    cdef Py_ssize_t i, j
    for i in range(len(names)):
        for j in range(i):
            if arrays_overlap(arrays[i], arrays[j]):
                raise ValueError(f"{names[j]} and {names[i]} must not overlap")
    return 0
