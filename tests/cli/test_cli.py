"""The command line in processes of its own:
what is printed where, the exit codes, and one sentence for each mistake.
"""

import inspect
import json
import os
import re
import shutil
import typing

import pytest
from processes import SMALL, cli, one_sentence, python

import minirl
from minirl._core import COMPILED, REFERENCE
from minirl.algorithms import ALGORITHMS
from minirl.cli.train import TWINS
from minirl.config import Range


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Short runs on CartPole, evaluated at their ends: {algorithm: (directory, CompletedProcess)}."""
    cwd = tmp_path_factory.mktemp("trained")
    runs = {}
    for name in ("trpo", "ppo"):
        flags = ("--total-timesteps", 2000, "--seed", 5, *SMALL[:-1], 3)
        runs[name] = cwd / "runs" / f"CartPole-v1-{name}-5-1", cli("train", name, *flags, cwd=cwd)
    return runs


@pytest.mark.parametrize("name", ["trpo", "ppo"])
def test_training_says_what_where_and_on_which_core_in_plain_lines(name, trained):
    run, done = trained[name]
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"{name} on CartPole-v1, seed 5: 2000 steps in 2 environments"
    assert lines[1].endswith("compiled core" if COMPILED else "NumPy twins")
    assert lines[2] == f"run directory runs/{run.name}"
    progress = [line for line in lines if "steps/s" in line]
    # a run of a second: the first and the last
    assert 2 <= len(progress) <= 5 and progress[-1].startswith("100%  step 2048/2000  return ")
    assert lines[-2] == f"done after 2048 steps and 16 updates, saved in runs/{run.name}"
    assert lines[-1].startswith("greedy policy: return ") and "\x1b" not in done.stdout
    assert done.stderr == ("" if COMPILED or REFERENCE else f"minirl: {TWINS}\n")


def test_without_the_compiled_core_one_line_says_so(tmp_path):
    """The extension modules are hidden from the import system, as if they had never been built."""
    code = f"""
