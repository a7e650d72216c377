"""A guard of speed that does not time: instructions and memory of one call of each hot path, beside the stored ones.

    python benches/instructions.py            exit 1 where one is more than 10 % above the stored count, or memory grows
    python benches/instructions.py --write    store what is measured now, in benches/results/instructions.json

Instructions: one child under `valgrind --tool=callgrind` makes n and then 2n calls of each path and calls getppid()
between, where callgrind writes its counts out and begins again; the difference of the two, divided by n, is one call
without start-up. Valgrind has no AVX-512: it counts the AVX2 clones. Instructions are not time: caches, wide registers
and waiting are benches/speed.py's matter.

Memory: tracemalloc in a second child, of Python objects and NumPy's arrays; what a kernel takes with malloc is not
seen. Growth is what 100 calls leave behind in every window, without the cycle collector, so a reference cycle counts
as well; a leak that is rarer than that is not seen.

Another build of Python or of the kernels (compiler) may need --write.
"""

import argparse
import gc
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import workloads
from gymnasium.vector import AutoresetMode, VectorEnv
from machine import describe
from worker import environment

from minirl import _core
from minirl.algorithms.npg import NPGConfig, fisher_vector_product
from minirl.algorithms.ppo import PPOConfig, minibatch_gradient
from minirl.deploy.agent import Agent
from minirl.models.distributions import Categorical, DiagGaussian
from minirl.models.input_pipeline import ObsNormalizer
from minirl.models.policy import Policy
from minirl.numerics import random_streams
from minirl.numerics.optimizers import adam_step, clip_by_global_norm
from minirl.numerics.running_moments import RunningMoments
from minirl.samples.batch import minibatches
from minirl.spaces.actions import action_codec
from minirl.spaces.observations import obs_codec
from minirl.training.collector import Collector

STORED = Path(__file__).parent / "results" / "instructions.json"
MARGIN = 1.10  # of instructions and of peak memory
CALLS, WINDOWS = 100, 20  # memory must stop growing: a window of so many calls, tried so often
LEAK = 16 * CALLS  # bytes; the smallest object that a call could leave behind takes 16
MEASURES = {"instructions": "instructions", "peak": "peak bytes"}  # of one call


def ppo_minibatch() -> Callable[[], Any]:
    """Loss, gradient, clipping and Adam on 64 samples, CartPole's shapes; a step size of 0 keeps each call the same."""
    cfg = PPOConfig()
    nets, state, batch = workloads.made_up(Categorical(2), 4, 64, "ppo", cfg)
    theta, adam = nets.join(state["theta_pi"], state["theta_v"]), state["adam"]
    logp_old = nets.policy.dist.log_prob(nets.policy.infer(state["theta_pi"], batch.obs), batch.action)
    part = next(minibatches(replace(batch, logp_old=logp_old), 64, np.random.default_rng(0)))

    def call():
        gradient, *_ = minibatch_gradient(nets, theta, part, cfg)
        adam_step(theta, gradient, adam, 0.0, clip_by_global_norm(gradient, cfg.max_grad_norm)[1])

    return call


def fisher_product() -> Callable[[], Any]:
    """(F + 0.1 I) v for 256 samples through 11-64-64-3."""
    nets, state, batch = workloads.made_up(DiagGaussian(3), 11, 256, "npg", NPGConfig())
    theta = state["theta_pi"]
    phi, cache = nets.policy.forward(theta, batch.obs)
    product = fisher_vector_product(nets.policy, theta, cache, phi, batch.weights, 0.1)
    v = np.random.default_rng(0).standard_normal(len(theta))
    return lambda: product(v)


def trpo_update() -> Callable[[], Any]:
    """Gradient, 10 iterations of CG, line search, 2 critic epochs: 128 samples, 11-64-64-3."""
    return workloads.update_of("trpo", DiagGaussian(3), 11, 128, critic_epochs=2)


class NullEnvs(VectorEnv):
    """4 environments with CartPole's spaces that cost nothing and never end."""

    num_envs, metadata = 4, {"autoreset_mode": AutoresetMode.SAME_STEP}
    single_observation_space, single_action_space = gymnasium.spaces.Box(-1, 1, (4,)), gymnasium.spaces.Discrete(2)
    action_space = gymnasium.spaces.MultiDiscrete([2] * 4)
    obs, reward, never = np.zeros((4, 4), np.float32), np.ones(4), np.zeros(4, bool)

    def reset(self, *, seed=None, options=None):
        return self.obs, {}

    def step(self, actions):
        return self.obs, self.reward, self.never, self.never, {}


