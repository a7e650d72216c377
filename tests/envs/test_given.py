"""Environments that are given otherwise than by an id, with arguments, and what files say of them."""

import functools
import json
import sys

import gymnasium
import numpy as np
import pytest
import toy_envs
from gymnasium import spaces
from gymnasium.wrappers import FlattenObservation, TimeLimit, TransformReward
from processes import cli, python
from toy_envs import Counting, Drift

import minirl
from minirl.deploy import policy_file
from minirl.envs import given
from minirl.envs.check import check_env
from minirl.envs.make import find, make_env, make_envs
from minirl.errors import ConfigError, EnvError, FileError
from minirl.files import safetensors
from minirl.runs.plot import read_curve

SMALL = {"num_envs": 2, "num_steps": 8, "hidden": (4,), "total_timesteps": 32, "minibatch_size": 8}


class Grid(gymnasium.Env):
    """A row of cells to walk to the end of; its arguments show in its spaces, and in what is seen."""

    made: list["Grid"] = []  # noqa: RUF012

    def __init__(self, size=5, goal="right", closed=False):
        self.observation_space, self.action_space = spaces.Discrete(size), spaces.Discrete(2)
        self.size, self.goal, self.closed = size, goal, closed
        self.steps = self.resets = 0
        Grid.made.append(self)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.resets += 1
        self.place = self.t = 0
        return 0, {}

    def step(self, action):
        self.steps, self.t = self.steps + 1, self.t + 1
        self.place = min(max(self.place + (1 if action else -1), 0), self.size - 1)
        return self.place, float(self.place == self.size - 1), self.t == 6, False, {}

    def close(self):
        self.closed = True


def grid(size=5, **kwargs):
    return Grid(size, **kwargs)


@pytest.fixture(autouse=True)
def fresh():
    Grid.made.clear()
    toy_envs.register()


# --------------------------------------------------------------------------------------------------- classes, functions


class Factory:
    """What makes environments may be an object, and may not be copied."""

    def __init__(self):
        self.made = 0

    def __call__(self, **kwargs):
        self.made += 1
        return TransformReward(gymnasium.make("minirl-test/Limited-v0"), lambda reward: 2 * reward)

    def __deepcopy__(self, memo):
        raise AssertionError("copied")


def test_use_01_a_function_may_put_wrappers_around_what_gymnasium_made():
    factory = Factory()
    result = minirl.train("ppo", factory, **SMALL)
    # one for the check
    assert {float(r) for update in result.history for r in update.returns} == {10.0} and factory.made == 3
    assert minirl.evaluate(result, episodes=1).returns.tolist() == [10.0] and "on Factory:" in repr(result)


@pytest.mark.parametrize("vectorization", ["sync", "async"])
@pytest.mark.parametrize(
    ("env", "title"),
    [
        (Grid, "Grid"),
        (grid, "grid"),
        (lambda size: Grid(size), "lambda"),
        (functools.partial(Grid, goal="left"), "Grid"),
    ],
)
def test_use_01_a_class_or_function_works_wherever_an_id_does(env, title, vectorization):
    check_env(env, env_kwargs={"size": 7})
    result = minirl.train("ppo", env, env_kwargs={"size": 7}, vectorization=vectorization, **SMALL)
    assert result.history[-1].global_step == 32 and result.policy.obs_codec.size == 7
    assert f"on {title}:" in repr(result)
    played = [
        minirl.evaluate(policy, env, 2, env_kwargs={"size": 7}).lengths.tolist() for policy in (result, result.policy)
    ]
    assert played == [[6, 6], [6, 6]] and minirl.evaluate(result, episodes=1).lengths.tolist() == [6]
    assert all(made.closed and made.size == 7 for made in Grid.made)
    envs = make_envs(env, 3, vectorization, size=4)
    assert envs.num_envs == 3 and envs.single_observation_space == spaces.Discrete(4)
    learner = minirl.learn("trpo", envs)
    assert next(learner).global_step == 3 * 256
    envs.close()


