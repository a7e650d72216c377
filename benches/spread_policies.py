"""simple_spread without learning: the return of random actions, and of a hand-written policy that assigns landmarks.

    python benches/spread_policies.py [--episodes 1000] [--agents 3]

The assignment policy: of all N! ways to give each agent a landmark of its own (N ≤ 6) the one with the least total
distance; each agent goes to its landmark. It sees what the agents see, and each agent could work it out alone.
R = Σ_t Σ_i r_i over an episode of 25 steps is mpe2's scale; 2 R − 25 N is the scale of on-policy and EPyMARL, whose
rewards are not halved by local_ratio and count each agent as colliding with itself.
Writes benches/results/spread_policies.json (with the default numbers).
"""

import argparse
import itertools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np  # noqa: E402
from machine import describe  # noqa: E402

from minirl.envs.make_many_agents import make_many_agents  # noqa: E402

Array = np.ndarray
Policy = Callable[[dict[str, Array]], dict[str, Array]]

STEPS, SEED, MAX_AGENTS = 25, 0, 6
NOTHING, LEFT, RIGHT, DOWN, UP = range(5)
AHEAD, NEAR = 0.2, 0.02  # seconds, and a distance: the best of a few on the seeds from 5000 on, which are not used here


def assigned(position: Array, landmark: Array) -> Array:
    """The landmarks (B, N, 2) that agents (B, N, 2) should go to, one each, by the least total distance."""
    N = position.shape[1]
    ways = np.array(list(itertools.permutations(range(N))))  # (N!, N): the landmark of each agent
    distance = np.linalg.norm(position[:, :, None] - landmark[:, None], axis=-1)  # (B, agents, landmarks)
    best = distance[:, np.arange(N), ways].sum(axis=-1).argmin(axis=1)  # (B,)
    return np.take_along_axis(landmark, ways[best][:, :, None], axis=1)


def go(position: Array, velocity: Array, goal: Array) -> Array:
    """Actions (B, N): push along the axis on which goal and agent, as it moves on for AHEAD, are further apart."""
    gap = goal - (position + AHEAD * velocity)
    along_x = np.abs(gap[..., 0]) > np.abs(gap[..., 1])
    action = np.where(along_x, np.where(gap[..., 0] > 0, RIGHT, LEFT), np.where(gap[..., 1] > 0, UP, DOWN))
    return np.where(np.abs(gap).max(axis=-1) > NEAR, action, NOTHING)


def assignment(obs: dict[str, Array]) -> dict[str, Array]:
    """The hand-written policy, for observations id -> (B, 6 N)."""
    seen = np.stack(list(obs.values()), axis=1).astype(np.float64)  # (B, N, 6 N)
    B, N = seen.shape[:2]
    velocity, position = seen[..., :2], seen[..., 2:4]
    landmark = position[:, :1] + seen[:, 0, 4 : 4 + 2 * N].reshape(B, N, 2)
    action = go(position, velocity, assigned(position, landmark))
    return dict(zip(obs, action.T, strict=True))


def random_policy(rng: np.random.Generator) -> Policy:
    """One of the five actions, each as likely."""
    return lambda obs: {name: rng.integers(0, 5, len(x)) for name, x in obs.items()}


def returns(policy: Policy, episodes: int, agents: int = 3, seed: int = SEED) -> Array:
    """R of so many episodes (episodes,), all at once."""
    envs = make_many_agents("minirl/SimpleSpread-v0", episodes, N=agents)
    obs, total = envs.reset(list(range(seed, seed + episodes))), np.zeros(episodes)
    for _ in range(STEPS):
        step = envs.step(policy(obs))
        obs, total = step.obs, total + step.reward.sum(axis=1)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--agents", type=int, default=3, choices=range(1, MAX_AGENTS + 1))
    args = parser.parse_args()
    found = {}
    for name, policy in (("random", random_policy(np.random.default_rng(SEED))), ("assignment", assignment)):
        R = returns(policy, args.episodes, args.agents)
        mean, error = float(R.mean()), float(R.std(ddof=1) / np.sqrt(len(R)))
        found[name] = {"mean": mean, "standard_error": error, "returns": R.tolist()}
        other = 2 * mean - STEPS * args.agents
        print(f"{name:10} R = {mean:7.2f} ± {1.96 * error:.2f} (95 %), as on-policy and EPyMARL count {other:7.1f}")
    if (args.episodes, args.agents) == (1000, 3):
        results = Path(__file__).parent / "results" / "spread_policies.json"
        results.write_text(json.dumps({"machine": describe(), "found": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
