"""What config.json says of a run: method, configuration, and all that the last bit of its results depends on."""

import dataclasses
import datetime
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minirl.errors import FileError, shorten
from minirl.files.strict_json import read_json

CONFIG = "config.json"
NOT_STORED = "not stored"  # the key of what stands in config.json for a value that JSON has no form for
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
FORMAT = 1
SAME = ("versions", "core", "blas", "machine", "threads")  # where these are, so is the last bit


def read_record(run: Path) -> dict[str, Any]:
    """What a run's config.json says; FileError where there is none, or it is of a later version."""
    record = read_json(run / CONFIG)
    number = record.get("format", FORMAT)
    if type(number) is not int or not 1 <= number <= FORMAT:
        said = f"it has file format {shorten(repr(number))}, this minirl reads up to {FORMAT}"
        raise FileError(f"{run / CONFIG} cannot be read: {said}")
    return record


def describe(algorithm: str, config: Any, command: str | None = None) -> dict[str, Any]:
    """How a run was started: what config.json holds."""
    from minirl.envs import given

    named = {"env": given.stored(config.env)}  # null where a file can name no such thing
    return {
        "format": FORMAT,
        "algorithm": algorithm,
        "config": {each.name: _storable(vars(config)[each.name]) for each in dataclasses.fields(config)} | named,
        "environment": given.name(config.env),
        "changed_kwargs": [key for key, value in vars(config)["env_kwargs"].items() if not _comes_back(value)],
        **surroundings(),
        "started": now(),
        "command": command,
    }


def surroundings() -> dict[str, Any]:
    """What the last bit of a result depends on besides the configuration."""
    import gymnasium

    import minirl
    from minirl._core import COMPILED

    return {
        "versions": {
            "minirl": minirl.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "gymnasium": gymnasium.__version__,
        },
        "core": "compiled" if COMPILED else "twins",
        "blas": _blas(),
        "machine": {"platform": platform.platform(), "cpu": _cpu(), "cores": os.cpu_count()},
        "threads": {name: os.environ.get(name) for name in THREADS},
    }


def what_changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """["numpy 1.26.4 → 2.3.5", …]: what differs between two surroundings."""
    found = []
    for name in SAME:
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += [
                f"{k} {old.get(k)} → {new.get(k)}" for k in [*dict.fromkeys([*old, *new])] if old.get(k) != new.get(k)
            ]
        elif old != new:
            found.append(f"{name} {old} → {new}")
    return found


def now() -> str:
    """The time, in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _blas() -> str:
    """The library that multiplies NumPy's matrices."""
    try:
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]  # type: ignore[call-overload]
        return f"{blas['name']} {blas['version']}"
    except (KeyError, TypeError):
        return "unknown"


def _comes_back(value: Any) -> bool:
    """Whether JSON gives back what it was given: not tuples, arrays, or keys that are no text."""
    if isinstance(value, dict):
        return all(type(key) is str and _comes_back(each) for key, each in value.items())
    if type(value) is list:
        return all(map(_comes_back, value))
    return value is None or type(value) in (str, bool, int, float)


def _storable(value: Any) -> Any:
    """A value as JSON holds it; where it cannot, an object that describes it and is not mistaken for it."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _storable(item) for key, item in value.items()}
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return {NOT_STORED: f"{type(value).__module__}.{type(value).__qualname__}"}
    return value


def _cpu() -> str:
    """The processor's name, from Linux where there is one."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()
