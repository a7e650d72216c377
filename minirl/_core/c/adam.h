/* Adam's step on flat vectors. */
#if defined(REAL)

#if defined(REAL_IS_DOUBLE)
#define ROOT sqrt
#else
#define ROOT sqrtf
#endif

/* m ← β₁ m + (1−β₁) g, v ← β₂ v + (1−β₂) g², θ ← θ − rate · m / (√(v · correct) + ε) with g = scale · grad */
EACH_WIDTH static void NAME(adam)(REAL *restrict theta, const REAL *restrict grad, REAL *restrict m, REAL *restrict v,
    ptrdiff_t n, REAL rate, REAL correct, REAL beta1, REAL rest1, REAL beta2, REAL rest2, REAL eps, REAL scale)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        const REAL g = grad[i] * scale;
        m[i] = m[i] * beta1 + rest1 * g;
        v[i] = v[i] * beta2 + rest2 * g * g;
        theta[i] -= rate * m[i] / (ROOT(v[i] * correct) + eps);
    }
}
#undef ROOT

#elif !defined(MINIRL_ADAM_H)
#define MINIRL_ADAM_H

#include <math.h>
#include <stddef.h>

#include "each_width.h"

#define EACH_TYPE "adam.h"
#include "each_type.h"

typedef struct { /* rest1 is 1 − β₁, rest2 is 1 − β₂, correct is 1 / (1 − β₂ᵗ) */
    double rate, correct, beta1, rest1, beta2, rest2, eps, scale;
} AdamStep;

/* The four vectors (n,) are of one type. */
static inline void adam_step(int wide, void *theta, const void *grad, void *m, void *v, ptrdiff_t n, const AdamStep *s)
{
    if (wide)
        adam_double(theta, grad, m, v, n, s->rate, s->correct, s->beta1, s->rest1, s->beta2, s->rest2, s->eps,
            s->scale);
    else
        adam_float(theta, grad, m, v, n, (float)s->rate, (float)s->correct, (float)s->beta1, (float)s->rest1,
            (float)s->beta2, (float)s->rest2, (float)s->eps, (float)s->scale);
}

#endif
