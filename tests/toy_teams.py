"""Parallel environments whose answers are known: copies of one environment, agents that die, matrix games."""

import gymnasium
import numpy as np
from gymnasium import spaces
from toy_envs import vector

import minirl
from minirl.envs.make_many_agents import make_many_agents
from minirl.multiagent import METHODS
from minirl.multiagent.team_learner import TeamLearner, agent_seed
from minirl.numerics import random_streams


class Walk(gymnasium.Env):
    """s' = 0.8 s + 0.1 a + noise; episodes of 5 steps end by termination and by truncation in turns."""

    def __init__(self, actions=3):
        self.observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float32)
        self.action_space = spaces.Discrete(actions) if isinstance(actions, int) else actions
        self.state, self.t, self.episode = np.zeros(3, np.float32), 0, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state[:] = self.np_random.standard_normal(3)
        self.t, self.episode = 0, self.episode + 1
        return self.state.copy(), {}

    def step(self, action):
        self.t += 1
        self.state *= 0.8
        self.state += 0.1 * np.mean(action) + 0.3 * self.np_random.standard_normal(3)
        over = self.t == 5
        ends = over and self.episode % 2 == 0, over and self.episode % 2 == 1
        return self.state.copy(), float(self.state.sum()), *ends, {}


class Parallel:
    """Base of the parallel environments below: agents 0, 1, … of equal spaces that are there from reset to end."""

    metadata: dict = {"name": "parallel"}  # noqa: RUF012
    possible_agents = ("agent_0", "agent_1")
    spaces: tuple

    def observation_space(self, agent):
        return self.spaces[0]

    def action_space(self, agent):
        return self.spaces[1]

    def of_all(self, value):
        return dict.fromkeys(self.possible_agents, value)


class Copies(Parallel):
    """One single-agent environment for each agent, which know nothing of each other.

    seeds: agent -> its seed, in place of the one that all would be given.
    """

    def __init__(self, make, seeds):
        self.envs = {name: make() for name in seeds}
        self.possible_agents, self.seeds = tuple(seeds), seeds
        one = next(iter(self.envs.values()))
        self.spaces = one.observation_space, one.action_space

    def reset(self, seed=None, options=None):
        self.agents = list(self.possible_agents)
        seeds = self.seeds if seed is not None else {}
        return {name: env.reset(seed=seeds.get(name))[0] for name, env in self.envs.items()}, self.of_all({})

    def step(self, actions):
        results = {name: env.step(actions[name]) for name, env in self.envs.items()}
        parts = [{name: result[i] for name, result in results.items()} for i in range(4)]
        self.agents = [name for name in self.agents if not (parts[2][name] or parts[3][name])]
        return (*parts, self.of_all({}))


class Dying(Parallel):
    """Games of 6 steps; agent_1 is gone after its third, terminated or truncated. Sees 10 · agent + t, reward 2ᵗ."""

    spaces = spaces.Box(-np.inf, np.inf, (1,), np.float64), spaces.Discrete(2)

    def __init__(self, end="terminated", length=6, life=3):
        self.end, self.length, self.life = end, length, life

    def seen(self):
        return {name: np.array([10.0 * int(name[-1]) + self.t]) for name in self.agents}

    def reset(self, seed=None, options=None):
        self.agents, self.t = list(self.possible_agents), 0
        return self.seen(), self.of_all({})

    def step(self, actions):
        reward, acted = 2.0**self.t, self.agents
        self.t += 1
        obs = self.seen()
        over = {name: self.t == (self.length if name == "agent_0" else self.life) for name in acted}
        no = dict.fromkeys(acted, False)
        ends = (over, no) if self.end == "terminated" else (no, over)
        self.agents = [name for name in acted if not over[name]]
        return obs, dict.fromkeys(acted, reward), *ends, {name: {} for name in acted}


