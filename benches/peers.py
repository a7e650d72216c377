"""minirl beside its peers, in one command: the same workload on both sides in turn, each side in a process of its own.

    pip install torch==2.13.0 && pip install ".[peers,mujoco,plot]" "setuptools>=77" cython wheel
    python benches/peers.py [--only W2 W3] [--repeats N] [--quick]

Ours runs on one thread, the peer on one and on two, and the better counts. A ratio is that of neighbouring
measurements; median [min, max] over the repeats. The limit is the useful FLOP at the best rate seen in the same run,
and the environment's own time. Writes benches/results/peers.json and scaling.png, but for --quick or --only; without
the peers our side is measured alone.
"""

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import footprint
import machine
from peers_rows import ROWS, Measured, judged, measure, overhead, spread, summed
from worker import HERE, Worker, environment

RESULTS = HERE / "results"
INSTALL = 'pip install torch==2.13.0 && pip install ".[peers,mujoco,plot]"'


# --------------------------------------------------------------------------------------------------- in fresh processes


def weight(repeats: int, quick: bool, peer: bool) -> Iterator[Measured]:
    """W6: import, memory, sizes."""
    codes = {"ours": footprint.OURS} | ({"peer 1": footprint.PEER} if peer else {})
    for call in codes.values():
        footprint.interpreter(call)  # what is compiled once, and the disk
    for what, unit, probe, bound in (
        ("import minirl and all that it trains with", "s", footprint.import_seconds, 0.2),
        ("resident memory after it", "MB", footprint.resident, 45),
    ):
        raw = {name: [] for name in codes}
        for _ in range(repeats):
            for name, code in codes.items():
                raw[name].append({"value": probe(code)})
        row = Measured(
            f"W6-{'import' if unit == 's' else 'memory'}",
            what,
            unit,
            note="peer: import stable_baselines3" * peer,
            raw=raw,
        )
        yield judged(summed(row, "ours", 1.0), None, bound)
    if quick:
        return
    size = footprint.wheel()
    installed = {name: footprint.installed(name) for name in footprint.PEER_PACKAGES} if peer else {}
    mega = ", ".join(f"{name} {value / 1e6:.1f}" for name, value in ({"minirl": size["installed"]} | installed).items())
    row = Measured(
        "W6-wheel",
        "size of the wheel",
        "MB",
        spread([size["wheel"] / 1e6]),
        note=f"installed, MB: {mega}",
        raw=size | installed,
    )
    yield judged(row, None, 1.5)


def cold_start(quick: bool) -> Measured:
    """Ten seeds, an interpreter each, from its start to its end."""
    raw = []
    for seed in range(2 if quick else 10):
        start = time.perf_counter()
        command = [sys.executable, str(HERE / "cold_start.py"), str(seed)]
        done = subprocess.run(command, env=environment(1), check=True, capture_output=True, text=True)
        raw.append({"value": time.perf_counter() - start, **json.loads(done.stdout)})
    row = Measured("cold", "interpreter's start to a solved CartPole, a value per seed", "s", raw={"ours": raw})
    steps, solved = statistics.median(r["steps"] for r in raw), sum(r["solved"] for r in raw)
    row.note = f"{solved} of {len(raw)} solved; trained on {raw[0]['trained_on']}, median of {steps:,.0f} transitions"
    return judged(summed(row, "ours", 1.0), None, 1.5)


def scaling(quick: bool) -> dict[str, Any]:
    """scaling.py's points and how they read."""
    import scaling as reading

    command = [sys.executable, str(HERE / "scaling.py"), *["--quick"] * quick]
    points = json.loads(subprocess.run(command, check=True, env=environment(1), capture_output=True, text=True).stdout)
    lines = [reading.memory_line(points, algorithm) for algorithm in reading.FIELDS]
    return {"growth": reading.growth(points), "memory": lines, "points": points}


# ----------------------------------------------------------------------------------------------------------- the report


