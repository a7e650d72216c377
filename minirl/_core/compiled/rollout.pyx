"""A whole rollout of a native environment: policy and dynamics in turn, with no Python function between two steps."""

from cpython.exc cimport PyErr_CheckSignals
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.math cimport isfinite
from libc.stdint cimport int64_t, uint8_t

import numpy as np

from minirl._core.compiled.acting cimport Actor
from minirl._core.compiled.arrays cimport F32, F64, Look, at, empty, look_at, real
from minirl._core.compiled.classic_control cimport Bits, Block, Env, apart, block, env_start, env_step_all, find

cdef object NDARRAY = np.ndarray


cdef bint spread(const real[:, ::1] action, const double *bounds, float[:, ::1] taken) noexcept:
    """What is sent of a Gaussian's actions u: centre + half · u, cut at the bounds, as float32; False where one is not finite."""
    cdef double low = bounds[0], high = bounds[1], centre = bounds[2], half = bounds[3], a
    cdef Py_ssize_t i
    for i in range(action.shape[0]):
        if not isfinite(action[i, 0]):
            return False
        a = centre + half * action[i, 0]
        a = low if a < low else a
        taken[i, 0] = <float> (high if a > high else a)
    return True


def env_rollout(problem, state, steps, seen, policy, noise, bounds, out):
    """T steps of B environments from `seen` on, episodes started again in the same step; returns how many steps were taken.

    problem: name, bit generators, low, high, limit as env_step and env_reset take them;  policy: policy_actor's arguments
    noise (T, B) or (T, B, d);  bounds: low, high, centre and half-range of the actions (4,), or None where they are numbers of choices
    out: obs, action, reward, next_obs, terminated, truncated, each (T, B, …)
    In place on state, steps, seen and out. It ends early at an action that is not finite, which is kept in `out`.
    """
    name, generators, low, high, limit = problem
    cdef const Env *env = find(name)
    cdef Block own[6]
    cdef Py_ssize_t B = check(own, env, generators, low, high, state, steps, seen, bounds)
    cdef Actor actor = Actor(*policy)
    cdef Py_ssize_t T = check_rollout(own, env, actor, policy, noise, out, B), t
    cdef int64_t last = limit
    cdef float[:, ::1] taken = empty((B, 1), F32)
    cdef uint8_t[::1] nobody = bytearray(B)
    cdef const void *action
    cdef uint8_t *terminated
    cdef uint8_t *truncated
    cdef bint finite
    obs, chosen, reward, next_obs, ends, cuts = out
    for t in range(T):
        PyErr_CheckSignals()
        row = obs[t]
        row[...] = seen
        act = actor.act(row, noise[t])
        chosen[t] = act
        action = at(act)
        if not env.actions:
            if act.dtype == F32:
                finite = spread[float](act, <const double *> own[5].start, taken)
            else:
                finite = spread[double](act, <const double *> own[5].start, taken)
            if not finite:
                return t
            action = &taken[0, 0]
        terminated, truncated = <uint8_t *> at(ends) + t * B, <uint8_t *> at(cuts) + t * B
        ended = env_step_all(env, <double *> own[0].start, <int64_t *> own[1].start, action, &nobody[0], last, <float *> own[2].start,
                             <double *> at(reward) + t * B, terminated, truncated, B)
        next_obs[t] = seen
        if ended:
            start_again(env, generators, own, terminated, truncated, B)
    return T


cdef int start_again(const Env *env, list generators, Block *own, const uint8_t *terminated, const uint8_t *truncated,
                     Py_ssize_t B) except -1:
    """New episodes for those that have just ended."""
    cdef Py_ssize_t i
    cdef double *s
    for i in range(B):
        if terminated[i] or truncated[i]:
            s = <double *> own[0].start + i * env.states
            (<int64_t *> own[1].start)[i] = 0
            env_start(env, <Bits *> PyCapsule_GetPointer(generators[i].capsule, "BitGenerator"), <const double *> own[3].start,
                      <const double *> own[4].start, s)
            env.observe(s, <float *> own[2].start + i * env.obs)
    return 0


cdef Py_ssize_t check(Block *own, const Env *env, generators, low, high, state, steps, seen, bounds) except -1:
    """Where the environments' arrays are, behind this looked at no more: state, steps, seen, low, high, bounds. -> B"""
    cdef Py_ssize_t B
    block(&own[0], state, "state", c'd', -1, env.states, True)
    B = own[0].rows
    block(&own[1], steps, "steps", c'q', B, -1, True)
    block(&own[2], seen, "seen", c'f', B, env.obs, True)
    block(&own[3], low, "low", c'd', env.draws, -1, False)
    block(&own[4], high, "high", c'd', env.draws, -1, False)
    if not env.actions:
        block(&own[5], bounds, "bounds", c'd', 4, -1, False)
    if B == 0 or type(generators) is not list or len(generators) != B:
        raise ValueError(f"there must be an environment at least, and a list with a bit generator for each of {B}")
    return B


cdef Py_ssize_t check_rollout(Block *own, const Env *env, Actor actor, policy, noise, out, Py_ssize_t B) except -1:
    """A policy over the environment's actions, and `out` and `noise` of the shapes and types that go with it. -> T"""
    cdef Block blocks[9]
    cdef Py_ssize_t T, d = env.obs, i
    cdef char real_code = c'd' if actor.call.net.wide else c'f'
    cdef char action_code = c'q' if env.actions else real_code
    sizes, free, family = policy[4], policy[6], policy[7]
    if sizes[len(sizes) - 1] + free != (env.actions or 2) or family != ("categorical" if env.actions else "gaussian"):
        raise ValueError(f"the policy must be over {env.actions or 'one float'}, as the environment's actions are")
    if type(out) is not tuple or len(out) != 6:
        raise TypeError("out must be a tuple of six arrays")
    if type(noise) is not NDARRAY or noise.ndim == 0:
        raise TypeError("noise must be a NumPy array")
    T = len(noise)
    cdef tuple drawn = (T, B)
    if not env.actions:
        drawn += (1,)
    wanted = (
        ("obs", (T, B, d), real_code), ("action", drawn, action_code), ("reward", (T, B), c'd'),
        ("next_obs", (T, B, d), real_code), ("terminated", (T, B), c'?'), ("truncated", (T, B), c'?'))
    for i in range(6):
        field_name, shape, code = wanted[i]
        field(&blocks[i], out[i], field_name, shape, code)
    for i in range(3):
        blocks[6 + i] = own[i]
    apart(blocks, 9)
    if type(noise) is not NDARRAY or noise.shape != drawn or noise.dtype != F64:
        raise ValueError(f"noise must be a NumPy array of float64 of shape {drawn}")
    return T


cdef int field(Block *out, object array, str name, tuple shape, char kind) except -1:
    """Where one of the rollout's arrays is: plain, writable, of this shape and element type."""
    if type(array) is not NDARRAY:
        raise TypeError(f"{name} must be a NumPy array, not {type(array).__name__}")
    cdef Look seen = look_at(array)
    if seen.code != kind:
        raise TypeError(f"{name} must hold elements of type {chr(kind)!r}, not {array.dtype}")
    if array.shape != shape or not seen.plain or not seen.writable:
        raise ValueError(f"{name} must be C-contiguous, aligned and writable of shape {shape}, has {array.shape}, strides {array.strides}")
    out.start, out.bytes, out.rows = seen.start, array.nbytes, seen.rows
    return 0
