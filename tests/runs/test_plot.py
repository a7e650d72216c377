"""Learning curves: which runs are a band, what it is called, how it is drawn, and what is said where there is none."""

import io
import json
import os

import numpy as np
import pytest
from processes import one_sentence, python

import minirl
from minirl import cli
from minirl.errors import FileError, UserError
from minirl.runs.curves import read_curves
from minirl.runs.plot import BANDS, Curve, band, draw, plot, read_curve

pytest.importorskip("matplotlib")
COLUMNS = "update,global_step,charts/episodic_return,losses/approx_kl,step/status"


def make_run(path, algorithm="trpo", values=(1.0, 2.0, 4.0), without=(), about=None, **fields):
    """A run directory as minirl writes it, with these returns after 100, 200, … steps; `without` some fields."""
    path.mkdir(parents=True)
    config = {name: v for name, v in vars(minirl.configure(algorithm, **fields)).items() if name not in without}
    (path / "config.json").write_text(json.dumps({"algorithm": algorithm, "config": config, **(about or {})}))
    rows = [f"{i},{100 * i},{value},0.0{i},ok" for i, value in enumerate(values, 1)]
    (path / "metrics.csv").write_text("\n".join([COLUMNS, *rows, ""]))
    return path


def legends(figure):
    """Title of each panel -> the texts of its legend."""
    panels = [panel for panel in figure.axes if panel.get_visible()]
    return {panel.get_title("left"): [text.get_text() for text in panel.get_legend().get_texts()] for panel in panels}


def legend(*runs):
    (texts,) = legends(draw(read_curves(runs))).values()
    return texts


# ------------------------------------------------------------------------------------------------ one band per setting


def test_bug_14_seeds_of_a_setting_are_a_band_and_settings_are_told_apart(tmp_path):
    """δ in the order of its size, not of the names; nothing that all runs share is repeated."""
    for delta in (0.1, 0.002, 0.02):
        for seed in range(3):
            make_run(tmp_path / f"{delta}-{seed}", seed=seed, delta=delta, values=delta + np.arange(3) + seed)
    figure = draw(read_curves([tmp_path]))
    assert legends(figure) == {"CartPole-v1": [f"TRPO, delta = {delta:g}, 3 seeds" for delta in (0.002, 0.02, 0.1)]}
    means = [line.get_ydata()[-1] for line in figure.axes[0].get_lines() if not line.get_label().startswith("_")]
    assert means == pytest.approx([3.002, 3.02, 3.1])  # Δ + 2 + the mean of the seeds 0, 1, 2


def test_bug_14_a_run_counts_once_whatever_it_is_called(tmp_path, monkeypatch):
    run = make_run(tmp_path / "runs" / "a")
    (tmp_path / "link").symlink_to(run)
    (tmp_path / "copy").mkdir()
    for name in ("config.json", "metrics.csv"):
        (tmp_path / "copy" / name).symlink_to(run / name)
    monkeypatch.chdir(tmp_path)
    names = [run, f"{run}/", "runs/a", "runs/../runs/./a", "link", "link/", "copy", "runs", tmp_path]
    assert legend(*names) == ["TRPO, seed 0"]
    assert [text for (text,) in legends(draw([read_curve("link"), read_curve(run)])).values()] == ["TRPO, seed 0"]
    assert plot(["runs/a", "link"]).as_posix() == "runs/a/curve.png"  # one run: its picture stays with it


def test_bug_14_several_runs_of_one_seed_are_said(tmp_path):
    runs = [make_run(tmp_path / f"{i}", seed=seed) for i, seed in enumerate((7, 7, 8))]
    assert legend(*runs) == ["TRPO, 3 runs of 2 seeds"]
    assert legend(*runs[:2]) == ["TRPO, 2 runs of seed 7"] and legend(*runs[1:]) == ["TRPO, 2 seeds"]


