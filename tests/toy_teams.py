"""Parallel environments whose answers are known: copies of one environment, agents that die, matrix games."""

import gymnasium
import numpy as np
from gymnasium import spaces


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
    """Games of 6 steps; agent_1 is gone after its third, terminated or truncated. Observed: 10 · agent + t, reward 2ᵗ."""

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
