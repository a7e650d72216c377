"""What it costs to lose nothing: the snapshot in memory after each update, and checkpoints, as shares of a run's time.

    OPENBLAS_NUM_THREADS=1 python benches/checkpoint_cost.py

Each workload trains with a run directory and without one, by turns. Measured are the times of both and, more exactly
since these differ by noise, each call of Recorder.snapshot and Recorder.save (policy, checkpoint, rows before them).
Bound: 1 % of the run's time.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine

import minirl
from minirl.runs.recorder import Recorder

HERE = Path(__file__).parent
BOUND = 0.01
WORKLOADS: dict[str, tuple[str, dict[str, Any]]] = {  # method, fields
    "CartPole-v1": ("ppo", {"env": "CartPole-v1", "total_timesteps": 200_000}),
    "minirl/CartPole-v1, 64": ("ppo", {"env": "minirl/CartPole-v1", "num_envs": 64, "total_timesteps": 1_000_000}),
    "HalfCheetah-v5": ("ppo", {"env": "HalfCheetah-v5", "total_timesteps": 60_000}),
    "connect four": ("selfplay", {"env": "minirl/ConnectFour-v0", "total_timesteps": 1_000_000}),
}
PARTS = ("snapshot", "save")


class Inside:
    """Seconds of each call of methods of Recorder, while this is entered."""

    def __enter__(self) -> "Inside":
        self.seconds: dict[str, list[float]] = {name: [] for name in PARTS}
        self.real = {name: getattr(Recorder, name) for name in PARTS}
        for name, method in self.real.items():
            setattr(Recorder, name, self.timed(name, method))
        return self

    def timed(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(recorder: Recorder) -> Any:
            begun = time.perf_counter()
            try:
                return method(recorder)
            finally:
                self.seconds[name].append(time.perf_counter() - begun)

        return call

    def __exit__(self, *_: object) -> None:
        for name, method in self.real.items():
            setattr(Recorder, name, method)


def shares(each: dict[str, Any]) -> dict[str, float]:
    """Of the run's time: saves wait for the disk, so by the wall's clock; snapshots by their median in processor time.

    On a machine with other work the latter are less than by the wall's clock, `wall`, and what an idle one would show.
    """
    snapshots, saves = (each["calls"][part] for part in PARTS)
    median = snapshots["count"] * snapshots["median"] / each["cpu_seconds"]
    wall = (snapshots["total"] + saves["total"]) / each["seconds"]
    return {"share": median + saves["total"] / each["seconds"], "wall": wall}


def summary(seconds: list[float]) -> dict[str, float]:
    """How many calls, how long all of them took, and the one in the middle."""
    return {"count": len(seconds), "total": sum(seconds), "median": statistics.median(seconds)}


def trained(method: str, fields: dict[str, Any], run: Path | None) -> tuple[float, float, int]:
    """Seconds of a training by the wall's and the processor's clock, without making environments; and its updates."""
    times: list[tuple[float, float]] = []
    result = minirl.train(
        method, run=run, callback=lambda _update: times.append((time.perf_counter(), time.process_time())), **fields
    )
    (wall, cpu), (last_wall, last_cpu) = times[0], times[-1]
    share = (len(times) - 1) / len(times)  # the first update is not in it
    return (last_wall - wall) / share, (last_cpu - cpu) / share, len(result.history)


def measured(method: str, fields: dict[str, Any], rounds: int) -> dict[str, Any]:
    """One workload, by turns."""
    without, beside = [], []
    for _ in range(rounds):
        without.append(trained(method, fields, None)[0])
        with tempfile.TemporaryDirectory() as folder, Inside() as inside:
            wall, cpu, updates = trained(method, fields, Path(folder) / "run")
            (size,) = {path.stat().st_size for path in sorted(Path(folder).glob("run/checkpoints/*.safetensors"))[-1:]}
        each = {"seconds": wall, "cpu_seconds": cpu, "updates": updates, "checkpoint_bytes": size}
        beside.append(each | {"calls": {part: summary(seconds) for part, seconds in inside.seconds.items()}})
    ratio = statistics.median(each["seconds"] for each in beside) / statistics.median(without)
    found = {how: statistics.median(shares(each)[how] for each in beside) for how in ("share", "wall")}
    return found | {"with_over_without": ratio, "without_seconds": without, "with": beside}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workloads", nargs="*", default=list(WORKLOADS), choices=list(WORKLOADS))
    parser.add_argument("--out", type=Path, default=HERE / "results" / "checkpoint_cost.json")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    found = {}
    for name in args.workloads:
        found[name] = measured(*WORKLOADS[name], args.rounds)
        share, wall, ratio = (found[name][key] for key in ("share", "wall", "with_over_without"))
        last = found[name]["with"][-1]["calls"]
        each = "  ".join(f"{part} {last[part]['count']} x {1e3 * last[part]['median']:.2f} ms" for part in PARTS)
        print(f"{name:24s} {share:.2%} (by the wall's clock {wall:.2%})  with/without {ratio:.3f}  {each}", flush=True)
    about = machine.describe("mujoco")
    args.out.write_text(json.dumps({"machine": about, "bound": BOUND, "workloads": found}, indent=1) + "\n")
    return int(any(each["share"] > BOUND for each in found.values()))


if __name__ == "__main__":
    sys.exit(main())