def test_use_01_a_class_learns_what_its_registered_id_learns():
    """The same numbers, whether gymnasium made it or we did."""
    theirs = minirl.train("trpo", "minirl-test/Drift-v0", seed=3, env_kwargs={"p": 0.4}, **SMALL)
    ours = minirl.train("trpo", Drift, seed=3, env_kwargs={"p": 0.4}, **SMALL)
    other = minirl.train("trpo", Drift, seed=3, **SMALL)
    assert np.array_equal(theirs.policy.theta, ours.policy.theta) and not np.array_equal(
        theirs.policy.theta, other.policy.theta
    )
    seen = [minirl.evaluate(r, episodes=3, seed=1).returns for r in (theirs, ours)]
    assert np.array_equal(*seen)


# -------------------------------------------------------------------------------------------------------------- objects


def test_use_01_an_object_of_gymnasiums_is_made_again_by_its_id_and_arguments():
    drawn = gymnasium.make("CartPole-v1", render_mode="rgb_array", max_episode_steps=9, sutton_barto_reward=True)
    result = minirl.train("ppo", drawn, **SMALL | {"num_envs": 3})
    assert result.config.env == "CartPole-v1"
    assert result.config.env_kwargs == {"sutton_barto_reward": True, "max_episode_steps": 9}
    assert (minirl.evaluate(result, episodes=5).lengths <= 9).all()
    endless = minirl.train("ppo", gymnasium.make("Pendulum-v1").unwrapped, **SMALL).config
    assert (endless.env, endless.env_kwargs) == ("Pendulum-v1", {"max_episode_steps": -1})
    spec = minirl.train("ppo", gymnasium.spec("CartPole-v1"), env_kwargs={"sutton_barto_reward": True}, **SMALL).config
    assert (spec.env, spec.env_kwargs) == ("CartPole-v1", {"sutton_barto_reward": True})


def test_use_01_wrappers_that_gymnasium_can_put_on_again_come_with_the_copies(tmp_path):
    wrapped = TransformReward(FlattenObservation(gymnasium.make("minirl-test/Limited-v0")), lambda reward: 100 * reward)
    result = minirl.train("ppo", wrapped, run=tmp_path / "run", **SMALL)
    assert {float(r) for update in result.history for r in update.returns} == {500.0}
    assert minirl.evaluate(result, episodes=1).returns.tolist() == [500.0]
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    # the id alone would be another one
    assert config["config"]["env"] is None and config["environment"] == "minirl-test/Limited-v0"
    with pytest.raises(ConfigError, match="env = None: the file does not know its environment, name it"):
        minirl.evaluate(tmp_path / "run")
    assert minirl.evaluate(tmp_path / "run", wrapped, 1).returns.tolist() == [500.0]


class Doubled(gymnasium.Wrapper):
    """A wrapper that does not tell its arguments."""

    def step(self, action):
        obs, reward, *rest = self.env.step(action)
        return obs, 2 * reward, *rest


ALONE = {
    "no spec": lambda: Grid(),
    "a wrapper without arguments": lambda: Doubled(gymnasium.make("minirl-test/Limited-v0")),
    "a wrapper without spec": lambda: TimeLimit(Grid(), 3),
}


@pytest.mark.parametrize("case", ALONE)
def test_use_01_an_object_that_cannot_be_made_again_is_used_alone_or_refused(case):
    env = ALONE[case]()
    small = SMALL | {"num_envs": 1, "total_timesteps": 16}
    for changes in ({"num_envs": 4}, {"vectorization": "async"}):
        with pytest.raises(
            EnvError, match=rf"env is a {type(env).__name__} that .* needs copies: give a function.* num_envs to 1"
        ):
            minirl.train("ppo", env, **small | changes)
    result = minirl.train("ppo", env, **small)
    assert result.config.env is env and result.history[-1].global_step == 16
    assert minirl.evaluate(result, env, 2).cut == minirl.evaluate(result, episodes=1).cut == 0
    assert not getattr(env.unwrapped, "closed", False)
    check_env(env)
    # gymnasium's own argument changes nothing
    assert make_env(env, disable_env_checker=True).unwrapped is env.unwrapped
    assert not getattr(env.unwrapped, "closed", False) and find(env).id


def test_use_01_a_function_that_gives_the_same_object_each_time_is_refused():
    one = Grid()
    with pytest.raises(EnvError, match="the same object each time"):
        minirl.train("ppo", lambda: one, **SMALL)


