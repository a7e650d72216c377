"""What each method of the table does for its users, whatever it is: a row that is added inherits these tests."""

import csv
import json
import re
import signal
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from processes import PATIENCE, cli, one_sentence, rows, start, wait_until
from toy_parallel import Mortal
from toy_teams import Dying, Unmatched, Vanishing, same_trees

import minirl
from minirl.cli import main
from minirl.deploy.agent import Agent
from minirl.deploy.team import Team
from minirl.envs.games import make_game
from minirl.envs.make_many_agents import make_many_agents
from minirl.errors import ConfigError, EnvError, MinirlError, SpaceError
from minirl.methods import METHODS

ROWS = pytest.mark.parametrize("method", METHODS)
SMALL = {"num_envs": 2, "num_steps": 32, "hidden": (4,), "total_timesteps": 192}
FLAGS = ("--num-envs", 2, "--num-steps", 32, "--hidden", 4, "--eval-episodes", 2)
# what a method is tried on, where its own default needs another package
INSTEAD = {"mpe2/simple_spread_v3": "minirl/SimpleSpread-v0"}
TEAMS = [name for name, row in METHODS.items() if row.config().env in INSTEAD]
OF_SEVERAL = [name for name, row in METHODS.items() if row.environments]


def env_of(method):
    env = METHODS[method].config().env
    return INSTEAD.get(env, env)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """method -> a run of six updates at the command line, made once: (directory, what was printed)."""
    done = {}

    def train(method):
        if method not in done:
            cwd = tmp_path_factory.mktemp(method)
            line = ("train", method, "--env", env_of(method), "--total-timesteps", 384, "--run", "run", *FLAGS)
            ended = cli(*line, cwd=cwd)
            assert ended.returncode == 0, ended.stderr
            done[method] = cwd / "run", ended
        return done[method]

    return train


def acts(policy, env):
    """Whether a policy, or that of each agent, gives an action of the environment's space."""
    if isinstance(policy, Team):
        envs = make_many_agents(env, 1)
        obs = {name: seen[0] for name, seen in envs.reset([0]).items()}
        actions = policy.act(obs)
        assert all(envs.action_spaces[name].contains(action) for name, action in actions.items())
        assert set(actions) == set(envs.agents) and repr(policy).startswith("Team(")
        return
    assert isinstance(policy, Agent)
    space = None if env.startswith("minirl/") else gymnasium.make(env).action_space
    action = policy.act(np.zeros(policy.obs_codec.dim, np.float32))
    assert space.contains(action) if space else 0 <= int(action) < make_game(env, 1).num_actions


# ------------------------------------------------------------------------------------ the command line


@ROWS
def test_a_run_has_its_files_and_a_policy_that_acts(method, trained):
    run, ended = trained(method)
    about = json.loads((run / "config.json").read_text())
    assert about["algorithm"] == method and about["config"]["env"] == env_of(method)
    with open(run / "metrics.csv", newline="") as file:
        table = list(csv.DictReader(file))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(table) == len(lines) == 6 and list(table[0]) == list(lines[0])
    for row, line in zip(table, lines, strict=True):
        assert row == {name: "" if value is None else str(value) for name, value in line.items()}
    acts(minirl.load(run), env_of(method))
    out = ended.stdout.splitlines()
    assert out[0].startswith(f"{method} on {env_of(method)}, seed 0: 384 steps in 2 environments")
    assert out[-2] == "done after 384 steps and 6 updates, saved in run" and out[-1].startswith("greedy policy: return")


