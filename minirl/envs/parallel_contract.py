"""One environment with PettingZoo's parallel interface, held against what that interface promises.

Agents are taken in sorted order, whatever order an environment's dicts have. What does not fit is a `Misfit` that names
the agent; who catches it knows which copy it was and in which step.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from gymnasium import Env, spaces

from minirl.envs.contract import KEY, NUMBERS, Misfit, as_flag, as_mask, fitted, mask_size
from minirl.envs.resumable import begin

Array = np.ndarray[Any, Any]

FIRST = ("observations", "infos")
NEXT = ("observations", "rewards", "terminations", "truncations", "infos")
PARTS = ("reset", "step", "possible_agents", "observation_space", "action_space")
NESTED = {"observation", KEY}  # PettingZoo's older way: the observation is a dict with the mask in it


@dataclass(frozen=True)
class Agent:
    """What one agent sees and does."""

    observation_space: Any
    action_space: Any
    nested: bool  # its observations are dicts of observation and action_mask
    choices: int | None  # K, the size of a mask


class Seen(NamedTuple):
    """What agents act on next: id -> observation, id -> mask (K,) where there is one."""

    obs: dict[str, Any]
    masks: dict[str, Array]


class Moved(NamedTuple):
    """What a step led to, of those who acted, and what is acted on next, of those who are left."""

    led_to: dict[str, Any]
    reward: dict[str, float]
    terminated: dict[str, bool]
    truncated: dict[str, bool]
    masks: dict[str, Array]

    def left(self, alive: list[str]) -> Seen:
        """What those who are alive act on next, where the episode goes on."""
        return Seen({name: self.led_to[name] for name in alive}, self.masks)


def agents_of(env: Any) -> dict[str, Agent]:
    """Its agents, sorted; Misfit where it is not parallel."""
    kind = type(env).__name__
    if hasattr(env, "agent_iter"):
        remedy = "PettingZoo's parallel_env, or its aec_to_parallel, gives one in which all act at once"
        raise Misfit(f"it is a {kind} in which agents take turns, not a parallel environment; {remedy}")
    if isinstance(env, Env):
        raise Misfit(f"it is a {kind}, a gymnasium environment for one agent, not a parallel environment of several")
    missing = [part for part in PARTS if not hasattr(env, part)]
    if missing:
        raise Misfit(f"it is a {kind} without {', '.join(missing)}, so no parallel environment as PettingZoo's are")
    names = list(env.possible_agents)
    if not names or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise Misfit(f"possible_agents has to be a list of different names, it is {names!r}")
    return {name: _agent(env, name) for name in sorted(names)}


def _agent(env: Any, name: str) -> Agent:
    space, actions = env.observation_space(name), env.action_space(name)
    nested = isinstance(space, spaces.Dict) and set(space.spaces) == NESTED
    if nested:
        space = space["observation"]
    for what, one in (("observation_space", space), ("action_space", actions)):
        if not isinstance(one, NUMBERS):
            remedy = "takes a Box, Discrete, MultiDiscrete or MultiBinary of gymnasium.spaces"
            raise Misfit(f"the {what} of agent {name!r} is a {type(one).__name__}: {remedy}")
    return Agent(space, actions, nested, mask_size(actions))


class ParallelCopy:
    """One environment and who plays in it."""

    def __init__(self, env: Any, agents: dict[str, Agent]):
        self.env, self.agents = env, agents
        self.alive: list[str] = []  # who acts next, sorted
        self._masked: set[str] = set()  # who had a mask at the reset
        self._outside: set[str] = set()  # who does not play in this episode, and must not appear in it

    def reset(self, seed: int | None) -> Seen:
        """A new episode."""
        return self._first(self.env.reset(seed=seed))

    def begin(self, how: dict[str, Any]) -> Seen:
        """An episode that begins as another one began."""
        return self._first(begin(self.env, how))

    def _first(self, result: Any) -> Seen:
        """What a reset returned."""
        obs, infos = _dicts("reset", FIRST, result)
        there = self._listed()
        if not there:
            raise Misfit("reset() leaves no agents: at least one has to be there when an episode starts")
        self._known(there | set(obs))
        self.alive, self._outside = sorted(there), set(self.agents) - there
        found = [(name, self._mask(name, obs, infos)) for name in self.alive]
        masks = {name: mask for name, mask in found if mask is not None}
        self._masked = set(masks)
        return Seen(self._observations(obs), masks)

    def step(self, actions: dict[str, Any]) -> Moved:
        """All who are alive act at once."""
        acted = self.alive
        obs, rewards, over, cut, infos = _dicts("step", NEXT, self.env.step(actions))
        listed = self._listed()
        self._nobody_else(listed, (set(obs) | set(rewards)) - set(acted), (over, cut))
        led_to = self._observations(obs)
        reward = {name: _number(name, _entry(name, "rewards", rewards)) for name in acted}
        terminated = {name: _flag(name, "terminations", over) for name in acted}
        truncated = {name: _flag(name, "truncations", cut) for name in acted}
        self.alive = [name for name in acted if not (terminated[name] or truncated[name])]
        if left := sorted(set(self.alive) - listed):
            raise Misfit(f"agent {left[0]!r} has left `agents`, and is neither terminated nor truncated")
        self._outside |= set(self.agents) - listed - set(self.alive)
        return Moved(led_to, reward, terminated, truncated, self._masks(obs, infos))

    def _listed(self) -> set[Any]:
        """Who the environment says is there."""
        if not isinstance(getattr(self.env, "agents", None), list | tuple):
            raise Misfit("it has no `agents`: this has to be the list of those who act next")
        return set(self.env.agents)

    def _known(self, names: set[Any]) -> None:
        """Misfit where one of the names is none of possible_agents."""
        if strangers := sorted(names - set(self.agents), key=str):
            raise Misfit(f"agent {strangers[0]!r} is none of possible_agents, {list(self.agents)}")

    def _nobody_else(self, listed: set[Any], others: set[Any], flags: tuple[Mapping[str, Any], ...]) -> None:
        """Misfit where somebody plays who did not act. Who ended may go on being listed, or shown as ended."""
        self._known(listed | others)
        playing = {name for name in others if not any(part.get(name, True) for part in flags)}
        if back := sorted((listed & self._outside) | playing):
            rule = "an agent plays from the reset to its end, and is back at the next reset"
            raise Misfit(f"agent {back[0]!r} comes (back) in the middle of an episode: {rule}")

    def _observations(self, obs: Mapping[str, Any]) -> dict[str, Any]:
        """Of those who are alive, as their spaces say."""
        found = {}
        for name in self.alive:
            value = _entry(name, "observations", obs)
            if self.agents[name].nested:
                value = _part(name, value, "observation")
            try:
                found[name] = fitted(self.agents[name].observation_space, value)
            except Misfit as why:
                raise Misfit(f"agent {name!r}: {why}") from why
        return found

    def _mask(self, name: str, obs: Mapping[str, Any], infos: Mapping[str, Any]) -> Array | None:
        """The mask (K,) of an agent's next action, None where it has none."""
        if self.agents[name].nested:
            mask = _part(name, _entry(name, "observations", obs), KEY)
        else:
            info = infos.get(name)
            mask = info.get(KEY) if isinstance(info, Mapping) else None
        if mask is None:
            return None
        try:
            found = as_mask(self.agents[name].choices, mask).astype(bool)
        except Misfit as why:
            raise Misfit(f"agent {name!r}: {why}") from why
        if not found.any():
            raise Misfit(f"agent {name!r}: its {KEY} allows no action")
        return found

    def _masks(self, obs: Mapping[str, Any], infos: Mapping[str, Any]) -> dict[str, Array]:
        """Of those who act next: of the same ones as at the reset."""
        found = {}
        for name in self.alive:
            mask = self._mask(name, obs, infos)
            if (mask is not None) != (name in self._masked):
                there = f"agent {name!r} has {'no' if mask is None else 'an'} {KEY} after step()"
                raise Misfit(f"{there}, unlike after reset(): give it always or never")
            if mask is not None:
                found[name] = mask
        return found