# ------------------------------------------------------------------------------------------------------- what files say


def test_use_01_files_name_what_can_be_imported_again(tmp_path):
    run = minirl.train("ppo", Drift, run=tmp_path / "run", env_kwargs={"p": 0.5}, **SMALL).run
    config = json.loads((run / "config.json").read_text())["config"]
    assert (config["env"], config["env_kwargs"], config["num_envs"]) == ("toy_envs:Drift", {"p": 0.5}, 2)
    again = minirl.configure("ppo", **config)  # what is stored can be used
    assert np.array_equal(minirl.train("ppo", **vars(again)).policy.theta, minirl.load(run).theta)
    with pytest.raises(
        ConfigError,
        match=r"the file names 'toy_envs:Drift', which would import a module; .* set env to 'toy_envs:Drift'",
    ):
        minirl.evaluate(run)
    for env in ("toy_envs:Drift", Drift):  # its arguments come from the file
        lengths = minirl.evaluate(run, env, 30).lengths
        assert np.array_equal(lengths, minirl.evaluate(run, Drift, 30, env_kwargs={"p": 0.5}).lengths)
        assert not np.array_equal(lengths, minirl.evaluate(run, Drift, 30, env_kwargs={}).lengths)


@pytest.mark.parametrize(
    "env", [lambda: Grid(), functools.partial(Grid, 5), Grid().__class__.__new__], ids=["lambda", "partial", "builtin"]
)
def test_use_01_what_has_no_name_is_stored_as_null(env):
    assert given.stored(env) is None

    class Local(Grid):
        pass

    Local.__module__ = "__main__"
    assert given.stored(Local) is None and given.stored(Grid) == f"{__name__}:Grid" and given.stored(Grid()) is None


def test_use_01_a_run_of_a_lambda_says_that_it_cannot_name_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = minirl.train("ppo", lambda: Grid(6), run="auto", **SMALL)
    assert result.run == tmp_path / "runs" / "lambda-ppo-0-1"
    assert json.loads((result.run / "config.json").read_text())["config"]["env"] is None
    assert policy_file.load(result.run)[1]["env"] == "" and read_curve(result.run).env == "lambda"
    minirl.save(result, "p")
    for path in (result.run, "p"):
        with pytest.raises(ConfigError, match="does not know its environment, name it"):
            minirl.evaluate(path)
        assert minirl.evaluate(path, lambda: Grid(6), 1).lengths.tolist() == [6]


def test_use_01_the_command_line_takes_module_and_class(tmp_path):
    flags = (
        "--env",
        "toy_envs:Drift",
        "--run",
        "run",
        "--num-envs",
        2,
        "--num-steps",
        8,
        "--total-timesteps",
        16,
        "--eval-episodes",
        1,
    )
    done = cli("train", "ppo", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "config.json").read_text())["config"]["env"] == "toy_envs:Drift"
    assert cli("eval", "run", "--env", "toy_envs:Drift", "--episodes", 1, cwd=tmp_path).returncode == 0


# ------------------------------------------------------------------------------------------------------------ arguments


def test_use_02_arguments_are_used_in_training_checking_and_evaluating(tmp_path):
    sure = minirl.train(
        "ppo", "FrozenLake-v1", run=tmp_path / "run", env_kwargs={"is_slippery": False, "map_name": "8x8"}, **SMALL
    )
    assert sure.policy.obs_codec.size == 64  # of the 8 × 8 map
    assert policy_file.load(sure.run)[1]["env_kwargs"] == {"is_slippery": False, "map_name": "8x8"}
    played = [minirl.evaluate(p, episodes=3, stochastic=True).lengths.tolist() for p in (sure, sure.run)]
    assert played[0] == played[1] == minirl.evaluate(sure.run, "FrozenLake-v1", 3, True).lengths.tolist()
    other = minirl.evaluate(sure.run, "FrozenLake8x8-v1", 1)  # another id: its own arguments
    assert other.lengths[0] > 0
    with pytest.raises(EnvError, match=r"FrozenLake-v1.*cannot be made.*unexpected keyword argument 'colour'"):
        minirl.train("ppo", "FrozenLake-v1", env_kwargs={"colour": "red"}, **SMALL)
    with pytest.raises(EnvError, match=r"cannot be made.*colour"):
        minirl.evaluate(sure, env_kwargs={"colour": "red"})


