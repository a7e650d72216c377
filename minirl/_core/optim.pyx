"""Adam, norms and the vector algebra of conjugate gradients on flat vectors, and what stands between an observation and a network."""

from libc.math cimport pow, sqrt

from minirl._core.checks cimport F32, F64, Span, apart, doubles, empty, expect, floats, span


cdef extern from "optim_kernels.h" nogil:
    void adam_float(float *, const float *, float *, float *, Py_ssize_t, float, float, float, float, float, float, float, float)
    void adam_double(
        double *, const double *, double *, double *, Py_ssize_t, double, double, double, double, double, double, double, double)
    void standardize_float(const float *, const double *, const double *, float *, Py_ssize_t, Py_ssize_t, double)
    void standardize_double(const double *, const double *, const double *, double *, Py_ssize_t, Py_ssize_t, double)
    void standardize_narrow(const double *, const double *, const double *, float *, Py_ssize_t, Py_ssize_t, double)
    bint all_finite_float(const void *, Py_ssize_t)
    bint all_finite_double(const void *, Py_ssize_t)
    double squares_float(const float *, Py_ssize_t)
    double squares_double(const double *, Py_ssize_t)
    void cg_move(double *, double *, const double *, const double *, Py_ssize_t, double)
    void cg_turn(double *, const double *, Py_ssize_t, double)


cdef int same_vectors(Span *spans, tuple names) except -1:
    """Vectors of one length and one type that do not overlap."""
    cdef Py_ssize_t i, j
    for i in range(len(names)):
        expect(names[i], spans[i].rows, -1, spans[0].rows, -1)
        if spans[i].wide != spans[0].wide:
            raise TypeError(f"{names[i]} must hold {F64 if spans[0].wide else F32} as {names[0]} does")
        for j in range(i):
            apart(&spans[i], names[i], &spans[j], names[j])
    return 0


def adam(theta, grad, m, v, t, double lr, double beta1, double beta2, double eps, double scale):
    """One Adam step down the gradient (Kingma & Ba, 2015), in place on θ, m, v (n,); t = 1 for the first step.

    g = scale · grad;  m ← β₁ m + (1−β₁) g;  v ← β₂ v + (1−β₂) g²;  θ ← θ − lr · m̂ / (√v̂ + ε),  m̂ = m/(1−β₁ᵗ), v̂ = v/(1−β₂ᵗ)
    """
    cdef Span s[4]
    cdef double left1 = 1 - pow(beta1, t), left2 = 1 - pow(beta2, t)
    cdef double rate, correct
    span(&s[0], theta, "theta", 1, True)
    span(&s[1], grad, "grad", 1)
    span(&s[2], m, "m", 1, True)
    span(&s[3], v, "v", 1, True)
    same_vectors(s, ("theta", "grad", "m", "v"))
    if not (left1 != 0 and left2 != 0):
        raise ValueError(f"t must count from 1 and beta1, beta2 be below 1, not t={t}, beta1={beta1}, beta2={beta2}")
    rate, correct = lr / left1, 1 / left2
    if s[0].wide:
        adam_double(<double *> s[0].start, <const double *> s[1].start, <double *> s[2].start, <double *> s[3].start, s[0].rows,
                    rate, correct, beta1, 1 - beta1, beta2, 1 - beta2, eps, scale)
    else:
        adam_float(<float *> s[0].start, <const float *> s[1].start, <float *> s[2].start, <float *> s[3].start, s[0].rows,
                   <float> rate, <float> correct, <float> beta1, <float> (1 - beta1), <float> beta2, <float> (1 - beta2), <float> eps,
                   <float> scale)


def global_norm(grad):
    """‖g‖₂ of a flat vector, summed in float64 -> float."""
    cdef Span s
    grad = floats(grad, "grad", 1)
    span(&s, grad, "grad", 1)
    return sqrt(squares_double(<const double *> s.start, s.rows) if s.wide else squares_float(<const float *> s.start, s.rows))


def cg_step(x, residual, direction, image, double rr, double curvature):
    """The vector algebra of one conjugate-gradient iteration, in place on float64 vectors (n,); returns the new rᵀr.   [TR-8]

    α = rᵀr / pᵀAp;  x ← x + α p;  r ← r − α Ap;  p ← r + (r'ᵀr' / rᵀr) p        with image = Ap, curvature = pᵀAp
    """
    cdef Span s[4]
    cdef double rr_new
    span(&s[0], x, "x", 1, True)
    span(&s[1], residual, "residual", 1, True)
    span(&s[2], direction, "direction", 1, True)
    span(&s[3], image, "image", 1)
    if not s[0].wide:
        raise TypeError(f"x must hold float64, not {x.dtype}")
    same_vectors(s, ("x", "residual", "direction", "image"))
    if rr == 0 or curvature == 0:
        raise ZeroDivisionError(f"conjugate gradients have ended: rr={rr}, curvature={curvature}")
    cg_move(<double *> s[0].start, <double *> s[1].start, <const double *> s[2].start, <const double *> s[3].start, s[0].rows,
            rr / curvature)  # [TR-8]
    rr_new = squares_double(<const double *> s[1].start, s[1].rows)
    cg_turn(<double *> s[2].start, <const double *> s[1].start, s[2].rows, rr_new / rr)
    return rr_new


def standardize(x, mean, inv_std, double limit, bint narrow=False):
    """(x − mean) · inv_std in float64, cut at ±limit: x (N, D), mean and inv_std (D,) -> (N, D) in x's type, or float32 if `narrow`."""
    cdef Span s[4]
    x, mean, inv_std = floats(x, "x", 2), doubles(mean, "mean", 1), doubles(inv_std, "inv_std", 1)
    span(&s[0], x, "x", 2)
    span(&s[1], mean, "mean", 1)
    span(&s[2], inv_std, "inv_std", 1)
    expect("mean", s[1].rows, -1, s[0].cols, -1)
    expect("inv_std", s[2].rows, -1, s[0].cols, -1)
    out = empty((s[0].rows, s[0].cols), F64 if s[0].wide and not narrow else F32)
    span(&s[3], out, "out", 2)
    if s[0].wide and narrow:
        standardize_narrow(<const double *> s[0].start, <const double *> s[1].start, <const double *> s[2].start, <float *> s[3].start,
                           s[0].rows, s[0].cols, limit)
    elif s[0].wide:
        standardize_double(<const double *> s[0].start, <const double *> s[1].start, <const double *> s[2].start, <double *> s[3].start,
                           s[0].rows, s[0].cols, limit)
    else:
        standardize_float(<const float *> s[0].start, <const double *> s[1].start, <const double *> s[2].start, <float *> s[3].start,
                          s[0].rows, s[0].cols, limit)
    return out


def narrow(x):
    """x (N, D) float64 as float32; a number too large for it becomes infinite."""
    cdef Span s, out
    cdef Py_ssize_t i
    x = doubles(x, "x", 2)
    span(&s, x, "x", 2)
    y = empty((s.rows, s.cols), F32)
    span(&out, y, "y", 2)
    for i in range(s.rows * s.cols):
        (<float *> out.start)[i] = <float> (<const double *> s.start)[i]
    return y


def all_finite(x):
    """True when no entry of a float array is NaN or infinite."""
    cdef Span s
    if getattr(x, "ndim", 1) == 2:
        x = floats(x, "x", 2)
        span(&s, x, "x", 2)
    else:
        x = floats(x.reshape(-1) if getattr(x, "ndim", 1) != 1 else x, "x", 1)
        span(&s, x, "x", 1)
    return all_finite_double(s.start, s.rows * s.cols) if s.wide else all_finite_float(s.start, s.rows * s.cols)