def test_bug_14_what_cannot_matter_splits_no_band(tmp_path):
    """Another machine, a version without some fields, how environments are stepped, 1 for 1.0, a list for a tuple."""
    elsewhere = {"versions": {"minirl": "9"}, "machine": {"cores": 1}, "core": "twins", "command": "x", "run": "c"}
    runs = [
        make_run(tmp_path / "a", seed=0, kl_coef=1.0, hidden=(64, 64)),
        make_run(tmp_path / "b", seed=1, kl_coef=1, hidden=[64, 64], about=elsewhere),
        make_run(tmp_path / "c", seed=2, without=("env_kwargs", "kl", "rbf_width")),
        make_run(tmp_path / "d", seed=3, vectorization="async", check_env=False),
    ]
    assert legend(*runs) == ["TRPO, 4 seeds"]
    speed = legends(draw(read_curves(runs, "losses/approx_kl")))
    assert speed == {"CartPole-v1": ["TRPO, 4 seeds"]}


def test_bug_14_for_speed_it_does_matter_how_it_was_run(tmp_path):
    runs = [make_run(tmp_path / core, seed=0, about={"core": core}) for core in ("compiled", "twins")]
    for run in runs:
        (run / "metrics.csv").write_text("global_step,charts/SPS\n100,5\n")
    (texts,) = legends(draw(read_curves(runs, "SPS"))).values()
    assert texts == ["TRPO, core = compiled, seed 0", "TRPO, core = twins, seed 0"]


def test_bug_14_algorithms_are_not_told_apart_by_their_defaults(tmp_path):
    """PPO and TRPO have fields of their own and defaults of their own; a field that somebody set is named, at both."""
    trpo, ppo, set_by_hand = (
        make_run(tmp_path / "t"),
        make_run(tmp_path / "p", "ppo"),
        make_run(tmp_path / "g", "ppo", gamma=0.9),
    )
    assert legend(trpo, ppo) == ["TRPO, seed 0", "PPO, seed 0"]
    assert legend(trpo, set_by_hand) == ["TRPO, gamma = 0.99, seed 0", "PPO, gamma = 0.9, seed 0"]


def test_bug_14_arguments_of_the_environment_and_long_names(tmp_path):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", env_kwargs={"size": 8})
    make_run(tmp_path / "c", env_kwargs={"size": 8, "slippery": False})
    assert legend(tmp_path) == [
        "TRPO, env_kwargs.size = default, env_kwargs.slippery = default, seed 0",
        "TRPO, env_kwargs.size = 8, env_kwargs.slippery = default, seed 0",
        "TRPO, env_kwargs.size = 8, env_kwargs.slippery = False, seed 0",
    ]


def test_bug_14_a_panel_per_environment_says_what_is_its_own(tmp_path):
    """The same name has the same look in every panel; what differs between panels only stands above them."""
    for env, steps in (("CartPole-v1", 50_000), ("Pendulum-v1", 70_000)):
        for algorithm in ("trpo", "ppo"):
            make_run(tmp_path / f"{env}{algorithm}", algorithm, env=env, total_timesteps=steps)
    figure = draw(read_curves([tmp_path]))
    assert legends(figure) == {env: ["PPO, seed 0", "TRPO, seed 0"] for env in ("CartPole-v1", "Pendulum-v1")}
    assert [[text.get_text() for text in panel.texts] for panel in figure.axes] == [
        ["total_timesteps = 50000"],
        ["total_timesteps = 70000"],
    ]
    looks = [[line.get_color() for line in panel.get_lines() if line.get_label()[0] != "_"] for panel in figure.axes]
    assert looks[0] == looks[1] and len(set(looks[0])) == 2


