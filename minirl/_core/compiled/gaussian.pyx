"""Diagonal Gaussian over d dimensions, φ = [μ (d), log σ (d)] (N, 2d), float32 or float64.

Inside densities log σ saturates at ±LOG_STD_LIMIT and its gradient beyond is 0, so that σ² and 1/σ² stay finite in float32.
"""

from minirl._core.compiled.arrays cimport F32, F64, Look, at, doubles, empty, expect, floats, floats_like, is_wide, look_at, real
from minirl._core.compiled.elementary cimport exp_all, exp_each, expm1_all
from minirl._core.compiled.scores cimport gaussian_entropies, gaussian_score, moves, saturated


cdef extern from "sampling.h" nogil:
    void gaussian_rows_float(const float *, const double *, float *, Py_ssize_t, Py_ssize_t)
    void gaussian_rows_double(const double *, const double *, double *, Py_ssize_t, Py_ssize_t)


cdef inline void inverse_std(const real[:, ::1] phi, real[:, ::1] out) noexcept nogil:
    """1/σ (N, d)."""
    cdef Py_ssize_t d = out.shape[1], n, i
    for n in range(out.shape[0]):
        for i in range(d):
            out[n, i] = -saturated(phi[n, d + i])
    exp_all(out)


cdef object halves(object phi, str name):
    """φ with as many log σ as μ."""
    phi = floats(phi, name, 2)
    if phi.shape[1] % 2:
        raise ValueError(f"{name} must have an even number of columns, μ and log σ, has shape {phi.shape}")
    return phi


# ---------------------------------------------------------------------------------------------------------------- log π


cdef tuple score(object phi, object action):
    """log π (N,) and its gradient (N, 2d)."""
    cdef Look p, a
    phi = halves(phi, "phi")
    action = floats_like(action, "action", 2, is_wide(phi))
    p, a = look_at(phi), look_at(action)
    cdef Py_ssize_t N = p.rows, d = p.cols // 2
    expect("action", a.rows, a.cols, N, d)
    dtype = phi.dtype
    logp, dphi, inv_std = empty(N, dtype), empty((N, 2 * d), dtype), empty((N, d), dtype)
    if p.code == c'd':
        gaussian_score(<double *> p.start, <double *> a.start, N, d, <double *> at(logp), <double *> at(dphi), <double *> at(inv_std))
    else:
        gaussian_score(<float *> p.start, <float *> a.start, N, d, <float *> at(logp), <float *> at(dphi), <float *> at(inv_std))
    return logp, dphi


def gaussian_log_prob(phi, action):
    """log N(a; μ, σ²) = Σ_i −½ z_i² − log σ_i − ½ log 2π with z = (a − μ)/σ; action (N, d) -> (N,)."""
    return score(phi, action)[0]


def gaussian_dlog_prob(phi, action):
    """∂/∂μ = z/σ, ∂/∂ log σ = z² − 1 -> (N, 2d)."""
    return score(phi, action)[1]


# -------------------------------------------------------------------------------------------------------------- entropy


