"""Environments that break in the middle of a run: what is said names environment and step, nothing hangs, nothing stays
open, nothing that was learned is lost; one environment after the other (sync) and in processes (async)."""

import signal
import sys
import time

import gymnasium
import numpy as np
import processes
import pytest
import toy_envs
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from toy_envs import vector

import minirl
from minirl.envs import processes as processes_of_envs
from minirl.envs.check import check_env
from minirl.envs.make import make_envs
from minirl.envs.parallel import ParallelVectorEnv
from minirl.envs.processes import Processes
from minirl.errors import EnvError, MinirlError, SpaceError

ID = "minirl-test/Breaks-v0"
SMALL = {"num_envs": 2, "num_steps": 20, "total_timesteps": 100, "hidden": (4,)}
both = pytest.mark.parametrize("vectorization", ["sync", "async"])


class Breaks(gymnasium.Env):
    """Episodes of 7 steps; from step `at` on, counted over all episodes (0: the first reset), it does what `how` says.

    how: a function of the place ("reset", "step" or "end") and of what would be returned there, a dict. In a vector
    all break in the same step, so that the first is the one to be named.
    """

    observation_space = spaces.Box(-1, 1, (3,), np.float32)
    action_space = spaces.Discrete(2)
    opened = 0

    def __init__(self, how=lambda place, result: None, at=5, closes=None):
        self.how, self.at, self.closes, self.steps = how, at, closes, 0
        Breaks.opened += 1

    def _result(self, place, **result):
        if self.steps >= self.at:
            self.how(place, result)
        return tuple(result.values())

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._result("reset", obs=np.zeros(3, np.float32), info={})

    def step(self, action):
        self.steps, self.t = self.steps + 1, self.t + 1
        end = self.t == 7
        obs = np.full(3, self.t / 10, np.float32)
        return self._result("end" if end else "step", obs=obs, reward=1.0, terminated=end, truncated=False, info={})

    def close(self):
        Breaks.opened -= 1
        if self.closes:
            raise self.closes


@pytest.fixture
def breaks(monkeypatch):
    """Registers a Breaks; gives its id."""
    monkeypatch.setattr(Breaks, "opened", 0)

    def make(how=lambda place, result: None, **kwargs):
        spec = EnvSpec(ID, Breaks, kwargs={"how": how} | kwargs, disable_env_checker=True)
        monkeypatch.setitem(gymnasium.registry, ID, spec)
        return ID

    return make


def raises(error, *places):
    """A `how` that raises in the places that are named, or everywhere."""

    def how(place, _result):
        if place in (places or (place,)):
            raise error

    return how


def fail(error):
    raise error


def gives(name, value, *places):
    """A `how` that returns `value` for `name` in these places."""

    def how(place, result):
        if place in places and name in result:
            result[name] = value

    return how


def ragged(*values):
    """A `how` that puts these values into the infos of ends and resets, in turn over the environments of a process."""
    turn = iter(range(10**9))

    def how(place, result):
        if place != "step":
            result["info"] = {"x": values[next(turn) % len(values)]}

    return how


def train(vectorization="sync", **changes):
    return minirl.train("ppo", ID, vectorization=vectorization, **({"check_env": False} | SMALL | changes))


# --------------------------------------------------------------------------------------------------- nothing hangs (18)

RAGGED = """
import faulthandler
import gymnasium, minirl
import numpy as np
from broken_envs import Still

class Ragged(Still):
    def step(self, action):
        *result, info = super().step(action)
        return *result, {"x": (0, "crash")[self.np_random.integers(2)]}

gymnasium.register("Ragged-v0", Ragged, disable_env_checker=True)
envs = minirl.envs.make.make_envs("Ragged-v0", 3, "async")
envs.reset(seed=0)
try:
    while True:
        envs.step(np.zeros(3, int))  # gymnasium collects the infos: nobody has said that they are not read
except ValueError as why:
    envs.close()
    print("closed after", why)
"""


