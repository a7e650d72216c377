"""What an observation may be: one-hot codes without large intermediates, numbers alone, and never nothing."""

import re
import sys
import tracemalloc
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from oracles import same_bits
from toy_envs import MODES, Counting, learner, vector

import minirl
from minirl.deploy.agent import Agent
from minirl.errors import EnvError, MinirlError, SpaceError
from minirl.models.policy import Policy
from minirl.spaces.actions import action_codec
from minirl.spaces.observations import obs_codec

SAME_STEP = AutoresetMode.SAME_STEP
RNG = np.random.default_rng(23)
BOX = spaces.Box(-1.0, 1.0, (3,), np.float32)


def agent_for(space):
    """A policy that chooses among two actions."""
    codecs = obs_codec(space), action_codec(spaces.Discrete(2))
    policy = Policy(codecs[1].family(), codecs[0].dim, (3,), "tanh")
    return Agent(*codecs, policy.init(np.random.default_rng(0), 0.0), (3,), "tanh")


# ------------------------------------------------------------------------------------------ BUG-23: one-hot codes

CHOICES = [
    spaces.Discrete(1),
    spaces.Discrete(7, start=-3),
    spaces.Discrete(3, start=2**62),
    spaces.MultiDiscrete([4]),
    spaces.MultiDiscrete([2, 3, 1], start=[0, -4, 7]),
    spaces.MultiDiscrete(RNG.integers(1, 9, (5, 7)), start=RNG.integers(-9, 9, (5, 7))),
    spaces.MultiDiscrete(RNG.integers(1, 200, (2, 3, 2)), dtype=np.uint8),
    spaces.MultiDiscrete(np.full((19, 19), 3)),
]


