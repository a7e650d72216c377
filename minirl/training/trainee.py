"""One policy in training: what an update changes, and the way from a rollout to it, whoever collected that."""

import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minirl.algorithms import Algorithm, State
from minirl.config import Config
from minirl.errors import NonFiniteError
from minirl.files.tree import check_like
from minirl.models.actor_critic import Networks
from minirl.models.fourier_features import RandomFeatures
from minirl.models.input_pipeline import ObsNormalizer, make_preprocess
from minirl.numerics import random_streams
from minirl.numerics.arrays import Array
from minirl.numerics.communicator import SERIAL, Communicator
from minirl.numerics.running_moments import RunningMoments
from minirl.numerics.sums_over_samples import SampleWeights
from minirl.samples.advantages import Function
from minirl.samples.batch import Batch, make_batch
from minirl.samples.reward_scaling import RewardScaler
from minirl.samples.rollout import Rollout


@dataclass(frozen=True)
class Prepared:
    """A rollout made ready to learn from, and the statistics that will have seen it."""

    batch: Batch
    scaler: RewardScaler
    normalizer: ObsNormalizer
    metrics: dict[str, float]


@dataclass(frozen=True)
class Learned:
    """What an update came to; nothing has changed until it is kept."""

    state: State
    prepared: Prepared
    metrics: dict[str, float | int | str]


class Trainee:
    """Networks, their `state`, statistics of observations and rewards; learns from rollouts of `num_envs` environments.

    normalizer: of as many columns as the networks see, before the first observation.
    An update is `learn`, then `keep`, so that several trainees of one rollout change together or not at all.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        nets: Networks,
        normalizer: ObsNormalizer,
        config: Config,
        num_envs: int,
        comm: Communicator = SERIAL,
    ):
        self.algorithm, self.nets, self.config, self.comm = algorithm, nets, config, comm
        seeds = random_streams.stream_seeds(config.seed)
        self.state = algorithm.init(nets, config, random_streams.generator(seeds["init"]))
        self.rng = random_streams.generator(seeds["updates"])
        self.normalizer = normalizer
        self.features: RandomFeatures | None = None  # random Fourier features in place of the observations
        self.scaler = RewardScaler(RunningMoments.zeros(1), np.zeros(num_envs))

    @property
    def preprocess(self) -> Function:
        """Encoded observations (N, D) -> what the networks see."""
        return make_preprocess(self.normalizer if self.config.normalize_obs else None, self.features)

    def prepare(self, rollout: Rollout) -> Prepared:
        """Rewards scaled and clipped, advantages estimated; statistics with this rollout are used after the update."""
        cfg, preprocess = self.config, self.preprocess
        weights = SampleWeights(rollout.valid.reshape(-1).astype(np.float64), self.comm)
        scaler, normalizer, reward = self.scaler, self.normalizer, rollout.reward
        if rollout.fresh:  # R belongs to the episodes that were dropped
            scaler = replace(scaler, carry=np.zeros_like(scaler.carry))
        if cfg.normalize_reward:
            try:
                scaler = scaler.update(rollout.reward, rollout.cut, weights, cfg.gamma)
            except NonFiniteError as why:
                raise too_large_reward(rollout) from why
            reward = scaler(rollout.reward)
        if cfg.normalize_obs:
            try:
                normalizer = normalizer.update(rollout.obs.reshape(-1, rollout.obs.shape[2]), weights)
            except NonFiniteError as why:
                raise too_large(rollout) from why
        reward, metrics = limit_rewards(reward, weights, cfg.reward_limit)

        def estimate(value_of: Function) -> Batch:
            return make_batch(rollout, reward, weights, value_of, preprocess, cfg)

        return Prepared(replace(estimate(self.value), estimate=estimate), scaler, normalizer, metrics)

    def learn(self, prepared: Prepared, progress: float) -> Learned:
        """The algorithm's update; `progress` in [0, 1] is the part of the training done."""
        state, info = self.algorithm.update(self.nets, self.state, prepared.batch, self.config, self.rng, progress)
        return Learned(state, prepared, {**info, **prepared.metrics})

    def keep(self, learned: Learned) -> None:
        """Go on from what was learned."""
        self.state = learned.state
        self.scaler, self.normalizer = learned.prepared.scaler, learned.prepared.normalizer

    def value(self, inputs: Array) -> Array:
        """V (N,) of what the networks see (N, ·), by the critic as it is."""
        return self.nets.critic.value(self.state["theta_v"], inputs)

    def tree(self, episodes: bool) -> dict[str, Any]:
        """All that learning changes here, as a tree of arrays and JSON scalars, copied.

        episodes: with what belongs to those that go on, R.
        """
        return {
            "algorithm": copied(self.state),
            "normalizer": self.normalizer.moments.tree(),
            "scaler": self.scaler.moments.tree(),
            "carry": self.scaler.carry.copy() if episodes else None,
            "updates_stream": random_streams.get_state(self.rng),
            "features": self.features.tree() if self.features else None,
        }

    def check(self, tree: dict[str, Any]) -> None:
        """ValueError for a state that cannot be one of this trainee's."""
        check_like(tree["algorithm"], self.state, "algorithm")
        for name, moments in (("normalizer", self.normalizer.moments), ("scaler", self.scaler.moments)):
            check_like(tree[name], moments.tree(), name)
            check_moments(tree[name], name)
        for name, adam in tree["algorithm"].items():
            if isinstance(adam, dict) and "v" in adam and ((adam["v"] < 0).any() or adam["t"] < 0):
                raise ValueError(f"algorithm.{name} has to have steps and squares that are not negative")
        if tree["carry"] is not None:
            check_like(tree["carry"], self.scaler.carry, "carry")

    def take(self, tree: dict[str, Any], episodes: bool) -> None:
        """Back to a tree: a copy, so that it can be used again.

        episodes: those of the tree are played here. Otherwise R goes on with those that are.
        """
        self.check(tree)
        tree = copy.deepcopy(tree)
        self.state = tree["algorithm"]
        self.normalizer = replace(self.normalizer, moments=RunningMoments(**tree["normalizer"]))
        carry = tree["carry"] if episodes else self.scaler.carry
        self.scaler = RewardScaler(RunningMoments(**tree["scaler"]), carry)
        self.rng = random_streams.from_state(tree["updates_stream"])
        self.features = RandomFeatures(**tree["features"]) if tree["features"] else None


