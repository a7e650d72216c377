"""Adam on flat vectors."""

from libc.math cimport pow

from minirl._core.compiled.arrays cimport ANY, AS_IT_IS, EITHER_FLOAT, IN_PLACE, SAME, VECTOR, Array, apart, take


cdef extern from "adam.h" nogil:
    ctypedef struct AdamStep:
        double rate, correct, beta1, rest1, beta2, rest2, eps, scale
    void adam_step(bint wide, void *theta, const void *grad, void *m, void *v, Py_ssize_t n, const AdamStep *step)


def adam(theta, grad, m, v, t, double lr, double beta1, double beta2, double eps, double scale):
    """One Adam step down the gradient (Kingma & Ba, 2015), in place on θ, m, v (n,); t = 1 for the first step.

    g = scale · grad;  m ← β₁ m + (1−β₁) g;  v ← β₂ v + (1−β₂) g²;
    θ ← θ − lr · m̂ / (√v̂ + ε),  m̂ = m/(1−β₁ᵗ), v̂ = v/(1−β₂ᵗ)
    """
    cdef Array theta_, grad_, m_, v_
    cdef double left1 = 1 - pow(beta1, t), left2 = 1 - pow(beta2, t)
    take(&theta_, theta, "theta", EITHER_FLOAT | IN_PLACE, ANY, VECTOR)
    take(&grad_, grad, "grad", theta_.code | SAME | AS_IT_IS, theta_.rows, VECTOR)
    take(&m_, m, "m", theta_.code | SAME | IN_PLACE, theta_.rows, VECTOR)
    take(&v_, v, "v", theta_.code | SAME | IN_PLACE, theta_.rows, VECTOR)
    apart([&theta_, &grad_, &m_, &v_], ("theta", "grad", "m", "v"))
    if not (left1 != 0 and left2 != 0):
        raise ValueError(f"t must count from 1 and beta1, beta2 be below 1, not t={t}, beta1={beta1}, beta2={beta2}")
    cdef AdamStep step = AdamStep(lr / left1, 1 / left2, beta1, 1 - beta1, beta2, 1 - beta2, eps, scale)
    adam_step(theta_.wide, theta_.start, grad_.start, m_.start, v_.start, theta_.rows, &step)
