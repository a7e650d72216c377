/* The product of product_plain.h, in vectors: C is cut into tiles that stay in registers while k runs.
 *
 *                           j ─→  TILE_VECS vectors of LANES numbers
 *                          ┌───────────┬───────────┐
 *                 line k   │ B[k][j …] │           │      read once for all rows of the tile,
 *                          └───────────┴───────────┘      then the next line: k = 0 … depth − 1
 *              column k
 *            ┌───────────┐ ┌───────────┬───────────┐
 *         i  │ A[i][k]   │ │ sum[0]    │ sum[1]    │      sum += A[i][k] · B[k][j …]:
 *         │  │ A[i+1][k] │ │ sum[2]    │ sum[3]    │      one number of A is spread over a vector
 *         ↓  │ …         │ │ …         │ …         │      and multiplied into each vector of the line
 *            └───────────┘ └───────────┴───────────┘
 *             TILE_ROWS     one tile of C: TILE_ROWS × TILE_VECS registers, written when k has run
 *
 * Tiles below each other make a panel, panels side by side make C: product() goes over panels, panel() over tiles. What
 * is left at the lower edge is a tile with fewer rows, what is left at the right edge one with fewer vectors, the last
 * of them stored in part.
 *
 * Read by one_type.h, once per REAL and ISA, not on its own. */

typedef REAL NAME(vec) __attribute__((vector_size(VEC_BYTES), aligned(sizeof(REAL)), may_alias));
#define VEC NAME(vec)

/* The end of a line of C, where less than a vector is left, in halves, quarters, …: a masked store is slow on some
 * processors. */
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

/* One tile of C, rows × vecs vectors, with its upper left corner at (i, j). rows and vecs are constants at every call:
 * the loops over them vanish and `sum` lives in registers. */
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
MLP_INLINE TARGET void NAME(last_tile)(const NAME(matmul) *p, const int vecs, ptrdiff_t i, ptrdiff_t j,
    const REAL *b, ptrdiff_t b_row)
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

/* All rows of C, vecs vectors wide. A single vector leaves registers free for twice the rows, and needs them to hide
 * the latency. */
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
    const int dense = p.b_row * sizeof(REAL) < MLP_PACK_STRIDE && (uintptr_t)p.b % VEC_BYTES == 0;
    if (p.rows < MLP_PACK_ROWS || dense) p.room = NULL;
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

#undef VEC
