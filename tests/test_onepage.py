"""docs/onepage: each page is its algorithm of the library, in one file that needs nothing of it.

Page and library play the same environments from the same seed; the environments keep what they were asked to do.
"""

import ast
import importlib.util
import re
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import minirl

PAGES = Path(__file__).parent.parent / "docs" / "onepage"
NAMES = ("reinforce", "npg", "trpo", "ppo")
pytestmark = pytest.mark.skipif(not PAGES.is_dir(), reason="the pages belong to a clone")

GREEDY = {"reinforce": 400, "npg": 475, "trpo": 475, "ppo": 475}  # CartPole-v1, mean of 20 episodes
CASES = {
    "reinforce": {},
    "reinforce ascent": {"optimizer": "ascent", "lr": 1e-3},
    "npg": {},
    "npg in three steps of conjugate gradient": {"cg_iters": 3},
    "trpo": {},
    "trpo halves its steps": {"delta": 0.1, "cg_iters": 5},
    "ppo": {"normalize_adv": False},
    "ppo normalises advantages": {"normalize_adv": True},
    "ppo clips much": {"clip": 0.01, "lr": 1e-2},
}
NOT_NORMALISED = {"normalize_obs": False, "normalize_reward": False, "normalize_value": False, "normalize_adv": False}
OWN = {"policy_step", "train"}  # what differs from page to page
SHORT = "minirl-test/ShortCartPole-v0"

DATA = {"PPO-8", "PPO-11", "KL-1", "KL-11"}
NATURAL = DATA | {"GAE-1", "GAE-2", "PG-11", "SUR-2", "TR-3", "TR-4", "TR-5", "TR-6", "TR-7", "TR-8", "TR-9", "TR-10"}
TAGS = {
    "reinforce": DATA | {"PG-6", "PG-8", "PG-11", "PG-12", "PG-13"},
    "npg": NATURAL,
    "trpo": NATURAL | {"IS-2", "SUR-1", "SUR-3", "TR-1", "TR-11", "TR-14"},
    "ppo": DATA | {"GAE-1", "GAE-2", "IS-2", "IS-5", "PPO-1", "PPO-2", "PPO-7", "PPO-9", "PPO-10"},
}
EQUATIONS = {"PG": 14, "IS": 7, "KL": 14, "SUR": 8, "TR": 15, "PPO": 12, "GAE": 4}  # how many there are of each family