def test_bug_14_a_sweep_of_many_settings_stays_legible(tmp_path):
    """No two lines look the same, and the legend is inside the picture, below the curves and not over them."""
    for i in range(40):
        make_run(tmp_path / str(i), delta=0.001 * (i + 1), lam=0.9 + 0.001 * i)
    figure = draw(read_curves([tmp_path]))
    figure.savefig(io.BytesIO(), dpi=100)  # lays it out
    (panel,) = figure.axes
    lines = [line for line in panel.get_lines() if line.get_label()[0] != "_"]
    looks = {(line.get_color(), str(line._unscaled_dash_pattern), line.get_marker()) for line in lines}
    assert len(looks) == 40  # get_linestyle() is "--" for all dashes
    box, area = panel.get_legend().get_window_extent(), panel.get_window_extent()
    assert box.y1 < area.y0 and box.y0 >= 0 and box.x0 >= 0 and box.x1 <= figure.bbox.width
    assert area.height > 300  # 3 inches at 100 dpi: the legend does not press the panel together
    assert len(panel.get_legend().get_texts()) == 40


# --------------------------------------------------------------------------------------------- folders, columns, bands


def test_use_10_a_folder_stands_for_the_runs_below_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, seed in (("a", 0), ("sweep/b", 1), ("sweep/deep/er/c", 2)):
        make_run(tmp_path / "runs" / name, seed=seed)
    (tmp_path / "runs" / "a" / "checkpoints").mkdir()
    (tmp_path / "runs" / "sweep" / "loop").symlink_to(tmp_path / "runs")
    (tmp_path / "runs" / "notes.txt").write_text("not a run")
    assert {curve.seed for curve in read_curves(["runs"])} == {0, 1, 2}
    assert plot(["runs"]).as_posix() == "curves.png" and (tmp_path / "curves.png").stat().st_size > 5000
    assert plot(["runs/a"]).as_posix() == "runs/a/curve.png"


def test_use_10_a_broken_run_below_a_folder_is_left_out_and_said(tmp_path):
    make_run(tmp_path / "good")
    (make_run(tmp_path / "bad", seed=1) / "metrics.csv").unlink()
    told = []
    assert [curve.seed for curve in read_curves([tmp_path], tell=told.append)] == [0]
    assert len(told) == 1 and told[0].startswith("left out: ") and "bad/metrics.csv" in told[0]
    with pytest.raises(FileError, match=r"bad/metrics\.csv"):
        read_curves([tmp_path / "good", tmp_path / "bad"])  # named itself, it is an error


@pytest.mark.parametrize("y", ["losses/approx_kl", "approx_kl", "Approx_KL"])
def test_use_10_any_column_of_numbers_can_be_drawn(y, tmp_path):
    curve = read_curve(make_run(tmp_path / "run"), y)
    assert curve.column == "losses/approx_kl"
    assert curve.value.tolist() == [0.01, 0.02, 0.03] and curve.step.tolist() == [100, 200, 300]
    assert draw([curve]).axes[0].get_ylabel() == "mean KL(old‖new) of an update (nats)"
    (tmp_path / "run" / "metrics.csv").write_text("global_step,mine/width\n1,2\n")
    assert draw([read_curve(tmp_path / "run", "width")]).axes[0].get_ylabel() == "mine/width"


def test_use_10_a_column_that_does_not_exist_is_suggested(tmp_path):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", "ppo", seed=1)
    (tmp_path / "b" / "metrics.csv").write_text("global_step,losses/clipfrac\n1,0.5\n")
    meanings = {"retrun": "charts/episodic_return", "aprox_kl": "losses/approx_kl", "clip": "losses/clipfrac"}
    for typed, meant in meanings.items():
        with pytest.raises(UserError, match=f"y = '{typed}'.*near it: {meant}$"):
            read_curves([tmp_path], typed)
    with pytest.raises(UserError, match="its columns: update, global_step, charts/episodic_return"):
        read_curves([tmp_path / "a"], "zzz")
    with pytest.raises(FileError, match="in line 2 step/status is 'ok', not a number"):
        read_curves([tmp_path], "status")
    told = []
    assert [curve.seed for curve in read_curves([tmp_path], "clipfrac", told.append)] == [1]  # only PPO has it
    assert told == [f"left out: {tmp_path / 'a'}, without a column 'clipfrac'"]