class Matrix(Parallel):
    """A game of one move in which both agents get `payoff[a₀, a₁]`, `rounds` times."""

    payoff: np.ndarray
    rounds = 1

    def __init__(self):
        k = len(self.payoff)
        self.spaces = spaces.Box(0, 1, (1,), np.float32), spaces.Discrete(k)

    def reset(self, seed=None, options=None):
        self.agents, self.t = list(self.possible_agents), 0
        return self.of_all(np.ones(1, np.float32)), self.of_all({})

    def step(self, actions):
        self.t += 1
        reward = float(self.payoff[actions["agent_0"], actions["agent_1"]])
        over = self.t == self.rounds
        self.agents = [] if over else self.agents
        return self.of_all(np.ones(1, np.float32)), *map(self.of_all, (reward, over, False, {}))


class Climbing(Matrix):
    """The climbing game (Claus and Boutilier, 1998): the best joint action is surrounded by the worst."""

    payoff = np.array([[11.0, -30, 0], [-30, 7, 6], [0, 0, 5]])


class Penalty(Matrix):
    """The penalty game: two best joint actions, and a penalty where the agents mean different ones."""

    payoff = np.array([[-10.0, 0, 10], [0, 2, 0], [10, 0, -10]])


class Chain(Matrix):
    """The climbing game three times: there is a next joint action."""

    payoff, rounds = Climbing.payoff, 3


class Vanishing(Parallel):
    """Its agents are there for one game and never come back."""

    spaces = Dying.spaces
    games = 0

    def reset(self, seed=None, options=None):
        self.games, self.t = self.games + 1, 0
        self.agents = list(self.possible_agents) if self.games == 1 else []
        return {name: np.zeros(1) for name in self.agents}, {name: {} for name in self.agents}

    def step(self, actions):
        self.t += 1
        over, self.agents = self.t == 3, [] if self.t == 3 else self.agents
        return self.of_all(np.zeros(1)), *map(self.of_all, (0.0, over, False, {}))


class Unmatched(Dying):
    """The space of agent_1's actions is one that nobody can act in."""

    def action_space(self, agent):
        return spaces.Discrete(2) if agent == "agent_0" else spaces.Text(3)


SMALL = {"hidden": (5,), "minibatch_size": 8, "epochs": 2, "total_timesteps": 10**6, "dtype": "float64"}


def team(method, env, num_envs=2, **fields):
    """A learner of several agents on copies of an environment."""
    config = minirl.configure(method, env=env, num_envs=num_envs, **(SMALL | {"num_steps": 6} | fields))
    return TeamLearner(METHODS[method], make_many_agents(env, num_envs, **config.env_kwargs), config)


def rollouts_of(learner):
    """One rollout of each group, under the policies as they are."""
    actors = [t.nets.policy.actor(t.state["theta_pi"], t.preprocess) for t in learner.trainees]
    return learner.collector.collect(actors)


def same_trees(a, b):
    """Trees of arrays and scalars, equal to the last bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_trees(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same_trees, a, b))
    return type(a) is type(b) and (np.array_equal(a, b) and np.asarray(a).dtype == np.asarray(b).dtype)


def ippo_beside_ppo(options, actions=3, dtype="float64"):
    """Three agents on copies of Walk by IPPO, and each by PPO alone with its own seed: name, trainee, learner."""
    B, seed, names = 3, 7, ("first", "second", "third")
    fields = SMALL | {"num_steps": 16, "num_envs": B, "seed": seed, "dtype": dtype, "total_timesteps": 5 * 16 * B}
    own = [agent_seed(seed, i) for i in range(len(names))]
    env_seeds = [random_streams.integer_seeds(random_streams.stream_seeds(s)["envs"], B) for s in own]
    copies = iter(range(B))

    def make():
        b = next(copies)
        return Copies(lambda: Walk(actions), {name: env_seeds[i][b] for i, name in enumerate(names)})

    several = minirl.learn("ippo", make_many_agents(make, B), minirl.configure("ippo", **(fields | options)))
    assert len(list(several)) == 5 and len(set(own)) == len(names)
    for i, (name, trainee) in enumerate(zip(names, several.trainees, strict=True)):
        config = minirl.configure("ppo", **(fields | options | {"seed": own[i]}))
        alone = minirl.learn("ppo", vector(Walk, *[{"actions": actions}] * B), config)
        assert len(list(alone)) == 5
        yield name, trainee, alone
