"""Which agents share a policy: a group is a policy, and its agents are rows of one batch."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minirl.numerics.arrays import Array
from minirl.spaces.actions import ActionCodec, action_codec
from minirl.spaces.observations import ObsCodec, obs_codec


@dataclass(frozen=True)
class Group:
    """Agents with one policy. Row i·B + b of the group's arrays is its agent i in environment b."""

    agents: tuple[str, ...]
    places: tuple[int, ...]  # of these agents among all, in sorted order
    obs_codec: ObsCodec
    action_codec: ActionCodec

    @property
    def name(self) -> str:
        """What metrics and messages call it: the agent, or the first and how many more."""
        first, *more = self.agents
        return f"{first}+{len(more)}" if more else first

    def rows(self, per_agent: dict[str, Array]) -> Array:
        """id -> (B, …) to (n·B, …)."""
        return np.concatenate([per_agent[agent] for agent in self.agents])

    def columns(self, per_place: Array) -> Array:
        """(B, N) to (n·B,)."""
        return per_place[:, self.places].T.reshape(-1)

    def per_agent(self, rows: Array) -> dict[str, Array]:
        """(n·B, …) to id -> (B, …)."""
        return dict(zip(self.agents, np.split(rows, len(self.agents)), strict=True))


def groups_of(envs: Any, family: str, scale_actions: bool, share: bool) -> list[Group]:
    """A group for each agent, or, where they share, one for all agents of equal spaces; in the order of the agents."""
    codecs = {
        agent: (
            obs_codec(envs.observation_spaces[agent]),
            action_codec(envs.action_spaces[agent], family, scale_actions),
        )
        for agent in envs.agents
    }
    together: dict[Any, list[int]] = {}
    for place, agent in enumerate(envs.agents):
        obs, action = codecs[agent]
        key = (obs.facts(), tuple(map(str, action.facts()))) if share else agent
        together.setdefault(key, []).append(place)
    return [
        Group(tuple(envs.agents[place] for place in places), tuple(places), *codecs[envs.agents[places[0]]])
        for places in together.values()
    ]