def _dicts(call: str, names: tuple[str, ...], result: Any) -> tuple[Mapping[str, Any], ...]:
    """What reset or step returned, as so many dicts."""
    wanted = f"{call}() has to return ({', '.join(names)}), each a dict by agent"
    if not isinstance(result, tuple) or len(result) != len(names):
        found = f"{len(result)} values" if isinstance(result, tuple) else f"a {type(result).__name__}"
        raise Misfit(f"{wanted}, not {found}")
    for what, part in zip(names, result, strict=True):
        if not isinstance(part, Mapping):
            raise Misfit(f"{wanted}; its {what} are a {type(part).__name__}")
    return result


def _entry(name: str, what: str, part: Mapping[str, Any]) -> Any:
    """What a dict holds for an agent that has acted."""
    if name not in part:
        raise Misfit(f"agent {name!r} is missing in the {what}: an agent that acted has an entry in each dict")
    return part[name]


def _part(name: str, value: Any, key: str) -> Any:
    """One of the two parts of an observation with a mask in it."""
    if not isinstance(value, Mapping) or not set(value) >= NESTED:
        raise Misfit(f"agent {name!r}: its observation has to be a dict of {' and '.join(sorted(NESTED))}")
    return value[key]


def _flag(name: str, what: str, part: Mapping[str, Any]) -> bool:
    """An agent's terminated or truncated."""
    return as_flag(f"{what} of agent {name!r}", _entry(name, what, part))


def _number(name: str, value: Any) -> float:
    """A reward."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or array.size != 1 or not math.isfinite(array.item()):
        raise Misfit(f"the reward of agent {name!r} has to be a finite number, it is {value!r}")
    return float(array.item())
