"""Learning before and after a change, paired by seed:
means, worst seeds, and the mean difference beside its standard error.

    python benches/learning_compared.py benches/results/before-0.2 benches/results

Both folders hold what `benches/learning.py` writes; a study that is in both is a few rows of the table.
"""

import json
import statistics
import sys
from pathlib import Path


def greedy(path: Path) -> dict[str, dict[int, float]]:
    """Mean greedy return by algorithm and seed."""
    found: dict[str, dict[int, float]] = {}
    for row in json.loads(path.read_text())["rows"]:
        found.setdefault(row["algorithm"], {})[row["seed"]] = row["greedy_mean"]
    return found


def main() -> int:
    before, after = (Path(folder) for folder in sys.argv[1:3])
    fell = 0
    print("| study, seeds | method | before (worst) | after (worst) | difference ± standard error | within 2 |")
    print("|---|---|---|---|---|---|")
    for path in sorted(before.glob("learning-*.json")):
        if not (after / path.name).exists():
            continue
        old, new = greedy(path), greedy(after / path.name)
        study, _, seeds = path.stem.removeprefix("learning-").partition("-seeds-")
        for method in (m for m in old if m in new):
            difference = [new[method][seed] - old[method][seed] for seed in old[method]]
            mean, error = statistics.mean(difference), statistics.stdev(difference) / len(difference) ** 0.5
            held = mean >= -2 * error
            fell += not held
            pair = (f"{statistics.mean(x.values()):.1f} ({min(x.values()):.1f})" for x in (old[method], new[method]))
            change = f"{mean:+.1f} ± {error:.1f}"
            print(f"| {study}, {seeds} | {method} | {' | '.join(pair)} | {change} | {'yes' if held else 'no'} |")
    return fell


if __name__ == "__main__":
    sys.exit(main())
