"""The best policy on the way: greedy episodes every so many updates, and a file for whoever scored highest in them.

The episodes are played on environments made for them, always from the same seeds, and draw nothing from the training:
it goes on to the last bit as it would without them.
"""

from pathlib import Path
from typing import Any

import numpy as np

from minirl import methods
from minirl.deploy import policy_file, team
from minirl.deploy.team import Team
from minirl.envs import given
from minirl.errors import ConfigError
from minirl.numerics import random_streams
from minirl.training.learner import Learner

FILE = "best.safetensors"
RETURN = "eval_return"  # in the file's description: its mean return
FOLDER = "best"  # for several agents


class Best:
    """Plays `episodes` after every `every` updates; `mean` is the highest so far, after update `update`.

    path: a run directory, None to write nothing.
    """

    def __init__(self, learner: Learner, every: int, episodes: int, path: Path | None):
        self.learner, self.every, self.episodes, self.path = learner, every, episodes, path
        config = learner.config
        check_playable(config)
        seeds = random_streams.stream_seeds(config.seed)["evaluation"]
        self.seed = random_streams.integer_seeds(seeds, 1)[0]
        self.mean, self.update = -np.inf, 0
        self.on_disk = -np.inf  # the score of the policy in the file, where a run goes on
        self.unsaved: Any = None  # the best policy, until it is in a file
        policy: Any = learner.policy
        self.name = FOLDER if isinstance(policy, Team) else FILE

    def play(self, update: int) -> dict[str, float]:
        """The evaluation after an update by its metrics; none where it is not its time."""
        if update % self.every:
            return {}
        policy, name, config = self.learner.policy, self.learner.algorithm.name, self.learner.config
        played = methods.evaluate(policy, name, config.env, self.episodes, False, self.seed, config.env_kwargs)
        if played.mean > self.mean:
            self.mean, self.update, self.unsaved = played.mean, update, policy
        numbers = {"return": played.mean, "return_std": played.std, "length": played.lengths.mean(), "best": self.mean}
        return {f"eval/{key}": float(value) for key, value in numbers.items()}

    def save(self) -> None:
        """Write the best policy if that was not done yet; FileError, and then the next call tries again."""
        policy, self.unsaved = self.unsaved, None
        if policy is None or self.path is None or self.mean <= self.on_disk:
            return
        config, name = self.learner.config, self.learner.algorithm.name
        env, said = given.named(config.env, config.env_kwargs)
        said |= {RETURN: self.mean}
        try:
            if isinstance(policy, Team):
                (self.path / FOLDER).mkdir(exist_ok=True)
                team.save(self.path / FOLDER, policy, name, env, said)
            else:
                policy_file.save(self.path / FILE, policy, name, env, said)
        except BaseException:
            self.unsaved = policy
            raise

    def keep_what_is_there(self) -> None:
        """The file may be of an update behind the checkpoint: only a better policy takes its place."""
        if self.path is None or not (self.path / self.name).exists():
            return
        _, about = team.load_policy(self.path / self.name)
        score = about.get(RETURN)
        self.on_disk = score if isinstance(score, int | float) else -np.inf

    def tree(self) -> dict[str, Any]:
        """What is to be remembered, as JSON scalars."""
        return {"mean": self.mean, "update": self.update}

    def take(self, tree: dict[str, Any]) -> None:
        """Go on where `tree` was taken."""
        if self.update != int(tree["update"]):
            self.unsaved = None
        self.mean, self.update = float(tree["mean"]), int(tree["update"])


def check_playable(config: Any) -> None:
    """ConfigError where there can be no environment besides those of the training."""
    if config.vectorization == "vector_entry_point":
        raise ConfigError(
            "eval_every: vectorization = 'vector_entry_point' has no single environment to play in, set eval_every to 0"
        )
    if hasattr(config.env, "reset") and not isinstance(config.env, type):
        raise ConfigError(
            f"eval_every: env is one {given.name(config.env)}, in use by the training; give its class, or a function "
            "that makes one"
        )
