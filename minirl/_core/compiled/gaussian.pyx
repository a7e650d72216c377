"""Diagonal Gaussian over d dimensions, φ = [μ (d), log σ (d)] (N, 2d), float32 or float64.

Inside densities log σ saturates at ±LOG_STD_LIMIT and its gradient beyond is 0, so that σ² and 1/σ² stay finite in
float32.
"""

from minirl._core.compiled.arrays cimport ANY, EITHER_FLOAT, FLOAT64, SAME, VECTOR, Array, new_array, real, take
from minirl._core.compiled.elementary cimport exp_each, expm1_each
from minirl._core.compiled.scores cimport gaussian_entropies, gaussian_score, moves, saturated


cdef extern from "sampling.h" nogil:
    void gaussian_actions(bint wide, const void *phi, const double *z, void *action, Py_ssize_t rows, Py_ssize_t d)


cdef inline void inverse_std(const real *phi, Py_ssize_t N, Py_ssize_t d, real *out) noexcept nogil:
    """1/σ (N, d)."""
    cdef Py_ssize_t n, i
    for n in range(N):
        for i in range(d):
            out[n * d + i] = -saturated(phi[2 * n * d + d + i])
    exp_each(out, N * d)


cdef object take_halves(Array *phi_, object phi, str name):
    """φ with as many log σ as μ."""
    phi = take(phi_, phi, name, EITHER_FLOAT, ANY, ANY)
    if phi_.cols % 2:
        raise ValueError(f"{name} must have an even number of columns, μ and log σ, has shape {phi.shape}")
    return phi


# ---------------------------------------------------------------------------------------------------------------- log π


cdef tuple score(object phi, object action):
    """log π (N,) and its gradient (N, 2d)."""
    cdef Array p, a, logp_, dphi_, inv_std_
    phi = take_halves(&p, phi, "phi")
    cdef Py_ssize_t N = p.rows, d = p.cols // 2
    action = take(&a, action, "action", p.code | SAME, N, d)
    logp, dphi = new_array(&logp_, p.code, N, VECTOR), new_array(&dphi_, p.code, N, 2 * d)
    _scratch = new_array(&inv_std_, p.code, N, d)
    if p.wide:
        gaussian_score(<const double *> p.start, <const double *> a.start, N, d,
                       <double *> logp_.start, <double *> dphi_.start, <double *> inv_std_.start)
    else:
        gaussian_score(<const float *> p.start, <const float *> a.start, N, d,
                       <float *> logp_.start, <float *> dphi_.start, <float *> inv_std_.start)
    return logp, dphi


def gaussian_log_prob(phi, action):
    """log N(a; μ, σ²) = Σ_i −½ z_i² − log σ_i − ½ log 2π with z = (a − μ)/σ; action (N, d) -> (N,)."""
    logp, _ = score(phi, action)
    return logp


def gaussian_dlog_prob(phi, action):
    """∂/∂μ = z/σ, ∂/∂ log σ = z² − 1 -> (N, 2d)."""
    _, dphi = score(phi, action)
    return dphi


# -------------------------------------------------------------------------------------------------------------- entropy


cdef tuple entropies(object phi):
    """H (N,) and its gradient (N, 2d)."""
    cdef Array p, entropy_, dphi_
    phi = take_halves(&p, phi, "phi")
    entropy, dphi = new_array(&entropy_, p.code, p.rows, VECTOR), new_array(&dphi_, p.code, p.rows, p.cols)
    if p.wide:
        gaussian_entropies(<const double *> p.start, p.rows, p.cols // 2,
                           <double *> entropy_.start, <double *> dphi_.start)
    else:
        gaussian_entropies(<const float *> p.start, p.rows, p.cols // 2,
                           <float *> entropy_.start, <float *> dphi_.start)
    return entropy, dphi


def gaussian_entropy(phi):
    """H = Σ_i log σ_i + ½ log 2πe -> (N,)."""
    entropy, _ = entropies(phi)
    return entropy


def gaussian_dentropy(phi):
    """∂H/∂μ = 0, ∂H/∂ log σ = 1 -> (N, 2d)."""
    _, dphi = entropies(phi)
    return dphi


# ----------------------------------------------------------------------------------------------------------- divergence


cdef inline void widening(
    const real *phi_old, const real *phi_new, Py_ssize_t N, Py_ssize_t d, real *out,
) noexcept nogil:
    """e^{−2ℓ} − 1 with ℓ = log σ₂ − log σ₁ (N, d)."""
    cdef Py_ssize_t n, i, j
    for n in range(N):
        for i in range(d):
            j = 2 * n * d + d + i
            out[n * d + i] = -2 * (saturated(phi_new[j]) - saturated(phi_old[j]))
    expm1_each(out, N * d)


cdef void kl(real *out, const Array *old, const Array *new, real *inv_std, real *spread) noexcept nogil:
    """The rows of gaussian_kl; inv_std, spread: scratch (N, d)."""
    cdef Py_ssize_t N = old.rows, d = old.cols // 2, n, i
    cdef const real *phi_old = <const real *> old.start
    cdef const real *phi_new = <const real *> new.start
    cdef real total, widen, z, half = 0.5
    inverse_std(phi_new, N, d, inv_std)
    widening(phi_old, phi_new, N, d, spread)
    for n in range(N):
        total = 0
        for i in range(d):
            widen = saturated(phi_new[d + i]) - saturated(phi_old[d + i])
            z = (phi_old[i] - phi_new[i]) * inv_std[i]
            total += widen + half * spread[i] + half * z * z  # [KL-7], summed over dimensions [KL-4]
        out[n] = 0 if total < 0 else total  # NaN is kept
        phi_old += 2 * d
        phi_new += 2 * d
        inv_std += d
        spread += d


