"""Errors of several agents and of self-play: against separate runs, by enumeration, in the sum of ratings."""

import numpy as np
from equation_register import DIFFERENCES, measures
from oracles import relative_error
from oracles.tabular_team import TabularTeam, differences_of_j, expected_gradients
from toy_teams import ippo_beside_ppo

from minirl.multiagent.opponent_pool import Checkpoint, Pool, RandomPlayer


@measures("EXT-1", "parameters of three agents, nothing shared, against three runs of PPO", 0.0)
def _(_rng):
    pairs = [(a.tree()["algorithm"], b.tree()["algorithm"]) for _, a, b in ippo_beside_ppo({})]
    return max(np.abs(a[name] - b[name]).max() for a, b in pairs for name in ("theta_pi", "theta_v"))


@measures("EXT-2", "E[∇log π_i Â_i] over all joint actions of a Markov game against differences of J", 10 * DIFFERENCES)
def _(rng):
    errors = []
    for _ in range(5):
        game = TabularTeam(rng)
        errors += [relative_error(found, differences_of_j(game, i)) for i, found in enumerate(expected_gradients(game))]
    return max(errors)


@measures("EXT-3", "drift of the sum of all ratings over 1000 games", 1e-9)
def _(rng):
    pool = Pool(100, "uniform", rng)
    pool.members = [Checkpoint(RandomPlayer(), n, float(elo)) for n, elo in enumerate(rng.normal(0, 300, 7))]
    before = sum(member.elo for member in pool.members)
    for _ in range(50):
        pool.record(pool.draw(20), rng.choice([-1.0, 0.0, 1.0], size=20))
    return abs(pool.elo + sum(member.elo for member in pool.members) - before)
