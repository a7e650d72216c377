"""A Markov game of two agents that is solved exactly, and the gradient of its J by enumeration and by differences."""

import itertools

import numpy as np

from minirl.models.distributions import Categorical
from minirl.multiagent.central_critic import LocalPolicy
from minirl.multiagent.mappo import counterfactual_advantages

S, K, GAMMA = 3, (2, 3), 0.8  # states, actions of the two agents, discount


class TabularTeam:
    """Two agents who see the state, agent 0 only whether it is the first, in a random Markov game with one reward."""

    def __init__(self, rng):
        self.p = rng.dirichlet(np.ones(S), size=(S, *K))
        self.r, self.start = rng.normal(size=(S, *K)), rng.dirichlet(np.ones(S))
        self.obs = [np.array([[1.0], [0.0], [0.0]]), np.eye(S)]
        self.policies = [
            LocalPolicy(Categorical(k), o.shape[1], (4,), "tanh") for k, o in zip(K, self.obs, strict=True)
        ]
        self.theta = [3 * policy.init(rng, 0.0, np.float64) + 0.3 for policy in self.policies]

    def pi(self, theta):
        """π_i(a_i|o_i(s)) (S, K_i) of each agent."""
        found = []
        for policy, th, obs in zip(self.policies, theta, self.obs, strict=True):
            phi = policy.infer(th, obs)
            weight = np.exp(phi - phi.max(axis=1, keepdims=True))
            found.append(weight / weight.sum(axis=1, keepdims=True))
        return found

    def solve(self, theta):
        """J, Q (S, K₀, K₁) and the discounted visits (S,), by linear equations."""
        pi = np.einsum("si,sj->sij", *self.pi(theta))
        step, reward = np.einsum("sij,sijt->st", pi, self.p), (pi * self.r).sum(axis=(1, 2))
        v = np.linalg.solve(np.eye(S) - GAMMA * step, reward)
        visits = np.linalg.solve(np.eye(S) - GAMMA * step.T, self.start)
        return self.start @ v, self.r + GAMMA * self.p @ v, visits

    def rows(self, i, s, joint):
        """Rows of agent i: [its observation | the state | the actions of both as indicators]."""
        return np.hstack([self.obs[i][s], np.eye(S)[s], np.eye(K[0])[joint[:, 0]], np.eye(K[1])[joint[:, 1]]])

    def q_of(self, i, q):
        """The table as a function of rows."""
        D = self.obs[i].shape[1]
        parts = np.cumsum([D, S, *K])

        def of(rows):
            s, a, b = (rows[:, parts[n] : parts[n + 1]].argmax(axis=1) for n in range(3))
            assert (rows[:, D:].sum(axis=1) == 3).all()  # indicators: one state, one action of each
            return q[s, a, b]

        return of


def all_outcomes():
    """Every state with every joint action."""
    found = np.array(list(itertools.product(range(S), range(K[0]), range(K[1]))))
    return found[:, 0], found[:, 1:]


def expected_gradients(game):
    """E[∇ log π_i Â_i] of each agent: the sum over states and joint actions with the library's Â_i and ∇ log π_i."""
    _, q, visits = game.solve(game.theta)
    s, joint = all_outcomes()
    pi = game.pi(game.theta)
    weight = visits[s] * pi[0][s, joint[:, 0]] * pi[1][s, joint[:, 1]]
    found = []
    for i, (policy, theta) in enumerate(zip(game.policies, game.theta, strict=True)):
        rows, start = game.rows(i, s, joint), game.obs[i].shape[1] + S + (0, K[0])[i]
        own = slice(start, start + K[i])
        adv = counterfactual_advantages(policy, theta, game.q_of(i, q), rows, None, own, joint[:, i])
        phi, cache = policy.forward(theta, rows)
        dphi = policy.dist.dlog_prob(phi, joint[:, i]) * (weight * adv)[:, None]
        found.append(policy.vjp(theta, cache, dphi))
    return found


def differences_of_j(game, i, h=1e-5):
    """∇_{θ_i} J by central differences."""
    theta = [each.copy() for each in game.theta]
    found = np.empty(len(theta[i]))
    for n in range(len(found)):
        ends = []
        for sign in (1, -1):
            theta[i] = game.theta[i].copy()
            theta[i][n] += sign * h
            ends.append(game.solve(theta)[0])
        found[n] = (ends[0] - ends[1]) / (2 * h)
    return found