def test_bug_18_an_error_while_results_are_read_comes_through(tmp_path):
    """In a process of its own: before, close() waited for ever."""
    done = processes.python("-c", "import minirl.envs.make\n" + RAGGED, cwd=tmp_path, timeout=30)
    assert done.returncode == 0 and done.stdout.startswith("closed after") and "crash" in done.stdout, done.stderr


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("shape"), MemoryError()], ids=repr)
@pytest.mark.parametrize("when", ["nothing", "half", "all"], ids="{} is read".format)
def test_bug_18_workers_are_closed_whatever_was_read_of_their_results(breaks, monkeypatch, error, when):
    """All of them close their environments; a worker that is not asked would leave its simulator behind."""
    read = []
    monkeypatch.setattr(processes_of_envs, "PATIENCE", 60)
    envs = make_envs(breaks(), 3, "async")
    envs.reset(seed=0)
    wanted = {"nothing": 0, "half": 1, "all": 3}[when]

    def interrupted(self, i, name, answers, once=Processes._read):
        if len(read) == wanted:
            raise error
        once(self, i, name, answers)
        read.append(i)
        if len(read) == 3:
            raise error

    monkeypatch.setattr(Processes, "_read", interrupted)
    with pytest.raises(type(error)):
        envs.step(np.zeros(3, int))
    envs.close()
    assert len(read) == wanted and envs.closed and [process.exitcode for process in envs.processes] == [0, 0, 0]


def test_bug_18_a_worker_that_does_not_answer_is_ended(breaks, monkeypatch):
    """A step that takes long when Ctrl-C comes: nobody waits longer than PATIENCE, nothing can be asked any more."""

    def how(place, _result):
        if place == "step":
            time.sleep(600)

    monkeypatch.setattr(processes_of_envs, "PATIENCE", 0.1)
    envs = make_envs(breaks(how), 2, "async")
    envs.reset(seed=0)
    for _ in range(4):
        envs.step(np.zeros(2, int))
    before = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            envs.step(np.zeros(2, int))  # the fifth step
    finally:
        signal.signal(signal.SIGALRM, before)
    with pytest.raises(EnvError, match="an earlier call was interrupted; close"):
        envs.step(np.zeros(2, int))
    envs.close()
    assert envs.closed and [process.exitcode for process in envs.processes] == [-signal.SIGTERM] * 2


@both
def test_bug_18_the_environments_own_error_comes_through_with_its_place(breaks, vectorization):
    """By its own type; the traceback of a worker goes with it."""
    breaks(raises(ZeroDivisionError("no such place"), "step"))
    with pytest.raises(ZeroDivisionError, match="no such place") as caught:
        train(vectorization)
    notes = "\n".join(caught.value.__notes__)
    assert "env=0, step=5" in notes and ("Traceback" in notes) == (vectorization == "async")


def test_bug_18_an_error_that_cannot_be_sent_is_named(breaks):
    """Its class exists in the worker alone, or cannot be made again: gymnasium waits for it, or raises another."""

    class Local(Exception):
        def __init__(self, left, right):
            super().__init__(f"{left} of {right}")

    breaks(lambda place, result: fail(Local(1, 2)))
    with pytest.raises(EnvError, match=r"env=0, step=5: the environment raised Local: 1 of 2 \("):
        train("async")


# ----------------------------------------------------------------------------------------- infos that nobody reads (20)


@both
@pytest.mark.parametrize(
    "values",
    [(17, None), (0, "crash"), (np.zeros(3), np.zeros(5)), ({}, 1.5), (lambda: 1, 2)],
    ids=["none", "text", "shape", "dict", "code"],
)
def test_bug_20_infos_that_differ_between_environments_stop_nobody(breaks, vectorization, values):
    breaks(ragged(*values, values[-1]), at=0)
    assert train(vectorization).history[-1].global_step >= 100


