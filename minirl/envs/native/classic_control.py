"""The five problems: the kernel that steps each, its environment in gymnasium, and where its episodes start."""

from typing import Any

import numpy as np

from minirl.envs.native.vector import NativeVectorEnv, number


class CartPole(NativeVectorEnv):
    """A pole balanced on a cart: 2 actions, 4 numbers seen."""

    kernel, single, states = "cartpole", "CartPole-v1", 4
    low, high = np.full(4, -0.05), np.full(4, 0.05)


class Pendulum(NativeVectorEnv):
    """A pendulum swung up and held: a torque in [−2, 2], cos θ, sin θ and θ̇ seen."""

    kernel, single, states = "pendulum", "Pendulum-v1", 2
    low, high = np.array([-np.pi, -1.0]), np.array([np.pi, 1.0])

    def _bounds(self, options: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """x_init and y_init are the largest angle and speed to start from."""
        high = np.array(
            [
                number(name, options.get(name, default))
                for name, default in zip(("x_init", "y_init"), self.high, strict=True)
            ]
        )
        return -high, high

    def _picture(self, one: Any) -> Any:
        one.last_u = None if self._last_action is None else np.clip(self._last_action, -2.0, 2.0)  # the arrow
        return super()._picture(one)


class Acrobot(NativeVectorEnv):
    """Two links swung above the bar that they hang from: 3 actions, 6 numbers seen."""

    kernel, single, states = "acrobot", "Acrobot-v1", 4
    low, high = np.full(4, -0.1), np.full(4, 0.1)


class MountainCar(NativeVectorEnv):
    """A car too weak for its hill: 3 actions, position and velocity seen."""

    kernel, single, states = "mountain_car", "MountainCar-v0", 2
    low, high = np.full(1, -0.6), np.full(1, -0.4)


class MountainCarContinuous(NativeVectorEnv):
    """The same car with a push in [−1, 1] that costs."""

    kernel, single, states = "mountain_car_continuous", "MountainCarContinuous-v0", 2
    low, high = np.full(1, -0.6), np.full(1, -0.4)
