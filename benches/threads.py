"""Two threads for one update: what would there be to gain? The answer decides whether minirl has them: from 1.5 x on.

    python benches/threads.py

TRPO's step and its critic's fit side by side (neither needs the other), and a Fisher-vector product by halves of the
rows, their sum in a fixed order: both give the same numbers on one thread as on two. Writes
benches/results/threads.json.
"""

import json
import os
import statistics
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np  # noqa: E402
import workloads  # noqa: E402
from machine import describe  # noqa: E402
from worker import timed  # noqa: E402

from minirl import algorithms  # noqa: E402
from minirl.algorithms.npg import fisher_vector_product  # noqa: E402
from minirl.algorithms.trpo import trpo_step  # noqa: E402
from minirl.algorithms.value_fit import fit_critic  # noqa: E402
from minirl.models.distributions import DiagGaussian  # noqa: E402

NEEDED = 1.5  # x


def update(pool: ThreadPoolExecutor) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """W3 with the step and the fit one after the other, and at once."""
    cfg = algorithms.find("trpo").config(**workloads.W3)
    nets, state, batch = workloads.made_up(DiagGaussian(6), 17, workloads.SAMPLES, "trpo", cfg)

    def step() -> Any:
        return trpo_step(nets.policy, state["theta_pi"], batch, cfg)

    def fit() -> Any:
        return fit_critic(nets.critic, state["theta_v"], state["adam_v"], batch, cfg, np.random.default_rng(0))

    def at_once() -> Any:
        other = pool.submit(step)
        return fit(), other.result()

    return lambda: (fit(), step()), at_once


def product(pool: ThreadPoolExecutor) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """W7 whole, and as the sum of two halves of the rows."""
    whole, policy, theta, obs = workloads.fisher_product()
    v, half = np.random.default_rng(1).standard_normal(policy.num_params), len(obs) // 2
    halves = []
    for rows in (obs[:half], obs[half:]):
        phi, cache = policy.forward(theta, rows)
        halves.append(fisher_vector_product(policy, theta, cache, phi, np.full(half, 1 / len(obs)), 0.05))

    def at_once() -> np.ndarray:
        other = pool.submit(halves[0], v)
        return halves[1](v) + other.result()

    assert np.linalg.norm(at_once() - whole(v)) < 1e-5 * np.linalg.norm(whole(v))
    return lambda: whole(v), at_once


def main() -> None:
    found = {}
    with ThreadPoolExecutor(2) as pool:
        for name, make in (("TRPO update, W3", update), ("Fisher-vector product, W7", product)):
            one, two = make(pool)
            raw = [(timed(one, False)["value"], timed(two, False)["value"]) for _ in range(9)]
            ratios = [a / b for a, b in raw]
            found[name] = {"seconds": raw, "ratio": statistics.median(ratios)}
            a, b = (1e3 * statistics.median(column) for column in zip(*raw, strict=True))
            verdict = "enough" if found[name]["ratio"] >= NEEDED else f"less than {NEEDED} x"
            spread = f"{found[name]['ratio']:.2f} x [{min(ratios):.2f}, {max(ratios):.2f}]"
            print(f"{name:28} {a:6.2f} ms on one thread, {b:6.2f} ms on two: {spread}, {verdict}")
    results = Path(__file__).parent / "results" / "threads.json"
    results.write_text(json.dumps({"machine": describe(), "found": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
