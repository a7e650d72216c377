/* Norms of flat vectors, and the preprocessing of observations. */
#if defined(REAL)

/* out = (x − mean) · inv_std in double, cut at ±limit; rows × cols */
EACH_WIDTH static void NAME(standardize)(const REAL *restrict x, const double *restrict mean,
    const double *restrict inv_std, REAL *restrict out, ptrdiff_t rows, ptrdiff_t cols, double limit)
{
    for (ptrdiff_t n = 0; n < rows; n++, x += cols, out += cols)
        for (ptrdiff_t j = 0; j < cols; j++) out[j] = (REAL)cut(((double)x[j] - mean[j]) * inv_std[j], limit);
}

#if defined(REAL_IS_DOUBLE)
#define BITS uint64_t
#define EXPONENT 0x7ff0000000000000u
#else
#define BITS uint32_t
#define EXPONENT 0x7f800000u
#endif

/* An exponent of all ones is NaN or infinity: integers, so that no compiler option can assume it away. */
EACH_WIDTH static int NAME(all_finite)(const void *x, ptrdiff_t n)
{
    const BITS *bits = (const BITS *)x;
    BITS bad = 0;
    for (ptrdiff_t i = 0; i < n; i++) bad |= (bits[i] & EXPONENT) == EXPONENT;
    return !bad;
}
#undef BITS
#undef EXPONENT

/* Σ x² in double: eight sums side by side, added in one fixed order */
EACH_WIDTH static double NAME(squares)(const REAL *x, ptrdiff_t n)
{
    double sum[8] = {0};
    ptrdiff_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int lane = 0; lane < 8; lane++) sum[lane] += (double)x[i + lane] * (double)x[i + lane];
    for (; i < n; i++) sum[i % 8] += (double)x[i] * (double)x[i];
    return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
}

#elif !defined(MINIRL_VECTORS_H)
#define MINIRL_VECTORS_H

#include <stddef.h>
#include <stdint.h>

#include "each_width.h"

ALWAYS_INLINE double cut(double z, double limit) /* into [−limit, limit]; NaN is kept */
{
    z = z < -limit ? -limit : z;
    return z > limit ? limit : z;
}

#define EACH_TYPE "vectors.h"
#include "each_type.h"

/* Observations of a float64 space for a float32 network */
EACH_WIDTH static void standardize_to_narrow(const double *restrict x, const double *restrict mean,
    const double *restrict inv_std, float *restrict out, ptrdiff_t rows, ptrdiff_t cols, double limit)
{
    for (ptrdiff_t n = 0; n < rows; n++, x += cols, out += cols)
        for (ptrdiff_t j = 0; j < cols; j++) out[j] = (float)cut((x[j] - mean[j]) * inv_std[j], limit);
}

/* x and out: float64 where `wide` and `out_wide` say so; out is never the wider. */
static inline void standardize_rows(int wide, int out_wide, const void *x, const double *mean, const double *inv_std,
    void *out, ptrdiff_t rows, ptrdiff_t cols, double limit)
{
    if (wide && !out_wide)
        standardize_to_narrow(x, mean, inv_std, out, rows, cols, limit);
    else
        BY_TYPE(wide, standardize, x, mean, inv_std, out, rows, cols, limit);
}

static inline int finite_numbers(int wide, const void *x, ptrdiff_t n) { return BY_TYPE(wide, all_finite, x, n); }

static inline double sum_of_squares(int wide, const void *x, ptrdiff_t n) { return BY_TYPE(wide, squares, x, n); }

#endif
