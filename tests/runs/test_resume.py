"""Runs that go on after their last checkpoint: to the last bit, or with a word about it."""

import contextlib
import copy
import dataclasses
import json
import shutil
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from processes import cli, one_sentence, python
from toy_envs import Counting, Narrow
from toy_teams import Dying

import minirl
from minirl.envs.games import make_game
from minirl.errors import ConfigError, EnvRaisedError, FileError
from minirl.files import tree
from minirl.methods import METHODS
from minirl.runs.checkpoints import KIND, Checkpoints
from minirl.training.learner import Learner

TIMED = ("charts/SPS", "time/")
SMALL = {"num_envs": 2, "num_steps": 20, "hidden": (4,), "total_timesteps": 200}  # five updates
OF_ONE = {"discrete": "CartPole-v1", "continuous": "Pendulum-v1"}
OF_TEAMS = {"discrete": "minirl/SimpleSpread-v0", "continuous": "minirl/SimpleSpread-v0"}
GAMES = ("minirl/TicTacToe-v0", "minirl/ConnectFour-v0", "minirl/KuhnPoker-v0", "minirl/RockPaperScissors-v0")


def tried():
    """name -> (method, environment, fields): every row of the table with discrete and with continuous actions."""
    found = {}
    for name, row in METHODS.items():
        if row.environments is None:
            for kind, env in OF_ONE.items():
                found[f"{name} {kind}"] = (name, env, {"normalize_obs": True, "normalize_reward": True})
        elif row.config().env.startswith("minirl/"):
            found |= {f"{name} {env}": (name, env, {"pool_size": 2, "num_steps": 7}) for env in GAMES}
        else:
            for kind, env in OF_TEAMS.items():
                found[f"{name} {kind}"] = (name, env, {"env_kwargs": {"continuous_actions": kind == "continuous"}})
    special = {"normalize_obs": True, "normalize_reward": True}
    return found | {
        "native": ("ppo", "minirl/CartPole-v1", special),
        "native, continuous": ("trpo", "minirl/Pendulum-v1", special),
        "worker processes": ("ppo", "CartPole-v1", special | {"vectorization": "async"}),
        "adaptive step": ("ppo", "CartPole-v1", {"adapt": "lr", "anneal_lr": False, "kl_target": 1e-3}),
        "random features": ("npg", "Pendulum-v1", {"rbf": 16}),
        "float64": ("trpo", "CartPole-v1", {"dtype": "float64"}),
        "long episodes": ("ppo", "MountainCar-v0", {"num_steps": 60, "total_timesteps": 600}),
        "toy text": ("ppo", "FrozenLake-v1", {}),
        "a critic of actions": ("mappo", "minirl/SimpleSpread-v0", {"critic": "actions"}),
        "uniform opponents": ("selfplay", GAMES[0], {"opponents": "uniform", "pool_size": 3}),
        "unbeaten opponents": ("selfplay", GAMES[0], {"opponents": "prioritised", "pool_size": 3}),
        "evaluated": ("ppo", "CartPole-v1", {"eval_every": 1, "eval_episodes": 2}),
    }


CASES = tried()
RESUME = """
import sys, minirl
for run in sys.argv[1:]:
    minirl.train(resume=run)
"""


def numbers(run):
    """The rows of a run without what measures time."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if not name.startswith(TIMED)} for row in rows]


def last(run):
    """The newest checkpoint."""
    found = Checkpoints(run, "run")
    return tree.read(found.path(found.there()[-1]), KIND)


def same(a, b):
    """Whether two trees are equal in every bit and type."""
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def check_same(one, other):
    """Two runs have the same numbers, policies and state."""
    assert numbers(one) == numbers(other) and numbers(one)
    assert same(last(one)["learner"], last(other)["learner"]) and same(last(one)["best"], last(other)["best"])
    files = sorted(path.relative_to(one) for path in one.rglob("*.safetensors") if path.parent.name != "checkpoints")
    assert files and all((one / file).read_bytes() == (other / file).read_bytes() for file in files)
    header = [(run / "metrics.csv").read_text().splitlines() for run in (one, other)]
    assert header[0][0] == header[1][0] and len(header[0]) == len(header[1])


def stopped(run, after, method="ppo", env="CartPole-v1", **fields):
    """A run that its callback has stopped after so many updates."""
    minirl.train(method, env, run, lambda update: update.number == after, **(SMALL | fields))
    return run


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A folder with NAME/whole and NAME/cut of each case: the second ended early and went on in another process."""
    folder = tmp_path_factory.mktemp("resumed")
    for i, (name, (method, env, fields)) in enumerate(CASES.items()):
        stopped(folder / name / "whole", 0, method, env, **fields)
        stopped(folder / name / "cut", 1 + i % 4, method, env, **fields)
    ended = python("-W", "error", "-c", RESUME, *(str(folder / name / "cut") for name in CASES), cwd=folder)
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.mark.parametrize("name", CASES)
def test_det_07_a_run_that_goes_on_in_another_process_is_the_uninterrupted_one(name, pairs):
    check_same(pairs / name / "whole", pairs / name / "cut")
    said = json.loads((pairs / name / "cut" / "config.json").read_text())["resumed"]
    assert [each["exact"] for each in said] == [True]


