/* What a NumPy array is, read from its own struct: some 5 ns, where the buffer protocol takes 300, and 700 for an array seen for the first
 * time. Only fields that NumPy's headers publish, none of its functions, so that nothing is imported and any NumPy from 1.26 on will do. */
#ifndef MINIRL_ARRAY_LOOK_H
#define MINIRL_ARRAY_LOOK_H

#include <Python.h>
#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include <numpy/ndarraytypes.h>

typedef struct {
    char *start;
    Py_ssize_t rows, cols; /* of a matrix; cols is 1 for a vector, both are 1 for a number */
    int ndim;
    char code;             /* 'f', 'd', '?' or 'q' (any signed 64-bit integer) in native byte order; 0 for the rest */
    char plain, writable;  /* C-contiguous and aligned; may be written to */
} Look;

static char element_code(const PyArray_Descr *type)
{
    if (type->byteorder == NPY_OPPBYTE) return 0;
    switch (type->type_num) {
    case NPY_FLOAT: return 'f';
    case NPY_DOUBLE: return 'd';
    case NPY_BOOL: return '?';
    case NPY_INT: return sizeof(int) == 8 ? 'q' : 0;
    case NPY_LONG: return sizeof(long) == 8 ? 'q' : 0;
    case NPY_LONGLONG: return 'q';
    default: return 0;
    }
}

/* array: an instance of numpy.ndarray, which the caller has made sure of. */
static Look look_at(PyObject *array)
{
    PyArrayObject *a = (PyArrayObject *)array;
    const int flags = PyArray_FLAGS(a), ndim = PyArray_NDIM(a);
    const npy_intp *shape = PyArray_DIMS(a);
    return (Look){(char *)PyArray_DATA(a), ndim > 0 ? shape[0] : 1, ndim > 1 ? shape[1] : 1, ndim, element_code(PyArray_DESCR(a)),
        (flags & NPY_ARRAY_C_CONTIGUOUS) && (flags & NPY_ARRAY_ALIGNED), (flags & NPY_ARRAY_WRITEABLE) != 0};
}

#endif