def show(row: Measured) -> None:
    """One line of the table."""

    def figure(three: list[float] | None) -> str:
        digits = 0 if three and three[0] >= 1000 else 2
        return "" if three is None else f"{three[0]:,.{digits}f} [{three[1]:,.{digits}f}, {three[2]:,.{digits}f}]"

    met = {True: "met", False: "NOT MET", None: ""}[row.met]
    limit = "" if row.limit is None else f"{row.limit:,.{0 if row.limit >= 1000 else 2}f}"
    threads = "" if row.threads is None else str(row.threads)
    measured = f"{figure(row.ours):32} {figure(row.peer):32} {threads:1} {figure(row.ratio):22}"
    judged = f"{row.reach:10} {met:8}{limit:>9}"
    print(f"{row.id:16} {row.what:54} {row.unit:8} {measured} {judged}  {row.note}".rstrip(), flush=True)


def show_scaling(found: dict[str, Any]) -> None:
    for p in found["points"]:
        if p["axis"] == "envs":
            print(f"scaling          {p['size']:5} environments  {p['rate']:12,.0f} steps/s  ({p['algorithm']})")
    for row in found["growth"]:
        verdict = "CLIFF" if row["cliff"] else "no cliff"
        steepest = f"{row['factor']:.2f} x the time for twice the work, from {row['from']} to {row['to']}"
        print(f"scaling          {row['axis']:6} {row['algorithm']:26} at most {steepest}: {verdict}")
    for line in found["memory"]:
        constant = f"{line['per_sample']:,.0f} bytes a sample + {line['base'] / 1e6:.2f} MB"
        off = f"off that line by {line['off']:.1%} at most"
        print(f"scaling          memory {line['algorithm']:26} peak of an update {constant}; {off}")


def wanted(name: str, only: list[str] | None) -> bool:
    return not only or any(name == o or name.startswith(f"{o}-") for o in only)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="ROW", help="e.g. W2 W4-ppo W6 cold scaling")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--quick", action="store_true", help="does every row run? Its figures mean nothing, nothing is written"
    )
    args = parser.parse_args()
    repeats, peer = (
        1 if args.quick else args.repeats,
        all(map(importlib.util.find_spec, ("torch", *footprint.PEER_PACKAGES))),
    )
    about = machine.describe("torch", "stable-baselines3", "sb3-contrib", "mujoco") | {
        "threads": "ours 1, the peer 1 and 2"
    }
    if not peer:
        print(f"no peer here, our side alone; {INSTALL}", file=sys.stderr)
    print(f"{about['cpu']}, ours on one thread, float32, {'compiled core' if about['compiled'] else 'NumPy twins'}")

    sides = {"ours": Worker("peers_ours.py", 1), "twins": Worker("peers_ours.py", 1, MINIRL_REFERENCE="1")}
    if peer:
        sides |= {f"peer {n}": Worker("peers_sb3.py", n) for n in (1, 2)}
    rate = sides["ours"].ask("rate", quick=args.quick)
    print(f"best rate seen {rate['value'] / 1e9:.0f} GFLOP/s ({max(rate['raw'], key=rate['raw'].get)})")
    columns = f"{'ours':32} {'peer':32} {'t':1} {'ratio':22} {'reach':10} {'':8}{'limit':>9}"
    print(f"{'row':16} {'workload, median [min, max]':54} {'unit':8} {columns}")

    rows = []
    for row in measurements(args, sides, repeats, peer, rate["value"]):
        show(row)
        rows.append(row)
    found = scaling(args.quick) if wanted("scaling", args.only) else None
    if found:
        show_scaling(found)
    if not args.quick and not args.only:
        save({"machine": about, "rate": rate, "rows": [asdict(row) for row in rows], "scaling": found})


def measurements(
    args: argparse.Namespace, sides: dict[str, Worker], repeats: int, peer: bool, rate: float
) -> Iterator[Measured]:
    """Row by row; the workers end before what is measured in fresh processes."""
    rows = []
    for row in ROWS:
        if wanted(row.id, args.only):
            rows.append(measure(row, sides, repeats, args.quick, rate))
            yield rows[-1]
    yield from overhead(rows)
    for worker in sides.values():
        worker.close()
    if wanted("W6", args.only):
        yield from weight(repeats, args.quick, peer)
    if wanted("cold", args.only):
        yield cold_start(args.quick)


def save(everything: dict[str, Any]) -> None:
    import scaling as drawing

    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "peers.json").write_text(json.dumps(everything, indent=1) + "\n")
    drawing.draw(everything["scaling"]["points"], RESULTS / "scaling.png")


if __name__ == "__main__":
    main()
