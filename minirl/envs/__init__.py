"""Classic control in one compiled call: gymnasium's dynamics, seeds and vector interface, a hundred times faster.

    envs = gymnasium.make_vec("minirl.envs:minirl/CartPole-v1", 64)

Importing this registers minirl/CartPole-v1, minirl/Pendulum-v1, minirl/Acrobot-v1, minirl/MountainCar-v0 and
minirl/MountainCarContinuous-v0.
A single environment of these ids (`gymnasium.make`) is gymnasium's own.
"""

import gymnasium

from minirl.envs.native.classic_control import Acrobot, CartPole, MountainCar, MountainCarContinuous, Pendulum
from minirl.envs.native.vector import NativeVectorEnv

__all__ = ["Acrobot", "CartPole", "MountainCar", "MountainCarContinuous", "NativeVectorEnv", "Pendulum"]


def register() -> None:
    """Make the ids known to gymnasium."""
    for env in (CartPole, Pendulum, Acrobot, MountainCar, MountainCarContinuous):
        single = gymnasium.spec(env.single)
        if f"minirl/{env.single}" not in gymnasium.registry:
            gymnasium.register(
                f"minirl/{env.single}",
                single.entry_point,
                reward_threshold=single.reward_threshold,
                max_episode_steps=single.max_episode_steps,
                vector_entry_point=f"minirl.envs:{env.__name__}",
            )


register()
