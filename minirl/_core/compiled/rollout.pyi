"""Shapes and meaning: reference/rollout.py."""

from typing import Any

from numpy.typing import NDArray

from minirl._core.arguments import EnvArguments, PolicyArguments, RolloutArrays

Array = NDArray[Any]

def env_rollout(
    env: EnvArguments,
    state: Array,
    steps: Array,
    seen: Array,
    policy: PolicyArguments,
    noise: Array,
    bounds: Array | tuple[float, float, float, float] | None,
    out: RolloutArrays,
) -> int: ...
