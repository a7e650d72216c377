"""PPO's clipped surrogate and the squared error of V, each in one pass. Formulas: reference/losses.py."""

from libc.math cimport INFINITY
from libc.stdint cimport int64_t

from minirl._core.compiled.arrays cimport ANY, EITHER_FLOAT, FLOAT64, INT64, SAME, VECTOR, Array, new_array, real, take
from minirl._core.compiled.elementary cimport exp_each
from minirl._core.compiled.scores cimport (
    categorical_entropies, categorical_score, expect_actions, gaussian_entropies, gaussian_score)


cdef double surrogate(const real *logp, const real *logp_old, const double *adv, const double *w, double clip,
                      double dual, Py_ssize_t N, real *dlogp, real *ratio) noexcept nogil:
    """The loss; dlogp may be logp itself."""
    cdef double loss = 0, plain, clipped, least, slope
    cdef real low = <real> (1 - clip), high = <real> (1 + clip), r
    cdef Py_ssize_t n
    for n in range(N):
        ratio[n] = logp[n] - logp_old[n]
    exp_each(ratio, N)  # r_n  [IS-2]
    for n in range(N):
        r = ratio[n]
        r = low if r < low else r
        r = high if r > high else r
        plain, clipped = ratio[n] * adv[n], r * adv[n]  # [PPO-2]
        least, slope = plain, adv[n]  # [PPO-1, PPO-3]; NaN is kept
        if clipped < plain:
            least, slope = clipped, 0
        if adv[n] < 0 and least < dual * adv[n]:
            least, slope = dual * adv[n], 0
        loss -= w[n] * least
        dlogp[n] = 0 if slope == 0 else <real> (-w[n] * slope * ratio[n])  # [IS-5]
    return loss


def surrogate_loss(logp, logp_old, adv, w, double clip, dual=None):
    """−Σ_n w_n min(r A, clip(r, 1−ε, 1+ε) A), its gradient in log π_n (N,), and r (N,).  [PPO-1]"""
    cdef double loss, c = INFINITY if dual is None else dual
    cdef Array p, old, adv_, w_, dlogp_, ratio_
    logp = take(&p, logp, "logp", EITHER_FLOAT, ANY, VECTOR)
    logp_old = take(&old, logp_old, "logp_old", p.code | SAME, p.rows, VECTOR)
    adv = take(&adv_, adv, "adv", FLOAT64, p.rows, VECTOR)
    w = take(&w_, w, "w", FLOAT64, p.rows, VECTOR)
    dlogp, ratio = new_array(&dlogp_, p.code, p.rows, VECTOR), new_array(&ratio_, p.code, p.rows, VECTOR)
    if p.wide:
        loss = surrogate(<const double *> p.start, <const double *> old.start, <const double *> adv_.start,
                         <const double *> w_.start, clip, c, p.rows, <double *> dlogp_.start, <double *> ratio_.start)
    else:
        loss = surrogate(<const float *> p.start, <const float *> old.start, <const double *> adv_.start,
                         <const double *> w_.start, clip, c, p.rows, <float *> dlogp_.start, <float *> ratio_.start)
    return loss, dlogp, ratio