def load(name):
    """A page as a module."""
    spec = importlib.util.spec_from_file_location(f"onepage_{name}", PAGES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclass looks
    spec.loader.exec_module(module)
    return module


# --------------------------------------------------------------------------------------------------- beside the library


class Logged(gymnasium.Wrapper):
    """Keeps the actions that it got and how episodes ended; a `seed` of its own goes before the one that is given."""

    made: list["Logged"]

    def __init__(self, env):
        super().__init__(env)
        self.log, self.seed = [], None
        self.made.append(self)

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            seed = self.seed = seed if self.seed is None else self.seed
        self.log.append("reset")
        return self.env.reset(seed=seed, options=options)

    def step(self, action):
        obs, reward, terminated, truncated, info = self.env.step(action)
        self.log.append((int(action), terminated, truncated))
        return obs, reward, terminated, truncated, info


@pytest.fixture
def made():
    """The environments SHORT that were made: CartPole, cut after 20 steps, about what a random policy survives."""
    Logged.made = []
    short = partial(gymnasium.make, "CartPole-v1", max_episode_steps=20)
    gymnasium.register(SHORT, lambda: Logged(short()), disable_env_checker=True)
    yield Logged.made
    gymnasium.registry.pop(SHORT)


def page_updates(name, config):
    """theta and phi after each update of the page."""
    return [(theta.copy(), phi.copy()) for theta, phi in load(name).train(config)]


def library_updates(name, config, seeds, made):
    """The parameters of policy and critic after each update of the library, its environments begun with these seeds."""
    envs = SyncVectorEnv([partial(gymnasium.make, SHORT)] * config.num_envs, autoreset_mode=AutoresetMode.SAME_STEP)
    for env, seed in zip(made[-config.num_envs :], seeds, strict=True):
        env.seed = seed
    fields = NOT_NORMALISED | asdict(config) | {"dtype": "float64"}
    learner = minirl.learn(name, envs, minirl.configure(name, **fields))
    return [(learner.state["theta_pi"].copy(), learner.state["theta_v"].copy()) for _ in learner]


@pytest.mark.parametrize("case", CASES)
def test_a_page_and_the_library_find_the_same_parameters(case, made):
    name = case.split()[0]
    config = replace(load(name).Config(), env=SHORT, num_envs=2, num_steps=65, total_timesteps=3 * 130, **CASES[case])
    mine = page_updates(name, config)
    theirs = library_updates(name, config, [env.seed for env in made], made)

    assert len(made) == 4 and len(mine) == len(theirs) == 3
    for b in (0, 1):
        assert made[b].log == made[b + 2].log  # the same actions, the same ends
        steps = [entry for entry in made[b].log if entry != "reset"]
        assert len(steps) == 3 * 65 and {action for action, *_ in steps} == {0, 1}
    first = [entry for env in made[:2] for entry in env.log[:65]]
    assert any(entry[1] for entry in first) and any(entry[2] for entry in first), "it has ends of both kinds"

    for page, library in zip(mine, theirs, strict=True):
        for x, y in zip(page, library, strict=True):
            assert x.dtype == np.float64 and x.shape == y.shape
            assert np.abs(x - y).max() <= 1e-9 * np.abs(y).max()
            assert np.linalg.norm(x - y) <= 1e-9 * np.linalg.norm(y)
    for before, after in pairwise(mine):
        assert all(np.abs(x - y).max() > 1e-6 for x, y in zip(before, after, strict=True)), "an update moved nothing"


# ------------------------------------------------------------------------------------------------------- what a page is


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_a_page_and_stands_alone(name):
    text = (PAGES / f"{name}.py").read_text("utf-8")
    assert len(text.splitlines()) <= 200 and max(map(len, text.splitlines())) <= 120
    imported = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(node.module.split(".")[0])
    assert imported - set(sys.stdlib_module_names) == {"numpy", "gymnasium"} and "importlib" not in imported
    assert f"minirl/algorithms/{name}.py" in text and f"python docs/onepage/{name}.py" in text


def tags_by_place(text):
    """The tags of a page: those at lines that compute, and all."""
    prose = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            prose |= set(range(node.lineno, node.end_lineno + 1))
    computing, everywhere = set(), set()
    for number, line in enumerate(text.splitlines(), 1):
        tags = {tag for bracket in re.findall(r"\[([A-Z]+-\d[^\]]*)\]", line) for tag in bracket.split(", ")}
        everywhere |= tags
        if number not in prose and line.split("#")[0].strip():
            computing |= tags
    return computing, everywhere


@pytest.mark.parametrize("name", NAMES)
def test_the_equations_of_an_algorithm_stand_at_the_lines_of_its_page(name):
    computing, everywhere = tags_by_place((PAGES / f"{name}.py").read_text("utf-8"))
    assert computing >= TAGS[name], f"missing: {sorted(TAGS[name] - computing)}"
    for tag in everywhere:
        family, number = re.fullmatch(r"([A-Z]+)-(\d+)", tag).groups()
        assert 1 <= int(number) <= EQUATIONS[family], tag


def test_a_function_is_the_same_on_every_page_that_has_it():
    """Who has read one page has read most of the next."""
    texts, pages = {}, Counter()
    for name in NAMES:
        text = (PAGES / f"{name}.py").read_text("utf-8")
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef) and node.name not in OWN:
                texts.setdefault(node.name, set()).add(ast.get_source_segment(text, node))
                pages[node.name] += 1
    assert [name for name, versions in texts.items() if len(versions) > 1] == []
    assert pages["forward"] == pages["collect"] == 4 and pages["gae"] == pages["fit_critic"] == 3


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_a_page_learns_cartpole(name, seed, tmp_path):
    assert load(name).Config.total_timesteps <= 100_000
    command = [sys.executable, "-I", PAGES / f"{name}.py", "--seed", str(seed)]  # -I: nothing beside the page is found
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=900)
    assert done.returncode == 0, done.stderr
    *updates, last = done.stdout.splitlines()
    assert len(updates) > 10 and all("steps" in line and "return" in line and "KL" in line for line in updates)
    assert float(re.fullmatch(r"mean of 20 greedy episodes: ([\d.]+)", last)[1]) >= GREEDY[name]
