"""The same seed gives the same bits: whatever else runs, wherever the environments run, however the work is cut."""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import processes
import pytest
import toy_envs
from gymnasium import spaces
from oracles import relative_error, same_bits
from toy_envs import ALGORITHMS, Drift, learner, run, vector

import minirl
from minirl import _core
from minirl.envs.make import make_envs
from minirl.training.evaluation import evaluate

ACTIONS = {"discrete": 3, "box": spaces.Box(-1, 1, (2,))}
EVERYTHING = {"normalize_obs": True, "normalize_reward": True}


@pytest.fixture(autouse=True)
def registered():
    toy_envs.register()


def outcome(made, updates):
    """All that a run has to show but the time it took."""
    clock = ("charts/SPS", "time/rollout", "time/update")
    rows = [
        {k: v for k, v in u.metrics.items() if k not in clock} | {"returns": u.returns, "lengths": u.lengths}
        for u in updates
    ]
    return {"snapshot": made.snapshot(), "obs": made.collector.state.obs, "rows": rows}


def train(algorithm, actions=3, envs=None, between=None, updates=3, **changes):
    """A short run; `between` is called with the learner before each update."""
    made = learner(algorithm, envs or vector(Drift, *[{"actions": actions}] * 2), **(EVERYTHING | changes))
    done = []
    for _ in range(updates):
        if between:
            between(made)
        done.append(made.step())
    found = outcome(made, done)
    made.collector.envs.close()
    return found


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("actions", ACTIONS.values(), ids=ACTIONS.keys())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_det_01_two_runs_of_one_seed_are_bit_identical(algorithm, actions, dtype):
    first, second, other = (train(algorithm, actions, dtype=dtype, seed=seed) for seed in (3, 3, 4))
    assert same_bits(first, second)
    for part in ("algorithm", "normalizer", "scaler", "updates_stream", "collector"):
        assert not same_bits(first["snapshot"][part], other["snapshot"][part]), part


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("actions", ACTIONS.values(), ids=ACTIONS.keys())
def test_det_02_global_generators_are_neither_used_nor_moved(algorithm, actions):
    states = []

    def poison(made):
        states.append((np.random.get_state()[1].tobytes(), random.getstate()))
        np.random.seed(len(states))
        random.seed(len(states))
        states.append((np.random.get_state()[1].tobytes(), random.getstate()))

    expected = train(algorithm, actions)
    assert same_bits(train(algorithm, actions, between=poison), expected)
    after = states[1::2], [*states[2::2], (np.random.get_state()[1].tobytes(), random.getstate())]
    assert after[0] == after[1]  # each update left them as it found them


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("env_id", ["minirl-test/Drift-v0", "minirl-test/DriftBox-v0"])
def test_det_04_environments_in_other_processes_change_nothing(algorithm, env_id):
    here, there = (
        train(algorithm, envs=make_envs(env_id, 2, kind), num_steps=15, updates=2) for kind in ("sync", "async")
    )
    assert same_bits(here, there)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_det_05_looking_at_a_run_does_not_change_it(algorithm):
    """Evaluation, copies of the policy and snapshots between updates, as logging and checkpoints take them."""

    def look(made):
        evaluate(made.policy, "minirl-test/Drift-v0", episodes=3, stochastic=True, seed=made.updates)
        evaluate(made.policy, "minirl-test/Drift-v0", episodes=1)
        made.snapshot()
        made.policy.act(np.zeros(3, np.float32), np.random.default_rng(0))

    assert same_bits(train(algorithm, between=look), train(algorithm))


def test_det_05_one_evaluation_does_not_change_another():
    agent = run("ppo", vector(Drift, {}), 1)[0].policy
    alone = evaluate(agent, "minirl-test/Drift-v0", episodes=4, stochastic=True, seed=7)
    evaluate(agent, "minirl-test/Drift-v0", episodes=2, stochastic=True, seed=8)
    again = evaluate(agent, "minirl-test/Drift-v0", episodes=4, stochastic=True, seed=7)
    assert same_bits(vars(alone), vars(again)) and len(set(alone.returns)) == 4
    shorter = evaluate(agent, "minirl-test/Drift-v0", episodes=2, seed=7)
    longer = evaluate(agent, "minirl-test/Drift-v0", episodes=4, seed=7)
    assert same_bits(shorter.returns, longer.returns[:2])  # each episode has a seed of its own


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_det_07_a_restored_learner_goes_on_bit_for_bit(algorithm):
    """Training on, back to a snapshot and on again: what the environments hold apart, the learner is as it was."""
    made = learner(algorithm, vector(Drift, {"p": 0.0}), **EVERYTHING)
    made.step()
    tree = made.snapshot()
    made.step()
    made.restore(tree)
    assert same_bits(made.snapshot(), tree)


# ------------------------------------------------------------------------------------------------------ other processes

