"""Rewards in units of the deviation of the discounted return."""

from dataclasses import dataclass, replace

from minirl import _core
from minirl.numerics.arrays import Array
from minirl.numerics.running_moments import RunningMoments
from minirl.numerics.sums_over_samples import SampleWeights


@dataclass(frozen=True)
class RewardScaler:
    """r -> r/σ(R), where R_t = r_t + γ R_{t−1} starts again at 0 after a cut. The mean is not subtracted.

    Nothing is scaled as long as R is constant. One factor scales all rewards, and nothing is clipped here.
    """

    moments: RunningMoments
    carry: Array  # R of each environment (B,)

    def update(self, reward: Array, cut: Array, weights: SampleWeights, gamma: float) -> "RewardScaler":
        """Take in a rollout: reward, cut (T, B), the weights of its T·B steps."""
        sums, carry = _core.running_return(reward, cut, self.carry, gamma)
        return replace(self, moments=self.moments.update(sums.reshape(-1, 1), weights), carry=carry)

    def __call__(self, reward: Array) -> Array:
        """The rewards in units of σ(R)."""
        return reward * (self.moments.inv_std()[0] or 1.0)
