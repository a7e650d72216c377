"""The words of a command line: whole numbers, arguments by name, suggestions for typing errors, messages."""

import json
import shlex

import gymnasium
import numpy as np
import pytest
from broken_envs import Still
from processes import SMALL, one_sentence

import minirl
from minirl.cli import main
from minirl.cli.flags import flags_of
from minirl.cli.values import integer, literal, pairs
from minirl.cli.wording import in_flags


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """A function: `minirl LINE …` in an empty directory -> exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def call(line, *words):
        code = main([*shlex.split(line), *map(str, words)])
        return code, *capsys.readouterr()

    return call


class Counted(Still):
    """The reward is an argument of the environment, the episodes end after `length` steps; `trap` raises at a step."""

    def __init__(self, reward=1.0, length=10, trap=None):
        self.reward, self.length, self.trap = reward, length, trap

    def step(self, action):
        self.steps += 1
        if self.steps == self.trap:
            raise RuntimeError("stuck at\nthe \x1b[31mwall")
        return np.zeros(2, np.float32), self.reward, self.steps % self.length == 0, False, {}


gymnasium.register("Counted-v0", Counted, disable_env_checker=True)

# -------------------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("word", "number"),
    [("7", 7), ("-3", -3), ("1e5", 100_000), ("1E3", 1000), ("1.5e3", 1500), ("1_000", 1000), ("2.0", 2)],
)
def test_bug_26_whole_numbers_as_people_write_them(word, number):
    assert integer(word) == number and type(integer(word)) is int


@pytest.mark.parametrize("word", ["2.5", "1e3.5", "1e-1", "", "x", "nan", "1e400", "1e19", "0x10", "1e5e5", "--1"])
def test_bug_26_what_is_no_whole_number_is_refused(word):
    with pytest.raises(ValueError, match="is no whole number"):
        integer(word)


@pytest.mark.parametrize("command", ["train ppo", "train trpo", "eval somewhere"])
def test_bug_26_each_whole_number_flag_takes_an_exponent_and_refuses_a_fraction(command, run):
    """Refused by name; what follows is refused for another reason, so that nothing runs."""
    from minirl.cli.commands import Eval
    from minirl.cli.train import Output

    kinds = (Eval,) if command.startswith("eval") else (minirl.configure(command.split()[1]).__class__, Output)
    numbers = [flag for flag in flags_of(*kinds).values() if flag.kind is int]
    assert len(numbers) >= 2
    for flag in numbers:
        code, _, err = run(command, flag.name, "2.5")
        kind = "whole numbers" if flag.many else "a whole number"
        assert code == 2 and one_sentence(err) == f"{flag.name} = '2.5': takes {kind}"
        code, _, err = run(command, flag.name, "1e1", "--bogus")
        assert code == 2 and "has no --bogus" in one_sentence(err)


def test_bug_26_an_exponent_reaches_the_configuration(run, tmp_path):
    numbers = "--total-timesteps 1.28e2 --num-envs 2 --num-steps=6_4 --hidden 1e1 4 --eval-episodes 0"
    assert run(f"train ppo {numbers} --run r")[0] == 0
    config = json.loads((tmp_path / "r" / "config.json").read_text())["config"]
    assert (config["total_timesteps"], config["num_steps"], config["hidden"]) == (128, 64, [10, 4])


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["is_slippery:False"], {"is_slippery": False}),
        (["a=1", "b:2.5", "c=text"], {"a": 1, "b": 2.5, "c": "text"}),
        (["a=true b:None c=1e3"], {"a": True, "b": None, "c": 1000.0}),
        (["a=1,b=2"], {"a": 1, "b": 2}),
        (["desc=['SF', 'FG'] size=(2, 3)"], {"desc": ["SF", "FG"], "size": (2, 3)}),
        (['{"a": false, "b": {"c": [1]}}', "d=0"], {"a": False, "b": {"c": [1]}, "d": 0}),
        (['s="x y" t=a b'], {"s": "x y", "t": "a b"}),
        (["p=C:\\dir", "u=http://a.b/c", "e=x=y"], {"p": "C:\\dir", "u": "http://a.b/c", "e": "x=y"}),
        (["n=007", "z="], {"n": "007", "z": ""}),
        (["a=1", "a=2"], {"a": 2}),
        ([], {}),
    ],
)
def test_bug_26_arguments_by_name(words, found):
    assert pairs(words) == found and list(map(type, pairs(words).values())) == list(map(type, found.values()))


@pytest.mark.parametrize("word", ["novalue", "=3", "3=4", "a b", "[1]", '{"a"}', "{1: 2}"])
def test_bug_26_other_words_are_no_arguments(word, run):
    with pytest.raises(ValueError, match=r"is not NAME=VALUE"):
        pairs([word])
    code, _, err = run("train ppo --env-kwargs", word)
    assert code == 2 and one_sentence(err).startswith(f"--env-kwargs: {word!r} is not NAME=VALUE, for example")


def test_deeply_nested_values_are_text():
    assert literal("[" * 100_000) == "[" * 100_000


# ----------------------------------------------------------------------------------------- arguments of an environment


def test_bug_26_use_02_training_and_evaluation_use_them_and_evaluation_may_override(run, tmp_path):
    line = "train ppo --env Counted-v0 --total-timesteps 128 --run r --env-kwargs"
    code, out, _ = run(line, "reward=2 length:5", *SMALL[:-1], 3)
    played = "return 10.00 ± 0.00, min 10.00, max 10.00, length 5.0, 3 episodes"
    assert code == 0 and out.splitlines()[-1] == f"greedy policy: {played}"
    config = json.loads((tmp_path / "r" / "config.json").read_text())["config"]
    assert config["env_kwargs"] == {"reward": 2, "length": 5}
    for words, mean in (((), 10), (("length=4",), 8), (("length=4", "reward=.5"), 2)):
        flags = ("--env-kwargs", *words) if words else ()
        assert json.loads(run("eval r --episodes 2 --json", *flags)[1])["mean"] == mean
        assert json.loads(run("eval r/policy.safetensors --episodes 2 --json", *flags)[1])["mean"] == mean
    two = run("eval r --episodes 2 --json --env-kwargs length=4 --env-kwargs reward=.5")
    assert json.loads(two[1])["mean"] == 2  # said twice: both count


def test_bug_26_an_argument_that_the_environment_does_not_have_is_its_users_mistake(run, tmp_path):
    code, out, err = run("train ppo --env Counted-v0 --run r --env-kwargs nonsense=1")
    assert code == 2 and out == "" and "nonsense" in one_sentence(err) and not (tmp_path / "r").exists()


def test_bug_26_what_lies_beside_a_policy_file_may_be_anybodys(run, tmp_path):
    run("train ppo --env Counted-v0 --total-timesteps 128 --run r --quiet", *SMALL)
    for text in ("[1]", '{"config": 3}', '{"config": {"env": "Other-v0", "env_kwargs": {"reward": 9}}}', "\0"):
        (tmp_path / "r" / "config.json").write_text(text)
        assert json.loads(run("eval r/policy.safetensors --episodes 1 --json")[1])["mean"] == 10
    (tmp_path / "r" / "config.json").write_text('{"config": {"env": "Counted-v0", "env_kwargs": [1]}}')
    code, _, err = run("eval r")
    assert code == 2 and one_sentence(err).endswith("its 'env_kwargs' are no object")
    kwargs = {"reward": {"not stored": "a.B"}}
    (tmp_path / "r" / "config.json").write_text(json.dumps({"config": {"env": "Counted-v0", "env_kwargs": kwargs}}))
    code, _, err = run("eval r")
    assert code == 2 and one_sentence(err) == "--env-kwargs = reward: config.json could not hold them, name them here"
    assert run("eval r --env-kwargs reward=1")[0] == 0


@pytest.mark.parametrize("how", ["at the end of a training", "eval"])
def test_bug_26_an_environment_that_raises_in_an_evaluation_is_one_sentence(how, run, tmp_path):
    """The training plays 64 steps in each copy, so that the trap, a later step, is met by the evaluation alone."""
    line = "train ppo --env Counted-v0 --total-timesteps 128 --run r --quiet --env-kwargs trap=70 length=100"
    code, out, err = run(line, *SMALL[:-1], 2 if how != "eval" else 0)
    if how == "eval":
        assert code == 0
        code, out, err = run("eval r --json")
    said = one_sentence(err)
    assert code == 1 and out == ""
    place = "--env = 'Counted-v0', episode 1, step 70"
    assert said.startswith(
        f"the evaluation ended early: {place}: step() raised RuntimeError: stuck at the \\x1b[31mwall"
    )
    assert said.endswith(f"the traceback is in {tmp_path / 'r' / 'traceback.txt'}")
    assert "RuntimeError: stuck at" in (tmp_path / "r" / "traceback.txt").read_text()


def test_bug_26_without_a_run_directory_it_is_still_one_sentence(run, tmp_path):
    run("train ppo --env Counted-v0 --total-timesteps 128 --run r --quiet", *SMALL)
    (tmp_path / "r" / "policy.safetensors").rename(tmp_path / "alone.safetensors")
    code, out, err = run("eval alone.safetensors --env-kwargs trap=3")
    assert code == 1 and out == "" and "episode 1, step 3: step() raised RuntimeError" in one_sentence(err)


# --------------------------------------------------------------------------------------------------------- suggestions

COMMANDS = "takes one of train, resume, verify, eval, plot, play, league, list, equations, demo, figures"
TYPOS = {
    "train trpo --detla 0.1": "train trpo has no --detla; did you mean --delta?",
    "train trpo --DELTA 0.1": "train trpo has no --DELTA; did you mean --delta?",
    "train trpo -delta 0.1": "train trpo has no -delta; did you mean --delta?",
    "train ppo --no-normalise-obs": "train ppo has no --no-normalise-obs; did you mean --no-normalize-obs or ",
    "train ppo --zzz": "train ppo has no --zzz; `minirl train ppo --help`",
    "train ppo --normalize-obs False": "--normalize-obs takes no value; did you mean --no-normalize-obs?",
    "train ppo --quiet true": "--quiet takes no value; leave out 'true'",
    "train trpo --activation tahn": "--activation = 'tahn': takes one of tanh, relu; did you mean tanh?",
    "train trpo --activation=TANH": "--activation = 'TANH': takes one of tanh, relu; did you mean tanh?",
    "train ppo --family bteaa": "--family = 'bteaa': takes one of auto, ",
    "train ppo --track tensorbord": "--track = 'tensorbord': takes one of tensorboard; did you mean tensorboard?",
    "train tpro": "algorithm 'tpro': takes one of reinforce, npg, trpo, ppo, ippo, mappo, selfplay; did you mean trpo?",
    "trian": f"command 'trian': {COMMANDS}; did you mean train?",
    "EVLA runs/x": f"command 'EVLA': {COMMANDS}; did you mean eval?",
    "trpo --lr 1": f"command 'trpo': {COMMANDS}; did you mean train trpo?",
    "eval --run x": "minirl eval takes RUN without --run: minirl eval RUN;",
    "eval x --episode 3": "eval has no --episode; did you mean --episodes?",
    "equations --makrdown": "equations has no --makrdown; did you mean --markdown?;",
    "list --env cart": "list has no --env; did you mean --envs?",
    "train ppo --env CartPole": "--env = 'CartPole' is not known to gymnasium: No registered env with id: ",
    "train ppo --env cartpole-V1": "--env = 'cartpole-V1' is not known to gymnasium: ",
    "train ppo --env minirl/Pendulum": "--env = 'minirl/Pendulum' is not known to gymnasium: ",
    "TRAIN TRPO --delta -1": "--delta = -1.0: takes a number > 0",
    "train PPO --delta 1": "ppo has no --delta: npg and trpo can do that",
}
ENDS = {
    "--env CartPole": "did you mean CartPole-v1?",
    "cartpole-V1": "did you mean CartPole-v1?",
    "minirl/Pendulum": "did you mean minirl/Pendulum-v1?",
}


@pytest.mark.parametrize("line", TYPOS)
def test_use_03_a_typing_error_gets_its_suggestion(line, run):
    code, out, err = run(line)
    said = one_sentence(err)
    assert code == 2 and out == "" and said.startswith(TYPOS[line])
    assert all(end in said for word, end in ENDS.items() if line.endswith(word))
    assert "--lam" not in said  # what resembles it little


def test_a_run_directory_may_have_any_name(run, tmp_path):
    assert run("train ppo --total-timesteps 128 --run no --quiet", *SMALL)[0] == 0
    assert json.loads(run("eval --episodes 1 --json no")[1])["episodes"] == 1


def test_use_03_methods_in_capitals_are_understood(run, tmp_path):
    assert run("train TRPO --total-timesteps 128 --run r --quiet", *SMALL)[0] == 0
    assert json.loads((tmp_path / "r" / "config.json").read_text())["algorithm"] == "trpo"


def test_use_03_what_a_colourful_terminal_gets_is_the_same_sentence(run, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    said = one_sentence(run("train ppo stray")[2])
    assert said == "Unrecognized options: stray; `minirl train ppo --help` explains the flags"


# --------------------------------------------------------------------------------------------------- wording by caller


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("num_envs = 0: takes a number >= 1", "--num-envs = 0: takes a number >= 1"),
        ("episodes = 0: takes a number >= 1", "--episodes = 0: takes a number >= 1"),
        ("mask_actions = True: set it to False", "--mask-actions = True: set it to False"),
        ("form = 'bound': set normalize_adv to False", "--form = 'bound': set --no-normalize-adv"),
        ("check the rewards, or set normalize_reward", "check the rewards, or set --normalize-reward"),
        ("or set vectorization = sync", "or set --vectorization = sync"),
        ("choose another directory with `run`", "choose another directory with --run"),
        ("hidden has 40 layers: takes at most 31", "hidden has 40 layers: takes at most 31"),
        ("runs/num_envs/x and 'num_envs' and my_num_envs = 3", "runs/num_envs/x and 'num_envs' and my_num_envs = 3"),
        ("the run in this env has a seed", "the run in this env has a seed"),
    ],
)
def test_use_05_fields_become_flags_at_the_command_line(message, said):
    assert in_flags(message) == said


def test_use_05_python_hears_of_fields_and_never_of_flags(run, tmp_path):
    minirl.train("ppo", run=tmp_path / "r", num_steps=16, total_timesteps=64)
    with pytest.raises(minirl.errors.FileError) as error:
        minirl.train("ppo", run=tmp_path / "r")
    assert "choose another directory with `run`" in str(error.value) and "--" not in str(error.value)
    assert "choose another directory with --run, or" in one_sentence(run("train ppo --run r")[2])


def test_use_05_the_command_for_a_run_that_would_import_a_module_is_printed(run, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own.py").write_text("import gymnasium, broken_envs\ngymnasium.register('Own-v0', broken_envs.Still)\n")
    assert run("train ppo --env own:Own-v0 --total-timesteps 128 --quiet --run", "my run", *SMALL)[0] == 0
    code, out, err = run("eval 'my run' --episodes 2 --stochastic --seed 1e1")
    command = "minirl eval 'my run' --episodes 2 --stochastic --seed 10 --import own:Own-v0"
    assert code == 2 and out == "" and one_sentence(err).endswith(f"would import a module; if you trust it: {command}")
    code, out, _ = run(command.removeprefix("minirl "))
    assert code == 0 and out.startswith("return 10.00 ± 0.00")
    for flag in ("--import=own:Own-v0", "--env own:Own-v0"):  # both say it
        assert run(f"eval 'my run' --episodes 2 {flag}")[0] == 0
    for flags, said in (
        ("--import own:Own-v0 --env own:Own-v0", "--import = 'own:Own-v0' beside --env own:Own-v0: give one of them"),
        ("--import Own-v0", "--import = 'Own-v0': takes MODULE:NAME, an environment and the module that has it"),
        ("--import :Own-v0", "--import = ':Own-v0': takes MODULE:NAME, an environment and the module that has it"),
        ("--import own:Other", "--env = 'own:Other' is not known to gymnasium"),
        ("--import nowhere:Own-v0", "--env = 'nowhere:Own-v0' is not known to gymnasium"),
    ):
        code, out, err = run(f"eval 'my run' {flags}")
        assert code == 2 and out == "" and one_sentence(err).startswith(said)
    # another one in its place
    assert run("eval 'my run' --import broken_envs:Still --episodes 2")[1].startswith("return 10.00 ± 0.00")
    command = run("eval", "my run", "--env-kwargs", "s='3'", "n=3", "t=x")[2].partition("trust it: ")[2]
    words = ["minirl", "eval", "my run", "--env-kwargs", "s='3'", "n=3", "t=x", "--import", "own:Own-v0"]
    assert shlex.split(command) == words