def compared(space, batch):
    """A 1 where a number is the one that a column stands for: the textbook's definition, entry by entry."""
    count = np.ravel(space.n if isinstance(space, spaces.Discrete) else space.nvec)
    columns = np.asarray(batch).reshape(len(batch), -1).T
    entries = zip(columns, np.ravel(space.start), count, strict=True)
    return np.concatenate([column[:, None] == first + np.arange(n) for column, first, n in entries], axis=1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("space", CHOICES, ids=lambda s: str(s).replace("\n", "")[:40])
def test_bug_23_one_hot_is_one_where_the_numbers_are_equal(space, dtype):
    codec = obs_codec(space)
    space.seed(1)
    singles = [space.sample() for _ in range(6)]
    for n in (1, 2, 6):
        batch = np.array(singles[:n])
        got = codec.encode(batch, dtype)
        assert got.dtype == dtype and got.flags.c_contiguous and same_bits(got, compared(space, batch).astype(dtype))
        assert same_bits(got, codec.encode(codec.stack(singles[:n]), dtype))
    assert same_bits(codec.encode_one(singles[0], np.dtype(dtype)), got[:1])
    assert codec.encode(np.zeros((0, *space.shape), int), dtype).shape == (0, codec.dim)


@pytest.mark.parametrize("kind", ["?", "i1", "u1", "i2", "u4", "i8", "u8", ">i4"])
def test_bug_23_whole_numbers_of_every_type_are_taken(kind):
    codec, numbers = obs_codec(spaces.MultiDiscrete([2, 2], start=[0, 0])), np.array([[0, 1], [1, 1]])
    np.testing.assert_array_equal(codec.encode(numbers.astype(kind), np.float32), [[1, 0, 0, 1], [0, 1, 0, 1]])


def test_bug_23_a_one_hot_takes_the_memory_of_its_result():
    """n = 4000 numbers: an n × n matrix would have 64 MB, four rows of n have 64 KB."""
    for space in (spaces.Discrete(4000), spaces.MultiDiscrete([3000, 1000])):
        codec = obs_codec(space)
        batch = codec.stack([space.sample() for _ in range(4)])
        codec.encode(batch, np.float32)
        tracemalloc.start()
        codec.encode(batch, np.float32)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2 * 4 * 4000 * 4


def test_bug_23_a_board_is_encoded_in_as_many_calls_as_a_cell():
    """Calls of Python and C functions, counted: the time on one machine says little of another, and of a busy one."""

    def calls(shape):
        codec, batch, seen = obs_codec(spaces.MultiDiscrete(np.full(shape, 3))), np.ones((4, *shape), int), []
        codec.encode(batch, np.float32)
        sys.setprofile(lambda frame, event, arg: seen.append(event))
        codec.encode(batch, np.float32)
        sys.setprofile(None)
        return len(seen)

    assert calls((19, 19)) == calls((1,)) < 60


@pytest.mark.parametrize(
    ("space", "batch", "message"),
    [
        (spaces.Discrete(3, start=10), [10, 13, 9], "row=1, is 13: .*whole numbers, 10 to 12"),
        (spaces.Discrete(3, start=10), [9], "observation is 9: .*10 to 12"),
        (spaces.Discrete(3), [2.0], r"of type float64, \[2.0\]: .*whole numbers"),
        (spaces.Discrete(3, start=-1), np.array([2**64 - 1], np.uint64), "whole numbers, -1 to 1"),  # −1, if it wrapped
        (spaces.Discrete(3, start=5), [-(2**63)], f"is {-(2**63)}: "),
        (spaces.Discrete(2**40, start=2**62), [2**62 - 1], f"is {2**62 - 1}: .*{2**62} to {2**62 + 2**40 - 1}"),
        (spaces.MultiDiscrete([2, 3], start=[0, -4]), [[0, -4], [1, -1]], r"row=1, is -1 at \(1,\): .*-4 to -2"),
        (spaces.MultiDiscrete([[2, 3], [4, 1]]), [[[0, 0], [0, 1]]], r"is 1 at \(1, 1\): .*0 to 0"),
    ],
    ids=str,
)
def test_bug_23_a_number_out_of_range_is_named_with_its_place(space, batch, message):
    with pytest.raises(SpaceError, match=message):
        obs_codec(space).encode(np.array(batch), np.float32)


def test_bug_23_a_start_that_no_whole_number_reaches_is_refused():
    with pytest.raises(SpaceError, match="beyond the numbers of type int64"):
        obs_codec(spaces.MultiDiscrete([2, 2], dtype=np.uint64, start=[0, 2**63 + 2]))


# -------------------------------------------------------------------------------- BUG-28: numbers, nothing else

NESTED = spaces.Dict({"a": BOX, "b": spaces.Tuple((spaces.Discrete(3), spaces.MultiBinary(2)))})
ROWS = {
    "object": (np.array([1.5, True, 7], object), "object"),
    "None": ([1.5, None, 7], "object"),
    "text": (["1.5", "2", "7"], "text"),
    "text among numbers": ([1.5, "2", 7], "text"),
    "bytes": ([b"1", b"2", b"3"], r"\|S1"),
    "datetime": (np.array(["2020-01-01"] * 3, "M8[s]"), r"datetime64\[s\]"),
    "timedelta": (np.zeros(3, "m8[ms]"), r"timedelta64\[ms\]"),
    "complex": (np.array([1j, 0, 0]), "complex128"),
    "masked": (np.ma.array([1.0, 2.0, 3.0], mask=[False, True, False]), "masked array"),
    "masked, all there": (np.ma.array([1.0, 2.0, 3.0]), "masked array"),
    "record": (np.zeros(3, "i4,f4"), r"\[\('f0'"),
    "uneven": ([[1.0, 2.0], [3.0]], "list"),
    "nothing": (None, "object"),
    "dict": ({"a": 1.0}, "object"),
    "set": ({1.0, 2.0, 3.0}, "object"),
    "large": ([10**30, 0, 0], "object"),
    "word": ("1.5", "text"),
}


@pytest.mark.parametrize("name", list(ROWS))
@pytest.mark.filterwarnings("error")
def test_bug_28_a_row_that_is_not_of_numbers_is_refused_by_name(name):
    row, kind = ROWS[name]
    good = np.zeros(3, np.float32)
    agent, inside = agent_for(BOX), agent_for(NESTED)
    with pytest.raises(SpaceError, match=f"observation of type {kind}.*takes numbers"):
        agent.act(row)
    with pytest.raises(SpaceError, match=rf"observation\['a'\] of type {kind}"):
        inside.act({"a": row, "b": (1, [0, 1])})
    for batch in ([row], [good, row], [good, good, row]):
        with pytest.raises(SpaceError, match=f"observation, row={len(batch) - 1}, of type {kind}|observation of type"):
            agent.act_batch(batch)
    with pytest.raises(SpaceError, match=rf"observation, row=1, of type {kind}"):
        obs_codec(BOX).stack([good, row])
    with pytest.raises(SpaceError, match=rf"observation\['a'\], row=1, of type {kind}"):
        obs_codec(NESTED).stack([{"a": x, "b": (1, [0, 1])} for x in (good, row)])


@pytest.mark.parametrize("space", [spaces.Discrete(3), spaces.MultiDiscrete([3, 3, 3]), spaces.MultiBinary(3)], ids=str)
@pytest.mark.parametrize("name", list(ROWS))
def test_bug_28_in_every_kind_of_space(space, name):
    row, kind = ROWS[name]
    with pytest.raises(SpaceError, match=f"observation.* of type {kind}"):
        agent_for(space).act(row)


@pytest.mark.parametrize(
    "row",
    [
        [True, False, True],
        [1, 2, 3],
        (np.float64(1), 2, True),
        range(3),
        memoryview(np.arange(3.0)),
        np.array([1, 2, 3], np.uint8),
        np.array([1, 2, 3], ">i8"),
        np.array([0.5, 1, 2], np.float16),
        np.array([1.0, 2, 3], np.longdouble),
    ],
    ids=lambda row: type(row).__name__,
)
def test_bug_28_numbers_of_every_type_are_taken(row):
    agent, plain = agent_for(BOX), np.array(list(row), np.float32)
    assert agent.act(row) == agent.act(plain)
    np.testing.assert_array_equal(obs_codec(BOX).encode_one(row, np.dtype(np.float32)), plain[None])
    np.testing.assert_array_equal(obs_codec(BOX).encode([row, row], np.float32), [plain, plain])


def test_bug_28_the_row_of_a_batch_of_objects_is_the_one_without_a_number():
    batch = np.array([[1.5, True, 7], [0, 1, 2], [1.5, None, 7]], object)
    with pytest.raises(SpaceError, match=r"row=2, of type object, \[1.5, None, 7\]"):
        obs_codec(BOX).encode(batch, np.float32)
    with pytest.raises(SpaceError, match=r"observation of type object"):
        obs_codec(BOX).encode(batch[:2], np.float32)


def test_bug_28_a_masked_number_is_no_number():
    with pytest.raises(SpaceError, match=r"list .*masked"), warnings.catch_warnings(action="error"):
        agent_for(BOX).act([1.0, np.ma.masked, 2.0])
    with pytest.raises(MinirlError, match="entry 1 is nan"), warnings.catch_warnings(action="ignore"):
        agent_for(BOX).act([1.0, np.ma.masked, 2.0])


def test_bug_28_an_object_that_cannot_become_an_array_is_refused():
    class Odd:
        def __array__(self, *args, **kwargs):
            raise RuntimeError("detach it\nfirst")

    with pytest.raises(SpaceError, match=r"of type Odd \(detach it first\)"):
        agent_for(BOX).act(Odd())


class Careless(SyncVectorEnv):
    """A vector of its own making: what `change` makes of the observations, and of the last ones of episodes."""

    def __init__(self, change, final, **kwargs):
        super().__init__([lambda: Counting(dim=3), lambda: Counting(dim=3, lengths=(2,))], **kwargs)
        self.change, self.final, self.taken = change, final, 0

    def step(self, actions):
        obs, *rest, info = super().step(actions)
        self.taken += 1
        if "final_obs" in info:
            info["final_obs"][1] = self.final(info["final_obs"][1])
        return self.change(obs) if self.taken == 4 else obs, *rest, info


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda obs: obs.astype(object), "object"),
        (lambda obs: obs.astype(str), "text"),
        (lambda obs: obs + 0j, "complex128"),
        (lambda obs: [obs[0], [1, None, 2]], "object"),
        (lambda obs: np.ma.array(obs, mask=[[0, 0, 0], [0, 1, 0]]), "object"),
        (lambda obs: [obs[0], ["1", "2", "3"]], "text"),
    ],
    ids=["object", "text", "complex", "None", "masked", "words"],
)
def test_bug_28_training_names_the_step_and_where_it_can_the_environment(mode, change, what):
    made = learner("ppo", Careless(change, lambda obs: obs, autoreset_mode=mode))
    with pytest.raises(SpaceError, match=f"observation(, env=[01])?, step=4, of type {what}"):
        made.step()


