"""Playing a policy: how long, on which environments, and what is said of those that raise."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import TimeLimit
from toy_envs import Counting, Drift, Narrow, learner, vector

import minirl
from minirl.errors import EnvError, SpaceError

PLANE = spaces.Box(-1, 1, (2,), np.float32)


class Own(Counting):
    """An environment that ends its episodes itself, after as many steps as one of its attributes says."""

    def __init__(self, name, limit):
        super().__init__(lengths=(limit,), ends=("truncated",))
        setattr(self, name, limit)


@pytest.fixture
def register(monkeypatch):
    """Registers a class under an id for the time of a test."""

    def make(name, kind, limit=None, **kwargs):
        spec = EnvSpec(f"minirl-test/{name}-v0", kind, max_episode_steps=limit, kwargs=kwargs, disable_env_checker=True)
        monkeypatch.setitem(gymnasium.registry, spec.id, spec)
        return spec.id

    return make


@pytest.fixture(scope="module")
def counter():
    """A policy for Counting."""
    return learner("ppo", vector(Counting, {})).policy


# ------------------------------------------------------------------------------------------------------------- how long


def endless(**kwargs):
    return Counting(lengths=(), **kwargs)


def test_bug_13_the_limit_of_the_environment_counts(counter, register, monkeypatch):
    """Rewards are 1: a return is a number of steps. None of these is stopped by us, however it says its limit."""
    monkeypatch.setattr("minirl.training.evaluation.MAX_STEPS", 20)
    environments = {
        "registered": register("Long", Counting, 27, lengths=()),
        "wrapped": TimeLimit(endless(), 27),
        "wrapped twice": gymnasium.wrappers.OrderEnforcing(TimeLimit(endless(), 27)),
        **{name: Own(name, 27) for name in ("_max_episode_steps", "max_episode_steps", "max_steps")},
    }
    for how, env in environments.items():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            played = minirl.evaluate(counter, env, 2)
        assert (played.returns.tolist(), played.lengths.tolist(), played.cut) == ([27, 27], [27, 27], 0), how


@pytest.mark.parametrize("limit", [None, 7], ids=["no limit", "a limit that nobody keeps"])
def test_bug_13_where_an_episode_has_to_be_stopped_that_is_said(counter, register, limit, monkeypatch):
    monkeypatch.setattr("minirl.training.evaluation.MAX_STEPS", 20)
    env = gymnasium.make(register("Ever", Counting, limit, lengths=())).unwrapped
    with pytest.warns(
        UserWarning, match=r"Ever-v0'?: 3 of 3 episodes were stopped after 20 steps: .*TimeLimit"
    ) as caught:
        played = minirl.evaluate(counter, env, 3)
    assert (played.lengths == 20).all() and played.cut == 3 and "3 of them stopped" in repr(played)
    assert caught[0].filename == __file__  # it points at whoever asked
    mixed = Counting(lengths=(5, 50))
    with pytest.warns(UserWarning, match="1 of 2 episodes"):
        assert minirl.evaluate(counter, mixed, 2).lengths.tolist() == [5, 20]


# ----------------------------------------------------------------------------------------------- on another environment


def box(low, high):
    return spaces.Box(low, high, (2,), np.float32)


ACTIONS = {
    "discrete start": (
        spaces.Discrete(3),
        spaces.Discrete(3, start=5),
        "discrete 3 from 5, the policy was trained for discrete 3 from 0",
    ),
    "discrete number": (spaces.Discrete(3), spaces.Discrete(4), "discrete 4 .* discrete 3 "),
    "multi_discrete start": (
        spaces.MultiDiscrete([2, 3]),
        spaces.MultiDiscrete([2, 3], start=[1, 0]),
        r"from \[1, 0\] to 2",
    ),
    "bounds": (box(-1, 1), box(-2, 2), "from -2.0 to 2.0, .*from -1.0 to 1.0"),
    "one bound": (box(-1, 1), box(np.array([-1, 0]), 1), r"from \[-1.0, 0.0\] to 1.0"),
    "no bounds": (box(-1, 1), box(-np.inf, np.inf), "from -inf to inf"),
    "shape": (box(-1, 1), spaces.Box(-1, 1, (3,), np.float32), r"box \(3,\)"),
    "kind": (spaces.Discrete(2), spaces.MultiBinary(1), "multi_binary"),
}


@pytest.mark.parametrize("case", ACTIONS)
def test_bug_15_actions_that_mean_something_else_are_refused(case):
    trained, other, named = ACTIONS[case]
    policy = learner("ppo", vector(Drift, {"actions": trained})).policy
    made = Drift(actions=other)
    with pytest.raises(SpaceError, match=f"Drift'?: its actions are .*{named}"):
        minirl.evaluate(policy, made)
    assert made.received == []
    played = Drift(actions=trained, p=0.5)
    assert minirl.evaluate(policy, played, 3, stochastic=True).lengths.sum() == len(played.received)
    assert all(trained.contains(action.astype(trained.dtype)) for action in played.received)


class Rooms(Counting):
    """Counting whose observation is always the same member of `space`."""

    def __init__(self, space):
        super().__init__()
        self.observation_space = space

    def _observe(self):
        return self.observation_space.sample()


@pytest.mark.parametrize(
    ("trained", "other"),
    [
        (spaces.Discrete(4), spaces.Discrete(4, start=2)),
        (spaces.MultiDiscrete([3, 3]), spaces.MultiDiscrete([3, 3], start=[0, 1])),
        (spaces.Dict({"a": spaces.Discrete(4)}), spaces.Dict({"a": spaces.Discrete(4, start=2)})),
        (spaces.Dict({"a": PLANE}), spaces.Dict({"b": PLANE})),
    ],
    ids=str,
)
def test_bug_15_observations_that_mean_something_else_are_refused(trained, other):
    policy = learner("ppo", vector(Rooms, {"space": trained})).policy
    with pytest.raises(SpaceError, match=r"its observations are .*the policy was trained for"):
        minirl.evaluate(policy, Rooms(other))
    assert minirl.evaluate(policy, Rooms(trained), 2).lengths.tolist() == [3, 3]


# ---------------------------------------------------------------------------------------------------------------- masks


class Silent(Narrow):
    """A Narrow that does not say what it allows: never, or not after the first step."""

    def __init__(self, first=False):
        super().__init__()
        self.first = first

    def reset(self, **kwargs):
        obs, info = super().reset(**kwargs)
        return obs, info if self.first else {"legal_moves": info["action_mask"]}

    def step(self, action):
        *result, info = super().step(action)
        return *result, {"legal_moves": info["action_mask"]}


def test_bug_16_a_masked_policy_is_not_played_without_masks():
    policy = learner("ppo", vector(Narrow, {}), mask_actions=True).policy
    with pytest.raises(EnvError) as trained:
        learner("ppo", vector(Silent, {}), mask_actions=True)
    silent = Silent()
    with pytest.raises(EnvError) as played:
        minirl.evaluate(policy, silent, 3, stochastic=True)
    assert str(played.value) == str(trained.value) and silent.steps == 0
    silent = Silent(first=True)
    with pytest.raises(EnvError, match=r"step\(\) returns an info without action_mask"):
        minirl.evaluate(policy, silent, 3, stochastic=True)
    assert silent.steps == 1
    assert minirl.evaluate(policy, Narrow(), 3, stochastic=True).cut == 0


# ---------------------------------------------------------------------------------------------- environments that raise


class Falls(Counting):
    """Raises in one step, or in one reset, counted over all episodes."""

    closed = False

    def __init__(self, error, step=None, reset=None, **kwargs):
        super().__init__(**kwargs)
        self.error, self.at = error, (step, reset)

    def reset(self, **kwargs):
        if self.episode + 1 == self.at[1]:
            raise self.error
        return super().reset(**kwargs)

    def step(self, action):
        if self.steps + 1 == self.at[0]:
            raise self.error
        return super().step(action)

    def close(self):
        self.closed = True


@pytest.mark.parametrize(
    "error", [RuntimeError("stuck at\nthe wall"), StopIteration(), KeyError("x"), SystemExit(3)], ids=repr
)
def test_bug_26_an_environment_that_raises_is_named_with_episode_and_step(counter, register, error):
    """Episodes have three steps: the fifth step is the second one of the second episode."""
    env = register("Falls", Falls, error=error, step=5)
    with pytest.raises(EnvError) as caught:
        minirl.evaluate(counter, env, 5)
    sentence = str(caught.value)
    assert (
        sentence.startswith(f"env = '{env}', episode 2, step 2: step() raised {type(error).__name__}")
        and "\n" not in sentence
    )
    assert type(caught.value.__cause__) is type(error)
    with pytest.raises(EnvError, match=r"Falls'?, episode 3, step 0: reset\(\) raised"):
        minirl.evaluate(counter, Falls(error, reset=3), 5)


def test_bug_26_what_an_environment_must_not_return_is_named_with_episode_and_step(counter):
    class Old(Counting):
        def step(self, action):
            return super().step(action)[:4]

    nan = Counting(fault=("obs", 4, np.nan), lengths=(3,))
    with pytest.raises(EnvError, match=r"Counting'?, episode 2, step 1: obs is not finite"):
        minirl.evaluate(counter, nan, 3)
    with pytest.raises(EnvError, match=r"episode 1, step 1: step\(\) raised ValueError: not enough values to unpack"):
        minirl.evaluate(counter, Old)
    with pytest.raises(EnvError, match=r"episode 1, step 2: terminated has to be True or False, it is 'no'"):
        wrong = Counting()
        step = wrong.step
        wrong.step = lambda action: step(action) if wrong.steps < 1 else (*step(action)[:2], "no", False, {})
        minirl.evaluate(counter, wrong)


def test_bug_26_interrupts_come_through(counter):
    with pytest.raises(KeyboardInterrupt):
        minirl.evaluate(counter, Falls(KeyboardInterrupt(), step=2))


def test_bug_29_what_was_made_for_an_evaluation_is_closed_whatever_comes(counter, register):
    seen = []

    def make(**kwargs):
        seen.append(Falls(RuntimeError("x"), **kwargs))
        return seen[-1]

    for kwargs in ({}, {"step": 2}, {"actions": 5}):
        with pytest.raises((EnvError, SpaceError)) if kwargs else warnings.catch_warnings():
            minirl.evaluate(counter, make, env_kwargs=kwargs)
    assert [env.closed for env in seen] == [True] * 3
    mine = Falls(RuntimeError("x"))
    minirl.evaluate(counter, mine, 1)
    assert not mine.closed  # an environment that was handed over is its owner's


def test_bug_21_an_evaluation_survives_a_close_that_raises(counter):
    class Jammed(Counting):
        def close(self):
            raise OSError("jammed")

    with pytest.warns(UserWarning, match="OSError: jammed"):
        assert minirl.evaluate(counter, Jammed, 2).lengths.tolist() == [3, 3]
