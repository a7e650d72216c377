"""The twin of `env_rollout`: policy and dynamics in turn."""

import numpy as np

from minirl._core.arguments import EnvArguments, PolicyArguments, RolloutArrays
from minirl._core.reference.acting import policy_actor
from minirl._core.reference.classic_control import env_reset, env_step

__all__ = ["env_rollout"]


def env_rollout(env, state, steps, seen, policy, noise, bounds, out):
    """T steps of B environments from `seen` on, episodes started again in the same step -> how many steps were taken.

    env, policy, out: what arguments.py says;  noise (T, B) or (T, B, d)
    bounds: low, high, centre and half-range of the actions (4,), or None where they are numbers of choices
    In place on state, steps, seen and out. It ends early at an action that is not finite, which is kept in `out`.
    """
    env, out = EnvArguments(*env), RolloutArrays(*out)
    actor = policy_actor(*PolicyArguments(*policy))
    nobody = np.zeros(len(state), bool)
    for t in range(len(noise)):
        out.obs[t] = seen
        out.action[t] = action = actor(out.obs[t], noise[t])
        if bounds is not None:
            if not np.isfinite(action).all():
                return t
            low, high, centre, half = bounds
            action = np.minimum(np.maximum(centre + half * action.astype(np.float64), low), high).astype(np.float32)
        ended = out.terminated[t], out.truncated[t]
        env_step(env.name, state, steps, action, nobody, env.limit, seen, out.reward[t], *ended)
        out.next_obs[t] = seen
        done = out.terminated[t] | out.truncated[t]
        if done.any():
            env_reset(env.name, env.bit_generators, done, env.low, env.high, state, steps, seen)
    return len(noise)
