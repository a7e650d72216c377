"""Do the trust regions hold, and do the controllers steer? Whole trainings, every update looked at.

    python benches/constraints.py

TRPO: the share of updates accepted, the KL of the accepted ones against δ, mean and largest state. PPO: the share of
updates (after the first ten) whose KL lies within [D/1.5, 1.5 D]. Writes benches/results/constraints.json.
"""

import argparse
import json
import multiprocessing
import os
import sys
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np  # noqa: E402

RESULTS = Path(__file__).parent / "results"
TRPO = {"mean": {}, "max": {"kl": "max", "shrink": 0.8, "backtracks": 15}}
BATCH = {"num_envs": 8, "num_steps": 512, "total_timesteps": 400_000, "anneal_lr": False}
BETA = {"objective": "kl", "adapt": "kl_coef"}
CLASSIC, CHEETAH = ("CartPole-v1", "Pendulum-v1"), ("HalfCheetah-v5",)
PPO = {  # what adapts: environments, fields
    "beta": (CLASSIC, BATCH | BETA),
    "beta, α = 3e-4": (CLASSIC + CHEETAH, BATCH | BETA | {"lr": 3e-4}),
    "lr, as printed": (CLASSIC, BATCH | {"adapt": "lr"}),
    "lr, dead band 1.5": (CLASSIC, BATCH | {"adapt": "lr", "dead_band": 1.5}),
}


def trpo(job: tuple[str, str, int]) -> dict[str, object]:
    """One training: how often a step was accepted and what it cost."""
    import minirl

    env, kind, seed = job
    history = [u.metrics for u in minirl.train("trpo", env, seed=seed, **TRPO[kind]).history]
    accepted = [m for m in history if m["step/accepted"]]
    watched = np.array([m["losses/approx_kl" if kind == "mean" else "step/kl_max"] for m in accepted])
    return {
        "what": f"TRPO, {kind} KL ≤ δ",
        "env": env,
        "seed": seed,
        "delta": 0.01,
        "updates": len(history),
        "accepted": len(accepted) / len(history),
        "largest": float(watched.max()),
        "median": float(np.median(watched)),
    }


def ppo(job: tuple[str, str, int]) -> dict[str, object]:
    """One training: how much of it was spent near the target."""
    import minirl

    env, kind, seed = job
    kl = np.array([u.metrics["losses/approx_kl"] for u in minirl.train("ppo", env, seed=seed, **PPO[kind][1]).history])[
        10:
    ]
    near = (kl >= 0.01 / 1.5) & (kl <= 0.01 * 1.5)
    return {
        "what": f"PPO, adapts {kind}",
        "env": env,
        "seed": seed,
        "target": 0.01,
        "updates": len(kl),
        "within": float(near.mean()),
        "median": float(np.median(kl)),
    }


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    seeds = range(3)
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        rows = pool.map(trpo, [(env, kind, seed) for kind in TRPO for env in CLASSIC for seed in seeds], chunksize=1)
        rows += pool.map(
            ppo, [(env, kind, seed) for kind in PPO for env in PPO[kind][0] for seed in seeds], chunksize=1
        )
    for row in rows:
        print("  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{v}" for k, v in row.items()))
    from machine import describe

    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "constraints.json").write_text(json.dumps({"machine": describe(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
