"""What a vector environment does at the end of an episode."""

from typing import Any

from gymnasium.vector import AutoresetMode

from minirl.errors import EnvError


def autoreset_mode(envs: Any) -> AutoresetMode:
    """What the vector does at the end of an episode, from its metadata; EnvError where it does not say."""
    mode = (getattr(envs, "metadata", None) or {}).get("autoreset_mode")
    try:
        return mode if isinstance(mode, AutoresetMode) else AutoresetMode(mode)
    except ValueError:
        names = ", ".join(m.value for m in AutoresetMode)
        raise EnvError(f"metadata['autoreset_mode'] = {mode!r}: a vector environment has to say one of {names}") from None
