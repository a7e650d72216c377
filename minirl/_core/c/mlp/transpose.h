/* Wᵀ, for the backward pass: dX = dY·Wᵀ then reads contiguous lines like every other product. The second function is
 * what is computed; the first does a square of it at a time in registers. Read by one_type.h, not on its own. */

#if defined(MLP_SHUFFLE)
typedef REAL NAME(quad) __attribute__((vector_size(16), aligned(sizeof(REAL)), may_alias));
#define QUAD NAME(quad)
#define SIDE ((int)(16 / sizeof(REAL)))
#if defined(REAL_IS_DOUBLE)
#define ZIP(x, y, high) __builtin_shufflevector(x, y, 0 + high, 2 + high)
#else
#define ZIP(x, y, high) __builtin_shufflevector(x, y, 0 + 2 * high, 4 + 2 * high, 1 + 2 * high, 5 + 2 * high)
#endif

/* The transpose of one square: to interleave its upper lines with its lower, log₂ SIDE times over. */
MLP_INLINE TARGET void NAME(transpose_square)(const REAL *from, ptrdiff_t from_row, REAL *to, ptrdiff_t to_row)
{
    QUAD line[SIDE], next[SIDE];
    MLP_UNROLL for (int i = 0; i < SIDE; i++) line[i] = *(const QUAD *)(from + i * from_row);
    MLP_UNROLL for (int done = 1; done < SIDE; done *= 2) {
        MLP_UNROLL for (int i = 0; i < SIDE / 2; i++) {
            next[2 * i] = ZIP(line[i], line[i + SIDE / 2], 0);
            next[2 * i + 1] = ZIP(line[i], line[i + SIDE / 2], 1);
        }
        MLP_UNROLL for (int i = 0; i < SIDE; i++) line[i] = next[i];
    }
    MLP_UNROLL for (int i = 0; i < SIDE; i++) *(QUAD *)(to + i * to_row) = line[i];
}
#endif

/* Wᵀ (out, PADDED(in)) with zeros behind each line, from W (in, out) */
static TARGET void NAME(transpose)(const REAL *w, ptrdiff_t in, ptrdiff_t out, REAL *transposed)
{
    const ptrdiff_t row = PADDED(in), side = 16 / sizeof(REAL);
    for (ptrdiff_t j = 0; j < out; j += side) {
        const ptrdiff_t end = j + side < out ? j + side : out;
        ptrdiff_t k = 0;
#if defined(MLP_SHUFFLE)
        if (end - j == side)
            for (; k + side <= in; k += side)
                NAME(transpose_square)(w + k * out + j, out, transposed + j * row + k, row);
#endif
        for (; k < row; k++)
            for (ptrdiff_t i = j; i < end; i++) transposed[i * row + k] = k < in ? w[k * out + i] : 0;
    }
}

#undef QUAD
#undef SIDE
#undef ZIP
