"""From a bare interpreter to a policy that solves CartPole-v1.

Solved: mean return of 20 greedy episodes at 475 or more, on gymnasium's own.

    python benches/cold_start.py SEED

One line of JSON: whether it was solved, transitions learned from, looks taken, and where the training's environments
came from. The clock is outside (peers.py): start of the interpreter, imports and the evaluations all count. Settings
chosen on seeds 100-111, run on 0-9.
"""

import json
import os
import sys

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

from minirl.algorithms import find  # noqa: E402
from minirl.envs.make import make_envs  # noqa: E402
from minirl.training.evaluation import evaluate  # noqa: E402
from minirl.training.learner import Learner  # noqa: E402

BAR, PROMISING = 475.0, 150.0  # the second: the return of sampled actions at which a look at the greedy ones pays
ALGORITHM = "ppo"
SETTINGS = {
    "num_envs": 16,
    "num_steps": 32,
    "epochs": 10,
    "minibatch_size": 128,
    "lr": 2e-3,
    "anneal_lr": False,
    "total_timesteps": 300_000,
}


def environments():
    """The batched CartPole where it is there, else gymnasium's, and its id."""
    try:
        import minirl.envs  # noqa: F401
    except ModuleNotFoundError:
        return make_envs("CartPole-v1", SETTINGS["num_envs"]), "CartPole-v1"
    return make_envs("minirl/CartPole-v1", SETTINGS["num_envs"], "vector_entry_point"), "minirl/CartPole-v1"


def solves(policy, seed: int) -> bool:
    """Two episodes of other starts first: most policies that fail do so there."""
    return (
        evaluate(policy, "CartPole-v1", 2, seed=seed + 1000).mean >= BAR
        and evaluate(policy, "CartPole-v1", 20, seed=seed).mean >= BAR
    )


def main() -> None:
    seed, looks, solved = int(sys.argv[1]), 0, False
    envs, env_id = environments()
    learner = Learner(find(ALGORITHM), envs, find(ALGORITHM).config(seed=seed, **SETTINGS))
    for update in learner:
        if update.metrics["charts/episodic_return"] >= PROMISING:
            looks, solved = looks + 1, solves(learner.policy, seed)
        if solved:
            break
    print(
        json.dumps({"seed": seed, "solved": solved, "steps": learner.global_step, "looks": looks, "trained_on": env_id})
    )


if __name__ == "__main__":
    main()
