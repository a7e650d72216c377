"""Categorical distribution over K actions, φ = logits (N, K), float32 or float64.

Each row is shifted by its largest logit, so that nothing overflows; a logit of −∞ is an action of probability 0 and
adds nothing to a sum.
e^{φ−top} is taken once, for all rows together: in the result's own rows where p is wanted, else in scratch.
"""

from libc.stdint cimport int64_t

from minirl._core.compiled.arrays cimport ANY, EITHER_FLOAT, FLOAT64, INT64, SAME, VECTOR, Array, new_array, real, take
from minirl._core.compiled.elementary cimport log_
from minirl._core.compiled.scores cimport categorical_entropies, categorical_score, expect_actions, top_of, weigh


cdef extern from "sampling.h" nogil:
    void categorical_actions(
        bint wide, const void *phi, const double *u, int64_t *action, double *e, Py_ssize_t rows, Py_ssize_t K)


cdef inline real sum_of(const real *e, Py_ssize_t K) noexcept nogil:
    """Σ_k e_k of a row: between 1 and K after weigh()."""
    cdef real total = 0
    cdef Py_ssize_t k
    for k in range(K):
        total += e[k]
    return total


cdef object take_logits(Array *phi_, object phi, str name):
    """φ with at least one action."""
    phi = take(phi_, phi, name, EITHER_FLOAT, ANY, ANY)
    if phi_.cols == 0:
        raise ValueError(f"{name} must have at least one column (an action), has shape {phi.shape}")
    return phi


# ---------------------------------------------------------------------------------------------------------------- log π


cdef tuple score(object phi, object action):
    """log π (N,) and its gradient (N, K)."""
    cdef Array p, a, logp_, dphi_
    phi = take_logits(&p, phi, "phi")
    action = take(&a, action, "action", INT64, p.rows, VECTOR)
    expect_actions(<const int64_t *> a.start, p.rows, p.cols)
    logp, dphi = new_array(&logp_, p.code, p.rows, VECTOR), new_array(&dphi_, p.code, p.rows, p.cols)
    if p.wide:
        categorical_score(<const double *> p.start, <const int64_t *> a.start, p.rows, p.cols,
                          <double *> logp_.start, <double *> dphi_.start)
    else:
        categorical_score(<const float *> p.start, <const int64_t *> a.start, p.rows, p.cols,
                          <float *> logp_.start, <float *> dphi_.start)
    return logp, dphi


def categorical_log_prob(phi, action):
    """log π(a|s) for logits (N, K) and actions (N,) in 0..K−1 -> (N,)."""
    logp, _ = score(phi, action)
    return logp


def categorical_dlog_prob(phi, action):
    """∂ log π(a|s) / ∂φ_k = 1[k = a] − p_k -> (N, K)."""
    _, dphi = score(phi, action)
    return dphi


# -------------------------------------------------------------------------------------------------------------- entropy


cdef tuple entropies(object phi):
    """H (N,) and its gradient (N, K)."""
    cdef Array p, entropy_, dphi_
    phi = take_logits(&p, phi, "phi")
    entropy, dphi = new_array(&entropy_, p.code, p.rows, VECTOR), new_array(&dphi_, p.code, p.rows, p.cols)
    if p.wide:
        categorical_entropies(<const double *> p.start, p.rows, p.cols,
                              <double *> entropy_.start, <double *> dphi_.start)
    else:
        categorical_entropies(<const float *> p.start, p.rows, p.cols,
                              <float *> entropy_.start, <float *> dphi_.start)
    return entropy, dphi


def categorical_entropy(phi):
    """H = −Σ p log p -> (N,); a logit of −∞ contributes 0."""
    entropy, _ = entropies(phi)
    return entropy


def categorical_dentropy(phi):
    """∂H/∂φ_k = −p_k (log p_k + H) -> (N, K)."""
    _, dphi = entropies(phi)
    return dphi


# ----------------------------------------------------------------------------------------------------------- divergence


cdef void kl(real *out, const Array *old, const Array *new, real *e_old, real *e_new) noexcept nogil:
    """The rows of categorical_kl; e_old, e_new: scratch (N, K)."""
    cdef Py_ssize_t N = old.rows, K = old.cols, n, k
    cdef const real *phi_old = <const real *> old.start
    cdef const real *phi_new = <const real *> new.start
    cdef real top_old, top_new, sum_old, log_old, log_new, total, logp, logq
    weigh(phi_old, N, K, e_old)
    weigh(phi_new, N, K, e_new)
    for n in range(N):
        top_old, top_new, total = top_of(phi_old, K), top_of(phi_new, K), 0
        sum_old = sum_of(<const real *> e_old, K)
        log_old, log_new = log_(sum_old), log_(sum_of(<const real *> e_new, K))
        for k in range(K):
            if e_old[k] != 0:
                logp, logq = (phi_old[k] - top_old) - log_old, (phi_new[k] - top_new) - log_new
                total += e_old[k] / sum_old * (logp - logq)  # [KL-1]
        out[n] = 0 if total < 0 else total  # NaN is kept
        phi_old += K
        phi_new += K
        e_old += K
        e_new += K


