/* x ← eˣ and x ← eˣ − 1 over a vector, without a branch, so that the compiler can take many at once (libm takes them one by one).
 *
 *     x = n ln 2 + r,  |r| ≤ ½ ln 2,      eˣ = 2ⁿ eʳ,      eˣ − 1 = 2ⁿ (eʳ − 1) + (2ⁿ − 1)
 * eʳ − 1 by its Taylor series (the first term left out is below an eighth of the last bit). n is rounded by adding a number so large that no
 * binary place is left for a fraction: n then stands in its lowest bits, from where a shift moves it into the exponent of 2ⁿ.
 * Within 1.1 units in the last place. NaN stays NaN; −∞ gives 0; too large gives +∞; eˣ is right down to the smallest subnormal. */
#ifndef MINIRL_EXP_H
#define MINIRL_EXP_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "each_width.h"

#if defined(__GNUC__)
#define EXP_INLINE static inline __attribute__((always_inline))
#else
#define EXP_INLINE static inline
#endif

EXP_INLINE float two_to_float(float shifted) /* 2ⁿ from n + 1.5·2²³ */
{
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127) << 23;
    memcpy(&shifted, &bits, sizeof bits);
    return shifted;
}

EXP_INLINE double two_to_double(double shifted) /* 2ⁿ from n + 1.5·2⁵² */
{
    uint64_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 1023) << 52;
    memcpy(&shifted, &bits, sizeof bits);
    return shifted;
}

/* eʳ − 1 and n of one x */
EXP_INLINE float reduced_float(float x, float *n)
{
    *n = (x * 1.44269504f + 12582912.0f) - 12582912.0f;
    const float r = (x - *n * 0.693359375f) + *n * 2.12194440e-4f;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    return r + r * r * p;
}

EXP_INLINE double reduced_double(double x, double *n)
{
    *n = (x * 1.4426950408889634 + 6755399441055744.0) - 6755399441055744.0;
    const double r = (x - *n * 6.93147180369123816490e-01) - *n * 1.90821492927058770002e-10;
    double p = 1.0 / 6227020800.0;
    p = p * r + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    return r + r * r * p;
}

/* 2ⁿ is taken in two halves: 2ⁿ itself may be too large or too small for the type where eˣ is not. */
#define EXP_LOOPS(real, big, lowest, highest)                                                                                            \
    EACH_WIDTH static void exp_each_##real(real *x, ptrdiff_t count)                                                                      \
    {                                                                                                                                     \
        for (ptrdiff_t i = 0; i < count; i++) {                                                                                           \
            real n, y = x[i];                                                                                                             \
            y = y < lowest ? lowest : y;                                                                                                  \
            y = y > highest ? highest : y;                                                                                                \
            y = 1 + reduced_##real(y, &n);                                                                                                \
            const real half = n * (real)0.5 + big;                                                                                        \
            x[i] = y * two_to_##real(half) * two_to_##real((n - (half - big)) + big);                                                     \
        }                                                                                                                                 \
    }                                                                                                                                     \
    EACH_WIDTH static void expm1_each_##real(real *x, ptrdiff_t count) /* for |x| ≤ 80, where 2ⁿ is in range */                           \
    {                                                                                                                                     \
        for (ptrdiff_t i = 0; i < count; i++) {                                                                                           \
            real n;                                                                                                                       \
            const real y = reduced_##real(x[i], &n), power = two_to_##real(n + big);                                                      \
            x[i] = power * y + (power - 1);                                                                                               \
        }                                                                                                                                 \
    }
EXP_LOOPS(float, 12582912.0f, -104.0f, 89.0f)
EXP_LOOPS(double, 6755399441055744.0, -746.0, 710.0)

#endif
