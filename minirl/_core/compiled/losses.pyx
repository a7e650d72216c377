"""PPO's clipped surrogate and the squared error of V, each in one pass over a minibatch. Formulas: reference/losses.py."""

from libc.math cimport INFINITY
from libc.stdint cimport int64_t

from minirl._core.compiled.arrays cimport Look, at, doubles, empty, expect, floats, floats_like, integers, is_wide, look_at, real
from minirl._core.compiled.elementary cimport exp_each
from minirl._core.compiled.scores cimport categorical_entropies, categorical_score, expect_actions, gaussian_entropies, gaussian_score


cdef double surrogate(const real *logp, const real *logp_old, const double *adv, const double *w, double clip, double dual, Py_ssize_t N,
                      real *dlogp, real *ratio) noexcept nogil:
    """The loss; dlogp may be logp itself."""
    cdef double loss = 0, plain, clipped, least, slope
    cdef real low = <real> (1 - clip), high = <real> (1 + clip), r
    cdef Py_ssize_t n
    for n in range(N):
        ratio[n] = logp[n] - logp_old[n]
    exp_each(ratio, N)  # r_n                                                                                       [IS-2]
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


cdef int same_length(Py_ssize_t N, object logp_old, object adv, object w) except -1:
    """N of each."""
    expect("logp_old", look_at(logp_old).rows, -1, N, -1)
    expect("adv", look_at(adv).rows, -1, N, -1)
    expect("w", look_at(w).rows, -1, N, -1)
    return 0


def surrogate_loss(logp, logp_old, adv, w, double clip, dual=None):
    """−Σ_n w_n min(r A, clip(r, 1−ε, 1+ε) A), its gradient in log π_n (N,), and r (N,).                           [PPO-1]"""
    cdef double loss, c = INFINITY if dual is None else dual
    logp, adv, w = floats(logp, "logp", 1), doubles(adv, "adv", 1), doubles(w, "w", 1)
    logp_old = floats_like(logp_old, "logp_old", 1, is_wide(logp))
    cdef Look p = look_at(logp)
    same_length(p.rows, logp_old, adv, w)
    dlogp, ratio = empty(p.rows, logp.dtype), empty(p.rows, logp.dtype)
    if p.code == c'd':
        loss = surrogate(<double *> p.start, <double *> at(logp_old), <double *> at(adv), <double *> at(w), clip, c, p.rows,
                         <double *> at(dlogp), <double *> at(ratio))
    else:
        loss = surrogate(<float *> p.start, <float *> at(logp_old), <double *> at(adv), <double *> at(w), clip, c, p.rows,
                         <float *> at(dlogp), <float *> at(ratio))
    return loss, dlogp, ratio


cdef double policy_loss(const real *phi, const void *action, bint categorical, Py_ssize_t N, Py_ssize_t P, const real *logp_old,
                        const double *adv, const double *w, double clip, double dual, double ent_coef, real *dphi, real *ratio,
                        real *rest) noexcept nogil:
    """The loss, its gradient in φ and r. rest: scratch (N, P), for 1/σ and then for the gradient of H, and (N,) behind it."""
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
    """−Σ_n w_n (min(r A, clip(r, 1−ε, 1+ε) A) + c_H H), its gradient in φ (N, P), and r (N,).                     [PPO-1, PPO-7]"""
    cdef double loss, c = INFINITY if dual is None else dual
    cdef bint categorical = family == "categorical"
    if not categorical and family != "gaussian":
        raise ValueError(f"family must be 'categorical' or 'gaussian', not {family!r}")
    phi, adv, w = floats(phi, "phi", 2), doubles(adv, "adv", 1), doubles(w, "w", 1)
    logp_old = floats_like(logp_old, "logp_old", 1, is_wide(phi))
    action = integers(action, "action") if categorical else floats_like(action, "action", 2, is_wide(phi))
    cdef Look p = look_at(phi), a = look_at(action)
    if p.cols == 0 or not categorical and p.cols % 2:
        raise ValueError(f"phi must hold logits, or a log σ for each μ of a 'gaussian', not {p.cols} numbers in each row")
    if categorical:
        expect_actions(<int64_t *> a.start, a.rows, p.rows, p.cols)
    else:
        expect("action", a.rows, a.cols, p.rows, p.cols // 2)
    same_length(p.rows, logp_old, adv, w)
    dphi, ratio, rest = empty((p.rows, p.cols), phi.dtype), empty(p.rows, phi.dtype), empty((p.rows, 1 + p.cols), phi.dtype)
    if p.code == c'd':
        loss = policy_loss(<double *> p.start, a.start, categorical, p.rows, p.cols, <double *> at(logp_old), <double *> at(adv),
                           <double *> at(w), clip, c, ent_coef, <double *> at(dphi), <double *> at(ratio), <double *> at(rest))
    else:
        loss = policy_loss(<float *> p.start, a.start, categorical, p.rows, p.cols, <float *> at(logp_old), <double *> at(adv),
                           <double *> at(w), clip, c, ent_coef, <float *> at(dphi), <float *> at(ratio), <float *> at(rest))
    return loss, dphi, ratio


cdef double squared(const double *w, const real *value, const double *target, Py_ssize_t N, real *dvalue) noexcept nogil:
    cdef double loss = 0, error
    cdef Py_ssize_t n
    for n in range(N):
        error = value[n] - target[n]
        loss += w[n] * (error * error)
        dvalue[n] = <real> (2 * w[n] * error)  # [PPO-8]
    return loss


def squared_loss(w, value, target):
    """Σ_n w_n (V_n − V̂_n)², no ½, and its gradient in V (N,).                                                     [PPO-8]"""
    cdef double loss
    value, w, target = floats(value, "value", 1), doubles(w, "w", 1), doubles(target, "target", 1)
    cdef Look v = look_at(value)
    expect("w", look_at(w).rows, -1, v.rows, -1)
    expect("target", look_at(target).rows, -1, v.rows, -1)
    dvalue = empty(v.rows, value.dtype)
    if v.code == c'd':
        loss = squared(<double *> at(w), <double *> v.start, <double *> at(target), v.rows, <double *> at(dvalue))
    else:
        loss = squared(<double *> at(w), <float *> v.start, <double *> at(target), v.rows, <float *> at(dvalue))
    return loss, dvalue