@pytest.mark.parametrize("name", [name for name in CASES if name in ("ppo discrete", "selfplay minirl/TicTacToe-v0")])
def test_det_07_a_run_may_be_resumed_after_every_update(name, pairs, tmp_path):
    method, env, fields = CASES[name]
    stopped(tmp_path / "run", 1, method, env, **fields)
    while minirl.train(resume=tmp_path / "run", callback=lambda _update: True).history:
        pass
    check_same(pairs / name / "whole", tmp_path / "run")


def test_det_07_mujoco(tmp_path):
    pytest.importorskip("mujoco")
    fields = {"normalize_obs": True, "normalize_reward": True}
    for env in ("Hopper-v5", "Ant-v5"):  # short episodes, and an observation of contact forces
        whole = stopped(tmp_path / env / "whole", 0, "ppo", env, **fields)
        cut = stopped(tmp_path / env / "cut", 2, "ppo", env, **fields)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            minirl.train(resume=cut)
        check_same(whole, cut)


def test_det_07_parallel_environments_of_pettingzoo(tmp_path):
    pytest.importorskip("mpe2")
    pytest.importorskip("pygame")
    for method, env in (("mappo", "mpe2/simple_spread_v3"), ("ippo", "mpe2/simple_speaker_listener_v4")):
        whole = stopped(tmp_path / method / "whole", 0, method, env)
        cut = stopped(tmp_path / method / "cut", 3, method, env)
        minirl.train(resume=cut)
        check_same(whole, cut)


def test_det_07_masks_come_back(tmp_path):
    fields = {"mask_actions": True, "check_env": False}
    whole, cut = (
        stopped(tmp_path / "a", 0, "ppo", Narrow, **fields),
        stopped(tmp_path / "b", 2, "ppo", Narrow, **fields),
    )
    minirl.train(resume=cut, env=Narrow)
    check_same(whole, cut)


def test_det_07_a_snapshot_in_a_file_is_the_snapshot(tmp_path):
    learner = minirl.learn("ppo", gymnasium.make_vec("CartPole-v1", num_envs=2), minirl.configure("ppo", num_steps=16))
    next(learner)
    tree.write(tmp_path / "s.safetensors", "snapshot", learner.snapshot())
    found = tree.read(tmp_path / "s.safetensors", "snapshot")
    assert same(found, learner.snapshot())
    assert learner.restore(found) is False  # gymnasium's own vector does not say where it is


# ------------------------------------------------------------------------------------------- what does not come back


class Hidden(gymnasium.Env):
    """Draws from a generator of its own, which nobody can save."""

    observation_space, action_space = spaces.Box(-9, 9, (1,), np.float64), spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None or not hasattr(self, "rng"):
            self.rng = np.random.default_rng(seed)
        self.t = 0
        return self.rng.normal(size=1).clip(-9, 9), {}

    def step(self, action):
        self.t += 1
        return self.rng.normal(size=1).clip(-9, 9), 1.0, self.t == 7, False, {}


class Unseeded(Dying):
    """A parallel environment without any generator."""


