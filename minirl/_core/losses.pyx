"""PPO's clipped surrogate and the squared error of V, each in one pass over a minibatch. Formulas: reference_losses.py."""

from libc.math cimport INFINITY

from minirl._core.checks cimport F32, F64, doubles, empty, expect, floats, floats_like, is_wide, real
from minirl._core.real cimport exp_row


cdef object surrogate(const real[::1] logp, const real[::1] logp_old, const double[::1] adv, const double[::1] w, double clip, double dual):
    cdef Py_ssize_t N = logp.shape[0], n
    cdef double loss = 0, plain, clipped, least, slope
    cdef real low = <real> (1 - clip), high = <real> (1 + clip), r
    expect("logp_old", logp_old.shape[0], -1, N, -1)
    expect("adv", adv.shape[0], -1, N, -1)
    expect("w", w.shape[0], -1, N, -1)
    dtype = F32 if real is float else F64
    ratios, gradient = empty(N, dtype), empty(N, dtype)
    cdef real[::1] ratio = ratios, dlogp = gradient
    for n in range(N):
        ratio[n] = logp[n] - logp_old[n]
    exp_row(ratio)  # r_n                                                                                           [IS-2]
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
    return loss, gradient, ratios


def surrogate_loss(logp, logp_old, adv, w, double clip, dual=None):
    """−Σ_n w_n min(r A, clip(r, 1−ε, 1+ε) A), its gradient in log π_n (N,), and r (N,).                           [PPO-1]"""
    cdef double c = INFINITY if dual is None else dual
    logp, adv, w = floats(logp, "logp", 1), doubles(adv, "adv", 1), doubles(w, "w", 1)
    logp_old = floats_like(logp_old, "logp_old", 1, is_wide(logp))
    if is_wide(logp):
        return surrogate[double](logp, logp_old, adv, w, clip, c)
    return surrogate[float](logp, logp_old, adv, w, clip, c)


cdef object squared(const double[::1] w, const real[::1] value, const double[::1] target):
    cdef Py_ssize_t N = value.shape[0], n
    cdef double loss = 0, error
    expect("w", w.shape[0], -1, N, -1)
    expect("target", target.shape[0], -1, N, -1)
    gradient = empty(N, F32 if real is float else F64)
    cdef real[::1] dvalue = gradient
    for n in range(N):
        error = value[n] - target[n]
        loss += w[n] * (error * error)
        dvalue[n] = <real> (2 * w[n] * error)  # [PPO-8]
    return loss, gradient


def squared_loss(w, value, target):
    """Σ_n w_n (V_n − V̂_n)², no ½, and its gradient in V (N,).                                                     [PPO-8]"""
    value, w, target = floats(value, "value", 1), doubles(w, "w", 1), doubles(target, "target", 1)
    return squared[double](w, value, target) if is_wide(value) else squared[float](w, value, target)
