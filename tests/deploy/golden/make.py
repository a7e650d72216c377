"""Policy files of version 0.1 (format 1), one for each kind of observation, action and network, and how they acted.

Run once, at version 0.1 (commit da7bad7): `python tests/golden/make.py`. It is kept to show where the files come from,
not to be run again: a later version has to load them and act as they did (tests/deploy/test_golden.py).
"""

import json
from pathlib import Path

import numpy as np
from gymnasium import spaces

from minirl.deploy import policy_file
from minirl.deploy.agent import Agent
from minirl.models.fourier_features import RandomFeatures
from minirl.models.input_pipeline import ObsNormalizer
from minirl.models.policy import Policy
from minirl.numerics.running_moments import RunningMoments
from minirl.spaces.actions import action_codec
from minirl.spaces.observations import obs_codec

HERE = Path(__file__).parent
SEED = 5  # of the sampled actions
ROWS = 6
PLAIN = spaces.Box(-3.0, 3.0, (3,), np.float32)
CHOICE = spaces.Discrete(3)
BOX = spaces.Box(np.array([-2.0, -0.5], np.float32), np.array([3.0, 0.25], np.float32), dtype=np.float32)
NESTED = spaces.Dict(
    {
        "speed": spaces.Box(-1.0, 1.0, (2, 1), np.float64),
        "gear": spaces.Discrete(3, start=-1),
        "at": spaces.Tuple(
            (
                spaces.MultiDiscrete([2, 3], start=[0, 5]),
                spaces.Dict({"lamps": spaces.MultiBinary((2, 2))}),
            )
        ),
    }
)
COORDINATES = spaces.Box(np.array([5.4e6 - 2, -1.0, 0.0]), np.array([5.4e6 + 2, 1.0, 3e-5]), dtype=np.float64)

OBSERVATIONS = {
    "box": PLAIN,
    "box_image": spaces.Box(0, 255, (2, 1, 3), np.uint8),
    "box_coordinates": COORDINATES,
    "discrete": spaces.Discrete(4, start=-2),
    "multi_discrete": spaces.MultiDiscrete([2, 3, 1], start=[0, -4, 7]),
    "multi_discrete_board": spaces.MultiDiscrete([[2, 3], [4, 1]]),
    "multi_binary": spaces.MultiBinary((2, 3)),
    "tuple": spaces.Tuple((spaces.Discrete(2), spaces.Box(0.0, 1.0, (3,), np.float32))),
    "dict": NESTED,
}
ACTIONS = {
    "categorical": (spaces.Discrete(3, start=2, dtype=np.int8), "auto"),
    "multi_categorical": (spaces.MultiDiscrete([2, 3, 1], start=[0, -4, 7]), "auto"),
    "multi_categorical_board": (spaces.MultiDiscrete([[2, 3], [4, 1]], dtype=np.int16), "auto"),
    "bernoulli": (spaces.MultiBinary((2, 2)), "auto"),
    "gaussian_free": (spaces.Box(-np.inf, np.inf, (2, 1), np.float32), "diag_gaussian"),
    "gaussian_far": (spaces.Box(0.5, 500.0, (2,), np.float64), "diag_gaussian"),
    "diag_gaussian": (BOX, "diag_gaussian"),
    "state_gaussian": (BOX, "state_gaussian"),
    "full_gaussian": (BOX, "full_gaussian"),
    "squashed_gaussian": (BOX, "squashed_gaussian"),
    "beta": (BOX, "beta"),
}


def agent_for(
    space,
    action,
    family="auto",
    dtype=np.float32,
    hidden=(4,),
    activation="tanh",
    normal=True,
    rbf=0,
    masked=False,
):
    """A small policy with random weights and with statistics of made-up observations."""
    rng = np.random.default_rng(1)
    obs, actions = obs_codec(space), action_codec(action, family)
    features = RandomFeatures.draw(rng, obs.dim, rbf, 1.0) if rbf else None
    size = Policy(actions.family(), rbf or obs.dim, hidden, activation).num_params
    normalizer = None
    if normal:
        seen = np.concatenate([obs.encode(obs.stack([space.sample()]), np.float64) for _ in range(50)])
        normalizer = ObsNormalizer(RunningMoments(seen.mean(axis=0), 50 * seen.var(axis=0), 50.0))
    theta = (0.7 * rng.standard_normal(size)).astype(dtype)
    return Agent(obs, actions, theta, hidden, activation, normalizer, masked, features)


