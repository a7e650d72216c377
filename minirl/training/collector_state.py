"""What a collector keeps from one rollout to the next: to go on exactly, save this and the environments."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minirl.files.tree import check_like
from minirl.spaces.action_masks import ActionMasks
from minirl.training.action_noise import ActionNoise


@dataclass(slots=True)
class CollectorState:
    """All that changes while rollouts are collected, but for the environments.

    To be taken, as a copy, between `commit` and the next rollout: then it belongs to what was learned so far.
    fresh_start: `collect` sets it and `commit` clears it, so what broke off on the way, or was not learned from, is not
    continued: the next rollout begins with fresh episodes. `Collector.reset` asks for that as well.
    """

    noise: ActionNoise  # the random numbers behind the actions to come
    obs: np.ndarray  # (B, D) what the policy acts on next, encoded
    masks: ActionMasks | None  # what is allowed then; None where everything always is
    episode_return: np.ndarray  # (B,) of the unfinished episodes, up to the last rollout's end
    episode_length: np.ndarray  # (B,)
    resetting: np.ndarray | None = None  # (B,) bool: the next step of these is a reset step; None: of none
    steps_taken: int = 0  # of the vector, for messages: reset steps count
    fresh_start: bool = False

    def tree(self) -> dict[str, Any]:
        """All of it as a tree of arrays and JSON scalars, copied."""
        return {
            "noise": self.noise.tree(),
            "obs": self.obs.copy(),
            "masks": None if self.masks is None else self.masks.allowed.copy(),
            "episode_return": self.episode_return.copy(),
            "episode_length": self.episode_length.copy(),
            "resetting": None if self.resetting is None else self.resetting.copy(),
            "steps_taken": self.steps_taken,
            "fresh_start": self.fresh_start,
        }

    def check(self, tree: dict[str, Any]) -> None:
        """ValueError for what cannot be a state of this collector."""
        self.noise.check(tree["noise"])
        if tree["envs"] is not None:
            mine = {"obs": self.obs, "episode_return": self.episode_return, "episode_length": self.episode_length}
            check_like({name: tree[name] for name in mine}, mine, "collector")
            check_like(tree["steps_taken"], 0, "collector.steps_taken")

    def take(self, tree: dict[str, Any]) -> None:
        """Back to a tree, which is copied, but for the noise."""
        self.obs = tree["obs"].copy()
        if self.masks is not None:
            self.masks.allowed = tree["masks"].copy()
        self.episode_return, self.episode_length = tree["episode_return"].copy(), tree["episode_length"].copy()
        self.resetting = None if tree["resetting"] is None else tree["resetting"].copy()
        self.steps_taken, self.fresh_start = tree["steps_taken"], tree["fresh_start"]