@ROWS
def test_eval_plot_and_list_take_the_run(method, trained, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    run, ended = trained(method)
    monkeypatch.chdir(run.parent)

    def say(*line):
        assert main(list(line)) == 0, capsys.readouterr()
        return capsys.readouterr().out

    played = say("eval", "run", "--episodes", "2")
    assert ended.stdout.splitlines()[-1] == f"greedy policy: {played.strip().removesuffix(', greedy, seed 0')}"
    found = json.loads(say("eval", "run", "--episodes", "3", "--stochastic", "--seed", "5", "--json"))
    again = minirl.evaluate(run, episodes=3, stochastic=True, seed=5)
    assert found["returns"] == again.returns.tolist() and found["lengths"] == again.lengths.tolist()
    assert say("plot", "run", "--out", "it.svg") and (run.parent / "it.svg").stat().st_size > 3000
    assert "run" in (listed := say("list", "--runs", ".")) and env_of(method) in listed and method in listed


@ROWS
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"])
def test_a_signal_saves_and_ends_with_its_code(method, signum, code, tmp_path):
    line = ("train", method, "--env", env_of(method), "--total-timesteps", 10**9, "--run", "run", *FLAGS)
    process = start(*map(str, line), cwd=tmp_path)
    wait_until(lambda: rows(tmp_path / "run" / "metrics.jsonl") >= 2, process)
    process.send_signal(signum)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code and "Traceback" not in err
    assert out.splitlines()[-2].startswith(f"stopped by {signum.name} after ")
    acts(minirl.load(tmp_path / "run"), env_of(method))
    assert minirl.evaluate(tmp_path / "run", episodes=1).returns.shape == (1,)


@ROWS
def test_every_column_is_explained(method, trained):
    """docs/metrics.md names it in a row of this method, or of all."""
    page = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text("utf-8")
    known = [line.split("|")[1:3] for line in page.splitlines() if line.startswith("| `")]
    columns = (trained(method)[0] / "metrics.csv").read_text().splitlines()[0].split(",")
    for column in columns:
        assert [
            who for names, who in known if f"`{column}`" in names and {"all", method} & set(re.findall(r"\w+", who))
        ], column


MISTAKES = {  # what stands behind `train METHOD`, and how the sentence begins
    "--env Nobody-v3": ("--env = 'Nobody-v3' is ", OF_SEVERAL),
    "--num-envs 0": ("--num-envs = 0: takes a number >= 1", METHODS),
    "--hidden 2000000000": ("--hidden = (2000000000,): the networks take an estimated", METHODS),
    "--num-steps 1000000000000": ("--num-envs = ", METHODS),
    "--hiden 3": ("train METHOD has no --hiden", METHODS),
    "--hidden 0": ("--hidden = 0: takes a number >= 1", METHODS),
    "--hidden x": ("--hidden = 'x': takes whole numbers", METHODS),
    "--env CartPole-v1": ("--env = 'CartPole-v1' is no ", OF_SEVERAL),
    "--env minirl/TicTacToe-v0": ("--env = 'minirl/TicTacToe-v0' is no environment with several agents", TEAMS),
    "--env minirl/SimpleSpread-v0": ("--env = 'minirl/SimpleSpread-v0' is no game of two players", ["selfplay"]),
    "--env pettingzoo/nobody_v1": ("--env = 'pettingzoo/nobody_v1' is ", OF_SEVERAL),
    "--env mpe2/simple_spred_v3": ("--env = 'mpe2/simple_spred_v3' is ", OF_SEVERAL),
    "--env gymnasium:make": ("--env = 'gymnasium:make' ", OF_SEVERAL),
    "--env toy_teams:Unmatched": (
        "--env = 'toy_teams:Unmatched': the action_space of agent 'agent_1' is a Text",
        TEAMS,
    ),
    "--env toy_teams:Walk": ("--env = 'toy_teams:Walk': it is a Walk, a gymnasium environment for one agent", TEAMS),
    "--env toy_teams:Dying --mask-actions": ("--mask-actions = True: no agent has an action_mask", TEAMS),
    "--env toy_teams:Dying --rbf 5": ("--rbf = 5: ", TEAMS),
    "--env-kwargs size=3": ("--env-kwargs = {'size': 3}: a game takes none", ["selfplay"]),
    "--no-mask-actions": ("--mask-actions = False: a game ends with an illegal move", ["selfplay"]),
    "--env toy_parallel:Mortal --critic actions": (
        "--critic = 'actions': sums over actions, and those of b",
        ["mappo"],
    ),
}
LINES = [(method, line) for line, (_, who) in MISTAKES.items() for method in who]


@pytest.mark.parametrize(("method", "line"), LINES)
def test_a_mistake_is_one_sentence_and_exit_code_2(method, line, tmp_path, monkeypatch, capsys):
    """No traceback, nothing begun, nothing left behind."""
    if "mpe2/" in line or ("pettingzoo/" in line):
        pytest.importorskip("mpe2")
        pytest.importorskip("pygame")
    monkeypatch.chdir(tmp_path)
    code = main(["train", method, *line.split()])
    out, err = capsys.readouterr()
    assert code == 2 and out == ""
    assert one_sentence(err).startswith(MISTAKES[line][0].replace("METHOD", method))
    assert not list(tmp_path.glob("runs/*"))


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ("leduc_holdem_v4", "needs"),  # of PettingZoo's own extras
        ("rps_v2", "has no action masks"),
    ],
)
def test_a_game_without_masks_is_refused(env, said, tmp_path, monkeypatch, capsys):
    pytest.importorskip("pygame")
    monkeypatch.chdir(tmp_path)
    assert main(["train", "selfplay", "--env", f"pettingzoo/{env}"]) == 2
    assert said in one_sentence(capsys.readouterr().err)