@pytest.mark.parametrize("tried", [True, False])
@pytest.mark.parametrize(("method", "env"), [("ppo", Hidden), ("ppo", Counting), ("ippo", Unseeded)])
def test_environments_that_do_not_come_back_begin_new_episodes_and_that_is_said(method, env, tried, tmp_path):
    """When the run begins, where they are tried out or have no generator at all; and when it goes on."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        run = stopped(tmp_path / "run", 2, method, env, check_env=tried)
    expected = [
        f"{env.__name__} does not come back to where it was: if this run is resumed, it begins new episodes then"
    ]
    assert [str(each.message) for each in said] == (expected if tried or env is Unseeded else [])
    assert all(each.filename == __file__ for each in said)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        result = minirl.train(resume=run, env=env)
    assert {each.filename for each in said} == {__file__}
    assert any(
        "brought back to where they were; they begin new episodes after update 2" in str(s.message) for s in said
    )
    assert [update.number for update in result.history] == [3, 4, 5] and len(numbers(run)) == 5
    assert [each["exact"] for each in json.loads((run / "config.json").read_text())["resumed"]] == [False]
    verified = minirl.verify(run, env)
    assert (
        verified.rows == 2 and verified.update is None and "resumed with new episodes after update 2" in verified.limit
    )


def test_an_environment_without_a_name_has_to_be_given(tmp_path):
    class Local(Counting):
        pass

    whole = stopped(tmp_path / "whole", 0, env=lambda: gymnasium.make("CartPole-v1"), check_env=False)
    cut = stopped(tmp_path / "cut", 2, env=lambda: gymnasium.make("CartPole-v1"), check_env=False)
    assert json.loads((cut / "config.json").read_text())["config"]["env"] is None
    with pytest.raises(ConfigError, match="an environment that no file can name; name it"):
        minirl.train(resume=cut)
    ended = cli("resume", cut, cwd=tmp_path)
    assert ended.returncode == 2 and "no file can name: name it with --env ID, or --import" in one_sentence(
        ended.stderr
    )
    minirl.train(resume=cut, env=lambda: gymnasium.make("CartPole-v1"))
    check_same(whole, cut)
    assert minirl.verify(cut, lambda: gymnasium.make("CartPole-v1")).update is None


def test_a_file_does_not_get_to_say_which_module_is_imported(tmp_path):
    run = stopped(tmp_path / "run", 2, env="toy_envs:Drift")
    with pytest.raises(ConfigError, match="toy_envs:Drift', which would import a module"):
        minirl.train(resume=run)
    ended = cli("resume", "run", "--quiet", cwd=tmp_path)
    assert ended.returncode == 2
    command = "minirl resume run --quiet --import toy_envs:Drift"
    assert one_sentence(ended.stderr).endswith(f"would import a module; if you trust it: {command}")
    assert cli(*command.split()[1:], cwd=tmp_path).returncode == 0
    verified = cli("verify", "run", "--quiet", "--import", "toy_envs:Drift", cwd=tmp_path)
    assert verified.returncode == 0 and verified.stdout.startswith("identical to the last bit, 5 rows\n")


# ---------------------------------------------------------------------------------------------------- damaged files


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A whole run, and one that was stopped after three updates, of which two have checkpoints besides the first."""
    folder = tmp_path_factory.mktemp("pair")
    return stopped(folder / "whole", 0, save_every=1), stopped(folder / "cut", 3, save_every=1)


@pytest.fixture
def cut(pair, tmp_path):
    return shutil.copytree(pair[1], tmp_path / "cut")


