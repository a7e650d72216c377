"""Self-play: PPO against a pool of past selves, which grows with it: an automatic curriculum. [EXT-3]

Every `pool_every` updates a copy of the policy joins the pool; each new game is played against one of its members,
drawn as `opponents` says. The learner sees a game as an environment (game_env.py), so PPO needs to know nothing
of it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from minirl.algorithms import Algorithm
from minirl.algorithms.ppo import PPOConfig
from minirl.config import AtLeastOne, Environment, NonNegative, Positive, Unit, Unset, explain_fields
from minirl.errors import ConfigError
from minirl.files.atomic import write_atomically
from minirl.multiagent import league
from minirl.multiagent.game_env import OpponentVector
from minirl.training.learner import Learner, Update, check_snapshot

LEAGUE = "league.json"  # in the run directory: ratings of the checkpoints


@dataclass(frozen=True, kw_only=True)
class SelfPlayConfig(PPOConfig):
    """Configuration of self-play."""

    env: Environment = (
        "minirl/TicTacToe-v0"  # a game: minirl/ConnectFour-v0, KuhnPoker, RockPaperScissors; pettingzoo/NAME
    )
    num_envs: Annotated[int, AtLeastOne] = Unset(256)  # games played side by side (B), >= 1
    num_steps: Annotated[int, AtLeastOne] = 16  # moves of the learner per game board and update (T), >= 1
    minibatch_size: Annotated[int, AtLeastOne] = 512  # largest minibatch, >= 1
    lr: Annotated[float, Positive] = 3e-3  # Adam step size α, > 0
    epochs: Annotated[int, AtLeastOne] = 4  # passes over the batch, K, >= 1
    gamma: Annotated[float, Unit] = 1.0  # discount γ, in [0, 1]: games end by themselves
    ent_coef: Annotated[float, NonNegative] = 0.1  # c_H, weight of the entropy bonus, >= 0: lines of play stay open
    normalize_obs: bool = False  # observations by their running mean and variance, cut at ±10
    normalize_reward: bool = False  # rewards divided by the running deviation of the discounted return
    mask_actions: bool = True  # illegal moves are never drawn
    opponents: Literal["latest", "uniform", "prioritised"] = "latest"  # newest, any, or the unbeaten
    pool_every: Annotated[int, AtLeastOne] = 1  # updates between two checkpoints, >= 1
    pool_size: Annotated[int, AtLeastOne] = 100  # checkpoints before every second one is dropped, >= 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.mask_actions:
            raise ConfigError("mask_actions = False: a game ends with an illegal move; leave it True")


explain_fields(SelfPlayConfig)


class SelfPlayLearner(Learner):
    """A Learner whose environment is a game against its own past."""

    envs: OpponentVector

    def __init__(self, algorithm: Algorithm, envs: OpponentVector, config: Any):
        self.pool = envs.pool
        self.envs = envs
        super().__init__(algorithm, envs, config)

    def step(self) -> Update:
        """One update; then the results are counted, and perhaps the policy joins the pool."""
        update = super().step()
        opponents, payoff = self.envs.take_results()
        if opponents:
            self.pool.record(opponents, payoff)
        if self.updates % self.config.pool_every == 0:  # type: ignore[attr-defined]
            self.pool.add(self.policy, self.global_step)  # [EXT-3]
        update.metrics.update(
            {
                "league/elo": self.pool.elo,
                "league/checkpoints": float(len(self.pool.members)),
                "league/win_rate": float((payoff > 0).mean()) if len(payoff) else np.nan,
                "league/draw_rate": float((payoff == 0).mean()) if len(payoff) else np.nan,
            }
        )
        return update

    def snapshot(self) -> dict[str, Any]:
        """All that learning changes, the pool with it."""
        playing = [each for each in self.envs.opponents if each is not None]
        return {**super().snapshot(), "pool": self.pool.snapshot(playing)}

    def restore(self, tree: dict[str, Any], environments: bool = True) -> bool:
        """Back to a snapshot, the pool with it; without `environments` games go on against those who play them."""
        check_snapshot(tree, self._made_of())
        playing = self.pool.restore(tree["pool"], self.policy)
        if environments and playing:
            if len(playing) != self.envs.num_envs:
                raise ValueError(f"playing has to name an opponent for each of {self.envs.num_envs} games")
            self.envs.opponents = list(playing)
        return super().restore(tree, environments)

    def save_policy(self, directory: Path, env: str, said: dict[str, Any]) -> None:
        """The policy, its checkpoints, and their ratings."""
        super().save_policy(directory, env, said)
        league.save(directory, self.pool, self.algorithm.name, env, said)
        write_atomically(directory / LEAGUE, json.dumps(self.pool.tree(), indent=1).encode())
