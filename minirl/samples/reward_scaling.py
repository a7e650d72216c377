"""Rewards in units of the deviation of the discounted return."""

from dataclasses import dataclass, replace

import numpy as np

from minirl import _core
from minirl.numerics.communicator import SERIAL
from minirl.numerics.running_moments import RunningMoments


@dataclass(frozen=True)
class RewardScaler:
    """r -> r/σ(R), where R_t = r_t + γ R_{t−1} starts again after termination and truncation. The mean stays.

    Nothing is scaled as long as R is constant. The order and the differences of rewards survive: nothing is cut here.
    """

    moments: RunningMoments
    carry: np.ndarray  # R of each environment (B,)

    def update(self, reward: np.ndarray, cut: np.ndarray, weight: np.ndarray, gamma: float, comm=SERIAL) -> "RewardScaler":
        """Take in a rollout: reward, cut, weight (T, B)."""
        sums, carry = _core.running_return(reward, cut, self.carry, gamma)
        return replace(self, moments=self.moments.update(sums.reshape(-1, 1), weight.reshape(-1), comm), carry=carry)

    def __call__(self, reward: np.ndarray) -> np.ndarray:
        """The rewards in units of σ(R)."""
        return reward * (self.moments.inv_std()[0] or 1.0)
