"""Another policy's trajectories: expectations under π from paths of π_old, by enumeration on a small problem."""

import numpy as np

from minirl.theory.gradients import discounted_return, score
from minirl.theory.mdp import MDP, Trajectories, softmax_policy, trajectories, trajectory_prob


def trajectory_ratio(paths: Trajectories, pi_old: np.ndarray, pi: np.ndarray) -> np.ndarray:
    """p_θ(τ) / p_old(τ) = Π_t π(a_t|s_t) / π_old(a_t|s_t) -> (M,): the dynamics cancel, unknown as they are.  [IS-3]"""
    states = paths.states[:, :-1]
    log_ratio = np.log(pi[states, paths.actions]) - np.log(pi_old[states, paths.actions])  # log r_t (M, H)
    return np.exp(log_ratio.sum(axis=1))  # [IS-3]


def reweighted_gradient(mdp: MDP, theta_old: np.ndarray, theta: np.ndarray, horizon: int) -> tuple[np.ndarray, float]:
    """∇J(θ) (S, K) = E_{τ∼old}[(p_θ/p_old) ∇log p_θ(τ) R(τ)], and its Σ Var from one trajectory.  [IS-4]"""
    paths, pi_old, pi = trajectories(mdp, horizon), softmax_policy(theta_old), softmax_policy(theta)
    prob = trajectory_prob(paths, pi_old)
    weight = trajectory_ratio(paths, pi_old, pi) * discounted_return(paths.rewards, mdp.gamma)
    grads = weight[:, None, None] * score(pi, paths.states[:, :-1], paths.actions).sum(axis=1)  # [IS-4]
    mean = np.einsum("m,msk->sk", prob, grads)
    return mean, float(np.einsum("m,msk->", prob, (grads - mean) ** 2))
