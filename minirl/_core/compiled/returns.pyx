"""Sums over time: advantages, returns, the running return that scales rewards. float64; arrays (T, B), time first."""

from libc.stdint cimport uint8_t

from minirl._core.compiled.arrays cimport ANY, BOOL, FLOAT64, VECTOR, Array, new_array, take


def gae(reward, value, next_value, terminated, cut, double gamma, double lam):
    """Generalised advantage estimation (Schulman et al., 2016): arrays (T, B) -> advantages (T, B).  [GAE-1, GAE-2]"""
    cdef Array r_, v_, v_next_, ended_, stop_, adv_
    reward = take(&r_, reward, "reward", FLOAT64, ANY, ANY)
    cdef Py_ssize_t T = r_.rows, B = r_.cols, t, i
    value = take(&v_, value, "value", FLOAT64, T, B)
    next_value = take(&v_next_, next_value, "next_value", FLOAT64, T, B)
    terminated = take(&ended_, terminated, "terminated", BOOL, T, B)
    cut = take(&stop_, cut, "cut", BOOL, T, B)
    result = new_array(&adv_, FLOAT64, T, B)
    cdef const double *r = <const double *> r_.start
    cdef const double *v = <const double *> v_.start
    cdef const double *v_next = <const double *> v_next_.start
    cdef const uint8_t *ended = <const uint8_t *> ended_.start
    cdef const uint8_t *stop = <const uint8_t *> stop_.start
    cdef double *adv = <double *> adv_.start
    cdef double decay = gamma * lam, td

    for t in range(T - 1, -1, -1):
        for i in range(t * B, (t + 1) * B):
            td = r[i] + gamma * (0.0 if ended[i] else v_next[i]) - v[i]  # [GAE-1]
            adv[i] = td + decay * (0.0 if t + 1 == T or stop[i] else adv[i + B])  # [GAE-2]
    return result


def discounted_returns(reward, next_value, terminated, cut, double gamma):
    """Reward-to-go (T, B) -> (T, B); an episode that is not finished is continued by its value.  [PG-6]"""
    cdef Array r_, v_next_, ended_, stop_, returns_
    reward = take(&r_, reward, "reward", FLOAT64, ANY, ANY)
    cdef Py_ssize_t T = r_.rows, B = r_.cols, t, i
    next_value = take(&v_next_, next_value, "next_value", FLOAT64, T, B)
    terminated = take(&ended_, terminated, "terminated", BOOL, T, B)
    cut = take(&stop_, cut, "cut", BOOL, T, B)
    result = new_array(&returns_, FLOAT64, T, B)
    cdef const double *r = <const double *> r_.start
    cdef const double *v_next = <const double *> v_next_.start
    cdef const uint8_t *ended = <const uint8_t *> ended_.start
    cdef const uint8_t *stop = <const uint8_t *> stop_.start
    cdef double *returns = <double *> returns_.start
    cdef double tail

    for t in range(T - 1, -1, -1):
        for i in range(t * B, (t + 1) * B):
            tail = v_next[i] if stop[i] or t + 1 == T else returns[i + B]
            returns[i] = r[i] + gamma * (0.0 if ended[i] else tail)  # [PG-6]
    return result


def running_return(reward, cut, carry, double gamma):
    """Discounted sum of the rewards so far, (T, B) -> (T, B) and the next carry (B,).

    R_t = r_t + γ R_{t−1}, from 0 after a cut.
    """
    cdef Array r_, stop_, carry_, sums_, running_
    reward = take(&r_, reward, "reward", FLOAT64, ANY, ANY)
    cdef Py_ssize_t T = r_.rows, B = r_.cols, _, b
    cut = take(&stop_, cut, "cut", BOOL, T, B)
    carry = take(&carry_, carry, "carry", FLOAT64, B, VECTOR)
    result, after = new_array(&sums_, FLOAT64, T, B), new_array(&running_, FLOAT64, B, VECTOR)
    cdef const double *r = <const double *> r_.start
    cdef const uint8_t *stop = <const uint8_t *> stop_.start
    cdef double *sums = <double *> sums_.start
    cdef double *running = <double *> running_.start

    for b in range(B):
        running[b] = (<const double *> carry_.start)[b]
    for _ in range(T):
        for b in range(B):
            sums[b] = r[b] + gamma * running[b]
            running[b] = 0.0 if stop[b] else sums[b]
        r += B
        stop += B
        sums += B
    return result, after