import sys
class Hidden:
    def find_spec(self, name, *_):
        if name.startswith("minirl._core.compiled."):
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Hidden())
from minirl.cli import main
sys.exit(main(["train", "ppo", "--total-timesteps", "100", *{SMALL!r}]))"""
    done = python("-c", code, cwd=tmp_path, MINIRL_REFERENCE="0")
    assert done.returncode == 0 and done.stderr == f"minirl: {TWINS}\n" and "NumPy twins" in done.stdout
    assert json.loads((tmp_path / "runs" / "CartPole-v1-ppo-0-1" / "config.json").read_text())["core"] == "twins"


def test_eval_equals_what_training_printed_and_its_json(trained):
    run, done = trained["trpo"]
    line = cli("eval", run, "--episodes", 3, cwd=run).stdout
    assert line == done.stdout.splitlines()[-1].removeprefix("greedy policy: ") + ", greedy, seed 0\n"
    assert re.fullmatch(r"return \S+ ± \S+, min \S+, max \S+, length \S+, 3 episodes, greedy, seed 0\n", line)
    about = json.loads(cli("eval", run / "policy.safetensors", "--episodes", 3, "--json", cwd=run).stdout)
    played = minirl.evaluate(minirl.load(run), "CartPole-v1", episodes=3)
    assert (
        about["returns"] == played.returns.tolist()
        and about["mean"] == played.mean
        and about["lengths"] == played.lengths.tolist()
    )
    sampled = json.loads(cli("eval", run, "--episodes", 3, "--json", "--stochastic", "--seed", 7, cwd=run).stdout)
    assert sampled["stochastic"] and sampled["seed"] == 7 and sampled["returns"] != about["returns"]


def test_plot_draws_runs_together(trained, tmp_path):
    runs = [run for run, _ in trained.values()]
    assert cli("plot", *runs, "--out", "all.svg", cwd=tmp_path).stdout == "drawn: all.svg\n"
    svg = (tmp_path / "all.svg").read_text()
    assert svg.count("<svg") == 1
    (runs[0] / "curve.png").unlink()
    assert cli("plot", runs[0], cwd=tmp_path).returncode == 0 and (runs[0] / "curve.png").exists()


def test_list(tmp_path):
    listed = cli("list", cwd=tmp_path).stdout
    for algorithm in ALGORITHMS.values():
        assert re.search(rf"^{algorithm.name} +{re.escape(algorithm.summary)}$", listed, re.M)
    assert cli("list", "--envs", "cart", "v1", cwd=tmp_path).stdout.splitlines()[0] == "CartPole-v1"


def test_quiet_says_nothing_and_flags_reach_the_configuration(tmp_path):
    flags = (
        "--hidden",
        8,
        4,
        "--target-kl",
        0.1,
        "--no-normalize-obs",
        "--normalize-reward",
        "--lr=1e-3",
        "--run",
        "here",
        "--quiet",
    )
    done = cli("train", "ppo", "--total-timesteps", 10, "--num-steps", 8, *flags, cwd=tmp_path, MINIRL_REFERENCE="1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    config = json.loads((tmp_path / "here" / "config.json").read_text())["config"]
    assert config["hidden"] == [8, 4] and config["target_kl"] == 0.1 and config["lr"] == 1e-3
    assert not config["normalize_obs"] and config["normalize_reward"]
    assert not minirl.load(tmp_path / "here").normalizer


def words(text):
    """The words of a help text without its boxes."""
    return " ".join(re.sub("[│─╭╮╰╯]", " ", text).split())


def test_help_names_every_field_with_its_comment_and_range(tmp_path):
    for algorithm in ALGORITHMS.values():
        own = words(cli("train", algorithm.name, "--help-all", cwd=tmp_path).stdout).removeprefix("usage: ")
        assert own.startswith(f"minirl train {algorithm.name} ") and algorithm.summary in own
        hints = typing.get_type_hints(algorithm.config, include_extras=True)
        sources = "\n".join(inspect.getsource(kind) for kind in algorithm.config.__mro__[:-1])
        for name, hint in hints.items():
            comment = re.search(rf"^    {name}: .*?  # (.*)$", sources, re.M)[1]
            assert f"--{name.replace('_', '-')}" in own and words(comment) in own, name
            ranges = [
                a
                for part in (hint, *typing.get_args(hint))
                for a in getattr(part, "__metadata__", ())
                if isinstance(a, Range)
            ]
            for bounds in ranges:
                assert bounds.text in words(comment), f"{name}: the comment does not name the range {bounds.text}"


def test_help_and_version(tmp_path):
    assert cli("--version", cwd=tmp_path).stdout == f"minirl {minirl.__version__}\n"
    usage = cli("--help", cwd=tmp_path)
    assert usage.returncode == 0 and all(f"\n  {name}" in usage.stdout for name in ("train", "eval", "plot", "list"))
    assert cli(cwd=tmp_path).returncode == 2


MISTAKES = {
    "bogus": "command 'bogus': takes one of train, resume, verify, eval, plot, play, league, list",
    "train": "train needs an algorithm: ",
    "train --env CartPole-v1": "train needs an algorithm before --env",
    "train pp0": "algorithm 'pp0': takes one of ",
    "train trpo --delta -1": "--delta = -1.0: takes a number > 0",
    "train trpo --delta nan": "--delta = nan: takes a number > 0",
    "train ppo --max-grad-norm inf": "--max-grad-norm = inf: takes a finite number",
    "train ppo --gamma 1.5": "--gamma = 1.5: takes a number in [0, 1]",
    "train ppo --clip x": "Error parsing --clip: could not convert string to float: 'x'; `minirl train ppo --help`",
    "train ppo --cilp 1": "train ppo has no --cilp; did you mean --clip?; `minirl train ppo --help`",
    "train ppo --activation gelu": "--activation = 'gelu': takes one of tanh, relu",
    "train ppo --save-every 0": "--save-every = 0: takes a number >= 1",
    "train ppo --env CartPol-v1": "--env = 'CartPol-v1' is not known to gymnasium",
    "train ppo --env nowhere:CartPole-v1": (
        "--env = 'nowhere:CartPole-v1' is not known to gymnasium: No module named 'nowhere'"
    ),
    "train ppo --env broken_envs:Speaks-v0": "action space Text(1, 3",
    "train ppo --env broken_envs:Raises-v0 --run file": "run directory file cannot be used: it is a file",
    "train ppo --run file/below": "run directory file/below cannot be used: Not a directory",
    "eval": "Missing from minirl eval: ",
    "eval nowhere": "nowhere cannot be read: No such file or directory",
    "eval file": "file cannot be read: its header would have 0 bytes",
    "plot": "plot needs a run directory, or several",
    "plot nowhere": "nowhere/config.json cannot be read: No such file",
    "list --envs zzz": "no environment id contains 'zzz'",
    "train ppo --run done": "done already holds a run: choose another directory with --run, or remove this one",
    "eval done --env Pendulum-v1": (
        "--env = 'Pendulum-v1': its observations are box (3,), the policy was trained for box (4,)"
    ),
    "eval done --episodes 0": "--episodes = 0: takes a number >= 1",
    "plot done --out a.docx": "--out = 'a.docx': takes a file name that ends in .png, .svg, .pdf",
    "plot done --out no/where.png": "no/where.png cannot be written: No such file or directory",
}


@pytest.fixture(scope="module")
def outcomes(trained, tmp_path_factory):
    """All of MISTAKES through `main` in one process, beside a "file" and a run "done":
    {line: [exit code, stdout, stderr]}.
    """
    cwd = tmp_path_factory.mktemp("mistakes")
    (cwd / "file").write_text("")
    (cwd / "done").symlink_to(trained["ppo"][0])
    code = """
import contextlib, io, json, sys
from minirl.cli import main
outcomes = {}
for line in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(line.split())
    outcomes[line] = code, out.getvalue(), err.getvalue()