def test_use_10_bands_stay_within_what_the_runs_reached():
    """Returns of CartPole end at 500: mean + deviation is beyond, the range and the interval of the mean are not."""
    values = np.array([[500.0, 500.0], [500.0, 400.0], [500.0, 100.0], [500.0, 500.0]])
    curves = [Curve("E", "ppo", seed, np.array([0.0, 10.0]), row) for seed, row in enumerate(values)]
    for kind in BANDS:
        step, mean, low, high = band(curves, kind)
        assert (step[0], step[-1]) == (0, 10) and mean[-1] == pytest.approx(375)
        assert (low <= mean).all() and (mean <= high).all()
        assert (high.max() > 500) == (kind == "std") and low[0] == high[0] == 500
    _, _, low, high = band(curves)
    assert (low[-1], high[-1]) == (100, 500)
    _, _, low, high = band(curves, "ci")
    assert low[-1] > 100 and high[-1] <= 500  # the least of 2000 means of four draws is not its 2.5 % quantile
    rng = np.random.default_rng(1)
    means = [rng.choice(values[:, 1], 4).mean() for _ in range(20_000)]
    assert [low[-1], high[-1]] == pytest.approx(np.percentile(means, [2.5, 97.5]), abs=26)  # means of four lie 25 apart


def test_use_10_runs_without_common_steps_are_lines_without_a_band():
    curves = [Curve("E", "ppo", seed, np.array([1.0, 2.0]) + 10 * seed, np.array([1.0, 2.0])) for seed in range(2)]
    assert all(len(part) == 0 for part in band(curves))
    panel = draw(curves).axes[0]
    assert not panel.collections and [text.get_text() for text in panel.get_legend().get_texts()] == ["PPO, 2 seeds"]


def test_use_10_the_legend_says_what_the_band_is(tmp_path):
    runs = [make_run(tmp_path / str(seed), seed=seed) for seed in range(2)]
    said = {"minmax": "from the smallest to the largest", "ci": "95 % bootstrap", "std": "± one standard deviation"}
    for kind, text in said.items():
        assert text in draw(read_curves(runs), kind).axes[0].get_legend().get_title().get_text()
    assert draw(read_curves(runs[:1])).axes[0].get_legend().get_title().get_text() == ""


def test_use_10_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for seed in range(2):
        make_run(tmp_path / "runs" / str(seed), seed=seed)
    assert cli.main(["plot", "runs", "--y", "approx_kl", "--band", "ci", "--out", "kl.svg"]) == 0
    assert capsys.readouterr() == ("drawn: kl.svg\n", "") and "<svg" in (tmp_path / "kl.svg").read_text()
    assert cli.main(["plot", "runs", "--y", "aprox_kl"]) == 2
    assert "near it: losses/approx_kl" in one_sentence(capsys.readouterr().err)
    assert cli.main(["plot", "runs", "--band", "sd"]) == 2 and "minmax" in one_sentence(capsys.readouterr().err)
    with pytest.raises(UserError, match="band = 'sd': takes one of minmax, ci, std"):
        plot(["runs"], kind="sd")


# ----------------------------------------------------------------------------------------------------- hostile folders

GOOD = '{"algorithm": "ppo", "config": {"env": "E", "seed": 0}}'
ROWS = "update,global_step,charts/episodic_return\n"
NUMBERS = ROWS + "1,100,5\n2,200,6\n"
NO_FILE = "cannot be drawn: it is not a regular file"


def sparse(size):
    return lambda path: (path.touch(), os.truncate(path, size))


