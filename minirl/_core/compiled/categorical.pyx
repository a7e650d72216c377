"""Categorical distribution over K actions, φ = logits (N, K), float32 or float64.

Each row is shifted by its largest logit, so that nothing overflows; a logit of −∞ is an action of probability 0 and adds nothing to a sum.
e^{φ−top} is taken once, for all rows together: in the result's own rows where p is wanted, else in scratch.
"""

from libc.stdint cimport int64_t

from minirl._core.compiled.arrays cimport (
    F32, F64, INT64, Look, at, doubles, empty, expect, floats, floats_like, integers, is_wide, look_at, real)
from minirl._core.compiled.elementary cimport log_
from minirl._core.compiled.scores cimport categorical_entropies, categorical_score, expect_actions, top_of, weigh


cdef extern from "sampling.h" nogil:
    void categorical_rows_float(const float *, const double *, int64_t *, double *, Py_ssize_t, Py_ssize_t)
    void categorical_rows_double(const double *, const double *, int64_t *, double *, Py_ssize_t, Py_ssize_t)


cdef inline real row_top(const real[:, ::1] phi, Py_ssize_t n) noexcept nogil:
    """The largest logit of row n."""
    return top_of(&phi[n, 0], phi.shape[1])


cdef inline real row_sum(real[:, ::1] e, Py_ssize_t n) noexcept nogil:
    """Σ_k e_k of row n: between 1 and K after weights()."""
    cdef real total = 0
    cdef Py_ssize_t k
    for k in range(e.shape[1]):
        total += e[n, k]
    return total


cdef inline void weights(const real[:, ::1] phi, real[:, ::1] e) noexcept nogil:
    """e = exp(φ − top), row by row: p but for its sum."""
    if phi.shape[0]:
        weigh(&phi[0, 0], phi.shape[0], phi.shape[1], &e[0, 0])


cdef object logits(object phi, str name):
    """φ with at least one action."""
    phi = floats(phi, name, 2)
    if phi.shape[1] == 0:
        raise ValueError(f"{name} must have at least one column (an action), has shape {phi.shape}")
    return phi


# ---------------------------------------------------------------------------------------------------------------- log π


cdef tuple score(object phi, object action):
    """log π (N,) and its gradient (N, K)."""
    cdef Look p, a
    phi, action = logits(phi, "phi"), integers(action, "action")
    p, a = look_at(phi), look_at(action)
    expect_actions(<int64_t *> a.start, a.rows, p.rows, p.cols)
    dtype = phi.dtype
    logp, dphi = empty(p.rows, dtype), empty((p.rows, p.cols), dtype)
    if p.code == c'd':
        categorical_score(<double *> p.start, <int64_t *> a.start, p.rows, p.cols, <double *> at(logp), <double *> at(dphi))
    else:
        categorical_score(<float *> p.start, <int64_t *> a.start, p.rows, p.cols, <float *> at(logp), <float *> at(dphi))
    return logp, dphi


def categorical_log_prob(phi, action):
    """log π(a|s) for logits (N, K) and actions (N,) in 0..K−1 -> (N,)."""
    return score(phi, action)[0]


def categorical_dlog_prob(phi, action):
    """∂ log π(a|s) / ∂φ_k = 1[k = a] − p_k -> (N, K)."""
    return score(phi, action)[1]


# -------------------------------------------------------------------------------------------------------------- entropy


cdef tuple entropies(object phi):
    """H (N,) and its gradient (N, K)."""
    cdef Look p
    phi = logits(phi, "phi")
    p, dtype = look_at(phi), phi.dtype
    entropy, dphi = empty(p.rows, dtype), empty((p.rows, p.cols), dtype)
    if p.code == c'd':
        categorical_entropies(<double *> p.start, p.rows, p.cols, <double *> at(entropy), <double *> at(dphi))
    else:
        categorical_entropies(<float *> p.start, p.rows, p.cols, <float *> at(entropy), <float *> at(dphi))
    return entropy, dphi


def categorical_entropy(phi):
    """H = −Σ p log p -> (N,); a logit of −∞ contributes 0."""
    return entropies(phi)[0]


def categorical_dentropy(phi):
    """∂H/∂φ_k = −p_k (log p_k + H) -> (N, K)."""
    return entropies(phi)[1]


# ----------------------------------------------------------------------------------------------------------- divergence


