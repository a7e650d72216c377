/* Actions from the parameters of a distribution and random numbers, row by row; `NULL` for the random numbers asks for
 * the most likely. */
#if defined(REAL)

/* The action whose interval of the cumulative distribution contains u; e: scratch (rows, K). K − 1 where there is NaN;
 * a rounded sum may stay at the threshold: then the last possible action. */
static void NAME(categorical_rows)(const REAL *phi, const double *u, int64_t *action, double *e, ptrdiff_t rows,
    ptrdiff_t K)
{
    for (ptrdiff_t n = 0; n < rows; n++) {
        const REAL *logit = phi + n * K;
        REAL top = logit[0];
        action[n] = 0;
        for (ptrdiff_t k = 1; k < K; k++)
            if (!(logit[k] <= top) && top == top) { /* the first NaN is the top, and stays it */
                top = logit[k];
                action[n] = k;
            }
        if (u)
            for (ptrdiff_t k = 0; k < K; k++) e[n * K + k] = (double)logit[k] - top;
    }
    if (!u) return;
    exp_each_double(e, rows * K);
    for (ptrdiff_t n = 0; n < rows; n++, e += K) {
        double total = 0, cdf = 0;
        for (ptrdiff_t k = 0; k < K; k++) total += e[k];
        action[n] = K - 1;
        for (ptrdiff_t k = 0; k < K; k++) {
            cdf += e[k];
            if (e[k] > 0) action[n] = k;
            if (cdf > u[n] * total) break;
        }
    }
}

/* a = μ + σ z */
static void NAME(gaussian_rows)(const REAL *phi, const double *z, REAL *action, ptrdiff_t rows, ptrdiff_t d)
{
    for (ptrdiff_t n = 0; n < rows; n++)
        for (ptrdiff_t i = 0; i < d; i++) action[n * d + i] = phi[n * 2 * d + (z ? d : 0) + i];
    if (!z) return;
    NAME(exp_each)(action, rows * d);
    for (ptrdiff_t n = 0; n < rows; n++)
        for (ptrdiff_t i = 0; i < d; i++)
            action[n * d + i] = phi[n * 2 * d + i] + action[n * d + i] * (REAL)z[n * d + i];
}

#elif !defined(MINIRL_SAMPLING_H)
#define MINIRL_SAMPLING_H

#include <stddef.h>
#include <stdint.h>

#include "exp.h"

#define EACH_TYPE "sampling.h"
#include "each_type.h"

static inline void categorical_actions(int wide, const void *phi, const double *u, int64_t *action, double *e,
    ptrdiff_t rows, ptrdiff_t K)
{
    BY_TYPE(wide, categorical_rows, phi, u, action, e, rows, K);
}

static inline void gaussian_actions(int wide, const void *phi, const double *z, void *action, ptrdiff_t rows,
    ptrdiff_t d)
{
    BY_TYPE(wide, gaussian_rows, phi, z, action, rows, d);
}

#endif
