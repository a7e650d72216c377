"""A tabular Markov decision process, solved exactly: V, Q, A, ρ, J of any policy, and all of its trajectories."""

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class MDP:
    """p(s'|s,a) (S, K, S), expected reward r(s,a) (S, K), p(s₀) (S,), discount γ. Leading axes: a batch of problems."""

    p: np.ndarray
    r: np.ndarray
    start: np.ndarray
    gamma: float

    @property
    def shape(self) -> tuple[int, int]:
        """S states, K actions."""
        return self.r.shape[-2], self.r.shape[-1]


class Solution(NamedTuple):
    """Of a policy: V (S,), Q and A (S, K), ρ (S,) unnormalised discounted visits, J (); leading axes: a batch."""

    v: np.ndarray
    q: np.ndarray
    adv: np.ndarray
    rho: np.ndarray
    j: np.ndarray


class Trajectories(NamedTuple):
    """All M paths of H steps: states (M, H+1), actions (M, H), p(s₀)·Π p(s'|s,a) (M,), rewards (M, H)."""

    states: np.ndarray
    actions: np.ndarray
    dynamics: np.ndarray
    rewards: np.ndarray


def random_mdp(
    rng: np.random.Generator, num_states: int, num_actions: int, gamma: float, concentration: float = 1.0
) -> MDP:
    """Dirichlet transitions (nearly deterministic for small `concentration`) and start, rewards uniform in [−1, 1]."""
    p = rng.dirichlet(np.full(num_states, concentration), size=(num_states, num_actions))
    return MDP(p, rng.uniform(-1, 1, (num_states, num_actions)), rng.dirichlet(np.ones(num_states)), gamma)


def softmax_policy(theta: np.ndarray) -> np.ndarray:
    """π(a|s) = softmax of θ (S, K) along the actions."""
    e = np.exp(theta - theta.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def solve(mdp: MDP, pi: np.ndarray) -> Solution:
    """The linear systems of a policy π (S, K), or of a batch of them (…, S, K).

    V = (I − γP_π)⁻¹ r_π,   Q = r + γ p V,   A = Q − V [PG-9],   ρ = (I − γP_πᵀ)⁻¹ p(s₀) [SUR-6],   J = p(s₀)ᵀV [PG-1]
    """
    p_pi = np.einsum("...sk,...skt->...st", pi, mdp.p)
    system = np.eye(p_pi.shape[-1]) - mdp.gamma * p_pi
    v = np.linalg.solve(system, (pi * mdp.r).sum(axis=-1)[..., None])[..., 0]
    q = mdp.r + mdp.gamma * np.einsum("...skt,...t->...sk", mdp.p, v)
    start = np.broadcast_to(mdp.start, v.shape)
    rho = np.linalg.solve(np.swapaxes(system, -1, -2), start[..., None])[..., 0]  # [SUR-6]
    return Solution(v, q, q - v[..., None], rho, (start * v).sum(axis=-1))  # [PG-9, PG-1]


def trajectories(mdp: MDP, horizon: int) -> Trajectories:
    """Every path s₀ a₀ s₁ … s_H: M = S^(H+1) K^H of them."""
    S, K = mdp.shape
    states = np.array(list(itertools.product(range(S), repeat=horizon + 1)))
    actions = np.array(list(itertools.product(range(K), repeat=horizon)))
    states, actions = np.repeat(states, len(actions), axis=0), np.tile(actions, (len(states), 1))
    steps = mdp.p[states[:, :-1], actions, states[:, 1:]]
    return Trajectories(states, actions, mdp.start[states[:, 0]] * steps.prod(axis=1), mdp.r[states[:, :-1], actions])


def sample_trajectories(
    mdp: MDP, pi: np.ndarray, horizon: int, episodes: int, rng: np.random.Generator
) -> Trajectories:
    """M = `episodes` paths of H steps, drawn step by step; 1/M replaces the dynamics' probability of `trajectories`."""
    states, actions = np.empty((episodes, horizon + 1), int), np.empty((episodes, horizon), int)

    def draw(prob: np.ndarray) -> np.ndarray:
        """One outcome per row of probabilities (M, n)."""
        return np.minimum((rng.random((episodes, 1)) > prob.cumsum(axis=1)).sum(axis=1), prob.shape[1] - 1)

    states[:, 0] = draw(np.broadcast_to(mdp.start, (episodes, len(mdp.start))))
    for t in range(horizon):
        actions[:, t] = draw(pi[states[:, t]])
        states[:, t + 1] = draw(mdp.p[states[:, t], actions[:, t]])
    return Trajectories(states, actions, np.full(episodes, 1 / episodes), mdp.r[states[:, :-1], actions])


def trajectory_prob(paths: Trajectories, pi: np.ndarray) -> np.ndarray:
    """P(τ|θ) = p(s₀) Π_t π(a_t|s_t) p(s_{t+1}|s_t, a_t) -> (M,).  [PG-2]"""
    return paths.dynamics * pi[paths.states[:, :-1], paths.actions].prod(axis=1)  # [PG-2]


def horizon_values(mdp: MDP, pi: np.ndarray, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """V_t(s) (H, S) and Q_t(s, a) (H, S, K) when H − t steps are left: backward induction from V_H = 0."""
    S, K = mdp.shape
    v, q = np.zeros((horizon + 1, S)), np.zeros((horizon, S, K))
    for t in range(horizon - 1, -1, -1):
        q[t] = mdp.r + mdp.gamma * mdp.p @ v[t + 1]
        v[t] = (pi * q[t]).sum(axis=1)
    return v[:-1], q
