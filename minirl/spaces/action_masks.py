"""Which actions an environment allows: info["action_mask"], as gymnasium's environments and vectors give it."""

from typing import Any

import numpy as np

from minirl.errors import EnvError
from minirl.spaces.actions import ActionCodec

KEY = "action_mask"  # in an info: which actions are allowed


def given(info: dict[str, Any], call: str = "reset") -> Any:
    """The mask in an info; EnvError where there is none."""
    if KEY not in info:
        remedy = "set it to False, or fix the environment"
        raise EnvError(f"mask_actions = True: {call}() returns an info without action_mask; {remedy}")
    return info[KEY]


class ActionMasks:
    """What each of B environments allows before its next action, (B, K) bool; of the reset observation with SAME_STEP.

    A vector says in info["_action_mask"] which rows are meant. A mask that allows nothing raises when an action is
    drawn from it, not before: at the end of an episode it is allowed.
    """

    def __init__(self, codec: ActionCodec, num_envs: int, info: dict[str, Any]):
        given(info)
        ones = np.ones((num_envs, codec.family().num_params))
        self.codec, self.allowed = codec, codec.read_mask(ones)
        self.update(info)

    def update(self, info: dict[str, Any], of_all: bool = True) -> None:
        """Take in the info of a step or reset: of all environments, or (not `of_all`) of some alone."""
        if of_all:
            self.allowed[:] = False
        if KEY in info:
            given, rows = np.asarray(info[KEY]), info.get(f"_{KEY}", slice(None))
            if given.shape != self.allowed.shape or given.dtype.kind not in "biuf":
                wanted = f"a vector's has to be numbers or booleans of shape {self.allowed.shape}"
                raise EnvError(f"action_mask of shape {given.shape} and type {given.dtype}: {wanted}")
            self.allowed[rows] = given[rows]

    def read(self, resetting: np.ndarray) -> np.ndarray:
        """The masks to act on, a copy. Where the next step only resets (`resetting`), every action is allowed."""
        return self.codec.read_mask(self.allowed | resetting[:, None], "env")