@both
def test_bug_20_the_mask_alone_is_read(breaks, vectorization):
    """A mask has its shape, whatever else stands in an info; one of another shape is named."""
    values = iter([None, "x", np.zeros(2), np.zeros(3)] * 1000)

    def how(place, result):
        result["info"] = {"x": next(values), "action_mask": [1, 0] if place != "end" else None}

    breaks(how, at=0)
    agent = train(vectorization, mask_actions=True).policy
    assert agent.masked

    def wrong(place, result):
        result["info"] = {"action_mask": np.ones(3 if place == "step" else 2)}

    breaks(wrong, at=0)
    with pytest.raises(EnvError, match=r"env=0, step=1: info\['action_mask'\] has to be 2 numbers.*shape \(3,\)"):
        train(vectorization, mask_actions=True)


# -------------------------------------------------------------------------------------------------- close() raises (21)


@both
def test_bug_21_a_close_that_raises_costs_no_result(breaks, vectorization, tmp_path, recwarn):
    breaks(closes=AttributeError("no such server"))
    result = train(vectorization, run=tmp_path / "run", check_env=True)
    played = minirl.evaluate(minirl.load(result.run), ID, episodes=3)
    assert len(result.history) == 3 and (result.run / "policy.safetensors").exists() and (played.lengths == 7).all()
    said = [str(w.message) for w in recwarn if "close() raised" in str(w.message)]
    assert all("AttributeError: no such server" in text for text in said)
    assert len(said) == (4 if vectorization == "sync" else 3)  # check, both copies or the one made here, evaluation


def test_bug_21_the_first_error_wins(breaks):
    breaks(raises(ZeroDivisionError("first"), "step"), closes=RuntimeError("second"))
    with pytest.warns(UserWarning, match="second"), pytest.raises(ZeroDivisionError, match="first"):
        train()
    with pytest.warns(UserWarning, match=r"Breaks-v0.*second"), pytest.raises(EnvError, match="first"):
        check_env(breaks(raises(ZeroDivisionError("first")), at=0, closes=RuntimeError("second")))


def test_bug_21_one_that_raises_keeps_no_other_open(breaks):
    envs = make_envs(breaks(closes=SystemExit(3)), 3)
    with pytest.warns(UserWarning, match="close") as said:
        envs.close()
    assert Breaks.opened == 0 and [str(w.message).split(":")[0] for w in said] == ["env=0", "env=1", "env=2"]


# ------------------------------------------------------------------------------------------------------- left open (29)


@pytest.mark.parametrize("failure", [ValueError("third"), KeyboardInterrupt(), SystemExit(1)], ids=repr)
@both
def test_bug_29_copies_that_were_made_are_closed_when_another_fails(breaks, monkeypatch, vectorization, failure):
    """The third, or in processes the spaces of the first, which is made here to see them."""
    init = Breaks.__init__

    def third(self, **kwargs):
        init(self, **kwargs)
        if Breaks.opened == 3:
            Breaks.opened -= 1
            raise failure

    monkeypatch.setattr(Breaks, "__init__", third)
    if vectorization == "async":
        monkeypatch.setattr(Breaks, "observation_space", property(lambda self: fail(failure)))
    expected = KeyboardInterrupt if isinstance(failure, KeyboardInterrupt) else EnvError
    with pytest.raises(expected):
        make_envs(breaks(), 4, vectorization)
    assert Breaks.opened == 0


def test_bug_29_an_environment_that_a_policy_does_not_fit_is_closed(breaks):
    agent = minirl.train("ppo", "CartPole-v1", **SMALL).policy
    with pytest.raises(SpaceError, match="box"):
        minirl.evaluate(agent, breaks())
    assert Breaks.opened == 0
    with pytest.raises(SpaceError):
        minirl.train("ppo", ID, **SMALL, family="beta")
    assert Breaks.opened == 0
    with pytest.raises(EnvError):
        check_env(breaks(raises(OSError("gone")), at=0))
    assert Breaks.opened == 0


