"""Our serial vector beside gymnasium's: every call gives the same, to the types and bits."""

import copy
import itertools
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from oracles import same_bits
from toy_envs import Drift, Narrow, Wrong, learner

from minirl.envs.make import make_envs
from minirl.envs.serial import SerialVectorEnv
from minirl.errors import EnvError

NESTED = spaces.Dict(
    {"a": spaces.Box(-1.0, 1.0, (2,), np.float32), "b": spaces.Tuple((spaces.Discrete(3), spaces.MultiBinary(2)))}
)


class Talking(Drift):
    """A Drift whose infos hold numbers, arrays, texts and a dict, and not the same at each step."""

    def __init__(self, space=None, **kwargs):
        super().__init__(**kwargs)
        self.own, self.t = copy.deepcopy(space), 0
        self.observation_space = self.own or self.observation_space

    def reset(self, **kwargs):
        obs, _ = super().reset(**kwargs)
        if self.own:
            self.own.seed(int(self.np_random.integers(99)))
        return self.seen(obs), {"begun": True}

    def step(self, action):
        obs, reward, terminated, truncated, _ = super().step(0 if self.own else action)
        self.t += 1
        info = {
            "x": obs[0],
            "t": self.t,
            "obs": obs.copy(),
            "who": f"step {self.t}",
            "parts": {"half": np.float32(self.t / 2)},
        }
        return self.seen(obs), np.float32(reward), np.bool_(terminated), truncated, info if self.t % 3 else {}

    def seen(self, obs):
        return self.own.sample() if self.own else obs


class OwnFinalObs(gymnasium.Wrapper):
    """Copies an episode's last observation: gymnasium hands it over after the reset, which may write into its array."""

    def step(self, action):
        obs, *rest = self.env.step(action)
        return copy.deepcopy(obs), *rest


def both(make, num_envs):
    """Ours and gymnasium's."""
    ours = SerialVectorEnv([make] * num_envs)
    return ours, SyncVectorEnv(
        [lambda: OwnFinalObs(make())] * num_envs, copy=False, autoreset_mode=AutoresetMode.SAME_STEP
    )


def registered(env_id, **kwargs):
    return lambda: gymnasium.make(env_id, **kwargs)


