"""minirl's side of peers.py: W1 to W5 and W7, on one thread.

Answers carry what the limit is made of: useful FLOP, environment time.
"""

import itertools
import os
import sys
import time
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
sys.path.insert(0, str(Path(__file__).parent))

import gymnasium  # noqa: E402
import numpy as np  # noqa: E402
import workloads  # noqa: E402
from worker import serve, timed  # noqa: E402

from minirl import _core, algorithms  # noqa: E402
from minirl.envs.make import make_envs  # noqa: E402
from minirl.training.learner import Learner  # noqa: E402

# ---------------------------------------------------------------------------------------------------------- useful FLOP


def weights(sizes: tuple[int, ...]) -> tuple[int, int]:
    """Multiplications of one sample through an MLP, and those of all layers but the first,
    which nothing is sent back through.
    """
    products = [a * b for a, b in pairwise(sizes)]
    return sum(products), sum(products[1:])


def forward(sizes: tuple[int, ...]) -> int:
    return 2 * weights(sizes)[0]


def fit(sizes: tuple[int, ...]) -> int:
    """Forward, gradient of the weights, gradient of the activations."""
    every, inner = weights(sizes)
    return 4 * every + 2 * inner


def fisher(sizes: tuple[int, ...]) -> int:
    """jvp: both factors of each product move; vjp: both gradients."""
    every, inner = weights(sizes)
    return 4 * every + 4 * inner


def ppo_flop(obs: int, out: int, epochs: int) -> int:
    """Of one sample in one update."""
    return epochs * (fit((obs, 64, 64, out)) + fit((obs, 64, 64, 1)))


def trpo_flop(obs: int, out: int, cg: int, critic_epochs: int) -> int:
    """Of one sample in one update: gradient, products, one try of the line search, the critic's passes."""
    pi = (obs, 64, 64, out)
    return fit(pi) + cg * fisher(pi) + forward(pi) + critic_epochs * fit((obs, 64, 64, 1))


def acting_flop(obs: int, out: int) -> int:
    """Of one sample while it is collected: π, and V for its advantage."""
    return forward((obs, 64, 64, out)) + forward((obs, 64, 64, 1))


def rate(quick: bool) -> dict[str, Any]:
    """The best GFLOP/s seen here:
    NumPy's products and the compiled forward pass, float32, sizes from cache to memory.
    """
    rng, best = np.random.default_rng(0), {}
    for n in (64, 256, 1024):
        a, b = rng.standard_normal((2, n, n)).astype(np.float32)
        out = np.empty_like(a)
        best[f"product {n}"] = 2 * n**3 / min(timed(lambda a=a, b=b, out=out: np.dot(a, b, out=out), quick)["raw"])
    sizes = (64, 64, 64, 64)
    theta = rng.standard_normal(sum((a + 1) * b for a, b in pairwise(sizes))).astype(np.float32)
    for n in (64, 2048):
        x = rng.standard_normal((n, 64)).astype(np.float32)
        best[f"forward {n}"] = (
            n * forward(sizes) / min(timed(lambda x=x: _core.mlp_infer(theta, x, sizes, "relu"), quick)["raw"])
        )
    return {"value": max(best.values()), "raw": best}


# ----------------------------------------------------------------------------------------------------------- the update


def w2(quick: bool) -> dict[str, Any]:
    return timed(workloads.ppo_update(), quick) | {"flop": workloads.SAMPLES * ppo_flop(4, 2, 10)}


def w3(quick: bool) -> dict[str, Any]:
    return timed(workloads.trpo_update(), quick) | {"flop": workloads.SAMPLES * trpo_flop(17, 6, 15, 10)}


def w7(quick: bool) -> dict[str, Any]:
    product, policy, *_ = workloads.fisher_product()
    v = np.random.default_rng(1).standard_normal(policy.num_params)
    return timed(lambda: product(v), quick) | {"flop": workloads.SAMPLES * fisher(policy.mlp.sizes)}


# ----------------------------------------------------------------------------------------------------------- end to end


class Timed:
    """A vector environment that keeps the time its steps take, and the actions."""

    def __init__(self, envs: Any):
        self.envs, self.seconds, self.actions = envs, 0.0, []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.envs, name)

    def step(self, actions: np.ndarray) -> Any:
        start = time.perf_counter()
        result = self.envs.step(actions)
        self.seconds += time.perf_counter() - start
        self.actions.append(actions.copy())
        return result


