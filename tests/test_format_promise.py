"""Files of 0.x load in every later 0.x [F-16, F-17]: those that 0.2 wrote (golden/make.py), array for array and bit for
bit; policy files of format 1 are in deploy/test_golden.py. What is of a later format is refused in one sentence.
"""

import csv
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import minirl
from minirl.cli import main
from minirl.deploy import policy_file
from minirl.deploy.team import Team, load_policy
from minirl.errors import FileError
from minirl.files import safetensors, tree
from minirl.multiagent import league
from minirl.runs.checkpoints import KIND
from minirl.runs.listing import read_run
from minirl.runs.metrics_reading import read_csv
from minirl.runs.plot import plot, read_curve
from minirl.runs.record import FORMAT

GOLDEN = Path(__file__).parent / "golden" / "0.2"
EXPECTED = json.loads((GOLDEN / "expected.json").read_text())
ACTED = json.loads((Path(__file__).parent / "deploy" / "golden" / "expected.json").read_text())
RUNS = ["ppo", "selfplay", "ippo"]


def test_every_file_has_its_arrays_and_all_kinds_are_there():
    assert {str(path.relative_to(GOLDEN)) for path in GOLDEN.rglob("*.safetensors")} == set(EXPECTED)
    assert {f"policies/{name}.safetensors" for name in ACTED} <= set(EXPECTED)
    for run in RUNS:
        assert (GOLDEN / run / "config.json").is_file() and (GOLDEN / run / "metrics.csv").is_file()
    assert (GOLDEN / "selfplay" / "league.json").is_file()


@pytest.mark.parametrize("name", EXPECTED)
def test_f_17_a_policy_of_0_2_is_read_bit_for_bit(name):
    arrays, metadata = safetensors.read(GOLDEN / name, any_value=policy_file.BOUNDS)
    found = {n: [str(x.dtype), list(x.shape), hashlib.sha256(x.tobytes()).hexdigest()] for n, x in arrays.items()}
    assert found == EXPECTED[name] and json.loads(metadata["minirl"])["format"] == 2
    agent, about = policy_file.load(GOLDEN / name)
    assert about["format"] == 2 and agent.theta.tobytes() == arrays["theta"].tobytes()
    assert str(agent.theta.dtype) == about["dtype"]


@pytest.mark.parametrize("name", ACTED)
def test_f_17_a_policy_of_0_2_acts_as_that_of_0_1_did(name):
    """It is the same one, saved again by 0.2."""
    case, agent = ACTED[name], minirl.load(GOLDEN / "policies" / f"{name}.safetensors")
    batch, mask = agent.obs_codec.stack(case["obs"]), None if case["mask"] is None else np.array(case["mask"])
    np.testing.assert_allclose(agent.phi(batch), case["phi"], rtol=1e-5, atol=1e-6)
    before = minirl.load(Path(__file__).parent / "deploy" / "golden" / f"{name}.safetensors")
    assert agent.obs_codec == before.obs_codec and agent.masked == before.masked
    for rng in (None, 5):
        acts = [
            each.act_batch(batch, None if rng is None else np.random.default_rng(rng), mask) for each in (agent, before)
        ]
        np.testing.assert_array_equal(*acts)


@pytest.mark.parametrize("name", RUNS)
def test_f_17_a_run_of_0_2_is_read_evaluated_drawn_and_listed(name, tmp_path, monkeypatch, capsys):
    run = shutil.copytree(GOLDEN / name, tmp_path / name)
    config = json.loads((run / "config.json").read_text())["config"]
    again = minirl.configure(name, **config)  # each of its fields is still there, and takes its value
    assert {field: list(v) if isinstance(v := vars(again)[field], tuple) else v for field in config} == config
    with open(run / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = read_csv(run / "metrics.csv")
    assert [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)] == rows
    assert read_curve(run).step.tolist() == [float(row["global_step"]) for row in rows if row["charts/episodic_return"]]
    listed = read_run(run)
    assert not listed.unreadable and listed.which["algorithm"] == name and listed.steps == rows[-1]["global_step"]
    policy, about = load_policy(run)
    assert about["algorithm"] == name and isinstance(policy, Team) == (name == "ippo")
    assert np.isfinite(minirl.evaluate(run, episodes=2).returns).all()
    monkeypatch.chdir(tmp_path)
    for command in (["eval", name, "--episodes", "2"], ["list", "--runs", name], ["plot", name]):
        assert main(command) == 0, capsys.readouterr().err


