/* x ← eˣ and x ← eˣ − 1 over a vector, without a branch, so that the compiler can take many at once (libm takes them
 * one by one).
 *
 *     x = n ln 2 + r,  |r| ≤ ½ ln 2,      eˣ = 2ⁿ eʳ,      eˣ − 1 = 2ⁿ (eʳ − 1) + (2ⁿ − 1)
 * eʳ − 1 by its Taylor series (the first term left out is below an eighth of the last bit). n is rounded by adding a
 * number so large that no binary place is left for a fraction: n then stands in its lowest bits, from where a shift
 * moves it into the exponent of 2ⁿ.
 * Within 1.1 units in the last place. NaN stays NaN; −∞ gives 0; too large gives +∞; eˣ is right down to the smallest
 * subnormal. */
#if defined(REAL)

#if defined(REAL_IS_DOUBLE)
#define BITS uint64_t
#define BIAS 1023
#define MANTISSA 52
#define BIG 6755399441055744.0 /* 1.5·2⁵² */
#define LOWEST -746.0          /* eˣ is 0 below and ∞ above */
#define HIGHEST 710.0
#else
#define BITS uint32_t
#define BIAS 127
#define MANTISSA 23
#define BIG 12582912.0f /* 1.5·2²³ */
#define LOWEST -104.0f
#define HIGHEST 89.0f
#endif

ALWAYS_INLINE REAL NAME(two_to)(REAL shifted) /* 2ⁿ from n + BIG */
{
    BITS bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + BIAS) << MANTISSA;
    memcpy(&shifted, &bits, sizeof bits);
    return shifted;
}

/* eʳ − 1 and n of one x */
ALWAYS_INLINE REAL NAME(reduced)(REAL x, REAL *n)
{
#if defined(REAL_IS_DOUBLE)
    *n = (x * 1.4426950408889634 + BIG) - BIG;
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
#else
    *n = (x * 1.44269504f + BIG) - BIG;
    const float r = (x - *n * 0.693359375f) + *n * 2.12194440e-4f;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
#endif
    return r + r * r * p;
}

/* x ← eˣ. 2ⁿ is taken in two halves: 2ⁿ itself may be too large or too small for the type where eˣ is not. */
EACH_WIDTH static void NAME(exp_each)(REAL *x, ptrdiff_t count)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        REAL n, y = x[i];
        y = y < LOWEST ? LOWEST : y;
        y = y > HIGHEST ? HIGHEST : y;
        y = 1 + NAME(reduced)(y, &n);
        const REAL half = n * (REAL)0.5 + BIG;
        x[i] = y * NAME(two_to)(half) * NAME(two_to)((n - (half - BIG)) + BIG);
    }
}

/* x ← eˣ − 1 for |x| ≤ 80, where 2ⁿ is in range */
EACH_WIDTH static void NAME(expm1_each)(REAL *x, ptrdiff_t count)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        REAL n;
        const REAL y = NAME(reduced)(x[i], &n), power = NAME(two_to)(n + BIG);
        x[i] = power * y + (power - 1);
    }
}

#undef BITS
#undef BIAS
#undef MANTISSA
#undef BIG
#undef LOWEST
#undef HIGHEST

#elif !defined(MINIRL_EXP_H)
#define MINIRL_EXP_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "each_width.h"

#define EACH_TYPE "exp.h"
#include "each_type.h"

#endif
