"""Policy gradients as random variables over trajectories, a rung of the ladder each: mean and variance by enumeration.

    REINFORCE R(τ) → reward-to-go G_t → G_t − V → A  [PG-5 → PG-6 → PG-8 → PG-10]

For a softmax policy θ (S, K). The horizon is finite, and so are the sums; V, Q are those of the remaining steps.
"""

import numpy as np

from minirl.theory.mdp import MDP, Trajectories, horizon_values, softmax_policy, solve, trajectories, trajectory_prob

RUNGS = ("trajectory", "reward_to_go", "baseline", "advantage")


def score(pi: np.ndarray, state: np.ndarray, action: np.ndarray) -> np.ndarray:
    """∇_θ log π(a|s) for softmax θ (S, K): row s holds 1[k = a] − π(k|s) -> (…, S, K)."""
    S, K = pi.shape
    row = np.eye(K)[action] - pi[state]
    return np.eye(S)[state][..., None] * row[..., None, :]


def discounted_return(rewards: np.ndarray, gamma: float) -> np.ndarray:
    """R(τ) = Σ_t γ^t r_t: (M, H) -> (M,).  [PG-1]"""
    return rewards @ gamma ** np.arange(rewards.shape[1])  # [PG-1]


def reward_to_go(rewards: np.ndarray, gamma: float) -> np.ndarray:
    """G_t = Σ_{t' ≥ t} γ^{t'−t} r_{t'}: (M, H) -> (M, H).  [PG-6]"""
    H = rewards.shape[1]
    lag = np.arange(H)[:, None] - np.arange(H)[None, :]  # t' − t
    return rewards @ np.where(lag >= 0, gamma ** np.maximum(lag, 0), 0.0)  # [PG-6]


def rung_weights(mdp: MDP, pi: np.ndarray, paths: Trajectories, rung: str) -> np.ndarray:
    """What multiplies ∇log π(a_t|s_t) on a rung -> (M, H), without the γ^t of the unbiased estimators."""
    H = paths.actions.shape[1]
    v, q = horizon_values(mdp, pi, H)
    t = np.arange(H)
    states = paths.states[:, :-1]
    if rung == "trajectory":
        return np.repeat(discounted_return(paths.rewards, mdp.gamma)[:, None], H, axis=1)  # [PG-5]
    if rung == "reward_to_go":
        return reward_to_go(paths.rewards, mdp.gamma)  # [PG-6]
    if rung == "baseline":
        return reward_to_go(paths.rewards, mdp.gamma) - v[t, states]  # [PG-8]
    return q[t, states, paths.actions] - v[t, states]  # [PG-10]


def rung_gradients(mdp: MDP, theta: np.ndarray, paths: Trajectories, rung: str, discounted: bool = True) -> np.ndarray:
    """Each trajectory's gradient Σ_t [γ^t] ∇log π(a_t|s_t) w_t -> (M, S, K). `discounted=False`: no γ^t, as usual."""
    pi = softmax_policy(theta)
    weights = rung_weights(mdp, pi, paths, rung)
    if discounted and rung != "trajectory":
        weights = weights * mdp.gamma ** np.arange(weights.shape[1])
    return np.einsum("mt,mtsk->msk", weights, score(pi, paths.states[:, :-1], paths.actions))  # Σ_t ∇log π w_t  [PG-4]


def mean_and_variance(
    mdp: MDP, theta: np.ndarray, horizon: int, rung: str, discounted: bool = True
) -> tuple[np.ndarray, float]:
    """E[gradient] (S, K) and its total variance Σ Var over all trajectories, exactly."""
    paths = trajectories(mdp, horizon)
    prob = trajectory_prob(paths, softmax_policy(theta))
    grads = rung_gradients(mdp, theta, paths, rung, discounted)
    mean = np.einsum("m,msk->sk", prob, grads)  # Σ_τ P ∇log P R  [PG-3]
    return mean, float(np.einsum("m,msk->", prob, (grads - mean) ** 2))


def exact_gradient(mdp: MDP, theta: np.ndarray) -> np.ndarray:
    """∇J, infinite horizon: Σ_s ρ(s) Σ_a π(a|s) ∇log π(a|s) A(s,a) -> (S, K), the policy-gradient theorem.  [PG-10]"""
    pi = softmax_policy(theta)
    exact = solve(mdp, pi)
    return exact.rho[:, None] * pi * exact.adv  # [PG-10]: Σ_a π(a) (1[k=a] − π_k) A(a) = π_k A(k), for Σ π A = 0


def gae_bias(mdp: MDP, pi: np.ndarray, error: np.ndarray, lam: float) -> np.ndarray:
    """E[Â^GAE | s, a] − A(s,a) (S, K) when the critic is V + error: −e(s) + γ(1−λ) E[Σ_l (γλ)^l e(s_{l+1})].  [GAE-2]

    Of Σ_l (γλ)^l δ_l each e(s_{l+1}) is left with γ(γλ)^l − (γλ)^{l+1}. At λ = 1 only −e(s) remains, a baseline.
    """
    p_pi = np.einsum("sk,skt->st", pi, mdp.p)
    later = np.linalg.solve(np.eye(len(p_pi)) - mdp.gamma * lam * p_pi, error)  # Σ_l (γλ)^l P^l e
    return mdp.gamma * (1 - lam) * mdp.p @ later - error[:, None]  # [GAE-2]