def collector_steps() -> Callable[[], Any]:
    """A rollout of 32 steps of 4 null environments."""
    envs, seeds = NullEnvs(), random_streams.stream_seeds(0)
    codecs = obs_codec(envs.single_observation_space), action_codec(envs.single_action_space)
    policy, preprocess = Policy(codecs[1].family(), 4, (64, 64), "tanh"), ObsNormalizer(RunningMoments.zeros(4))
    theta = policy.init(random_streams.generator(seeds["init"]), 0.0)
    collector = Collector(envs, policy, codecs, seeds, PPOConfig(num_envs=4, num_steps=32))

    def call():
        collector.collect(theta, preprocess)
        collector.commit()

    return call


def gae() -> Callable[[], Any]:
    """Advantages of 128 steps of 4 environments."""
    rng = np.random.default_rng(0)
    reward, value, next_value = rng.standard_normal((3, 128, 4))
    cut = rng.random((128, 4)) < 0.02
    return lambda: _core.gae(reward, value, next_value, cut, cut, 0.99, 0.95)


def acting() -> Callable[[], Any]:
    """A sampled action for one raw CartPole observation, statistics and all."""
    rng = np.random.default_rng(0)
    codecs = obs_codec(gymnasium.spaces.Box(-1, 1, (4,))), action_codec(gymnasium.spaces.Discrete(2))
    theta = Policy(codecs[1].family(), 4, (64, 64), "tanh").init(rng, 0.0)
    agent = Agent(*codecs, theta, (64, 64), "tanh", ObsNormalizer(RunningMoments.zeros(4)))
    return lambda: agent.act(workloads.OBS, rng)


PATHS = {  # name: the path, and the n of its n and 2n calls
    "PPO minibatch, 64 samples": (ppo_minibatch, 10),
    "Fisher-vector product, 256 samples": (fisher_product, 5),
    "TRPO update, 128 samples": (trpo_update, 2),
    "collector, 32 steps of 4 null environments": (collector_steps, 10),
    "GAE, 128 x 4": (gae, 200),
    "act, one observation, sampled": (acting, 200),
}


def repeat(call: Callable[[], Any], n: int) -> None:
    for _ in range(n):
        call()


def run_for_callgrind() -> None:
    """Child: three marks for each path; before the first the set-up and n calls to warm up, then n calls, then 2n."""
    gc.disable()
    for make, n in PATHS.values():
        call = make()
        for calls in (n, n, 2 * n):
            repeat(call, calls)
            os.getppid()  # the mark


def print_memory() -> None:
    """Child: a line of JSON, for each path the peak of one call above what was there before,
    and the growth over CALLS calls.
    """
    gc.disable()
    tracemalloc.start()
    result = {}
    for name, (make, _) in PATHS.items():
        call = make()
        repeat(call, 20)
        result[name] = {"peak": statistics.median_low(peak_of(call) for _ in range(21)), "growth": growth_of(call)}
    print(json.dumps(result))


def peak_of(call: Callable[[], Any]) -> int:
    """Bytes that one call holds at its highest."""
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    call()
    return tracemalloc.get_traced_memory()[1] - before


def growth_of(call: Callable[[], Any]) -> int:
    """Bytes that CALLS calls leave behind, in the first window below LEAK:
    free lists fill up and stop, a leak is in each window.
    """
    growth = 0
    for _ in range(WINDOWS):
        before = tracemalloc.get_traced_memory()[0]
        repeat(call, CALLS)
        growth = tracemalloc.get_traced_memory()[0] - before
        if growth < LEAK:
            break
    return growth


def child(task: str) -> list[str]:
    return [sys.executable, __file__, "--child", task]


def count_instructions() -> dict[str, int]:
    """Instructions of one call of each path."""
    with tempfile.TemporaryDirectory() as folder:
        tool = ["valgrind", "-q", "--tool=callgrind", "--dump-before=getppid", f"--callgrind-out-file={folder}/out"]
        done = subprocess.run([*tool, *child("instructions")], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"the child under callgrind ended with {done.returncode}:\n{done.stderr}")
        dumps = [total(Path(folder, f"out.{i + 1}")) for i in range(len(list(Path(folder).glob("out.*"))))]
    if len(dumps) != 3 * len(PATHS):
        sys.exit(
            f"callgrind saw {len(dumps)} marks in place of {3 * len(PATHS)}: this C library's getppid has another name"
        )
    return {name: round((dumps[3 * i + 2] - dumps[3 * i + 1]) / n) for i, (name, (_, n)) in enumerate(PATHS.items())}


