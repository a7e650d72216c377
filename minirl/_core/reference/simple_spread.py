"""The readable twins of simple_spread's kernels: same name, arguments, result. `simple_spread.h` has them in C.

MPE's simple_spread (mpe2's simple_spread_v3): N agents, which push each other off, and N landmarks to be covered.
B environments; a state is 6 N numbers: the agents' positions and velocities, the landmarks' positions, each (N, 2).
The operations stand in the order in which mpe2 does them, so that states and rewards are its to the last bit.
"""

import numpy as np

__all__ = ["spread_reset", "spread_step"]

REACH = 0.15 + 0.15  # two agents touch below this distance
MAX_AGENTS = 64  # of the kernel, SPREAD_MAX_AGENTS
PUSH = np.array([[0.0, 0.0], [-5.0, 0.0], [5.0, 0.0], [0.0, -5.0], [0.0, 5.0]])  # nothing, left, right, down, up


def parts(state):
    """Positions, velocities and landmarks, each a view (B, N, 2)."""
    return np.moveaxis(state.reshape(len(state), 3, -1, 2), 1, 0)


def distance(a, b):
    """|a − b| over the last axis."""
    return np.sqrt(np.sum(np.square(a - b), axis=-1))


def pushed(action):
    """Forces (N, B, 2) of actions (N, B) in 0..4, or (N, B, 5): how much of each, cut to [0, 1]."""
    if action.ndim == 2:
        return PUSH[action]
    cut = np.clip(action, 0, 1)
    return (cut[..., [2, 4]] - cut[..., [1, 3]]).astype(np.float64) * 5.0


def collide(position, force):
    """Agents that touch push each other off: 100 N times how deep they are in each other, softened over 1 mm."""
    for a in range(position.shape[1]):
        for b in range(a + 1, position.shape[1]):
            apart = position[:, a] - position[:, b]  # (B, 2)
            far = distance(position[:, a], position[:, b])
            depth = np.logaddexp(0, -(far - REACH) / 1e-3) * 1e-3
            with np.errstate(invalid="ignore"):  # two at the same place
                f = 100.0 * apart / far[:, None] * depth[:, None]
            force[a] = f + force[a]
            force[b] = -f + force[b]


def rewards(position, landmark, local_ratio):
    """r_i = −(1 − ratio) Σ_l min_j |agent j − landmark l| − ratio · (how many agents touch agent i), (B, N)."""
    nearest = distance(position[:, :, None], landmark[:, None]).min(axis=1)  # (B, N landmarks)
    team = np.zeros(len(position))
    for each in nearest.T:  # one after the other, as they are rounded
        team = team - each
    touching = distance(position[:, :, None], position[:, None]) < REACH
    collisions = touching.sum(axis=2) - np.diagonal(touching, axis1=1, axis2=2)
    return team[:, None] * (1 - local_ratio) + (0.0 - collisions) * local_ratio


def observe(state):
    """What each agent sees, (N, B, 6 N): its velocity and position, where the landmarks and the others are from there.

    The last 2 (N − 1) are 0: what the others say, which is nothing.
    """
    position, velocity, landmark = parts(state)
    B, N = position.shape[:2]
    seen = np.zeros((N, B, 6 * N), np.float32)
    for i in range(N):
        mine = position[:, i]
        others = np.delete(position, i, axis=1) - mine[:, None]
        there = (landmark - mine[:, None]).reshape(B, -1), others.reshape(B, -1)
        seen[i, :, : 4 * N + 2] = np.concatenate([velocity[:, i], mine, *there], axis=1)
    return seen


def _shape(name, array, *wanted):
    if np.shape(array) != wanted:
        raise ValueError(f"{name} must have shape {wanted}, not {np.shape(array)}")


def _enter(state, steps, obs):
    """B and N."""
    B, D = state.shape
    if D % 6 or not 6 <= D <= 6 * MAX_AGENTS:
        raise ValueError(f"state must have 6 numbers for each of 1 to {MAX_AGENTS} agents, not {D}")
    _shape("obs", obs, D // 6, B, D)
    _shape("steps", steps, B)
    return B, D // 6


def spread_step(state, steps, action, limit, local_ratio, obs, reward, truncated):
    """One step of every environment, in place on all but `action` -> how many episodes reached `limit` steps.

    state (B, 6 N), steps (B,), action (N, B) int64 or (N, B, 5) float32, obs (N, B, 6 N), reward (B, N), truncated (B,)
    0.1 s: the old velocity moves the agents, a quarter of it is lost, the forces are added (mass 1).
    """
    B, N = _enter(state, steps, obs)
    continuous = action.ndim == 3
    _shape("action", action, *((N, B, 5) if continuous else (N, B)))
    _shape("reward", reward, B, N)
    _shape("truncated", truncated, B)
    if action.dtype != np.float32 if continuous else action.dtype.kind not in "iu":
        raise TypeError(f"action must hold {'float32' if continuous else 'integers'}, not {action.dtype}")
    good = np.isfinite(action).all(axis=2) if continuous else (action >= 0) & (action <= 4)
    if not good.all():
        i, b = divmod(int(np.argmin(good)), B)
        wanted = "finite" if continuous else "in 0..4"
        raise ValueError(f"action must be {wanted}, that of agent {i} in environment {b} is {action[i, b]}")

    position, velocity, landmark = parts(state)  # views
    force = pushed(action)
    collide(position, force)
    position += velocity * 0.1
    velocity[:] = velocity * (1 - 0.25) + force.transpose(1, 0, 2) * 0.1
    reward[:] = rewards(position, landmark, local_ratio)
    obs[:] = observe(state)
    steps += 1
    truncated[:] = steps >= limit
    return int(truncated.sum())


def spread_reset(bit_generators, rows, state, steps, obs):
    """First states of the environments in `rows` (B,), each from its own bit generator.

    In place on state (B, 6 N), steps (B,), obs (N, B, 6 N).  Agents, then landmarks, uniform in [−1, 1]², at rest.
    """
    B, N = _enter(state, steps, obs)
    _shape("rows", rows, B)
    if len(bit_generators) != B:
        raise ValueError(f"bit_generators must have {B} entries, not {len(bit_generators)}")
    position, velocity, landmark = parts(state)
    for b in np.flatnonzero(rows):
        drawn = np.random.Generator(bit_generators[b]).uniform(-1, 1, (2 * N, 2))
        position[b], velocity[b], landmark[b] = drawn[:N], 0.0, drawn[N:]
    steps[rows] = 0
    obs[:, rows] = observe(state[rows])
