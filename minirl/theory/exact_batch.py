"""The library's own algorithms with exact expectations: a batch of every state and action, weighted by ρ(s) π(a|s).

The reductions take weighted means, so on this batch `policy_gradient`, the Fisher-vector product and the surrogate are
the true ones, up to the constant Σρ = 1/(1−γ); the very code that trains on samples is run against linear algebra.
"""

import numpy as np

from minirl.models.distributions import Categorical
from minirl.models.policy import Policy
from minirl.numerics.sums_over_samples import SampleWeights
from minirl.samples.batch import Batch
from minirl.theory.mdp import MDP, softmax_policy, solve


def tabular_policy(mdp: MDP) -> Policy:
    """A softmax policy without hidden layers on one-hot states, logits(s) = W[s] + b: every tabular policy is one."""
    return linear_policy(mdp.shape[0], mdp.shape[1])


def linear_policy(num_features: int, num_actions: int) -> Policy:
    """Softmax over linear logits of D features: fewer features than states make states share parameters."""
    return Policy(Categorical(num_actions), num_features, (), "tanh")


def pack(weights: np.ndarray) -> np.ndarray:
    """W (D, K) -> θ (n,) of a linear policy, with b = 0; of a tabular one W is the logits."""
    return np.concatenate([weights.ravel(), np.zeros(weights.shape[1])])


def probabilities(policy: Policy, theta: np.ndarray, features: np.ndarray) -> np.ndarray:
    """π (S, K) of θ in the states with these features (S, D)."""
    return softmax_policy(policy.infer(theta, features))


def exact_batch(mdp: MDP, policy: Policy, theta: np.ndarray, features: np.ndarray | None = None) -> Batch:
    """N = S·K samples, one per (s, a): weight ρ(s) π(a|s), advantage A(s,a), target V(s).

    Weighted means are expectations under ρ and π.

    features (S, D): what the policy sees of each state, one-hot when None.
    """
    S, K = mdp.shape
    features = np.eye(S) if features is None else features
    pi = probabilities(policy, theta, features)
    exact = solve(mdp, pi)
    state, action = np.divmod(np.arange(S * K), K)
    return Batch(
        obs=features[state],
        action=action,
        adv=exact.adv[state, action],
        returns=exact.v[state],
        value=exact.v[state],
        weights=SampleWeights(exact.rho[state] * pi[state, action]),
    )


def improve(mdp: MDP, step, cfg, theta: np.ndarray, iterations: int) -> tuple[np.ndarray, list[float]]:
    """Iterate `step` (npg_step, trpo_step, …) with exact expectations: the last θ (n,), J before each and after."""
    policy, returns = tabular_policy(mdp), []
    for _ in range(iterations):
        returns.append(float(solve(mdp, probabilities(policy, theta, np.eye(mdp.shape[0]))).j))
        theta, _ = step(policy, theta, exact_batch(mdp, policy, theta), cfg)
    returns.append(float(solve(mdp, probabilities(policy, theta, np.eye(mdp.shape[0]))).j))
    return theta, returns
