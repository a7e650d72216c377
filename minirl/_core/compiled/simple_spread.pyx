"""B environments of simple_spread, stepped and reset in one call. The dynamics are in simple_spread.h."""

from libc.stdint cimport int64_t, uint8_t

from minirl._core.compiled.arrays cimport (
    ANY, AS_IT_IS, BOOL, FLOAT32, FLOAT64, FOLDED, IN_PLACE, INT64, VECTOR, Array, apart, take)
from minirl._core.compiled.classic_control cimport Bits, bits_of

cdef extern from "kernel_limits.h" nogil:
    enum:
        SPREAD_MAX_AGENTS

cdef extern from "simple_spread.h" nogil:
    ctypedef struct Spread:
        Py_ssize_t envs, agents
        bint continuous
        int64_t limit
        double local_ratio
    Py_ssize_t spread_bad_action(const Spread *env, const void *action)
    Py_ssize_t spread_step_all(const Spread *env, double *state, int64_t *steps, const void *action, float *obs,
                               double *reward, uint8_t *truncated)
    void spread_observe(const Spread *env, const double *state, float *obs, Py_ssize_t b)
    void spread_start(Py_ssize_t N, Bits *bits, double *state)


cdef int take_batch(Spread *env, Array *state_, object state, Array *obs_, object obs) except -1:
    """B and N, from the arrays that steps and resets have in common: state (B, 6 N), obs (N, B, 6 N)."""
    take(state_, state, "state", FLOAT64 | IN_PLACE, ANY, ANY)
    env.envs, env.agents = state_.rows, state_.cols // 6
    if state_.cols % 6 or not 1 <= env.agents <= SPREAD_MAX_AGENTS:
        raise ValueError(f"state must have 6 numbers for each of 1 to {SPREAD_MAX_AGENTS} agents, not {state_.cols}")
    take(obs_, obs, "obs", FLOAT32 | IN_PLACE | FOLDED, env.agents, env.envs * state_.cols)
    if obs_.ndim != 3 or obs.shape[1] != env.envs:
        raise ValueError(f"obs must have shape ({env.agents}, {env.envs}, {state_.cols}), not {obs.shape}")
    return 0


def spread_step(state, steps, action, int64_t limit, double local_ratio, obs, reward, truncated):
    """One step of every environment, in place on all but `action` -> how many episodes reached `limit` steps.

    state (B, 6 N), steps (B,), action (N, B) int64 or (N, B, 5) float32, obs (N, B, 6 N), reward (B, N), truncated (B,)
    """
    cdef Array state_, steps_, action_, obs_, reward_, truncated_
    cdef Spread env
    cdef Py_ssize_t bad, ended
    take_batch(&env, &state_, state, &obs_, obs)
    env.limit, env.local_ratio = limit, local_ratio
    take(&steps_, steps, "steps", INT64 | IN_PLACE, env.envs, VECTOR)
    take(&reward_, reward, "reward", FLOAT64 | IN_PLACE, env.envs, env.agents)
    take(&truncated_, truncated, "truncated", BOOL | IN_PLACE, env.envs, VECTOR)
    env.continuous = getattr(action, "ndim", 0) == 3
    if env.continuous:
        take(&action_, action, "action", FLOAT32 | AS_IT_IS | FOLDED, env.agents, 5 * env.envs)
    else:
        action = take(&action_, action, "action", INT64, env.agents, env.envs)
    apart([&state_, &steps_, &obs_, &reward_, &truncated_, &action_],
          ("state", "steps", "obs", "reward", "truncated", "action"))
    bad = spread_bad_action(&env, action_.start)
    if bad >= 0:
        i, b = divmod(bad, env.envs)
        wanted = "finite" if env.continuous else "in 0..4"
        raise ValueError(f"action must be {wanted}, that of agent {i} in environment {b} is {action[i, b]}")
    with nogil:
        ended = spread_step_all(&env, <double *> state_.start, <int64_t *> steps_.start, action_.start,
                                <float *> obs_.start, <double *> reward_.start, <uint8_t *> truncated_.start)
    return ended


def spread_reset(list bit_generators not None, rows, state, steps, obs):
    """First states of the environments in `rows` (B,), each from its own bit generator.

    In place on state (B, 6 N), steps (B,), obs (N, B, 6 N).
    """
    cdef Array rows_, state_, steps_, obs_
    cdef Spread env
    cdef double *s
    cdef Py_ssize_t b
    take_batch(&env, &state_, state, &obs_, obs)
    take(&steps_, steps, "steps", INT64 | IN_PLACE, env.envs, VECTOR)
    take(&rows_, rows, "rows", BOOL | AS_IT_IS, env.envs, VECTOR)
    apart([&state_, &steps_, &obs_, &rows_], ("state", "steps", "obs", "rows"))
    if len(bit_generators) != env.envs:
        raise ValueError(f"bit_generators must have {env.envs} entries, not {len(bit_generators)}")
    for b in range(env.envs):
        if not (<const uint8_t *> rows_.start)[b]:
            continue
        s = <double *> state_.start + b * state_.cols
        spread_start(env.agents, bits_of(bit_generators[b]), s)
        (<int64_t *> steps_.start)[b] = 0
        spread_observe(&env, s, <float *> obs_.start, b)