@pytest.mark.parametrize("method", TEAMS)
def test_agents_that_never_come_back_end_the_training_with_a_sentence(method, tmp_path):
    line = ("train", method, "--env", "toy_teams:Vanishing", "--total-timesteps", 10**6, *FLAGS)
    ended = cli(*line, cwd=tmp_path)
    assert ended.returncode == 2, ended.stderr
    assert "env=0, step=3: reset() leaves no agents" in one_sentence(ended.stderr)


def test_an_agents_own_file_is_no_team(trained):
    run, _ = trained("ippo")
    with pytest.raises(ConfigError, match="give the run directory"):
        minirl.evaluate(next((run / "policies").iterdir()))


# ---------------------------------------------------------------------------------------------- Python


@ROWS
def test_train_and_evaluate_in_two_lines(method):
    result = minirl.train(method, env_of(method), **SMALL)
    played = minirl.evaluate(result, episodes=2)
    assert len(result.history) == 3 and result.algorithm == method and method in repr(result)
    assert played.returns.shape == played.lengths.shape == (2,) and (played.lengths > 0).all()
    acts(result.policy, env_of(method))


def test_a_methods_own_environment_is_the_default():
    assert minirl.train("selfplay", **SMALL).config.env == "minirl/TicTacToe-v0"
    assert minirl.train("ppo", **SMALL).config.env == "CartPole-v1"


@pytest.mark.parametrize("method", TEAMS)
def test_a_parallel_environment_as_a_class_a_function_and_an_object(method):
    one = Mortal()
    one.close = lambda: pytest.fail("an environment of the user's was closed")
    found = []
    for env, num_envs in ((Mortal, 2), (lambda **kwargs: Mortal(**kwargs), 2), (one, 1)):
        result = minirl.train(method, env, **(SMALL | {"num_envs": num_envs}))
        assert set(result.policy.agents) == {"a", "b", "c"}
        played = minirl.evaluate(result, env, episodes=2)
        assert (played.lengths == 5).all()
        found.append(result)
    for mine, its in zip(found[0].policy.agents.values(), found[1].policy.agents.values(), strict=True):
        assert np.array_equal(mine.theta, its.theta)
    with pytest.raises(EnvError, match="num_envs = 4 needs copies"):
        minirl.train(method, Mortal(), num_envs=4)


@pytest.mark.parametrize("method", TEAMS)
def test_a_run_on_a_class_is_evaluated_where_it_is_named(method, tmp_path):
    """Names of agents may be such as no file can have; what is saved is what was trained."""

    class Odd(Dying):
        possible_agents = ("../up 0", "Ünï/code%1")

    result = minirl.train(method, Odd, run=tmp_path / "run", **SMALL)
    written = {path.parent for path in tmp_path.rglob("*.safetensors")}
    assert written == {tmp_path / "run" / "policies", tmp_path / "run" / "checkpoints"}
    loaded = minirl.load(tmp_path / "run")
    assert set(loaded.agents) == set(Odd.possible_agents)
    for name, agent in result.policy.agents.items():
        assert np.array_equal(agent.theta, loaded.agents[name].theta)
    one, other = (minirl.evaluate(which, Odd, episodes=2) for which in (result, tmp_path / "run"))
    assert np.array_equal(one.returns, other.returns)
    with pytest.raises(SpaceError, match="its agents are a, b, c, the policies are of"):
        minirl.evaluate(result, Mortal)


