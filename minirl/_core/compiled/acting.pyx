"""What a policy does in every step, in one call: standardise, network, free parameters, action."""

from libc.stdint cimport int64_t
from libc.stdlib cimport free as give_back
from libc.stdlib cimport malloc

from minirl._core.compiled.arrays cimport F32, F64, INT64, Span, at, doubles, empty, expect, floats, real, span
from minirl._core.compiled.mlp cimport LARGE, describe, infer, like


cdef extern from "vectors.h" nogil:
    void standardize_float(const float *, const double *, const double *, float *, Py_ssize_t, Py_ssize_t, double)
    void standardize_double(const double *, const double *, const double *, double *, Py_ssize_t, Py_ssize_t, double)
    void standardize_narrow(const double *, const double *, const double *, float *, Py_ssize_t, Py_ssize_t, double)

cdef extern from "sampling.h" nogil:
    void categorical_rows_float(const float *, const double *, int64_t *, double *, Py_ssize_t, Py_ssize_t)
    void categorical_rows_double(const double *, const double *, int64_t *, double *, Py_ssize_t, Py_ssize_t)
    void gaussian_rows_float(const float *, const double *, float *, Py_ssize_t, Py_ssize_t)
    void gaussian_rows_double(const double *, const double *, double *, Py_ssize_t, Py_ssize_t)

cdef int act(const Call *c, const real *theta) noexcept nogil:
    """The steps in scratch: e of the categorical, standardised x, and φ. -> −1 without memory."""
    cdef Py_ssize_t N = c.rows, D = c.net.size[0], P = c.net.size[c.net.layers] + c.net.free, room = N * P if c.categorical else 0
    cdef double *e = <double *> malloc(<size_t> (room + 1) * sizeof(double) + <size_t> (N * (D + P) + 1) * sizeof(real))
    cdef real *seen = <real *> (e + room)
    cdef real *phi = seen + N * D
    cdef const real *x = <const real *> c.x
    cdef int failed
    if e == NULL:
        return -1
    if c.mean != NULL:
        if real is float and c.wide:
            standardize_narrow(<const double *> c.x, c.mean, c.inv_std, seen, N, D, c.limit)
        elif real is float:
            standardize_float(x, c.mean, c.inv_std, seen, N, D, c.limit)
        else:
            standardize_double(x, c.mean, c.inv_std, seen, N, D, c.limit)
        x = seen
    failed = infer(&c.net, theta, x, phi, N)
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
    return act[double](c, <const double *> flat.start) if c.net.wide else act[float](c, <const float *> flat.start)


cdef class Actor:
    """A policy whose arguments have been looked at: what is left for each step."""

    def __cinit__(self, theta, mean, inv_std, double limit, sizes, activation, Py_ssize_t free, str family):
        cdef Span s
        cdef Py_ssize_t P
        describe(&self.call.net, &self.flat, theta, sizes, activation, free)
        self.call.limit = limit
        self.call.categorical = family == "categorical"
        P = self.call.net.size[self.call.net.layers] + free
        self.d = 1 if self.call.categorical else P // 2
        if not self.call.categorical and (family != "gaussian" or P % 2):
            raise ValueError(f"family must be 'categorical', or 'gaussian' with a log σ for each μ, not {family!r} with {P} numbers")
        if mean is not None:
            mean, inv_std = doubles(mean, "mean", 1), doubles(inv_std, "inv_std", 1)
            span(&s, mean, "mean", 1)
            expect("mean", s.rows, -1, self.call.net.size[0], -1)
            self.call.mean = <const double *> s.start
            span(&s, inv_std, "inv_std", 1)
            expect("inv_std", s.rows, -1, self.call.net.size[0], -1)
            self.call.inv_std = <const double *> s.start
        self.kept = theta, mean, inv_std

    cpdef object act(self, object x, object noise):
        """Actions for N observations x (N, D), in θ's type; float64 for a float32 θ where they are standardised."""
        cdef Call c = self.call
        cdef Span s
        cdef int failed
        x = floats(x, "x", 2)
        span(&s, x, "x", 2)
        if not s.wide or c.mean == NULL:
            like(&c.net, &s, "x")
        expect("x", s.rows, s.cols, s.rows, c.net.size[0])
        c.rows, c.x, c.wide = s.rows, s.start, s.wide
        if noise is not None:
            noise = doubles(noise, "noise", 1 if c.categorical else 2)
            span(&s, noise, "noise", 1 if c.categorical else 2)
            expect("noise", s.rows, s.cols, c.rows, self.d)
            c.noise = <const double *> s.start
        action = empty(c.rows, INT64) if c.categorical else empty((c.rows, self.d), F64 if c.net.wide else F32)
        c.action = at(action)
        if c.rows * self.flat.rows < LARGE:
            failed = act_on(&c, &self.flat)
        else:
            with nogil:
                failed = act_on(&c, &self.flat)
        if failed:
            raise MemoryError
        return action


def policy_actor(theta, mean, inv_std, limit, sizes, activation, free, family):
    """`policy_act` for many steps of one θ: the function (x (N, D), noise) -> actions. The arrays must not change as long as it is used."""
    return Actor(theta, mean, inv_std, limit, sizes, activation, free, family).act


def policy_act(theta, x, noise, mean, inv_std, limit, sizes, activation, free, family):
    """Actions for N observations x (N, D): standardised, through the network, and sampled with `noise`, or the likeliest ones for None."""
    return Actor(theta, mean, inv_std, limit, sizes, activation, free, family).act(x, noise)
