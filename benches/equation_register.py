"""What the measurements of equations share: the register, small problems, and the oracles of tests/."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from minirl.algorithms.ppo import policy_loss

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from oracles import chosen, made_up_batch, random_theta, score

from minirl.models.distributions import Categorical, DiagGaussian
from minirl.models.policy import Policy
from minirl.theory import mdp

ROUNDING, DIFFERENCES = 1e-12, 1e-9  # what float64 leaves of a closed form, and of five-point differences
FAMILIES = (Categorical(3), DiagGaussian(2))
MEASURES: dict[str, tuple[str, float, Callable[[np.random.Generator], float]]] = {}


def measures(tag: str, quantity: str, tolerance: float):
    """Register a measurement."""

    def register(function):
        MEASURES[tag] = (quantity, tolerance, function)
        return function

    return register


def policies():
    """A network for each family."""
    return [Policy(dist, 4, (6,), "tanh") for dist in FAMILIES]


def setting(policy, rng, n=17):
    """θ_old, a batch of π_old, weights, and a θ some way off."""
    theta = random_theta(policy, rng)
    batch = made_up_batch(policy, theta, n, rng)
    return theta, batch, batch.weights, theta + 0.1 * rng.standard_normal(len(theta))


def over_families(measure) -> Callable[[np.random.Generator], float]:
    """The larger error of the two families."""
    return lambda rng: max(measure(policy, *setting(policy, rng), rng) for policy in policies())


def tabular(rng, num_states=2, num_actions=3, gamma=0.9):
    """A small problem and two softmax policies as logits."""
    problem = mdp.random_mdp(rng, num_states, num_actions, gamma)
    return problem, rng.normal(size=(num_states, num_actions)), rng.normal(size=(num_states, num_actions))


def mean_score(policy, theta, batch):
    return np.mean(
        [a * score(policy, theta, s, u) for a, s, u in zip(batch.adv, batch.obs, batch.action, strict=True)], axis=0
    )


def loss_of(policy, batch, w, theta_old, cfg, **extra):
    """dL/dφ's way to θ, and the loss as a function of θ: what the gradients below compare."""
    phi_old = policy.infer(theta_old, batch.obs)
    part = chosen(batch.action, batch.adv, policy.dist.log_prob(phi_old, batch.action), w.weight)._replace(
        phi_old=phi_old
    )

    def loss(theta):
        phi, cache = policy.forward(theta, batch.obs)
        value, dphi, ratio = policy_loss(policy.dist, phi, part, cfg, **extra)
        return value, policy.vjp(theta, cache, dphi), ratio

    return loss