# ------------------------------------------------------------------------------ errors that end something else (32, 38)

ENDS = {
    "StopIteration": StopIteration(),
    "StopAsyncIteration": StopAsyncIteration(7),
    "GeneratorExit": GeneratorExit(),
    "exit": SystemExit(3),
}
ends = pytest.mark.parametrize("error", ENDS.values(), ids=ENDS)


@both
@ends
@pytest.mark.parametrize(("place", "step"), [("step", 5), ("reset", 7)])
def test_bug_32_bug_38_what_would_end_a_loop_or_the_process_is_an_error(breaks, vectorization, error, place, step):
    breaks(raises(error, place))
    with pytest.raises(EnvError, match=rf"env=0, step={step}: the environment raised {type(error).__name__}.*\(test_"):
        train(vectorization)


@ends
def test_bug_32_bug_38_at_the_first_reset_when_it_is_made_and_in_the_check(breaks, monkeypatch, error):
    breaks(raises(error), at=0)
    for vectorization in ("sync", "async"):
        with pytest.raises(EnvError, match=f"env=0, step=0: .*{type(error).__name__}"):
            train(vectorization)
    with pytest.raises(EnvError, match=rf"Breaks-v0.*reset\(\) has to return.*{type(error).__name__}"):
        check_env(ID)
    monkeypatch.setattr(Breaks, "__init__", lambda self, **kwargs: fail(error))
    for vectorization in ("sync", "async"):
        with pytest.raises(EnvError, match=f"Breaks-v0.*cannot be made.*env=0: .*{type(error).__name__}"):
            train(vectorization)
    with pytest.raises(EnvError, match=f"Breaks-v0.*cannot be made: .*{type(error).__name__}"):
        check_env(ID)


@ends
def test_bug_32_bug_38_in_an_evaluation(breaks, error):
    breaks()
    agent = train().policy
    breaks(raises(error, "step"), at=9)
    with pytest.raises(EnvError, match=rf"Breaks-v0', episode 2, step 2: step\(\) raised {type(error).__name__}"):
        minirl.evaluate(agent, ID, episodes=5)
    assert Breaks.opened == 0


@ends
@pytest.mark.parametrize("mode", AutoresetMode)
def test_bug_32_in_a_vector_of_the_users(error, mode):
    """The environment is the one whose method is in the traceback."""
    envs = vector(Breaks, {}, {"how": raises(error, "step")}, {}, mode=mode)
    made = toy_envs.learner("ppo", envs, num_steps=20)
    with pytest.raises(EnvError, match=f"env=1, step=5: the environment raised {type(error).__name__}"):
        list(made)


def test_bug_38_an_exit_by_a_handler_of_signals_is_no_fault_of_the_environment(breaks):
    def leave(*_):
        sys.exit(9)

    before = signal.signal(signal.SIGUSR1, leave)
    try:
        breaks(lambda place, result: signal.raise_signal(signal.SIGUSR1))
        with pytest.raises(SystemExit) as caught:
            train()
        assert caught.value.code == 9
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_bug_38_the_command_line_says_that_an_environment_has_left(tmp_path):
    (tmp_path / "leaver.py").write_text(
        "import sys, broken_envs, gymnasium\n"
        "class Leaves(broken_envs.Still):\n"
        "    def fault(self, step):\n"
        "        return sys.exit(3) if step == 100 else 1.0\n"
        "gymnasium.register('Leaves-v0', Leaves, disable_env_checker=True)\n"
    )
    done = processes.cli("train", "ppo", "--env", "leaver:Leaves-v0", *processes.SMALL, "--quiet", cwd=tmp_path)
    assert done.returncode == 1
    said = processes.one_sentence(done.stderr)
    assert said.startswith(
        "env=0, step=100: the environment raised SystemExit: 3 (leaver.py:4 in fault); the policy after"
    )


