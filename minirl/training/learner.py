"""The loop: collect, estimate, update, report. Nothing here belongs to one algorithm or to one environment."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from minirl.algorithms import Algorithm
from minirl.config import Config
from minirl.deploy import policy_file
from minirl.deploy.agent import Agent
from minirl.envs import given, memory
from minirl.envs.make import OURS
from minirl.errors import ConfigError, shorten
from minirl.files.tree import check_like
from minirl.models.critic import Critic
from minirl.models.distributions import Family
from minirl.models.fourier_features import RandomFeatures
from minirl.models.input_pipeline import ObsNormalizer
from minirl.models.policy import Policy
from minirl.numerics import random_streams
from minirl.numerics.communicator import SERIAL, Communicator
from minirl.numerics.running_moments import RunningMoments
from minirl.spaces.actions import action_codec
from minirl.spaces.observations import obs_codec
from minirl.training.collector import Collector
from minirl.training.trainee import Trainee

KEPT = 24 << 20  # bytes; glibc's own limit for what it will learn from is 32 MiB


def keep_freed_memory() -> None:
    """Let the process keep the memory that it frees, with glibc, whose threshold follows the largest block freed.

    Otherwise the activations of a large minibatch are returned to the system after each step and mapped again page by
    page: a quarter of the time of an update.
    """
    np.empty(KEPT, np.uint8)


@dataclass(frozen=True, repr=False)
class Update:
    """What one update did."""

    number: int  # from 1
    global_step: int  # real transitions learned from so far
    metrics: dict[str, Any]  # by the tags of the metrics files
    returns: np.ndarray  # of the episodes that ended in it
    lengths: np.ndarray

    def __repr__(self) -> str:
        some = (
            f"return {self.returns.mean():.6g} of {len(self.returns)} episodes"
            if len(self.returns)
            else "no episode ended"
        )
        return f"Update({self.number}: {self.global_step} steps, {some})"


class Learner(Trainee):
    """An iterator over updates: stop when you like and go on later, it continues where it was.

    It expects `envs` as it left them. After stepping or resetting them between two updates call `reset`.

    algorithm: a row of the algorithms' table, never a name. envs: a gymnasium VectorEnv in any autoreset mode.
    `state` is a tree of arrays and scalars: everything that learning changes, except in the environments and collector.
    """

    def __init__(self, algorithm: Algorithm, envs: Any, config: Config, comm: Communicator = SERIAL):
        keep_freed_memory()
        codecs = (
            obs_codec(envs.single_observation_space),
            action_codec(envs.single_action_space, config.family, config.scale_actions),
        )
        policy_file.check(*codecs, algorithm.name, config, *given.named(config.env, config.env_kwargs))
        seeds, dim, family = random_streams.stream_seeds(config.seed), codecs[0].dim, codecs[1].family()
        memory.check(config, envs.num_envs, dim, math.prod(family.action_shape), family.num_params)
        num_inputs = config.rbf or dim
        policy = Policy(family, num_inputs, config.hidden, config.activation)
        critic = Critic(num_inputs, config.hidden, config.activation, config.normalize_value)
        normalizer = ObsNormalizer(RunningMoments.zeros(dim), codecs[0].resolution, np.dtype(config.dtype))
        super().__init__(algorithm, algorithm.networks(policy, critic, config), normalizer, config, envs.num_envs, comm)
        if config.rbf:
            self.features = RandomFeatures.draw(
                random_streams.generator(seeds["features"]), dim, config.rbf, config.rbf_width
            )
        self.collector = Collector(envs, self.nets.policy, codecs, seeds, config)
        self.updates = self.global_step = 0
        self.curve: list[tuple[int, float]] = []  # steps so far and mean return, of the updates in which episodes ended

    def __iter__(self) -> Iterator[Update]:
        return self

    def __next__(self) -> Update:
        if self.global_step >= self.config.total_timesteps:
            raise StopIteration
        return self.step()

    def step(self) -> Update:
        """One update: a rollout under π_θ, advantages, the algorithm's step, the statistics of the next rollout."""
        start = time.perf_counter()
        rollout = self.collector.collect(self.state["theta_pi"], self.preprocess)
        prepared = self.prepare(rollout)
        returns, lengths = self.collector.finished_episodes(rollout)
        collected = time.perf_counter()

        learned = self.learn(prepared, min(self.global_step / self.config.total_timesteps, 1.0))
        self.keep(learned)  # only now that the whole update has succeeded
        self.collector.commit()

        self.updates += 1
        batch = prepared.batch
        self.global_step += int(batch.weights.total(len(batch)))
        now = time.perf_counter()
        timing = {
            "charts/SPS": len(batch) / (now - start),
            "time/rollout": collected - start,
            "time/update": now - collected,
        }
        if len(returns):
            self.curve.append((self.global_step, float(returns.mean())))
        return Update(
            self.updates,
            self.global_step,
            {**episode_means(returns, lengths), **learned.metrics, **timing},
            returns,
            lengths,
        )

    @property
    def size(self) -> str:
        """How large the problem and the policy are, in words."""
        dist, dim = self.nets.policy.dist, self.collector.obs_codec.dim
        return f"{dim} inputs, {actions_of(dist)}, {self.nets.policy.num_params} policy parameters"

    def reset(self) -> None:
        """Let the next update begin with fresh episodes, for example after other code has stepped the environments."""
        self.collector.reset()

    def _made_of(self) -> dict[str, Any]:
        """What another learner has to agree with, so that this one's snapshot fits it."""
        cfg, codecs = self.config, (self.collector.obs_codec, self.collector.action_codec)
        names = ("num_envs", "num_steps", "hidden", "activation", "rbf", "dtype", "normalize_value", "mask_actions")
        spec = getattr(self.collector.envs, "spec", None)
        return {
            "method": self.algorithm.name,
            "env": spec.id.removeprefix(OURS) if spec else None,
            "observations": str(codecs[0]),
            "actions": str(codecs[1].facts()),  # bounds may be infinite, which JSON has no word for
            "family": codecs[1].family_name,
            "share_trunk": self.nets.shared,
        } | {name: list(value) if isinstance(value := vars(cfg)[name], tuple) else value for name in names}

    @cached_property
    def _made(self) -> dict[str, Any]:
        """The same, put into words once: a run takes a snapshot after each update."""
        return self._made_of()

    def snapshot(self) -> dict[str, Any]:
        """All that learning changes, where the environments are with it, as a tree of arrays and JSON scalars, copied.

        `minirl.files.tree` writes and reads it.
        """
        collector = self.collector.snapshot()
        return {
            "learner": dict(self._made),
            **self.tree(episodes=collector["envs"] is not None),
            "collector": collector,
            "counters": {"updates": self.updates, "global_step": self.global_step},
            "curve": np.array(self.curve).reshape(-1, 2),
        }

    def restore(self, tree: dict[str, Any], environments: bool = True) -> bool:
        """Go back to a snapshot, which is copied and can be used again -> whether the environments are back as well.

        Where they are, what follows is what followed then, to the last bit. Otherwise, or without `environments`, they
        stay in their current episodes. ConfigError where the snapshot is of a learner with another method, network,
        environment or rollout, ValueError where it is damaged.
        """
        check_snapshot(tree, self._made_of())
        self.check(tree)
        check_counters(tree["counters"])
        exact = self.collector.restore(tree["collector"], environments)
        self.take(tree, exact)
        self.updates, self.global_step = tree["counters"]["updates"], tree["counters"]["global_step"]
        self.curve = [(int(step), value) for step, value in tree["curve"].tolist()]
        return exact

    def begin_again(self) -> None:
        """Fresh episodes, from seeds that belong to this update: for a run whose environments could not be restored."""
        self.collector.begin_again(np.random.SeedSequence([self.config.seed, self.updates]))

    def __repr__(self) -> str:
        envs, cfg = self.collector.envs, self.config
        name = envs.spec.id if getattr(envs, "spec", None) else type(envs).__name__
        done = f"{self.updates} update{'' if self.updates == 1 else 's'}"
        where = f"{self.algorithm.name} on {self.collector.num_envs} x {shorten(name, 40)}"
        return shorten(f"Learner({where}: {done}, {self.global_step} of {cfg.total_timesteps} steps)")

    def _repr_html_(self) -> str:
        from minirl.training.notebook_curve import html

        return html(repr(self), self.curve)

    def save_policy(self, directory: Path, env: str, said: dict[str, Any]) -> None:
        """Write the policy into a run directory; `env` and `said` name its environment and the arguments of that."""
        policy_file.save(directory / policy_file.FILE, self.policy, self.algorithm.name, env, said)

    @property
    def policy(self) -> Agent:
        """A copy of the policy as it is now: acts on raw observations, with the statistics that it was trained with."""
        return Agent(
            obs_codec=self.collector.obs_codec,
            action_codec=self.collector.action_codec,
            theta=self.state["theta_pi"].copy(),
            hidden=self.config.hidden,
            activation=self.config.activation,
            normalizer=self.normalizer if self.config.normalize_obs else None,
            masked=self.config.mask_actions,
            features=self.features,
        )


