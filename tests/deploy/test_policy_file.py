"""A policy of every space that can be trained on is the same once saved and loaded; other spaces are refused first."""

import json
import tracemalloc

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import batch_space, iterate
from oracles import same_bits
from toy_envs import learner, vector

import minirl
from minirl.deploy import policy_file
from minirl.deploy.agent import Agent
from minirl.errors import FileError, SpaceError
from minirl.files import safetensors
from minirl.models.policy import Policy
from minirl.spaces.actions import action_codec
from minirl.spaces.observations import MAX_NESTING, BoxObs, DictObs, obs_codec

BOX = spaces.Box(-1.0, 1.0, (2,), np.float32)
RNG = np.random.default_rng(24)
UNEVEN = spaces.MultiDiscrete(RNG.integers(1, 5, (150, 150)), start=RNG.integers(-9, 9, (150, 150)))


def nested(levels, inner=BOX):
    """Dict and Tuple in turn around a space."""
    for level in range(levels):
        inner = spaces.Tuple((inner,)) if level % 2 else spaces.Dict({"in": inner})
    return inner


class Seen(gymnasium.Env):
    """Sees what its space says."""

    def __init__(self, space, actions=None):
        self.observation_space, self.action_space = space, actions or spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 1.0, True, False, {}


def agent_for(space):
    """A small policy with random weights."""
    codecs = obs_codec(space), action_codec(spaces.Discrete(3))
    policy = Policy(codecs[1].family(), codecs[0].dim, (2,), "tanh")
    theta = np.random.default_rng(0).standard_normal(policy.num_params).astype(np.float32)
    return Agent(*codecs, theta, (2,), "tanh")


ODD = ("", "\n", "\x1b[31m", "\0", '"\\', "é", "\ud800", "\U0001f600", "k" * 1000)
LARGE = {
    "map": spaces.MultiDiscrete(np.full((150, 150), 3)),
    "uneven map": UNEVEN,
    "maps among others": spaces.Dict(
        {
            "b": spaces.Tuple((spaces.MultiDiscrete([2, 3], start=[5, -5]), BOX, spaces.MultiDiscrete([[4], [1]]))),
            "a": spaces.MultiDiscrete(np.full(5000, 2)),
            "c": spaces.Discrete(3),
        }
    ),
    "deep": nested(MAX_NESTING),
    "deep numbers": nested(MAX_NESTING, spaces.MultiDiscrete([2, 3])),
    "keys": spaces.Dict({f"sensor {i:04}": spaces.Discrete(2) for i in range(2000)}),
    "odd keys": spaces.Dict({key: BOX for key in ODD}),
}


@pytest.mark.parametrize("name", list(LARGE))
def test_bug_24_what_trains_is_saved_and_acts_the_same_to_the_bit(name, tmp_path):
    space = LARGE[name]
    made = learner("ppo", vector(Seen, {"space": space}), num_steps=4, hidden=(2,), dtype="float32")
    made.step()
    minirl.save(made.policy, tmp_path / "p", "E-v0")
    loaded = minirl.load(tmp_path / "p")
    assert loaded.obs_codec == made.policy.obs_codec == obs_codec(space)
    space.seed(3)
    batch = batch_space(space, 3).sample()
    for agent in (loaded, minirl.deploy.load(tmp_path / "p")):
        for rng in (None, 7):
            rngs = [None if rng is None else np.random.default_rng(rng) for _ in range(2)]
            assert same_bits(agent.act_batch(batch, rngs[0]), made.policy.act_batch(batch, rngs[1]))
        assert same_bits(agent.phi(batch), made.policy.phi(batch))
        one = next(iter(iterate(batch_space(space, 3), batch)))
        assert agent.act(one) == made.policy.act(one)


