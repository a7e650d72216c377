"""Do the default configurations learn? Trains many seeds and writes every one of them down.

    python benches/learning.py cartpole                    seeds 0-9, on which the defaults were chosen
    python benches/learning.py cartpole --seeds 100-109    unseen seeds, run once
    python benches/learning.py pendulum halfcheetah
    python benches/learning.py methods-cartpole methods-pendulum       every method, 200 000 and 400 000 transitions

A row per seed: mean return of the episodes that ended in the first and last tenth of the training, and of 20 greedy
episodes after it.
"""

import argparse
import json
import multiprocessing
import os
import sys
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402

DEFAULTS = [("ppo", {}), ("trpo", {})]
METHODS = [
    ("reinforce", {"lr": 3e-3}),
    ("reinforce", {"lr": 3e-3, "advantage": "gae"}),
    ("npg", {}),
    ("trpo", {}),
    ("trpo", {"kl": "max", "shrink": 0.8}),
    ("trpo", {"form": "penalty"}),
    ("ppo", {}),
    ("ppo", {"objective": "kl"}),
    ("ppo", {"objective": "kl", "adapt": "kl_coef"}),
    ("ppo", {"adapt": "lr", "anneal_lr": False, "dead_band": 1.5}),
]
METHODS_PENDULUM = [
    ("reinforce", {"advantage": "gae", "gamma": 0.9, "lr": 3e-3, "num_steps": 64}),
    ("npg", {"damping": 0.01}),
    ("trpo", {"damping": 0.01}),
    ("trpo", {"damping": 0.01, "kl": "max", "shrink": 0.8}),
    ("trpo", {"damping": 0.01, "form": "penalty"}),
    *METHODS[6:],
    ("ppo", {"share_trunk": True}),
    ("ppo", {"family": "state_gaussian", "lr": 3e-4}),
    ("trpo", {"damping": 0.01, "rbf": 100, "hidden": (), "solver": "dense"}),
]
STUDIES = {  # environment, (algorithm, changed fields), seeds, transitions, bar on the greedy evaluation
    "cartpole": ("CartPole-v1", DEFAULTS, range(10), 100_000, 475.0),
    "pendulum": ("Pendulum-v1", DEFAULTS, range(5), 100_000, None),
    "halfcheetah": ("HalfCheetah-v5", DEFAULTS, range(5), 200_000, None),
    "methods-cartpole": ("CartPole-v1", METHODS, range(10), 200_000, 400.0),
    "methods-pendulum": ("Pendulum-v1", METHODS_PENDULUM, range(3), 400_000, None),
}
RESULTS = Path(__file__).parent / "results"


def train(job: tuple[str, dict, str, int, int]) -> dict[str, object]:
    """One seed; `fields` are the only ones that are not the defaults."""
    import minirl

    algorithm, fields, env, seed, steps = job
    result = minirl.train(algorithm, env, seed=seed, total_timesteps=steps, **fields)
    episodes = [(update.global_step, update.metrics["charts/episodic_return"]) for update in result.history]
    first = [r for step, r in episodes if step <= steps / 10 and np.isfinite(r)]
    last = [r for step, r in episodes if step > 0.9 * steps and np.isfinite(r)]
    greedy = minirl.evaluate(result.policy, env, episodes=20, seed=seed)
    return {
        "algorithm": " ".join([algorithm, *(f"{name}={value}" for name, value in fields.items())]),
        "env": env,
        "seed": seed,
        "total_timesteps": steps,
        "first_tenth": float(np.mean(first)),
        "last_tenth": float(np.mean(last)),
        "greedy_mean": greedy.mean,
        "greedy_std": greedy.std,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", choices=list(STUDIES))
    parser.add_argument("--seeds", help="e.g. 100-109")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    args = parser.parse_args()

    for study in args.studies:
        env, methods, seeds, steps, bar = STUDIES[study]
        if args.seeds:
            low, high = args.seeds.split("-")
            seeds = range(int(low), int(high) + 1)
        jobs = [(algorithm, fields, env, seed, steps) for algorithm, fields in methods for seed in seeds]
        with multiprocessing.get_context("spawn").Pool(args.processes) as pool:
            rows = pool.map(train, jobs, chunksize=1)
        report(study, rows, bar)
        save(study, seeds, rows)


def report(study: str, rows: list[dict], bar: float | None) -> None:
    for algorithm in dict.fromkeys(row["algorithm"] for row in rows):
        mine = [row for row in rows if row["algorithm"] == algorithm]
        for row in mine:
            print(
                f"{algorithm} {row['env']} seed {row['seed']:3}  first tenth {row['first_tenth']:8.1f}  "
                f"last tenth {row['last_tenth']:8.1f}  greedy {row['greedy_mean']:8.1f} ± {row['greedy_std']:.1f}"
            )
        greedy = np.array([row["greedy_mean"] for row in mine])
        passed = f", {int((greedy >= bar).sum())} of {len(greedy)} at {bar:g} or more" if bar is not None else ""
        print(f"{algorithm}, {study}: greedy mean {greedy.mean():.1f}, min {greedy.min():.1f}{passed}\n")


def save(study: str, seeds: range, rows: list[dict]) -> None:
    sys.path.insert(0, str(Path(__file__).parent))
    from machine import describe

    path = RESULTS / f"learning-{study}-seeds-{seeds[0]}-{seeds[-1]}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"machine": describe("mujoco"), "rows": rows}, indent=1) + "\n")
    print(f"written: {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}\n")


if __name__ == "__main__":
    main()