def check_moments(tree: dict[str, Any], name: str) -> None:
    """ValueError for statistics that no samples have."""
    if (tree["m2"] < 0).any() or tree["count"] < 0:
        raise ValueError(f"{name} has to have a count and sums of squares that are not negative")


def copied(tree: Any) -> Any:
    """A tree of dicts, arrays and scalars, copied; what else there is by `copy.deepcopy`, which takes long to begin."""
    if isinstance(tree, np.ndarray):
        return tree.copy()
    if type(tree) is dict:
        return {name: copied(each) for name, each in tree.items()}
    return tree if isinstance(tree, float | int | str | None) else copy.deepcopy(tree)


def too_large(rollout: Rollout) -> NonFiniteError:
    """The error that names the largest entry of a rollout's observations."""
    obs = rollout.obs
    t, env, entry = (int(i) for i in np.unravel_index(np.abs(obs).argmax(), obs.shape))
    remedy = f"entry {entry} is {obs[t, env, entry]}, too large to be squared; scale the observations"
    return NonFiniteError("the running variance of obs", remedy, env=env, step=rollout.first_step + t)


def too_large_reward(rollout: Rollout) -> NonFiniteError:
    """The error that names the largest of a rollout's rewards."""
    reward = rollout.reward
    t, env = (int(i) for i in np.unravel_index(np.abs(reward).argmax(), reward.shape))
    remedy = f"a reward is {reward[t, env]}, too large to be squared; scale the rewards"
    return NonFiniteError("the running variance of reward", remedy, env=env, step=rollout.first_step + t + 1)


def limit_rewards(reward: Array, weights: SampleWeights, limit: float | None) -> tuple[Array, dict[str, float]]:
    """Rewards (T, B) clipped at ±limit, and the share of them that was; as they are, and no share, without a limit."""
    if limit is None:
        return reward, {}
    far = (np.abs(reward) > limit).reshape(-1).astype(np.float64)
    return np.clip(reward, -limit, limit), {"charts/rewards_cut": weights.mean(far)}
