"""A whole rollout of a native environment: policy and dynamics in turn, with no Python function between two steps."""

from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport isfinite
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memset

from minirl._core.compiled.acting cimport Actor
from minirl._core.compiled.arrays cimport (
    ANY, AS_IT_IS, BOOL, FLOAT32, FLOAT64, FOLDED, IN_PLACE, INT64, SAME, VECTOR, Array, apart, new_array, real, take)
from minirl._core.compiled.classic_control cimport Env, bits_of, env_start, env_step_all, find
from minirl._core.compiled.mlp cimport type_of

from minirl._core.arguments import EnvArguments, PolicyArguments, RolloutArrays


cdef struct Envs:  # the environments' own arrays
    Array state, steps, seen, low, high, bounds

cdef struct Steps:  # what the rollout writes, a row for each step
    Array obs, action, reward, next_obs, terminated, truncated


cdef bint spread(const real *action, const double *bounds, float *sent, Py_ssize_t B) noexcept nogil:
    """What is sent of a Gaussian's actions u: centre + half · u, cut at the bounds; False where one is not finite."""
    cdef double low = bounds[0], high = bounds[1], centre = bounds[2], half = bounds[3], a
    cdef Py_ssize_t i
    for i in range(B):
        if not isfinite(action[i]):
            return False
        a = centre + half * action[i]
        a = low if a < low else a
        sent[i] = <float> (high if a > high else a)
    return True


def env_rollout(env, state, steps, seen, policy, noise, bounds, out):
    """T steps of B environments from `seen` on, episodes started again in the same step -> how many steps were taken.

    env, policy, out: what arguments.py says;  noise (T, B) or (T, B, d)
    bounds: low, high, centre and half-range of the actions (4,), or None where they are numbers of choices
    In place on state, steps, seen and out. It ends early at an action that is not finite, which is kept in `out`.
    """
    if not isinstance(out, tuple):
        raise TypeError(f"out must be a RolloutArrays, not {type(out).__name__}")
    env, policy, out = EnvArguments(*env), PolicyArguments(*policy), RolloutArrays(*out)
    cdef const Env *game = find(env.name)
    cdef Envs own
    cdef Steps made
    cdef Array noise_, sent_, nobody_
    cdef Py_ssize_t B = take_envs(&own, game, env, state, steps, seen, bounds)
    cdef Actor actor = Actor(*policy)
    expect_policy(game, policy)
    noise = take(&noise_, noise, "noise", FLOAT64 | SAME | FOLDED, ANY, B)
    cdef Py_ssize_t T = noise_.rows, t
    take_steps(&made, &own, game, type_of(&actor.call.net), out, T, B)
    if noise.shape != out.action.shape:
        raise ValueError(f"noise must have shape {out.action.shape}, not {noise.shape}")
    _scratch = new_array(&sent_, FLOAT32, B, VECTOR), new_array(&nobody_, BOOL, B, VECTOR)
    memset(nobody_.start, 0, <size_t> B)
    cdef int64_t limit = env.limit
    cdef const void *action
    cdef uint8_t *terminated
    cdef uint8_t *truncated
    cdef bint finite
    obs, chosen, next_obs, generators = out.obs, out.action, out.next_obs, env.bit_generators
    for t in range(T):
        PyErr_CheckSignals()
        row = obs[t]
        row[...] = seen
        chosen[t] = actor.act(row, noise[t])
        action = <int64_t *> made.action.start + t * B
        if not game.actions:
            if made.action.wide:
                finite = spread(<const double *> made.action.start + t * B, <const double *> own.bounds.start,
                                <float *> sent_.start, B)
            else:
                finite = spread(<const float *> made.action.start + t * B, <const double *> own.bounds.start,
                                <float *> sent_.start, B)
            if not finite:
                return t
            action = sent_.start
        terminated, truncated = <uint8_t *> made.terminated.start + t * B, <uint8_t *> made.truncated.start + t * B
        ended = env_step_all(
            game, <double *> own.state.start, <int64_t *> own.steps.start, action, <const uint8_t *> nobody_.start,
            limit, <float *> own.seen.start, <double *> made.reward.start + t * B, terminated, truncated, B)
        next_obs[t] = seen
        if ended:
            start_again(game, generators, &own, terminated, truncated, B)
    return T


