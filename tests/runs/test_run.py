"""The run directory: what is in it, who may write to it, and what is left after a signal, a kill or an error."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import broken_envs
import gymnasium
import numpy as np
import pytest
from processes import (
    PATIENCE,
    SMALL,
    cli,
    environment,
    one_sentence,
    python,
    rows,
    start,
    wait_until,
    without_twins,
)

import minirl
from minirl.cli import main
from minirl.cli.live import PlainView, sparkline
from minirl.deploy import policy_file
from minirl.errors import FileError, RunInUseError, UserError
from minirl.files import safetensors
from minirl.runs.directory import open_run
from minirl.runs.metrics import CsvWriter, JsonlWriter, row_of
from minirl.runs.metrics_reading import read_csv
from minirl.runs.plot import band, read_curve, smooth
from minirl.training.learner import Update


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run of PPO on Pendulum, tracked by TensorBoard, in a directory of its own:
    (directory, what was printed).
    """
    cwd = tmp_path_factory.mktemp("trained")
    done = cli(
        "train", "ppo", "--env", "Pendulum-v1", "--total-timesteps", 1000, "--track", "tensorboard", *SMALL, cwd=cwd
    )
    assert done.returncode == 0, done.stderr
    return cwd / "runs" / "Pendulum-v1-ppo-0-1", done


def read_metrics(run):
    """metrics.csv and metrics.jsonl as lists of rows of text."""
    with open(run / "metrics.csv", newline="") as file:
        table = list(csv.DictReader(file))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return table, [{tag: "" if value is None else str(value) for tag, value in line.items()} for line in lines]


def test_a_finished_run_has_its_files(trained):
    run, _ = trained
    names = {"config.json", "metrics.csv", "metrics.jsonl", "policy.safetensors", "curve.png", "tensorboard", ".lock"}
    names |= {"checkpoints"}
    assert set(os.listdir(run)) == names
    assert (run / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_config_says_how_it_was_run(trained):
    run, _ = trained
    about = json.loads((run / "config.json").read_text())
    assert about["algorithm"] == "ppo" and about["config"]["env"] == "Pendulum-v1" and about["config"]["hidden"] == [8]
    assert about["versions"]["minirl"] == minirl.__version__ and about["versions"]["numpy"] == np.__version__
    assert (
        about["core"] in ("compiled", "twins")
        and about["machine"]["cores"] >= 1
        and about["threads"]["OMP_NUM_THREADS"] == "1"
    )
    assert about["command"].startswith("minirl train ppo --env Pendulum-v1") and about["started"].endswith("+00:00")


def test_both_metrics_files_hold_the_same_rows(trained):
    table, lines = read_metrics(trained[0])
    assert table == lines and len(table) == 8
    assert list(table[0])[:3] == ["update", "global_step", "charts/episodic_return"]
    assert [row["global_step"] for row in table] == [str(128 * (i + 1)) for i in range(8)]
    # none ends in 64 steps
    assert table[0]["charts/episodic_return"] == "" and float(table[3]["charts/episodic_return"]) < 0


def test_tensorboard_reads_the_same_numbers(trained):
    event_file = pytest.importorskip("tensorboardX.proto.event_pb2")
    import struct

    (path,) = (trained[0] / "tensorboard").iterdir()
    data, at, seen = path.read_bytes(), 0, {}
    while at < len(data):  # TFRecord: length, its checksum, the event, its checksum
        (length,) = struct.unpack_from("<Q", data, at)
        event = event_file.Event.FromString(data[at + 12 : at + 12 + length])
        at += 16 + length
        for value in event.summary.value:
            seen[value.tag, event.step] = value.simple_value
    table, _ = read_metrics(trained[0])
    expected = {
        (tag, int(row["global_step"])): float(v)
        for row in table
        for tag, v in row.items()
        if v and "/" in tag and tag not in ("step/status", "step/refused")
    }
    assert seen.keys() == expected.keys()
    assert np.allclose(list(seen.values()), [expected[key] for key in seen], rtol=1e-6)


def test_directories_are_numbered_from_the_first_free_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "ALE_Pong-v5-ppo-3-2").mkdir(parents=True)
    for number in (1, 3):
        with open_run("auto", "ALE/Pong-v5", "ppo", 3) as run:
            run.start({})
            assert run.name == f"runs/ALE_Pong-v5-ppo-3-{number}" and run.path == tmp_path / run.name


