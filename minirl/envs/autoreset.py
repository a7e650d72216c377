"""The end of an episode in gymnasium's three autoreset modes: a class each, of one interface, that says what to do.

An episode of one environment whose step t is its last: s is what the policy acted on, f the final observation, s0 the
first one of the next episode. All three give the same transitions.

                         NextStep                    SameStep                    Disabled
    step t returns       f, reward, flags            s0, reward, flags           f, reward, flags
    row t stores         s -> f                      s -> f                      s -> f
    where f is           returned                    info["final_obs"]           returned
    s0 comes from        step t + 1, which ignores   step t                      a call between the two steps,
                         its action (a reset step)                               reset(options={"reset_mask": …})
    step t + 1 returns   s0, reward 0, no flags      what s0 led to              what s0 led to
    row t + 1 stores     nothing: valid is False     s0 -> …                     s0 -> …

Where every environment's next step is a reset step, the collector takes it at once and stores no row for it.
"""

from typing import Any, Protocol

import numpy as np
from gymnasium.vector import AutoresetMode

from minirl.errors import EnvError


class Autoreset(Protocol):
    """What one mode answers after each step that ended episodes or was a reset step of some environment.

    done: (B,) bool, whose episode ended in that step.  None as an answer: no environment, no observation.
    """

    def final_observations(self, info: dict[str, Any], done: np.ndarray) -> list[Any] | None:
        """Final observations of the environments that are `done`, in their order; None: the step has returned them."""
        ...

    def reset_step(self, done: np.ndarray) -> np.ndarray | None:
        """Whose next step only resets: no transition, its action is ignored (B,)."""
        ...

    def reset_call(self, done: np.ndarray) -> np.ndarray | None:
        """Who has to be reset by a call, with this as its reset_mask, before the next step (B,)."""
        ...


class NextStep:
    """The environment resets itself in the step after the end."""

    def final_observations(self, info: dict[str, Any], done: np.ndarray) -> None:
        return None

    def reset_step(self, done: np.ndarray) -> np.ndarray | None:
        return done if done.any() else None

    def reset_call(self, done: np.ndarray) -> None:
        return None


class SameStep:
    """The environment has reset itself in the step that ended the episode."""

    def final_observations(self, info: dict[str, Any], done: np.ndarray) -> list[Any]:
        if "final_obs" not in info:
            says = "the vector environment says SAME_STEP but its info has no final_obs"
            raise EnvError(f"{says} at the end of an episode")
        return [info["final_obs"][env] for env in np.flatnonzero(done).tolist()]

    def reset_step(self, done: np.ndarray) -> None:
        return None

    def reset_call(self, done: np.ndarray) -> None:
        return None


class Disabled:
    """The environment waits until it is reset."""

    def final_observations(self, info: dict[str, Any], done: np.ndarray) -> None:
        return None

    def reset_step(self, done: np.ndarray) -> None:
        return None

    def reset_call(self, done: np.ndarray) -> np.ndarray:
        return done


MODES: dict[AutoresetMode, Autoreset] = {
    AutoresetMode.NEXT_STEP: NextStep(),
    AutoresetMode.SAME_STEP: SameStep(),
    AutoresetMode.DISABLED: Disabled(),
}


def autoreset_mode(envs: Any) -> AutoresetMode:
    """gymnasium's name of the mode, from the vector's metadata; EnvError where it does not say."""
    mode = (getattr(envs, "metadata", None) or {}).get("autoreset_mode")
    try:
        return mode if isinstance(mode, AutoresetMode) else AutoresetMode(mode)
    except ValueError:
        names = ", ".join(m.value for m in AutoresetMode)
        says = f"metadata['autoreset_mode'] = {mode!r}"
        raise EnvError(f"{says}: a vector environment has to say one of {names}") from None


def autoreset_of(envs: Any) -> Autoreset:
    """The mode of a vector environment; EnvError where it does not say."""
    return MODES[autoreset_mode(envs)]
