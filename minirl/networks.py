"""The two networks of an actor-critic, side by side; shapes only, the parameters live in the training state."""

from typing import NamedTuple

from minirl.critic import Critic
from minirl.policy import Policy


class Networks(NamedTuple):
    """π_θ and V_θ, separate: fitting one cannot move the other."""

    policy: Policy
    critic: Critic
