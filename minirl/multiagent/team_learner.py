"""The loop of IPPO and MAPPO: a rollout of all agents, an update of each policy, all kept together. [EXT-1, EXT-2]"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from minirl.algorithms import Algorithm
from minirl.config import Config
from minirl.deploy import team
from minirl.deploy.agent import Agent
from minirl.envs import given, memory
from minirl.envs.many_agents import ManyAgents
from minirl.errors import EnvError, MinirlError, shorten
from minirl.models.actor_critic import Networks
from minirl.models.critic import Critic
from minirl.models.input_pipeline import ObsNormalizer
from minirl.models.policy import Policy
from minirl.multiagent.action_critic import ActionCritic, check_discrete
from minirl.multiagent.central_critic import CentralCritic, LocalPolicy, first_columns
from minirl.multiagent.groups import groups_of
from minirl.multiagent.joint_collector import JointCollector
from minirl.multiagent.mappo import MAPPOConfig
from minirl.numerics import random_streams
from minirl.numerics.running_moments import RESOLUTION, RunningMoments
from minirl.samples.rollout import Rollout
from minirl.spaces.observations import ObsCodec
from minirl.training.learner import Update, actions_of, check_counters, check_snapshot, episode_means, keep_freed_memory
from minirl.training.trainee import Learned, Prepared, Trainee


def agent_seed(seed: int, group: int) -> int:
    """The seed of a group's training: that of the run for the first, of streams of their own for the others."""
    return seed if group == 0 else int(np.random.SeedSequence((seed, group)).generate_state(1)[0]) >> 1


