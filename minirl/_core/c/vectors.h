/* Norms of flat vectors, and what an observation goes through on its way to the network. */
#ifndef MINIRL_VECTORS_H
#define MINIRL_VECTORS_H

#include <stddef.h>
#include <stdint.h>

#include "each_width.h"

/* (x − mean) · inv_std in double, cut at ±limit; NaN is kept */
#define STANDARDIZE(real, seen, function)                                                                                                   \
    EACH_WIDTH static void function(const real *restrict x, const double *restrict mean, const double *restrict inv_std,                  \
        seen *restrict out, ptrdiff_t rows, ptrdiff_t cols, double limit)                                                                \
    {                                                                                                                                     \
        for (ptrdiff_t n = 0; n < rows; n++, x += cols, out += cols)                                                                      \
            for (ptrdiff_t j = 0; j < cols; j++) {                                                                                        \
                double z = ((double)x[j] - mean[j]) * inv_std[j];                                                                         \
                z = z < -limit ? -limit : z;                                                                                              \
                out[j] = (seen)(z > limit ? limit : z);                                                                                   \
            }                                                                                                                             \
    }
STANDARDIZE(float, float, standardize_float)
STANDARDIZE(double, double, standardize_double)
STANDARDIZE(double, float, standardize_narrow) /* observations of a float64 space for a float32 network */

/* An exponent of all ones is NaN or infinity: integers, so that no compiler option can assume it away. */
EACH_WIDTH static int all_finite_float(const void *x, ptrdiff_t n)
{
    const uint32_t *bits = (const uint32_t *)x;
    uint32_t bad = 0;
    for (ptrdiff_t i = 0; i < n; i++) bad |= (bits[i] & 0x7f800000u) == 0x7f800000u;
    return !bad;
}

EACH_WIDTH static int all_finite_double(const void *x, ptrdiff_t n)
{
    const uint64_t *bits = (const uint64_t *)x, exponent = 0x7ff0000000000000u;
    uint64_t bad = 0;
    for (ptrdiff_t i = 0; i < n; i++) bad |= (bits[i] & exponent) == exponent;
    return !bad;
}

/* Σ x² in double: eight sums side by side, added in one fixed order */
#define SQUARES(real, function)                                                                                                          \
    EACH_WIDTH static double function(const real *x, ptrdiff_t n)                                                                         \
    {                                                                                                                                     \
        double sum[8] = {0};                                                                                                              \
        ptrdiff_t i = 0;                                                                                                                  \
        for (; i + 8 <= n; i += 8)                                                                                                        \
            for (int lane = 0; lane < 8; lane++) sum[lane] += (double)x[i + lane] * (double)x[i + lane];                                  \
        for (; i < n; i++) sum[i % 8] += (double)x[i] * (double)x[i];                                                                     \
        return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));                                         \
    }
SQUARES(float, squares_float)
SQUARES(double, squares_double)

#endif