def damage(path, how):
    data = bytearray(path.read_bytes())
    if how == "a bit":
        data[len(data) // 2] ^= 4
    elif how == "cut":
        del data[-1000:]
    elif how == "empty":
        data = bytearray()
    elif how == "another file":
        data = bytearray((path.parents[1] / "policy.safetensors").read_bytes())
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("how", ["a bit", "cut", "empty", "another file"])
def test_f_04_a_damaged_checkpoint_is_said_and_the_one_before_it_is_taken(how, pair, cut):
    found = Checkpoints(cut, "cut")
    assert found.there() == [2, 3]
    damage(found.path(3), how)
    with pytest.warns(UserWarning, match="000000003.safetensors .*; the checkpoint before it is taken"):
        minirl.train(resume=cut)
    check_same(pair[0], cut)


def test_f_04_without_a_readable_checkpoint_the_run_is_refused(cut):
    for update in (2, 3):
        damage(Checkpoints(cut, "cut").path(update), "cut")
    before = (cut / "metrics.csv").read_bytes()
    with pytest.warns(UserWarning), pytest.raises(FileError, match="holds no checkpoint that can be read"):
        minirl.train(resume=cut)
    assert (cut / "metrics.csv").read_bytes() == before
    shutil.rmtree(cut / "checkpoints")
    with pytest.raises(FileError, match="holds no checkpoint that can be read"):
        minirl.train(resume=cut)


def test_f_04_every_bit_and_every_length_of_a_checkpoint_counts(cut):
    path = Checkpoints(cut, "cut").path(3)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    header = int.from_bytes(data[:8], "little") + 8
    places = [*range(8), *rng.integers(8, header, 40), *rng.integers(header, len(data), 40)]
    for at in places:
        flipped = bytearray(data)
        flipped[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(flipped))
        with pytest.raises(FileError):
            tree.read(path, KIND)
    for length in [0, 7, 8, header, *rng.integers(0, len(data), 40)]:
        path.write_bytes(data[:length])
        with pytest.raises(FileError):
            tree.read(path, KIND)


def altered(state, how):
    """A checkpoint that is whole, its checksum right, and that no run has written."""
    learner = state["learner"]
    adam = learner["algorithm"]["adam"]
    if how == "M40 a variance below 0":
        learner["normalizer"]["m2"][0] = -1.0
    elif how == "M40 a count below 0":
        learner["normalizer"]["count"] = -1.0
    elif how == "M41 a step below 0":
        adam["t"] = -1
    elif how == "M41 moments of another shape":
        adam["m"] = adam["m"][:-1]
    elif how == "M41 squares below 0":
        adam["v"][0] = -1e-9
    elif how == "M41 parameters of another type":
        learner["algorithm"]["theta_pi"] = learner["algorithm"]["theta_pi"].astype(np.float64)
    elif how == "M42 an integer out of range":
        learner["updates_stream"]["state"]["state"] = 1 << 200
    elif how == "M42 another generator":
        learner["updates_stream"]["bit_generator"] = "MT19937"
    elif how == "M42 more numbers drawn than a rollout has":
        learner["collector"]["noise"]["drawn"] = np.full_like(learner["collector"]["noise"]["drawn"], 1 << 60)
    elif how == "a counter that is text":
        learner["counters"]["updates"] = "3"
    elif how == "nothing":
        state["learner"] = None
    elif how == "no state":
        del learner["algorithm"]
    return state


ALTERED = [
    "M40 a variance below 0",
    "M40 a count below 0",
    "M41 a step below 0",
    "M41 moments of another shape",
    "M41 squares below 0",
    "M41 parameters of another type",
    "M42 an integer out of range",
    "M42 another generator",
    "M42 more numbers drawn than a rollout has",
    "a counter that is text",
    "nothing",
    "no state",
]


@pytest.mark.parametrize("how", ALTERED)
def test_m40_to_m42_a_checkpoint_that_no_run_has_written_is_refused(how, cut):
    state = altered(last(cut), how)
    tree.write(Checkpoints(cut, "cut").path(3), KIND, state)
    before = (cut / "metrics.jsonl").read_bytes()
    with pytest.raises(FileError, match="holds no state of this run"):
        minirl.train(resume=cut)
    assert (cut / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize("index", [-1, 10**6, "0", 1.5])
def test_m43_an_index_outside_of_the_pool_is_refused(index, tmp_path):
    run = stopped(tmp_path / "run", 2, "selfplay", GAMES[0])
    state = last(run)
    state["learner"]["pool"]["playing"][0] = index
    tree.write(Checkpoints(run, "run").path(2), KIND, state)
    with pytest.raises(FileError, match="holds no state of this run: playing has to name checkpoints"):
        minirl.train(resume=run)


def test_f_04_each_bit_of_each_byte_of_a_checkpoint_is_counted(cut):
    """One bit of every byte, which one changes from byte to byte; and every length."""
    path = Checkpoints(cut, "cut").path(3)
    data = path.read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :])
        with pytest.raises(FileError):
            tree.read(path, KIND)
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(FileError):
            tree.read(path, KIND)


CHANGED = {
    "lr": 0.5,
    "num_envs": 3,
    "num_steps": 21,
    "hidden": [5],
    "activation": "relu",
    "env": "Acrobot-v1",
    "seed": 9,
    "gamma": 0.5,
    "dtype": "float64",
    "normalize_obs": False,
    "epochs": 3,
    "share_trunk": True,
    "env_kwargs": {"render_mode": None},
    "minibatch_size": 7,
    "clip": 0.1,
}