def same(a, b):
    """Equal in types, element types, order of keys and bits, all the way down."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    elif isinstance(a, tuple) or (isinstance(a, np.ndarray) and a.dtype == object):
        assert len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    else:
        assert a == b
    return True


CASES = {
    "CartPole": registered("CartPole-v1"),
    "Pendulum": registered("Pendulum-v1", max_episode_steps=7),
    "HalfCheetah": registered("HalfCheetah-v5", max_episode_steps=9),
    "infos": Talking,
    "in place": lambda: Drift(alias=True, actions=spaces.Box(-0.1, 0.1, (2,), np.float64)),
    "masks": Narrow,
    "dict": lambda: Talking(NESTED),
    "discrete": lambda: Talking(spaces.Discrete(5, start=-2)),
    "dict actions": lambda: Talking(NESTED, actions=NESTED),
}


@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_steps_and_resets_are_gymnasiums(case, num_envs):
    if case == "HalfCheetah":
        pytest.importorskip("mujoco")
    ours, theirs = both(CASES[case], num_envs)
    assert ours.action_space == theirs.action_space and ours.observation_space == theirs.observation_space
    assert (
        ours.single_action_space == theirs.single_action_space
        and ours.single_observation_space == theirs.single_observation_space
    )
    assert (
        ours.metadata == theirs.metadata
        and ours.num_envs == theirs.num_envs == num_envs
        and ours.render_mode == theirs.render_mode
    )
    theirs.action_space.seed(1)
    ends = 0
    for seed in ([*range(4, 4 + num_envs)], 5, None):
        assert same(ours.reset(seed=seed), theirs.reset(seed=seed))
        assert same(ours.np_random_seed, theirs.np_random_seed)
        for _ in range(25):
            actions = np.zeros_like(theirs.action_space.sample()) if case == "masks" else theirs.action_space.sample()
            if case == "masks":
                actions[:] = [np.argmax(env.unwrapped.mask) for env in theirs.envs]
            result = ours.step(actions)
            assert same(result, theirs.step(actions))
            ends += "final_obs" in result[4]
    if num_envs > 1:
        mask = np.arange(num_envs) == 1
        assert same(ours.reset(options={"reset_mask": mask}), theirs.reset(options={"reset_mask": mask.copy()}))
    assert ends > 0
    ours.close()
    theirs.close()
    assert ours.closed


def test_what_a_step_returned_stays_but_for_the_observations():
    ours, _ = both(Talking, 2)
    ours.reset(seed=0)
    first = ours.step(np.zeros(2, np.int64))
    kept = copy.deepcopy(first[1:])
    obs = ours.step(np.ones(2, np.int64))[0]
    assert same(first[1:], kept) and first[0] is obs


@pytest.mark.parametrize("kept", [(), ("x",), ("x", "absent")])
def test_of_the_infos_only_those_to_be_kept_are_handed_on(kept):
    ours, theirs = both(Talking, 2)
    ours.kept = kept
    ours.reset(seed=0), theirs.reset(seed=0)
    for _ in range(20):
        *result, info = ours.step(np.zeros(2, np.int64))
        *expected, everything = theirs.step(np.zeros(2, np.int64))
        assert same(tuple(result), tuple(expected))
        wanted = {*kept, "final_obs"}  # of an episode's end nothing else is read
        assert same(info, {key: value for key, value in everything.items() if key.removeprefix("_") in wanted})


WRONG = {
    "longer": np.zeros(2),
    "shorter": np.zeros(0),
    "a number": np.float64(1.0),
    "complex": np.zeros(1, complex),
    "text": "a",
    "none": None,
}


@pytest.mark.parametrize("num_envs", [1, 2])
@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
def test_bug_33_an_observation_that_gymnasium_refuses_is_refused_by_name(value, num_envs):
    ours, theirs = both(lambda: Wrong("obs", value), num_envs)
    for envs, error, says in ((ours, EnvError, "env=0, step=1: obs has "), (theirs, Exception, "")):
        envs.reset(seed=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(error, match=says):
                envs.step(np.zeros(num_envs, np.int64))


@pytest.mark.parametrize("value", [np.array([3.0], np.float32), np.array([3]), [3.0], [np.float64(3)]], ids=str)
def test_an_observation_of_another_type_that_fits_is_taken_as_gymnasium_does(value):
    ours, theirs = both(lambda: Wrong("obs", value), 2)
    ours.reset(seed=0), theirs.reset(seed=0)
    for _ in range(4):
        assert same(ours.step(np.zeros(2, np.int64)), theirs.step(np.zeros(2, np.int64)))


@pytest.mark.parametrize("actions", [np.zeros(3, np.int64), np.zeros(1, np.int64), [0]], ids=str)
def test_there_has_to_be_an_action_for_each(actions):
    ours, _ = both(Drift, 2)
    ours.reset(seed=0)
    with pytest.raises(ValueError, match=f"{len(actions)} actions: it takes 2"):
        ours.step(actions)
    assert [env.received for env in ours.envs] == [[], []]
    assert len(ours.step([0, 1])[1]) == 2  # a list is as good


def test_pictures_calls_and_attributes_go_to_the_environments():
    pytest.importorskip("pygame")
    ours = make_envs("CartPole-v1", 2, render_mode="rgb_array")
    assert (
        isinstance(ours, SerialVectorEnv)
        and ours.spec.id == "CartPole-v1"
        and ours.spec.kwargs["render_mode"] == "rgb_array"
    )
    assert gymnasium.spec("CartPole-v1").kwargs.get("render_mode") is None
    ours.reset(seed=0)
    pictures = ours.render()
    assert len(pictures) == 2 and pictures[0].shape == pictures[1].shape and pictures[0].dtype == np.uint8
    assert ours.get_attr("length") == ours.call("length") == (0.5, 0.5)
    ours.set_attr("length", [1.0, 2.0])
    assert ours.get_attr("length") == (1.0, 2.0)
    ours.close()


@pytest.mark.parametrize("case", ["infos", "dict", "discrete", "masks"])
def test_use_14_nothing_private_of_gymnasium_is_used(case, monkeypatch):
    """What gymnasium's class keeps under a name with an underscore is taken away: ours still gives what theirs does."""
    theirs = both(CASES[case], 2)[1]
    actions = np.zeros_like(theirs.action_space.sample())
    expected = [copy.deepcopy(theirs.reset(seed=3))]
    if case != "masks":
        expected += [copy.deepcopy(theirs.step(actions)) for _ in range(12)]
    init = SyncVectorEnv.__init__

    def bare(self, *args, **kwargs):
        init(self, *args, **kwargs)
        for name in [name for name in vars(self) if name.startswith("_")]:
            delattr(self, name)

    monkeypatch.setattr(SyncVectorEnv, "__init__", bare)
    monkeypatch.delattr(VectorEnv, "_add_info")
    ours = SerialVectorEnv([CASES[case]] * 2)
    assert same(ours.reset(seed=3), expected[0])
    assert all(same(ours.step(actions), result) for result in expected[1:])
    ours.close()


@pytest.mark.parametrize("seed", [[1], [1, 2, 3]], ids=str)
def test_there_has_to_be_a_seed_and_a_mask_for_each(seed):
    ours, _ = both(Drift, 2)
    with pytest.raises(ValueError, match=f"{len(seed)} seeds: it takes 2"):
        ours.reset(seed=seed)
    for mask in (np.zeros(2, bool), np.ones(3, bool), np.ones(2), [True, True]):
        with pytest.raises(ValueError, match="reset_mask"):
            ours.reset(options={"reset_mask": mask})


@pytest.mark.parametrize(
    ("case", "masked"), [("infos", False), ("in place", False), ("masks", True), ("discrete", False)]
)
def test_learning_is_the_same_on_either(case, masked):
    states = []
    for envs in both(CASES[case], 2):
        made = learner("ppo", envs, num_steps=20, mask_actions=masked, normalize_obs=True)
        episodes = sum(update.metrics["charts/episodes"] for update in itertools.islice(made, 3))
        envs.close()
        assert episodes > 0
        states.append(made.state | {"moments": vars(made.normalizer.moments), "episodes": episodes})
    assert same_bits(*states)