# ---------------------------------------------------------------------------------------- what is returned (33, 38, 28)


WRONG_OBS = {
    "shorter": (np.zeros(1, np.float32), r"obs has shape \(1,\), its observation_space says \(3,\)"),
    "a number": (np.float32(1), r"obs has shape \(\)"),
    "longer": (np.zeros(4, np.float32), r"obs has shape \(4,\)"),
    "rows": (np.zeros((1, 3), np.float32), r"obs has shape \(1, 3\)"),
    "text": (["1.5", "2", "7"], "obs has to be numbers"),
    "objects": (np.array([1.5, True, 7], object), "obs has to be numbers"),
    "complex": (np.zeros(3, complex), "obs has to be numbers"),
    "none": (None, "obs has to be numbers"),
    "ragged": ([[1], [1, 2], 3], "obs has to be numbers"),
}


@both
@pytest.mark.parametrize(("place", "at", "step"), [("reset", 0, 0), ("step", 5, 5), ("end", 5, 7), ("reset", 5, 7)])
@pytest.mark.parametrize("wrong", WRONG_OBS)
def test_bug_33_an_observation_that_does_not_fit_is_named(breaks, vectorization, wrong, place, at, step):
    value, says = WRONG_OBS[wrong]
    breaks(gives("obs", value, place), at=at)
    with pytest.raises(EnvError, match=f"^env=0, step={step}: {says}"):
        train(vectorization)


@both
def test_bug_33_numbers_that_would_change_are_refused_and_others_taken(breaks, monkeypatch, vectorization):
    """Into bytes go whole numbers from 0 to 255, whatever type they come in."""
    monkeypatch.setattr(Breaks, "observation_space", spaces.Box(0, 255, (3,), np.uint8))
    for value, fits in (
        ([3, 0, 255], True),
        (np.array([1.0, 2.0, 3.0]), True),
        ([0, 0, 256], False),
        ([0, -1, 0], False),
        ([0.5, 0, 0], False),
    ):
        breaks(gives("obs", value, "reset", "step", "end"), at=0)
        if fits:
            assert train(vectorization).history
        else:
            with pytest.raises(EnvError, match=r"env=0, step=0: obs .* does not fit the uint8"):
                train(vectorization)


DICT = spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": spaces.Discrete(3)})
TUPLE = spaces.Tuple((spaces.Discrete(3), spaces.MultiBinary(2)))


@pytest.mark.parametrize(
    ("space", "wrong", "says"),
    [
        (DICT, {"a": np.zeros(3), "b": 1}, r"shape \(3,\)"),
        (DICT, {"a": np.zeros(2)}, "a dict with a, b"),
        (TUPLE, (1, np.zeros(2), 0), "a tuple of 2"),
        (TUPLE, (1, ["0", "1"]), "numbers"),
        (spaces.Discrete(3), "1", "numbers"),
        (spaces.MultiDiscrete([2, 3]), np.zeros(2) + 0.5, "does not fit the int64"),
    ],
    ids=["part", "missing", "too many", "text", "number", "fraction"],
)
@both
def test_bug_33_parts_of_observations_too(breaks, monkeypatch, vectorization, space, wrong, says):
    calls = iter(range(10**9))

    def how(place, result):
        result["obs"] = wrong if next(calls) > 8 and place == "step" else space.sample()

    monkeypatch.setattr(Breaks, "observation_space", space)
    breaks(how, at=0)
    with pytest.raises(EnvError, match=f"env=[01], step=[0-9]+: obs .*{says}"):
        train(vectorization)


@pytest.mark.parametrize("mode", AutoresetMode)
def test_bug_33_a_last_observation_of_a_users_vector(mode):
    """A vector of the user's checks its observations as it likes; what it hands over is checked here."""
    envs = vector(Breaks, {}, {"how": gives("obs", np.zeros(2, np.float32), "end")}, mode=mode)
    made = toy_envs.learner("ppo", envs, num_steps=20)
    with pytest.raises((MinirlError, ValueError)) as caught:
        list(made)
    said = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", ())])
    assert "step=7" in said and (mode is not AutoresetMode.SAME_STEP or "env=1, step=7: obs has shape (2,)" in said)