@pytest.mark.parametrize("field", CHANGED)
def test_f_15_a_configuration_that_was_changed_is_refused_by_what_differs(field, cut):
    about = json.loads((cut / "config.json").read_text())
    old, about["config"][field] = about["config"][field], CHANGED[field]
    (cut / "config.json").write_text(json.dumps(about))
    before = {path: path.read_bytes() for path in cut.rglob("*.*") if path.is_file()}
    with pytest.raises(FileError, match=r"config.json was changed after the last checkpoint") as caught:
        minirl.train(resume=cut)
    assert f"{field} {old!r} → {CHANGED[field]!r}" in str(caught.value)
    assert before == {path: path.read_bytes() for path in cut.rglob("*.*") if path.is_file()}


def test_f_15_fields_may_not_change_but_for_the_length(cut):
    with pytest.raises(ConfigError, match=r"lr = 0\.5: a run that goes on may change total_timesteps alone"):
        minirl.train(resume=cut, lr=0.5)
    with pytest.raises(ConfigError, match=r"total_timesteps = 100: .* has 120 steps already"):
        minirl.train(resume=cut, total_timesteps=100)
    with pytest.raises(ConfigError, match=r"env = 'Acrobot-v1': .* was trained on 'CartPole-v1'"):
        minirl.train(resume=cut, env="Acrobot-v1")
    for other in ({"run": "x"}, {"track": "tensorboard"}, {"save_every": 3}):
        with pytest.raises(ConfigError, match=r"the run goes on as it began|in its own directory as it began"):
            minirl.train(resume=cut, **other)
    result = minirl.train(resume=cut, total_timesteps=280)
    assert result.history[-1].global_step == 280 and len(numbers(cut)) == 7
    verified = minirl.verify(cut)  # α decreased to another end from update 4 on
    assert verified.rows == 3 and "with another total_timesteps after update 3" in verified.limit


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "has file format 2, this minirl reads up to 1"),
        ({"algorithm": "sac"}, "is no configuration of a run: algorithm 'sac'"),
        ({"config": [1]}, "is no configuration of a run"),
        ({"recording": {"save_every": 1, "colour": "red"}}, "its recording"),
    ],
)
def test_f_16_a_config_that_is_none_is_refused(change, said, cut):
    about = json.loads((cut / "config.json").read_text()) | change
    (cut / "config.json").write_text(json.dumps(about))
    with pytest.raises(FileError, match=said):
        minirl.train(resume=cut)


def test_f_16_a_checkpoint_of_a_newer_format_is_not_read_in_part(cut, monkeypatch):
    state = last(cut)
    monkeypatch.setattr(tree, "FORMAT", 2)
    for update in (2, 3):
        tree.write(Checkpoints(cut, "cut").path(update), KIND, state)
    monkeypatch.undo()
    with pytest.warns(UserWarning, match="it has file format 2, this minirl reads 1 to 1"), pytest.raises(FileError):
        minirl.train(resume=cut)


