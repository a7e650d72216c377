"""What people pass that is of the wrong kind, and which of the two callers a message speaks to."""

import copy
import inspect
import pickle
import pydoc
import re
import subprocess
import sys
import typing
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from toy_envs import Counting, learner, vector

import minirl
from minirl.algorithms import ALGORITHMS
from minirl.algorithms.ppo import PPOConfig
from minirl.algorithms.trpo import TRPOConfig
from minirl.config import Config, FieldDocs
from minirl.errors import ConfigError, EnvError, FileError, MinirlError, SpaceError, UserError

SMALL = {"num_envs": 2, "num_steps": 8, "hidden": (4,), "total_timesteps": 32, "minibatch_size": 8}


@pytest.fixture(scope="module")
def result():
    return minirl.train("ppo", "CartPole-v1", **SMALL)


class OtherVector:
    """As Stable-Baselines3's: num_envs and the spaces of one environment."""

    num_envs, observation_space, action_space = 4, spaces.Box(-1, 1, (2,)), spaces.Discrete(2)


class OldVector(OtherVector):
    """As gym's: all the names, spaces of another package."""

    single_observation_space = type("Box", (), {"__module__": "gym.spaces.box"})()
    single_action_space, metadata, unwrapped, reset, step = single_observation_space, {}, None, None, None


# ---------------------------------------------------------------------------------------------------------- wrong kinds

TRAIN = {
    "algorithm class": (
        lambda: minirl.train(PPOConfig),
        "algorithm = <class .*: takes a name, one of reinforce, npg, trpo, ppo",
    ),
    "algorithm list": (lambda: minirl.configure(["ppo"]), "algorithm = .*: takes a name"),
    "algorithm None": (lambda: minirl.learn(None, None), "algorithm = None: takes a name"),
    "total_timesteps text": (lambda: minirl.train("ppo", total_timesteps="1000"), "total_timesteps = '1000': takes"),
    "hidden number": (
        lambda: minirl.train("ppo", hidden=64),
        r"hidden = 64: takes a sequence of numbers, for example \(64, 64\)",
    ),
    "seed None": (lambda: minirl.train("ppo", seed=None), "seed = None: takes"),
    "env_kwargs list": (lambda: minirl.train("ppo", env_kwargs=[1]), r"env_kwargs = \[1\]: takes a dict"),
    "run number": (lambda: minirl.train("ppo", run=123), "run = 123: takes the name of a directory"),
    "run True": (lambda: minirl.train("ppo", run=True), "run = True: takes the name of a directory"),
    "run bytes": (lambda: minirl.train("ppo", run=b"x"), "run = b'x': takes the name of a directory"),
    "save_every 0": (lambda: minirl.train("ppo", run="auto", save_every=0), "save_every = 0: takes a number >= 1"),
    "save_every text": (lambda: minirl.train("ppo", run="auto", save_every="5"), "save_every = '5': takes"),
    "save_every 2.5": (lambda: minirl.train("ppo", run="auto", save_every=2.5), "save_every = 2.5: takes"),
    "progress": (lambda: minirl.train("ppo", progress="yes"), "progress = 'yes': takes a value of type bool"),
    "track": (lambda: minirl.train("ppo", run="auto", track="wandb"), "track = 'wandb': takes one of tensorboard"),
    "track without a run": (
        lambda: minirl.train("ppo", track="tensorboard"),
        r"track = 'tensorboard': .*name one as `run`, or 'auto'",
    ),
    "callback number": (
        lambda: minirl.train("ppo", callback=5),
        r"callback = 5: takes a function of \(update\) or \(update, learner\)",
    ),
    "callback without arguments": (
        lambda: minirl.train("ppo", callback=lambda: None),
        "callback = .* takes no arguments",
    ),
    "callback of three": (lambda: minirl.train("ppo", callback=lambda a, b, c: None), "callback = .* takes a, b, c"),
    "callback by name": (lambda: minirl.train("ppo", callback=lambda a, *, b: None), "callback = .* takes a, b"),
    "learn dict": (
        lambda: minirl.learn("ppo", vector(Counting, {}), {"lr": 1e-3}),
        "config is a dict: ppo takes a PPOConfig, made by",
    ),
}
LEARN = {
    "an id": ("CartPole-v1", "envs is a str: learn takes a vector environment, for example gymnasium.make_vec"),
    "one environment": (Counting(), "envs is a Counting: learn takes a vector"),
    "a list": ([Counting(), Counting()], "envs is a list: learn takes a vector"),
    "a class": (gymnasium.vector.SyncVectorEnv, "envs is the class SyncVectorEnv: learn takes a vector"),
    "None": (None, "envs is a NoneType: learn takes a vector"),
    "another library's": (
        OtherVector(),
        "envs is a OtherVector without single_observation_space, so none of gymnasium's",
    ),
    "gym's": (OldVector(), "envs is a OldVector with a space of gym.spaces.box, not of gymnasium.spaces"),
}


