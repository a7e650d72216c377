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
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import minirl
from minirl.envs.games.tic_tac_toe import TicTacToe
from minirl.envs.many_agents import Step
from minirl.methods import METHODS
from minirl.multiagent.game_env import OpponentVector
from minirl.multiagent.opponent_pool import Pool
from minirl.multiagent.self_play import SelfPlayLearner
from minirl.multiagent.team_learner import TeamLearner

PAGES = Path(__file__).parent.parent / "docs" / "onepage"
ALONE = ("reinforce", "npg", "trpo", "ppo")  # one agent, on environments of gymnasium
LIBRARY = {name: f"minirl/algorithms/{name}.py" for name in ALONE} | {
    "mappo": "minirl/multiagent/mappo.py",
    "selfplay": "minirl/multiagent/self_play.py",
}
NAMES = tuple(LIBRARY)
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
OF_SEVERAL = {"collect", "gradient"}  # what differs where others play, too
SHORT = "minirl-test/ShortCartPole-v0"

DATA = {"PPO-8", "PPO-11", "KL-1", "KL-11"}
NATURAL = DATA | {"GAE-1", "GAE-2", "PG-11", "SUR-2", "TR-3", "TR-4", "TR-5", "TR-6", "TR-7", "TR-8", "TR-9", "TR-10"}
CLIPPED = {"GAE-1", "GAE-2", "IS-2", "IS-5", "PPO-1", "PPO-2", "PPO-3", "PPO-7", "PPO-9"}
TAGS = {
    "reinforce": DATA | {"PG-6", "PG-8", "PG-11", "PG-12", "PG-13"},
    "npg": NATURAL,
    "trpo": NATURAL | {"IS-2", "SUR-1", "SUR-3", "TR-1", "TR-11", "TR-14"},
    "ppo": DATA | {"PPO-10"} | CLIPPED,
    "mappo": CLIPPED | {"EXT-2", "PPO-8", "PPO-11"},
    "selfplay": CLIPPED | {"EXT-3", "PPO-8"},
}
EQUATIONS = {
    "PG": 14,
    "IS": 7,
    "KL": 14,
    "SUR": 8,
    "TR": 15,
    "PPO": 12,
    "GAE": 4,
    "EXT": 4,
}  # how many there are of each family


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

    check_the_same(mine, theirs)


def check_the_same(mine, theirs):
    """Updates of a page and of the library, each (theta, phi): the same parameters, and they move."""
    for page, library in zip(mine, theirs, strict=True):
        for x, y in zip(page, library, strict=True):
            assert x.dtype == np.float64 and x.shape == y.shape
            assert np.abs(x - y).max() <= 1e-9 * np.abs(y).max()
            assert np.linalg.norm(x - y) <= 1e-9 * np.linalg.norm(y)
    for before, after in pairwise(mine):
        assert all(np.abs(x - y).max() > 1e-6 for x, y in zip(before, after, strict=True)), "an update moved nothing"


# -------------------------------------------------------------------------- beside the library, where several play


class Corridor:
    """MAPPO's page's environment as the library takes one of many agents; logs the actions (N, B) that it got."""

    def __init__(self, page, num_envs, rng, log):
        self.page, self.num_envs, self.rng, self.log = page, num_envs, rng, log
        self.agents = tuple(f"agent_{j}" for j in range(page.N))
        self.observation_spaces = dict.fromkeys(self.agents, Box(-1, 1, (page.D,), np.float64))
        self.action_spaces = dict.fromkeys(self.agents, Discrete(page.K))
        self.alive, self.masks = np.ones((num_envs, page.N), bool), {}

    def observe(self):
        return dict(zip(self.agents, self.page.observe(self.cells), strict=True))

    def reset(self, seeds):
        self.cells, self.length = self.page.scatter(self.num_envs, self.rng), np.zeros(self.num_envs, int)
        return self.observe()

    def step(self, actions):
        action = np.array([actions[agent] for agent in self.agents])
        reward, won = self.page.move(self.cells, action)
        self.length += 1
        late = self.length == self.page.LIMIT
        self.log.append((action.tolist(), won.tolist(), late.tolist()))
        led_to, over = self.observe(), won | late
        self.cells[over], self.length[over] = self.page.scatter(over.sum(), self.rng), 0
        reward, won, late = (np.repeat(x[:, None], self.page.N, axis=1) for x in (reward, won, late))
        return Step(led_to, self.observe(), reward, won, late, self.alive, self.masks)


class Seeded(OpponentVector):
    """Games with a generator of its own in place of a seed; logs the moves that it got and who lost."""

    def __init__(self, game, pool, rng, log):
        super().__init__(game, pool)
        self.own, self.log = rng, log

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=None if seed is None else self.own, options=options)

    def step(self, actions):
        returned = super().step(actions)
        self.log.append((actions.tolist(), returned[1].tolist(), returned[2].tolist()))
        return returned


def several(name, **fields):
    """The page, with the log of its rollouts, its small configuration, the library's, and the page's generator."""
    page, log = load(name), []
    collect, steps = page.collect, 65
    config = replace(page.Config(), num_envs=4, num_steps=steps, total_timesteps=3 * 4 * steps, **fields)

    def collected(*args):
        rows = collect(*args)
        log.append(rows)
        return rows

    page.collect = collected
    pool = {"opponents": "uniform"} if name == "selfplay" else {}
    proof = {"normalize_adv": True, "dtype": "float64"}
    library = minirl.configure(name, **NOT_NORMALISED | proof | pool | asdict(config))
    rng = np.random.default_rng(np.random.SeedSequence(config.seed).spawn(4)[1])
    return page, log, config, library, rng


