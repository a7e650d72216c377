"""Parallel environments with several agents, B copies: what a learner sees of them, and how they are found.

    envs = make_many_agents("mpe2/simple_spread_v3", 4)
    obs = envs.reset([0, 1, 2, 3])                               # id -> (B, …)
    step = envs.step({name: actions for name in envs.agents})    # id -> (B,) -> Step

Who plays: `native/simple_spread.py` in one compiled call; all others, one after the other, `pettingzoo_parallel.py`.
"""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

Array = np.ndarray[Any, Any]


class Step(NamedTuple):
    """What one step of B environments with N agents gave. Agents that do not play have zeros, reward 0 and no ends."""

    led_to: dict[str, Array]  # what the actions led to: the final observation where an agent's episode ended
    obs: dict[str, Array]  # what is acted on next: the first of a new game where the old one ended; zeros for the dead
    reward: Array  # (B, N) float64
    terminated: Array  # (B, N) bool: this agent's episode ended in this step
    truncated: Array  # (B, N) bool
    alive: Array  # (B, N) bool: who acts in the next step
    masks: dict[str, Array]  # id -> (B, K) bool: what is allowed in the next step; without agents that have none


@runtime_checkable
class ManyAgents(Protocol):
    """B copies of an environment in which N agents act at once. A game that no agent is left in starts again in `step`.

    Arrays that were handed out are not written to again, and may be read-only. Who died is alive in the next game.
    """

    num_envs: int  # B
    agents: tuple[str, ...]  # N ids, sorted; index i of an array (B, N) is a place in this tuple
    observation_spaces: dict[str, Any]  # id -> gymnasium space of one agent's observation
    action_spaces: dict[str, Any]
    alive: Array  # (B, N) bool: who acts in the next step, also after a reset
    masks: dict[str, Array]  # id -> (B, K) bool for the next step, also after a reset

    def reset(self, seeds: list[int]) -> dict[str, Array]:
        """New games, one seed for each -> first observations, id -> (B, …)."""
        ...

    def step(self, actions: dict[str, Array]) -> Step:
        """Actions id -> (B,) or (B, d), those of the dead are ignored."""
        ...

    def close(self) -> None:
        """Close what was opened."""
        ...