# name: (config.json, metrics.csv, part of the sentence; None where a picture is right); a function makes the file
HOSTILE = {
    "config-pipe": (os.mkfifo, ROWS, "config.json cannot be read: it is not a regular file"),
    "config-device": (lambda p: os.symlink("/dev/zero", p), ROWS, "cannot be read: it is not a regular file"),
    "config-folder": (os.mkdir, ROWS, "config.json cannot be read: it is a directory"),
    "config-loop": (lambda p: os.symlink(p, p), ROWS, "config.json cannot be read: Too many levels of symbolic links"),
    "config-huge": (sparse(1 << 34), ROWS, "config.json cannot be read: it has 17179869184 bytes"),
    "config-binary": (b"\x80\xff\x00", ROWS, "config.json cannot be read: 'utf-8' codec can't decode"),
    "config-cut": (GOOD[:20], ROWS, "config.json cannot be read: Expecting property name"),
    "config-list": ("[1]", ROWS, "config.json cannot be read: it holds no JSON object"),
    "config-number": ('{"algorithm": "ppo", "config": 5}', ROWS, "config = 5 is not of type dict"),
    "algorithm-null": ('{"algorithm": null, "config": {}}', ROWS, "algorithm = None is not of type str"),
    "env-list": ('{"algorithm": "ppo", "config": {"env": [1], "seed": 0}}', ROWS, "env = [1] is not of type str"),
    "seed-text": ('{"algorithm": "ppo", "config": {"env": "E", "seed": "$"}}', ROWS, "seed = '$' is not of type int"),
    "seed-true": ('{"algorithm": "ppo", "config": {"env": "E", "seed": true}}', ROWS, "seed = True is not of type int"),
    "metrics-none": (GOOD, None, "metrics.csv cannot be drawn: No such file or directory"),
    "metrics-pipe": (GOOD, os.mkfifo, NO_FILE),
    "metrics-device": (GOOD, lambda p: os.symlink("/dev/urandom", p), NO_FILE),
    "metrics-folder": (GOOD, os.mkdir, "metrics.csv cannot be drawn: it is a directory"),
    "metrics-loop": (GOOD, lambda p: os.symlink(p, p), "cannot be drawn: Too many levels of symbolic links"),
    "metrics-huge": (GOOD, sparse(1 << 40), "metrics.csv cannot be drawn: it has 1099511627776 bytes"),
    "metrics-empty": (GOOD, "", "metrics.csv cannot be drawn: it has no complete line"),
    "metrics-binary": (GOOD, b"\x80\xff\n", "metrics.csv cannot be drawn: 'utf-8' codec can't decode"),
    "metrics-headless": (GOOD, "1,100,5\n", "its first line names no column global_step"),
    "metrics-field": (GOOD, ROWS + "1,2," + "3" * 200_000 + "\n", "line 2 is not CSV: field larger than field limit"),
    "text": (GOOD, ROWS + "1,100,5\n2,200,five\n", "in line 3 charts/episodic_return is 'five', not a number"),
    "text-step": (GOOD, ROWS + "1,soon,5\n", "in line 2 global_step is 'soon', not a number"),
    "step-empty": (GOOD, ROWS + "1,,5\n", "in line 2 global_step goes from 0 to nothing"),
    "step-back": (GOOD, ROWS + "1,100,5\n2,50,6\n", "in line 3 global_step goes from 100 to 50"),
    "step-nan": (GOOD, ROWS + "1,nan,5\n", "in line 2 global_step goes from 0 to nan"),
    "step-infinite": (GOOD, ROWS + "1,inf,5\n", "in line 2 global_step goes from 0 to inf"),
    "enormous": (GOOD, ROWS + "1,100,1e300\n", "in line 2 charts/episodic_return = 1e+300 is too large"),
    "other-widths": (GOOD, ROWS + "1,100\n2\n3,300,5\n", "2 of its 3 lines have not the 3 cells of the first one"),
    "no-return": (GOOD, "global_step,x\n1,2\n", "y = 'charts/episodic_return'"),
    "only-nan": (GOOD, ROWS + "1,100,nan\n2,200,inf\n", None),
    "just-started": (GOOD, "update,global_step\n", None),
    "one-point": (GOOD, ROWS + "1,100,5\n", None),
    "cut-line": (GOOD, ROWS + "1,100,5\n2,200,6\n3,30", None),
    "same-step": (GOOD, ROWS + "1,100,5\n2,100,6\n", None),
    "formula": (GOOD.replace('"E"', r'"$\\frac{$ \ud800 \u001b[31m"'), NUMBERS, None),
    "long-names": (GOOD.replace("E", "x" * 100_000).replace("ppo", "y" * 100_000), NUMBERS, None),
    "unknown-algorithm": (GOOD.replace("ppo", "ddpg"), NUMBERS, None),
}