def gaussian_kl(phi_old, phi_new):
    """D(old ‖ new) = Σ_i log σ₂/σ₁ + (σ₁² + (μ₁ − μ₂)²) / 2σ₂² − ½ -> (N,), old (1) first.  [KL-7, KL-4]

    By expm1, so that there is no difference of large numbers near σ₁ = σ₂.
    """
    cdef Array old, new, out_, inv_std_, spread_
    phi_old = take_halves(&old, phi_old, "phi_old")
    phi_new = take(&new, phi_new, "phi_new", old.code | SAME, old.rows, old.cols)
    out = new_array(&out_, old.code, old.rows, VECTOR)
    cdef Py_ssize_t N = old.rows, d = old.cols // 2
    _scratch = new_array(&inv_std_, old.code, N, d), new_array(&spread_, old.code, N, d)
    if old.wide:
        kl(<double *> out_.start, &old, &new, <double *> inv_std_.start, <double *> spread_.start)
    else:
        kl(<float *> out_.start, &old, &new, <float *> inv_std_.start, <float *> spread_.start)
    return out


cdef void dkl(real *dphi, const Array *old, const Array *new, real *inv_std, real *spread) noexcept nogil:
    """The rows of gaussian_dkl; inv_std, spread: scratch (N, d)."""
    cdef Py_ssize_t N = old.rows, d = old.cols // 2, _, i
    cdef const real *phi_old = <const real *> old.start
    cdef const real *phi_new = <const real *> new.start
    cdef real z
    inverse_std(phi_new, N, d, inv_std)
    widening(phi_old, phi_new, N, d, spread)
    for _ in range(N):
        for i in range(d):
            z = (phi_new[i] - phi_old[i]) * inv_std[i]
            dphi[i] = z * inv_std[i]
            dphi[d + i] = (-spread[i] - z * z) * moves(phi_new[d + i])
        phi_old += 2 * d
        phi_new += 2 * d
        dphi += 2 * d
        inv_std += d
        spread += d


def gaussian_dkl(phi_old, phi_new):
    """∂ D(old ‖ new) / ∂φ_new: ∂μ₂ = (μ₂ − μ₁)/σ₂², ∂ log σ₂ = 1 − (σ₁² + (μ₁ − μ₂)²)/σ₂² -> (N, 2d)."""
    cdef Array old, new, dphi_, inv_std_, spread_
    phi_old = take_halves(&old, phi_old, "phi_old")
    phi_new = take(&new, phi_new, "phi_new", old.code | SAME, old.rows, old.cols)
    dphi = new_array(&dphi_, old.code, old.rows, old.cols)
    cdef Py_ssize_t N = old.rows, d = old.cols // 2
    _scratch = new_array(&inv_std_, old.code, N, d), new_array(&spread_, old.code, N, d)
    if old.wide:
        dkl(<double *> dphi_.start, &old, &new, <double *> inv_std_.start, <double *> spread_.start)
    else:
        dkl(<float *> dphi_.start, &old, &new, <float *> inv_std_.start, <float *> spread_.start)
    return dphi


cdef void fisher_vec(real *out, const Array *phi_, const Array *phi_dot_, real *precision) noexcept nogil:
    """The rows of gaussian_fisher_vec; precision: scratch (N, d)."""
    cdef Py_ssize_t N = phi_.rows, d = phi_.cols // 2, n, i, _
    cdef const real *phi = <const real *> phi_.start
    cdef const real *phi_dot = <const real *> phi_dot_.start
    for n in range(N):
        for i in range(d):
            precision[n * d + i] = -2 * saturated(phi[2 * n * d + d + i])
    exp_each(precision, N * d)
    for _ in range(N):
        for i in range(d):
            out[i] = phi_dot[i] * precision[i]  # [TR-4]
            out[d + i] = 2 * phi_dot[d + i] * moves(phi[d + i])
        phi += 2 * d
        phi_dot += 2 * d
        out += 2 * d
        precision += d


def gaussian_fisher_vec(phi, phi_dot):
    """F(φ) φ̇ = [μ̇/σ², 2 (log σ)˙] -> (N, 2d): the covariance of the score.  [TR-4]"""
    cdef Array phi_, phi_dot_, out_, precision_
    phi = take_halves(&phi_, phi, "phi")
    phi_dot = take(&phi_dot_, phi_dot, "phi_dot", phi_.code | SAME, phi_.rows, phi_.cols)
    out = new_array(&out_, phi_.code, phi_.rows, phi_.cols)
    _scratch = new_array(&precision_, phi_.code, phi_.rows, phi_.cols // 2)
    if phi_.wide:
        fisher_vec(<double *> out_.start, &phi_, &phi_dot_, <double *> precision_.start)
    else:
        fisher_vec(<float *> out_.start, &phi_, &phi_dot_, <float *> precision_.start)
    return out


# ------------------------------------------------------------------------------------------------------------- sampling


def gaussian_sample(phi, z):
    """a = μ + σ z, z (N, d) standard normal -> (N, d).

    σ is not saturated here: an overflow gives inf, which the caller rejects.
    """
    cdef Array phi_, z_, action_
    phi = take_halves(&phi_, phi, "phi")
    z = take(&z_, z, "z", FLOAT64, phi_.rows, phi_.cols // 2)
    action = new_array(&action_, phi_.code, phi_.rows, phi_.cols // 2)
    gaussian_actions(phi_.wide, phi_.start, <const double *> z_.start, action_.start, phi_.rows, phi_.cols // 2)
    return action