def test_bug_28_training_names_the_environment_of_a_last_observation():
    made = learner("ppo", Careless(lambda obs: obs, lambda obs: obs.astype(object), autoreset_mode=SAME_STEP))
    with pytest.raises(EnvError, match="env=1, step=2: obs has to be numbers"):
        made.step()
    made = learner("ppo", Careless(lambda obs: obs, lambda obs: obs[:2], autoreset_mode=SAME_STEP))
    with pytest.raises(EnvError, match=r"env=1, step=2: obs has shape \(2,\)"):
        made.step()


def test_bug_28_an_observation_of_another_shape_in_a_stack_is_named():
    with pytest.raises(SpaceError, match=r"row=1, of shape \(2,\): this policy takes \(3,\)"):
        obs_codec(BOX).stack([np.zeros(3), np.zeros(2)])


# -------------------------------------------------------------------------------------- BUG-29: nothing to see

EMPTY = [
    spaces.Box(-1.0, 1.0, (0,)),
    spaces.Box(-1.0, 1.0, (3, 0, 2)),
    spaces.Dict({}),
    spaces.Tuple(()),
    spaces.MultiDiscrete(np.zeros(0, int)),
    spaces.Dict({"a": spaces.Dict({"b": spaces.Tuple(())})}),
    spaces.Tuple((BOX, spaces.Dict({}))),
    spaces.Dict({"a": BOX, "b": spaces.Box(-1.0, 1.0, (0,))}),
]
NO_ACTIONS = [spaces.Box(-1.0, 1.0, (0,)), spaces.Box(-1.0, 1.0, (2, 0)), spaces.MultiDiscrete(np.zeros(0, int))]