cdef double policy_loss(const real *phi, const void *action, bint categorical, Py_ssize_t N, Py_ssize_t P,
                        const real *logp_old, const double *adv, const double *w, double clip, double dual,
                        double ent_coef, real *dphi, real *ratio, real *rest) noexcept nogil:
    """The loss, its gradient in φ and r. rest: scratch (N, P), for 1/σ and then ∇H, and (N,) behind it."""
    cdef real *dlogp = rest + N * P  # log π, its gradient, H
    cdef double loss
    cdef real share
    cdef Py_ssize_t n, k
    if categorical:
        categorical_score(phi, <const int64_t *> action, N, P, dlogp, dphi)
    else:
        gaussian_score(phi, <const real *> action, N, P // 2, dlogp, dphi, rest)
    loss = surrogate(<const real *> dlogp, logp_old, adv, w, clip, dual, N, dlogp, ratio)
    for n in range(N):
        for k in range(P):
            dphi[n * P + k] *= dlogp[n]
    if ent_coef == 0:
        return loss
    if categorical:
        categorical_entropies(phi, N, P, dlogp, rest)
    else:
        gaussian_entropies(phi, N, P // 2, dlogp, rest)
    for n in range(N):
        share = <real> (ent_coef * w[n])
        loss -= ent_coef * w[n] * dlogp[n]  # [PPO-7]
        for k in range(P):
            dphi[n * P + k] -= share * rest[n * P + k]
    return loss


def policy_surrogate(phi, action, logp_old, adv, w, double clip, dual, double ent_coef, str family):
    """−Σ_n w_n (min(r A, clip(r, 1−ε, 1+ε) A) + c_H H), its gradient in φ (N, P), and r (N,).  [PPO-1, PPO-7]"""
    cdef double loss, c = INFINITY if dual is None else dual
    cdef bint categorical = family == "categorical"
    cdef Array p, a, old, adv_, w_, dphi_, ratio_, rest_
    if not categorical and family != "gaussian":
        raise ValueError(f"family must be 'categorical' or 'gaussian', not {family!r}")
    phi = take(&p, phi, "phi", EITHER_FLOAT, ANY, ANY)
    if p.cols == 0 or not categorical and p.cols % 2:
        raise ValueError(
            f"phi must hold logits, or a log σ for each μ of a 'gaussian', not {p.cols} numbers in each row")
    if categorical:
        action = take(&a, action, "action", INT64, p.rows, VECTOR)
        expect_actions(<const int64_t *> a.start, p.rows, p.cols)
    else:
        action = take(&a, action, "action", p.code | SAME, p.rows, p.cols // 2)
    logp_old = take(&old, logp_old, "logp_old", p.code | SAME, p.rows, VECTOR)
    adv = take(&adv_, adv, "adv", FLOAT64, p.rows, VECTOR)
    w = take(&w_, w, "w", FLOAT64, p.rows, VECTOR)
    dphi, ratio = new_array(&dphi_, p.code, p.rows, p.cols), new_array(&ratio_, p.code, p.rows, VECTOR)
    _scratch = new_array(&rest_, p.code, p.rows, 1 + p.cols)
    if p.wide:
        loss = policy_loss(<const double *> p.start, a.start, categorical, p.rows, p.cols, <const double *> old.start,
                           <const double *> adv_.start, <const double *> w_.start, clip, c, ent_coef,
                           <double *> dphi_.start, <double *> ratio_.start, <double *> rest_.start)
    else:
        loss = policy_loss(<const float *> p.start, a.start, categorical, p.rows, p.cols, <const float *> old.start,
                           <const double *> adv_.start, <const double *> w_.start, clip, c, ent_coef,
                           <float *> dphi_.start, <float *> ratio_.start, <float *> rest_.start)
    return loss, dphi, ratio


cdef double squared(
    const double *w, const real *value, const double *target, Py_ssize_t N, real *dvalue,
) noexcept nogil:
    cdef double loss = 0, error
    cdef Py_ssize_t n
    for n in range(N):
        error = value[n] - target[n]
        loss += w[n] * (error * error)
        dvalue[n] = <real> (2 * w[n] * error)  # [PPO-8]
    return loss


def squared_loss(w, value, target):
    """Σ_n w_n (V_n − V̂_n)², no ½, and its gradient in V (N,).  [PPO-8]"""
    cdef double loss
    cdef Array v, w_, target_, dvalue_
    value = take(&v, value, "value", EITHER_FLOAT, ANY, VECTOR)
    w = take(&w_, w, "w", FLOAT64, v.rows, VECTOR)
    target = take(&target_, target, "target", FLOAT64, v.rows, VECTOR)
    dvalue = new_array(&dvalue_, v.code, v.rows, VECTOR)
    if v.wide:
        loss = squared(<const double *> w_.start, <const double *> v.start, <const double *> target_.start, v.rows,
                       <double *> dvalue_.start)
    else:
        loss = squared(<const double *> w_.start, <const float *> v.start, <const double *> target_.start, v.rows,
                       <float *> dvalue_.start)
    return loss, dvalue
