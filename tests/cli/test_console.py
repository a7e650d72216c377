"""What reaches a terminal: no control characters, letters that it has, and a word when output was lost."""

import io
import os
import re
import subprocess
import sys
import time
import unicodedata

import numpy as np
import pytest
from processes import SMALL, environment, one_sentence

import minirl
from minirl.cli import console, live, main
from minirl.cli.letters import SPELLED, spell, visible
from minirl.methods import METHODS
from minirl.theory import demo
from minirl.training.learner import Update

HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\u2028\x7f\r\b"  # and no \0, which no word of a command line can hold
STEERING = ("Cc", "Cf", "Cs", "Zl", "Zp")  # categories: controls, directions, surrogates, ends of lines
CONTROLS = [chr(i) for i in range(0x110000) if unicodedata.category(chr(i)) in STEERING]


def clean(text):
    """Whether nothing in it steers a terminal; lines may end."""
    return all(unicodedata.category(c) not in STEERING for c in text.replace("\n", ""))


# -------------------------------------------------------------------------------------------------- control characters


def test_bug_38_whatever_steers_a_terminal_is_escaped():
    assert all(visible(c).isascii() and visible(c).isprintable() for c in CONTROLS if c != "\t")
    assert visible("\x1b[2J") == "\\x1b[2J" and visible("a\u202eb") == "a\\u202eb" and visible("x\ny") == "x\\ny"
    assert visible("δ ≤ 1 — 日本 é") == "δ ≤ 1 — 日本 é"


def test_bug_38_what_is_said_is_one_line_and_clean(capsys):
    console.prepare()
    console.say(f"name {HOSTILE} feigned\nminirl: all is well")
    console.complain(f"name {HOSTILE} feigned\nminirl: all is well")
    console.complain("x" * 100_000)
    out, err = capsys.readouterr()
    assert clean(out + err) and out.count("\n") == 1 and err.count("\n") == 2 and len(err) < 5000


@pytest.mark.filterwarnings("default")
def test_bug_38_so_are_warnings(capsys):
    import warnings

    console.prepare()
    warnings.warn(f"from an environment {HOSTILE}\nsecond line", UserWarning, stacklevel=1)
    warnings.warn("old", DeprecationWarning, stacklevel=1)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("minirl: from an environment \\x1b[2J") and clean(first)
    assert second == "minirl: DeprecationWarning: old"


@pytest.mark.parametrize(
    "line",
    [
        ["train", "ppo", "--env", f"{HOSTILE}:X-v0"],
        ["train", "ppo", "--env", f"X{HOSTILE}-v0"],
        ["train", f"ppo{HOSTILE}"],
        [HOSTILE],
        ["train", "ppo", f"--d{HOSTILE}"],
        ["train", "ppo", "--activation", HOSTILE],
        ["train", "ppo", "--num-envs", HOSTILE],
        ["train", "ppo", "--clip", HOSTILE],
        ["train", "ppo", HOSTILE],
        ["train", "ppo", "--env-kwargs", HOSTILE],
        ["train", "ppo", "--run", f"file/{HOSTILE}"],
        ["eval", HOSTILE],
        ["eval", "x\udcff"],
        ["plot", HOSTILE],
        ["list", "--envs", HOSTILE],
        ["list", "--runs", HOSTILE],
        ["equations", HOSTILE],
    ],
    ids=lambda line: " ".join(word.encode("unicode_escape").decode()[:12] for word in line),
)
def test_bug_38_names_on_the_command_line(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert main(line) == 2
    out, err = capsys.readouterr()
    assert out == "" and clean(err) and one_sentence(err)


def test_bug_38_names_in_the_live_view(monkeypatch):
    file = io.StringIO()
    file.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", file)
    with live.LiveView(f"{HOSTILE} [bold]title[/bold]", 10) as view:
        view.show(Update(1, 5, {}, np.array([]), np.array([])))
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", file.getvalue())  # rich's own moves
    assert clean(text) and "\\x1b[2J\\x1b]0;owned" in text and "[bold]title[/bold]" in text


# ------------------------------------------------------------------------------------------------------------- letters


def test_use_15_everything_that_is_printed_has_a_spelling():
    """Each letter beyond ASCII in the package's own texts, and the bars of a curve one letter for one."""
    from pathlib import Path

    root = Path(minirl.__file__).parent
    for path in [*root.glob("**/*.py"), *root.glob("*.toml")]:
        for c in set(path.read_text("utf-8")) - set(map(chr, range(128))) - {"\ufffd"}:
            assert spell(c).isascii() and "?" not in spell(c), (path, c)
    assert all(len(spell(bar)) == 1 for bar in live.BARS) and len({spell(bar) for bar in live.BARS}) == len(live.BARS)


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("mean KL ≤ δ, ε = 0.2", "mean KL <= delta, epsilon = 0.2"),
        ("KL(old‖new), Â, θ_old, ∇θ", "KL(old||new), A^, theta_old, gradtheta"),
        ("x² F⁻¹g xᵀ ½ ẋ θ̇ γλ …", "x^2 F^-1g x^T 1/2 x_dot theta_dot gammalambda ..."),
        ("café naïve Łódź 日", "cafe naive ?odz ?"),
        ("plain ASCII", "plain ASCII"),
        ("\udcff", "\\udcff"),
    ],
)
def test_use_15_letters_are_spelled_out(text, spelled):
    assert spell(text) == spelled
    assert text.encode("ascii", "minirl.spell") == spelled.encode()
    assert SPELLED["δ"] == "delta"


