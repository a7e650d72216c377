/* What a kernel knows of a NumPy array, read from the array's own struct: some 5 ns, where the buffer protocol takes
 * 300, and 700 for an array seen for the first time. Only fields that NumPy's headers publish, none of its functions,
 * so that nothing is imported and any NumPy from 1.26 on will do. Arrays enter by `take` of arrays.pyx alone. */
#ifndef MINIRL_ARRAY_H
#define MINIRL_ARRAY_H

#include <Python.h>
#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include <numpy/ndarraytypes.h>

typedef struct {
    void *start;
    Py_ssize_t rows, cols; /* cols: numbers to a row, 1 for a vector; both are 1 where there is no dimension */
    int ndim;
    char code;             /* 'f', 'd', '?' or 'q' (any signed 64-bit integer) in native byte order; 0 for the rest */
    char wide;             /* 1 float64, else 0 */
    char plain, writable;  /* C-contiguous and aligned; may be written to */
} Array;

/* What `take` is asked for: an element type, with any of the flags. */
enum {
    FLOAT32 = 'f',
    FLOAT64 = 'd',      /* narrower real numbers are widened */
    EITHER_FLOAT = 'r', /* float32 or float64, kept as it is */
    INT64 = 'q',        /* narrower integers are widened */
    BOOL = '?',         /* integers are true where they are not 0 */
    SAME = 0x100,       /* the type of the call's first array: nothing is widened */
    AS_IT_IS = 0x200,   /* no copy, neither of another type nor of another layout */
    IN_PLACE = 0x600,   /* AS_IT_IS, and written to */
    FOLDED = 0x800      /* any number of dimensions: all behind the first are one row */
};
enum { ANY = -1, VECTOR = -2 }; /* for rows and cols: any number; one dimension */

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

/* object: an instance of numpy.ndarray, which the caller has made sure of. */
static inline void look_at(Array *a, PyObject *object)
{
    PyArrayObject *array = (PyArrayObject *)object;
    const int flags = PyArray_FLAGS(array);
    const npy_intp *shape = PyArray_DIMS(array);
    a->start = PyArray_DATA(array);
    a->ndim = PyArray_NDIM(array);
    a->rows = a->ndim > 0 ? shape[0] : 1;
    a->cols = a->ndim > 1 ? shape[1] : 1;
    for (int i = 2; i < a->ndim; i++) a->cols *= shape[i];
    a->code = element_code(PyArray_DESCR(array));
    a->wide = a->code == 'd';
    a->plain = (flags & NPY_ARRAY_C_CONTIGUOUS) && (flags & NPY_ARRAY_ALIGNED);
    a->writable = (flags & NPY_ARRAY_WRITEABLE) != 0;
}

/* Whether a kernel can take it as it is, but for its shape. */
static inline int array_fits(const Array *a, int kind, Py_ssize_t cols)
{
    const char code = (char)(kind & 0xff);
    return (a->code == code || (code == EITHER_FLOAT && (a->code == 'd' || a->code == 'f'))) && a->plain
        && (a->writable || (kind & IN_PLACE) != IN_PLACE) && ((kind & FOLDED) || a->ndim == (cols == VECTOR ? 1 : 2));
}

/* Whether two arrays have a byte in common. */
static inline int arrays_overlap(const Array *a, const Array *b)
{
    const char *a_start = (const char *)a->start, *b_start = (const char *)b->start;
    const Py_ssize_t a_bytes = a->rows * a->cols * (a->code == 'f' ? 4 : a->code == '?' ? 1 : 8);
    const Py_ssize_t b_bytes = b->rows * b->cols * (b->code == 'f' ? 4 : b->code == '?' ? 1 : 8);
    return a_bytes && b_bytes && a_start < b_start + b_bytes && b_start < a_start + a_bytes;
}

#endif
