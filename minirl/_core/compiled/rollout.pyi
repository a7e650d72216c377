"""Shapes and meaning: reference/rollout.py."""

from typing import Any

def env_rollout(
    problem: tuple[Any, ...], state: Any, steps: Any, seen: Any, policy: tuple[Any, ...], noise: Any, bounds: Any, out: tuple[Any, ...]
) -> int: ...
