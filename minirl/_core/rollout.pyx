"""A whole rollout of a native environment: policy and dynamics in turn, with no Python function between two steps."""

from cpython.exc cimport PyErr_CheckSignals
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.math cimport isfinite
from libc.stdint cimport int64_t, uint8_t

from minirl._core.checks cimport F32, empty, real
from minirl._core.envs cimport Bits, Env, env_start, env_step_all, find
from minirl._core.acting cimport Actor


cdef bint bounded(const real[:, ::1] action, const float[::1] low, const float[::1] high, float[:, ::1] taken) noexcept:
    """What the environment takes of a Gaussian's actions: float32 and then cut at the bounds; False where one is not finite."""
    cdef Py_ssize_t i, j
    cdef float a
    for i in range(action.shape[0]):
        for j in range(action.shape[1]):
            if not isfinite(action[i, j]):
                return False
            a = <float> action[i, j]
            a = low[j] if a < low[j] else a
            taken[i, j] = high[j] if a > high[j] else a
    return True


cdef int begin(const Env *env, object generator, const double[::1] low, const double[::1] high, double *s, float *seen) except -1:
    """A new episode's first state and observation."""
    env_start(env, <Bits *> PyCapsule_GetPointer(generator.capsule, "BitGenerator"), &low[0], &high[0], s)
    env.observe(s, seen)
    return 0


def env_rollout(problem, double[:, ::1] state, int64_t[::1] steps, float[:, ::1] seen, policy, noise, bounds, out):
    """T steps of B environments from `seen` on, episodes started again in the same step; returns how many steps were taken.

    problem: name, bit generators, low, high, limit as env_step and env_reset take them;  policy: policy_actor's arguments
    noise (T, B) or (T, B, d);  bounds: of the actions, or None;  out: obs, action, reward, next_obs, terminated, truncated, each (T, B, …)
    In place on state, steps, seen and out. It ends early at an action that is not finite, which is kept in `out`.
    """
    cdef const double[::1] low = problem[2], high = problem[3]
    cdef int64_t limit = problem[4]
    cdef const Env *env = find(problem[0])
    cdef Py_ssize_t T = len(noise), B = state.shape[0], t, i
    cdef double[:, ::1] reward = out[2]
    cdef uint8_t[:, ::1] terminated = out[4].view("u1"), truncated = out[5].view("u1")
    cdef int64_t[::1] chosen
    cdef float[:, ::1] taken = empty((B, 1), F32)
    cdef uint8_t[::1] nobody = bytearray(B)
    cdef const void *action
    cdef bint finite
    cdef Actor actor = Actor(*policy)
    sizes, free, family = policy[4], policy[6], policy[7]
    check(env, problem[1], state, steps, seen, noise, bounds, out, T, B)
    if low.shape[0] != env.draws or high.shape[0] != env.draws:
        raise ValueError(f"low and high must have {env.draws} entries, not {low.shape[0]} and {high.shape[0]}")
    if sizes[len(sizes) - 1] + free != (env.actions or 2) or family != ("categorical" if env.actions else "gaussian"):
        raise ValueError(f"the policy must be over {env.actions or 'one float'} as the actions of {problem[0]} are")
    view = seen.base
    for t in range(T):
        PyErr_CheckSignals()
        obs = out[0][t]
        obs[...] = view
        act = actor.act(obs, noise[t])
        out[1][t] = act
        if env.actions:
            chosen = act
            action = &chosen[0]
        else:
            if act.dtype == F32:
                finite = bounded[float](act, bounds[0], bounds[1], taken)
            else:
                finite = bounded[double](act, bounds[0], bounds[1], taken)
            if not finite:
                return t
            action = &taken[0, 0]
        ended = env_step_all(env, &state[0, 0], &steps[0], action, &nobody[0], limit, &seen[0, 0], &reward[t, 0], &terminated[t, 0],
                             &truncated[t, 0], B)
        out[3][t] = view
        if ended:
            for i in range(B):
                if terminated[t, i] or truncated[t, i]:
                    steps[i] = 0
                    begin(env, problem[1][i], low, high, &state[i, 0], &seen[i, 0])
    return T


cdef int check(const Env *env, list generators, double[:, ::1] state, int64_t[::1] steps, float[:, ::1] seen, noise, bounds, out,
               Py_ssize_t T, Py_ssize_t B) except -1:
    """Shapes that agree: behind this nothing is looked at twice."""
    each = (T, B)
    shapes = [(*each, env.obs), each if env.actions else (*each, 1), each, (*each, env.obs), each, each]
    if B == 0 or state.shape[1] != env.states or steps.shape[0] != B or (seen.shape[0], seen.shape[1]) != (B, env.obs):
        raise ValueError("state, steps and seen must have a row for each environment, at least one")
    if len(generators) != B or [array.shape for array in out] != shapes or noise.shape != shapes[1]:
        raise ValueError(f"out must be arrays of shapes {shapes}, noise of {shapes[1]}, and there must be {B} bit generators")
    if not env.actions and [array.shape for array in bounds] != [(1,), (1,)]:
        raise ValueError("bounds must be two arrays of shape (1,)")
    return 0
