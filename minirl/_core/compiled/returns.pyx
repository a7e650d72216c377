"""Sums over time: advantages, returns and the running return that scales rewards. float64; arrays (T, B), time first."""

from libc.stdint cimport uint8_t

from minirl._core.compiled.arrays cimport F64, doubles, empty, expect, flags


def gae(reward, value, next_value, terminated, cut, double gamma, double lam):
    """Generalised advantage estimation (Schulman et al., 2016): arrays (T, B) -> advantages (T, B).                 [GAE-1, GAE-2]"""
    cdef const double[:, ::1] r = doubles(reward, "reward", 2)
    cdef const double[:, ::1] v = doubles(value, "value", 2)
    cdef const double[:, ::1] v_next = doubles(next_value, "next_value", 2)
    cdef const uint8_t[:, ::1] ended = flags(terminated, "terminated", 2)
    cdef const uint8_t[:, ::1] stop = flags(cut, "cut", 2)
    cdef Py_ssize_t T = r.shape[0], B = r.shape[1], t, b
    cdef double decay = gamma * lam, td
    expect("value", v.shape[0], v.shape[1], T, B)
    expect("next_value", v_next.shape[0], v_next.shape[1], T, B)
    expect("terminated", ended.shape[0], ended.shape[1], T, B)
    expect("cut", stop.shape[0], stop.shape[1], T, B)
    result = empty((T, B), F64)
    cdef double[:, ::1] adv = result

    for t in range(T - 1, -1, -1):
        for b in range(B):
            td = r[t, b] + gamma * (0.0 if ended[t, b] else v_next[t, b]) - v[t, b]  # [GAE-1]
            adv[t, b] = td + decay * (0.0 if t + 1 == T or stop[t, b] else adv[t + 1, b])  # [GAE-2]
    return result


def discounted_returns(reward, next_value, terminated, cut, double gamma):
    """Reward-to-go (T, B) -> (T, B); an episode that is not finished is continued by its value.                             [PG-6]"""
    cdef const double[:, ::1] r = doubles(reward, "reward", 2)
    cdef const double[:, ::1] v_next = doubles(next_value, "next_value", 2)
    cdef const uint8_t[:, ::1] ended = flags(terminated, "terminated", 2)
    cdef const uint8_t[:, ::1] stop = flags(cut, "cut", 2)
    cdef Py_ssize_t T = r.shape[0], B = r.shape[1], t, b
    cdef double tail
    expect("next_value", v_next.shape[0], v_next.shape[1], T, B)
    expect("terminated", ended.shape[0], ended.shape[1], T, B)
    expect("cut", stop.shape[0], stop.shape[1], T, B)
    result = empty((T, B), F64)
    cdef double[:, ::1] returns = result

    for t in range(T - 1, -1, -1):
        for b in range(B):
            tail = v_next[t, b] if stop[t, b] or t + 1 == T else returns[t + 1, b]
            returns[t, b] = r[t, b] + gamma * (0.0 if ended[t, b] else tail)  # [PG-6]
    return result


def running_return(reward, cut, carry, double gamma):
    """Discounted sum of the rewards so far, (T, B) -> (T, B) and the next carry (B,): R_t = r_t + γ R_{t−1}; R starts again after a cut."""
    cdef const double[:, ::1] r = doubles(reward, "reward", 2)
    cdef const uint8_t[:, ::1] stop = flags(cut, "cut", 2)
    cdef const double[::1] before = doubles(carry, "carry", 1)
    cdef Py_ssize_t T = r.shape[0], B = r.shape[1], t, b
    expect("cut", stop.shape[0], stop.shape[1], T, B)
    expect("carry", before.shape[0], -1, B, -1)
    result, after = empty((T, B), F64), empty(B, F64)
    cdef double[:, ::1] sums = result
    cdef double[::1] running = after

    running[:] = before
    for t in range(T):
        for b in range(B):
            sums[t, b] = r[t, b] + gamma * running[b]
            running[b] = 0.0 if stop[t, b] else sums[t, b]
    return result, after