M35 = ["../../etc/x", "/abs", "..", ".", "", "x" * 300, "a/b", "CON", "a b\n=cmd()", "x\x1b[2J", "<script>", "x "]
M35 += ["mod.ule:Env-v0", "-rf", ".hidden", "a\\b", "nul\0", "\udcff", "é", "\u202e", "%2e%2e%2f"]


@pytest.mark.parametrize("name", M35, ids=range(len(M35)))
def test_m35_environment_names_cannot_lead_elsewhere(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open_run("auto", name, "ppo", 0) as run:
        run.start({})
    (made,) = (tmp_path / "runs").iterdir()
    assert os.listdir(tmp_path) == ["runs"] and made.name[0] not in ".-" and len(made.name) <= 100
    assert made.name.endswith("-ppo-0-1") and not set(made.name) - set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
    )


def test_a_run_that_never_starts_leaves_nothing(tmp_path):
    with open_run(tmp_path / "new", "E", "ppo", 0):
        assert (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    with open_run(tmp_path / "old", "E", "ppo", 0):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["old"]


def test_f_14_a_directory_has_one_writer(tmp_path):
    with open_run(tmp_path, "E", "ppo", 0), pytest.raises(RunInUseError, match=f"in use by process {os.getpid()} on "):
        open_run(tmp_path, "E", "ppo", 0)
    with open_run(tmp_path, "E", "ppo", 0):
        pass


def test_f_13_unusable_directories_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below", "/proc/nowhere"):
        with pytest.raises(FileError, match="cannot be used"):
            open_run(path, "E", "ppo", 0)
    assert (tmp_path / "file").read_text() == ""


def test_temporary_files_of_a_killed_process_are_swept(tmp_path):
    (tmp_path / ".policy.safetensors.123.tmp").write_text("half")
    open_run(tmp_path, "E", "ppo", 0).close()
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_tag_that_comes_later_gets_a_column(tmp_path):
    writers = CsvWriter(tmp_path / "m.csv"), JsonlWriter(tmp_path / "m.jsonl")
    for row in ({"update": 1, "global_step": 8, "a": 0.1}, {"update": 2, "global_step": 16, "b": "x,y", "a": None}):
        for writer in writers:
            writer.write(row)
    for writer in writers:
        writer.close()
    assert read_csv(tmp_path / "m.csv") == {
        "update": ["1", "2"],
        "global_step": ["8", "16"],
        "a": ["0.1", ""],
        "b": ["", "x,y"],
    }


def test_rows_hold_plain_numbers_and_none_for_what_is_not_finite():
    values = {"a": np.float32(0.5), "b": np.nan, "c": -np.inf, "d": np.int64(3), "e": "status", "f": True}
    update = Update(1, 2, values, np.array([]), np.array([]))
    assert row_of(update) == {
        "update": 1,
        "global_step": 2,
        "a": 0.5,
        "b": None,
        "c": None,
        "d": 3,
        "e": "status",
        "f": True,
    }


def test_f_03_a_full_disk_does_not_stop_the_training(tmp_path):
    """Files may hold 3000 bytes:
    the metrics do not fit, the training ends, and the exit code says that something is missing.
    """
    code = f"""
import resource, signal, sys, warnings
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
from minirl.cli import main
sys.exit(main(["train", "ppo", "--total-timesteps", "2000", "--run", "full", *{SMALL!r}]))"""
    done = python("-c", code, cwd=tmp_path)
    assert done.returncode == 2 and "100%" in done.stdout
    assert "the training goes on" in done.stderr and "metrics cannot be written: File too large" in done.stderr
    assert policy_file.load(tmp_path / "full")  # 600 bytes of it fit


# -------------------------------------------------------------------------------------------- signals, kills and errors


def begin(tmp_path, *flags, env="CartPole-v1"):
    """A run that would not end, three updates after its start."""
    process = start(
        "train", "ppo", "--env", env, "--total-timesteps", 10**9, "--run", "run", *SMALL, *flags, cwd=tmp_path
    )
    wait_until(lambda: rows(tmp_path / "run" / "metrics.jsonl") >= 3, process)
    return process


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"])
def test_f_09_a_signal_stops_the_run_and_everything_is_saved(signum, code, tmp_path):
    process = begin(tmp_path)
    process.send_signal(signum)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code and "Traceback" not in err
    assert out.splitlines()[-2].startswith(f"stopped by {signum.name} after ")
    assert out.splitlines()[-1] == "to go on: minirl resume run"
    table, lines = read_metrics(tmp_path / "run")
    assert table == lines and len(table) >= 3
    assert minirl.evaluate(tmp_path / "run", episodes=1).returns.shape == (1,)
    assert not (tmp_path / "run" / "curve.png").exists()  # drawing may take seconds: `minirl plot` does it


def test_f_09_the_second_signal_ends_the_process_at_once(tmp_path):
    """An environment takes no notice of the first signal and never ends its step: the second one does."""
    flags = ("--env", "broken_envs:Endless-v0", "--no-check-env", "--vectorization", "sync", "--run", "run")
    process = start("train", "ppo", *flags, *SMALL, cwd=tmp_path)
    wait_until(lambda: (tmp_path / "waits").exists(), process)
    process.send_signal(signal.SIGINT)
    wait_until(lambda: (tmp_path / "heard").exists(), process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 130


def test_f_14_a_running_directory_is_refused_and_f_08_a_kill_frees_it(tmp_path):
    process = begin(tmp_path, "--save-every", 1)
    second = cli("train", "trpo", "--run", "run", cwd=tmp_path)
    assert second.returncode == 3 and "run is in use by process " in one_sentence(second.stderr)
    process.kill()
    process.communicate()
    third = cli("train", "trpo", "--run", "run", cwd=tmp_path)
    assert third.returncode == 2 and "already holds a run" in one_sentence(third.stderr)
    agent, about = policy_file.load(tmp_path / "run")  # written whole, whenever the kill came
    assert about["env"] == "CartPole-v1" and np.isfinite(agent.theta).all()
    read_curve(tmp_path / "run")


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
def test_f_09_ctrl_c_reaches_the_workers_too_and_they_stay_quiet(tmp_path):
    pids = tmp_path / "pids"
    flags = (
        "--env",
        "broken_envs:Prints-v0",
        "--vectorization",
        "async",
        "--no-check-env",
        "--total-timesteps",
        "1000000",
        "--run",
        "run",
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "minirl", "train", "ppo", *flags, *SMALL],
        cwd=tmp_path,
        env=environment(PIDS=str(pids)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )
    wait_until(lambda: rows(tmp_path / "run" / "metrics.jsonl") >= 1, process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130 and "Traceback" not in err
    policy_file.load(tmp_path / "run")
    for pid in {int(line) for line in pids.read_text().split()} - {process.pid}:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_f_11_a_nan_reward_stops_with_the_last_finite_policy(tmp_path):
    done = cli("train", "ppo", "--env", "broken_envs:NaNReward-v0", "--run", "run", *SMALL, cwd=tmp_path)
    assert done.returncode == 1
    assert one_sentence(done.stderr).startswith("reward is not finite, env=0, step=100: ")
    assert np.isfinite(policy_file.load(tmp_path / "run")[0].theta).all()
    table, lines = read_metrics(tmp_path / "run")
    assert table == lines and len(table) == 1


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_f_05_an_environment_that_raises_is_named_and_the_traceback_kept(tmp_path, vectorization):
    how = ("--vectorization", vectorization)
    done = cli("train", "trpo", "--env", "broken_envs:Raises-v0", *how, "--run", "run", *SMALL, cwd=tmp_path)
    assert done.returncode == 1
    sentence = one_sentence(done.stderr)
    said = "env=0, step=100: the environment raised ZeroDivisionError: no such place (broken_envs.py:"
    assert sentence.startswith(said) and "policy after 128 steps" in sentence
    assert "ZeroDivisionError" in (tmp_path / "run" / "traceback.txt").read_text()
    policy_file.load(tmp_path / "run")


def test_f_18_nobody_reads_the_output(tmp_path):
    train = f"'{sys.executable}' -m minirl train ppo --total-timesteps 1000 --run run {' '.join(SMALL)}"
    command = f"{train} | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environment(), capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0 and done.stdout.count("\n") == 1 and "Broken" not in done.stderr
    assert len(read_metrics(tmp_path / "run")[0]) == 8


# ------------------------------------------------------------------------------------------------- the policy in a file


def test_m32_descriptions_that_disagree_with_the_arrays_are_refused(trained, tmp_path):
    arrays, metadata = safetensors.read(trained[0] / policy_file.FILE, any_value=policy_file.BOUNDS)
    about = json.loads(metadata["minirl"])

    def attempt(arrays=arrays, text=None, **changes):
        safetensors.write(
            tmp_path / "a", arrays, {"minirl": text or json.dumps(about | changes)}, any_value=policy_file.BOUNDS
        )
        return policy_file.load(tmp_path / "a")

    assert np.array_equal(attempt()[0].theta, arrays["theta"])
    changes = [{"format": v} for v in (0, 3, 10**9, -1, "1", True, None)]  # M31
    changes += [{"activation": v} for v in ("os.system", "__class__", None, 3)]  # M33
    changes += [{"hidden": v} for v in ([], [7], [0], [-8], [8.0], "8", [1 << 40], [8] * 1000, None, 8)]
    changes += [{"dtype": "float64"}, {"family": "categorical"}, {"env": "a\nb"}, {"env": 3}, {"algorithm": "\ud800"}]
    changes += [
        {"obs": about["obs"] | v}
        for v in ({"kind": "dict"}, {"shape": [4]}, {"shape": [1 << 63]}, {"shape": None}, {"start": 0.5})
    ]
    changes += [
        {"action": about["action"] | v}
        for v in ({"kind": "x"}, {"dtype": "object"}, {"shape": [2]}, {"kind": "discrete"})
    ]
    changes += [{"obs": None}, {"obs": []}, {"action": {}}]
    for change in changes:
        with pytest.raises(FileError, match="holds no minirl policy"):
            attempt(**change)
    # M40
    for name, value in (("obs_m2", -arrays["obs_m2"]), ("obs_count", np.array(-1.0)), ("theta", arrays["theta"][1:])):
        with pytest.raises(FileError, match="holds no minirl policy"):
            attempt(arrays=arrays | {name: value})
    for name in ("theta", "obs_m2", "action_low"):
        with pytest.raises(FileError, match="holds no minirl policy"):
            attempt(arrays={k: v for k, v in arrays.items() if k != name})
    for text in ("{", "[]", "{}", '{"format":1,"format":1}', '{"format":NaN}', "[" * 10_000):
        with pytest.raises(FileError, match="holds no minirl policy"):
            attempt(text=text)


def test_loading_runs_nothing_and_imports_nothing(trained, tmp_path):
    """[S1, S6] An audit hook sees every import, process and connection;
    numpy and the package are imported before it listens.
    """
    code = f"""
import sys
import minirl.deploy, json, hashlib
minirl.deploy.load({str(trained[0])!r})  # once: encodings and the like
seen = []
sys.addaudithook(lambda event, args: seen.append(event))
agent = minirl.deploy.load({str(trained[0])!r})
kinds = ("import", "exec", "compile", "subprocess", "socket")
bad = [e for e in seen if e.split(".")[0] in kinds or e in ("os.system", "os.exec")]
assert not bad, bad
assert "gymnasium" not in sys.modules"""
    done = python("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


# -------------------------------------------------------------------------------------------------------- what is shown


def test_smoothing_keeps_constants_ends_and_length():
    x = np.arange(50.0)
    assert (
        np.allclose(smooth(x, 0.2), x)
        and smooth(np.array([])).shape == (0,)
        and smooth(np.array([3.0])).tolist() == [3.0]
    )
    spike = np.zeros(41)
    spike[20] = 1
    assert np.isclose(smooth(spike, 0.25).sum(), 1) and smooth(spike, 0.25).max() < 0.2


def test_a_band_is_the_mean_and_deviation_where_all_runs_have_points(trained):
    one = read_curve(trained[0])
    other = one.__class__(one.env, one.algorithm, 1, one.step + 100, one.value + 2)
    step, mean, low, high = band([one, other], "std")
    assert step[0] == other.step[0] and step[-1] == one.step[-1]
    assert np.isfinite(mean).all() and (high >= low).all() and np.allclose((low + high) / 2, mean)
    step, mean, low, high = band([one, one], "std")
    assert np.allclose(mean, np.interp(step, one.step, one.value)) and np.allclose(low, high)


def test_sparkline_fits_and_shows_the_shape():
    assert sparkline([], 10) == "" and sparkline([1.0], 10) == "▁" and sparkline([1.0], 0) == ""
    assert sparkline([0.0, 7.0, 3.5], 3) == "▁█▅"
    assert len(sparkline(list(range(1000)), 12)) == 12


def test_f_12_a_view_does_not_mind_the_clock(monkeypatch, capsys):
    monkeypatch.setattr(time, "time", lambda: -1e9)
    view = PlainView(100)
    for number in range(1, 11):
        view.show(Update(number, 10 * number, {"charts/episodic_return": np.nan}, np.array([]), np.array([])))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[0].startswith(" 10%  step 10/100  return –") and lines[1].startswith("100%")


def test_only_our_own_temporary_files_are_swept(tmp_path):
    """A directory may hold other people's files: `--run .` must not remove them."""
    foreign, ours = tmp_path / ".notes.tmp", tmp_path / ".metrics.csv.123.tmp"
    foreign.write_text("mine")
    ours.write_text("left by a killed run")
    with open_run(tmp_path, "E", "ppo", 0):
        assert foreign.read_text() == "mine" and not ours.exists()
    assert foreign.exists()


@pytest.mark.parametrize(
    ("algorithm", "fields"),
    [("reinforce", {}), ("npg", {}), ("trpo", {}), ("ppo", {"objective": "kl", "target_kl": 0.1})],
)
def test_every_column_is_explained(algorithm, fields, tmp_path):
    """docs/metrics.md names each column of this algorithm in a row that has the algorithm, or all."""
    result = minirl.train(
        algorithm, run=tmp_path / "run", num_envs=2, num_steps=32, total_timesteps=64, minibatch_size=32, **fields
    )
    columns = (result.run / "metrics.csv").read_text().splitlines()[0].split(",")
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text("utf-8")
    rows = [line.split("|")[1:3] for line in page.splitlines() if line.startswith("| `")]
    for column in columns:
        assert [who for names, who in rows if f"`{column}`" in names and ("all" in who or algorithm in who)], column


# ---------------------------------------------------------------------------------- where it is, and what happens to it


class Meddler(broken_envs.Still):
    """`fault` is executed once, in the second rollout of 64 steps; the run directory is called run."""

    def __init__(self, fault=""):
        self.code = fault

    def fault(self, step):
        if step == 70:
            exec(self.code, {"os": os, "shutil": shutil, "sys": sys, "Path": Path})
        return 1.0


gymnasium.register("Meddler-v0", Meddler, disable_env_checker=True)


@pytest.fixture
def meddled(tmp_path, monkeypatch, capsys):
    """A function: a training of three updates in which the environment does `fault` -> exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def train(fault):
        size = "--num-envs=1 --num-steps=64 --total-timesteps=192 --hidden=8 --eval-episodes=0 --save-every=1"
        line = f"train ppo {size} --env Meddler-v0 --no-check-env --run run --env-kwargs"
        code = main([*line.split(), f"fault={fault}"])
        return code, *capsys.readouterr()

    return train


def test_bug_36_an_environment_may_change_the_current_directory(meddled, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    code, out, err = meddled("os.chdir('elsewhere')")
    assert code == 0 and out.splitlines()[-1].endswith("saved in run") and without_twins(err) == ""
    assert {"config.json", "metrics.csv", "policy.safetensors", "curve.png"} <= set(os.listdir(tmp_path / "run"))
    assert len(read_metrics(tmp_path / "run")[0]) == 3 and not os.listdir(tmp_path / "elsewhere")


def test_bug_36_so_may_a_module_when_it_is_imported(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    code = "import os, gymnasium, broken_envs\nos.chdir('elsewhere')\n"
    code += "gymnasium.register('Wanders-v0', broken_envs.Still)\n"
    (tmp_path / "wanders.py").write_text(code)
    small = {"num_steps": 16, "total_timesteps": 64, "hidden": (8,)}
    assert minirl.train("ppo", "wanders:Wanders-v0", run="run", **small).run == tmp_path / "run"
    assert policy_file.load(tmp_path / "run") and not os.listdir(tmp_path / "elsewhere")


@pytest.mark.parametrize("run", ["", " ", "a\0b", 3])
def test_bug_36_a_run_without_a_name_is_refused(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match=r"^run = .*: takes the name of a directory"):
        minirl.train("ppo", run=run, num_steps=16, total_timesteps=64)
    assert not os.listdir(tmp_path)


GONE = "was removed, replaced or cut short in mid-run"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("os.remove('run/metrics.csv')", f"run/metrics.csv {GONE}"),
        ("os.remove('run/metrics.jsonl')", f"run/metrics.jsonl {GONE}"),
        ("os.remove('run/metrics.csv'); Path('run/metrics.csv').write_text('mine')", f"run/metrics.csv {GONE}"),
        ("open('run/metrics.jsonl', 'w').close()", f"run/metrics.jsonl {GONE}"),
        ("shutil.rmtree('run')", f"run/metrics.csv {GONE}"),
        (
            "os.remove('run/policy.safetensors'); os.mkdir('run/policy.safetensors')",
            "policy.safetensors cannot be written",
        ),
    ],
    ids=["csv removed", "jsonl removed", "csv replaced", "jsonl cut", "directory removed", "no place for the policy"],
)
@pytest.mark.filterwarnings("default")
def test_bug_36_what_is_lost_in_mid_run_is_said_and_shows_in_the_exit_code(fault, said, meddled, tmp_path):
    code, out, err = meddled(fault)
    assert code == 2 and "saved in" not in out
    warned, last = without_twins(err).splitlines()
    assert said in warned and warned.endswith("the training goes on") and said in last
    if "policy" not in fault:
        assert last.endswith("; the policy is in run") and policy_file.load(tmp_path / "run")
    if "mine" in fault:
        assert (tmp_path / "run" / "metrics.csv").read_text() == "mine"


@pytest.mark.filterwarnings("default")
def test_bug_36_the_directory_of_somebody_else_is_left_alone(meddled, tmp_path):
    code, _, err = meddled("shutil.rmtree('run'); os.mkdir('run'); open('run/.lock', 'w').close()")
    assert code == 2 and "run directory run was replaced by another in mid-run" in err
    assert os.listdir(tmp_path / "run") == [".lock"]


def test_bug_36_a_record_that_was_removed_is_written_again(meddled, tmp_path):
    code, _, err = meddled("os.remove('run/config.json'); os.remove('run/policy.safetensors')")
    assert code == 0 and without_twins(err) == ""
    assert json.loads((tmp_path / "run" / "config.json").read_text())["algorithm"] == "ppo"
    assert policy_file.load(tmp_path / "run") and (tmp_path / "run" / "curve.png").exists()


@pytest.mark.filterwarnings("default")
def test_bug_36_of_two_errors_the_first_one_is_told(meddled):
    code, _, err = meddled("os.remove('run/metrics.csv'); 1 / 0")
    warned, last = without_twins(err).splitlines()
    said = "minirl: env=0, step=70: the environment raised ZeroDivisionError: division by zero ("
    assert code == 1 and GONE in warned and last.startswith(said)


def test_rows_that_a_full_disk_kept_back_are_there_when_a_column_comes(tmp_path):
    writer = CsvWriter(tmp_path / "m.csv")
    writer.waiting.append({"update": 1, "global_step": 8})  # not on the disk yet
    writer.write({"update": 2, "global_step": 16, "new": 0.5})
    writer.close()
    assert read_csv(tmp_path / "m.csv") == {"update": ["1", "2"], "global_step": ["8", "16"], "new": ["", "0.5"]}


def test_use_05_tracking_without_a_run_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UserError, match=r"^track = 'tensorboard': it is written into a run directory; name one as `run`"
    ):
        minirl.train("ppo", track="tensorboard")


@pytest.mark.parametrize("status", ["3", "'stuck'", ""])
def test_bug_38_an_environment_that_ends_the_program_is_named(status, meddled, tmp_path):
    code, _, err = meddled(f"sys.exit({status})")
    said = f": {status.strip(chr(39))}" if status else ""
    assert code == 1 and f"the environment raised SystemExit{said} (" in one_sentence(err)
    assert "policy after 64 steps and the traceback are in run" in err
    assert "SystemExit" in (tmp_path / "run" / "traceback.txt").read_text()
