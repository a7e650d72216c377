"""The README's picture: how TRPO and PPO learn CartPole.

    python benches/learning_curve.py [FILE]        draws docs/learning.png again, or FILE; about ten seconds

Default configurations, seeds 0 to 2, 100 000 transitions on minirl/CartPole-v1; drawn as `minirl plot` draws, smaller.
"""

import os
import sys
import tempfile
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import minirl  # noqa: E402
from minirl.runs.curves import read_curves  # noqa: E402
from minirl.runs.plot import draw  # noqa: E402

PICTURE = Path(__file__).parent.parent / "docs" / "learning.png"
ALGORITHMS, SEEDS, STEPS = ("trpo", "ppo"), range(3), 100_000
DPI = 90  # a quarter of the README's first screen, below 60 kB


def main(path: Path = PICTURE, steps: int = STEPS) -> None:
    with tempfile.TemporaryDirectory() as folder:
        runs = [Path(folder, f"{algorithm}-{seed}") for algorithm in ALGORITHMS for seed in SEEDS]
        for run in runs:
            algorithm, _, seed = run.name.partition("-")
            minirl.train(algorithm, "minirl/CartPole-v1", run=run, seed=int(seed), total_timesteps=steps)
        draw(read_curves(runs)).savefig(path, dpi=DPI)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