LOCALE = ("LC_ALL", "LC_CTYPE", "LANG", "PYTHONUTF8", "PYTHONIOENCODING")


def bytes_of(line, locale, cwd):
    """What `minirl LINE` writes in a locale."""
    keep = {name: value for name, value in environment().items() if name not in LOCALE}
    command = [sys.executable, "-m", "minirl", *line.split()]
    return subprocess.run(command, cwd=cwd, env=keep | locale, capture_output=True, timeout=60).stdout


@pytest.mark.parametrize("locale", [{"PYTHONIOENCODING": "ascii"}, {"LANG": "C"}, {"LC_ALL": "C", "LANG": "C.UTF-8"}])
def test_use_15_bug_38_demo_where_the_terminal_has_ascii_alone(locale, tmp_path):
    shown = bytes_of("demo", locale, tmp_path).decode("ascii")
    assert "PPO clips at epsilon = 0.2, TRPO trusts mean KL <= delta = 0.01" in shown and "?" not in shown
    assert shown == "".join(f"{spell(line)}\n" for line in demo.lines())


def test_use_15_letters_that_the_encoding_has_are_kept(tmp_path):
    assert "KL <= δ\n" in bytes_of("list", {"PYTHONIOENCODING": "iso8859-7"}, tmp_path).decode("iso8859-7")


def test_use_15_a_page_for_a_file_is_utf_8_under_any_locale(tmp_path):
    assert "δ" in bytes_of("equations --markdown", {"LC_ALL": "C"}, tmp_path).decode("utf-8")


# --------------------------------------------------------------------------------------------------------- lost output

HELP = ["--help", "--version", "train --help", "train ppo --help-all", "eval --help"]
COMMANDS = ["list", "list --envs", "list --runs", "equations", "demo", "eval r --episodes 1", "figures", "plot r"]
FULL = os.path.exists("/dev/full")


