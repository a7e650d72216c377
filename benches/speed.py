"""The first speed floor: whole workloads on one thread; `pytest benches` has the single kernels.

    python benches/speed.py     W1 PPO end to end on CartPole, W2 PPO update, W3 TRPO update, W5 acting, W6 import

Each row: median and spread over the repeats, and the floor that it has to keep. Writes benches/results/speed.json.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np  # noqa: E402
import workloads  # noqa: E402
from machine import describe  # noqa: E402

RESULTS = Path(__file__).parent / "results"


def seconds(call, repeats: int, warmup: int = 2) -> list[float]:
    """Wall time of each of `repeats` calls."""
    for _ in range(warmup):
        call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def w1_end_to_end() -> list[float]:
    """Transitions per second of PPO on CartPole, whole trainings."""
    rates = []
    for seed in range(3):
        learner = workloads.w1(seed)
        start = time.perf_counter()
        last = list(learner)[-1]
        rates.append(last.global_step / (time.perf_counter() - start))
    return rates


def w5_acting() -> tuple[list[float], list[float]]:
    """Seconds per action for one raw CartPole observation, statistics and all: greedy, sampled."""
    agent, rng = workloads.acting(), np.random.default_rng(0)

    def thousand(sample):
        for _ in range(1000):
            agent.act(workloads.OBS, sample)

    return [t / 1000 for t in seconds(lambda: thousand(None), 15)], [
        t / 1000 for t in seconds(lambda: thousand(rng), 15)
    ]


def w6_import() -> list[float]:
    """Seconds: `import minirl` in a fresh interpreter, the interpreter's own start taken off."""

    def start(code: str) -> float:
        return statistics.median(seconds(lambda: subprocess.run([sys.executable, "-c", code], check=True), 9))

    return [start("import minirl, numpy, gymnasium") - start("pass") for _ in range(3)]


def rows() -> list[dict]:
    greedy, sampled = w5_acting()
    made = [
        ("W1 PPO end to end, CartPole-v1", w1_end_to_end(), 1.0, "steps/s", 60_000, "at least"),
        (
            "W2 PPO update, 2048 x 10 epochs, minibatch 64",
            seconds(workloads.ppo_update(), 20),
            1e3,
            "ms",
            70,
            "at most",
        ),
        ("W3 TRPO update, 2048, CG 15", seconds(workloads.trpo_update(), 20), 1e3, "ms", None, ""),
        ("W5 act, one observation, greedy", greedy, 1e6, "us", 12, "at most"),
        ("W5 act, one observation, sampled", sampled, 1e6, "us", 12, "at most"),
        ("W6 import minirl with numpy and gymnasium", w6_import(), 1e3, "ms", 250, "at most"),
    ]
    return [
        {
            "workload": name,
            "median": statistics.median(values) * scale,
            "min": min(values) * scale,
            "max": max(values) * scale,
            "unit": unit,
            "floor": floor,
            "kind": kind,
            "n": len(values),
        }
        for name, values, scale, unit, floor, kind in made
    ]


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    machine, table = describe(), rows()
    print(f"{machine['cpu']}, one thread, float32, {'compiled core' if machine['compiled'] else 'NumPy twins'}")
    for row in table:
        floor = "" if row["floor"] is None else f"   {row['kind']} {row['floor']:,}"
        spread = f"[{row['min']:,.1f}, {row['max']:,.1f}]"
        print(f"{row['workload']:48} {row['median']:>12,.1f} {row['unit']:8} {spread:24} n={row['n']}{floor}")
    RESULTS.mkdir(exist_ok=True)
    name = "speed.json" if machine["compiled"] else "speed-twins.json"
    (RESULTS / name).write_text(json.dumps({"machine": machine, "rows": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
