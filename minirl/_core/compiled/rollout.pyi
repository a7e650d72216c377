"""Shapes and meaning: reference/rollout.py."""

from typing import Any

from minirl._core.arguments import EnvArguments, PolicyArguments, RolloutArrays

def env_rollout(
    env: EnvArguments,
    state: Any,
    steps: Any,
    seen: Any,
    policy: PolicyArguments,
    noise: Any,
    bounds: Any,
    out: RolloutArrays,
) -> int: ...
