"""[EXT-3] Checkpoints kept with a run, and the tournament among them."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

import minirl
from minirl.cli import main
from minirl.errors import ConfigError, FileError
from minirl.multiagent import league
from minirl.multiagent.league import elo, spearman, tournament
from minirl.multiagent.opponent_pool import SCALE, Pool

SMALL = {"num_envs": 8, "num_steps": 8, "minibatch_size": 32, "hidden": (8,), "epochs": 1, "pool_every": 2}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of ten updates of 64 moves on tic-tac-toe."""
    path = tmp_path_factory.mktemp("league") / "r"
    minirl.train("selfplay", "minirl/TicTacToe-v0", run=path, total_timesteps=640, **SMALL)
    return path


def expected(ratings):
    return 1 / (1 + 10 ** ((ratings[None] - ratings[:, None]) / SCALE))


# ----------------------------------------------------------------------------------------------------------- the files


def test_checkpoints_are_files_of_policies_by_their_step(run):
    agents, env = league.load(run)
    assert list(agents) == [128, 256, 384, 512, 640] and env == "minirl/TicTacToe-v0"
    assert np.array_equal(agents[640].theta, minirl.load(run).theta)
    assert not np.array_equal(agents[128].theta, agents[640].theta)
    members = json.loads((run / "league.json").read_text())["members"]
    assert [member["step"] for member in members] == [0, *agents]
    assert list(league.load(run, 3)[0]) == [128, 384, 640]