def check_snapshot(tree: Any, mine: dict[str, Any]) -> None:
    """ConfigError where a snapshot is of a learner that was made otherwise than this one, of which `mine` says how."""
    if not isinstance(tree, dict) or not isinstance(its := tree.get("learner"), dict):
        raise ConfigError("restore takes what a learner's snapshot() gave, of this version of minirl")
    for name, value in mine.items():
        if its.get(name) != value and None not in (its.get(name, 0), value):
            raise ConfigError(
                f"the snapshot's {name} is {its.get(name)!r}, this learner's {value!r}: "
                f"make the learner with the same {name}"
            )


def check_counters(tree: Any) -> None:
    """ValueError for what no learner has counted."""
    check_like(tree, {"updates": 0, "global_step": 0}, "counters")
    if min(tree.values()) < 0:
        raise ValueError(f"counters cannot be below 0: {tree}")


def episode_means(returns: np.ndarray, lengths: np.ndarray) -> dict[str, float]:
    """Means over the episodes that ended in this update; NaN when none did."""
    some = len(returns) > 0
    return {
        "charts/episodic_return": float(returns.mean()) if some else np.nan,
        "charts/episodic_length": float(lengths.mean()) if some else np.nan,
        "charts/episodes": float(len(returns)),
    }


def actions_of(dist: Family) -> str:
    """The actions of a family in words."""
    return f"{dist.num_params} actions" if dist.name == "categorical" else f"{dist.action_shape[0]}-dimensional actions"