def categorical_kl(phi_old, phi_new):
    """D(old ‖ new) = Σ p (log p − log q) -> (N,), old first.  [KL-1]

    0 where p = 0, +∞ where q = 0 < p; rounding below 0 is cut off.
    """
    cdef Array old, new, out_, e_old_, e_new_
    phi_old = take_logits(&old, phi_old, "phi_old")
    phi_new = take(&new, phi_new, "phi_new", old.code | SAME, old.rows, old.cols)
    out = new_array(&out_, old.code, old.rows, VECTOR)
    _scratch = new_array(&e_old_, old.code, old.rows, old.cols), new_array(&e_new_, old.code, old.rows, old.cols)
    if old.wide:
        kl(<double *> out_.start, &old, &new, <double *> e_old_.start, <double *> e_new_.start)
    else:
        kl(<float *> out_.start, &old, &new, <float *> e_old_.start, <float *> e_new_.start)
    return out


cdef void dkl(real *dphi, const Array *old, const Array *new, real *e_old) noexcept nogil:
    """The rows of categorical_dkl; e_old: scratch (N, K)."""
    cdef Py_ssize_t N = old.rows, K = old.cols, _, k
    cdef real q, p
    weigh(<const real *> new.start, N, K, dphi)
    weigh(<const real *> old.start, N, K, e_old)
    for _ in range(N):
        q, p = 1 / sum_of(<const real *> dphi, K), 1 / sum_of(<const real *> e_old, K)
        for k in range(K):
            dphi[k] = dphi[k] * q - e_old[k] * p
        dphi += K
        e_old += K


def categorical_dkl(phi_old, phi_new):
    """∂ D(old ‖ new) / ∂φ_new = q − p -> (N, K)."""
    cdef Array old, new, dphi_, e_old_
    phi_old = take_logits(&old, phi_old, "phi_old")
    phi_new = take(&new, phi_new, "phi_new", old.code | SAME, old.rows, old.cols)
    dphi = new_array(&dphi_, old.code, old.rows, old.cols)
    _scratch = new_array(&e_old_, old.code, old.rows, old.cols)
    if old.wide:
        dkl(<double *> dphi_.start, &old, &new, <double *> e_old_.start)
    else:
        dkl(<float *> dphi_.start, &old, &new, <float *> e_old_.start)
    return dphi


cdef void fisher_vec(real *out, const Array *phi_, const Array *phi_dot_) noexcept nogil:
    """The rows of categorical_fisher_vec."""
    cdef Py_ssize_t N = phi_.rows, K = phi_.cols, _, k
    cdef const real *phi_dot = <const real *> phi_dot_.start
    cdef real total, mean
    weigh(<const real *> phi_.start, N, K, out)
    for _ in range(N):
        total, mean = sum_of(<const real *> out, K), 0
        for k in range(K):
            out[k] /= total
            mean += out[k] * phi_dot[k]
        for k in range(K):
            out[k] *= phi_dot[k] - mean  # [TR-4]
        out += K
        phi_dot += K


def categorical_fisher_vec(phi, phi_dot):
    """F(φ) φ̇ = p ⊙ (φ̇ − p·φ̇) -> (N, K), F = diag(p) − p pᵀ the covariance of the score.  [TR-4]"""
    cdef Array phi_, phi_dot_, out_
    phi = take_logits(&phi_, phi, "phi")
    phi_dot = take(&phi_dot_, phi_dot, "phi_dot", phi_.code | SAME, phi_.rows, phi_.cols)
    out = new_array(&out_, phi_.code, phi_.rows, phi_.cols)
    if phi_.wide:
        fisher_vec(<double *> out_.start, &phi_, &phi_dot_)
    else:
        fisher_vec(<float *> out_.start, &phi_, &phi_dot_)
    return out


# ------------------------------------------------------------------------------------------------------------- sampling


def categorical_sample(phi, u):
    """Inverse-CDF sample: logits (N, K), uniform u (N,) in [0, 1) -> (N,) int64, never an action of probability 0."""
    cdef Array phi_, u_, action_, e_
    phi = take_logits(&phi_, phi, "phi")
    u = take(&u_, u, "u", FLOAT64, phi_.rows, VECTOR)
    action = new_array(&action_, INT64, phi_.rows, VECTOR)
    _scratch = new_array(&e_, FLOAT64, phi_.rows, phi_.cols)
    categorical_actions(phi_.wide, phi_.start, <const double *> u_.start, <int64_t *> action_.start,
                        <double *> e_.start, phi_.rows, phi_.cols)
    return action
