/* The matrix product, C = A·B (+ bias) or C += A·B: the specification, and all that the passes of a network rest on.
 *
 * It is standard C and what runs where the compiler has no vector types; MINIRL_SIMD=-1 builds it everywhere. Elsewhere
 * product_tiled.h computes the same sums, faster; it may round differently (FMA, and where C is added). Whoever wants
 * to know what is computed can stop reading here.
 *
 * Read by one_type.h, once per REAL and ISA, not on its own. */

typedef struct {
    ptrdiff_t rows, cols, depth;   /* C is rows × cols, k runs to depth */
    const REAL *a;                 /* A[i][k] = a[i·a_row + k·a_step] */
    ptrdiff_t a_row, a_step;
    const REAL *b;                 /* B[k][j] = b[k·b_row + j]; a line can be read up to a whole number of vectors */
    ptrdiff_t b_row;
    const REAL *bias;              /* where every row's sums begin, as long as a line of B; NULL: at 0, as with add */
    REAL *c;
    ptrdiff_t c_row;
    int add;                       /* 1: C += the sums, 0: C = the sums */
    REAL *room;                    /* aligned, for one panel of B: depth lines of TILE_VECS vectors */
} NAME(matmul);

#if !defined(VEC_BYTES)

/* Each entry is one sum over k in rising order; a line of C at a time, for the compiler to make vectors of. */
static void NAME(product)(NAME(matmul) p)
{
    for (ptrdiff_t i = 0; i < p.rows; i++) {
        REAL *restrict c = p.c + i * p.c_row;
        if (!p.add)
            for (ptrdiff_t j = 0; j < p.cols; j++) c[j] = p.bias ? p.bias[j] : 0;
        for (ptrdiff_t k = 0; k < p.depth; k++) {
            const REAL number = p.a[i * p.a_row + k * p.a_step], *restrict line = p.b + k * p.b_row;
            for (ptrdiff_t j = 0; j < p.cols; j++) c[j] += number * line[j];
        }
    }
}

#endif
