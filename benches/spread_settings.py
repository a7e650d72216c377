"""Which settings does IPPO need on simple_spread, and why? Short runs on seed 0, which spread.py's seeds are not.

    python benches/spread_settings.py        1 M steps each, about 30 s a row of ROWS

Each row changes FIELDS of spread.py, and goes into benches/results/spread_settings.json when it is done. `terminal`
ends a game at its limit of 25 steps instead of going on with V of its last state: what V makes up beyond the limit is
then out of the advantages. `agreement` is the cosine between the policy's gradients on two halves of a batch (64 games
each), the mean over the first half of a run: 1 without noise, 0 where the advantages are nothing else.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
sys.path.insert(0, str(Path(__file__).parent))

import machine  # noqa: E402
import numpy as np  # noqa: E402
from spread import ENV, FIELDS, GAMES  # noqa: E402

import minirl  # noqa: E402
from minirl.envs.many_agents import Step  # noqa: E402
from minirl.envs.native.simple_spread import SimpleSpread  # noqa: E402
from minirl.multiagent import METHODS, TeamLearner, evaluate_team  # noqa: E402
from minirl.samples.batch import Batch  # noqa: E402
from minirl.training.trainee import Learned, Prepared, Trainee  # noqa: E402

STEPS, SEED = 1_000_000, 0
RESULTS = Path(__file__).parent / "results" / "spread_settings.json"
CHANGES = ("method", "gamma", "share_policy", "lam", "terminal")
ROWS: list[dict[str, Any]] = [
    {"method": "ippo", "gamma": 0.99, "share_policy": True},
    {"method": "ippo", "gamma": 0.9, "share_policy": True},
    {"method": "mappo", "gamma": 0.99, "share_policy": True},
    {"method": "mappo", "gamma": 0.9, "share_policy": True},
    {"method": "ippo", "gamma": 0.99, "share_policy": False},
    {"method": "ippo", "gamma": 0.9, "share_policy": False},
    {"method": "mappo", "gamma": 0.99, "share_policy": False},
    {"method": "ippo", "gamma": 0.99, "share_policy": True, "terminal": True},
    {"method": "ippo", "gamma": 0.99, "share_policy": True, "lam": 0.8},
    {"method": "ippo", "gamma": 0.95, "share_policy": True},
    {"method": "ippo", "gamma": 0.8, "share_policy": True},
    {"method": "ippo", "gamma": 0.97, "share_policy": True},
    {"method": "mappo", "gamma": 0.9, "share_policy": False},
]


class TerminalSpread(SimpleSpread):
    """Nothing comes after the limit: the game is over, not cut."""

    def step(self, actions: dict[str, Any]) -> Step:
        step = super().step(actions)
        return step._replace(terminated=step.truncated, truncated=step.terminated)


class Watched(TeamLearner):
    """Keeps how well the gradients of two halves of each batch agree."""

    agreements: list[float]

    def _learn(self, i: int, prepared: Prepared, progress: float) -> Learned:
        games = np.arange(len(prepared.batch)) % self.envs.num_envs  # row t·n·B + j·B + b
        halves = [gradient(self.trainees[i], prepared.batch, games % 2 == part) for part in (0, 1)]
        self.agreements.append(float(halves[0] @ halves[1] / np.prod([np.linalg.norm(half) for half in halves])))
        return super()._learn(i, prepared, progress)


def gradient(trainee: Trainee, batch: Batch, rows: np.ndarray) -> np.ndarray:
    """Σ ∇log π(a|s) Â over those rows of the batch, actions being categorical."""
    theta, action = trainee.state["theta_pi"], batch.action[rows]
    phi, cache = trainee.nets.policy.forward(theta, batch.obs[rows])
    dphi = -np.exp(phi - np.logaddexp.reduce(phi, axis=1)[:, None])  # ∇_φ log π(a) is the indicator of a, minus π
    dphi[np.arange(len(action)), action] += 1
    return trainee.nets.policy.vjp(theta, cache, (dphi * batch.adv[rows][:, None]).astype(phi.dtype)).astype(float)


def train(row: dict[str, Any]) -> dict[str, Any]:
    """One run: its metrics over the last tenth, and 1000 games."""
    changes = {name: value for name, value in row.items() if name not in ("method", "terminal")}
    config = minirl.configure(row["method"], env=ENV, seed=SEED, total_timesteps=STEPS, **FIELDS | changes)
    envs = (TerminalSpread if row.get("terminal") else SimpleSpread)(config.num_envs)
    learner = Watched(METHODS[row["method"]], envs, config)
    learner.agreements = []
    updates = list(learner)
    last = updates[-len(updates) // 10 :]
    said = {"R": "charts/episodic_return", "entropy": "losses/entropy", "kl": "losses/approx_kl"}
    said["explained_variance"] = "losses/explained_variance"
    means = {name: round(float(np.mean([u.metrics[key] for u in last])), 4) for name, key in said.items()}
    agreement = round(float(np.mean(learner.agreements[: len(learner.agreements) // 2])), 3)
    return row | {"greedy": evaluate_team(learner.policy, ENV, GAMES, seed=1).mean, "agreement": agreement} | means


def main() -> int:
    rows: list[dict[str, Any]] = json.loads(RESULTS.read_text("utf-8"))["rows"] if RESULTS.exists() else []
    about = {"command": "python benches/spread_settings.py", "env": ENV, "steps": STEPS, "seed": SEED, "fields": FIELDS}
    for row in ROWS:
        if row not in [{name: done[name] for name in CHANGES if name in done} for done in rows]:
            rows.append(train(row))
            text = json.dumps(about | {"machine": machine.describe("numpy"), "rows": rows}, indent=1)
            RESULTS.write_text(text, "utf-8")
            print(json.dumps(rows[-1]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
