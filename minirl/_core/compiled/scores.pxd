"""log π(a|s) and H of the families that compiled calls know, each with its gradient in φ; rows lie in sequence."""

from libc.stdint cimport int64_t

from minirl._core.compiled.arrays cimport real
from minirl._core.compiled.elementary cimport exp_each, log_

cdef extern from "kernel_limits.h":
    const double LOG_STD_LIMIT

cdef extern from *:
    """
    static const double HALF_LOG_2PI = 0.91893853320467274178;
    """
    const double HALF_LOG_2PI


cdef inline int expect_actions(const int64_t *action, Py_ssize_t N, Py_ssize_t K) except -1:
    """N actions in 0..K−1."""
    cdef Py_ssize_t n
    for n in range(N):
        if not 0 <= action[n] < K:
            raise ValueError(f"action must be in 0..{K - 1}, but action[{n}] is {action[n]}")
    return 0


cdef inline real top_of(const real *logit, Py_ssize_t K) noexcept nogil:
    """The largest logit of a row."""
    cdef real top = logit[0]
    cdef Py_ssize_t k
    for k in range(1, K):
        if logit[k] > top:
            top = logit[k]
    return top


cdef inline void weigh(const real *phi, Py_ssize_t N, Py_ssize_t K, real *e) noexcept nogil:
    """e = exp(φ − top) (N, K): p but for its sum."""
    cdef Py_ssize_t n, k
    cdef real top
    for n in range(N):
        top = top_of(phi + n * K, K)
        for k in range(n * K, (n + 1) * K):
            e[k] = phi[k] - top
    exp_each(e, N * K)


cdef inline void categorical_score(
    const real *phi, const int64_t *action, Py_ssize_t N, Py_ssize_t K, real *logp, real *dphi,
) noexcept nogil:
    """log π = φ_a − log Σ e^φ (N,) and 1[k = a] − p_k (N, K); actions are in 0..K−1."""
    cdef Py_ssize_t n, k
    cdef real total, scale
    weigh(phi, N, K, dphi)
    for n in range(N):
        total = 0
        for k in range(K):
            total += dphi[k]
        logp[n] = (phi[action[n]] - top_of(phi, K)) - log_(total)
        scale = -1 / total
        for k in range(K):
            dphi[k] *= scale
        dphi[action[n]] += 1
        phi += K
        dphi += K


cdef inline void categorical_entropies(
    const real *phi, Py_ssize_t N, Py_ssize_t K, real *entropy, real *dphi,
) noexcept nogil:
    """H = −Σ p log p (N,) and −p_k (log p_k + H) (N, K); log p + H = (φ − top) − its mean: the normaliser cancels."""
    cdef Py_ssize_t n, k
    cdef real top, total, mean
    weigh(phi, N, K, dphi)
    for n in range(N):
        top, total, mean = top_of(phi, K), 0, 0
        for k in range(K):
            total += dphi[k]
            if dphi[k] != 0:
                mean += dphi[k] * (phi[k] - top)
        mean /= total
        entropy[n] = log_(total) - mean
        for k in range(K):
            if dphi[k] != 0:
                dphi[k] *= (mean - (phi[k] - top)) / total
        phi += K
        dphi += K


cdef inline real saturated(real log_std) noexcept nogil:
    """log σ cut at ±LOG_STD_LIMIT; NaN is kept."""
    if log_std > LOG_STD_LIMIT:
        return LOG_STD_LIMIT
    return -LOG_STD_LIMIT if log_std < -LOG_STD_LIMIT else log_std


cdef inline real moves(real log_std) noexcept nogil:
    """1 where log σ is not saturated, 0 beyond the limit."""
    return 1 if -LOG_STD_LIMIT <= log_std <= LOG_STD_LIMIT else 0


cdef inline void gaussian_score(
    const real *phi, const real *action, Py_ssize_t N, Py_ssize_t d, real *logp, real *dphi, real *inv_std,
) noexcept nogil:
    """log N(a; μ, σ²) (N,), its gradient [z/σ, z² − 1] (N, 2d) with z = (a − μ)/σ; inv_std: scratch (N, d)."""
    cdef Py_ssize_t n, i
    cdef real total, z, minus_half = -0.5, constant = HALF_LOG_2PI
    for n in range(N):
        for i in range(d):
            inv_std[n * d + i] = -saturated(phi[2 * n * d + d + i])
    exp_each(inv_std, N * d)
    for n in range(N):
        total = 0
        for i in range(d):
            z = (action[i] - phi[i]) * inv_std[i]
            total += minus_half * z * z - saturated(phi[d + i]) - constant
            dphi[i] = z * inv_std[i]
            dphi[d + i] = (z * z - 1) * moves(phi[d + i])
        logp[n] = total
        phi += 2 * d
        dphi += 2 * d
        action += d
        inv_std += d


cdef inline void gaussian_entropies(
    const real *phi, Py_ssize_t N, Py_ssize_t d, real *entropy, real *dphi,
) noexcept nogil:
    """H = Σ_i log σ_i + ½ log 2πe (N,) and its gradient, 0 and 1 (N, 2d)."""
    cdef Py_ssize_t n, i
    cdef real total, constant = HALF_LOG_2PI + 0.5
    for n in range(N):
        total = 0
        for i in range(d):
            total += saturated(phi[d + i]) + constant
            dphi[i] = 0
            dphi[d + i] = moves(phi[d + i])
        entropy[n] = total
        phi += 2 * d
        dphi += 2 * d
