"""The pages for those who build on the library are run, top to bottom, and do what they say."""

import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import minirl

DOCS = Path(__file__).parent.parent / "docs"


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text("utf-8"), re.M | re.S)


@pytest.fixture
def played(tmp_path, monkeypatch, capsys):
    """A page -> the names that it leaves, and the lines that each of its blocks prints."""
    monkeypatch.chdir(tmp_path)

    def play(page):
        module = types.ModuleType("page")  # dataclasses look in sys.modules for the types of their fields
        monkeypatch.setitem(sys.modules, "page", module)
        names, printed = vars(module), []
        for number, block in enumerate(blocks(page, "python"), 1):
            exec(compile(block, f"{page}, block {number}", "exec"), names)
            printed.append(capsys.readouterr().out.splitlines())
        return names, printed

    return play


def test_a_method_of_ones_own_trains(played, tmp_path):
    names, (_, (run, score), (updates,), refused) = played("your-own-algorithm.md")
    assert run == "minirl_CartPole-v1-a2c-0-1" and (tmp_path / "runs" / run / "policy.safetensors").exists()
    assert float(score) > 300 and "more than 300" in (DOCS / "your-own-algorithm.md").read_text("utf-8")
    assert int(updates) == 10  # 320 steps, 2 environments, 16 steps an update
    others = "ppo, ippo, mappo and selfplay can do that"
    assert refused == [f"a2c has no field 'clip': {others}", "lr = -1.0: takes a number > 0"]

    result = names["result"]
    assert result.algorithm == "a2c" and isinstance(result.config, names["A2CConfig"])
    losses = result.history[-1].metrics
    assert np.isfinite([losses[f"losses/{name}"] for name in ("value_loss", "entropy", "gradient_norm")]).all()
    assert np.array_equal(minirl.load(result.run).theta, result.policy.theta)


def test_the_method_on_the_page_is_short():
    """What stands between the configuration and the row: about twenty lines."""
    method = re.search(r"^def init.*(?=^A2C = )", blocks("your-own-algorithm.md", "python")[0], re.M | re.S)
    assert len([line for line in method[0].splitlines() if line.strip()]) <= 22


def test_an_environment_of_ones_own_trains(played):
    names, (_, trained, refused, masks, seeds, vector) = played("your-own-environment.md")
    on_its_own, slippery = map(float, trained)
    assert on_its_own > 0.85 and 0.75 < slippery < on_its_own  # always right is 0.92, at random below 0.4
    text = (DOCS / "your-own-environment.md").read_text("utf-8")
    assert "\n".join(refused) in text and len(refused) == 3
    assert masks[0] == "1" and float(masks[1]) > 0.85
    assert seeds == ["True False"]
    before, after = map(float, vector[0].split())
    assert after > before and after > 0.85
    assert names["learner"].global_step > 5_000


def test_the_commands_on_the_page_run(tmp_path):
    page = "your-own-environment.md"
    (tmp_path / "corridor.py").write_text(blocks(page, "python")[0])
    train, test = blocks(page, "bash")[0].splitlines()
    for line, seen in ((train, "run directory corridor-8"), (test, "return 0.9")):
        command = [sys.executable, "-m", *line.split()]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert seen in done.stdout + done.stderr