cdef object kl(const real[:, ::1] phi_old, const real[:, ::1] phi_new):
    cdef Py_ssize_t N = phi_old.shape[0], K = phi_old.shape[1], n, k
    cdef real top_old, top_new, sum_old, log_old, log_new, total, logp, logq
    expect("phi_new", phi_new.shape[0], phi_new.shape[1], N, K)
    dtype = F32 if real is float else F64
    result = empty(N, dtype)
    cdef real[::1] out = result
    cdef real[:, ::1] e_old = empty((N, K), dtype), e_new = empty((N, K), dtype)
    weights(phi_old, e_old)
    weights(phi_new, e_new)
    for n in range(N):
        top_old, top_new, total = row_top(phi_old, n), row_top(phi_new, n), 0
        sum_old = row_sum(e_old, n)
        log_old, log_new = log_(sum_old), log_(row_sum(e_new, n))
        for k in range(K):
            if e_old[n, k] != 0:
                logp, logq = (phi_old[n, k] - top_old) - log_old, (phi_new[n, k] - top_new) - log_new
                total += e_old[n, k] / sum_old * (logp - logq)  # [KL-1]
        out[n] = 0 if total < 0 else total  # NaN is kept
    return result


def categorical_kl(phi_old, phi_new):
    """D(old ‖ new) = Σ p (log p − log q) -> (N,), old first; 0 where p = 0, +∞ where q = 0 < p; rounding below 0 is cut off.    [KL-1]"""
    phi_old = logits(phi_old, "phi_old")
    phi_new = floats_like(phi_new, "phi_new", 2, is_wide(phi_old))
    return kl[double](phi_old, phi_new) if is_wide(phi_old) else kl[float](phi_old, phi_new)


cdef object dkl(const real[:, ::1] phi_old, const real[:, ::1] phi_new):
    cdef Py_ssize_t N = phi_old.shape[0], K = phi_old.shape[1], n, k
    cdef real new, old
    expect("phi_new", phi_new.shape[0], phi_new.shape[1], N, K)
    dtype = F32 if real is float else F64
    result = empty((N, K), dtype)
    cdef real[:, ::1] dphi = result, e_old = empty((N, K), dtype)
    weights(phi_new, dphi)
    weights(phi_old, e_old)
    for n in range(N):
        new, old = 1 / row_sum(dphi, n), 1 / row_sum(e_old, n)
        for k in range(K):
            dphi[n, k] = dphi[n, k] * new - e_old[n, k] * old
    return result


def categorical_dkl(phi_old, phi_new):
    """∂ D(old ‖ new) / ∂φ_new = q − p -> (N, K)."""
    phi_old = logits(phi_old, "phi_old")
    phi_new = floats_like(phi_new, "phi_new", 2, is_wide(phi_old))
    return dkl[double](phi_old, phi_new) if is_wide(phi_old) else dkl[float](phi_old, phi_new)


cdef object fisher_vec(const real[:, ::1] phi, const real[:, ::1] phi_dot):
    cdef Py_ssize_t N = phi.shape[0], K = phi.shape[1], n, k
    cdef real total, mean
    expect("phi_dot", phi_dot.shape[0], phi_dot.shape[1], N, K)
    result = empty((N, K), F32 if real is float else F64)
    cdef real[:, ::1] out = result
    weights(phi, out)
    for n in range(N):
        total, mean = row_sum(out, n), 0
        for k in range(K):
            out[n, k] /= total
            mean += out[n, k] * phi_dot[n, k]
        for k in range(K):
            out[n, k] *= phi_dot[n, k] - mean  # [TR-4]
    return result


def categorical_fisher_vec(phi, phi_dot):
    """F(φ) φ̇ = p ⊙ (φ̇ − p·φ̇) -> (N, K), F = diag(p) − p pᵀ the covariance of the score.                       [TR-4]"""
    phi = logits(phi, "phi")
    phi_dot = floats_like(phi_dot, "phi_dot", 2, is_wide(phi))
    return fisher_vec[double](phi, phi_dot) if is_wide(phi) else fisher_vec[float](phi, phi_dot)


# -------------------------------------------------------------------------------------------------------------- sampling


cdef object sample(const real[:, ::1] phi, const double[::1] u):
    cdef Py_ssize_t N = phi.shape[0], K = phi.shape[1]
    expect("u", u.shape[0], -1, N, -1)
    result = empty(N, INT64)
    if N == 0:
        return result
    cdef int64_t[::1] action = result
    cdef double[:, ::1] e = empty((N, K), F64)
    if real is float:
        categorical_rows_float(&phi[0, 0], &u[0], &action[0], &e[0, 0], N, K)
    else:
        categorical_rows_double(&phi[0, 0], &u[0], &action[0], &e[0, 0], N, K)
    return result


def categorical_sample(phi, u):
    """Inverse-CDF sample: logits (N, K), uniform u (N,) in [0, 1) -> (N,) int64, never an action of probability 0."""
    phi, u = logits(phi, "phi"), doubles(u, "u", 1)
    return sample[double](phi, u) if is_wide(phi) else sample[float](phi, u)
