"""W1 to W7 of this tree beside another one, by turns in one run: what a change cost.

    git worktree add ../before COMMIT; (cd ../before && python setup.py -q build_ext --inplace)
    python benches/before_after.py ../before            three rounds; --quick looks only whether it runs

Each row: median of the rounds here and there, the ratio here/there (of times: below 1 is faster; of rates the other way
round) and its spread. Both sides run their own benches/peers_ours.py, one thread, one of them asleep while the other is
measured. Writes benches/results/before_after.json.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from machine import describe
from worker import THREADS, Worker

RESULTS = Path(__file__).parent / "results" / "before_after.json"
ROWS = {  # name: workload, arguments, which number of the answer
    "W1 PPO end to end, CartPole-v1, steps/s": ("W1", {}, "value"),
    "W1 native, 64 environments, steps/s": ("W1 native", {"num_envs": 64}, "value"),
    "W2 PPO update, s": ("W2", {}, "value"),
    "W3 TRPO update, s": ("W3", {}, "value"),
    "W4 PPO, HalfCheetah-v5, steps/s": ("W4", {"algorithm": "ppo"}, "value"),
    "W4 TRPO, HalfCheetah-v5, steps/s": ("W4", {"algorithm": "trpo"}, "value"),
    "W5 act, greedy, s": ("W5", {"sample": False}, "value"),
    "W5 act, sampled, s": ("W5", {"sample": True}, "value"),
    "W7 Fisher product, s": ("W7", {}, "value"),
}
IMPORT = "import time; t = time.perf_counter(); import minirl.api, numpy, gymnasium; print(time.perf_counter() - t)"


def import_seconds(tree: Path) -> float:
    """W6: `import minirl` with all that a training needs, in an interpreter of its own."""
    env = os.environ | dict.fromkeys(THREADS, "1") | {"PYTHONPATH": str(tree)}
    ran = subprocess.run([sys.executable, "-c", IMPORT], env=env, capture_output=True, text=True, check=True, cwd=tree)
    return float(ran.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="the other tree, its kernels built")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a look at whether it runs")
    args = parser.parse_args()
    here, there = Path(__file__).resolve().parent.parent, args.before.resolve()
    sides = {"here": Worker("peers_ours.py", 1), "there": Worker(str(there / "benches" / "peers_ours.py"), 1)}
    sides["there"].env |= {"PYTHONPATH": str(there)}
    sides["here"].env |= {"PYTHONPATH": str(here)}
    table = []
    for name, (workload, request, key) in ROWS.items():
        found: dict[str, list[float]] = {side: [] for side in sides}
        for i in range(args.rounds):
            for side in sorted(sides, reverse=i % 2 == 1):
                answer = sides[side].ask(workload, quick=args.quick, **request)
                if "skipped" in answer:
                    print(f"{name}: {side} skipped: {answer['skipped']}")
                    break
                found[side].append(answer[key])
        table.append(row(name, found))
    imports = {"here": [], "there": []}
    for _ in range(5 * args.rounds):
        imports["here"].append(import_seconds(here))
        imports["there"].append(import_seconds(there))
    table.append(row("W6 import, s", imports))
    for worker in sides.values():
        worker.close()
    if not args.quick:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=there, capture_output=True, text=True).stdout.strip()
        RESULTS.write_text(json.dumps({"before": commit, "machine": describe("numpy"), "rows": table}, indent=1) + "\n")
    return 0


def row(name: str, found: dict[str, list[float]]) -> dict[str, object]:
    """The numbers of one workload, printed as well."""
    if not all(found.values()):
        return {"workload": name, "raw": found}
    ratios = [a / b for a, b in zip(found["here"], found["there"], strict=False)]
    here, there = (statistics.median(found[side]) for side in ("here", "there"))
    ratio = f"{statistics.median(ratios):.3f} [{min(ratios):.3f}, {max(ratios):.3f}]"
    print(f"{name:40} {here:12.6g} {there:12.6g}   ratio {ratio}")
    return {"workload": name, "here": here, "there": there, "ratio": statistics.median(ratios), "raw": found}


if __name__ == "__main__":
    sys.exit(main())