def lost(line, stdout, cwd):
    """`minirl LINE` with a shell's redirection of stdout: exit code and stderr."""
    command = f"exec '{sys.executable}' -m minirl {line} {stdout}"
    how = {"cwd": cwd, "env": environment(), "encoding": "utf-8", "timeout": 60}
    done = subprocess.run(["bash", "-c", command], capture_output=True, **how)
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A directory with a run called r."""
    cwd = tmp_path_factory.mktemp("lost")
    minirl.train("ppo", run=cwd / "r", num_steps=32, total_timesteps=128, hidden=(8,))
    return cwd


@pytest.mark.skipif(not FULL, reason="needs /dev/full")
@pytest.mark.parametrize("line", ["eval r --json --episodes 1", "list --runs r", "train ppo --help"])
def test_bug_39_output_that_a_full_disk_loses_is_said(line, trained):
    code, err = lost(line, "> /dev/full", trained)
    assert code == 1 and one_sentence(err) == "the output cannot be written: No space left on device"


@pytest.mark.parametrize("line", ["eval r --json --episodes 1", "--help", "train ppo --help"])
def test_bug_39_so_is_a_stdout_that_is_closed(line, trained):
    code, err = lost(line, ">&-", trained)
    assert code == 1 and one_sentence(err) == "the output cannot be written: it is closed"
    assert lost(line, ">&- 2>&-", trained) == (1, "")


class Full(io.StringIO):
    """A stdout that cannot be written."""

    def write(self, text):
        raise OSError(28, "No space left on device")


class Gone(io.StringIO):
    """A stdout whose reader has gone."""

    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("line", HELP + COMMANDS)
@pytest.mark.parametrize(("stdout", "code"), [(Full, 1), (Gone, 0), (None, 1)])
def test_bug_39_no_command_forgets_it(line, stdout, code, trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    os.symlink(trained, tmp_path / "runs")
    os.symlink(trained / "r", tmp_path / "r")
    if line.startswith("figures"):
        monkeypatch.setattr("minirl.theory.figures.draw_all", lambda out: [out])
    monkeypatch.setattr(sys, "stdout", stdout and stdout())
    assert main(line.split()) == code
    err = capsys.readouterr().err
    assert one_sentence(err).startswith("the output cannot be written: ") if code else err == ""


@pytest.mark.skipif(not FULL, reason="needs /dev/full")
def test_bug_39_a_training_saves_everything_first(tmp_path):
    code, err = lost(f"train ppo --total-timesteps 256 --run r {' '.join(SMALL)}", "> /dev/full", tmp_path)
    assert code == 1 and one_sentence(err) == "the output cannot be written: No space left on device"
    assert len((tmp_path / "r" / "metrics.csv").read_text().splitlines()) == 3 and minirl.load(tmp_path / "r")
    assert lost(f"train ppo --total-timesteps 256 --run q --quiet {' '.join(SMALL)}", "> /dev/full", tmp_path)[0] == 0


def test_bug_39_the_next_call_starts_with_a_clean_slate(monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Full())
        assert main(["list"]) == 1
    assert main(["list"]) == 0 and capsys.readouterr().out.count("\n") == len(METHODS)


def test_bug_39_a_closed_stdout_is_nobodys_file(tmp_path):
    """Where standard output is closed, the first file that is opened must not become it."""
    code = "import os; from minirl.cli import console; console.prepare(); f = open('f', 'w'); os.write(1, b'stray')"
    command = f"'{sys.executable}' -c \"{code}\" >&-"
    subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment(), timeout=60, check=True)
    assert (tmp_path / "f").read_text() == ""


def test_stderr_may_be_closed_or_full_too(monkeypatch):
    for stream in (None, Full()):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", stream)
            assert main(["bogus"]) == 2


# ------------------------------------------------------------------------------------------------------- the live view


def view(columns, monkeypatch, step=60_416, total=100_000):
    """The last picture of a live view in so many columns, after 83 seconds: its lines."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    file = io.StringIO()
    monkeypatch.setattr(sys, "stdout", file)
    shown = live.LiveView("title", total)
    with shown:
        now[0] += 83
        shown.show(Update(1, step, {"charts/episodic_return": 1.0}, np.array([]), np.array([])))
        running = _lines(shown)
    return running, _lines(shown)


def _lines(shown):
    from rich.console import Console

    console = Console(file=io.StringIO(), width=live.width(), legacy_windows=False)
    console.print(shown._picture())
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("columns", [20, 40, 80, 120])
def test_use_15_the_view_ends_with_the_time_that_was_taken(columns, monkeypatch):
    running, over = view(columns, monkeypatch)
    assert "time left" in "\n".join(running) and "time left" not in "\n".join(over)
    assert re.search(r"time taken +1:23\b", "\n".join(over))
    assert max(map(len, running + over)) <= columns - 2 and "…" not in "".join(running + over)


def test_use_15_steps_say_of_how_many_also_where_it_is_narrow(monkeypatch):
    for columns, steps in ((40, "60,416 / 100,000"), (120, "60,416 / 100,000"), (20, "60,416")):
        running, _ = view(columns, monkeypatch)
        assert any(re.search(rf"steps +{steps}", line) for line in running), columns
    running, _ = view(20, monkeypatch, step=12_345_678, total=10**9)
    assert any(re.search(r"steps +12.35 M", line) for line in running)


def test_use_15_plain_lines_too(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    plain = live.PlainView(100)
    for step in (50, 100):
        now[0] += 61
        plain.show(Update(1, step, {}, np.array([]), np.array([])))
    first, last = capsys.readouterr().out.splitlines()
    assert first.endswith("left 1:01") and last.endswith("took 2:02")