@pytest.mark.parametrize("case", TRAIN)
def test_bug_27_wrong_kinds_in_training_are_named(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, named = TRAIN[case]
    with pytest.raises(UserError, match=named):
        call()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("case", LEARN)
def test_bug_27_what_is_no_vector_is_named(case):
    envs, named = LEARN[case]
    with pytest.raises(EnvError, match=named):
        minirl.learn("ppo", envs)


EVALUATE = {
    "a number": (
        lambda p: minirl.evaluate(5),
        ConfigError,
        "policy_or_run is a int: takes a policy, a Result, a Learner, a run directory",
    ),
    "nothing": (lambda p: minirl.evaluate(None, "CartPole-v1"), ConfigError, "policy_or_run is a NoneType"),
    "swapped": (
        lambda p: minirl.evaluate(gymnasium.make("CartPole-v1"), p),
        ConfigError,
        "policy_or_run is a TimeLimit",
    ),
    "env number": (lambda p: minirl.evaluate(p, 5), EnvError, "env = 5: takes a gymnasium id"),
    "env None": (
        lambda p: minirl.evaluate(p),
        ConfigError,
        "env = None: a policy does not know its environment, name it",
    ),
    "episodes 2.5": (lambda p: minirl.evaluate(p, "CartPole-v1", 2.5), ConfigError, "episodes = 2.5: takes"),
    "episodes text": (lambda p: minirl.evaluate(p, "CartPole-v1", "20"), ConfigError, "episodes = '20': takes"),
    "episodes True": (lambda p: minirl.evaluate(p, "CartPole-v1", True), ConfigError, "episodes = True: takes"),
    "stochastic text": (
        lambda p: minirl.evaluate(p, "CartPole-v1", 1, "yes"),
        ConfigError,
        "stochastic = 'yes': takes",
    ),
    "seed None": (
        lambda p: minirl.evaluate(p, "CartPole-v1", seed=None),
        ConfigError,
        "seed = None: takes a value of type int",
    ),
    "env_kwargs": (
        lambda p: minirl.evaluate(p, "CartPole-v1", env_kwargs=5),
        ConfigError,
        "env_kwargs = 5: takes a dict",
    ),
    "no file": (lambda p: minirl.evaluate("CartPole-v1"), FileError, "cannot be read"),
    "load": (lambda p: minirl.load(5), FileError, "5 is no path: takes a run directory or a policy file"),
    "load a Result": (lambda p: minirl.load(p), FileError, "is no path"),
    "save to a number": (
        lambda p: minirl.save(p, 5, "CartPole-v1"),
        FileError,
        "path = 5: takes the name of a file, not int",
    ),
    "save env number": (lambda p: minirl.save(p, "p", 5), EnvError, "env = 5: takes a gymnasium id"),
    "save env unprintable": (
        lambda p: minirl.save(p, "p", "a\nb"),
        FileError,
        "p cannot be written: env has to be printable text",
    ),
    "save algorithm": (
        lambda p: minirl.save(p, "p", "x", 5),
        FileError,
        "p cannot be written: algorithm has to be printable text",
    ),
    "save a path": (
        lambda p: minirl.save("p", "q"),
        ConfigError,
        "policy = 'p': takes a policy, a Result or a Learner",
    ),
    "save a theta": (lambda p: minirl.save(p.theta, "q"), ConfigError, "is a ndarray"),
}


@pytest.mark.parametrize("case", EVALUATE)
def test_bug_27_wrong_kinds_in_evaluating_and_saving_are_named(case, result, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, kind, named = EVALUATE[case]
    with pytest.raises(kind, match=named):
        call(result.policy)
    assert not list(tmp_path.iterdir())


def test_bug_27_what_can_be_meant_works(result, tmp_path):
    """A Result or Learner where a policy is wanted, an environment where an id is."""
    made = minirl.learn("ppo", vector(Counting, {}))
    env = gymnasium.make("CartPole-v1")
    plays = [minirl.evaluate(p, e, 2).returns for p in (result, result.policy) for e in ("CartPole-v1", env)]
    assert all(np.array_equal(returns, plays[0]) for returns in plays)
    assert minirl.evaluate(made, Counting, np.int64(2)).lengths.tolist() == [3, 3]
    for name, policy, trained in (("result", result, None), ("policy", result.policy, env), ("learner", made, "X-v0")):
        minirl.save(policy, tmp_path / name, trained)
        assert np.array_equal(
            minirl.load(tmp_path / name).theta,
            getattr(policy, "policy", policy).theta if name != "policy" else policy.theta,
        )
    assert np.array_equal(minirl.evaluate(tmp_path / "result", episodes=2).returns, plays[0])
    assert np.array_equal(minirl.evaluate(tmp_path / "policy", episodes=2).returns, plays[0])
    policy, history, run = result
    assert policy is result.policy and history is result.history and run is None


# --------------------------------------------------------------------------------------------------------------- acting


class Tupled(Counting):
    """Its observations are a pair whose second part is a dict: it looks like what reset() returns."""

    def __init__(self):
        super().__init__()
        self.observation_space = spaces.Tuple(
            (spaces.Discrete(2), spaces.Dict({"x": spaces.Box(0, 9, (2,), np.float64)}))
        )

    def _observe(self):
        return 1, {"x": np.ones(2)}


class Numbered(Counting):
    def __init__(self):
        super().__init__()
        self.observation_space = spaces.Discrete(5)

    def _observe(self):
        return 2


BATCH = {"x": np.ones((3, 2))}
ACT = {
    "a batch": (np.zeros((4, 4)), r"observation of shape \(4, 4\): act takes one \(4,\), act_batch takes \(N, 4\)"),
    "too short": (np.zeros(3), r"observation of shape \(3,\): act takes one \(4,\)"),
    "a number": (1.0, r"observation of shape \(\): act takes one \(4,\)"),
    "nothing": (None, "observation of type object, None: this policy takes numbers"),
    "text": (["a", "b", "c", "d"], "observation of type text, .*'a'"),
    "ragged": ([[1.0], [1.0, 2.0], 1, 1], "observation "),
    "objects": ([object()] * 4, "observation "),
    "reset()": ((np.zeros(4), {}), r"obs is a tuple of 2: reset\(\) returns \(obs, info\), and act takes obs alone"),
    "step()": ((np.zeros(4), 1.0, False, False, {}), r"obs is a tuple of 5: step\(\) returns \(obs, reward, "),
    "a dict": ({"x": 1}, "observation of type object"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", ACT)
def test_use_09_an_observation_that_does_not_fit_is_told_from_a_batch(case, result):
    obs, named = ACT[case]
    with pytest.raises(SpaceError, match=named):
        result.policy.act(obs)
    if case != "a batch":
        with pytest.raises(SpaceError):
            result.policy.act_batch(obs)


def test_use_09_a_single_observation_for_act_batch(result):
    for call in (result.policy.act_batch, result.policy.phi):
        with pytest.raises(
            SpaceError, match=r"observation of shape \(4,\): act takes one \(4,\), act_batch takes \(N, 4\)"
        ):
            call(np.zeros(4))
        with pytest.raises(SpaceError, match=r"reset\(\) returns"):
            call((np.zeros((3, 4)), {}))
    numbered = learner("ppo", vector(Numbered, {})).policy
    assert numbered.act(2) in (0, 1) and numbered.act_batch([2, 3]).shape == (2,)
    with pytest.raises(SpaceError, match=r"observation of shape \(2,\): act takes one \(\), act_batch takes \(N,\)"):
        numbered.act([2, 3])
    with pytest.raises(SpaceError, match=r"observation of shape \(\): act takes one \(\), act_batch takes \(N,\)"):
        numbered.act_batch(2)
    with pytest.raises(SpaceError, match="takes whole numbers, 0 to 4"):
        numbered.act(7)


def test_use_09_observations_of_parts():
    policy = learner("ppo", vector(Tupled, {})).policy
    one, batch = (1, {"x": np.ones(2)}), (np.array([1, 0, 1]), BATCH)
    assert policy.act(one) in (0, 1) and policy.act_batch(batch).shape == (3,)
    with pytest.raises(SpaceError, match="obs is a batch: act takes one observation, act_batch takes a batch"):
        policy.act([*batch])
    with pytest.raises(SpaceError, match="obs is a single one"):
        policy.act_batch(list(one))
    with pytest.raises(SpaceError, match=r"reset\(\) returns"):
        policy.act((one, {}))


@pytest.mark.parametrize("rng", [0, True, "seed"], ids=str)
def test_bug_27_what_is_no_generator_is_named(rng, result):
    for call, obs in ((result.policy.act, np.zeros(4)), (result.policy.act_batch, np.zeros((2, 4)))):
        with pytest.raises(ConfigError, match=r"rng = .*: takes a generator, as numpy.random.default_rng"):
            call(obs, rng)


@pytest.mark.parametrize("mask", [[[1], [1, 0]], "ab", 1, {"action_mask": [1, 1]}], ids=str)
def test_bug_27_what_is_no_mask_is_named(mask, result):
    for call, obs in ((result.policy.act, np.zeros(4)), (result.policy.act_batch, np.zeros((2, 4)))):
        with pytest.raises(SpaceError, match="action_mask of shape"):
            call(obs, mask=mask)
    with pytest.raises(SpaceError, match="action_mask of 2 rows: there are 3 observations"):
        result.policy.act_batch(np.zeros((3, 4)), mask=np.ones((2, 2)))


# ------------------------------------------------------------------------------------------- whose words, whose numbers

MISTAKES = (
    lambda path: minirl.train("ppo", run=path),
    lambda path: minirl.train("ppo", run=path / "file" / "below"),
    lambda path: minirl.train("ppo", "Nobody-v3"),
    lambda path: minirl.evaluate(path / "policy.safetensors"),
    lambda path: minirl.evaluate(path / "nowhere"),
    lambda path: minirl.train("ppo", vectorization="vector_entry_point", env=Counting),
)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_use_05_no_flag_is_named_in_python(mistake, tmp_path, result):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "file").write_text("")
    minirl.save(result, tmp_path / "policy.safetensors", "toy_envs:Counting")
    with pytest.raises(MinirlError) as caught:
        mistake(tmp_path)
    assert not re.search(r"(^|[\s(])--?[a-z]", str(caught.value)), caught.value


def test_use_05_one_sentence_in_the_words_of_each_caller(tmp_path, capsys):
    from minirl.cli import main

    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileError, match="choose another directory with `run`"):
        minirl.train("ppo", run=tmp_path)
    assert main(["train", "ppo", "--run", str(tmp_path)]) == 2
    assert "choose another directory with --run" in capsys.readouterr().err


def unset():
    """Configurations in which nobody has set num_envs."""
    config = minirl.configure("ppo", num_steps=8)
    yield from (
        None,
        config,
        PPOConfig(num_steps=8),
        config.replace(seed=1),
        copy.deepcopy(config),
        pickle.loads(pickle.dumps(config)),
    )


def test_use_05_the_number_of_environments_comes_from_the_vector_unless_it_is_set():
    envs = vector(Counting, *[{}] * 8)
    for config in unset():
        made = minirl.learn("ppo", envs, config)
        assert made.config.num_envs == 8 and type(made.config.num_envs) is int
    assert PPOConfig().num_envs == 4  # what train takes
    for given in (4, np.int64(4), 3):
        with pytest.raises(ConfigError, match=f"num_envs = {given}: the vector environment has 8"):
            minirl.learn("ppo", envs, minirl.configure("ppo", num_envs=given))
    assert minirl.learn("ppo", envs, minirl.configure("ppo", num_envs=8)).config.num_envs == 8


# ------------------------------------------------------------------------------------------------------------ callbacks


def test_use_12_a_callback_that_takes_two_gets_the_learner_too():
    seen = []

    class Method:
        def hear(self, update, learner):
            seen.append(("method", update.number, learner.global_step))

        def __call__(self, update, verbose=False):
            seen.append(("call", update.number, verbose))

    def with_default(update, learner=None):
        seen.append(("default", update.number, learner.updates))

    hears = [
        lambda u, k: seen.append(("two", u.number, k.policy.theta.shape)),
        Method().hear,
        Method(),
        with_default,
        lambda u, seen=seen: seen.append(("one", u.number)),
        lambda *args: seen.append(("any", len(args))),
        seen.append,
    ]
    for hear in hears:
        minirl.train("ppo", callback=hear, **SMALL | {"total_timesteps": 16})
    assert seen[:-1] == [
        ("two", 1, (30,)),
        ("method", 1, 16),
        ("call", 1, False),
        ("default", 1, 1),
        ("one", 1),
        ("any", 1),
    ]
    assert seen[-1].number == 1


def test_use_12_a_callback_of_two_can_stop_and_save(tmp_path):
    def best(update, learner):
        minirl.save(learner, tmp_path / "p", "CartPole-v1")
        return update.number == 2

    result = minirl.train("ppo", callback=best, **SMALL | {"total_timesteps": 10_000})
    assert len(result.history) == 2 and np.array_equal(minirl.load(tmp_path / "p").theta, result.policy.theta)


# ------------------------------------------------------------------------------------------------------- types and help


@pytest.mark.slow
def test_use_12_a_type_checker_knows_the_fields_of_each_method(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "snippet.py").write_text(
        """import minirl
config = minirl.configure("trpo", delta=0.02)
reveal_type(config.delta)
reveal_type(minirl.configure("ppo"))
reveal_type(minirl.train("npg").config)
reveal_type(minirl.train("ppo", "CartPole-v1", run="auto", callback=lambda u, k: None, progress=True).policy)
name: str = "ppo"
reveal_type(minirl.configure(name))
config.dleta
policy, history, run = minirl.train("trpo", object)
"""
    )
    package = str(Path(minirl.__file__).parents[1])
    places = {"MYPYPATH": package, "PYTHONPATH": package}
    flags = ["--cache-dir", str(tmp_path / "cache"), "--follow-imports=silent", "--no-error-summary"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *flags, "snippet.py"],
        cwd=tmp_path,
        env=places,
        capture_output=True,
    )
    found = re.findall(r'Revealed type is "(?:\w+\.)*(\w+)"|error: (.*)', done.stdout.decode())
    names = ["float", "PPOConfig", "NPGConfig", "Agent", "Config"]
    assert [revealed for revealed, _ in found if revealed] == names, done.stdout.decode()
    assert [error.split("  [")[0] for _, error in found if error] == [
        '"TRPOConfig" has no attribute "dleta"; maybe "delta"?'
    ]


@pytest.mark.parametrize("kind", [Config, *(a.config for a in ALGORITHMS.values())])
def test_use_12_help_explains_every_field_with_its_comment(kind):
    sources = "\n".join(inspect.getsource(base) for base in kind.__mro__[:-1])
    text = pydoc.plain(pydoc.render_doc(kind))
    assert text.count("Attributes:") == 1
    for name, hint in typing.get_type_hints(kind).items():
        (line,) = re.findall(rf"^[ |]*{name}( \(.*?\))?: (.*)$", text, re.M)
        assert line[1] == re.search(rf"^    {name}: .*?  # (.*)$", sources, re.M)[1]
        assert line[0] == (
            f" ({', '.join(typing.get_args(hint))})" if typing.get_origin(hint) is typing.Literal else ""
        )
    assert inspect.getdoc(kind()) == inspect.getdoc(kind)
    assert isinstance(vars(kind)["__doc__"], FieldDocs)  # nothing is read before somebody asks


def test_use_12_without_source_the_first_line_is_left(monkeypatch):
    def no_source(_):
        raise OSError

    monkeypatch.setattr(inspect, "getsource", no_source)
    assert TRPOConfig.__doc__ == "Configuration of TRPO."


def test_a_configuration_can_be_compared_hashed_and_copied():
    configs = [minirl.configure("trpo", env=Counting, env_kwargs={"lengths": [3]}) for _ in range(2)]
    assert configs[0] == configs[1] and hash(configs[0]) == hash(configs[1])
    assert configs[0] != configs[0].replace(env_kwargs={}) and pickle.loads(pickle.dumps(configs[0])) == configs[0]
