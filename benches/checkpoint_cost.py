"""What it costs to lose nothing: the snapshot in memory after each update, and checkpoints, as shares of a run's time.

    OPENBLAS_NUM_THREADS=1 python benches/checkpoint_cost.py

Each workload trains with a run directory and without one, by turns. Measured are the times of both, and, more exactly
since the two never differ by noise, the time inside Recorder.snapshot and Recorder.save (policy, checkpoint,
and the rows before them), by the wall's clock and by that of the processor. Bound: the two together, 1 %.
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
    "CartPole-v1": ("ppo", {"env": "CartPole-v1", "total_timesteps": 120_000}),
    "minirl/CartPole-v1, 64": ("ppo", {"env": "minirl/CartPole-v1", "num_envs": 64, "total_timesteps": 1_000_000}),
    "HalfCheetah-v5": ("ppo", {"env": "HalfCheetah-v5", "total_timesteps": 60_000}),
    "connect four": ("selfplay", {"env": "minirl/ConnectFour-v0", "total_timesteps": 300_000}),
}
PARTS = ("snapshot", "save")


class Inside:
    """Seconds inside methods of Recorder, by two clocks, while this is entered."""

    def __enter__(self) -> "Inside":
        self.wall, self.cpu, self.calls = dict.fromkeys(PARTS, 0.0), dict.fromkeys(PARTS, 0.0), dict.fromkeys(PARTS, 0)
        self.real = {name: getattr(Recorder, name) for name in PARTS}
        for name, method in self.real.items():
            setattr(Recorder, name, self.timed(name, method))
        return self

    def timed(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(recorder: Recorder) -> Any:
            wall, cpu = time.perf_counter(), time.process_time()
            try:
                return method(recorder)
            finally:
                self.wall[name] += time.perf_counter() - wall
                self.cpu[name] += time.process_time() - cpu
                self.calls[name] += 1

        return call

    def __exit__(self, *_: object) -> None:
        for name, method in self.real.items():
            setattr(Recorder, name, method)


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
        share = {"wall": sum(inside.wall.values()) / wall, "cpu": sum(inside.cpu.values()) / cpu}
        each = {"seconds": wall, "updates": updates, "share": share, "checkpoint_bytes": size}
        beside.append(each | {"wall": inside.wall, "cpu": inside.cpu, "calls": inside.calls})
    ratio = statistics.median(each["seconds"] for each in beside) / statistics.median(without)
    shares = {clock: statistics.median(each["share"][clock] for each in beside) for clock in ("wall", "cpu")}
    return {"share": shares, "with_over_without": ratio, "without_seconds": without, "with": beside}


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
        share, ratio = found[name]["share"], found[name]["with_over_without"]
        parts = {part: found[name]["with"][-1]["wall"][part] for part in PARTS}
        print(f"{name:24s} wall {share['wall']:.2%}  cpu {share['cpu']:.2%}  with/without {ratio:.3f}  {parts}")
    about = machine.describe("mujoco")
    args.out.write_text(json.dumps({"machine": about, "bound": BOUND, "workloads": found}, indent=1) + "\n")
    return int(any(each["share"]["cpu"] > BOUND for each in found.values()))


if __name__ == "__main__":
    sys.exit(main())
