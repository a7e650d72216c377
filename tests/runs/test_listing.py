"""[USE-10] `minirl list --runs`: what differs between runs and how far each has come, in hostile folders too."""

import csv
import json
import os
import re
import stat

import pytest
from processes import one_sentence

import minirl
from minirl.cli import main
from minirl.cli.tables import run_lines
from minirl.errors import FileError
from minirl.runs.listing import find_runs, read_run, what_differs
from minirl.runs.metrics_reading import END, read_csv, read_ends

SMALL = {"num_envs": 2, "num_steps": 32, "total_timesteps": 128, "hidden": (8,)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Four runs of two algorithms: two seeds, two δ."""
    runs = tmp_path_factory.mktemp("work") / "runs"
    for name, algorithm, fields in (
        ("a", "trpo", {"delta": 0.02}),
        ("b", "trpo", {"seed": 1}),
        ("c", "ppo", {}),
        ("d", "ppo", {"env_kwargs": {"max_episode_steps": 7}, "target_kl": 0.5}),
    ):
        minirl.train(algorithm, run=runs / name, **SMALL, **fields)
    (runs / "no run").mkdir()
    (runs / "file").write_text("")
    return runs


def shown(capsys, monkeypatch, *words, columns=120):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["list", "--runs", *map(str, words)]) == 0
    return capsys.readouterr().out.splitlines()


def test_use_10_what_differs_the_last_return_and_the_steps(runs, capsys, monkeypatch):
    monkeypatch.chdir(runs.parent)
    head, *lines = shown(capsys, monkeypatch)
    assert head.split() == ["run", "last", "return", "steps", "what", "differs"]
    expected = {
        "a": "algorithm=trpo seed=0 delta=0.02",
        "b": "algorithm=trpo seed=1 delta=0.01",
        "c": "algorithm=ppo seed=0 target_kl=None",
        "d": "algorithm=ppo seed=0 target_kl=0.5 env_kwargs.max_episode_steps=7",
    }
    for line, (name, differs) in zip(lines, expected.items(), strict=True):
        with open(runs / name / "metrics.csv", newline="") as file:
            returns = [row["charts/episodic_return"] for row in csv.DictReader(file)]
        assert re.split(r"\s{2,}", line) == [name, f"{float([r for r in returns if r][-1]):.2f}", "128", differs]
    assert shown(capsys, monkeypatch, "runs") == [head, *lines]


def test_use_10_one_run_and_several_folders(runs, capsys, monkeypatch):
    monkeypatch.chdir(runs.parent)
    _, line = shown(capsys, monkeypatch, "runs/a")
    assert line.split()[0] == "a" and line.endswith("algorithm=trpo env=CartPole-v1 seed=0")
    _, *lines = shown(capsys, monkeypatch, "runs/a", "runs/b")
    assert [re.split(r"\s{2,}", line)[::3] for line in lines] == [
        ["runs/a", "seed=0 delta=0.02"],
        ["runs/b", "seed=1 delta=0.01"],
    ]


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_use_10_lines_stay_inside_the_terminal(columns, runs):
    lines = list(run_lines(find_runs(runs), columns))
    assert max(map(len, lines)) <= max(columns, 31)
    assert "target_kl=0.5" in " ".join(" ".join(lines).split())


def test_unreadable_runs_say_nothing_of_the_others(runs, tmp_path):
    hostile(tmp_path / "bad", config="{")
    assert what_differs([read_run(tmp_path / "bad"), read_run(runs / "a"), read_run(runs / "a")]) == [[], [], []]


def test_folders_without_runs_are_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    for words, said in (
        ([], "runs cannot be read: No such file or directory"),
        (["file"], "file cannot be read: Not a directory"),
        (["empty"], "empty holds no runs: none of its folders has a config.json"),
        ([os.devnull], f"{os.devnull} cannot be read: Not a directory"),
        (["a\0b"], "a\\x00b cannot be read: embedded null byte"),
        (["x" * 5000], "x" * 5000),
    ):
        assert main(["list", "--runs", *words]) == 2
        assert one_sentence(capsys.readouterr().err).startswith(said[:3000])


# ---------------------------------------------------------------------------------------------------- hostile folders

CONFIG = {"config": {"env": "E", "seed": 1, "lr": 0.1}, "algorithm": "ppo"}
METRICS = "update,global_step,charts/episodic_return\n1,8,\n2,16,3.5\n3,24,\n"


def hostile(folder, config=None, metrics=METRICS):
    """A folder whose config.json or metrics.csv is text, bytes, or made by a function of the path."""
    folder.mkdir()
    for name, content in (("config.json", json.dumps(CONFIG) if config is None else config), ("metrics.csv", metrics)):
        if callable(content):
            content(folder / name)
        elif content is not None:
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def device(path):
    path.symlink_to("/dev/zero")


def sparse(path):
    with open(path, "wb") as file:
        file.truncate(20 << 30)


def loop(path):
    path.symlink_to(path.name)


NO_CONFIG = {
    "a pipe": os.mkfifo,
    "a device": device,
    "a directory": os.mkdir,
    "a loop": loop,
    "20 GB of zeros": sparse,
    "nothing in it": "",
    "no JSON": "{",
    "not UTF-8": b"\xff\xfe\x00",
    "nested": "[" * 100_000,
    "a list": "[]",
    "no object inside": '{"config": null, "algorithm": 3}',
    "a list inside": '{"config": ["env", "seed"], "algorithm": "ppo"}',
    "a key twice": '{"config": {"env": "E", "env": "F", "seed": 1}, "algorithm": "ppo"}',
    "not finite": '{"config": {"env": "E", "seed": NaN}, "algorithm": "ppo"}',
    "5000 digits": '{"config": {"env": "E", "seed": %s}, "algorithm": "ppo"}' % ("9" * 5000),
}
NO_METRICS = {
    "a pipe": os.mkfifo,
    "a device": device,
    "a directory": os.mkdir,
    "not there": None,
    "nothing in it": "",
    "random": bytes(range(256)) * 1000,
    "zeros": b"\0" * 100_000,
    "words": "update,global_step,charts/episodic_return\n1,x,y\n",
    "one long line": "a" * 10_000_000,
    "a long field": 'update,global_step,charts/episodic_return\n1,2,"' + "a" * 200_000 + '"\n',
}


@pytest.mark.parametrize("kind", NO_CONFIG)
def test_use_10_a_configuration_that_is_none_is_named(kind, tmp_path):
    hostile(tmp_path / "bad", config=NO_CONFIG[kind])
    hostile(tmp_path / "good")
    bad, good = find_runs(tmp_path)
    assert "config.json" in bad.unreadable and not bad.setting
    assert (good.last_return, good.steps, good.unreadable) == ("3.50", "24", "")
    assert len(list(run_lines([bad, good], 1000))) == 3


@pytest.mark.parametrize("kind", NO_METRICS)
def test_use_10_metrics_that_are_none_are_named(kind, tmp_path):
    hostile(tmp_path / "bad", metrics=NO_METRICS[kind])
    bad = read_run(tmp_path / "bad")
    assert bad.unreadable.startswith("no metrics: ") and bad.which["env"] == "E" and bad.steps == "–"


def test_use_10_a_huge_file_of_zeros_ends_at_once(tmp_path, monkeypatch):
    hostile(tmp_path / "huge", metrics=lambda path: sparse(path) or path.open("r+b").write(METRICS.encode()))
    assert read_run(tmp_path / "huge").last_return == "–"
    monkeypatch.setattr("minirl.runs.metrics_reading.MAX_CSV", 1 << 20)
    with pytest.raises(ValueError, match="at most 1048576 are read"):
        read_csv(tmp_path / "huge" / "metrics.csv")


def test_use_10_names_that_steer_a_terminal(tmp_path, capsys, monkeypatch):
    evil = "ev\x1b[31mil\n\u202e"
    hostile(tmp_path / evil, config=json.dumps({"config": {"env": evil, "seed": {evil: [evil]}}, "algorithm": [evil]}))
    hostile(tmp_path / "good")
    lines = shown(capsys, monkeypatch, tmp_path)
    assert len(lines) == 4 and all(line.isprintable() for line in lines) and "\\x1b[31m" in lines[1]


def test_use_10_links_to_itself_are_followed_once(tmp_path):
    hostile(tmp_path / "run")
    (tmp_path / "again").symlink_to(tmp_path)
    (tmp_path / "round").symlink_to("round")
    assert [run.name for run in find_runs(tmp_path)] == ["run"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_use_10_what_may_not_be_read_is_named(tmp_path):
    hostile(tmp_path / "secret")
    (tmp_path / "secret" / "config.json").chmod(0)
    assert "Permission denied" in read_run(tmp_path / "secret").unreadable
    (tmp_path / "secret" / "config.json").chmod(stat.S_IRUSR)


@pytest.mark.parametrize("rows", [0, 1, 2, 7000, 40_000])
def test_the_ends_of_a_file_are_those_of_the_whole(rows, tmp_path):
    """Files shorter and longer than what is read of them, the last line cut by a kill."""
    path = tmp_path / "metrics.csv"
    path.write_text("update,global_step,r\n" + "".join(f"{i},{i * 8},{i / 7}\n" for i in range(rows)) + "9,9")
    columns, last = read_ends(path)
    whole = read_csv(path)
    assert columns == list(whole) and (rows * 30 < END or len(last) < rows)
    for i, name in enumerate(columns):
        assert [row[i] for row in last] == whole[name][len(whole[name]) - len(last) :]
    assert bool(last) == bool(rows)


def test_the_error_of_a_folder_is_a_file_error(tmp_path):
    with pytest.raises(FileError, match="cannot be read"):
        find_runs(tmp_path / "nowhere")