print(json.dumps(outcomes))"""
    done = python("-c", code, json.dumps([*MISTAKES]), cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert not list(cwd.glob("runs/*")), "a run that never started left something"
    return json.loads(done.stdout)


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_sentence_and_exit_code_2(line, outcomes):
    code, out, err = outcomes[line]
    assert code == 2 and out == "" and one_sentence(err).startswith(MISTAKES[line])


@pytest.mark.parametrize(
    "line", ["train trpo --delta -1", "train ppo --cilp 1", "train ppo --env broken_envs:Speaks-v0", "eval nowhere"]
)
def test_a_process_ends_with_that_code_and_sentence(line, outcomes, tmp_path):
    done = cli(*line.split(), cwd=tmp_path)
    assert [done.returncode, done.stdout, done.stderr] == outcomes[line]
    assert not list(tmp_path.glob("runs/*"))


def test_f_18_a_terminal_without_letters_gets_the_same_sentence(outcomes, tmp_path):
    line = "train ppo --cilp 1"
    assert cli(*line.split(), cwd=tmp_path, PYTHONIOENCODING="ascii").stderr == outcomes[line][2]
    done = cli("list", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and done.stdout.isascii()


def without(package, *argv):
    """Code that runs the command line where `package` is not installed."""
    return f"import sys; sys.modules[{package!r}] = None\nfrom minirl.cli import main\nsys.exit(main({list(argv)!r}))"


def test_missing_packages_are_named_with_the_remedy(tmp_path):
    train = ("train", "ppo", "--total-timesteps", "100", *SMALL)
    for package, argv, remedy in (
        ("tyro", ("list",), 'the command line needs tyro: pip install ".[cli]"'),
        ("rich", train, 'the command line needs rich: pip install ".[cli]"'),
        (
            "tensorboardX",
            (*train, "--track", "tensorboard"),
            'tracking with tensorboard needs tensorboardX: pip install ".[track]"',
        ),
    ):
        done = python("-c", without(package, *argv), cwd=tmp_path)
        assert done.returncode == 2 and one_sentence(done.stderr).startswith(remedy)
    done = python("-c", without("matplotlib", *train), cwd=tmp_path, MINIRL_REFERENCE="1")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.splitlines()[-1] == 'no curve.png: drawing needs matplotlib: pip install ".[plot]"'


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs pseudo-terminals")
@pytest.mark.parametrize("columns", ["100", "20"])
def test_f_18_the_live_view_stays_inside_the_terminal(columns, tmp_path):
    code = """
import os, pty, sys
def read(fd):
    data = os.read(fd, 65536)
    sys.stderr.buffer.write(data)
    return data
sys.exit(os.waitstatus_to_exitcode(pty.spawn([sys.executable, "-m", "minirl", *sys.argv[1:]], read)))"""
    flags = ("train", "ppo", "--total-timesteps", "1000", *SMALL)
    done = python("-c", code, *flags, cwd=tmp_path, COLUMNS=columns, TERM="xterm")
    assert done.returncode == 0
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", done.stderr).replace("\r", "\n").splitlines()
    picture = shown[
        next(i for i, line in enumerate(shown) if "━" in line) : -1
        - next(i for i, line in enumerate(shown[::-1]) if "▁" in line)
    ]
    assert max(map(len, picture)) <= int(columns) - 2 and "…" not in "".join(picture)
    text = "\n".join(picture)
    assert all(
        name in text
        for name in ("return", "length", "KL", "gain", "expl. var.", "entropy", "steps/s", "time left", "100%")
    )


def test_the_command_and_the_module_are_the_same(tmp_path):
    command = shutil.which("minirl")
    if command is None:
        pytest.skip("minirl is not installed here, only importable")
    assert (
        python(
            "-c", "import subprocess, sys; sys.exit(subprocess.call(['minirl', '--version']))", cwd=tmp_path
        ).returncode
        == 0
    )


def test_an_environment_beside_the_caller_is_found_and_shadows_nothing(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import gymnasium, broken_envs\ngymnasium.register('Mine-v0', broken_envs.Still)\n"
    )
    (tmp_path / "rich.py").write_text("raise SystemExit('shadowed')\n")
    # as the installed script
    code = "import sys; sys.path.remove(''); from minirl.cli import main; sys.exit(main(sys.argv[1:]))"
    done = python(
        "-c",
        code,
        "train",
        "ppo",
        "--env",
        "mine:Mine-v0",
        "--total-timesteps",
        "100",
        "--run",
        "run",
        *SMALL,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    refused = cli("eval", "run", cwd=tmp_path, PYTHONSAFEPATH="1")  # M34: a file does not get to say what is imported
    assert refused.returncode == 2 and "would import a module" in one_sentence(refused.stderr)
    assert refused.stderr.endswith("if you trust it: minirl eval run --import mine:Mine-v0\n")
    for flag in ("--import", "--env"):
        played = cli("eval", "run", flag, "mine:Mine-v0", "--episodes", 2, cwd=tmp_path, PYTHONSAFEPATH="1")
        assert played.returncode == 0, played.stderr
    assert played.stdout.startswith("return 10.00 ± 0.00, min 10.00, max 10.00, length 10.0, 2 episodes")
