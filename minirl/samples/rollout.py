"""T steps of B environments, as they came."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Rollout:
    """T steps of B environments. One that is not `valid` (a reset step of NEXT_STEP) is never learned from."""

    obs: np.ndarray  # (T, B, D) encoded, before normalisation
    action: np.ndarray  # (T, B) or (T, B, d), as sampled: neither shifted nor cut
    reward: np.ndarray  # (T, B) float64, as the environment gave it
    next_obs: np.ndarray  # (T, B, D) what the action led to: the final observation where an episode ends
    terminated: np.ndarray  # (T, B) bool: the episode is over, nothing follows
    truncated: np.ndarray  # (T, B) bool: it was cut short, its value goes on; never set together with terminated
    valid: np.ndarray  # (T, B) bool
    mask: np.ndarray | None = None  # (T, B, K) bool: the actions that were allowed; None where all always are

    @property
    def cut(self) -> np.ndarray:
        """Where the next row belongs to another episode."""
        return self.terminated | self.truncated
