"""Does a central critic help where it should? IPPO and MAPPO on a task whose reward no agent can predict by itself.

    python benches/central_critic.py        both methods: seeds 20-29 for 60 000 steps, then seeds 30-39 for 15 000

Two agents each see a number k of 0 to 3, as indicator, and a sign u = ±1; games are one step long. The team's reward,
which both get, is the share of agents that chose their own k, plus 3 u₁u₂. The second term depends on no action. Given
what one agent sees its mean is 0 and its deviation 3, six times what a right choice adds; given what both see it is
known. So the gradient has the same expectation with either critic, and less variance with the central one. Budget,
seeds and configuration (PPO's defaults, but for the number of steps) were committed before each run; the second budget
was chosen after the first had shown all trainings of both methods at 1.0. Score: the share of right choices in 1000
greedy games.
"""

import json
import os
import sys
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402
from gymnasium import spaces  # noqa: E402

BUDGETS = {60_000: range(20, 30), 15_000: range(30, 40)}  # steps: seeds
GAMES, NOISE = 1000, 3.0
FIELDS = {"num_envs": 64, "num_steps": 16, "minibatch_size": 256, "hidden": (64, 64), "normalize_reward": False}
RESULTS = Path(__file__).parent / "results" / "central_critic.json"


class HiddenSigns:
    """The task as a parallel environment of PettingZoo's interface."""

    possible_agents = ["a", "b"]  # noqa: RUF012  as PettingZoo has it

    def __init__(self) -> None:
        self.agents: list[str] = []
        self.rng = np.random.default_rng(0)

    def observation_space(self, agent: str) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, (5,), np.float32)

    def action_space(self, agent: str) -> spaces.Discrete:
        return spaces.Discrete(4)

    def _see(self) -> dict[str, np.ndarray]:
        self.k, self.u = self.rng.integers(4, size=2), self.rng.choice([-1.0, 1.0], size=2)
        rows = np.hstack([np.eye(4)[self.k], self.u[:, None]]).astype(np.float32)
        return dict(zip(self.possible_agents, rows, strict=True))

    def reset(self, seed=None, options=None):
        if seed is not None:
            self.rng = np.random.default_rng(seed)
        self.agents = list(self.possible_agents)
        return self._see(), {agent: {} for agent in self.agents}

    def step(self, actions):
        right = np.mean([actions[agent] == k for agent, k in zip(self.possible_agents, self.k, strict=True)])
        reward = float(right + NOISE * self.u.prod())
        yes, no = dict.fromkeys(self.agents, True), dict.fromkeys(self.agents, False)
        seen, self.agents = self._see(), []
        return seen, dict.fromkeys(yes, reward), yes, no, {agent: {} for agent in yes}

    def close(self) -> None:
        pass


def score(team) -> float:
    """Share of right choices in greedy games."""
    rng = np.random.default_rng(1)
    k, u = rng.integers(4, size=(2, GAMES)), rng.choice([-1.0, 1.0], size=(2, GAMES))
    obs = {a: np.hstack([np.eye(4)[k[i]], u[i, :, None]]).astype(np.float32) for i, a in enumerate("ab")}
    actions = team.act_batch(obs)
    return float(np.mean([actions[agent] == k[i] for i, agent in enumerate("ab")]))


def main() -> int:
    import machine

    import minirl

    rows: list[dict[str, object]] = []
    for steps, seeds in BUDGETS.items():
        for seed in seeds:
            for method, fields in (("ippo", {"share_policy": True}), ("mappo", {})):
                result = minirl.train(method, HiddenSigns, seed=seed, total_timesteps=steps, **FIELDS, **fields)
                rows.append({"method": method, "steps": steps, "seed": seed, "right": score(result.policy)})
        for method in ("ippo", "mappo"):
            scores = np.array([row["right"] for row in rows if (row["method"], row["steps"]) == (method, steps)])
            half = 1.96 * scores.std(ddof=1) / np.sqrt(len(scores))
            low, high = scores.min(), scores.max()
            print(f"{steps} steps  {method:6} right {scores.mean():.3f} ± {half:.3f} [{low:.3f}, {high:.3f}]")
    about = {"command": "python benches/central_critic.py", "fields": FIELDS, "noise": NOISE}
    RESULTS.write_text(json.dumps(about | {"machine": machine.describe("numpy"), "rows": rows}, indent=1), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