class Empty(gymnasium.Env):
    """Sees what its space says, one step per episode; counts how many of it are open."""

    open = 0

    def __init__(self, obs=BOX, actions=None):
        self.observation_space, self.action_space = obs, spaces.Discrete(2) if actions is None else actions
        Empty.open += 1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 1.0, True, False, {}

    def close(self):
        Empty.open -= 1


@pytest.mark.parametrize(
    ("space", "kwargs"),
    [(space, {"obs": space}) for space in EMPTY] + [(space, {"actions": space}) for space in NO_ACTIONS],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::UserWarning:gymnasium")
def test_bug_29_a_space_of_nothing_is_refused_by_name(space, kwargs, monkeypatch):
    what, codec = ("observation", obs_codec) if "obs" in kwargs else ("action", action_codec)
    with pytest.raises(SpaceError, match=f"{what} space .*there is no"):
        codec(space)
    with pytest.raises(SpaceError, match=f"{what} space .*there is no"):
        learner("ppo", vector(Empty, kwargs))
    spec = gymnasium.envs.registration.EnvSpec("Empty-v0", Empty, kwargs=kwargs, disable_env_checker=True)
    monkeypatch.setitem(gymnasium.registry, "Empty-v0", spec)
    Empty.open = 0
    with pytest.raises(SpaceError, match=f"{what} space .*there is no"):
        minirl.train("ppo", "Empty-v0", total_timesteps=8, num_steps=4)
    assert Empty.open == 0


def test_bug_29_the_part_that_is_empty_is_named():
    with pytest.raises(SpaceError, match=re.escape(str(EMPTY[-1]["b"]))):
        obs_codec(EMPTY[-1])
