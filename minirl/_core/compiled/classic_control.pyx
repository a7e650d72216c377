"""Batches of control problems, stepped and reset in one call. The dynamics are in classic_control.h, one environment at a time."""

from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int64_t, uint8_t

import numpy as np

from minirl._core.compiled.arrays cimport Look, integers, look_at


cdef dict KINDS = {"cartpole": 0, "pendulum": 1, "acrobot": 2, "mountain_car": 3, "mountain_car_continuous": 4}  # rows of ENVS
cdef object NDARRAY = np.ndarray


cdef const Env *find(name) except NULL:
    if name not in KINDS:
        raise ValueError(f"name = {name!r}: takes one of {', '.join(KINDS)}")
    return &ENVS[<int> KINDS[name]]


cdef int block(Block *out, object array, str name, char kind, Py_ssize_t rows, Py_ssize_t cols, bint writable) except -1:
    """Where a plain array of that element type ('d', 'f', 'q', '?') and shape is; a vector has cols −1, rows −1 takes any number."""
    if type(array) is not NDARRAY:
        raise TypeError(f"{name} must be a NumPy array, not {type(array).__name__}")
    cdef Look seen = look_at(array)
    out.start, out.bytes, out.rows = seen.start, seen.rows * seen.cols * array.itemsize, seen.rows
    if seen.code != kind:
        raise TypeError(f"{name} must hold elements of type {chr(kind)!r}, not {array.dtype}")
    if writable and not seen.writable:
        raise ValueError(f"{name} must be writable")
    if not seen.plain or seen.ndim != (1 if cols < 0 else 2) or rows not in (-1, seen.rows) or cols not in (-1, seen.cols):
        shape = f"({rows if rows >= 0 else 'any'}, {cols if cols >= 0 else ''})"
        raise ValueError(f"{name} must be C-contiguous and aligned of shape {shape}, has {array.shape} and strides {array.strides}")
    return 0


cdef int apart(Block *blocks, int count) except -1:
    """No byte in common."""
    cdef int i, j
    for i in range(count):
        for j in range(i):
            if blocks[i].start < blocks[j].start + blocks[j].bytes and blocks[j].start < blocks[i].start + blocks[i].bytes:
                raise ValueError("the arrays must not overlap")
    return 0


def env_step(name, state, steps, action, skip, int64_t limit, obs, reward, terminated, truncated):
    """One step of every environment that is not skipped, in place on all but `action` and `skip`; returns how many episodes ended.

    state (B, S), steps (B,) since the reset, action (B,) int64 or (B, 1) float32, skip (B,), obs (B, D), reward, terminated, truncated (B,)
    """
    cdef Block b[8]
    cdef const Env *env = find(name)
    cdef Py_ssize_t B, bad, ended
    block(&b[0], state, "state", c'd', -1, env.states, True)
    B = b[0].rows
    block(&b[1], steps, "steps", c'q', B, -1, True)
    block(&b[2], obs, "obs", c'f', B, env.obs, True)
    block(&b[3], reward, "reward", c'd', B, -1, True)
    block(&b[4], terminated, "terminated", c'?', B, -1, True)
    block(&b[5], truncated, "truncated", c'?', B, -1, True)
    block(&b[6], skip, "skip", c'?', B, -1, False)
    if env.actions:
        action = integers(action, "action")
        block(&b[7], action, "action", c'q', B, -1, False)
    else:
        block(&b[7], action, "action", c'f', B, 1, False)
    apart(b, 8)
    bad = env_bad_action(env, b[7].start, <const uint8_t *> b[6].start, B)
    if bad >= 0:
        raise ValueError(f"action must be {f'in 0..{env.actions - 1}' if env.actions else 'finite'}, row {bad} is {action[bad]}")
    with nogil:
        ended = env_step_all(
            env, <double *> b[0].start, <int64_t *> b[1].start, b[7].start, <const uint8_t *> b[6].start, limit,
            <float *> b[2].start, <double *> b[3].start, <uint8_t *> b[4].start, <uint8_t *> b[5].start, B)
    return ended


def env_reset(name, list bit_generators not None, rows, low, high, state, steps, obs):
    """First states of the environments in `rows` (B,), each from its own bit generator; in place on state (B, S), steps (B,), obs (B, D).

    low, high: bounds of the uniform draws, one per number that is drawn.
    """
    cdef Block b[6]
    cdef const Env *env = find(name)
    cdef Py_ssize_t B, i
    cdef double *s
    cdef Bits *bits
    block(&b[0], state, "state", c'd', -1, env.states, True)
    B = b[0].rows
    block(&b[1], steps, "steps", c'q', B, -1, True)
    block(&b[2], obs, "obs", c'f', B, env.obs, True)
    block(&b[3], rows, "rows", c'?', B, -1, False)
    block(&b[4], low, "low", c'd', env.draws, -1, False)
    block(&b[5], high, "high", c'd', env.draws, -1, False)
    apart(b, 4)  # low and high may be one array
    if len(bit_generators) != B:
        raise ValueError(f"bit_generators must have {B} entries, not {len(bit_generators)}")
    for i in range(B):
        if not b[3].start[i]:
            continue
        bits = <Bits *> PyCapsule_GetPointer(bit_generators[i].capsule, "BitGenerator")
        s = <double *> b[0].start + i * env.states
        env_start(env, bits, <const double *> b[4].start, <const double *> b[5].start, s)
        (<int64_t *> b[1].start)[i] = 0
        env.observe(s, <float *> b[2].start + i * env.obs)
