"""How minirl grows: steps/s with the environments, update time with width, batch and depth, peak memory with
the batch; one thread.

    python benches/scaling.py [--quick]        prints the points as JSON, for peers.py

A cliff is a doubling of the work that more than triples the time. For the width the work is the number of weights: it
grows by its square.
"""

import argparse
import json
import math
import os
import statistics
import sys
import time
import tracemalloc
from itertools import pairwise
from pathlib import Path
from typing import Any

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np  # noqa: E402
import workloads  # noqa: E402
from worker import timed  # noqa: E402

from minirl import algorithms  # noqa: E402
from minirl.envs.make import make_envs  # noqa: E402
from minirl.models.distributions import DiagGaussian  # noqa: E402
from minirl.training.learner import Learner  # noqa: E402

OBS, OUT = 17, 6  # HalfCheetah's shapes
FIELDS = {"ppo": workloads.W2, "trpo": workloads.W3}
AXES = {
    "width": [2**k for k in range(4, 10)],
    "batch": [2**k for k in range(8, 17)],
    "depth": [1, 2, 3, 4],
    "memory": [2**k for k in range(11, 17)],
}


def points(quick: bool) -> list[dict[str, Any]]:
    """Every point of every axis: its size, the work that is in it, seconds or bytes."""
    found = environments(quick)
    for axis, sizes in AXES.items():
        measure = memory if axis == "memory" else update
        for algorithm in FIELDS:
            found += [measure(algorithm, axis, size, quick) for size in (sizes[:3] if quick else sizes)]
    return found


def environments(quick: bool) -> list[dict[str, Any]]:
    """W1 with 1 … 4096 of the batched CartPole, or up to 64 of gymnasium's where there is none;
    seconds of a whole update.
    """
    try:
        import minirl.envs  # noqa: F401

        env_id, how, most = "minirl/CartPole-v1", "vector_entry_point", 4096
    except ModuleNotFoundError:
        env_id, how, most = "CartPole-v1", "sync", 64
    found = []
    for size in (2**k for k in range(3 if quick else most.bit_length())):
        fields = workloads.W1 | {
            "num_envs": size,
            "minibatch_size": 32 * size,
            "total_timesteps": 10**9,
            "vectorization": how,
        }
        learner = Learner(algorithms.find("ppo"), make_envs(env_id, size, how), algorithms.find("ppo").config(**fields))
        times, start = [], time.perf_counter()
        while len(times) < 4 or (time.perf_counter() - start < 0.5 and not quick):
            begin = time.perf_counter()
            learner.step()
            times.append(time.perf_counter() - begin)
        seconds = statistics.median(times[1:])
        found.append(
            {
                "axis": "envs",
                "algorithm": f"ppo, {env_id}",
                "size": size,
                "work": size,
                "value": seconds,
                "rate": 128 * size / seconds,
            }
        )
    return found


def update(algorithm: str, axis: str, size: int, quick: bool) -> dict[str, Any]:
    """Seconds of W2's and W3's update with one thing changed."""
    width, depth, n = (
        size if axis == name else usual for name, usual in (("width", 64), ("depth", 2), ("batch", workloads.SAMPLES))
    )
    call = workloads.update_of(algorithm, DiagGaussian(OUT), OBS, n, hidden=(width,) * depth, **FIELDS[algorithm])
    work = sum(a * b for a, b in pairwise((OBS, *[width] * depth, OUT))) if axis == "width" else size
    return {"axis": axis, "algorithm": algorithm, "size": size, "work": work} | timed(call, quick)


# --------------------------------------------------------------------------------------------------------------- memory


def memory(algorithm: str, axis: str, size: int, quick: bool) -> dict[str, Any]:
    """Bytes of arrays that live at the peak of one update, besides its batch;
    the kernels' scratch, some 100 KB, is not in it.
    """
    call = workloads.update_of(algorithm, DiagGaussian(OUT), OBS, size, **FIELDS[algorithm])
    call()  # what is loaded once is there
    tracemalloc.start()
    call()
    grown = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {"axis": axis, "algorithm": algorithm, "size": size, "work": size, "value": grown}


# -------------------------------------------------------------------------------------------------------------- reading


def growth(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row per axis and algorithm:
    time per doubling of the work, the steepest one and where, and whether it is a cliff.
    """
    rows = []
    for axis, algorithm in dict.fromkeys((p["axis"], p["algorithm"]) for p in found if p["axis"] != "memory"):
        line = [p for p in found if (p["axis"], p["algorithm"]) == (axis, algorithm)]
        steps = [
            ((b["value"] / a["value"]) ** (1 / math.log2(b["work"] / a["work"])), a["size"], b["size"])
            for a in line
            for b in line
            if b["size"] == 2 * a["size"]
        ]
        factor, low, high = max(steps)
        rows.append(
            {"axis": axis, "algorithm": algorithm, "factor": factor, "from": low, "to": high, "cliff": factor > 3}
        )
    return rows


def memory_line(found: list[dict[str, Any]], algorithm: str) -> dict[str, float]:
    """Peak bytes = base + per_sample · N by least squares, and the largest distance from that line as a share of it."""
    n, value = np.array(
        [(p["size"], p["value"]) for p in found if (p["axis"], p["algorithm"]) == ("memory", algorithm)], float
    ).T
    slope, base = np.polyfit(n, value, 1)
    line = base + slope * n
    return {
        "algorithm": algorithm,
        "per_sample": slope,
        "base": base,
        "off": float(np.max(np.abs(value - line)) / line.max()),
    }


PANELS = {  # axis: what stands along it, what is drawn, in which field and times what
    "envs": ("environments", "steps/s", "rate", 1.0),
    "width": ("width of the two hidden layers", "update (ms)", "value", 1e3),
    "batch": ("samples", "update (ms)", "value", 1e3),
    "depth": ("hidden layers", "update (ms)", "value", 1e3),
    "memory": ("samples", "peak memory of an update (MB)", "value", 1e-6),
}


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Draw the points into a file."""
    picture(found).savefig(path, dpi=120)


def picture(found: list[dict[str, Any]]) -> Any:
    """A matplotlib Figure: one panel per axis, both axes logarithmic, plain numbers at the sizes that were measured."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

    figure = Figure(figsize=(12, 7), layout="constrained")
    panels = figure.subplots(2, 3).ravel()
    panels[-1].set_visible(False)
    for panel, (axis, (x, y, field, scale)) in zip(panels, PANELS.items(), strict=False):
        points = [p for p in found if p["axis"] == axis]
        for name, colour in zip(dict.fromkeys(p["algorithm"] for p in points), ("#0072B2", "#D55E00"), strict=False):
            line = [(p["size"], p[field] * scale) for p in points if p["algorithm"] == name]
            label = name.replace("trpo", "TRPO").replace("ppo", "PPO")
            panel.loglog(*zip(*line, strict=True), "o-", color=colour, ms=5, label=label)
        sizes = sorted({p["size"] for p in points})
        shown = sizes[:: 2 if len(sizes) > 6 or sizes[-1] > 10_000 else 1]
        panel.set_xticks(shown, [f"{size:,}".replace(",", " ") for size in shown])
        low, high = panel.get_ylim()
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high > 10 * low else range(1, 10)))
        panel.yaxis.set_major_formatter(EngFormatter(sep=""))
        for each in (panel.xaxis, panel.yaxis):
            each.set_minor_locator(NullLocator())
        panel.set(xlabel=x, ylabel=y)
        panel.legend(frameon=False, loc="best")
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three sizes of each, few repeats")
    print(json.dumps(points(parser.parse_args().quick)))


if __name__ == "__main__":
    main()