class TeamLearner:
    """An iterator over updates of all policies on a parallel environment: the Learner of several agents.

    algorithm: IPPO's or MAPPO's row. envs: what make_many_agents gives. `global_step` counts steps of the environments,
    whatever the number of agents. `episodic_return` is the sum over the agents.
    """

    def __init__(self, algorithm: Algorithm, envs: ManyAgents, config: Any):
        keep_freed_memory()
        self.algorithm, self.config, self.envs = algorithm, config, envs
        self.central = isinstance(config, MAPPOConfig)
        self.with_actions = self.central and config.critic == "actions"
        self.groups = groups_of(envs, config.family, config.scale_actions, config.share_policy)
        if self.with_actions:
            check_discrete(envs, self.groups)
        self._check_memory()
        configs = [config.replace(seed=agent_seed(config.seed, i)) for i in range(len(self.groups))]
        seeds = [random_streams.stream_seeds(each.seed) for each in configs]
        self.collector = JointCollector(envs, self.groups, config, seeds, self.central, self.with_actions)
        if config.mask_actions and not self.collector.state.masks:
            raise EnvError("mask_actions = True: no agent has an action_mask after reset(); set it to False")
        self.trainees = [self._trainee(i, each) for i, each in enumerate(configs)]
        self.actions = ActionCritic(config, self.collector, self.groups, self.trainees)
        self.updates = self.global_step = 0
        self.curve: list[tuple[int, float]] = []  # steps so far and mean return, of the updates in which games ended

    def _trainee(self, i: int, config: Config) -> Trainee:
        """The networks and statistics of a group."""
        group, columns, B = self.groups[i], self.collector.state.obs[i].shape[1], self.envs.num_envs
        own, family, shape = group.obs_codec.dim, group.action_codec.family(), (config.hidden, config.activation)
        resolution = group.obs_codec.resolution
        if self.central:
            local = LocalPolicy(family, own, *shape)
            critic = CentralCritic(own, columns - own, *shape, scaled=config.normalize_value)
            nets = Networks(local, critic)  # π_j(a_j|o_j) and one V(s) or Q(s, a) [EXT-2]
            actions = np.full(sum(self.collector.num_actions), RESOLUTION)
            resolution = np.concatenate([resolution, *(codec.resolution for codec in self._codecs()), actions])
        else:
            policy, value = Policy(family, own, *shape), Critic(own, *shape, config.normalize_value)
            nets = self.algorithm.networks(policy, value, config)  # π_j(a_j|o_j) and V_j(o_j) [EXT-1]
        normalizer = ObsNormalizer(RunningMoments.zeros(columns), resolution, np.dtype(config.dtype))
        return Trainee(self.algorithm, nets, normalizer, config, B * len(group.agents))

    def _codecs(self) -> list[ObsCodec]:
        """Of the observations of each agent, in order."""
        of_agent = {agent: group.obs_codec for group in self.groups for agent in group.agents}
        return [of_agent[agent] for agent in self.envs.agents]

    def _check_memory(self) -> None:
        """ConfigError where samples and networks cannot fit."""
        joint = sum(codec.dim for codec in self._codecs()) if self.central else 0
        for group in self.groups:
            family, rows = group.action_codec.family(), self.envs.num_envs * len(group.agents)
            dim = group.obs_codec.dim + joint
            memory.check(self.config, rows, dim, math.prod(family.action_shape), family.num_params)

    def __iter__(self) -> Iterator[Update]:
        return self

    def __next__(self) -> Update:
        if self.global_step >= self.config.total_timesteps:
            raise StopIteration
        return self.step()

    def step(self) -> Update:
        """One update of every policy: a rollout of all, an update of each from its own rows, then all are kept."""
        start = time.perf_counter()
        actors = [t.nets.policy.actor(t.state["theta_pi"], t.preprocess) for t in self.trainees]
        rollouts = self.collector.collect(actors)
        if self.with_actions:
            self.actions.add_next_actions(actors, rollouts)
        prepared = [self._prepare(i, rollout) for i, rollout in enumerate(rollouts)]
        returns, lengths = self.collector.finished_games()
        collected = time.perf_counter()

        progress = min(self.global_step / self.config.total_timesteps, 1.0)
        learned = {i: self._learn(i, each, progress) for i, each in enumerate(prepared) if len(each.batch)}
        for i, each in learned.items():
            self.trainees[i].keep(each)
        self.collector.commit()

        self.updates += 1
        steps = self.config.num_steps * self.envs.num_envs
        self.global_step += steps
        now, totals = time.perf_counter(), returns.sum(axis=1)
        timing = {
            "charts/SPS": steps / (now - start),
            "time/rollout": collected - start,
            "time/update": now - collected,
        }
        if len(totals):
            self.curve.append((self.global_step, float(totals.mean())))
        learning = self._means([each.metrics for each in learned.values()])
        metrics = {**episode_means(totals, lengths), **learning, **timing}
        return Update(self.updates, self.global_step, metrics, totals, lengths)

    def _prepare(self, i: int, rollout: Rollout) -> Prepared:
        """A group's rollout ready to learn from; with a critic of actions, Â against each agent's other actions."""
        with self._named(i):
            prepared = self.trainees[i].prepare(rollout)
        if not self.with_actions:
            return prepared
        return replace(prepared, batch=self.actions.counterfactual(i, prepared.batch, rollout))

    def _learn(self, i: int, prepared: Prepared, progress: float) -> Learned:
        """A group's update."""
        with self._named(i):
            return self.trainees[i].learn(prepared, progress)

    @contextmanager
    def _named(self, i: int) -> Iterator[None]:
        """An error says whose policy it was."""
        try:
            yield
        except MinirlError as why:
            why.args = (f"agent {self.groups[i].name}: {why}",)
            raise

    def _means(self, metrics: list[Any]) -> dict[str, Any]:
        """Metrics of the policies as one row: means of the numbers, the first policy's words."""
        first = metrics[0]
        return {k: v if isinstance(v, str) else float(np.mean([m[k] for m in metrics])) for k, v in first.items()}

    @property
    def size(self) -> str:
        """How large the problem and the policies are, in words."""
        each = [
            f"{group.name}: {group.obs_codec.dim} inputs, {actions_of(group.action_codec.family())}, "
            f"{trainee.nets.policy.num_params} policy parameters"
            for group, trainee in zip(self.groups, self.trainees, strict=True)
        ]
        return f"{len(self.envs.agents)} agents, {len(each)} policies ({each[0]}{', …' if len(each) > 1 else ''})"

    def reset(self) -> None:
        """Let the next update begin with new games."""
        self.collector.reset()

    @property
    def policy(self) -> team.Team:
        """A copy of the policies as they are now, by agent: each acts on its own raw observations."""
        agents = {name: self._agent(i) for i, group in enumerate(self.groups) for name in group.agents}
        return team.Team({name: agents[name] for name in self.envs.agents})

    def _agent(self, i: int) -> Agent:
        trainee, group = self.trainees[i], self.groups[i]
        normalizer = first_columns(trainee.normalizer, group.obs_codec.dim) if self.config.normalize_obs else None
        masked = any(agent in self.collector.state.masks for agent in group.agents)
        theta = trainee.state["theta_pi"].copy()
        shape = (self.config.hidden, self.config.activation)
        return Agent(group.obs_codec, group.action_codec, theta, *shape, normalizer=normalizer, masked=masked)

    def save_policy(self, directory: Path, env: str, said: dict[str, Any]) -> None:
        """A policy file for each agent."""
        team.save(directory, self.policy, self.algorithm.name, env, said)

    def _made_of(self) -> dict[str, Any]:
        """What another learner has to agree with, so that this one's snapshot fits it."""
        names = ("num_envs", "num_steps", "hidden", "activation", "dtype", "normalize_value", "share_trunk")
        return {
            "method": self.algorithm.name,
            "agents": [list(group.agents) for group in self.groups],
            "observations": [str(group.obs_codec) for group in self.groups],
            "actions": [str(group.action_codec.facts()) for group in self.groups],
            "critic": self.config.critic if self.central else "own",
        } | {name: list(value) if isinstance(value := vars(self.config)[name], tuple) else value for name in names}

    def snapshot(self) -> dict[str, Any]:
        """All that learning changes, and where the environments are: a tree of arrays and JSON scalars, copied."""
        collector = self.collector.snapshot()
        return {
            "learner": self._made_of(),
            "trainees": [trainee.tree(episodes=collector["envs"] is not None) for trainee in self.trainees],
            "collector": collector,
            "counters": {"updates": self.updates, "global_step": self.global_step},
            "curve": np.array(self.curve).reshape(-1, 2),
        }

    def restore(self, tree: dict[str, Any], environments: bool = True) -> bool:
        """Back to a snapshot, which can be used again -> whether the environments are back as well (Learner.restore).

        ConfigError where it is of other agents or another method.
        """
        check_snapshot(tree, self._made_of())
        for trainee, each in zip(self.trainees, tree["trainees"], strict=True):
            trainee.check(each)
        check_counters(tree["counters"])
        exact = self.collector.restore(tree["collector"], environments)
        for trainee, each in zip(self.trainees, tree["trainees"], strict=True):
            trainee.take(each, exact)
        self.updates, self.global_step = tree["counters"]["updates"], tree["counters"]["global_step"]
        self.curve = [(int(step), value) for step, value in tree["curve"].tolist()]
        return exact

    def begin_again(self) -> None:
        """New games, from seeds that belong to this update: for a run whose environments could not be restored."""
        self.collector.begin_again(np.random.SeedSequence([self.config.seed, self.updates]))

    def __repr__(self) -> str:
        name, done = given.name(self.config.env), f"{self.updates} update{'' if self.updates == 1 else 's'}"
        where = f"{self.algorithm.name} on {self.envs.num_envs} x {shorten(name, 40)}, {len(self.envs.agents)} agents"
        return shorten(f"TeamLearner({where}: {done}, {self.global_step} of {self.config.total_timesteps} steps)")
