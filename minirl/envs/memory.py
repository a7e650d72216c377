"""How much memory a training takes, estimated from its sizes: what cannot fit is refused before it is allocated."""

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from minirl.errors import ConfigError

SERIAL, PARALLEL, NATIVE = 4_000, 4_000_000, 1_000  # bytes of one environment, as measured with small ones
COPIES = 4  # of the parameters: θ, its gradient, and two moments of Adam or vectors of a solver
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container, both versions
UNKNOWN = 1 << 40  # bytes, where the system does not say


def of_the_machine() -> int:
    """Bytes of memory that the machine or the container has, used or not."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        total = UNKNOWN
    for path in LIMITS:
        try:
            total = min(total, int(Path(path).read_text()))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return total if total > 0 else UNKNOWN


def check(config: Any, num_envs: int, obs_dim: int = 1, action_dim: int = 1, outputs: int = 1, each: int = 0) -> None:
    """ConfigError where samples, networks and environments cannot fit; the sizes of spaces are 1 until they are known.

    num_envs: B;  obs_dim: D;  action_dim: d;  outputs: P;  each: bytes of one environment
    """
    size, num_inputs = np.dtype(config.dtype).itemsize, int(config.rbf) or obs_dim
    row = size * (2 * obs_dim + num_inputs)  # s, s', what the networks see
    row += 8 * (2 * action_dim + 6) + 3  # a and its noise; r, V, V', Â, G and a weight; three flags
    if config.mask_actions:
        row += outputs
    weights = sum(_parameters((num_inputs, *config.hidden, last)) for last in (outputs, 1))
    features = {"rbf": config.rbf} if config.rbf else {}
    steps = {"num_envs": num_envs, "num_steps": config.num_steps}
    refuse(
        ("environments", each * int(num_envs), {"num_envs": num_envs}),
        ("samples", row * int(config.num_steps) * int(num_envs), steps | features),
        ("networks", COPIES * size * weights + 8 * int(config.rbf) * obs_dim, {"hidden": config.hidden} | features),
    )


def refuse(*parts: tuple[str, int, dict[str, Any]]) -> None:
    """ConfigError where parts (what it is, bytes, the fields that make it so large) are together more than there is."""
    there = of_the_machine()
    if sum(needed for _, needed, _ in parts) > there:
        what, needed, fields = max(parts, key=lambda part: part[1])
        values = ", ".join(f"{name} = {value}" for name, value in fields.items())
        remedy = f"this machine has {there:,}; lower {' or '.join(fields)}"
        raise ConfigError(f"{values}: the {what} take an estimated {needed:,} bytes of memory, {remedy}")


def _parameters(sizes: Sequence[int]) -> int:
    return sum((1 + int(n_in)) * int(n_out) for n_in, n_out in pairwise(sizes))
