"""What a policy does in every step, in one call: standardise, network, free parameters, action."""

from libc.stdint cimport int64_t
from libc.stdlib cimport free as give_back
from libc.stdlib cimport malloc

from minirl._core.checks cimport F32, F64, INT64, Span, doubles, empty, expect, floats, real, span
from minirl._core.mlp cimport LARGE, Network, describe, infer, like


cdef extern from "optim_kernels.h" nogil:
    void standardize_float(const float *, const double *, const double *, float *, Py_ssize_t, Py_ssize_t, double)
    void standardize_double(const double *, const double *, const double *, double *, Py_ssize_t, Py_ssize_t, double)

cdef extern from "sample_kernels.h" nogil:
    void categorical_rows_float(const float *, const double *, int64_t *, double *, Py_ssize_t, Py_ssize_t)
    void categorical_rows_double(const double *, const double *, int64_t *, double *, Py_ssize_t, Py_ssize_t)
    void gaussian_rows_float(const float *, const double *, float *, Py_ssize_t, Py_ssize_t)
    void gaussian_rows_double(const double *, const double *, double *, Py_ssize_t, Py_ssize_t)

cdef struct Call:  # checked arguments; NULL is None
    Network net
    Py_ssize_t rows, outputs, free
    bint categorical
    const void *x
    const double *noise
    const double *mean
    const double *inv_std
    double limit
    void *action


cdef int act(const Call *c, const real *theta, const real *rest) noexcept nogil:
    """The steps in scratch: e of the categorical, standardised x, y, and φ = [y, free parameters in each row]. -> −1 without memory."""
    cdef Py_ssize_t N = c.rows, D = c.net.size[0], out = c.outputs, P = out + c.free, n, j, room = N * P if c.categorical else 0
    cdef double *e = <double *> malloc(<size_t> (room + 1) * sizeof(double) + <size_t> (N * (D + out + P) + 1) * sizeof(real))
    cdef real *seen = <real *> (e + room)
    cdef real *y = seen + N * D
    cdef real *phi = y + N * out if c.free else y
    cdef const real *x = <const real *> c.x
    cdef int failed
    if e == NULL:
        return -1
    if c.mean != NULL:
        if real is float:
            standardize_float(x, c.mean, c.inv_std, seen, N, D, c.limit)
        else:
            standardize_double(x, c.mean, c.inv_std, seen, N, D, c.limit)
        x = seen
    failed = infer(&c.net, theta, x, y, N)
    if c.free:
        for n in range(N):
            for j in range(out):
                phi[n * P + j] = y[n * out + j]
            for j in range(c.free):
                phi[n * P + out + j] = rest[j]
    if c.categorical:
        if real is float:
            categorical_rows_float(phi, c.noise, <int64_t *> c.action, e, N, P)
        else:
            categorical_rows_double(phi, c.noise, <int64_t *> c.action, e, N, P)
    elif real is float:
        gaussian_rows_float(phi, c.noise, <float *> c.action, N, P // 2)
    else:
        gaussian_rows_double(phi, c.noise, <double *> c.action, N, P // 2)
    give_back(e)
    return failed


cdef int act_on(const Call *c, Span *flat) noexcept nogil:
    """`act` in θ's element type."""
    cdef Py_ssize_t weights = flat.rows - c.free
    if c.net.wide:
        return act[double](c, <const double *> flat.start, <const double *> flat.start + weights)
    return act[float](c, <const float *> flat.start, <const float *> flat.start + weights)


cpdef object policy_act(object theta, object x, object noise, object mean, object inv_std, double limit, object sizes, object activation,
                        Py_ssize_t free, str family):
    """Actions for N observations x (N, D): standardised, through the network, and sampled with `noise`, or the likeliest ones for None."""
    cdef Call c
    cdef Span flat, s
    cdef Py_ssize_t P, d
    cdef int failed
    if free < 0:
        raise ValueError(f"free must not be negative, is {free}")
    describe(&c.net, &flat, theta, sizes, activation, free)
    c.outputs, c.free, c.limit = c.net.size[c.net.layers], free, limit
    c.categorical = family == "categorical"
    P = c.outputs + free
    d = 1 if c.categorical else P // 2
    if not c.categorical and (family != "gaussian" or P % 2):
        raise ValueError(f"family must be 'categorical', or 'gaussian' with a log σ for each μ, not {family!r} with {P} numbers")
    x = floats(x, "x", 2)
    span(&s, x, "x", 2)
    like(&c.net, &s, "x")
    expect("x", s.rows, s.cols, s.rows, c.net.size[0])
    c.rows, c.x, c.noise, c.mean, c.inv_std = s.rows, s.start, NULL, NULL, NULL
    if noise is not None:
        noise = doubles(noise, "noise", 1 if c.categorical else 2)
        span(&s, noise, "noise", 1 if c.categorical else 2)
        expect("noise", s.rows, s.cols, c.rows, d)
        c.noise = <const double *> s.start
    if mean is not None:
        mean, inv_std = doubles(mean, "mean", 1), doubles(inv_std, "inv_std", 1)
        span(&s, mean, "mean", 1)
        expect("mean", s.rows, -1, c.net.size[0], -1)
        c.mean = <const double *> s.start
        span(&s, inv_std, "inv_std", 1)
        expect("inv_std", s.rows, -1, c.net.size[0], -1)
        c.inv_std = <const double *> s.start
    action = empty(c.rows, INT64) if c.categorical else empty((c.rows, d), F64 if c.net.wide else F32)
    if c.categorical:
        c.action = address(action)
    else:
        span(&s, action, "action", 2)
        c.action = s.start
    if c.rows * flat.rows < LARGE:
        failed = act_on(&c, &flat)
    else:
        with nogil:
            failed = act_on(&c, &flat)
    if failed:
        raise MemoryError
    return action


cdef void *address(int64_t[::1] action) noexcept:
    """Where the actions of a categorical go."""
    return <void *> &action[0] if action.shape[0] else NULL