def mask_of(space, rng):
    """What is allowed of each choice, never nothing."""
    parts = []
    for n in [space.n] if isinstance(space, spaces.Discrete) else space.nvec.ravel():
        part = rng.random(n) < 0.5
        part[rng.integers(n)] = True
        parts.append(part)
    return np.concatenate(parts)


def clear(agent, obs, mask):
    """Whether a phi that differs by a thousandth gives the same choices: no processor's rounding can tell."""
    dist, phi = agent.policy.dist, agent.phi(agent.obs_codec.stack(obs), mask)
    noise, rng = dist.noise(np.random.default_rng(SEED), len(obs)), np.random.default_rng(0)
    near = [phi, *((phi + rng.uniform(-1e-3, 1e-3, phi.shape)).astype(phi.dtype) for _ in range(200))]
    decode = agent.action_codec.decode
    acts = [np.stack([decode(dist.mode(p)), decode(dist.from_noise(p, noise))]) for p in near]
    return all(np.allclose(a, acts[0], rtol=0.02, atol=0.02 if acts[0].dtype.kind == "f" else 0) for a in acts)


def plain(x):
    """An observation as JSON."""
    if isinstance(x, dict):
        return {key: plain(part) for key, part in x.items()}
    return [plain(part) for part in x] if isinstance(x, tuple) else np.asarray(x).tolist()


def write(name, space, action, *args, **options):
    """One policy's file, and what it did for a few observations."""
    space.seed(2)
    agent, rng = agent_for(space, action, *args, **options), np.random.default_rng(3)
    for _ in range(1000):
        obs = [space.sample() for _ in range(ROWS)]
        mask = np.stack([mask_of(action, rng) for _ in obs]) if agent.masked else None
        if clear(agent, obs, mask):
            break
    else:
        raise RuntimeError(f"{name}: all too close")
    policy_file.save(HERE / f"{name}.safetensors", agent, "ppo", f"golden/{name}")
    batch = agent.obs_codec.stack(obs)
    return {
        "obs": [plain(x) for x in obs],
        "mask": None if mask is None else mask.tolist(),
        "phi": agent.phi(batch).tolist(),
        "greedy": agent.act_batch(batch, mask=mask).tolist(),
        "sampled": agent.act_batch(batch, np.random.default_rng(SEED), mask).tolist(),
        "action": str(agent.act(obs[0], mask=None if mask is None else mask[0]).dtype),
    }


def main():
    made = {f"obs_{name}": (space, CHOICE) for name, space in OBSERVATIONS.items()}
    made |= {f"act_{name}": (PLAIN, *action) for name, action in ACTIONS.items()}
    cases = {name: write(name, *args) for name, args in made.items()}
    choices = ACTIONS["multi_categorical"][0]
    cases |= {
        "masked_categorical": write("masked_categorical", PLAIN, ACTIONS["categorical"][0], masked=True),
        "masked_multi_categorical": write("masked_multi_categorical", PLAIN, choices, masked=True),
        "rbf": write("rbf", PLAIN, CHOICE, rbf=7),
        "rbf_gaussian": write("rbf_gaussian", PLAIN, BOX, "diag_gaussian", rbf=7, hidden=()),
        "not_normalized": write("not_normalized", PLAIN, CHOICE, normal=False),
        "not_normalized_dict": write("not_normalized_dict", NESTED, BOX, "diag_gaussian", normal=False),
        "float64": write("float64", PLAIN, BOX, "diag_gaussian", dtype=np.float64),
        "float64_coordinates": write("float64_coordinates", COORDINATES, CHOICE, dtype=np.float64),
        "float64_beta": write("float64_beta", PLAIN, BOX, "beta", dtype=np.float64),
        "deep_relu": write("deep_relu", PLAIN, CHOICE, hidden=(3, 5, 2), activation="relu"),
        "linear": write("linear", PLAIN, CHOICE, hidden=()),
    }
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(case)}" for name, case in cases.items())
    (HERE / "expected.json").write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main()
