"""What a critic of joint actions Q(s, a) needs of a team: next joint actions a', and Â_i from it. [EXT-2]"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minirl.config import Config
from minirl.envs.many_agents import ManyAgents
from minirl.errors import ConfigError
from minirl.multiagent.groups import Group
from minirl.multiagent.joint_collector import JointCollector
from minirl.multiagent.mappo import counterfactual_advantages
from minirl.numerics.arrays import Array
from minirl.samples.advantages import standardize_adv
from minirl.samples.batch import Batch
from minirl.samples.rollout import Rollout
from minirl.training.trainee import Trainee


@dataclass(frozen=True)
class ActionCritic:
    """The parts of a team that it works on, a trainee for each group."""

    config: Config
    collector: JointCollector
    groups: list[Group]
    trainees: list[Trainee]

    def counterfactual(self, i: int, batch: Batch, rollout: Rollout) -> Batch:
        """The batch with Â_i = Q − Σ π_i Q. [EXT-2]"""
        trainee, group = self.trainees[i], self.groups[i]
        T, B = self.config.num_steps, self.collector.envs.num_envs
        agent = np.tile(np.repeat(np.arange(len(group.agents)), B), T)[np.flatnonzero(rollout.valid)]  # of each sample
        adv = np.empty(len(batch))
        for j, place in enumerate(group.places):
            mine = np.flatnonzero(agent == j)
            rows, mask = batch.obs[mine], None if batch.mask is None else batch.mask[mine]
            own, columns = self._own_actions(place, batch.obs.shape[1]), batch.action[mine]
            adv[mine] = counterfactual_advantages(
                trainee.nets.policy,
                trainee.state["theta_pi"],
                self._of_indicators(trainee, own),
                rows,
                mask,
                own,
                columns,
            )
        return replace(batch, adv=standardize_adv(adv, batch.weights) if self.config.normalize_adv else adv)

    def _of_indicators(self, trainee: Trainee, own: slice) -> Any:
        """Q of rows whose own actions are given as 0 and 1, before normalisation."""
        if not self.config.normalize_obs:
            return trainee.value
        mean, inv_std = trainee.normalizer.affine

        def q_of(rows: Array) -> Array:
            rows = rows.copy()
            rows[:, own] = np.clip((rows[:, own] - mean[own]) * inv_std[own], -10, 10)
            return trainee.value(rows)

        return q_of

    def _own_actions(self, place: int, columns: int) -> slice:
        """The columns that hold the action of the agent at this place."""
        sizes = self.collector.num_actions
        start = columns - sum(sizes) + sum(sizes[:place])
        return slice(start, start + sizes[place])

    def add_next_actions(self, actors: list[Any], rollouts: list[Rollout]) -> None:
        """Put a' into what truncated games and the end of the rollout led to, so that Q(s', a') has it. [EXT-2]

        Everywhere else a' is in the next row. Who is truncated would have gone on, with the mask that it had.
        """
        last, state = self.config.num_steps - 1, self.collector.state
        for t in range(last + 1):
            truncated = [rollout.truncated[t] for rollout in rollouts]
            if t == last or any(flags.any() for flags in truncated):
                chosen = self.next_actions(actors, rollouts, t)
                self._fill(rollouts, t, (truncated, chosen, self._going_on(rollouts, t)))
            if t == last:
                self._fill(rollouts, t, ([~rollout.cut[t] for rollout in rollouts], chosen, state.alive))

    def next_actions(self, actors: list[Any], rollouts: list[Rollout], t: int) -> dict[str, Array]:
        """Actions drawn for what row t led to, id -> (B,)."""
        rng, chosen, last = self.trainees[0].rng, dict[str, Array](), self.config.num_steps - 1
        for actor, group, rollout in zip(actors, self.groups, rollouts, strict=True):
            noise = group.action_codec.family().noise(rng, rollout.next_obs.shape[1])
            mask = None if rollout.mask is None else rollout.mask[t]
            if mask is not None and t == last:
                mask = np.where(rollout.cut[t][:, None], mask, self.collector.allowed(group))
            chosen |= group.per_agent(actor(rollout.next_obs[t], noise, mask))
        return chosen

    def _going_on(self, rollouts: list[Rollout], t: int) -> Array:
        """Who would act after row t if nothing had been truncated (B, N) bool."""
        alive = np.zeros((self.collector.envs.num_envs, len(self.collector.envs.agents)), bool)
        for group, rollout in zip(self.groups, rollouts, strict=True):
            rows = rollout.valid[t] & ~rollout.terminated[t]
            alive[:, group.places] = rows.reshape(len(group.agents), -1).T
        return alive

    def _fill(self, rollouts: list[Rollout], t: int, what: tuple[list[Array], dict[str, Array], Array]) -> None:
        """Write actions, of those who act, into some rows of what step t led to: (rows of each, actions, who acts)."""
        where, chosen, alive = what
        filled = [rollout.next_obs[t].copy() for rollout in rollouts]
        self.collector.fill_actions(filled, chosen, alive)
        for rollout, rows, x in zip(rollouts, where, filled, strict=True):
            rollout.next_obs[t, rows] = x[rows]


def check_discrete(envs: ManyAgents, groups: list[Group]) -> None:
    """ConfigError where a critic of joint actions cannot count them."""
    for group in groups:
        if group.action_codec.family_name != "categorical":
            why = f"sums over actions, and those of {group.name} are {group.action_codec}"
            raise ConfigError(f"critic = 'actions': {why}; set critic to 'state'")