def total(dump: Path) -> int:
    """All instructions of one of callgrind's files."""
    return int(re.search(r"^totals: (\d+)", dump.read_text(), re.MULTILINE)[1])


def measure() -> dict[str, dict[str, int]]:
    """Each path's instructions, peak and growth."""
    with subprocess.Popen(child("memory"), stdout=subprocess.PIPE, text=True) as other:
        instructions = count_instructions()
        memory = other.communicate()[0]
    if other.returncode:
        sys.exit(f"the child that measures memory ended with {other.returncode}")
    return {name: {"instructions": instructions[name]} | found for name, found in json.loads(memory).items()}


def facts() -> dict[str, Any]:
    """The machine, valgrind's version, and whether there is AVX2 for it to count."""
    valgrind = subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    cpuinfo = Path("/proc/cpuinfo")
    flags = set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()
    return describe() | {"valgrind": valgrind, "avx2": {"avx2", "fma"} <= flags}


def differences(stored: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What makes the counts of two machines no measure of each other; patch levels do not."""
    pairs = {
        "Python": (stored["python"], now["python"]),
        "NumPy": (stored["versions"]["numpy"], now["versions"]["numpy"]),
    }
    found = [
        f"{name} {a} is stored, this is {b}" for name, (a, b) in pairs.items() if a.split(".")[:2] != b.split(".")[:2]
    ]
    if stored["compiled"] != now["compiled"]:
        found.append("one is the compiled core, the other the NumPy twins")
    return found if now["avx2"] else [*found, "this machine has no AVX2"]


def print_table(stored: dict[str, Any], now: dict[str, Any]) -> float:
    """A line for each path and measure -> the largest ratio, infinite where a path is not stored."""
    print(f"{'path':44} {'of one call':14} {'stored':>12} {'now':>12} {'ratio':>7}")
    worst = 0.0
    for name, found in now.items():
        for key, label in MEASURES.items():
            before = stored.get(name, {}).get(key)
            ratio = math.inf if before is None else found[key] / before
            worst = max(worst, ratio)
            mark = " <--" if ratio > MARGIN else ""
            print(f"{name:44} {label:14} {before or 0:>12,} {found[key]:>12,} {ratio:>7.3f}{mark}")
        mark = " <--" if found["growth"] >= LEAK else ""
        print(f"{name:44} {'growth':14} {'':>12} {found['growth']:>12,} {'':>7}{mark}")
    return worst


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"store the counts in {STORED.name}")
    parser.add_argument("--child", choices=("instructions", "memory"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        {"instructions": run_for_callgrind, "memory": print_memory}[args.child]()
        return 0
    if not shutil.which("valgrind"):
        print("valgrind is not installed: nothing was measured")
        return 0
    if not args.write and not STORED.exists():
        sys.exit(f"{STORED} is not there: --write makes it")
    os.environ.update(environment(1, PYTHONHASHSEED="0"))
    machine, now = facts(), measure()
    return write(machine, now) if args.write else check(machine, now)


def write(machine: dict[str, Any], now: dict[str, Any]) -> int:
    """Store what was measured, beside what was stored before; nothing that grows."""
    print_table(json.loads(STORED.read_text())["paths"] if STORED.exists() else {}, now)
    if leaks := [name for name, found in now.items() if found["growth"] >= LEAK]:
        print(f"not written, memory grows: {'; '.join(leaks)}")
        return 1
    paths = {name: {key: found[key] for key in MEASURES} for name, found in now.items()}
    STORED.write_text(json.dumps({"machine": machine, "paths": paths}, indent=1) + "\n")
    return 0


def check(machine: dict[str, Any], now: dict[str, Any]) -> int:
    """1 where a count is beyond the margin, on a machine that can be compared, or where memory grows, on any."""
    stored = json.loads(STORED.read_text())
    above, grows = print_table(stored["paths"], now) > MARGIN, any(found["growth"] >= LEAK for found in now.values())
    why = differences(stored["machine"], machine)
    if why:
        print(f"not compared: {'; '.join(why)}")
    print(
        "; ".join(filter(None, (above and "above the margin", grows and "memory grows")))
        or "within the margin, no growth"
    )
    return int(grows or (above and not why))


if __name__ == "__main__":
    sys.exit(main())