@pytest.mark.parametrize("fields", [{}, {"clip": 0.01, "lr": 1e-2, "minibatch_size": 50}])
def test_mappo_s_page_and_the_library_find_the_same_parameters(fields):
    page, rollouts, config, library, rng = several("mappo", **fields)
    page.SIZE = 6  # so short that a team which has learned nothing covers all marks now and then
    mine, log = [(theta.copy(), phi.copy()) for theta, phi in page.train(config)], []
    learner = TeamLearner(METHODS["mappo"], Corridor(page, config.num_envs, rng, log), library)
    states = [learner.trainees[0].state for _ in learner]

    steps = [row for r in rollouts for row in zip(r[1].tolist(), r[4].tolist(), (r[5] & ~r[4]).tolist(), strict=True)]
    assert len(learner.trainees) == 1 and len(mine) == len(states) == 3 and len(steps) == 3 * config.num_steps
    assert steps == [(action, won, [c and not w for c, w in zip(late, won, strict=True)]) for action, won, late in log]
    assert {a for action, *_ in steps for row in action for a in row} == {0, 1, 2}
    first = steps[: 2 * config.num_steps]  # updates follow that would show it
    assert any(any(won) for _, won, _ in first) and any(any(late) for *_, late in first), "it has ends of both kinds"
    check_the_same(mine, [(state["theta_pi"], state["theta_v"]) for state in states])


@pytest.mark.parametrize("fields", [{"pool_every": 1}, {"clip": 0.01, "lr": 1e-2, "minibatch_size": 50}])
def test_self_play_s_page_and_the_library_find_the_same_parameters(fields):
    """The library plays on its own boards: the page's game is the same game."""
    page, rollouts, config, library, rng = several("selfplay", **fields)
    mine, log = [(theta.copy(), phi.copy()) for theta, phi in page.train(config)], []
    envs = Seeded(TicTacToe(config.num_envs), Pool(library.pool_size, library.opponents, rng), rng, log)
    learner = SelfPlayLearner(METHODS["selfplay"], envs, library)
    states = [learner.state for _ in learner]

    steps = [row for rollout in rollouts for row in zip(*(rollout[i].tolist() for i in (1, 2, 4)), strict=True)]
    assert len(mine) == len(states) == 3 and len(steps) == 3 * config.num_steps and steps == log
    assert {r for _, reward, _ in steps for r in reward} == {-1, 0, 1}, "somebody won, somebody lost"
    assert {a for action, *_ in steps for a in action} == set(range(9))
    assert len(learner.pool.members) == (4 if config.pool_every == 1 else 1)
    check_the_same(mine, [(state["theta_pi"], state["theta_v"]) for state in states])


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
    assert imported - set(sys.stdlib_module_names) == {"numpy"} | ({"gymnasium"} if name in ALONE else set())
    assert "importlib" not in imported
    assert LIBRARY[name] in text and f"python docs/onepage/{name}.py" in text


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
            if isinstance(node, ast.FunctionDef) and node.name not in OWN | (set() if name in ALONE else OF_SEVERAL):
                texts.setdefault(node.name, set()).add(ast.get_source_segment(text, node))
                pages[node.name] += 1
    assert [name for name, versions in texts.items() if len(versions) > 1] == []
    assert pages["forward"] == pages["adam_step"] == len(NAMES) and pages["collect"] == len(ALONE)
    assert pages["gae"] == 5 and pages["fit_critic"] == 3


def said(name, seed, tmp_path):
    """The lines that a page prints as it trains, and those after it; nothing beside the page is found."""
    command = [sys.executable, "-I", PAGES / f"{name}.py", "--seed", str(seed)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=900)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    updates = [line for line in lines if " steps " in line]
    assert len(updates) > 10
    return updates, lines[len(updates) :]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", ALONE)
def test_a_page_learns_cartpole(name, seed, tmp_path):
    assert load(name).Config.total_timesteps <= 100_000
    updates, (last,) = said(name, seed, tmp_path)
    assert all("return" in line and "KL" in line for line in updates)
    assert float(re.fullmatch(r"mean of 20 greedy episodes: ([\d.]+)", last)[1]) >= GREEDY[name]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_mappo_s_page_plays_as_well_as_the_team_that_walks_straight(seed, tmp_path):
    _, last = said("mappo", seed, tmp_path)
    random, greedy, straight = (float(line.split(": ")[1]) for line in last)
    assert random < -20 and straight > -1.1 and greedy > straight - 0.2


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_self_play_s_page_does_not_lose_to_a_random_player(seed, tmp_path):
    _, last = said("selfplay", seed, tmp_path)
    pattern = r"moving (first|second) against a random player: ([\d.]+)% of (\d+) games not lost"
    found = [re.fullmatch(pattern, line).groups() for line in last]
    assert [side for side, *_ in found] == ["first", "second"]
    assert all(float(share) >= 90 and int(games) >= 300 for _, share, games in found)