def test_f_19_rows_behind_the_checkpoint_are_written_again_and_none_twice(pair, cut):
    for name in ("metrics.csv", "metrics.jsonl"):  # rows that were written before the process was killed, one in part
        lines = (pair[0] / name).read_text().splitlines(keepends=True)
        (cut / name).write_text("".join(lines) + lines[-1][: len(lines[-1]) // 2])
    minirl.train(resume=cut)
    check_same(pair[0], cut)


@pytest.mark.parametrize("name", ["metrics.csv", "metrics.jsonl"])
def test_f_19_metrics_that_are_gone_or_none_are_begun_again_or_refused(name, cut):
    (cut / name).write_bytes(b"\xff\xfe nonsense\n" * 3)
    if name == "metrics.csv":
        with pytest.raises(FileError, match=r"metrics\.csv cannot be continued: .*; move it away"):
            minirl.train(resume=cut)
    (cut / name).unlink()
    minirl.train(resume=cut)
    assert [row.split(",")[0] for row in (cut / "metrics.csv").read_text().splitlines()[-2:]] == ["4", "5"]


@pytest.mark.parametrize("path", ["nowhere", "", 3])
def test_what_is_no_run_cannot_be_resumed(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match=r"holds no run|takes the directory of a run"):
        minirl.train(resume=path)


def test_other_surroundings_are_said(cut):
    about = json.loads((cut / "config.json").read_text())
    about["versions"]["numpy"] = "1.0"
    (cut / "config.json").write_text(json.dumps(about))
    with pytest.warns(UserWarning, match=f"numpy 1.0 → {np.__version__}: the last bits may differ"):
        minirl.train(resume=cut)


def test_a_run_that_has_ended_stays_as_it_is(pair, tmp_path):
    run = shutil.copytree(pair[0], tmp_path / "run")
    result = minirl.train(resume=run)
    assert result.history == [] and result.run == run
    check_same(pair[0], run)


# ------------------------------------------------------------------------------------------------------------ errors


class Breaks(gymnasium.Wrapper):
    """CartPole that raises in one of its steps."""

    at = 100

    def __init__(self):
        super().__init__(gymnasium.make("CartPole-v1").unwrapped)
        self.count = 0

    def step(self, action):
        self.count += 1
        if self.count == Breaks.at:
            raise OSError("the cable was pulled out")
        return self.env.step(action)


def test_f_05_after_an_error_of_the_environment_the_run_goes_on_where_the_last_update_ended(tmp_path, monkeypatch):
    fields = {"env": Breaks, "check_env": False, "num_envs": 1, "num_steps": 40}
    monkeypatch.setattr(Breaks, "at", 0)
    whole = stopped(tmp_path / "whole", 0, **fields)
    monkeypatch.setattr(Breaks, "at", 100)
    with pytest.raises((OSError, EnvRaisedError), match="the cable was pulled out"):
        stopped(tmp_path / "cut", 0, **fields)
    assert last(tmp_path / "cut")["learner"]["counters"] == {"updates": 2, "global_step": 80}
    monkeypatch.setattr(Breaks, "at", 0)
    minirl.train(resume=tmp_path / "cut", env=Breaks)
    check_same(whole, tmp_path / "cut")


def test_f_10_what_breaks_off_in_an_update_leaves_the_run_before_it(tmp_path, monkeypatch):
    """Also where half of what was learned was taken over already."""
    whole, keep = stopped(tmp_path / "whole", 0), Learner.keep

    def half(self, learned):
        keep(self, learned)
        if self.updates == 2:
            raise RuntimeError("in the middle")

    monkeypatch.setattr(Learner, "keep", half)
    with pytest.raises(RuntimeError, match="in the middle"):
        stopped(tmp_path / "cut", 0)
    monkeypatch.undo()
    before = minirl.load(tmp_path / "cut").theta
    np.testing.assert_array_equal(before, last(tmp_path / "cut")["learner"]["algorithm"]["theta_pi"])
    minirl.train(resume=tmp_path / "cut")
    check_same(whole, tmp_path / "cut")


# ------------------------------------------------------------------------------------------------------ best, verify


def test_the_best_policy_is_kept_and_the_training_does_not_notice(tmp_path, pair):
    """Scores that rise and fall: the file holds the policy of the highest, to the bit."""
    policies = {}

    def remember(update, learner):
        policies[update.number] = learner.policy.theta.copy()

    run = tmp_path / "run"
    minirl.train("ppo", "CartPole-v1", run, remember, eval_every=2, eval_episodes=3, **SMALL)
    rows = numbers(run)
    assert [row["update"] for row in rows if row.get("eval/return") is not None] == [2, 4]
    scores = {row["update"]: row["eval/return"] for row in rows if "eval/return" in row}
    best = max(scores, key=scores.get)
    np.testing.assert_array_equal(minirl.load(run / "best.safetensors").theta, policies[best])
    assert max(scores.values()) == last(run)["best"]["mean"] and last(run)["best"]["update"] == best
    plain = [{name: value for name, value in row.items() if not name.startswith("eval/")} for row in rows]
    assert plain == numbers(pair[0])
    assert minirl.evaluate(run / "best.safetensors", episodes=2).returns.shape == (2,)


def test_the_best_policy_of_a_run_that_collapses_is_not_lost(tmp_path, monkeypatch):
    scores = iter([1.0, 210.0, 3.0, -315.0])
    evaluation = minirl.evaluate(stopped(tmp_path / "any", 1), episodes=1)

    def scored(*_args):
        return copy.copy(evaluation).__class__(np.array([next(scores)]), evaluation.lengths)

    monkeypatch.setattr("minirl.runs.best.methods.evaluate", scored)
    run = stopped(tmp_path / "run", 4, eval_every=1)
    assert [row["eval/best"] for row in numbers(run)] == [1, 210, 210, 210]
    assert last(run)["best"] == {"mean": 210.0, "update": 2}
    assert not np.array_equal(minirl.load(run).theta, minirl.load(run / "best.safetensors").theta)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"eval_every": -1}, "eval_every = -1: takes a number >= 0"),
        ({"eval_every": 1, "eval_episodes": 0}, "eval_episodes = 0: takes a number >= 1"),
        ({"eval_every": 2, "run": None}, "eval_every = 2: the best policy is kept in a run directory"),
        ({"eval_every": 2, "vectorization": "vector_entry_point"}, "no single environment to play in"),
    ],
)
def test_evaluations_that_cannot_be_are_refused(fields, said, tmp_path):
    with pytest.raises(ConfigError, match=said):
        minirl.train("ppo", **({"run": tmp_path / "run"} | SMALL | fields))