def test_what_does_not_fit_a_team_is_said():
    result = minirl.train("ippo", Dying, **SMALL)

    class Wide(Dying):
        def action_space(self, agent):
            return gymnasium.spaces.Discrete(3)

    with pytest.raises(SpaceError, match="agent_0 has discrete 3 from 0, its policy was trained for discrete 2"):
        minirl.evaluate(result, Wide)
    with pytest.raises(MinirlError):
        minirl.evaluate(result, "CartPole-v1")
    with pytest.raises(ConfigError, match="a game takes opponent, one of random, one_ply"):
        minirl.evaluate(minirl.train("selfplay", **SMALL), env_kwargs={"opponent": "god"})
    with pytest.raises(EnvError, match="leaves no agents"):
        minirl.train("ippo", Vanishing, **SMALL)
    with pytest.raises(EnvError, match="Text"):
        minirl.train("mappo", Unmatched, **SMALL)


def test_a_game_that_does_not_end_is_stopped_and_that_is_said(monkeypatch):
    monkeypatch.setattr("minirl.multiagent.team_evaluation.MAX_STEPS", 4)
    result = minirl.train("ippo", Dying, **SMALL)
    with pytest.warns(UserWarning, match="3 of 3 games were stopped after 4 steps") as caught:
        played = minirl.evaluate(result, episodes=3)
    assert played.cut == 3 and (played.lengths == 4).all() and caught[0].filename == __file__
    assert (played.returns == 1 + 2 + 4 + 1 + 2 + 4 + 8).all()  # agent_1 is gone after its third step


def made(method):
    """A learner by `minirl.learn` on what it takes."""
    env, config = env_of(method), minirl.configure(method, **(SMALL | {"total_timesteps": 10**6}))
    if method in TEAMS:
        return minirl.learn(method, make_many_agents(env, 2), config)
    vector = make_game(env, 2) if METHODS[method].environments else gymnasium.make_vec(env, num_envs=2)
    return minirl.learn(method, vector, config)


@ROWS
def test_learn_snapshot_and_restore(method):
    """The state is one tree of arrays and plain values, a copy; going back to it is exact, and it can be used again."""
    learner = made(method)
    next(learner)
    before = learner.snapshot()
    next(learner)
    after = learner.snapshot()
    assert not same_trees(before, after)
    learner.restore(before)
    assert same_trees(before, learner.snapshot())
    next(learner)
    learner.restore(after)
    assert same_trees(after, learner.snapshot()) and learner.updates == 2
    assert method in repr(learner) and f"2 updates, {learner.global_step} of" in repr(learner)
    plain(after)
    acts(learner.policy, env_of(method))
    with pytest.raises(ConfigError):
        learner.restore({"learner": {"method": "another"}})


def plain(tree):
    """Arrays and what JSON has, nothing else."""
    if isinstance(tree, dict):
        assert all(isinstance(key, str) for key in tree)
    for each in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list | tuple) else ():
        plain(each)
    assert isinstance(tree, dict | list | tuple | np.ndarray | str | int | float | bool | None), type(tree)


@pytest.mark.parametrize("method", OF_SEVERAL)
def test_learn_says_what_it_takes(method):
    wrong = [gymnasium.make_vec("CartPole-v1", num_envs=2), Mortal, 3, None, make_game("minirl/TicTacToe-v0", 2)]
    if method == "selfplay":
        wrong[-1] = make_many_agents(Mortal, 2)
    for envs in wrong:
        with pytest.raises(EnvError, match="learn takes what minirl"):
            minirl.learn(method, envs)


@pytest.mark.parametrize("method", OF_SEVERAL)
def test_a_single_agents_method_does_not_take_what_is_for_several(method):
    envs = make_many_agents(Mortal, 2) if method in TEAMS else make_game("minirl/TicTacToe-v0", 2)
    with pytest.raises(EnvError, match="vector environment"):
        minirl.learn("ppo", envs)
