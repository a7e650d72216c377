"""The first checkpoints of format 1, and what stands in them: run once from this folder, kept as make.py is."""

import hashlib
import json
from pathlib import Path

import minirl
from minirl.files import tree
from minirl.runs.checkpoints import KIND, Checkpoints

HERE = Path(__file__).parent / "checkpoints"
SMALL = {"num_envs": 2, "num_steps": 8, "hidden": (4,), "total_timesteps": 64}
RUNS = {
    "ppo": ("CartPole-v1", {"normalize_obs": True}),
    "selfplay": ("minirl/TicTacToe-v0", {"pool_size": 3}),
    "mappo": ("minirl/SimpleSpread-v0", {}),
}


def contents(value):
    """A tree with type, shape and checksum in place of each array."""
    if isinstance(value, dict):
        return {key: contents(each) for key, each in value.items()}
    if isinstance(value, list):
        return [contents(each) for each in value]
    if hasattr(value, "dtype"):
        return [str(value.dtype), list(value.shape), hashlib.sha256(value.tobytes()).hexdigest()[:16]]
    return value


def main() -> None:
    found = {}
    for name, (env, fields) in RUNS.items():
        run = HERE / name
        minirl.train(name, env, run, lambda update: update.number == 2, **SMALL, **fields)
        checkpoints = Checkpoints(run, name)
        for path in (run / "curve.png", run / ".lock", checkpoints.path(0)):
            path.unlink(missing_ok=True)
        found[name] = contents(tree.read(checkpoints.path(2), KIND))
    (HERE / "expected.json").write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