def test_verify_says_identical_or_the_first_row_that_differs(pair, tmp_path):
    verified = minirl.verify(pair[0])
    assert verified.lines() == ["identical to the last bit, 5 rows"]
    run = shutil.copytree(pair[0], tmp_path / "run")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rows[2]["losses/entropy"] = float(np.nextafter(rows[2]["losses/entropy"], 1))  # the last bit
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    about = json.loads((run / "config.json").read_text())
    about["versions"]["numpy"], about["machine"]["cpu"] = "1.0", "Z80"
    (run / "config.json").write_text(json.dumps(about))
    ended = cli("verify", run, "--quiet", cwd=tmp_path)
    first, before, since = ended.stdout.splitlines()
    assert ended.returncode == 1 and first.startswith("the row of update 3 differs: losses/entropy ")
    assert before == "2 rows before it are identical" and since.startswith("since then: ")
    assert f"numpy 1.0 → {np.__version__}" in since and "cpu Z80 → " in since


@pytest.mark.parametrize("text", ["", "nonsense\n", '{"update": 2}\n', '{"update": 1}\n{"update": 1}\n', "[1]\n"])
def test_rows_that_are_none_cannot_be_verified(text, cut):
    (cut / "metrics.jsonl").write_text(text)
    with pytest.raises(FileError, match=r"metrics\.jsonl cannot be verified"):
        minirl.verify(cut)


def test_a_callback_may_save_evaluate_and_stop(pair, tmp_path):
    def hear(update, learner):
        minirl.save(learner, tmp_path / f"{update.number}.safetensors", "CartPole-v1")
        scores.append(minirl.evaluate(learner, "CartPole-v1", episodes=2).mean)
        return update.number == 3

    scores = []
    result = minirl.train("ppo", "CartPole-v1", tmp_path / "run", hear, **SMALL)
    assert len(scores) == len(result.history) == 3
    assert np.array_equal(minirl.load(tmp_path / "3.safetensors").theta, minirl.load(tmp_path / "run").theta)
    minirl.train(resume=tmp_path / "run")
    check_same(pair[0], tmp_path / "run")


@pytest.mark.parametrize("changes", [{"dim": 2}, {"actions": 3}])
def test_f_15_an_environment_with_other_spaces_is_refused(changes, tmp_path):
    made = {"dim": 1, "actions": 2}
    run = stopped(tmp_path / "run", 2, env=lambda: Counting(**made), check_env=False)
    made |= changes
    with pytest.raises(FileError, match=r"holds no state of this run: the snapshot's (observations|actions) "):
        minirl.train(resume=run, env=lambda: Counting(**made))


# ------------------------------------------------------------------------------------- found by a second reader


class Luck(gymnasium.Env):
    """Observations from np_random; the reward of an episode's last but one step from a generator of its own."""

    observation_space, action_space = spaces.Box(-9, 9, (1,), np.float64), spaces.Discrete(2)

    def __init__(self):
        self.luck = np.random.default_rng(0)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.np_random.uniform(size=1), {}

    def step(self, action):
        self.t += 1
        return self.np_random.uniform(size=1), float(self.luck.normal()) if self.t == 6 else 0.0, self.t == 7, False, {}


