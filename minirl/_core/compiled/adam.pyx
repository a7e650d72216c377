"""Adam on flat vectors."""

from libc.math cimport pow

from minirl._core.compiled.arrays cimport Span, same_vectors, span


cdef extern from "adam.h" nogil:
    void adam_float(float *, const float *, float *, float *, Py_ssize_t, float, float, float, float, float, float, float, float)
    void adam_double(
        double *, const double *, double *, double *, Py_ssize_t, double, double, double, double, double, double, double, double)


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