REFUSED = {
    "deeper": (nested(MAX_NESTING + 1), r"nested more than 14 deep; flatten it"),
    "far deeper": (nested(60), r"nested more than 14 deep; flatten it"),
    "a long key": (spaces.Dict({"k" * (1 << 20): BOX}), r"its header has \d+ bytes, at most 1048576"),
    "a pair of surrogates": (spaces.Dict({"\ud83d\ude00": BOX}), "a key of its observation space"),
    "one key twice": (spaces.Dict({"\ud83d\ude00": BOX, "\U0001f600": BOX}), "a key of its own"),
    "one number of many": (spaces.Discrete((1 << 24) + 1), "takes 1 to 16777216"),
    "numbers of many": (spaces.Tuple([spaces.Discrete(1 << 23)] * 3), "25165824 numbers, the limit is 16777216"),
    "a large image": (spaces.Box(0, 1, (4097, 4097), np.uint8), "too large"),
    "far away": (spaces.Discrete(3, start=-(2**63)), "obs start has to be an integer"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_bug_24_what_could_not_be_saved_is_refused_before_it_trains(name, monkeypatch):
    space, message = REFUSED[name]
    monkeypatch.setattr(Seen, "reset", lambda *a, **k: pytest.fail("the environment was begun"))
    envs = vector(Seen, {"space": BOX})
    monkeypatch.setattr(envs, "single_observation_space", space)
    tracemalloc.start()
    with pytest.raises(SpaceError, match=message) as raised:
        learner("ppo", envs)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6  # no parameters were made: 2²⁴ numbers into a layer of 5 would be 640 MB
    assert len(str(raised.value)) < 1000


def test_bug_24_more_choices_than_a_file_holds_are_refused_before_they_train(monkeypatch):
    learner("ppo", vector(Seen, {"space": spaces.MultiDiscrete([2, 2, 2])}))
    monkeypatch.setattr(policy_file, "MAX_CHOICES", 2)
    with pytest.raises(SpaceError, match="at most 2 of them"):
        learner("ppo", vector(Seen, {"space": spaces.MultiDiscrete([2, 2, 2])}))


@pytest.mark.parametrize("where", ["the id", "a line in it"])
def test_bug_24_an_id_that_could_not_be_saved_is_refused_before_it_trains(where, tmp_path):
    env = {"the id": "E" * 2_000_000, "a line in it": "E\nv0"}[where]
    with pytest.raises(SpaceError, match=r"at most 1048576 are allowed; give it a shorter id|env has to be printable"):
        learner("ppo", vector(Seen, {"space": BOX}), env=env)
    with pytest.raises(FileError, match=r"p cannot be written: .*(at most 1048576 are|env has to be printable)"):
        minirl.save(agent_for(BOX), tmp_path / "p", env)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(np.dtype(np.longdouble) == np.float64, reason="a long double is a double here")
def test_bug_24_actions_that_could_not_be_saved_are_refused_before_they_train():
    envs = vector(Seen, {"space": BOX})
    envs.single_action_space = spaces.Box(-1, 1, (2,), np.longdouble)
    with pytest.raises(SpaceError, match=r"could not be saved: action dtype '\w+': takes float16, float32, float64"):
        learner("ppo", envs)


def test_bug_24_a_long_id_that_fits_is_saved(tmp_path):
    env = "\U0001f600" * 20_000  # 24 bytes each in the header
    learner("ppo", vector(Seen, {"space": BOX}), env=env)
    minirl.save(agent_for(BOX), tmp_path / "p", env)
    assert policy_file.load(tmp_path / "p")[1]["env"] == env


def test_bug_24_nothing_is_written_that_would_not_be_read(tmp_path):
    """Made by hand, past all checks: a file that names a dim of its own is found before it is written."""
    agent = agent_for(BOX)
    object.__setattr__(agent, "hidden", (3,))
    with pytest.raises(FileError, match=r"p cannot be written: theta is float32 \(15,\)"):
        policy_file.save(tmp_path / "p", agent, "ppo", "E-v0")
    assert not list(tmp_path.iterdir())


# -------------------------------------------------------------------------------- what a file says of MultiDiscretes

CHOICES = np.array([[0, 2], [5, 3], [0, 2]], np.int64)
THREE = spaces.Tuple((spaces.MultiDiscrete([2, 3], start=[0, 5]), spaces.Dict({"x": spaces.MultiDiscrete([2])})))


def rewritten(path, choices=CHOICES, about=lambda about: None):
    """The file with other choices (None: none) and another description, and a checksum that fits."""
    policy_file.save(path, agent_for(THREE), "ppo", "E-v0")
    arrays, metadata = safetensors.read(path)
    np.testing.assert_array_equal(arrays.pop("obs_choices"), CHOICES)
    description = json.loads(metadata["minirl"])
    about(description)
    arrays |= {} if choices is None else {"obs_choices": choices}
    safetensors.write(path, arrays, {"minirl": json.dumps(description)})
    return path


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (None, "fewer rows"),
        (CHOICES[:2], "fewer rows"),
        (CHOICES[:0], "fewer rows"),
        (np.concatenate([CHOICES, CHOICES[:1]]), "more rows"),
        (CHOICES.T.copy(), "two whole numbers"),
        (CHOICES.ravel(), "two whole numbers"),
        (CHOICES[None], "two whole numbers"),
        (CHOICES.astype(np.float64), "two whole numbers"),
        (CHOICES.astype(np.uint8), "two whole numbers"),
        (CHOICES * [1, 0], "1 to 16777216 numbers"),
        (CHOICES * [1, -1], "1 to 16777216 numbers"),
        (CHOICES * [1, 1 << 40], "1 to 16777216 numbers"),
        (CHOICES * [1, 1 << 22], "the limit is 16777216"),
        (CHOICES + np.array([0, 1]), "theta is"),
        (np.full(((1 << 18) + 1, 2), 1), "at most 262144"),
    ],
    ids=range(15),
)  # fmt: skip
def test_bug_24_choices_that_do_not_fit_are_refused(choices, message, tmp_path):
    assert minirl.load(rewritten(tmp_path / "good")).obs_codec == obs_codec(THREE)
    with pytest.raises(FileError, match=f"holds no minirl policy: .*{message}"):
        minirl.load(rewritten(tmp_path / "p", choices))


