"""The extras of pyproject.toml hold what they promise: what is imported can be installed, and nothing else is."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

import minirl

ROOT = Path(__file__).parent.parent
PACKAGE = Path(minirl.__file__).parent
pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="pyproject.toml belongs to a clone")


def names(requirements):
    """Requirements without their versions and extras."""
    return {re.match(r"[\w.-]+", requirement)[0] for requirement in requirements}


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def imported(folder):
    """Modules from outside that the files of a folder import, wherever the import stands."""
    own = {path.stem for path in folder.glob("*.py")} | {"minirl"}
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.split(".")[0])
    return found - own - set(sys.stdlib_module_names)


def test_use_11_an_extra_brings_what_its_feature_imports_and_nothing_else():
    extras = project()["optional-dependencies"]
    assert names(extras["cli"]) == {"tyro", "rich"} and names(extras["plot"]) == {"matplotlib"}
    features = names(extras["cli"]) | names(extras["plot"]) | names(extras["track"]) | names(extras["mujoco"])
    assert features - imported(PACKAGE) == {"tensorboard"}, "brought, and imported nowhere"
    assert imported(PACKAGE) - names(project()["dependencies"]) <= features, "imported, and brought by no extra"


def test_use_11_what_is_tracked_can_be_looked_at():
    """tensorboardX writes; the command `tensorboard` that shows what it wrote is in the package of that name."""
    assert names(project()["optional-dependencies"]["track"]) == {"tensorboardX", "tensorboard"}


def test_use_11_mujoco_is_what_gymnasium_asks_for():
    (only,) = project()["optional-dependencies"]["mujoco"]
    assert only.startswith("gymnasium[mujoco]") and "imageio" not in imported(PACKAGE) | imported(ROOT / "tests")


def test_use_11_marl_brings_the_games_and_what_they_import():
    """PettingZoo's board games import pygame, which PettingZoo itself does not ask for."""
    assert names(project()["optional-dependencies"]["marl"]) == {"pettingzoo", "mpe2", "pygame-ce"}


def test_use_11_the_tests_need_nothing_beyond_their_extra():
    brought = names(project()["optional-dependencies"]["test"]) | names(project()["dependencies"])
    skipped = {"mujoco", "pygame"}  # by importorskip
    ours = {path.stem for folder in ("benches", "tests") for path in (ROOT / folder).rglob("*.py")} | {"oracles"}
    assert imported(ROOT / "tests") - skipped - ours <= brought
