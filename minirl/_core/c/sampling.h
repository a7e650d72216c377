/* Actions from the parameters of a distribution and random numbers, row by row; `NULL` for the random numbers asks for the likeliest. */
#ifndef MINIRL_SAMPLING_H
#define MINIRL_SAMPLING_H

#include <stddef.h>
#include <stdint.h>

#include "exp.h"

/* The action whose stretch of the cumulative distribution holds u; e: scratch (rows, K). K − 1 remains when there is NaN; a rounded sum may
 * stay at the threshold: then the last possible action stands. */
#define CATEGORICAL_ROWS(real)                                                                                                           \
    static void categorical_rows_##real(const real *phi, const double *u, int64_t *action, double *e, ptrdiff_t rows, ptrdiff_t K)        \
    {                                                                                                                                     \
        for (ptrdiff_t n = 0; n < rows; n++) {                                                                                            \
            const real *logit = phi + n * K;                                                                                              \
            real top = logit[0];                                                                                                          \
            action[n] = 0;                                                                                                                \
            for (ptrdiff_t k = 1; k < K; k++)                                                                                             \
                if (!(logit[k] <= top) && top == top) { /* the first NaN is the top, and stays it */                                      \
                    top = logit[k];                                                                                                       \
                    action[n] = k;                                                                                                        \
                }                                                                                                                         \
            if (u)                                                                                                                        \
                for (ptrdiff_t k = 0; k < K; k++) e[n * K + k] = (double)logit[k] - top;                                                  \
        }                                                                                                                                 \
        if (!u) return;                                                                                                                   \
        exp_each_double(e, rows * K);                                                                                                     \
        for (ptrdiff_t n = 0; n < rows; n++, e += K) {                                                                                    \
            double total = 0, cdf = 0;                                                                                                    \
            for (ptrdiff_t k = 0; k < K; k++) total += e[k];                                                                              \
            action[n] = K - 1;                                                                                                            \
            for (ptrdiff_t k = 0; k < K; k++) {                                                                                           \
                cdf += e[k];                                                                                                              \
                if (e[k] > 0) action[n] = k;                                                                                              \
                if (cdf > u[n] * total) break;                                                                                            \
            }                                                                                                                             \
        }                                                                                                                                 \
    }
CATEGORICAL_ROWS(float)
CATEGORICAL_ROWS(double)

/* a = μ + σ z */
#define GAUSSIAN_ROWS(real)                                                                                                              \
    static void gaussian_rows_##real(const real *phi, const double *z, real *action, ptrdiff_t rows, ptrdiff_t d)                         \
    {                                                                                                                                     \
        for (ptrdiff_t n = 0; n < rows; n++)                                                                                              \
            for (ptrdiff_t i = 0; i < d; i++) action[n * d + i] = phi[n * 2 * d + (z ? d : 0) + i];                                       \
        if (!z) return;                                                                                                                   \
        exp_each_##real(action, rows * d);                                                                                                \
        for (ptrdiff_t n = 0; n < rows; n++)                                                                                              \
            for (ptrdiff_t i = 0; i < d; i++)                                                                                             \
                action[n * d + i] = phi[n * 2 * d + i] + action[n * d + i] * (real)z[n * d + i];                                          \
    }
GAUSSIAN_ROWS(float)
GAUSSIAN_ROWS(double)

#endif
