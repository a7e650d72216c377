/* tanh, and both activations with their slopes. Read by one_type.h, not on its own. */

/* tanh as x·P(x²)/Q(x²): interpolates tanh at Chebyshev points up to where it rounds to 1, so that it needs no branch
 * and no exp, and the compiler turns a loop of it into vectors. Relative error below 4e-7 (float; 4 roundings) and
 * 5e-16 (double); |tanh| ≤ 1; NaN stays NaN. */
MLP_INLINE TARGET REAL NAME(tanh)(REAL x)
{
#if defined(REAL_IS_DOUBLE)
    static const double P[] = {1.0, 0.15563008435588743, 0.0065578981058499004, 0.00011684627870992024,
        1.0566098723190311e-06, 5.30089013668552e-09, 1.5361164638417986e-11, 2.58731737455671e-14,
        2.4689795486196565e-17, 1.2505003562631293e-20, 2.9495814018541605e-24, 2.4521125422313819e-28,
        3.0221611609873835e-33};
    static const double Q[] = {1.0, 0.48896341768922075, 0.036212370668923494, 0.00096076811137561443,
        1.2009928689834537e-05, 8.0284804861169859e-08, 3.0527879630346838e-10, 6.7522343340083407e-13,
        8.606352132061016e-16, 6.0513211200983015e-19, 2.1389536592299315e-22, 3.1528082498022243e-26,
        1.2348066575061847e-30};
    const double limit = 18.8;
    enum { degree = 12 };
#else
    static const float P[] = {9.999999943e-01f, 1.345062027e-01f, 3.578991635e-03f, 2.202323732e-05f, 1.542795885e-08f};
    static const float Q[] = {1.0f, 4.678394827e-01f, 2.619223653e-02f, 3.423649857e-04f, 8.598775089e-07f};
    const float limit = 7.9f;
    enum { degree = 4 };
#endif
    x = x > limit ? limit : x;
    x = x < -limit ? -limit : x;
    const REAL t = x * x;
    REAL p = P[degree], q = Q[degree];
    MLP_UNROLL for (int i = degree - 1; i >= 0; i--) {
        p = p * t + P[i];
        q = q * t + Q[i];
    }
    x = x * p / q;
    x = x > 1 ? 1 : x; /* the last rounding may pass it */
    return x < -1 ? -1 : x;
}

/* h ← σ(h) */
static TARGET void NAME(activate)(REAL *h, ptrdiff_t count, int relu)
{
    if (relu)
        for (ptrdiff_t i = 0; i < count; i++) h[i] = h[i] < 0 ? 0 : h[i];
    else
        for (ptrdiff_t i = 0; i < count; i++) h[i] = NAME(tanh)(h[i]);
}

/* dh ← dh ⊙ σ'(z), the slope from the activation's output h: 1 − h² or 1[h > 0] */
static TARGET void NAME(slope)(REAL *dh, const REAL *h, ptrdiff_t count, int relu)
{
    if (relu)
        for (ptrdiff_t i = 0; i < count; i++) dh[i] *= (REAL)(h[i] > 0);
    else
        for (ptrdiff_t i = 0; i < count; i++) dh[i] *= 1 - h[i] * h[i];
}