cdef tuple entropies(object phi):
    """H (N,) and its gradient (N, 2d)."""
    cdef Look p
    phi = halves(phi, "phi")
    p, dtype = look_at(phi), phi.dtype
    entropy, dphi = empty(p.rows, dtype), empty((p.rows, p.cols), dtype)
    if p.code == c'd':
        gaussian_entropies(<double *> p.start, p.rows, p.cols // 2, <double *> at(entropy), <double *> at(dphi))
    else:
        gaussian_entropies(<float *> p.start, p.rows, p.cols // 2, <float *> at(entropy), <float *> at(dphi))
    return entropy, dphi


def gaussian_entropy(phi):
    """H = Σ_i log σ_i + ½ log 2πe -> (N,)."""
    return entropies(phi)[0]


def gaussian_dentropy(phi):
    """∂H/∂μ = 0, ∂H/∂ log σ = 1 -> (N, 2d)."""
    return entropies(phi)[1]


# ----------------------------------------------------------------------------------------------------------- divergence


cdef inline void widening(const real[:, ::1] phi_old, const real[:, ::1] phi_new, real[:, ::1] out) noexcept nogil:
    """e^{−2ℓ} − 1 with ℓ = log σ₂ − log σ₁ (N, d)."""
    cdef Py_ssize_t d = out.shape[1], n, i
    for n in range(out.shape[0]):
        for i in range(d):
            out[n, i] = -2 * (saturated(phi_new[n, d + i]) - saturated(phi_old[n, d + i]))
    expm1_all(out)


cdef object kl(const real[:, ::1] phi_old, const real[:, ::1] phi_new):
    cdef Py_ssize_t N = phi_old.shape[0], d = phi_old.shape[1] // 2, n, i
    cdef real total, widen, z, half = 0.5
    expect("phi_new", phi_new.shape[0], phi_new.shape[1], N, 2 * d)
    dtype = F32 if real is float else F64
    result = empty(N, dtype)
    cdef real[::1] out = result
    cdef real[:, ::1] inv_std = empty((N, d), dtype), spread = empty((N, d), dtype)
    inverse_std(phi_new, inv_std)
    widening(phi_old, phi_new, spread)
    for n in range(N):
        total = 0
        for i in range(d):
            widen = saturated(phi_new[n, d + i]) - saturated(phi_old[n, d + i])
            z = (phi_old[n, i] - phi_new[n, i]) * inv_std[n, i]
            total += widen + half * spread[n, i] + half * z * z  # [KL-7], summed over dimensions [KL-4]
        out[n] = 0 if total < 0 else total  # NaN is kept
    return result


def gaussian_kl(phi_old, phi_new):
    """D(old ‖ new) = Σ_i log σ₂/σ₁ + (σ₁² + (μ₁ − μ₂)²) / 2σ₂² − ½ -> (N,), old (1) first; by expm1 near σ₁ = σ₂.      [KL-7, KL-4]"""
    phi_old = halves(phi_old, "phi_old")
    phi_new = floats_like(phi_new, "phi_new", 2, is_wide(phi_old))
    return kl[double](phi_old, phi_new) if is_wide(phi_old) else kl[float](phi_old, phi_new)


cdef object dkl(const real[:, ::1] phi_old, const real[:, ::1] phi_new):
    cdef Py_ssize_t N = phi_old.shape[0], d = phi_old.shape[1] // 2, n, i
    cdef real z
    expect("phi_new", phi_new.shape[0], phi_new.shape[1], N, 2 * d)
    dtype = F32 if real is float else F64
    result = empty((N, 2 * d), dtype)
    cdef real[:, ::1] dphi = result, inv_std = empty((N, d), dtype), spread = empty((N, d), dtype)
    inverse_std(phi_new, inv_std)
    widening(phi_old, phi_new, spread)
    for n in range(N):
        for i in range(d):
            z = (phi_new[n, i] - phi_old[n, i]) * inv_std[n, i]
            dphi[n, i] = z * inv_std[n, i]
            dphi[n, d + i] = (-spread[n, i] - z * z) * moves(phi_new[n, d + i])
    return result


def gaussian_dkl(phi_old, phi_new):
    """∂ D(old ‖ new) / ∂φ_new: ∂μ₂ = (μ₂ − μ₁)/σ₂², ∂ log σ₂ = 1 − (σ₁² + (μ₁ − μ₂)²)/σ₂² -> (N, 2d)."""
    phi_old = halves(phi_old, "phi_old")
    phi_new = floats_like(phi_new, "phi_new", 2, is_wide(phi_old))
    return dkl[double](phi_old, phi_new) if is_wide(phi_old) else dkl[float](phi_old, phi_new)


cdef void fisher(const real *phi, const real *phi_dot, Py_ssize_t N, Py_ssize_t d, real *precision, real *out) noexcept nogil:
    """The rows of gaussian_fisher_vec; precision: scratch (N, d)."""
    cdef Py_ssize_t n, i, _
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
    """F(φ) φ̇ = [μ̇/σ², 2 (log σ)˙] -> (N, 2d): the covariance of the score.                                       [TR-4]"""
    cdef Look p, v
    phi = halves(phi, "phi")
    phi_dot = floats_like(phi_dot, "phi_dot", 2, is_wide(phi))
    p, v = look_at(phi), look_at(phi_dot)
    expect("phi_dot", v.rows, v.cols, p.rows, p.cols)
    out, precision = empty((p.rows, p.cols), phi.dtype), empty((p.rows, p.cols // 2), phi.dtype)
    if p.code == c'd':
        fisher(<double *> p.start, <double *> v.start, p.rows, p.cols // 2, <double *> at(precision), <double *> at(out))
    else:
        fisher(<float *> p.start, <float *> v.start, p.rows, p.cols // 2, <float *> at(precision), <float *> at(out))
    return out


# -------------------------------------------------------------------------------------------------------------- sampling


cdef object sample(const real[:, ::1] phi, const double[:, ::1] z):
    cdef Py_ssize_t N = phi.shape[0], d = phi.shape[1] // 2
    expect("z", z.shape[0], z.shape[1], N, d)
    result = empty((N, d), F32 if real is float else F64)
    cdef real[:, ::1] action = result
    if N == 0 or d == 0:
        return result
    if real is float:
        gaussian_rows_float(&phi[0, 0], &z[0, 0], &action[0, 0], N, d)
    else:
        gaussian_rows_double(&phi[0, 0], &z[0, 0], &action[0, 0], N, d)
    return result


def gaussian_sample(phi, z):
    """a = μ + σ z, z (N, d) standard normal -> (N, d); σ is not saturated here: an overflow shows as inf and is refused by the caller."""
    phi, z = halves(phi, "phi"), doubles(z, "z", 2)
    return sample[double](phi, z) if is_wide(phi) else sample[float](phi, z)
