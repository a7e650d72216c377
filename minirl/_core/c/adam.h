/* Adam's step on flat vectors. */
#ifndef MINIRL_ADAM_H
#define MINIRL_ADAM_H

#include <math.h>
#include <stddef.h>

#include "each_width.h"

/* m ← β₁ m + (1−β₁) g, v ← β₂ v + (1−β₂) g², θ ← θ − rate · m / (√(v · correct) + ε) with g = scale · grad */
#define ADAM(real, root, function)                                                                                                       \
    EACH_WIDTH static void function(real *restrict theta, const real *restrict grad, real *restrict m, real *restrict v, ptrdiff_t n,     \
        real rate, real correct, real beta1, real rest1, real beta2, real rest2, real eps, real scale)                                   \
    {                                                                                                                                     \
        for (ptrdiff_t i = 0; i < n; i++) {                                                                                               \
            const real g = grad[i] * scale;                                                                                               \
            m[i] = m[i] * beta1 + rest1 * g;                                                                                              \
            v[i] = v[i] * beta2 + rest2 * g * g;                                                                                          \
            theta[i] -= rate * m[i] / (root(v[i] * correct) + eps);                                                                       \
        }                                                                                                                                 \
    }
ADAM(float, sqrtf, adam_float)
ADAM(double, sqrt, adam_double)

#endif
