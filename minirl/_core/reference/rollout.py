"""The twin of `env_rollout`: policy and dynamics in turn."""

import numpy as np

from minirl._core.reference.acting import policy_actor
from minirl._core.reference.classic_control import env_reset, env_step

__all__ = ["env_rollout"]


def env_rollout(problem, state, steps, seen, policy, noise, bounds, out):
    """T steps of B environments from `seen` on, episodes started again in the same step; returns how many steps were taken.

    problem: name, bit generators, low, high, limit as env_step and env_reset take them;  policy: policy_actor's arguments
    noise (T, B) or (T, B, d);  bounds: low, high, centre and half-range of the actions (4,), or None where they are numbers of choices
    out: obs, action, reward, next_obs, terminated, truncated, each (T, B, …)
    In place on state, steps, seen and out. It ends early at an action that is not finite, which is kept in `out`.
    """
    name, generators, low, high, limit = problem
    act_on = policy_actor(*policy)
    obs, action, reward, next_obs, terminated, truncated = out
    nobody = np.zeros(len(state), bool)
    for t in range(len(noise)):
        obs[t] = seen
        action[t] = act = act_on(obs[t], noise[t])
        if bounds is not None:
            if not np.isfinite(act).all():
                return t
            low_a, high_a, centre, half = bounds
            act = np.minimum(np.maximum(centre + half * act.astype(np.float64), low_a), high_a).astype(np.float32)
        env_step(name, state, steps, act, nobody, limit, seen, reward[t], terminated[t], truncated[t])
        next_obs[t] = seen
        done = terminated[t] | truncated[t]
        if done.any():
            env_reset(name, generators, done, low, high, state, steps, seen)
    return len(noise)