def test_those_that_left_the_pool_are_removed_and_the_others_not_written_again(run, tmp_path):
    agent = minirl.load(run)
    pool = Pool(4, "latest", np.random.default_rng(0))
    for step in (10, 20, 30):
        pool.add(agent, step)
    league.save(tmp_path, pool, "selfplay", "minirl/TicTacToe-v0", {})
    kept = tmp_path / "league" / "20.safetensors"
    assert list(league.load(tmp_path)[0]) == [10, 20, 30]
    before = kept.stat()
    pool.add(agent, 40)  # one too many: 0, 20 and 40 stay
    league.save(tmp_path, pool, "selfplay", "minirl/TicTacToe-v0", {})
    assert list(league.load(tmp_path)[0]) == [20, 40]
    assert (kept.stat().st_ino, kept.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_run_without_checkpoints_is_one_sentence(tmp_path, capsys):
    with pytest.raises(FileError, match="holds no checkpoints: takes the run directory of `minirl train selfplay`"):
        tournament(tmp_path)
    assert main(["league", str(tmp_path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_broken_checkpoint_is_one_sentence(run, tmp_path, capsys):
    (tmp_path / "league").mkdir()
    (tmp_path / "league" / "7.safetensors").write_bytes(b"no policy")
    assert main(["league", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert "7.safetensors" in err and len(err.splitlines()) == 1


# ------------------------------------------------------------------------------------------------------ the tournament


def test_everybody_plays_everybody_and_the_sums_are_zero(run):
    played = tournament(run, games=20, seed=1)
    assert played.steps.tolist() == [0, 128, 256, 384, 512, 640] and played.games == 20
    assert np.array_equal(played.payoff, -played.payoff.T) and np.abs(played.payoff).max() <= 1
    assert np.allclose(played.points + played.points.T, 1) and (np.diag(played.points) == 0.5).all()
    assert np.allclose(played.points, (played.payoff + 1) / 2)  # payoffs of tic-tac-toe are 1, 0 and −1
    assert abs(played.elo.sum()) < 1e-6
    again = tournament(run, games=20, seed=1)
    assert np.array_equal(played.payoff, again.payoff) and not np.array_equal(
        played.payoff, tournament(run, games=20, seed=2).payoff
    )
    assert len(played.lines()) == 8 and played.lines()[1].split()[0] == "random"


def test_a_player_who_wins_every_game_is_first(run, tmp_path):
    """tic-tac-toe: a checkpoint beside one that always takes the first free cell in reading order, from the end."""
    agent = minirl.load(run)
    pool = Pool(9, "latest", np.random.default_rng(0))
    order = agent.theta * 0
    order[-9:] = np.arange(9) * 30.0  # the head's biases: the last free cell, surely
    pool.add(dataclasses.replace(agent, theta=order), 1)
    league.save(tmp_path, pool, "selfplay", "minirl/TicTacToe-v0", {})
    played = tournament(tmp_path, games=400)
    assert played.payoff[1, 0] > 0.1 and played.elo[1] > 0 > played.elo[0]  # 6, 7, 8 is a line


@pytest.mark.parametrize(("games", "checkpoints"), [(1, 20), (10, 0)])
def test_too_few_of_anything_is_refused(games, checkpoints, run):
    with pytest.raises(ConfigError, match="takes games >= 2 and checkpoints >= 1"):
        tournament(run, games, checkpoints)


# ------------------------------------------------------------------------------------------------------------- ratings


def test_elo_of_two_is_the_logarithm_of_the_odds():
    """750 points of 1000 and one more draw: odds 750.5 to 250.5."""
    ratings = elo(np.array([[500.0, 750.0], [250.0, 500.0]]), 1000)
    assert ratings[0] - ratings[1] == pytest.approx(SCALE * np.log10(750.5 / 250.5), abs=1e-6)
    assert ratings.sum() == pytest.approx(0, abs=1e-9)


def test_elo_finds_the_ratings_that_made_the_points(seed=3):
    ratings = np.random.default_rng(seed).normal(0, 200, 12)
    ratings -= ratings.mean()
    found = elo(expected(ratings) * 1e9, 1e9)
    assert np.abs(found - ratings).max() < 1e-3


def test_elo_expects_the_points_that_there_were():
    """At the maximum of the likelihood everybody's expected points are those that were made, with the draws added."""
    rng = np.random.default_rng(0)
    upper = np.triu(rng.integers(0, 101, (8, 8)), 1).astype(float)
    points = upper + np.tril(100 - upper.T, -1) + 50 * np.eye(8)
    p = expected(elo(points, 100)) * 101
    assert np.allclose((p - np.diag(np.diag(p))).sum(1), (points - 50 * np.eye(8)).sum(1) + 3.5, atol=1e-5)


def test_elo_is_finite_and_ordered_where_everybody_beats_everybody_before():
    points = np.tril(np.full((10, 10), 100.0), -1)
    ratings = elo(points, 100)
    assert np.isfinite(ratings).all() and (np.diff(ratings) > 0).all()


def test_rank_correlation():
    x = np.arange(5)
    assert spearman(x, x**3) == pytest.approx(1) and spearman(x, -x) == pytest.approx(-1)
    assert spearman(x, np.array([1, 0, 2, 3, 4])) == pytest.approx(0.9)  # 1 − 6 Σd² / (n (n² − 1)) = 1 − 12/120
    assert spearman(np.array([1, 2, 2, 3]), np.array([1, 2, 2, 3])) == pytest.approx(1)
    assert np.isnan(spearman(x, np.ones(5)))


# --------------------------------------------------------------------------------------- the command and the picture


def test_the_command_prints_a_table_and_draws(run, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert main(["league", str(run), "--games", "4", "--checkpoints", "2", "--out", str(tmp_path / "l.png")]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in out[:4]] == ["step", "random", "128", "640"]
    assert (tmp_path / "l.png").read_bytes().startswith(b"\x89PNG")
    assert main(["league", str(run), "--games", "4"]) == 0 and (run / "league.png").exists()


def test_the_picture_shows_the_ratings_and_the_matrix(run):
    pytest.importorskip("matplotlib")
    from minirl.runs.league_picture import draw

    played = tournament(run, games=4)
    left, right, _bar = draw(played).axes
    assert np.array_equal(left.lines[0].get_ydata(), played.elo)
    assert np.array_equal(right.images[0].get_array(), played.payoff)


# ------------------------------------------------------------------------------------------------------------ the page


def test_the_page_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs" / "self-play.md").read_text("utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "self-play.md", "exec"), {})
    assert capsys.readouterr().out.splitlines()[0].split() == ["step", "Elo", "payoff", "against", "newest"]
    for line in re.findall(r"^minirl (?:train|league|play|eval) [^#\n]*", page, re.M):
        assert main([*line.split()[1:2], "--help"] if "train" not in line else ["train", "selfplay", "--help"]) == 0
