"""Batches of control problems, stepped and reset in one call. The dynamics are in classic_control.h."""

from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int64_t, uint8_t

from minirl._core.compiled.arrays cimport (
    ANY, AS_IT_IS, BOOL, FLOAT32, FLOAT64, IN_PLACE, INT64, VECTOR, Array, apart, take)


# rows of ENVS
cdef dict KINDS = {"cartpole": 0, "pendulum": 1, "acrobot": 2, "mountain_car": 3, "mountain_car_continuous": 4}


cdef const Env *find(name) except NULL:
    if name not in KINDS:
        raise ValueError(f"name = {name!r}: takes one of {', '.join(KINDS)}")
    return &ENVS[<int> KINDS[name]]


cdef Bits *bits_of(object bit_generator) except NULL:
    """NumPy's C interface to a bit generator, which the caller keeps alive."""
    return <Bits *> PyCapsule_GetPointer(bit_generator.capsule, "BitGenerator")


def env_step(name, state, steps, action, skip, int64_t limit, obs, reward, terminated, truncated):
    """One step of every environment that is not skipped, in place on all but `action` and `skip` -> how many ended.

    state (B, S), steps (B,) since the reset, action (B,) int64 or (B, 1) float32, skip (B,), obs (B, D)
    reward, terminated, truncated (B,)
    """
    cdef Array state_, steps_, action_, skip_, obs_, reward_, terminated_, truncated_
    cdef const Env *env = find(name)
    cdef Py_ssize_t B, bad, ended
    take(&state_, state, "state", FLOAT64 | IN_PLACE, ANY, env.states)
    B = state_.rows
    take(&steps_, steps, "steps", INT64 | IN_PLACE, B, VECTOR)
    take(&obs_, obs, "obs", FLOAT32 | IN_PLACE, B, env.obs)
    take(&reward_, reward, "reward", FLOAT64 | IN_PLACE, B, VECTOR)
    take(&terminated_, terminated, "terminated", BOOL | IN_PLACE, B, VECTOR)
    take(&truncated_, truncated, "truncated", BOOL | IN_PLACE, B, VECTOR)
    take(&skip_, skip, "skip", BOOL | AS_IT_IS, B, VECTOR)
    if env.actions:
        action = take(&action_, action, "action", INT64, B, VECTOR)
    else:
        take(&action_, action, "action", FLOAT32 | AS_IT_IS, B, 1)
    apart([&state_, &steps_, &obs_, &reward_, &terminated_, &truncated_, &skip_, &action_],
          ("state", "steps", "obs", "reward", "terminated", "truncated", "skip", "action"))
    bad = env_bad_action(env, action_.start, <const uint8_t *> skip_.start, B)
    if bad >= 0:
        wanted = f"in 0..{env.actions - 1}" if env.actions else "finite"
        raise ValueError(f"action must be {wanted}, row {bad} is {action[bad]}")
    with nogil:
        ended = env_step_all(
            env, <double *> state_.start, <int64_t *> steps_.start, action_.start, <const uint8_t *> skip_.start, limit,
            <float *> obs_.start, <double *> reward_.start, <uint8_t *> terminated_.start,
            <uint8_t *> truncated_.start, B)
    return ended


def env_reset(name, list bit_generators not None, rows, low, high, state, steps, obs):
    """First states of the environments in `rows` (B,), each from its own bit generator.

    In place on state (B, S), steps (B,), obs (B, D).
    low, high: bounds of the uniform draws, one per number that is drawn.
    """
    cdef Array rows_, low_, high_, state_, steps_, obs_
    cdef const Env *env = find(name)
    cdef Py_ssize_t B, i
    cdef double *s
    take(&state_, state, "state", FLOAT64 | IN_PLACE, ANY, env.states)
    B = state_.rows
    take(&steps_, steps, "steps", INT64 | IN_PLACE, B, VECTOR)
    take(&obs_, obs, "obs", FLOAT32 | IN_PLACE, B, env.obs)
    take(&rows_, rows, "rows", BOOL | AS_IT_IS, B, VECTOR)
    take(&low_, low, "low", FLOAT64 | AS_IT_IS, env.draws, VECTOR)
    take(&high_, high, "high", FLOAT64 | AS_IT_IS, env.draws, VECTOR)
    apart([&state_, &steps_, &obs_, &rows_], ("state", "steps", "obs", "rows"))  # low and high may be one array
    if len(bit_generators) != B:
        raise ValueError(f"bit_generators must have {B} entries, not {len(bit_generators)}")
    for i in range(B):
        if not (<const uint8_t *> rows_.start)[i]:
            continue
        s = <double *> state_.start + i * env.states
        env_start(env, bits_of(bit_generators[i]), <const double *> low_.start, <const double *> high_.start, s)
        (<int64_t *> steps_.start)[i] = 0
        env.observe(s, <float *> obs_.start + i * env.obs)
