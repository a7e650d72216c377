"""The readable twins of the environments' kernels: same name, arguments, result. In C: `classic_control.h`.

B environments; a state is S numbers, float64. A `Problem` is what a step does to a batch of states, and what is seen of
them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["env_reset", "env_step"]


@dataclass(frozen=True)
class Problem:
    """step: state (B, S), action (B,), first (B,) -> state, reward, terminated; observe: state (B, S) -> obs (B, D)."""

    states: int
    draws: int  # so many of the states are drawn in a reset, the others are 0
    obs: int
    actions: int  # 0..actions−1, or 0: one float
    step: Callable
    observe: Callable
    narrow: bool = False  # the first state is rounded to float32


# The C library's functions on one number after another, as gymnasium's environments and classic_control.h take them.
# How NumPy's loops for whole arrays round depends on the processor.


def square(x):
    """x² (n,) as NumPy's scalars square, by the C library's pow: not always x·x to the last bit."""
    two = x.dtype.type(2)
    return np.array([number**two for number in x], x.dtype)


def cos(x):
    """cos x in the shape of x; NaN where x is not finite."""
    return _each(math.cos, x)


def sin(x):
    """sin x in the shape of x; NaN where x is not finite."""
    return _each(math.sin, x)


def _each(function, x):
    finite = np.where(np.isfinite(x), x, np.nan)
    return np.array(list(map(function, finite.ravel().tolist())), np.float64).reshape(x.shape)


def cartpole(state, action, first):
    """x, ẋ, θ, θ̇ of a pole on a cart pushed with ±10 N, Euler steps of 0.02 s; over at |x| > 2.4 or |θ| > 12°."""
    total, half, moment, tau = 0.1 + 1.0, 0.5, 0.1 * 0.5, 0.02  # masses, half the pole's length, mass · half, seconds
    x, x_dot, theta, theta_dot = state.T
    cosine, sine, force = cos(theta), sin(theta), np.where(action == 1, 10.0, -10.0)
    push = (force + moment * np.square(theta_dot) * sine) / total
    theta_acc = (9.8 * sine - cosine * push) / (half * (4.0 / 3.0 - 0.1 * np.square(cosine) / total))
    x_acc = push - moment * theta_acc * cosine / total
    x, theta = x + tau * x_dot, theta + tau * theta_dot
    state = np.stack([x, x_dot + tau * x_acc, theta, theta_dot + tau * theta_acc], axis=1)
    return state, 1.0, (np.abs(x) > 2.4) | (np.abs(theta) > 12 * 2 * np.pi / 360)


def pendulum(state, action, first):
    """θ (0 is up) and θ̇ of a pendulum turned with a torque u in [−2, 2]; never over.

    r = −(θ² + 0.1 θ̇² + 0.001 u²) with θ in [−π, π)
    """
    theta, theta_dot = state.T
    u = np.clip(action, -2.0, 2.0).astype(np.float32)  # its terms are float32
    angle = (theta + np.pi) % (2 * np.pi) - np.pi
    reward = -(square(angle) + 0.1 * square(theta_dot) + np.float32(0.001) * square(u))
    theta_dot = np.clip(theta_dot + (15.0 * sin(theta) + np.float32(3.0) * u) * 0.05, -8.0, 8.0)
    return np.stack([theta + theta_dot * 0.05, theta_dot], axis=1), reward, False


def pendulum_observe(state):
    """cos θ, sin θ, θ̇."""
    return np.stack([cos(state[:, 0]), sin(state[:, 0]), state[:, 1]], axis=1)


def acrobot_slope(state, torque):
    """d/dt of θ₁, θ₂, θ̇₁, θ̇₂ (Sutton & Barto's book): links of mass, length and inertia 1.

    Their centres are in the middle; g = 9.8.
    """
    theta1, theta2, dtheta1, dtheta2 = state.T
    cosine, sine, g = cos(theta2), sin(theta2), 9.8
    d1 = 0.25 + (1.25 + 1.0 * cosine) + 1.0 + 1.0
    d2 = 0.25 + 0.5 * cosine + 1.0
    phi2 = 0.5 * g * cos(theta1 + theta2 - np.pi / 2.0)
    phi1 = -0.5 * square(dtheta2) * sine - 1.0 * dtheta2 * dtheta1 * sine + 1.5 * g * cos(theta1 - np.pi / 2.0) + phi2
    ddtheta2 = (torque + d2 / d1 * phi1 - 0.5 * square(dtheta1) * sine - phi2) / (1.25 - square(d2) / d1)
    return np.stack([dtheta1, dtheta2, -(d2 * ddtheta2 + phi1) / d1, ddtheta2], axis=1)


def wrap(angle):
    """Into [−π, π] by whole turns, one after another: a remainder would round differently."""
    angle = np.where(np.abs(angle) < 1000, angle, np.fmod(angle, 2 * np.pi))
    while (far := angle > np.pi).any():
        angle = np.where(far, angle - 2 * np.pi, angle)
    while (far := angle < -np.pi).any():
        angle = np.where(far, angle + 2 * np.pi, angle)
    return angle


def acrobot(state, action, first):
    """Two links, a torque of −1, 0, 1 at the joint between them; one Runge-Kutta step of 0.2 s.

    Over when the tip is above the bar.
    """
    dt, torque = 0.2, action - 1
    k1 = acrobot_slope(state, torque)
    k2 = acrobot_slope(state + dt / 2.0 * k1, torque)
    k3 = acrobot_slope(state + dt / 2.0 * k2, torque)
    k4 = acrobot_slope(state + dt * k3, torque)
    state = state + dt / 6.0 * (k1 + 2 * k2 + 2 * k3 + k4)
    fastest = np.array([4 * np.pi, 9 * np.pi])
    state = np.concatenate([wrap(state[:, :2]), np.clip(state[:, 2:], -fastest, fastest)], axis=1)
    swung = -cos(state[:, 0]) - cos(state[:, 1] + state[:, 0]) > 1.0
    return state, np.where(swung, 0.0, -1.0), swung


def acrobot_observe(state):
    """cos θ₁, sin θ₁, cos θ₂, sin θ₂, θ̇₁, θ̇₂."""
    theta = state[:, :2]
    return np.concatenate([np.stack([cos(theta), sin(theta)], axis=2).reshape(-1, 4), state[:, 2:]], axis=1)


def mountain_car(state, action, first):
    """Position and velocity of a car in a valley, pushed with −1, 0, 1; a wall at −1.2 stops it, at 0.5 it is out."""
    x, v = state.T
    v = np.clip(v + ((action - 1) * 0.001 + cos(3 * x) * -0.0025), -0.07, 0.07)
    x = np.clip(x + v, -1.2, 0.6)
    v = np.where((x == -1.2) & (v < 0), 0.0, v)
    return np.stack([x, v], axis=1), -1.0, (x >= 0.5) & (v >= 0)


def mountain_car_continuous(state, action, first):
    """The same with a push in [−1, 1], r = 100 at the goal 0.45 less 0.1 a².

    A state is float64 after a reset and float32 after that.
    """

    def held(y):
        """A number as the state's type holds it."""
        return np.where(first, np.float64(y), np.float32(y))

    x, v = state.T
    slope = 0.0025 * cos(held(3 * x))
    whole = np.where(action < 0, -0.0015, 0.0015) - slope
    part = np.float32(action) * np.float32(0.0015) - np.float32(slope)  # a float32 that was not cut stays one
    v = held(v + held(np.where(np.abs(action) <= 1, part, whole)))
    v = np.clip(v, held(-0.07), held(0.07))
    x = np.clip(held(x + v), held(-1.2), held(0.6))
    v = np.where((x == held(-1.2)) & (v < 0), 0.0, v)
    there = (x >= held(0.45)) & (v >= 0)
    state = np.stack([x, v], axis=1).astype(np.float32).astype(np.float64)
    return state, np.where(there, 100.0, 0.0) - action * action * 0.1, there


def as_it_is(state):
    """The whole state is seen."""
    return state


PROBLEMS = {
    "cartpole": Problem(4, 4, 4, 2, cartpole, as_it_is),
    "pendulum": Problem(2, 2, 3, 0, pendulum, pendulum_observe),
    "acrobot": Problem(4, 4, 6, 3, acrobot, acrobot_observe, narrow=True),
    "mountain_car": Problem(2, 1, 2, 3, mountain_car, as_it_is),
    "mountain_car_continuous": Problem(2, 1, 2, 0, mountain_car_continuous, as_it_is),
}


def _shape(name, array, *wanted):
    if np.shape(array) != wanted:
        raise ValueError(f"{name} must have shape {wanted}, not {np.shape(array)}")


def env_step(name, state, steps, action, skip, limit, obs, reward, terminated, truncated):
    """One step of every environment that is not skipped, in place on all but `action` and `skip` -> how many ended.

    state (B, S), steps (B,) since the reset, action (B,) int64 or (B, 1) float32, skip (B,), obs (B, D), reward,
    terminated, truncated (B,)
    Of a skipped one the state and what is seen of it stay, its reward is 0 and it does not end. An episode is truncated
    at `limit` steps.
    """
    env, B = PROBLEMS[name], len(state)
    _shape("action", action, *((B,) if env.actions else (B, 1)))
    vectors = {"steps": steps, "skip": skip, "reward": reward, "terminated": terminated, "truncated": truncated}
    for key, array in vectors.items():
        _shape(key, array, B)
    _shape("state", state, B, env.states)
    _shape("obs", obs, B, env.obs)
    if action.dtype.kind not in "iu" if env.actions else action.dtype != np.float32:
        raise TypeError(f"action must hold {'integers' if env.actions else 'float32'}, not {action.dtype}")
    a = action.reshape(B).astype(np.float64)
    good = skip | ((a >= 0) & (a < env.actions) if env.actions else np.isfinite(a))
    if not good.all():
        bad = int(np.argmin(good))
        wanted = f"in 0..{env.actions - 1}" if env.actions else "finite"
        raise ValueError(f"action must be {wanted}, row {bad} is {action[bad]}")

    go = ~skip
    reward[:], terminated[:], truncated[:] = 0.0, False, False
    state[go], reward[go], terminated[go] = env.step(state[go], a[go], steps[go] == 0)
    steps[go] += 1
    truncated[go] = steps[go] >= limit
    obs[go] = env.observe(state[go])
    return int((terminated | truncated).sum())


def env_reset(name, bit_generators, rows, low, high, state, steps, obs):
    """First states of the environments in `rows` (B,), each from its own bit generator.

    In place on state (B, S), steps (B,), obs (B, D).
    low, high: bounds of the uniform draws, one per number that is drawn.
    """
    env, B = PROBLEMS[name], len(state)
    _shape("rows", rows, B)
    _shape("steps", steps, B)
    _shape("state", state, B, env.states)
    _shape("obs", obs, B, env.obs)
    _shape("low", low, env.draws)
    _shape("high", high, env.draws)
    if len(bit_generators) != B:
        raise ValueError(f"bit_generators must have {B} entries, not {len(bit_generators)}")
    for i in np.flatnonzero(rows):
        first = np.zeros(env.states)
        first[: env.draws] = np.random.Generator(bit_generators[i]).uniform(low, high)
        state[i] = np.float32(first) if env.narrow else first
    steps[rows] = 0
    obs[rows] = env.observe(state[rows])