def normalised():
    return gymnasium.wrappers.NormalizeReward(gymnasium.make("FrozenLake-v1"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tried", [True, False])
@pytest.mark.parametrize("env", [Luck, normalised])
def test_rewards_that_do_not_come_back_are_noticed(env, tried, tmp_path):
    """20 steps are two episodes of 7 and 6 steps of a third: its reward has been paid."""
    run = stopped(tmp_path / "run", 1, "ppo", env, check_env=tried)
    minirl.train(resume=run, env=env)
    resumes = json.loads((run / "config.json").read_text())["resumed"]
    assert [each["exact"] for each in resumes] == [False]


def test_arguments_that_json_would_change_are_not_taken_from_it(tmp_path):
    class Paid(Counting):
        def __init__(self, rewards):
            super().__init__()
            self.by_action = rewards

    run = stopped(tmp_path / "run", 2, "ppo", Paid, env_kwargs={"rewards": {0: 1.0}}, check_env=False)
    with pytest.raises(ConfigError, match=r"env_kwargs = rewards: config.json could not hold them"):
        minirl.train(resume=run, env=Paid)


def test_another_method_or_evaluation_than_that_of_the_run_is_refused(cut):
    with pytest.raises(ConfigError, match=r"algorithm = 'trpo': .* is a run of 'ppo'"):
        minirl.train("trpo", resume=cut)
    for other in ({"eval_every": 1}, {"eval_episodes": 5}):
        with pytest.raises(ConfigError, match="goes on"):
            minirl.train(resume=cut, **other)


def test_a_run_of_a_row_of_the_users_own_goes_on_with_it(tmp_path):
    row = dataclasses.replace(METHODS["ppo"], name="mine")
    whole, cut = stopped(tmp_path / "whole", 0, row), stopped(tmp_path / "cut", 2, row)
    with pytest.raises(FileError, match="is no configuration of a run: algorithm"):
        minirl.train(resume=cut)
    minirl.train(row, resume=cut)
    check_same(whole, cut)


def test_an_object_that_gymnasium_made_may_be_given_again(tmp_path):
    env = gymnasium.make("CartPole-v1")
    run = stopped(tmp_path / "run", 2, "ppo", env, num_envs=1)
    minirl.train(resume=run, env=env)
    assert len(numbers(run)) == 10


def test_an_end_that_was_changed_by_hand_is_known_to_verify(cut):
    about = json.loads((cut / "config.json").read_text())
    about["config"]["total_timesteps"] = 240
    (cut / "config.json").write_text(json.dumps(about))
    minirl.train(resume=cut)
    verified = minirl.verify(cut)
    assert verified.update is None and verified.rows == 3 and "another total_timesteps" in verified.limit


def test_many_environments_have_room_in_a_checkpoint(tmp_path):
    fields = {"num_envs": 4096, "num_steps": 2, "minibatch_size": 8192, "epochs": 1, "total_timesteps": 16384}
    run = stopped(tmp_path / "run", 1, "ppo", "minirl/CartPole-v1", **fields)
    assert Checkpoints(run, "run").there() == [0, 1]
    minirl.train(resume=run)
    assert json.loads((run / "config.json").read_text())["resumed"][0]["exact"] is True


def test_a_better_policy_on_disk_is_not_replaced_by_a_worse_one(tmp_path, monkeypatch):
    evaluation = minirl.evaluate(stopped(tmp_path / "any", 1), episodes=1)
    scores = iter([1.0, 100.0, 50.0, 60.0])

    def scored(*_args):
        return copy.copy(evaluation).__class__(np.array([next(scores)]), evaluation.lengths)

    monkeypatch.setattr("minirl.runs.best.methods.evaluate", scored)
    run = stopped(tmp_path / "run", 2, eval_every=1, save_every=1)
    best = (run / "best.safetensors").read_bytes()
    Checkpoints(run, "run").path(2).unlink()  # as if it had been killed before
    minirl.train(resume=run, callback=lambda update: update.number == 3)
    assert (run / "best.safetensors").read_bytes() == best


def test_a_resume_that_is_refused_changes_nothing(cut):
    (cut / "metrics.csv").write_bytes(b"nonsense\n")
    before = (cut / "config.json").read_bytes()
    with pytest.raises(FileError, match="cannot be continued"):
        minirl.train(resume=cut, total_timesteps=400)
    assert (cut / "config.json").read_bytes() == before


def test_games_of_a_rollout_that_broke_off_do_not_count(tmp_path):
    learner = minirl.learn("selfplay", make_game(GAMES[0], 4), minirl.configure("selfplay", num_envs=4, num_steps=8))
    games, learn = 0, learner.learn

    def fails(*_args):
        raise RuntimeError("in the middle")

    for number in range(6):
        learner.learn = fails if number % 2 else learn
        with contextlib.suppress(RuntimeError):
            games += len(next(learner).returns)
    assert sum(member.games for member in learner.pool.members) == games > 0
