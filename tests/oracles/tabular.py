"""What the tests of the theory hold it against: sums over time and over paths where the library solves linear systems.

Problems are small: S states, K actions. No oracle here calls a solver or a function of `minirl.theory`.
"""

from itertools import product

import numpy as np

from minirl.theory.mdp import MDP, random_mdp


def off_by(actual, expected):
    """max |actual − expected| / max(1, |expected|): absolute for what is of order 1 or smaller. NaN stays NaN."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    return float((np.abs(actual - expected) / np.maximum(1.0, np.abs(expected))).max())


def problem(gamma, seed=0, states=3, actions=2, concentration=1.0, scale=1.0):
    """A random MDP and the logits of a random policy (S, K)."""
    rng = np.random.default_rng([seed, 1502])
    mdp = random_mdp(rng, states, actions, gamma, concentration)
    return mdp, scale * rng.standard_normal((states, actions))


def softmax(theta):
    """Row by row, without precautions."""
    return np.exp(theta) / np.exp(theta).sum(axis=-1, keepdims=True)


def occupancy(mdp, pi, steps):
    """P(s_t = s | π) for t < steps, (steps, S), carried forward one step at a time."""
    d, rows = mdp.start, []
    move = sum(pi[:, a, None] * mdp.p[:, a, :] for a in range(pi.shape[1]))
    for _ in range(steps):
        rows.append(d)
        d = d @ move
    return np.array(rows)


def terms_for(gamma):
    """How many terms leave a rest below 1e-17."""
    return max(2, int(np.ceil(np.log(1e-17 * (1 - gamma)) / np.log(gamma))))


def series_visits(mdp, pi, gamma=None, steps=None):
    """Σ_t γ^t P(s_t = s) term by term (S,)."""
    gamma = mdp.gamma if gamma is None else gamma
    rows = occupancy(mdp, pi, steps or terms_for(gamma))
    return (gamma ** np.arange(len(rows))[:, None] * rows).sum(axis=0)


def series_j(mdp, pi, steps=None):
    """Σ_t γ^t E[r_t], over `steps` steps or for ever."""
    rows = occupancy(mdp, pi, steps or terms_for(mdp.gamma))
    reward = (pi * mdp.r).sum(axis=1)
    return float(sum(mdp.gamma**t * (d @ reward) for t, d in enumerate(rows)))


def value_iteration(mdp, sweeps=3000):
    """V* (S,) by the Bellman optimality operator."""
    v = np.zeros(len(mdp.r))
    for _ in range(sweeps):
        v = (mdp.r + mdp.gamma * mdp.p @ v).max(axis=1)
    return v


def walks(mdp, pi, horizon):
    """Every path as (states, actions, probability), each probability multiplied out step by step."""
    S, K = mdp.r.shape
    for states in product(range(S), repeat=horizon + 1):
        for actions in product(range(K), repeat=horizon):
            prob = mdp.start[states[0]]
            for t, a in enumerate(actions):
                prob *= pi[states[t], a] * mdp.p[states[t], a, states[t + 1]]
            yield states, actions, prob


def plain_kl(p, q):
    """Σ p log(p/q) of positive tables along the last axis, quotient first."""
    return (p * np.log(p / q)).sum(axis=-1)


def problems(rng, n, gamma, states=4, actions=3):
    """n random MDPs as one batch, from near deterministic to near uniform transitions."""
    concentration = 10.0 ** rng.uniform(-1.5, 0.5, (n, 1, 1, 1))
    mass = rng.standard_gamma(np.broadcast_to(concentration, (n, states, actions, states))) + 1e-300
    reward = rng.uniform(-1, 1, (n, states, actions))
    return MDP(mass / mass.sum(axis=-1, keepdims=True), reward, rng.dirichlet(np.ones(states), n), gamma)


def policy_pairs(rng, n, states=4, actions=3):
    """n pairs of softmax policies (n, S, K), near uniform to near deterministic, near each other to far apart."""
    theta = rng.standard_normal((n, states, actions)) * 10.0 ** rng.uniform(-1, 1, (n, 1, 1))
    step = rng.standard_normal((n, states, actions)) * 10.0 ** rng.uniform(-2, 1, (n, 1, 1))
    return softmax(theta), softmax(theta + step)


def one_of(mdps, i):
    """The i-th problem of a batch."""
    return MDP(mdps.p[i], mdps.r[i], mdps.start[i], mdps.gamma)
