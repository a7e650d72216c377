"""Which settings does IPPO need on simple_spread, and why? Short runs on seed 0, which spread.py's seeds are not.

    python benches/spread_settings.py        1 M steps each, about 30 s a row of ROWS

Each row changes FIELDS of spread.py, and goes into benches/results/spread_settings.json when it is done. `terminal`
ends a game at its limit of 25 steps instead of going on with V of its last state.

`direction` says whether the advantages are right, after CHECK steps: the cosine between the policy's gradient by them
and by the sum of the rewards that really followed in the game. Σ ∇log π Â is summed over two disjoint sets of games,
g₁ and g₂ by the method's Â, h₁ and h₂ by the rewards; noise is out of g·h / √(g₁·g₂ h₁·h₂), where g·h is the mean of
g₁·h₂ and g₂·h₁. So 1 is a gradient without bias; how noisy it is does not matter.
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
from minirl.training.trainee import Trainee  # noqa: E402

STEPS, SEED, CHECK, ROLLOUTS = 1_000_000, 0, 400_000, 20
RESULTS = Path(__file__).parent / "results" / "spread_settings.json"
CHANGES = ("method", "gamma", "share_policy", "lam", "terminal")
ROWS: list[dict[str, Any]] = [
    {"method": "ippo", "gamma": 0.99, "share_policy": True},
    {"method": "ippo", "gamma": 0.9, "share_policy": True},
    {"method": "ippo", "gamma": 0.99, "share_policy": False},
    {"method": "ippo", "gamma": 0.9, "share_policy": False},
    {"method": "mappo", "gamma": 0.99, "share_policy": True},
    {"method": "mappo", "gamma": 0.9, "share_policy": True},
    {"method": "mappo", "gamma": 0.99, "share_policy": False},
    {"method": "ippo", "gamma": 0.99, "share_policy": True, "terminal": True},
    {"method": "ippo", "gamma": 0.95, "share_policy": True},
    {"method": "ippo", "gamma": 0.8, "share_policy": True},
]


class TerminalSpread(SimpleSpread):
    """Nothing comes after the limit: the game is over, not cut."""

    def step(self, actions: dict[str, Any]) -> Step:
        step = super().step(actions)
        return step._replace(terminated=step.truncated, truncated=step.terminated)


def gradient(trainee: Trainee, batch: Batch, adv: np.ndarray) -> np.ndarray:
    """Σ ∇log π(a|s) Â over the batch, actions being categorical."""
    theta = trainee.state["theta_pi"]
    phi, cache = trainee.nets.policy.forward(theta, batch.obs)
    dphi = -np.exp(phi - np.logaddexp.reduce(phi, axis=1)[:, None])  # ∇_φ log π(a) is the indicator of a, minus π
    dphi[np.arange(len(phi)), batch.action] += 1
    return trainee.nets.policy.vjp(theta, cache, (dphi * adv[:, None]).astype(phi.dtype)).astype(np.float64)


def features(obs: np.ndarray, t: np.ndarray) -> np.ndarray:
    """What a baseline of the rewards to come is linear in: places, squares, distances, each times powers of time."""
    own = obs[:, :14].astype(np.float64)  # without what the others say, which is nothing
    squares = np.einsum("ni,nj->nij", own, own)[:, *np.triu_indices(14)]
    far = np.sqrt(own[:, 4:10:2] ** 2 + own[:, 5:10:2] ** 2)  # to each landmark
    x = np.hstack([np.ones((len(own), 1)), own, squares, far, far.min(axis=1, keepdims=True)])
    left = 1 - t[:, None] / 25
    return np.hstack([x, x * left, x * left**2])


def direction(learner: TeamLearner) -> float:
    """The cosine of the docstring for the first group's policy, from ROLLOUTS rollouts of one whole game each."""
    trainee, batches, followed, seen = learner.trainees[0], [], [], []
    for _ in range(ROLLOUTS):
        actors = [t.nets.policy.actor(t.state["theta_pi"], t.preprocess) for t in learner.trainees]
        rollout = learner.collector.collect(actors)[0]
        learner.collector.commit()
        T, rows = rollout.reward.shape
        batches.append(trainee.prepare(rollout).batch)
        followed.append(np.cumsum(rollout.reward[::-1], axis=0)[::-1].reshape(-1))
        seen.append(features(rollout.obs.reshape(T * rows, -1), np.repeat(np.arange(T), rows)))
    product, target = sum(x.T @ x for x in seen), sum(x.T @ y for x, y in zip(seen, followed, strict=True))
    w = np.linalg.lstsq(product, target, rcond=None)[0]
    g, h = [0.0, 0.0], [0.0, 0.0]
    for k, (batch, x, y) in enumerate(zip(batches, seen, followed, strict=True)):
        g[k % 2] = g[k % 2] + gradient(trainee, batch, batch.adv)
        h[k % 2] = h[k % 2] + gradient(trainee, batch, y - x @ w)
    return float((g[0] @ h[1] + g[1] @ h[0]) / 2 / np.sqrt((g[0] @ g[1]) * (h[0] @ h[1])))  # type: ignore[operator]


def train(row: dict[str, Any]) -> dict[str, Any]:
    """One run: its metrics over the last tenth, and 1000 games."""
    changes = {name: value for name, value in row.items() if name not in ("method", "terminal")}
    config = minirl.configure(row["method"], env=ENV, seed=SEED, total_timesteps=STEPS, **FIELDS | changes)
    envs = (TerminalSpread if row.get("terminal") else SimpleSpread)(config.num_envs)
    learner = TeamLearner(METHODS[row["method"]], envs, config)
    updates = [next(learner) for _ in range(CHECK // (config.num_envs * config.num_steps))]
    cosine = round(direction(learner), 3)
    updates += learner
    last = updates[-len(updates) // 10 :]
    said = {"R": "charts/episodic_return", "entropy": "losses/entropy", "kl": "losses/approx_kl"}
    said["explained_variance"] = "losses/explained_variance"
    means = {name: round(float(np.mean([u.metrics[key] for u in last])), 4) for name, key in said.items()}
    return row | {"greedy": evaluate_team(learner.policy, ENV, GAMES, seed=1).mean, "direction": cosine} | means


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
