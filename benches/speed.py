"""The first speed floor, on one thread: whole workloads, best understood beside `pytest benches` for the single kernels.

    python benches/speed.py            W1 PPO end to end on CartPole, W2 PPO update, W3 TRPO update, W5 acting, W6 import

Each row: median and spread over the repeats, and the floor that it has to keep. Writes benches/results/speed.json.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np  # noqa: E402
from machine import describe  # noqa: E402

from minirl import algorithms  # noqa: E402
from minirl.critic import Critic  # noqa: E402
from minirl.distributions import Categorical, DiagGaussian  # noqa: E402
from minirl.environments import make_envs  # noqa: E402
from minirl.learner import Learner  # noqa: E402
from minirl.networks import Networks  # noqa: E402
from minirl.policy import Policy  # noqa: E402
from minirl.rollout import Batch  # noqa: E402

RESULTS = Path(__file__).parent / "results"


def seconds(call, repeats: int, warmup: int = 2) -> list[float]:
    """Wall time of each of `repeats` calls."""
    for _ in range(warmup):
        call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def made_up(dist, obs_dim: int, n: int, config) -> tuple[Networks, dict, Batch]:
    """Networks, first state and a batch of n samples drawn from the policy itself."""
    rng = np.random.default_rng(0)
    nets = Networks(Policy(dist, obs_dim, config.hidden, "tanh"), Critic(obs_dim, config.hidden, "tanh"))
    state = algorithms.find("trpo").init(nets, config, rng)
    obs = rng.standard_normal((n, obs_dim)).astype(np.float32)
    action = dist.sample(nets.policy.infer(state["policy"], obs), rng)
    adv, returns = rng.standard_normal(n), rng.standard_normal(n)
    return nets, state, Batch(obs, action, adv, returns, np.zeros(n), np.ones(n))


def w1_end_to_end() -> list[float]:
    """Transitions per second: PPO, CartPole-v1, 4 × 128 steps, 4 epochs of 4 minibatches; gymnasium's own environments."""
    config = algorithms.find("ppo").config(
        total_timesteps=500_000, num_envs=4, num_steps=128, epochs=4, minibatch_size=128, lr=2.5e-4, ent_coef=0.01, vf_coef=0.5,
        max_grad_norm=0.5,
    )  # fmt: skip
    rates = []
    for seed in range(3):
        learner = Learner("ppo", make_envs("CartPole-v1", 4), config.replace(seed=seed))
        start = time.perf_counter()
        last = list(learner)[-1]
        rates.append(last.global_step / (time.perf_counter() - start))
    return rates


def w2_ppo_update() -> list[float]:
    """Seconds: 2048 samples, 10 epochs of minibatches of 64, CartPole's shapes."""
    config = algorithms.find("ppo").config(epochs=10, minibatch_size=64)
    nets, _, batch = made_up(Categorical(2), 4, 2048, config)
    rng = np.random.default_rng(1)
    state = algorithms.find("ppo").init(nets, config, rng)
    return seconds(lambda: algorithms.find("ppo").update(nets, state, batch, config, rng), 20)


def w3_trpo_update() -> list[float]:
    """Seconds: 2048 samples, CG 15, damping 0.1, 10 critic epochs of minibatch 128, HalfCheetah's shapes."""
    config = algorithms.find("trpo").config(cg_iters=15, damping=0.1, critic_epochs=10, minibatch_size=128)
    nets, state, batch = made_up(DiagGaussian(6), 17, 2048, config)
    rng = np.random.default_rng(1)
    return seconds(lambda: algorithms.find("trpo").update(nets, state, batch, config, rng), 20)


def w5_acting() -> tuple[list[float], list[float]]:
    """Seconds per action for one raw CartPole observation, statistics and all: greedy, sampled."""
    learner = Learner("ppo", make_envs("CartPole-v1", 4), algorithms.find("ppo").config(total_timesteps=1024))
    list(learner)
    agent, rng = learner.policy, np.random.default_rng(0)
    obs = np.array([0.01, -0.02, 0.03, 0.04], dtype=np.float32)

    def thousand(sample):
        for _ in range(1000):
            agent.act(obs, sample)

    return [t / 1000 for t in seconds(lambda: thousand(None), 15)], [t / 1000 for t in seconds(lambda: thousand(rng), 15)]


def w6_import() -> list[float]:
    """Seconds: `import minirl` in a fresh interpreter, the interpreter's own start taken off."""

    def start(code: str) -> float:
        return statistics.median(seconds(lambda: subprocess.run([sys.executable, "-c", code], check=True), 9))

    return [start("import minirl, numpy, gymnasium") - start("pass") for _ in range(3)]


def rows() -> list[dict]:
    greedy, sampled = w5_acting()
    made = [
        ("W1 PPO end to end, CartPole-v1", w1_end_to_end(), 1.0, "steps/s", 60_000, "at least"),
        ("W2 PPO update, 2048 x 10 epochs, minibatch 64", w2_ppo_update(), 1e3, "ms", 70, "at most"),
        ("W3 TRPO update, 2048, CG 15", w3_trpo_update(), 1e3, "ms", None, ""),
        ("W5 act, one observation, greedy", greedy, 1e6, "us", 12, "at most"),
        ("W5 act, one observation, sampled", sampled, 1e6, "us", 12, "at most"),
        ("W6 import minirl with numpy and gymnasium", w6_import(), 1e3, "ms", 250, "at most"),
    ]
    return [
        {
            "workload": name,
            "median": statistics.median(values) * scale,
            "min": min(values) * scale,
            "max": max(values) * scale,
            "unit": unit,
            "floor": floor,
            "kind": kind,
            "n": len(values),
        }
        for name, values, scale, unit, floor, kind in made
    ]


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    machine, table = describe(), rows()
    print(f"{machine['cpu']}, one thread, float32, {'compiled core' if machine['compiled'] else 'NumPy twins'}")
    for row in table:
        floor = "" if row["floor"] is None else f"   {row['kind']} {row['floor']:,}"
        spread = f"[{row['min']:,.1f}, {row['max']:,.1f}]"
        print(f"{row['workload']:48} {row['median']:>12,.1f} {row['unit']:8} {spread:24} n={row['n']}{floor}")
    RESULTS.mkdir(exist_ok=True)
    name = "speed.json" if machine["compiled"] else "speed-twins.json"
    (RESULTS / name).write_text(json.dumps({"machine": machine, "rows": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
