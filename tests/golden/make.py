"""What version 0.2 wrote (policy files of format 2, runs of format 1), and what stands in it.

Run once, at version 0.2.0, from this folder: `python make.py`. It is kept to show where the files come from, not to be
run again: every later 0.x has to load them (tests/test_format_promise.py). A release that changes a format adds a
folder of its own beside 0.2, written by itself, and touches none that is there.
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import minirl
from minirl.files import safetensors

HERE = Path(__file__).parent
RUNS = {
    "ppo": "--env minirl/Pendulum-v1 --total-timesteps 384 --hidden 4 --num-envs 2 --num-steps 64",
    "selfplay": "--env minirl/TicTacToe-v0 --total-timesteps 320 --num-envs 4 --num-steps 16 --minibatch-size 16 "
    "--hidden 2",
    "ippo": "--env minirl/SimpleSpread-v0 --total-timesteps 64 --num-envs 2 --num-steps 8 --hidden 2 --dtype float64",
}
LEFT_OUT = (".lock", "curve.png", "league.png")


class Everything:
    def __contains__(self, _name: object) -> bool:
        return True


def contents(path: Path) -> dict[str, list]:
    """Type, shape and checksum of each array of a file."""
    arrays, _ = safetensors.read(path, any_value=Everything())
    return {
        name: [str(x.dtype), list(x.shape), hashlib.sha256(x.tobytes()).hexdigest()]
        for name, x in sorted(arrays.items())
    }


def main() -> None:
    folder = HERE / "0.2"
    for algorithm, flags in RUNS.items():
        command = ["train", algorithm, *flags.split(), "--eval-episodes", "0", "--run", algorithm, "--quiet"]
        subprocess.run([sys.executable, "-m", "minirl", *command], cwd=folder, check=True)
        for name in LEFT_OUT:
            (folder / algorithm / name).unlink(missing_ok=True)
    (folder / "policies").mkdir()
    for old in sorted((HERE.parent / "deploy" / "golden").glob("*.safetensors")):  # one of each kind
        minirl.save(minirl.load(old), folder / "policies" / old.name, "golden")
    files = {str(path.relative_to(folder)): contents(path) for path in sorted(folder.rglob("*.safetensors"))}
    (folder / "expected.json").write_text(json.dumps(files, indent=1) + "\n")


if __name__ == "__main__":
    main()