cdef int start_again(const Env *game, list generators, const Envs *own, const uint8_t *terminated,
                     const uint8_t *truncated, Py_ssize_t B) except -1:
    """New episodes for those that have just ended."""
    cdef Py_ssize_t i
    cdef double *s
    for i in range(B):
        if terminated[i] or truncated[i]:
            s = <double *> own.state.start + i * game.states
            (<int64_t *> own.steps.start)[i] = 0
            env_start(game, bits_of(generators[i]), <const double *> own.low.start, <const double *> own.high.start, s)
            game.observe(s, <float *> own.seen.start + i * game.obs)
    return 0


cdef Py_ssize_t take_envs(Envs *own, const Env *game, env, state, steps, seen, bounds) except -1:
    """The environments' own arrays, which the caller holds and changes in place. -> B"""
    take(&own.state, state, "state", FLOAT64 | IN_PLACE, ANY, game.states)
    cdef Py_ssize_t B = own.state.rows
    take(&own.steps, steps, "steps", INT64 | IN_PLACE, B, VECTOR)
    take(&own.seen, seen, "seen", FLOAT32 | IN_PLACE, B, game.obs)
    take(&own.low, env.low, "low", FLOAT64 | AS_IT_IS, game.draws, VECTOR)
    take(&own.high, env.high, "high", FLOAT64 | AS_IT_IS, game.draws, VECTOR)
    if not game.actions:
        take(&own.bounds, bounds, "bounds", FLOAT64 | AS_IT_IS, 4, VECTOR)
    if B == 0 or type(env.bit_generators) is not list or len(env.bit_generators) != B:
        raise ValueError(f"there must be an environment at least, and a list with a bit generator for each of {B}")
    return B


cdef int expect_policy(const Env *game, policy) except -1:
    """A policy over the environment's actions."""
    *_, outputs = policy.sizes
    family = "categorical" if game.actions else "gaussian"
    if outputs + policy.free != (game.actions or 2) or policy.family != family:
        raise ValueError(f"policy must be over {game.actions or 'one float'}, as the environment's actions are")
    return 0


cdef int take_steps(
    Steps *made, const Envs *own, const Env *game, char policy_type, out, Py_ssize_t T, Py_ssize_t B,
) except -1:
    """The rollout's arrays, each with a row for every step, none of them in another's or the environments' memory."""
    cdef char action_type = INT64 if game.actions else policy_type
    cdef tuple observed = (T, B, game.obs), drawn = (T, B)
    if not game.actions:
        drawn += (1,)
    take(&made.obs, out.obs, "obs", policy_type | IN_PLACE | FOLDED, T, B * game.obs)
    take(&made.action, out.action, "action", action_type | IN_PLACE | FOLDED, T, B)
    take(&made.reward, out.reward, "reward", FLOAT64 | IN_PLACE, T, B)
    take(&made.next_obs, out.next_obs, "next_obs", policy_type | IN_PLACE | FOLDED, T, B * game.obs)
    take(&made.terminated, out.terminated, "terminated", BOOL | IN_PLACE, T, B)
    take(&made.truncated, out.truncated, "truncated", BOOL | IN_PLACE, T, B)
    for name, shape in (("obs", observed), ("next_obs", observed), ("action", drawn)):
        if getattr(out, name).shape != shape:
            raise ValueError(f"{name} must have shape {shape}, not {getattr(out, name).shape}")
    apart([&made.obs, &made.action, &made.reward, &made.next_obs, &made.terminated, &made.truncated,
           &own.state, &own.steps, &own.seen],
          ("obs", "action", "reward", "next_obs", "terminated", "truncated", "state", "steps", "seen"))
    return 0