def put(path, content):
    if callable(content):
        content(path)
    elif content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """`minirl plot NAME` of HOSTILE, in one process that is ended where it hangs: {name: [code, stdout, stderr]}."""
    cwd = tmp_path_factory.mktemp("hostile")
    for name, (config, metrics, _) in HOSTILE.items():
        (cwd / name).mkdir()
        put(cwd / name / "config.json", config)
        put(cwd / name / "metrics.csv", metrics)
    code = """
import contextlib, io, json, sys, warnings
from minirl.cli import main
warnings.simplefilter("error")
outcomes = {}
for name in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(["plot", name])
    outcomes[name] = code, out.getvalue(), err.getvalue()
print(json.dumps(outcomes))"""
    done = python("-c", code, json.dumps([*HOSTILE]), cwd=cwd)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), cwd


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes in the file system")
@pytest.mark.parametrize("name", HOSTILE)
def test_bug_39_a_folder_that_is_no_run_is_one_sentence(name, outcomes):
    (code, out, err), part = outcomes[0][name], HOSTILE[name][2]
    if part is None:
        assert (code, out, err) == (0, f"drawn: {name}/curve.png\n", "")
        assert (outcomes[1] / name / "curve.png").read_bytes().startswith(b"\x89PNG")
    else:
        assert code == 2 and out == "" and part in one_sentence(err) and len(err) < 400


def test_bug_39_a_folder_without_runs_a_file_and_links_in_a_circle(tmp_path):
    (tmp_path / "empty" / "deep").mkdir(parents=True)
    (tmp_path / "empty" / "deep" / "up").symlink_to(tmp_path)
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "file").write_text("")
    for name, part in (
        ("empty", "empty holds no run: a run directory has config.json and metrics.csv in it"),
        ("circle", "Too many levels of symbolic links"),
        ("file", "file is a file: name a run directory"),
    ):
        with pytest.raises(FileError, match=part):
            plot([tmp_path / name])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes in the file system")
def test_bug_39_nothing_but_a_file_is_written_over(tmp_path):
    """By a temporary file and a rename a picture would take the place of a pipe, or for root that of /dev/null."""
    run = make_run(tmp_path / "run")
    (tmp_path / "device.png").symlink_to(os.devnull)
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    refusals = {
        "device": "cannot be written: it is not a regular file",
        "pipe": "it is not a regular file",
        "folder": "directory",
    }
    for name, part in refusals.items():
        with pytest.raises(FileError, match=f"{name}.png.*{part}"):
            plot([run], tmp_path / f"{name}.png")
    assert (tmp_path / "device.png").is_symlink() and (tmp_path / "pipe.png").is_fifo()
    with pytest.raises(FileError, match="is a directory: name a file in it"):
        plot([run], "")
    with pytest.raises(FileError, match="too long"):
        plot([run], tmp_path / ("x" * 300 + ".png"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes in the file system")
def test_bug_39_figures_do_not_wait_for_a_pipe_to_be_read(tmp_path):
    os.mkfifo(tmp_path / "fig-1.png")
    done = python("-m", "minirl", "figures", "--out", ".", cwd=tmp_path)
    assert done.returncode == 2 and one_sentence(done.stderr) == "fig-1.png cannot be written: it is not a regular file"


def test_use_07_pictures_are_drawn_without_pyplot(tmp_path):
    """pyplot holds the session's backend and open figures: neither is touched by drawing all the pictures."""
    make_run(tmp_path / "run")
    code = """
import sys, pathlib, matplotlib
before = dict.__getitem__(matplotlib.rcParams, "backend")
from minirl.runs.plot import plot
from minirl.theory import figures
plot(["run"])
figures.draw_all(pathlib.Path("figures"))
assert "matplotlib.pyplot" not in sys.modules
assert dict.__getitem__(matplotlib.rcParams, "backend") is before, "the backend was chosen"
"""
    done = python("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