def test_f_17_a_league_of_0_2_is_played(tmp_path):
    agents, env = league.load(GOLDEN / "selfplay")
    assert env == "minirl/TicTacToe-v0" and list(agents) == [64, 128, 192, 256, 320]
    assert league.tournament(GOLDEN / "selfplay", games=2, checkpoints=2).steps.tolist() == [0, 64, 320]


# --------------------------------------------------------------------------------------------------- of later versions


def test_f_16_a_policy_of_a_later_format_is_one_sentence(tmp_path, capsys):
    arrays, metadata = safetensors.read(GOLDEN / "ppo" / policy_file.FILE, any_value=policy_file.BOUNDS)
    about = json.loads(metadata["minirl"]) | {"format": policy_file.FORMAT + 1, "new": {"a": 1}}
    path = tmp_path / "later.safetensors"
    safetensors.write(path, arrays | {"new": arrays["theta"]}, {"minirl": json.dumps(about)}, policy_file.BOUNDS)
    said = f"it has file format {policy_file.FORMAT + 1}, this minirl reads 1 to {policy_file.FORMAT}"
    with pytest.raises(FileError, match=said):
        minirl.load(path)
    assert main(["eval", str(path)]) == 2 and said in capsys.readouterr().err


@pytest.mark.parametrize("number", [FORMAT + 1, 10**9, 0, -1, "1", True, None, 1.0, [1], "9" * 5000], ids=range(10))
def test_f_16_m31_a_run_of_a_later_format_is_one_sentence(number, tmp_path, monkeypatch, capsys):
    run = shutil.copytree(GOLDEN / "ppo", tmp_path / "later")
    config = json.loads((run / "config.json").read_text()) | {"format": number, "config": {"new": 1}}
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        FileError, match=rf"config\.json cannot be read: it has file format .*, this .* up to {FORMAT}$"
    ):
        plot([run])
    assert "it has file format" in read_run(run).unreadable
    monkeypatch.chdir(tmp_path)
    for command in (["eval", "later"], ["plot", "later"]):
        assert main(command) == 2
        err = capsys.readouterr().err
        assert f"this minirl reads up to {FORMAT}" in err and err.count("\n") == 1 and len(err) < 300


CHECKPOINTS = Path(__file__).parent / "golden" / "checkpoints"


def contents(value):
    """A tree with type, shape and checksum in place of each array."""
    if isinstance(value, dict):
        return {key: contents(each) for key, each in value.items()}
    if isinstance(value, list):
        return [contents(each) for each in value]
    if isinstance(value, np.ndarray):
        return [str(value.dtype), list(value.shape), hashlib.sha256(value.tobytes()).hexdigest()[:16]]
    return value


@pytest.mark.parametrize("name", ["ppo", "selfplay", "mappo"])
@pytest.mark.filterwarnings("ignore:.*the last bits may differ")
def test_f_17_a_checkpoint_is_read_bit_for_bit_and_the_run_goes_on(name, tmp_path):
    state = tree.read(CHECKPOINTS / name / "checkpoints" / "000000002.safetensors", KIND)
    assert contents(state) == json.loads((CHECKPOINTS / "expected.json").read_text())[name]
    run = shutil.copytree(CHECKPOINTS / name, tmp_path / "run")
    result = minirl.train(resume=run)
    assert [update.number for update in result.history] == [3, 4]
    assert json.loads((run / "config.json").read_text())["resumed"][0]["exact"] is True
