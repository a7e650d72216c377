"""What a policy does in every step, in one call: standardise, network, free parameters, action."""

from libc.stdint cimport int64_t
from libc.stdlib cimport free as give_back
from libc.stdlib cimport malloc

from minirl._core.compiled.arrays cimport ANY, EITHER_FLOAT, FLOAT64, INT64, SAME, VECTOR, Array, new_array, take
from minirl._core.compiled.mlp cimport RELEASE_GIL_FROM, describe, infer, outputs, type_of


cdef extern from "vectors.h" nogil:
    void standardize_rows(
        bint wide, bint out_wide, const void *x, const double *mean, const double *inv_std, void *out,
        Py_ssize_t rows, Py_ssize_t cols, double limit)

cdef extern from "sampling.h" nogil:
    void categorical_actions(
        bint wide, const void *phi, const double *u, int64_t *action, double *e, Py_ssize_t rows, Py_ssize_t K)
    void gaussian_actions(bint wide, const void *phi, const double *z, void *action, Py_ssize_t rows, Py_ssize_t d)


cdef int act_on(const Call *c, const void *theta) noexcept nogil:
    """The steps in scratch: e of the categorical, standardised x, and φ. -> −1 without memory."""
    cdef Py_ssize_t N = c.rows, D = c.net.size[0], P = outputs(&c.net), room = N * P if c.categorical else 0
    cdef Py_ssize_t itemsize = sizeof(double) if c.net.wide else sizeof(float)
    cdef double *e = <double *> malloc(<size_t> ((room + 1) * sizeof(double) + (N * (D + P) + 1) * itemsize))
    cdef char *seen = <char *> (e + room)
    cdef char *phi = seen + N * D * itemsize
    cdef const void *x = c.x
    cdef int failed
    if e == NULL:
        return -1
    if c.mean != NULL:
        standardize_rows(c.x_wide, c.net.wide, x, c.mean, c.inv_std, seen, N, D, c.limit)
        x = seen
    failed = infer(&c.net, theta, x, phi, N)
    if c.categorical:
        categorical_actions(c.net.wide, phi, c.noise, <int64_t *> c.action, e, N, P)
    else:
        gaussian_actions(c.net.wide, phi, c.noise, c.action, N, P // 2)
    give_back(e)
    return failed


cdef class Actor:
    """A policy whose arguments have been looked at: what is left for each step."""

    def __cinit__(self, theta, mean, inv_std, double limit, sizes, activation, Py_ssize_t free, str family):
        cdef Array mean_, inv_std_
        cdef Py_ssize_t P
        describe(&self.call.net, &self.theta, theta, sizes, activation, free)
        self.call.limit = limit
        self.call.categorical = family == "categorical"
        P = outputs(&self.call.net)
        self.d = 1 if self.call.categorical else P // 2
        if not self.call.categorical and (family != "gaussian" or P % 2):
            raise ValueError(
                f"family must be 'categorical', or 'gaussian' with a log σ for each μ, not {family!r} with {P} numbers")
        if mean is not None:
            mean = take(&mean_, mean, "mean", FLOAT64, self.call.net.size[0], VECTOR)
            inv_std = take(&inv_std_, inv_std, "inv_std", FLOAT64, self.call.net.size[0], VECTOR)
            self.call.mean, self.call.inv_std = <const double *> mean_.start, <const double *> inv_std_.start
        self.kept = theta, mean, inv_std

    cpdef object act(self, object x, object noise):
        """Actions for N observations x (N, D), in θ's type; float64 for a float32 θ where they are standardised."""
        cdef Call c = self.call
        cdef Array x_, noise_, action_
        cdef int failed
        cdef int kind = EITHER_FLOAT
        cdef Py_ssize_t cols = VECTOR if c.categorical else self.d
        if c.mean == NULL or c.net.wide:
            kind = type_of(&c.net) | SAME
        x = take(&x_, x, "x", kind, ANY, c.net.size[0])
        c.rows, c.x, c.x_wide = x_.rows, x_.start, x_.wide
        if noise is not None:
            noise = take(&noise_, noise, "noise", FLOAT64, c.rows, cols)
            c.noise = <const double *> noise_.start
        action = new_array(&action_, INT64 if c.categorical else type_of(&c.net), c.rows, cols)
        c.action = action_.start
        if c.rows * self.theta.rows < RELEASE_GIL_FROM:
            failed = act_on(&c, self.theta.start)
        else:
            with nogil:
                failed = act_on(&c, self.theta.start)
        if failed:
            raise MemoryError
        return action


def policy_actor(theta, mean, inv_std, limit, sizes, activation, free, family):
    """`policy_act` for many steps of one θ: the function (x (N, D), noise) -> actions. Its arrays must not change."""
    return Actor(theta, mean, inv_std, limit, sizes, activation, free, family).act


def policy_act(theta, x, noise, mean, inv_std, limit, sizes, activation, free, family):
    """Actions for N observations x (N, D): standardised, through the network, sampled; most likely for noise None."""
    return Actor(theta, mean, inv_std, limit, sizes, activation, free, family).act(x, noise)
