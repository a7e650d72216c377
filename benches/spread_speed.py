"""simple_spread with three agents: environment steps a second of mpe2 and of the native one, on one core.

    python benches/spread_speed.py [--quick]

A step of one environment, all its agents at once, counts as one, as the public figures count. The actions are random
and made beforehand; resets after 25 steps are in the time. Each figure is the median of rounds, mpe2 and the native
one by turns. Writes benches/results/spread_speed.json. Needs `pip install "minirl[marl]"`.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np  # noqa: E402
from machine import describe  # noqa: E402

from minirl import _core  # noqa: E402
from minirl.envs.make_many_agents import make_many_agents  # noqa: E402

ENVS = (1, 16, 128, 1024)
ROUNDS, SECONDS = 9, 0.5
TIMES_MPE2, BEST_PUBLIC = 50, 435_000  # aims; the latter with 128 environments: compiled JAX on one core


def mpe2() -> Callable[[int], None]:
    """Plays so many steps of mpe2's own environment, as its parallel interface is used."""
    from mpe2 import simple_spread_v3

    env, rng = simple_spread_v3.parallel_env(), np.random.default_rng(0)
    env.reset(seed=0)
    table = [dict(zip(env.possible_agents, row, strict=True)) for row in rng.integers(0, 5, (1000, 3)).tolist()]

    def play(steps: int) -> None:
        for t in range(steps):
            env.step(table[t % 1000])
            if not env.agents:
                env.reset()

    return play


def native(envs: int) -> Callable[[int], None]:
    """Plays so many steps of each of `envs` environments through `ManyAgents`."""
    many, rng = make_many_agents("minirl/SimpleSpread-v0", envs), np.random.default_rng(0)
    many.reset(list(range(envs)))
    table = [dict(zip(many.agents, rng.integers(0, 5, (3, envs)), strict=True)) for _ in range(100)]

    def play(steps: int) -> None:
        for t in range(steps):
            many.step(table[t % 100])

    return play


def kernel(envs: int) -> Callable[[int], None]:
    """The kernel alone, every 25 steps from the same states: what the interface around it costs is the difference."""
    rng = np.random.default_rng(0)
    start, obs = rng.uniform(-1, 1, (envs, 18)), np.zeros((3, envs, 18), np.float32)
    table, out = rng.integers(0, 5, (100, 3, envs)), (np.zeros((envs, 3)), np.zeros(envs, bool))
    state, steps = start.copy(), np.zeros(envs, np.int64)

    def play(count: int) -> None:
        for t in range(count):
            if t % 25 == 0:
                state[:] = start
            _core.spread_step(state, steps, table[t % 100], 1 << 60, 0.5, obs, *out)

    return play


def rate(play: Callable[[int], None], envs: int, seconds: float) -> float:
    """Environment steps a second over about so long."""
    steps, taken = 25, 0.0
    while True:
        begin = time.perf_counter()
        play(steps)
        taken = time.perf_counter() - begin
        if taken > seconds / 2:
            return envs * steps / taken
        steps = 25 * max(1, round(steps / 25 * min(20.0, seconds / max(taken, 1e-6))))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round, nothing is written")
    quick = parser.parse_args().quick
    rounds, seconds = (1, 0.05) if quick else (ROUNDS, SECONDS)
    plays: dict[str, tuple[int, Callable[[int], None]]] = {"mpe2": (1, mpe2())}
    plays |= {f"native, {envs}": (envs, native(envs)) for envs in ENVS}
    plays |= {f"kernel, {envs}": (envs, kernel(envs)) for envs in ENVS}
    raw: dict[str, list[float]] = {name: [] for name in plays}
    for _ in range(rounds):
        for name, (envs, play) in plays.items():
            raw[name].append(rate(play, envs, seconds))
    found: dict[str, Any] = {}
    for name, each in raw.items():
        median = statistics.median(each)
        found[name] = {"steps_per_second": each, "median": median}
        ratio = statistics.median(a / b for a, b in zip(each, raw["mpe2"], strict=True))
        found[name]["times_mpe2"] = ratio
        print(f"{name:14} {median:12,.0f} steps/s [{min(each):,.0f}, {max(each):,.0f}], {ratio:7.1f} x mpe2")
    reached = found["native, 128"]["median"] > BEST_PUBLIC and found["native, 128"]["times_mpe2"] >= TIMES_MPE2
    print(f"128 environments: over {TIMES_MPE2} x mpe2 and {BEST_PUBLIC:,} steps/s: {'yes' if reached else 'NO'}")
    if not quick:
        results = Path(__file__).parent / "results" / "spread_speed.json"
        results.write_text(json.dumps({"machine": describe("mpe2", "pettingzoo"), "found": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