@pytest.mark.parametrize(("rows", "columns"), [(1, 3), (2, 3), (3, 2)])
def test_bug_33_a_users_vector_of_another_shape(rows, columns):
    """One row would pass for all of them."""

    class Odd(SyncVectorEnv):
        def step(self, actions):
            return np.zeros((rows, columns), np.float32), *super().step(actions)[1:]

    made = toy_envs.learner("ppo", Odd([Breaks] * 3), num_steps=5)
    with pytest.raises(SpaceError, match="step=1: "):
        next(made)


NO_TRUTH = ["no", "", "False", None, 0.5, np.nan, 2, 1, [], [True], np.array([False]), np.array("no"), np.zeros(())]


@both
@pytest.mark.parametrize("name", ["terminated", "truncated"])
@pytest.mark.parametrize("value", NO_TRUTH, ids=repr)
def test_bug_38_an_end_that_is_neither_true_nor_false(breaks, vectorization, name, value):
    breaks(gives(name, value, "step"))
    with pytest.raises(EnvError, match=f"env=0, step=5: {name} has to be True or False"):
        train(vectorization)
    with pytest.raises(EnvError, match=f"Breaks-v0': {name} has to be True or False"):
        check_env(breaks(gives(name, value, "step"), at=0))


@both
def test_bug_38_every_kind_of_true_is_one(breaks, vectorization):
    for value in (True, np.bool_(True), np.array(True)):
        breaks(gives("truncated", value, "step"))
        assert train(vectorization).history[0].lengths.tolist()[:2] == [5, 5]


@pytest.mark.parametrize(
    "value", [np.array(["no", "no"]), ["yes", "no"], [None, True], np.array([0.5, 1]), np.array([np.nan, 0])], ids=repr
)
def test_bug_38_ends_of_a_users_vector(value):
    class Odd(SyncVectorEnv):
        def step(self, actions):
            obs, reward, _, truncated, info = super().step(actions)
            return obs, reward, value, truncated, info

    made = toy_envs.learner("ppo", Odd([Breaks] * 2), num_steps=5)
    with pytest.raises(EnvError, match="step=1: terminated has to be True or False for each environment"):
        next(made)


def test_bug_38_numbers_0_and_1_will_do_for_the_ends_of_a_users_vector():
    class Bytes(SyncVectorEnv):
        def step(self, actions):
            obs, reward, terminated, truncated, info = super().step(actions)
            return obs, reward, terminated.astype(np.uint8), truncated.astype(int).tolist(), info

    made = toy_envs.learner("ppo", Bytes([Breaks] * 2, autoreset_mode=AutoresetMode.SAME_STEP), num_steps=15)
    assert next(made).lengths.tolist() == [7, 7, 7, 7]


def test_async_gives_what_gymnasiums_does(breaks):
    """Observations, rewards, flags and infos of the same seeds."""
    toy_envs.register()
    ours = make_envs("minirl-test/Drift-v0", 2, "async")
    theirs = SyncVectorEnv([lambda: toy_envs.Drift()] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    assert isinstance(ours, ParallelVectorEnv) and ours.spec.id == "minirl-test/Drift-v0"
    actions = np.random.default_rng(0).integers(3, size=(30, 2))
    results = []
    for envs in (ours, theirs):
        results.append([envs.reset(seed=[3, 4])[0].copy()])
        for action in actions:
            obs, reward, terminated, truncated, info = envs.step(action)
            results[-1] += [obs.copy(), reward, terminated, truncated, info.get("_final_obs")]
            results[-1] += list(info.get("final_obs", ()))
        envs.close()
    assert len(results[0]) == len(results[1]) > 100
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)
