"""B parallel environments of PettingZoo's kind, stepped one after the other, as one `ManyAgents`."""

from typing import Any

import numpy as np
from gymnasium import spaces

from minirl.envs.contract import Misfit
from minirl.envs.faults import named, raise_placed
from minirl.envs.many_agents import Step
from minirl.envs.parallel_contract import Moved, ParallelCopy, Seen, agents_of
from minirl.envs.parallel_source import close_all
from minirl.envs.resumable import EpisodeLog, Resumable, beginning
from minirl.errors import EnvError

Array = np.ndarray[Any, Any]


class ParallelCopies(Resumable):
    """Environments with the same agents and spaces. EnvError, with copy and step, for what breaks the contract."""

    def __init__(self, envs: list[Any], title: str, keep_open: bool = False):
        if len({id(env) for env in envs}) < len(envs):
            raise EnvError(f"env = {title!r} gives the same object each time: it has to make a new one in each call")
        try:
            found = [agents_of(env) for env in envs]
        except Misfit as why:
            raise EnvError(f"env = {title!r}: {why}") from why
        except Exception as why:
            raise EnvError(f"env = {title!r}: its agents and spaces cannot be read: {named(why)}") from why
        for place, each in enumerate(found):
            if each != found[0]:
                raise EnvError(f"env = {title!r}: copies 0 and {place} have different agents or spaces")
        self._members = found[0]
        self._copies = [ParallelCopy(env, self._members) for env in envs]
        self._opened = [] if keep_open else envs
        self._log = EpisodeLog(len(envs))
        self.num_envs, self.agents = len(envs), tuple(self._members)
        self.observation_spaces = {name: agent.observation_space for name, agent in self._members.items()}
        self.action_spaces = {name: agent.action_space for name, agent in self._members.items()}
        self.alive: Array = np.zeros((self.num_envs, len(self.agents)), bool)
        self.masks: dict[str, Array] = {}

    def reset(self, seeds: list[int]) -> dict[str, Array]:
        """New games, one seed for each -> first observations, id -> (B, …); zeros for those who do not play."""
        if len(seeds) != self.num_envs:
            raise EnvError(f"{len(seeds)} seeds: takes {self.num_envs}, one for each environment")
        obs, masks = self._zeros(), dict[str, Array]()
        for b in range(self.num_envs):
            try:
                seen = self._reset(b, seeds[b])
            except BaseException as why:
                raise_placed(why, f"env={b}, step={self._log.taken}")
            self._write(obs, b, seen.obs)
            self._write_masks(masks, b, seen.masks)
        self.alive, self.masks = self._who(), masks
        return obs

    def step(self, actions: dict[str, Array]) -> Step:
        """Actions id -> (B,) or (B, d), those of the dead are ignored -> what happened."""
        if not self.alive.any():
            raise EnvError("step() before reset(): call reset() first")
        self._check(actions)
        B, N = self.num_envs, len(self.agents)
        led_to, obs = self._zeros(), self._zeros()
        masks = {name: np.ones_like(mask) for name, mask in self.masks.items()}
        reward, terminated, truncated = np.zeros((B, N)), np.zeros((B, N), bool), np.zeros((B, N), bool)
        self._log.acted(actions)
        for b, copy in enumerate(self._copies):
            try:
                moved = self._step(b, {name: x[b] for name, x in actions.items()})
                self._write(led_to, b, moved.led_to)  # before a reset, which may write into the same arrays
                for i, name in enumerate(self.agents):
                    if name in moved.reward:
                        reward[b, i] = moved.reward[name]
                        terminated[b, i], truncated[b, i] = moved.terminated[name], moved.truncated[name]
                seen = moved.left(copy.alive) if copy.alive else self._reset(b, None)
            except BaseException as why:
                raise_placed(why, f"env={b}, step={self._log.taken}")
            self._write(obs, b, seen.obs)
            self._write_masks(masks, b, seen.masks)
        self.alive, self.masks = self._who(), masks
        return Step(led_to, obs, reward, terminated, truncated, self.alive, masks)

    def _reset(self, b: int, seed: int | None) -> Seen:
        """A new episode of one copy."""
        self._log.began(b, beginning(self._copies[b].env, seed))
        return self._copies[b].reset(seed)

    def _step(self, b: int, actions: dict[str, Any]) -> Moved:
        """Those who are alive in one copy act."""
        copy = self._copies[b]
        return copy.step({name: self._action(name, actions[name]) for name in copy.alive})

    def forget(self) -> None:
        """Drop what belongs to episodes that are over."""
        self._log.forget()

    def snapshot(self) -> dict[str, Any] | None:
        """How each copy's episode began, and the actions since; None where a generator cannot be saved."""
        return self._log.tree()

    def restore(self, tree: dict[str, Any]) -> dict[str, Array]:
        """Play the episodes of a snapshot again -> observations; EnvError where they end, or an environment raises."""
        self._log.take(tree)
        self.masks, obs = {}, self._zeros()
        self.paid = paid = np.zeros((self.num_envs, len(self.agents)))
        for b, copy in enumerate(self._copies):
            how, actions = self._log.of(b)
            try:
                seen = copy.begin(how)
                for each in actions:
                    moved = self._step(b, each)
                    seen = moved.left(copy.alive)
                    paid[b] += [moved.reward.get(name, 0.0) for name in self.agents]
            except BaseException as why:
                raise_placed(why, f"env={b}, step={self._log.taken}")
            self._write(obs, b, seen.obs)
            self._write_masks(self.masks, b, seen.masks)
        self.alive = self._who()
        if not self.alive.any(axis=1).all():
            raise EnvError("an episode that was going on ended when it was played again")
        return obs

    def close(self) -> None:
        """Close the environments that were made here."""
        close_all(self._opened)

    def _zeros(self) -> dict[str, Array]:
        """Observations of nobody, id -> (B, …)."""
        B, spaces_of = self.num_envs, self.observation_spaces
        return {name: np.zeros((B, *space.shape), space.dtype) for name, space in spaces_of.items()}

    def _write(self, rows: dict[str, Array], b: int, obs: dict[str, Any]) -> None:
        for name, value in obs.items():
            rows[name][b] = value

    def _write_masks(self, masks: dict[str, Array], b: int, found: dict[str, Array]) -> None:
        """Masks of copy b; who does not play may do anything, so that every row allows something."""
        for name, mask in found.items():
            if name not in masks:
                masks[name] = np.ones((self.num_envs, len(mask)), bool)
            masks[name][b] = mask

    def _who(self) -> Array:
        """Who acts next (B, N)."""
        return np.array([[name in copy.alive for name in self.agents] for copy in self._copies])

    def _check(self, actions: dict[str, Array]) -> None:
        """EnvError where an agent that is alive has no action for each environment."""
        for i, name in enumerate(self.agents):
            if name not in actions:
                if self.alive[:, i].any():
                    raise EnvError(f"actions without agent {name!r}: takes those of {', '.join(self.agents)}")
            elif np.shape(actions[name]) != (wanted := (self.num_envs, *self.action_spaces[name].shape)):
                raise EnvError(f"actions of agent {name!r} have shape {np.shape(actions[name])}: takes {wanted}")

    def _action(self, name: str, value: Any) -> Any:
        """One action as the environment takes it."""
        return int(value) if isinstance(self.action_spaces[name], spaces.Discrete) else np.array(value)
