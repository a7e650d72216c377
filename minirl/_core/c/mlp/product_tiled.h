/* C = A·B (+ bias), or C += A·B, and the activations, for one REAL at one ISA. Read by both_types.h, not on its own. */

#if defined(VEC_BYTES)
typedef REAL NAME(vec) __attribute__((vector_size(VEC_BYTES), aligned(sizeof(REAL)), may_alias));
#define LANES ((ptrdiff_t)(VEC_BYTES / sizeof(REAL)))
#else
typedef REAL NAME(vec);
#define LANES ((ptrdiff_t)1)
#endif
#define VEC NAME(vec)

typedef struct {
    ptrdiff_t rows, cols, depth;   /* C is rows × cols, k runs to depth */
    const REAL *a;                 /* A[i][k] = a[i·a_row + k·a_step] */
    ptrdiff_t a_row, a_step;
    const REAL *b;                 /* B[k][j] = b[k·b_row + j]; each line can be read up to a whole number of vectors */
    ptrdiff_t b_row;
    const REAL *bias;              /* where every row's sums begin, as long as a line of B; NULL: at 0 */
    REAL *c;
    ptrdiff_t c_row;
    int add;                       /* 1: C += the sums, 0: C = the sums */
    REAL *room;                    /* aligned, for one panel of B: depth lines of TILE_VECS vectors */
} NAME(matmul);

#if defined(VEC_BYTES)

/* The end of a line of C, where less than a vector is left, in halves, quarters, …: a masked store is slow on some processors. */
static TARGET MLP_APART void NAME(store_some)(REAL *c, const VEC *sum, ptrdiff_t left, int add)
{
    REAL some[LANES], *from = some;
    *(VEC *)some = *sum;
    MLP_UNROLL for (ptrdiff_t part = LANES / 2; part > 0; part /= 2)
        if (left & part) {
            for (ptrdiff_t l = 0; l < part; l++) c[l] = add ? c[l] + from[l] : from[l];
            c += part, from += part;
        }
}

/* One tile of C, rows × vecs vectors, with its upper left corner at (i, j). rows and vecs are constants at every call: the loops over them
 * vanish and `sum` lives in registers. */
MLP_INLINE TARGET void NAME(tile)(const NAME(matmul) *p, const int rows, const int vecs, ptrdiff_t i, ptrdiff_t j,
    const REAL *b, ptrdiff_t b_row) /* b: where B[0][j] is, in B or in its copy */
{
    VEC sum[2 * TILE_ROWS * TILE_VECS];
    const ptrdiff_t a_row = p->a_row, a_step = p->a_step, depth = p->depth;
    const REAL *a = p->a + i * a_row;

    MLP_UNROLL for (int v = 0; v < vecs; v++) {
        VEC start = {0};
        if (p->bias) start = *(const VEC *)(p->bias + j + v * LANES);
        MLP_UNROLL for (int r = 0; r < rows; r++) sum[r * vecs + v] = start;
    }
    for (ptrdiff_t k = 0; k < depth; k++, a += a_step, b += b_row) {
        VEC line[2 * TILE_VECS];
        MLP_UNROLL for (int v = 0; v < vecs; v++) line[v] = *(const VEC *)(b + v * LANES);
        MLP_UNROLL for (int r = 0; r < rows; r++) {
            const REAL number = a[r * a_row];
            MLP_UNROLL for (int v = 0; v < vecs; v++) sum[r * vecs + v] += number * line[v];
        }
    }
    const ptrdiff_t left = p->cols - j - (vecs - 1) * LANES; /* numbers of the last vector that belong to C */
    MLP_UNROLL for (int r = 0; r < rows; r++) {
        REAL *c = p->c + (i + r) * p->c_row + j;
        MLP_UNROLL for (int v = 0; v < vecs; v++, c += LANES) {
            if (v == vecs - 1 && left < LANES) {
                const VEC last = sum[r * vecs + v];
                NAME(store_some)(c, &last, left, p->add);
            } else {
                if (p->add) sum[r * vecs + v] += *(VEC *)c;
                *(VEC *)c = sum[r * vecs + v];
            }
        }
    }
}

/* What is left of C from row i on, fewer than TILE_ROWS rows. */
MLP_INLINE TARGET void NAME(last_tile)(const NAME(matmul) *p, const int vecs, ptrdiff_t i, ptrdiff_t j, const REAL *b, ptrdiff_t b_row)
{
    switch (p->rows - i) {
#if TILE_ROWS > 4
    case 5: NAME(tile)(p, 5, vecs, i, j, b, b_row); break;
    case 4: NAME(tile)(p, 4, vecs, i, j, b, b_row); break;
#endif
    case 3: NAME(tile)(p, 3, vecs, i, j, b, b_row); break;
    case 2: NAME(tile)(p, 2, vecs, i, j, b, b_row); break;
    case 1: NAME(tile)(p, 1, vecs, i, j, b, b_row); break;
    }
}