def test_use_02_arguments_that_no_file_can_hold_are_asked_for_again(tmp_path):
    run = minirl.train("ppo", Counting, run=tmp_path / "run", env_kwargs={"actions": spaces.Discrete(3)}, **SMALL).run
    stored = json.loads((run / "config.json").read_text())["config"]["env_kwargs"]
    assert stored == {"actions": {"not stored": "gymnasium.spaces.discrete.Discrete"}}
    with pytest.raises(ConfigError, match=r"env_kwargs = None: .*give them again"):
        minirl.evaluate(run, Counting)
    assert minirl.evaluate(run, Counting, 1, env_kwargs={"actions": spaces.Discrete(3)}).lengths.tolist() == [3]


class Odd:
    pass


def nested(depth):
    return {"a": nested(depth - 1)} if depth else {}


UNHELD = (Odd(), Odd, np.zeros(2), float("nan"), float("inf"), {1: 2}, b"x", 1j, {1}, 1 << 20_000, nested(40))


@pytest.mark.parametrize(
    ("kwargs", "held"),
    [
        ({}, {}),
        ({"a": 1, "b": [1.5, None, "x"], "c": {"d": True}}, {"a": 1, "b": [1.5, None, "x"], "c": {"d": True}}),
        (
            {"a": np.float32(0.5), "b": np.int64(3), "c": np.bool_(True), "d": (1, 2)},
            {"a": 0.5, "b": 3, "c": True, "d": [1, 2]},
        ),
        *(({"a": bad}, None) for bad in UNHELD),
        ({"a": "x" * 200_000}, None),
    ],
    ids=lambda _: "kwargs",
)
def test_use_02_what_a_file_holds_of_arguments_is_the_same_when_it_is_read(kwargs, held, tmp_path):
    assert given.as_json(kwargs) == held
    minirl.save(minirl.learn("ppo", make_envs(Grid, 1)).policy, tmp_path / "p", "Grid")
    policy = minirl.load(tmp_path / "p")
    policy_file.save(tmp_path / "p", policy, "", "Grid", {"env_kwargs": given.as_json(kwargs)})
    assert policy_file.load(tmp_path / "p")[1]["env_kwargs"] == held


@pytest.mark.parametrize("bad", [[], "x", 5, True])
def test_use_02_a_file_with_other_arguments_is_refused(bad, tmp_path):
    policy = minirl.learn("ppo", make_envs(Grid, 1)).policy
    with pytest.raises(FileError, match="cannot be written: env_kwargs has to be an object"):
        policy_file.save(tmp_path / "p", policy, "", "Grid", {"env_kwargs": bad})
    minirl.save(policy, tmp_path / "p", "Grid")
    arrays, metadata = safetensors.read(tmp_path / "p")
    about = json.loads(metadata["minirl"]) | {"env_kwargs": bad}
    safetensors.write(tmp_path / "p", arrays, {"minirl": json.dumps(about)})
    with pytest.raises(FileError, match="holds no minirl policy: env_kwargs has to be an object"):
        minirl.load(tmp_path / "p")


# ---------------------------------------------------------------------------------------------------------- wrong kinds


class Duck:
    """All of an environment but its class."""

    observation_space, action_space = spaces.Discrete(2), spaces.Discrete(2)
    reset = step = None


@pytest.mark.parametrize(
    ("env", "named"),
    [
        (make_envs("CartPole-v1", 2), "env is a vector environment, SerialVectorEnv"),
        (gymnasium.vector.SyncVectorEnv, "env is a vector environment, SyncVectorEnv"),
        (Duck(), "env is a test_given.Duck, which is no gymnasium.Env"),
        (Duck, "Duck.* cannot be made.*gymnasium.Env"),
        (lambda: None, "lambda.* cannot be made.*gymnasium.Env"),
        (print, "print.* cannot be made"),
        (Counting.step, "step.* cannot be made"),
        ("nowhere:Grid", "No module named 'nowhere'"),
        ("toy_envs:Nothing", "'toy_envs:Nothing' is not known to gymnasium"),
        ("", "not known to gymnasium"),
    ],
    ids=lambda x: getattr(x, "__name__", None) or str(x)[:30],
)
def test_bug_27_what_makes_no_environment_is_refused(env, named):
    policy = minirl.learn("ppo", make_envs(Grid, 1)).policy
    for call in (
        lambda: minirl.train("ppo", env, **SMALL),
        lambda: minirl.evaluate(policy, env) if env else minirl.evaluate(policy, "x"),
        lambda: check_env(env),
        lambda: make_envs(env, 2),
    ):
        with pytest.raises(EnvError, match=named if env else None):
            call()


