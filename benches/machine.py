"""What ran: machine, versions, threads, core. Stands in every result file."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version


def describe(*packages: str) -> dict[str, object]:
    """Facts that a figure depends on, as JSON."""
    from minirl import _core

    return {
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "threads": {
            name: os.environ.get(name) for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
        },
        "compiled": _core.COMPILED,
        "versions": {name: installed(name) for name in ("minirl", "numpy", "gymnasium", *packages)},
    }


def cpu_name() -> str:
    """The processor's name, as Linux tells it."""
    try:
        with open("/proc/cpuinfo") as lines:
            found = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        return (
            f"{found.get('model name', '?')} (family {found.get('cpu family', '?')}, model {found.get('model', '?')})"
        )
    except OSError:
        return platform.processor()


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
