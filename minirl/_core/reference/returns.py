"""Returns and advantages, backwards in time: the twins of compiled/returns.pyx."""

import numpy as np

__all__ = ["discounted_returns", "gae", "running_return"]


def same_shape(*arrays):
    """ValueError unless all shapes are equal: (T, B) against (T, 1) would silently broadcast to a wrong result."""
    if len({a.shape for a in arrays}) > 1:
        raise ValueError(f"shapes {', '.join(str(a.shape) for a in arrays)}: have to be equal")


def gae(reward, value, next_value, terminated, cut, gamma, lam):
    """Generalised advantage estimation (Schulman et al., 2016): arrays (T, B) -> advantages (T, B), float64.

    δ_t = r_t + γ (1 − terminated_t) V(s'_t) − V(s_t) [GAE-1]
    A_t = δ_t + γ λ (1 − cut_t) A_{t+1},  cut = terminated or truncated [GAE-2]
    """
    same_shape(reward, value, next_value, terminated, cut)
    reward, value, next_value = (x.astype(np.float64, copy=False) for x in (reward, value, next_value))
    td = reward + gamma * np.where(terminated, 0.0, next_value) - value  # [GAE-1]
    adv = np.empty_like(td)
    running = np.zeros(td.shape[1])
    for t in range(len(td) - 1, -1, -1):
        running = td[t] + gamma * lam * np.where(cut[t], 0.0, running)  # [GAE-2]; λ = 0: [GAE-3], λ = 1: [GAE-4]
        adv[t] = running
    return adv


def discounted_returns(reward, next_value, terminated, cut, gamma):
    """Reward-to-go (T, B) -> (T, B), float64; an episode that is not finished is continued by its value.

    G_t = r_t + γ (1 − terminated_t) (V(s'_t) if cut_t or t = T−1 else G_{t+1}) [PG-6]
    """
    same_shape(reward, next_value, terminated, cut)
    returns = np.empty(reward.shape)
    running = next_value[-1] if len(reward) else None
    for t in range(len(reward) - 1, -1, -1):
        tail = np.where(cut[t], next_value[t], running)
        running = reward[t] + gamma * np.where(terminated[t], 0.0, tail)  # [PG-6]
        returns[t] = running
    return returns


def running_return(reward, cut, carry, gamma):
    """Discounted sum of the rewards so far, (T, B) -> (T, B), carry (B,): R_t = r_t + γ R_{t−1}, from 0 after a cut.

    Returns the sums and the carry that the next call takes.
    """
    same_shape(reward, cut)
    if carry.shape != reward.shape[1:]:
        raise ValueError(f"carry of shape {carry.shape} for {reward.shape[1]} environments")
    sums = np.empty(reward.shape)
    running = np.array(carry, dtype=np.float64)
    for t in range(len(reward)):
        running = reward[t] + gamma * running
        sums[t] = running
        running = np.where(cut[t], 0.0, running)
    return sums, running