@pytest.mark.parametrize("env", [5, None, 2.5, ["CartPole-v1"], {"id": "CartPole-v1"}, b"CartPole-v1"])
def test_bug_27_values_that_are_no_environments_are_refused(env):
    with pytest.raises(ConfigError, match=r"env = .*: takes a gymnasium id, an environment's class"):
        minirl.train("ppo", env)
    with pytest.raises(EnvError, match=r"env = .*: takes a gymnasium id, an environment's class"):
        make_env(env)


def test_bug_27_arguments_beside_an_object_are_refused():
    for call in (
        lambda: minirl.train("ppo", gymnasium.make("CartPole-v1"), env_kwargs={"a": 1}),
        lambda: make_env(Grid(), size=3),
    ):
        with pytest.raises(
            ConfigError, match=r"env_kwargs = .*: the environment is made already; give its class, or its id"
        ):
            call()


# ---------------------------------------------------------------------------------------------------------- unknown ids


def test_use_08_the_module_that_registers_an_id_is_named(tmp_path, monkeypatch):
    """A package of this name is installed: it has to be imported before its ids are known."""
    (tmp_path / "ale_py.py").write_text(
        "import gymnasium, toy_envs\ngymnasium.register('ALE/Pong-v5', toy_envs.Counting)\n"
    )
    (tmp_path / "games.py").write_text(
        "import gymnasium, toy_envs\ngymnasium.register('Games/Chess-v0', toy_envs.Counting)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name, module in (("ALE/Pong-v5", "ale_py"), ("Games/Chess-v0", "games")):
        with pytest.raises(EnvError, match=f"the module {module} is installed, and '{module}:{name}' imports it first"):
            make_env(name)
        try:
            assert make_env(f"{module}:{name}").unwrapped.__class__ is Counting
        finally:
            sys.modules.pop(module)
            gymnasium.registry.pop(name)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("ALE/Pong-v5", "pip install ale-py, then 'ale_py:ALE/Pong-v5' imports it"),
        ("MiniGrid-Empty-5x5-v0", "pip install minigrid, then 'minigrid:MiniGrid-Empty-5x5-v0'"),
        ("Nobody/Knows-v0", "'MODULE:Nobody/Knows-v0' imports the module that registers it"),
        ("test/Foo-v0", "'MODULE:test/Foo-v0' imports"),
        ("__main__/Foo-v0", "'MODULE:__main__/Foo-v0' imports"),
    ],
)
def test_use_08_else_the_package_or_how_a_module_is_named(name, remedy, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)
    with pytest.raises(EnvError) as caught:
        make_env(name)
    assert remedy in str(caught.value) and "--" not in str(caught.value)


def test_use_08_a_misspelt_id_gets_gymnasiums_suggestion_alone():
    with pytest.raises(EnvError, match="did you mean CartPole-v1"):
        make_env("CartPol-v1")


def test_use_01_a_class_in_the_callers_own_script(tmp_path):
    """What stands in __main__ works, and is not named in files."""
    (tmp_path / "script.py").write_text(
        """
import json, gymnasium, minirl, toy_envs
class Mine(toy_envs.Counting):
    pass
result = minirl.train("ppo", Mine, run="run", num_envs=2, num_steps=8, total_timesteps=16, vectorization="async")
print(json.load(open("run/config.json"))["config"]["env"], minirl.evaluate(result, episodes=2).lengths.tolist())
"""
    )
    done = python("script.py", cwd=tmp_path)
    assert done.stdout == "None [3, 3]\n"
    assert "Mine does not come back to where it was" in done.stderr and done.stderr.count("\n") == 2
