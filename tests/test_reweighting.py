"""Importance sampling of whole trajectories, enumerated."""

import numpy as np
import pytest
from oracles import gradient, relative_error

from minirl.theory.mdp import random_mdp, softmax_policy, trajectories, trajectory_prob
from minirl.theory.reweighting import reweighted_gradient, trajectory_ratio

HORIZON = 3


@pytest.fixture
def problem(rng):
    """A problem of 2 states and 3 actions, and two policies that differ a good deal."""
    return random_mdp(rng, 2, 3, 0.9), rng.normal(size=(2, 3)), rng.normal(size=(2, 3))


def test_is_3_the_ratio_of_trajectories_is_that_of_their_probabilities(problem):
    mdp, old, new = problem
    paths = trajectories(mdp, HORIZON)
    p_old, p_new = (trajectory_prob(paths, softmax_policy(theta)) for theta in (old, new))
    assert relative_error(trajectory_ratio(paths, softmax_policy(old), softmax_policy(new)), p_new / p_old) < 1e-12


def test_is_1_reweighted_expectations_are_those_of_the_other_policy(problem):
    mdp, old, new = problem
    paths = trajectories(mdp, HORIZON)
    f = (paths.states**2 + 1).sum(axis=1) + 0.1 * paths.rewards.sum(axis=1)
    p_old, p_new = (trajectory_prob(paths, softmax_policy(theta)) for theta in (old, new))
    ratio = trajectory_ratio(paths, softmax_policy(old), softmax_policy(new))
    assert np.sum(p_old * ratio * f) == pytest.approx(np.sum(p_new * f), rel=1e-12)
    assert np.sum(p_old * ratio) == pytest.approx(1, rel=1e-12)


def test_is_4_the_gradient_at_theta_from_the_old_policys_trajectories(problem):
    mdp, old, new = problem
    discount = mdp.gamma ** np.arange(HORIZON)
    paths = trajectories(mdp, HORIZON)

    def objective(theta):  # E_τ[Σ γ^t r_t], each path with its probability: no score, no ratio
        return float(trajectory_prob(paths, softmax_policy(theta)) @ (paths.rewards * discount).sum(axis=1))

    found, variance = reweighted_gradient(mdp, old, new, HORIZON)
    assert relative_error(found, gradient(objective, new)) < 1e-8
    fresh, on_policy = reweighted_gradient(mdp, new, new, HORIZON)
    assert relative_error(fresh, found) < 1e-12 and variance > 0 and on_policy > 0
