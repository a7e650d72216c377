"""Do trainings repeat to the last bit, here and in another version of the code?

    python benches/same_bits.py --write before.json      in one checkout
    python benches/same_bits.py --against before.json    in the other, on the same machine: exit 1, the first difference

A row is a training of a few thousand transitions: SHA-256 of the final parameters with the observation statistics, and
of every metric that is not a time. It uses the public interface alone, so that it runs in any layout of the library.
"""

import argparse
import hashlib
import json
import os
import sys
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402

import minirl  # noqa: E402

ENVS = {
    "CartPole-v1": 6144,
    "minirl/CartPole-v1": 6144,
    "Pendulum-v1": 6144,
    "minirl/Pendulum-v1": 6144,
    "HalfCheetah-v5": 4096,
}
METHODS = [
    ("ppo", {}),
    ("ppo", {"share_trunk": True, "normalize_value": True}),
    ("ppo", {"objective": "kl", "adapt": "kl_coef", "target_kl": 0.02, "recompute_adv": True}),
    ("trpo", {}),
    ("trpo", {"kl": "max", "shrink": 0.8, "fisher_every": 3}),
    ("npg", {}),
    ("reinforce", {"gradient_steps": 2}),
]
TIMES = ("charts/SPS", "time/rollout", "time/update")


def digest(env: str, steps: int, algorithm: str, fields: dict, dtype: str) -> dict[str, str]:
    """The two hashes of one training."""
    result = minirl.train(algorithm, env, seed=3, total_timesteps=steps, dtype=dtype, **fields)
    policy, numbers, rows = result.policy, hashlib.sha256(), hashlib.sha256()
    for array in (policy.theta, policy.normalizer.moments.mean, policy.normalizer.moments.m2):
        numbers.update(np.ascontiguousarray(array).tobytes())
    for update in result.history:
        rows.update(repr(sorted((k, v) for k, v in update.metrics.items() if k not in TIMES)).encode())
    return {"parameters": numbers.hexdigest()[:16], "metrics": rows.hexdigest()[:16]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--against", type=Path)
    args = parser.parse_args()
    found = {}
    for env, steps in ENVS.items():
        for algorithm, fields in METHODS:
            for dtype in ("float32", "float64"):
                title = " ".join([algorithm, env, dtype, *(f"{k}={v}" for k, v in fields.items())])
                found[title] = digest(env, steps, algorithm, fields, dtype)
                print(f"{title:110} {found[title]['parameters']} {found[title]['metrics']}", flush=True)
    if args.write:
        args.write.write_text(json.dumps(found, indent=1) + "\n")
    if args.against:
        before = json.loads(args.against.read_text())
        differ = [title for title in before if found.get(title) != before[title]]
        print(
            f"{len(before) - len(differ)} of {len(before)} are the same to the last bit"
            + "".join(f"\n  not {t}" for t in differ)
        )
        return bool(differ)
    return 0


if __name__ == "__main__":
    sys.exit(main())