def replay(env_id: str, actions: list[np.ndarray]) -> float:
    """Seconds per step of gymnasium's environment by itself, under the same actions."""
    env = gymnasium.make(env_id)
    env.reset(seed=0)
    start = time.perf_counter()
    for action in itertools.chain.from_iterable(actions):
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    return (time.perf_counter() - start) / sum(map(len, actions))


def run(learner: Learner, steps: int) -> dict[str, float]:
    """Go on for `steps` transitions: seconds of it all and of the updates, per transition."""
    begin, start = learner.global_step, time.perf_counter()
    update = 0.0
    while learner.global_step < begin + steps:
        update += learner.step().metrics["time/update"]
    seconds, n = time.perf_counter() - start, learner.global_step - begin
    return {"value": n / seconds, "seconds": seconds / n, "update": update / n, "steps": n}


def w1(quick: bool) -> dict[str, Any]:
    """The whole training; then a short one with a clock in it, for the environment's share."""
    learner = workloads.w1()
    answer = run(learner, 5_000 if quick else learner.config.total_timesteps)
    learner.collector.envs = envs = Timed(learner.collector.envs)
    run(learner, 2_000 if quick else 20_000)
    alone = replay("CartPole-v1", envs.actions)
    return answer | {"flop": ppo_flop(4, 2, 4) + acting_flop(4, 2), "env": alone}


def w1_native(quick: bool, num_envs: int) -> dict[str, Any]:
    """W1 on the batched CartPole, 4 minibatches whatever the number of environments."""
    import minirl.envs  # noqa: F401

    fields = workloads.W1 | {
        "num_envs": num_envs,
        "minibatch_size": num_envs * 32,
        "vectorization": "vector_entry_point",
    }
    learner = Learner(
        algorithms.find("ppo"),
        make_envs("minirl/CartPole-v1", num_envs, "vector_entry_point"),
        algorithms.find("ppo").config(**fields),
    )
    answer = run(learner, 5_000 if quick else learner.config.total_timesteps)
    learner.collector.envs = envs = Timed(learner.collector.envs)
    part = run(learner, 2_000 if quick else 100_000)
    return answer | {"flop": ppo_flop(4, 2, 4) + acting_flop(4, 2), "env": envs.seconds / part["steps"]}


@cache
def cheetah(algorithm: str) -> Learner:
    """W4: one HalfCheetah, 2048 steps, with W3's settings for TRPO and W2's for PPO."""
    fields = {"num_envs": 1, "num_steps": 2048, "total_timesteps": 10**9} | (
        workloads.W2 if algorithm == "ppo" else workloads.W3
    )
    return Learner(
        algorithms.find(algorithm), make_envs("HalfCheetah-v5", 1), algorithms.find(algorithm).config(**fields)
    )


def w4(quick: bool, algorithm: str) -> dict[str, Any]:
    """Ten updates; `rest` is what is neither gymnasium's own environment nor the update, per step,
    and `vector` the vector's part of it.
    """
    learner = cheetah(algorithm)
    plain, envs = learner.collector.envs, Timed(learner.collector.envs)
    learner.collector.envs = envs  # its clock takes a fifth of a microsecond a step
    answer = run(learner, 2048 if quick else 20_480)
    learner.collector.envs = plain
    alone = replay("HalfCheetah-v5", envs.actions)
    flop = (ppo_flop(17, 6, 10) if algorithm == "ppo" else trpo_flop(17, 6, 15, 10)) + acting_flop(17, 6)
    rest, vector = answer["seconds"] - answer["update"] - alone, envs.seconds / answer["steps"] - alone
    return answer | {"flop": flop, "env": alone, "rest": rest, "vector": vector}


# --------------------------------------------------------------------------------------------------------------- acting

actor = cache(workloads.acting)


def w5(quick: bool, sample: bool) -> dict[str, Any]:
    """One observation in, one action out."""
    agent, rng, n = actor(), np.random.default_rng(0) if sample else None, 100 if quick else 5_000

    def many() -> None:
        for _ in range(n):
            agent.act(workloads.OBS, rng)

    return timed(many, quick, per=n)


if __name__ == "__main__":
    serve({"rate": rate, "W1": w1, "W1 native": w1_native, "W2": w2, "W3": w3, "W4": w4, "W5": w5, "W7": w7})