/* All rows of C, vecs vectors wide. A single vector leaves registers free for twice the rows, and needs them to hide the latency. */
MLP_INLINE TARGET void NAME(panel)(const NAME(matmul) *p, const int vecs, ptrdiff_t j)
{
    const int tall = vecs == 1 ? 2 * TILE_ROWS : TILE_ROWS;
    const REAL *b = p->b + j;
    ptrdiff_t b_row = p->b_row, i = 0;
    if (p->room) {
        VEC *line = (VEC *)p->room;
        for (ptrdiff_t k = 0; k < p->depth; k++, b += b_row)
            MLP_UNROLL for (int v = 0; v < vecs; v++) *line++ = *(const VEC *)(b + v * LANES);
        b = p->room, b_row = vecs * LANES;
    }
    for (; i + tall <= p->rows; i += tall) NAME(tile)(p, tall, vecs, i, j, b, b_row);
    for (; i + TILE_ROWS <= p->rows; i += TILE_ROWS) NAME(tile)(p, TILE_ROWS, vecs, i, j, b, b_row);
    NAME(last_tile)(p, vecs, i, j, b, b_row);
}

static TARGET void NAME(product)(NAME(matmul) p)
{
    ptrdiff_t j = 0;
    if (p.rows < PACK_ROWS || (p.b_row * sizeof(REAL) < PACK_STRIDE && (uintptr_t)p.b % VEC_BYTES == 0)) p.room = NULL;
    if (p.rows <= 3) /* so few sums to a vector: more vectors at once hide the latency */
        for (; p.cols - j > (2 * TILE_VECS - 1) * LANES; j += 2 * TILE_VECS * LANES)
            NAME(last_tile)(&p, 2 * TILE_VECS, 0, j, p.b + j, p.b_row);
    for (; j < p.cols; j += TILE_VECS * LANES) {
        switch ((p.cols - j + LANES - 1) / LANES) { /* vectors that are left */
        case 1: NAME(panel)(&p, 1, j); break;
#if TILE_VECS > 2
        case 2: NAME(panel)(&p, 2, j); break;
        case 3: NAME(panel)(&p, 3, j); break;
#endif
        default: NAME(panel)(&p, TILE_VECS, j);
        }
    }
}

#else /* standard C: the same sums in the same order, a line of C at a time, for the compiler to make vectors of */

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

/* tanh as x·P(x²)/Q(x²): interpolates tanh at Chebyshev points up to where it rounds to 1, so that it needs no branch and no exp, and the
 * compiler turns a loop of it into vectors. Relative error below 4e-7 (float; 4 roundings) and 5e-16 (double); |tanh| ≤ 1; NaN stays NaN. */
MLP_INLINE TARGET REAL NAME(tanh)(REAL x)
{
#if defined(REAL_IS_DOUBLE)
    static const double P[] = {1.0, 0.15563008435588743, 0.0065578981058499004, 0.00011684627870992024, 1.0566098723190311e-06,
        5.30089013668552e-09, 1.5361164638417986e-11, 2.58731737455671e-14, 2.4689795486196565e-17, 1.2505003562631293e-20,
        2.9495814018541605e-24, 2.4521125422313819e-28, 3.0221611609873835e-33};
    static const double Q[] = {1.0, 0.48896341768922075, 0.036212370668923494, 0.00096076811137561443, 1.2009928689834537e-05,
        8.0284804861169859e-08, 3.0527879630346838e-10, 6.7522343340083407e-13, 8.606352132061016e-16, 6.0513211200983015e-19,
        2.1389536592299315e-22, 3.1528082498022243e-26, 1.2348066575061847e-30};
    const double limit = 18.8;
    enum { degree = 12 };
#else
    static const float P[] = {9.999999943e-01f, 1.345062027e-01f, 3.578991635e-03f, 2.202323732e-05f, 1.542795885e-08f};
    static const float Q[] = {1.0f, 4.678394827e-01f, 2.619223653e-02f, 3.423649857e-04f, 8.598775089e-07f};
    const float limit = 7.9f;
    enum { degree = 4 };
#endif
    x = x > limit ? limit : x;
    x = x < -limit ? -limit : x;
    const REAL t = x * x;
    REAL p = P[degree], q = Q[degree];
    MLP_UNROLL for (int i = degree - 1; i >= 0; i--) {
        p = p * t + P[i];
        q = q * t + Q[i];
    }
    x = x * p / q;
    x = x > 1 ? 1 : x; /* the last rounding may pass it */
    return x < -1 ? -1 : x;
}

/* h ← σ(h) */
static TARGET void NAME(activate)(REAL *h, ptrdiff_t count, int relu)
{
    if (relu)
        for (ptrdiff_t i = 0; i < count; i++) h[i] = h[i] < 0 ? 0 : h[i];
    else
        for (ptrdiff_t i = 0; i < count; i++) h[i] = NAME(tanh)(h[i]);
}

/* dh ← dh ⊙ σ'(z), the slope from the activation's output h: 1 − h² or 1[h > 0] */
static TARGET void NAME(slope)(REAL *dh, const REAL *h, ptrdiff_t count, int relu)
{
    if (relu)
        for (ptrdiff_t i = 0; i < count; i++) dh[i] *= (REAL)(h[i] > 0);
    else
        for (ptrdiff_t i = 0; i < count; i++) dh[i] *= 1 - h[i] * h[i];
}
