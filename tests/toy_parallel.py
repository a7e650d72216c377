"""A parallel environment of PettingZoo's kind in plain Python, for tests: agents die, dicts come in any order."""

import numpy as np
from gymnasium import spaces


class Mortal:
    """Agents c, a, b of different spaces; `lives`: after how many steps each one ends, c by truncation."""

    metadata: dict = {"name": "mortal"}  # noqa: RUF012
    possible_agents = ("c", "a", "b")
    sizes = {"a": 2, "b": 3, "c": 1}  # noqa: RUF012
    lives = {"a": 2, "b": 4, "c": 5}  # noqa: RUF012

    def __init__(self, order=None, masks=False, nested=False):
        self.order, self.masks, self.nested = order, masks, nested
        self.rng = np.random.default_rng()
        self.played = []  # the action dicts

    def observation_space(self, agent):
        space = spaces.Box(-np.inf, np.inf, (self.sizes[agent],), np.float32)
        mask = spaces.MultiBinary(4)
        return spaces.Dict({"observation": space, "action_mask": mask}) if self.nested else space

    def action_space(self, agent):
        return spaces.Discrete(4) if agent != "b" or self.masks else spaces.Box(-1, 1, (2,), np.float32)

    def shuffled(self, parts):
        """The same dict, its keys in another order each time."""
        names = sorted(parts) if self.order is None else self.order.permutation(sorted(parts)).tolist()
        return {name: parts[name] for name in names}

    def seen(self, agent):
        base = float("abc".index(agent)) + 10 * self.t
        obs = np.full(self.sizes[agent], base + self.start, np.float32)
        return {"observation": obs, "action_mask": self.mask(agent)} if self.nested else obs

    def mask(self, agent):
        mask = np.zeros(4, np.int8)
        mask[[self.t % 4, "abc".index(agent)]] = 1
        return mask

    def infos(self, names):
        return {name: {"action_mask": self.mask(name)} if self.masks and not self.nested else {} for name in names}

    def reset(self, seed=None, options=None):
        if seed is not None:
            self.rng = np.random.default_rng(seed)
        self.t, self.start, self.agents = 0, self.rng.random(), list(self.possible_agents)
        return self.shuffled({a: self.seen(a) for a in self.agents}), self.shuffled(self.infos(self.agents))

    def step(self, actions):
        self.played.append(dict(actions))
        self.t += 1
        acted = self.agents
        over = {a: self.t >= self.lives[a] and a != "c" for a in acted}
        cut = {a: self.t >= self.lives[a] and a == "c" for a in acted}
        reward = {a: float("abc".index(a) + np.sum(actions[a])) for a in acted}
        self.agents = [a for a in acted if not (over[a] or cut[a])]
        parts = ({a: self.seen(a) for a in acted}, reward, over, cut, self.infos(acted))
        return tuple(self.shuffled(part) for part in parts)
