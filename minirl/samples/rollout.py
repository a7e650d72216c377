"""T steps of B environments, as collected."""

from dataclasses import dataclass

from minirl.numerics.arrays import Array


@dataclass(frozen=True)
class Rollout:
    """T steps of B environments. One that is not `valid` (a reset step of NEXT_STEP) is never learned from."""

    obs: Array  # (T, B, D) encoded, before normalisation
    action: Array  # (T, B) or (T, B, d), as sampled: neither scaled nor clipped
    reward: Array  # (T, B) float64, as the environment gave it
    next_obs: Array  # (T, B, D) what the action led to: the final observation where an episode ends
    terminated: Array  # (T, B) bool: the episode is over, nothing follows
    truncated: Array  # (T, B) bool: it was cut short, its value goes on; never set together with terminated
    valid: Array  # (T, B) bool
    first_step: int = 0  # how many steps of the vector were taken before it
    fresh: bool = False  # it began with new episodes in place of unfinished ones: sums over episodes start at 0
    mask: Array | None = None  # (T, B, K) bool: the actions that were allowed; None where all always are

    @property
    def cut(self) -> Array:
        """Where the next row belongs to another episode."""
        return self.terminated | self.truncated
