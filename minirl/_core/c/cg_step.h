/* The two loops of a step of conjugate gradients. */
#ifndef MINIRL_CG_STEP_H
#define MINIRL_CG_STEP_H

#include <math.h>
#include <stddef.h>

#include "each_width.h"

/* x ← x + α p, r ← r − α Ap  [TR-8] */
EACH_WIDTH static void cg_iterate(double *restrict x, double *restrict r, const double *restrict p,
    const double *restrict Ap, ptrdiff_t n, double alpha)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        x[i] += alpha * p[i];
        r[i] -= alpha * Ap[i];
    }
}

/* p ← r + β p  [TR-8] */
EACH_WIDTH static void cg_direction(double *restrict p, const double *restrict r, ptrdiff_t n, double beta)
{
    for (ptrdiff_t i = 0; i < n; i++) p[i] = p[i] * beta + r[i];
}

#endif