SCRIPT = """
import sys
import numpy as np
from toy_envs import Drift, run, vector
sizes = {"hidden": (64, 64), "num_steps": 150, "minibatch_size": 100}
made, _ = run(sys.argv[2], vector(Drift, *[{}] * 4), int(sys.argv[3]), **sizes)
np.savez(sys.argv[1], **{name: made.state[name] for name in ("theta_pi", "theta_v")})
"""


def elsewhere(tmp_path, algorithm, updates, *environments):
    """The parameters after training in processes of their own, two at a time, one per dict of environment variables."""
    paths = [str(Path(minirl.__file__).parents[1]), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    base = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    found = []
    for pair in (environments[i : i + 2] for i in range(0, len(environments), 2)):
        files = [tmp_path / f"{len(found) + i}.npz" for i in range(len(pair))]
        commands = [[sys.executable, "-c", SCRIPT, str(file), algorithm, str(updates)] for file in files]
        running = [subprocess.Popen(command, env=base | extra) for command, extra in zip(commands, pair, strict=True)]
        assert [process.wait(timeout=processes.PATIENCE) for process in running] == [0] * len(pair)
        found += [dict(np.load(file)) for file in files]
    return found


def test_det_03_bit_identity_holds_for_a_number_of_threads(tmp_path):
    """Same machine, same number of BLAS threads: equal bits.

    Between one and two sums may differ in order: equal to rounding.
    """
    one, two = ({f"{library}_NUM_THREADS": str(n) for library in ("OPENBLAS", "OMP", "MKL")} for n in (1, 2))
    first, second, third, fourth = elsewhere(tmp_path, "trpo", 1, one, one, two, two)
    assert same_bits(first, second) and same_bits(third, fourth)
    for name in ("theta_pi", "theta_v"):
        # float64, one update: rounding times the condition of CG and Adam
        assert relative_error(third[name], first[name]) < 1e-8


def test_det_06_the_order_of_sets_and_hashes_does_not_matter(tmp_path):
    zero, one = elsewhere(tmp_path, "ppo", 2, {"PYTHONHASHSEED": "0"}, {"PYTHONHASHSEED": "1"})
    assert same_bits(zero, one)


# -------------------------------------------------------------------------------------------- with and without the core

TRAINING = """
import sys
import numpy as np
from minirl import _core, algorithms
from minirl.envs.make import make_envs
from minirl.training.learner import Learner

algorithm, env, dtype, path = sys.argv[1:]
sizes = dict(num_envs=2, num_steps=128, total_timesteps=2560, hidden=(16, 16))
cfg = algorithms.find(algorithm).config(dtype=dtype, **sizes, **{fields})
learner = Learner(algorithms.find(algorithm), make_envs(env, 2), cfg)
thetas = [np.concatenate([learner.state["theta_pi"], learner.state["theta_v"]])]
for _ in range(2):
    learner.step()
    thetas.append(np.concatenate([learner.state["theta_pi"], learner.state["theta_v"]]))
np.savez(path, compiled=_core.COMPILED, theta=thetas)
"""


@pytest.mark.skipif(not _core.COMPILED, reason="the compiled core is not built, or MINIRL_REFERENCE is set")
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-8), ("float32", 1e-4)])
@pytest.mark.parametrize(
    ("algorithm", "env"),
    [("ppo", "CartPole-v1"), ("ppo", "Pendulum-v1"), ("trpo", "CartPole-v1"), ("npg", "Pendulum-v1")],
)
def test_the_compiled_core_and_the_twins_train_alike(algorithm, env, dtype, tolerance, tmp_path):
    """Two updates of one seed, end to end: what θ has moved differs by rounding only, times the condition of CG.

    Pendulum takes float32: a last bit of a float64 action is now and then 6e-8 there, and the second update sees it.
    """
    few = {"ppo": {"epochs": 3}, "npg": {"cg_iters": 4}}  # ten make of rounding, from seed to seed, 1e-10 to 1e-6
    code, thetas = TRAINING.replace("{fields}", repr(few.get(algorithm, {}))), {}
    for reference in "01":
        path = tmp_path / f"{reference}.npz"
        done = processes.python("-c", code, algorithm, env, dtype, path, cwd=tmp_path, MINIRL_REFERENCE=reference)
        assert done.returncode == 0, done.stderr
        saved = np.load(path)
        assert saved["compiled"] == (reference == "0")
        thetas[reference] = saved["theta"].astype(float)
    for t in (1, 2):
        moved = np.linalg.norm(thetas["1"][t] - thetas["1"][0])
        allowed = max(tolerance, 1e-6) if t == 2 and env == "Pendulum-v1" else tolerance
        assert moved > 0.01 and np.linalg.norm(thetas["0"][t] - thetas["1"][t]) < allowed * moved
