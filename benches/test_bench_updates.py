"""Whole updates on the compiled core beside the same on the NumPy twins:
equal first, then timed, each side in a process of its own.

python -m pytest benches/test_bench_updates.py --benchmark-columns=median,iqr,rounds --benchmark-sort=name
"""

from functools import cache
from typing import Any

import numpy as np
import pytest
import workloads
from worker import Worker, serve

from minirl import _core
from minirl.models.distributions import Categorical, DiagGaussian

pytestmark = pytest.mark.skipif(not _core.COMPILED, reason="the compiled core is not built, or MINIRL_REFERENCE is set")

UPDATES = {
    "reinforce": ("reinforce", Categorical(2), 4, {}),
    "npg": ("npg", DiagGaussian(6), 17, {"critic_epochs": 1}),
    "trpo (W3)": ("trpo", DiagGaussian(6), 17, workloads.W3),
    "ppo (W2)": ("ppo", Categorical(2), 4, workloads.W2),
    "ppo, Gaussian, KL penalty": ("ppo", DiagGaussian(6), 17, {"objective": "kl", "ent_coef": 0.01}),
}


@cache
def update_named(name: str) -> Any:
    algorithm, dist, obs, fields = UPDATES[name]
    return workloads.update_of(algorithm, dist, obs, **fields)


def run(name: str, show: bool) -> dict[str, Any]:
    """One update of 2048 samples; what it makes of θ where that is asked for."""
    state, _ = update_named(name)()
    return {key: state[key].tolist() for key in ("theta_pi", "theta_v")} if show else {}


@pytest.fixture(scope="module")
def sides():
    both = {
        side: Worker(__file__, 1, MINIRL_REFERENCE=reference) for side, reference in (("kernels", "0"), ("twins", "1"))
    }
    yield both
    for worker in both.values():
        worker.close()


@pytest.mark.parametrize("name", UPDATES)
@pytest.mark.parametrize("side", ["kernels", "twins"])
@pytest.mark.benchmark(max_time=1.0, min_rounds=5, warmup=False)
def test_update(benchmark, sides, name, side):
    if side == "kernels":  # each side's first update, of one seed
        first = {key: worker.ask("run", name=name, show=True) for key, worker in sides.items()}
        for part in ("theta_pi", "theta_v"):
            ours, theirs = (np.array(first[key][part]) for key in ("kernels", "twins"))
            assert np.linalg.norm(ours - theirs) < 1e-3 * np.linalg.norm(theirs)
    benchmark.group, benchmark.name = name, side
    benchmark(sides[side].ask, "run", name=name, show=False)


if __name__ == "__main__":
    serve({"run": run})