@pytest.mark.parametrize(
    "about",
    [
        lambda d: d["obs"]["parts"][0].update(shape=[3]),
        lambda d: d["obs"]["parts"][0].update(shape=[1]),
        lambda d: d["obs"]["parts"][0].update(shape=[1 << 23]),
        lambda d: d["obs"]["parts"][0].update(shape=[1 << 40]),
        lambda d: d["obs"]["parts"][0].update(shape=None),
        lambda d: d["obs"]["parts"][0].update(parts=None),
        lambda d: d["obs"]["parts"][0].update(parts=[]),
        lambda d: d["obs"]["parts"].pop(),
        lambda d: d["obs"].update(parts=[d["obs"]["parts"][0]] * 2),
        lambda d: d["obs"]["parts"][0].update(kind="box"),
    ],
    ids=range(10),
)
def test_bug_24_a_description_that_does_not_fit_its_choices_is_refused(about, tmp_path):
    with pytest.raises(FileError, match="holds no minirl policy"):
        minirl.load(rewritten(tmp_path / "p", about=about))


def test_bug_24_a_file_of_many_different_choices_takes_little_more_memory_than_it_has(tmp_path):
    n = 1 << 15
    choices = np.stack([np.arange(n), np.ones(n, int)], axis=1)
    obs = {"kind": "multi_discrete", "shape": [n], "start": 0, "size": 0}
    path = rewritten(tmp_path / "p", choices, lambda d: d.update(obs=obs))
    tracemalloc.start()
    with pytest.raises(FileError, match="theta is"):
        minirl.load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1000 * n  # at most 2¹⁸ are read: 260 MB


def test_bug_24_bits_flipped_in_the_choices_are_found(tmp_path):
    data = bytearray(rewritten(tmp_path / "p").read_bytes())
    for bit in range(0, 8 * len(data), 23):
        data[bit // 8] ^= 1 << bit % 8
        (tmp_path / "flipped").write_bytes(data)
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FileError):
            minirl.load(tmp_path / "flipped")


def test_names_of_a_long_space_are_cut_in_messages():
    codec = DictObs((BoxObs((2,)),) * 30, tuple(f"key{i}" for i in range(30)))
    with pytest.raises(SpaceError, match=r"with key0: this policy takes a dict with key0, .*, key9 and 20 more$"):
        codec.encode({"key0": 1}, np.float32)
    assert str(obs_codec(LARGE["map"])) == "multi_discrete (150, 150) of [3] * 22500"
    assert str(obs_codec(LARGE["odd keys"])).isprintable()
