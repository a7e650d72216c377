"""Do several agents learn? IPPO and MAPPO on simple_spread beside random actions and a hand-written assignment policy.

    python benches/spread.py                 all of METHODS: seeds 10-14, 10 M steps each
    python benches/spread.py --draw          the picture of what there is: benches/results/spread.png

Each method's settings were chosen on another seed (0), in runs of 1 or 2 M steps; benches/spread_settings.py repeats
those that decided IPPO's. Scores are R, the sum over agents and steps of rewards in mpe2; on-policy and EPyMARL count
each agent's share of the team's reward and write 2 R − 75. One row per seed goes into benches/results/spread.json as
soon as it is trained.
"""

import argparse
import json
import os
import sys
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402

ENV, SEEDS, STEPS, GAMES = "minirl/SimpleSpread-v0", range(10, 15), 10_000_000, 1000
FIELDS = {
    "num_envs": 128,
    "num_steps": 25,
    "minibatch_size": 600,
    "epochs": 10,
    "lr": 7e-4,
    "ent_coef": 0.01,
    "max_grad_norm": 10.0,
    "normalize_value": True,
    "normalize_reward": False,
}
METHODS: dict[str, tuple[str, dict[str, object]]] = {  # name of a row -> method, and its own fields beside FIELDS
    "mappo": ("mappo", {}),
    "ippo": ("ippo", {"gamma": 0.9, "share_policy": True}),
    "mappo, γ 0.9": ("mappo", {"gamma": 0.9}),
    "ippo, separate, γ 0.99": ("ippo", {}),  # MAPPO's fields as they are
}
RESULTS = Path(__file__).parent / "results" / "spread.json"
POINTS = 100  # of a learning curve
RANDOM, ASSIGNMENT = -79.95, -22.40  # benches/spread_policies.py, 1000 games


def train(name: str, seed: int) -> dict[str, object]:
    """One training of a row of METHODS: its curve, and 1000 games afterwards, greedy and sampled."""
    import minirl
    from minirl.multiagent import evaluate_team

    method, changes = METHODS[name]
    result = minirl.train(method, ENV, seed=seed, total_timesteps=STEPS, **FIELDS, **changes)
    curve = np.array(result.curve)
    parts = np.array_split(curve, POINTS)
    greedy = evaluate_team(result.policy, ENV, GAMES, seed=1)
    sampled = evaluate_team(result.policy, ENV, GAMES, stochastic=True, seed=1)
    seconds = sum(u.metrics["time/rollout"] + u.metrics["time/update"] for u in result.history)
    return {
        "method": name,
        "seed": seed,
        "steps": int(curve[-1, 0]),
        "curve": [[int(part[-1, 0]), round(float(part[:, 1].mean()), 3)] for part in parts],
        "greedy": [greedy.mean, greedy.std / np.sqrt(GAMES)],
        "sampled": [sampled.mean, sampled.std / np.sqrt(GAMES)],
        "seconds": round(seconds, 1),
    }


def show(rows: list[dict[str, object]]) -> None:
    """Mean and interval over the seeds, on both scales."""
    for method in METHODS:
        for how in ("greedy", "sampled"):
            scores = np.array([row[how][0] for row in rows if row["method"] == method])  # type: ignore[index]
            if len(scores) > 1:
                half = 1.96 * scores.std(ddof=1) / np.sqrt(len(scores))
                span = f"R = {scores.mean():.2f} ± {half:.2f} [{scores.min():.2f}, {scores.max():.2f}]"
                print(f"{method:22} {how:8} {len(scores)} seeds  {span}   2 R − 75 = {2 * scores.mean() - 75:.1f}")


def draw(rows: list[dict[str, object]]) -> None:
    """Learning curves, a band from the least to the largest seed, and both reference lines."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), dpi=120, layout="constrained")
    for method, colour in zip(METHODS, ("C1", "C0", "C3", "C2"), strict=True):
        curves = [np.array(row["curve"]) for row in rows if row["method"] == method]
        if curves:
            steps, values = curves[0][:, 0] / 1e6, np.stack([curve[:, 1] for curve in curves])
            axes.plot(steps, values.mean(axis=0), color=colour, label=f"{method}, {len(curves)} seeds")
            axes.fill_between(steps, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.2)
    for value, name in ((RANDOM, "random actions"), (ASSIGNMENT, "hand-written assignment")):
        axes.axhline(value, color="grey", linestyle="--", linewidth=1)
        axes.text(2.5, value + 0.4, name, color="grey", va="bottom")
    axes.set_ylim(top=-17)
    axes.set(xlabel="million environment steps", ylabel="R of a game, sampled actions", title="simple_spread, N = 3")
    axes.legend(loc="lower right")
    figure.savefig(RESULTS.with_suffix(".png"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draw", action="store_true", help="draw and print what there is")
    args = parser.parse_args()
    rows = json.loads(RESULTS.read_text("utf-8"))["rows"] if RESULTS.exists() else []
    if not args.draw:
        import machine

        for name in METHODS:
            for seed in SEEDS:
                if not any(row["method"] == name and row["seed"] == seed for row in rows):
                    rows.append(train(name, seed))
                    about = {"command": "python benches/spread.py", "env": ENV, "steps": STEPS, "fields": FIELDS}
                    about["methods"] = METHODS
                    RESULTS.write_text(
                        json.dumps(about | {"machine": machine.describe("numpy"), "rows": rows}, indent=1), "utf-8"
                    )
                    print(name, seed, rows[-1]["greedy"], rows[-1]["seconds"], flush=True)
    draw(rows)
    show(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
