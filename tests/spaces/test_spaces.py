"""Every space that minirl has a codec for: observations in, actions out, and both in the policy's file."""

import inspect
import json

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import batch_space, iterate
from oracles import same_bits
from toy_envs import ALGORITHMS, MODES, Drift, Match, learner, run, vector

import minirl
from minirl.config import Config
from minirl.deploy import policy_file
from minirl.deploy.agent import Agent
from minirl.envs.check import check_env
from minirl.errors import ConfigError, EnvError, FileError, NonFiniteError, SpaceError
from minirl.files import safetensors
from minirl.models.distributions import FAMILIES, NAMES
from minirl.models.policy import Policy
from minirl.spaces.actions import KINDS, MultiBinaryAction, action_codec
from minirl.spaces.observations import BoxObs, DiscreteObs, TupleObs, obs_codec

BOX = spaces.Box(-2.0, 3.0, (2, 2), np.float32)
NESTED = spaces.Dict(
    {
        "speed": spaces.Box(-1.0, 1.0, (2, 1), np.float64),
        "gear": spaces.Discrete(3, start=-1),
        "at": spaces.Tuple(
            (spaces.MultiDiscrete([2, 3], start=[0, 5]), spaces.Dict({"lamps": spaces.MultiBinary((2, 2))}))
        ),
    }
)
OBSERVATIONS = [
    spaces.Box(-1.0, 1.0, (2, 3), np.float64),
    spaces.Box(0, 255, (2, 1, 3), np.uint8),
    spaces.Discrete(4, start=-2),
    spaces.MultiDiscrete([2, 3, 1], start=[0, -4, 7]),
    spaces.MultiDiscrete([[2, 3], [4, 1]]),
    spaces.MultiBinary(5),
    spaces.MultiBinary((2, 3)),
    spaces.Tuple((spaces.Discrete(2), spaces.Box(0.0, 1.0, (3,), np.float32))),
    NESTED,
]
INT8 = {"dtype": np.int8} if "dtype" in inspect.signature(spaces.Discrete).parameters else {}  # from gymnasium 1.2 on
ACTIONS = [
    spaces.Discrete(3, start=-4),
    spaces.Discrete(3, start=2, **INT8),
    spaces.MultiDiscrete([2, 3, 1], start=[0, -4, 7]),
    spaces.MultiDiscrete([[2, 3], [4, 1]], dtype=np.int16),
    spaces.MultiBinary(4),
    spaces.MultiBinary((2, 2)),
    BOX,
    spaces.Box(-np.inf, np.inf, (3,), np.float32),
]
BOUNDED = [
    spaces.Box(-0.1, 0.1, (3,), np.float64),
    spaces.Box(-0.1, 0.1, (3,), np.float32),
    spaces.Box(-0.1, 0.1, (3,), np.float16),
    spaces.Box(np.array([0, -5], np.float32), np.array([1e-3, 1e30], np.float32), dtype=np.float32),
    spaces.Box(-1.7e308, 1.7e308, (2,), np.float64),  # high − low would be infinite
    spaces.Box(2.0, 2.0, (2,), np.float32),
]
observations = pytest.mark.parametrize("space", OBSERVATIONS, ids=str)


def seeded(space, seed=0):
    space.seed(seed)
    return space


# --------------------------------------------------------------------------------------------------------- observations


@observations
def test_observations_are_flattened_as_gymnasium_does(space):
    codec = obs_codec(space)
    batch = seeded(batch_space(space, 7)).sample()
    singles = list(iterate(batch_space(space, 7), batch))
    expected = np.stack([spaces.flatten(space, x) for x in singles]).astype(np.float32)
    encoded = codec.encode(batch, np.float32)
    assert codec.dim == expected.shape[1] and encoded.dtype == np.float32 and encoded.flags.c_contiguous
    np.testing.assert_array_equal(encoded, expected)
    np.testing.assert_array_equal(codec.encode(codec.stack(singles), np.float32), expected)
    np.testing.assert_array_equal(codec.encode(codec.stack(singles[:1]), np.float32), expected[:1])


@observations
def test_env_09_an_encoded_observation_shares_no_memory(space):
    batch = seeded(batch_space(space, 2)).sample()
    arrays = [x for x in iterate_leaves(batch) if isinstance(x, np.ndarray)]
    encoded = obs_codec(space).encode(batch, np.float64)
    assert not any(np.shares_memory(encoded, x) for x in arrays)


def iterate_leaves(x):
    if isinstance(x, dict | tuple):
        for part in x.values() if isinstance(x, dict) else x:
            yield from iterate_leaves(part)
    else:
        yield x


@pytest.mark.parametrize(
    ("obs", "message"),
    [
        ({"speed": 0, "gear": 0}, r"at, gear, speed"),
        (np.zeros((1, 3)), "takes a dict with"),
        ({"speed": np.zeros((1, 2, 1)), "gear": np.zeros(1, int), "at": np.zeros((1, 2))}, "takes a tuple of 2"),
        ({"speed": np.zeros((1, 2)), "gear": np.zeros(1, int), "at": ()}, "takes a tuple of 2"),
        (
            {
                "speed": np.zeros((1, 2, 1)),
                "gear": np.array([2]),
                "at": (np.array([[0, 5]]), {"lamps": np.zeros((1, 2, 2))}),
            },
            "-1 to 1",
        ),
    ],
    ids=["missing", "array", "no tuple", "short", "outside"],
)
def test_env_15_an_observation_of_another_structure_is_named(obs, message):
    with pytest.raises(SpaceError, match=message):
        obs_codec(NESTED).encode(obs, np.float32)


@pytest.mark.parametrize(
    "space",
    [spaces.Text(3), spaces.Sequence(spaces.Discrete(2)), spaces.Dict({1: BOX}), spaces.Graph(BOX, None)],
    ids=str,
)
def test_env_15_observation_spaces_without_a_codec_are_named(space):
    with pytest.raises(SpaceError, match="minirl learns from"):
        obs_codec(space)
    with pytest.raises(SpaceError, match="minirl learns from"):
        obs_codec(spaces.Tuple((BOX, space)))


def test_env_15_the_check_looks_into_every_space(monkeypatch):
    class Off(Match):
        def step(self, action):
            return (np.array([7, 7]), *super().step(action)[1:])

    monkeypatch.setitem(
        gymnasium.registry, "Off-v0", gymnasium.envs.registration.EnvSpec("Off-v0", Off, disable_env_checker=True)
    )
    monkeypatch.setattr(Off, "__init__", lambda self: Match.__init__(self, spaces.MultiDiscrete([2, 3])))
    with pytest.raises(EnvError, match=r"Off-v0.*obs array\(\[7, 7\]\) does not fit its observation_space.*0 to 1"):
        check_env("Off-v0")


# -------------------------------------------------------------------------------------------------------------- actions


def decoded(codec, n=400):
    """Samples of a wild policy, in both float types of the network."""
    dist, rng = codec.family(), np.random.default_rng(1)
    for dtype in (np.float32, np.float64):
        phi = (30 * rng.standard_normal((n, dist.num_params))).astype(dtype)
        if codec.kind == "box":
            phi[:, codec.low.size :] = np.clip(phi[:, codec.low.size :], -5, 5)
        raw = dist.sample(phi, rng)
        before = raw.copy()
        actions = codec.decode(raw)
        assert same_bits(raw, before) and not np.shares_memory(raw, actions)
        yield actions


@pytest.mark.parametrize("space", ACTIONS, ids=str)
def test_env_12_decoded_actions_are_in_the_space(space):
    for actions in decoded(action_codec(space)):
        assert actions.dtype == space.dtype
        assert all(space.contains(a) for a in actions)
        if not isinstance(space, spaces.Box):
            assert len(np.unique(actions, axis=0)) > 2  # all of it is reached


@pytest.mark.parametrize("family", NAMES["box"])
@pytest.mark.parametrize("space", BOUNDED, ids=str)
def test_env_12_actions_of_every_family_are_within_the_bounds(space, family):
    for actions in decoded(action_codec(space, family)):
        assert actions.dtype == space.dtype
        assert all(space.contains(a) for a in actions)


@pytest.mark.parametrize("family", ["squashed_gaussian", "beta"])
def test_bounded_families_reach_from_bound_to_bound(family):
    space = spaces.Box(np.array([-3.0, 0.0]), np.array([1.0, 0.5]), dtype=np.float64)
    codec = action_codec(space, family)
    raw = np.array([[-50.0, -50.0], [0.0, 0.0], [50.0, 50.0]])
    np.testing.assert_allclose(codec.decode(raw), [[-3, 0], [-1, 0.25], [1, 0.5]], atol=1e-12)
    x = np.array([[0.3, -1.2]])
    a = (codec.decode(x) - space.low) / (space.high - space.low)
    np.testing.assert_allclose(
        a, (1 + np.tanh(x)) / 2 if family == "squashed_gaussian" else 1 / (1 + np.exp(-x)), rtol=1e-12
    )


@pytest.mark.parametrize("family", ["squashed_gaussian", "beta"])
@pytest.mark.parametrize("bounds", [(-np.inf, np.inf), (0, np.inf), (-np.inf, 1)])
def test_env_13_squashing_needs_bounds(family, bounds):
    with pytest.raises(SpaceError, match=f"family = '{family}'.*finite bounds"):
        action_codec(spaces.Box(*bounds, (2,), np.float32), family)


def test_a_family_that_does_not_fit_the_space_is_named():
    with pytest.raises(SpaceError, match=r"family = 'beta'.*kind discrete there is auto, categorical"):
        action_codec(spaces.Discrete(3), "beta")
    with pytest.raises(SpaceError, match=r"family = 'categorical'.*auto, diag_gaussian, state_gaussian"):
        action_codec(BOX, "categorical")
    with pytest.raises(ConfigError, match=r"family = 'gauss'.*auto, diag_gaussian"):
        Config(family="gauss")
    with pytest.raises(SpaceError, match="family = 'full_gaussian'"):
        learner("ppo", vector(Drift, {}), family="full_gaussian")
    for space in ACTIONS:
        assert action_codec(space).family().name == action_codec(space).family_name in FAMILIES


# ------------------------------------------------------------------------------------------------------------- training


def wrapped(x):
    """A target for Match, wrapped into everything that an observation can be."""
    return {"b": (x, int(x[0])), "a": {"again": x.astype(np.float32)}}


MATCHES = {
    "multi_binary": {"actions": spaces.MultiBinary(3)},
    "multi_discrete": {"actions": spaces.MultiDiscrete([2, 3], start=[4, -1])},
    "dict": {
        "actions": spaces.MultiBinary(2),
        "observe": wrapped,
        "space": spaces.Dict(
            {
                "a": spaces.Dict({"again": spaces.Box(0.0, 1.0, (2,), np.float32)}),
                "b": spaces.Tuple((spaces.MultiBinary(2), spaces.Discrete(2))),
            }
        ),
    },
}


@pytest.mark.parametrize("name", list(MATCHES))
@pytest.mark.parametrize("algorithm", ["trpo", "ppo"])
def test_training_on_what_is_seen(algorithm, name):
    """By chance half of the entries match, or less; a few updates later most of them do."""
    fast = {"ppo": {"lr": 0.02}, "trpo": {"delta": 0.2, "damping": 0.01}}[algorithm]
    trained, updates = run(
        algorithm,
        vector(Match, *[MATCHES[name]] * 4),
        16,
        num_steps=64,
        gamma=0.0,
        dtype="float32",
        minibatch_size=64,
        hidden=(16,),
        **fast,
    )
    returns = [u.returns.mean() / 8 for u in updates]
    assert returns[0] < 0.65 and returns[-1] > 0.85
    env = Match(**MATCHES[name])
    obs, _ = env.reset(seed=3)
    np.testing.assert_array_equal(trained.policy.act(obs), env.target)


@pytest.mark.parametrize("name", list(MATCHES))
def test_env_02_transitions_are_the_same_in_every_autoreset_mode(name):
    seen = []
    for mode in MODES:
        made = learner("trpo", vector(Match, *[MATCHES[name]] * 2, mode=mode), num_steps=30)
        rollout = made.collector.collect(made.state["theta_pi"], lambda obs: obs)
        fields = ("obs", "next_obs", "action", "reward", "terminated")
        seen.append([[getattr(rollout, field)[rollout.valid[:, b], b][:24] for field in fields] for b in range(2)])
    assert same_bits(seen[0], seen[1]) and same_bits(seen[1], seen[2])


@pytest.mark.parametrize("family", NAMES["box"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_training_with_each_family(algorithm, family):
    trained, updates = run(algorithm, vector(Drift, *[{"actions": BOX}] * 2), 3, family=family)
    assert trained.nets.policy.dist.name == family and np.isfinite(trained.state["theta_pi"]).all()
    assert all(np.isfinite(u.metrics["losses/entropy"]) for u in updates)


@pytest.mark.parametrize("family", NAMES["box"])
@pytest.mark.parametrize("algorithm", ["trpo", "ppo"])
def test_training_with_each_family_on_pendulum(algorithm, family):
    result = minirl.train(
        algorithm, "Pendulum-v1", total_timesteps=400, num_envs=2, num_steps=100, hidden=(8,), family=family
    )
    assert len(result.history) == 2 and np.isfinite(result.policy.theta).all()
    assert result.history[-1].metrics["losses/approx_kl"] > 0


@pytest.mark.parametrize("family", NAMES["box"])
def test_dist_12_13_raw_actions_are_stored_and_the_first_ratio_is_one(family):
    """What is kept is what was drawn:
    decoding it again gives what the environment got, and log π of it is what acting had.
    """
    envs = vector(Drift, {"actions": BOX})
    made = learner("ppo", envs, family=family, num_steps=40)
    # wide: many actions near the bounds
    made.state["theta_pi"] += np.random.default_rng(0).standard_normal(len(made.state["theta_pi"]))
    acted, infer = [], made.nets.policy.infer
    made.nets.policy.infer = lambda *args: acted.append(infer(*args)) or acted[-1]
    rollout = made.collector.collect(made.state["theta_pi"], lambda obs: obs)
    raw, dist = rollout.action[:, 0], made.nets.policy.dist
    np.testing.assert_array_equal(np.array(envs.envs[0].received), made.collector.action_codec.decode(raw))
    logp = dist.log_prob(np.concatenate(acted), raw)
    phi, _ = made.nets.policy.forward(made.state["theta_pi"], rollout.obs[:, 0])
    np.testing.assert_allclose(np.exp(dist.log_prob(phi, raw) - logp), 1, atol=1e-11)
    assert np.isfinite(logp).all()


# ---------------------------------------------------------------------------------------------------------------- files


def agent_for(space, action, family="auto", seed=0):
    obs, actions = obs_codec(space), action_codec(action, family)
    size = Policy(actions.family(), obs.dim, (3,), "tanh").num_params
    return Agent(obs, actions, np.random.default_rng(seed).standard_normal(size), (3,), "tanh")


@pytest.mark.parametrize(
    ("space", "action", "family"),
    [(space, spaces.Discrete(2), "auto") for space in OBSERVATIONS]
    + [(OBSERVATIONS[0], action, "auto") for action in ACTIONS]
    + [(OBSERVATIONS[0], BOX, family) for family in NAMES["box"]],
    ids=str,
)
def test_a_saved_policy_is_the_same_policy(space, action, family, tmp_path):
    agent = agent_for(space, action, family)
    policy_file.save(tmp_path / "p", agent, "ppo", "none")
    loaded = minirl.load(tmp_path / "p")
    assert str(loaded.obs_codec) == str(agent.obs_codec) and loaded.obs_codec == agent.obs_codec
    assert loaded.policy.dist.name == agent.policy.dist.name and not loaded.masked
    batch = seeded(batch_space(space, 9)).sample()
    for rng in (None, 1):
        pair = [a.act_batch(batch, None if rng is None else np.random.default_rng(rng)) for a in (agent, loaded)]
        assert same_bits(*pair) and all(action.contains(a) for a in pair[0])
    one = next(iter(iterate(batch_space(space, 9), batch)))
    np.testing.assert_array_equal(loaded.act(one), agent.act_batch(batch)[0])


def rewritten(path, change, arrays_change=lambda arrays: arrays):
    """The file with its description changed, and a checksum that fits."""
    arrays, metadata = safetensors.read(path, any_value=policy_file.BOUNDS)
    description = json.loads(metadata["minirl"])
    change(description)
    safetensors.write(path, arrays_change(arrays), {"minirl": json.dumps(description)}, any_value=policy_file.BOUNDS)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["obs"].update(kind="graph"),
        lambda d: d["obs"].pop("parts"),
        lambda d: d["obs"].pop("keys"),
        lambda d: d["obs"].update(keys=["a", "a", "b"]),
        lambda d: d["obs"].update(keys=[1, 2, 3]),
        lambda d: d["obs"]["parts"].pop(),
        lambda d: d["obs"]["parts"][1].update(size=1 << 30),
        lambda d: d["obs"]["parts"][1].update(size=True),
        lambda d: d["obs"]["parts"][2].update(shape=[4096, 4096]),
        lambda d: d["obs"]["parts"][0]["parts"][0].update(shape=[3]),
        lambda d: d["obs"]["parts"][0]["parts"][0].update(parts=[d["obs"]["parts"][1], d["obs"]["parts"][2]]),
        lambda d: d["obs"]["parts"][0]["parts"][0].update(parts=[d["obs"]["parts"][1]]),
        lambda d: d["obs"].update(parts=[d["obs"]["parts"][1]] * 3),
        lambda d: d.update(family="beta"),
        lambda d: d.update(family=["multi_categorical"]),
        lambda d: d.update(family="auto"),
        lambda d: d.update(masked=1),
        lambda d: d["action"].update(dtype="float32"),
        lambda d: d["action"].update(kind="box", dtype="float64"),
        lambda d: d["action"].update(shape=[2, 2]),
    ],
)
def test_a_description_that_does_not_fit_is_refused(change, tmp_path):
    path = tmp_path / "p"
    policy_file.save(path, agent_for(NESTED, spaces.MultiDiscrete([2, 3, 4])), "ppo", "none")
    minirl.load(path)
    rewritten(path, change)
    with pytest.raises(FileError, match="holds no minirl policy"):
        minirl.load(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("action_low", [0, np.nan, 0]), ("action_high", [1, np.inf, 3]), ("action_low", [0, 0.5, 0]),
     ("action_high", [1, 2, 2.0**33]), ("action_low", [0, 9, 0]), ("action_high", [1, 2, 300]),
     ("action_low", [-(2.0**63), 0, 0])],
)  # fmt: skip
def test_choices_that_are_no_numbers_are_refused(name, value, tmp_path):
    path = tmp_path / "p"
    policy_file.save(path, agent_for(OBSERVATIONS[0], spaces.MultiDiscrete([2, 3, 4], dtype=np.int8)), "ppo", "none")
    rewritten(path, lambda d: None, lambda arrays: arrays | {name: np.array(value, np.float64)})
    with pytest.raises(FileError, match="holds no minirl policy"):
        minirl.load(path)


@pytest.mark.parametrize(
    "actions", [spaces.Discrete(3), spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(2), BOX], ids=str
)
@pytest.mark.parametrize(
    ("name", "value"), [("size", -1), ("size", "3"), ("start", 0.5), ("scaled", 1), ("scaled", None)]
)
def test_a_fact_is_checked_also_where_the_kind_has_no_use_for_it(name, value, actions, tmp_path):
    path = tmp_path / "p"
    policy_file.save(path, agent_for(OBSERVATIONS[0], actions), "ppo", "none")
    rewritten(path, lambda d: d["action"].update({name: value}))
    with pytest.raises(FileError, match=f"holds no minirl policy: (action )?{name} (=|has to be)"):
        minirl.load(path)


def test_every_kind_of_actions_has_families_and_only_they_are_named():
    assert set(KINDS) == set(NAMES) and {action_codec(space).kind for space in ACTIONS} == set(KINDS)


def test_a_masked_file_needs_actions_that_can_be_masked(tmp_path):
    path = tmp_path / "p"
    policy_file.save(path, agent_for(OBSERVATIONS[0], BOX), "ppo", "none")
    rewritten(path, lambda d: d.update(masked=True))
    with pytest.raises(FileError, match="masked"):
        minirl.load(path)


@pytest.mark.parametrize("family", ["squashed_gaussian", "beta"])
def test_a_bounded_family_in_a_file_without_bounds_is_refused(family, tmp_path):
    path = tmp_path / "p"
    policy_file.save(
        path, agent_for(OBSERVATIONS[0], spaces.Box(-np.inf, np.inf, (2,), np.float32), "state_gaussian"), "ppo", "none"
    )
    rewritten(path, lambda d: d.update(family=family))
    with pytest.raises(FileError, match="finite bounds"):
        minirl.load(path)


def test_a_file_cannot_ask_for_more_memory_than_it_has(tmp_path):
    """A covariance over a million dimensions would have 5·10¹¹ entries:
    refused by counting, before anything is made.
    """
    path, n = tmp_path / "p", 1_000_000
    policy_file.save(path, agent_for(OBSERVATIONS[0], BOX, "full_gaussian"), "ppo", "none")
    bounds = {"action_low": np.zeros(n), "action_high": np.ones(n)}
    rewritten(path, lambda d: d["action"].update(shape=[n]), lambda arrays: arrays | bounds)
    with pytest.raises(FileError, match="theta is"):
        minirl.load(path)


def test_codecs_that_are_written_by_hand():
    codec = MultiBinaryAction((2,), "int8")
    assert codec.family_name == "bernoulli" and str(codec) == "multi_binary (2,)"
    assert str(TupleObs((BoxObs((2,)), DiscreteObs(3)))) == "tuple(box (2,), discrete 3)"


# ------------------------------------------------------------------------------------------------ one observation alone


@observations
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_observation_is_encoded_as_in_a_batch(space, dtype):
    codec, dtype = obs_codec(space), np.dtype(dtype)
    for obs in (seeded(space).sample() for _ in range(3)):
        assert same_bits(codec.encode_one(obs, dtype), codec.encode(codec.stack([obs]), dtype))


@pytest.mark.parametrize(
    "obs",
    [
        np.arange(3, dtype=np.float32),
        np.arange(3, dtype=np.float64),
        np.arange(3, dtype=">f4"),
        np.arange(6, dtype=np.float32)[::2],
        np.arange(3),
        np.array([1e300, -np.inf, np.nan]),
        [0.0, 1, 2],
        (np.float32(0), 1.5, True),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("error")
def test_whatever_holds_its_numbers(obs):
    codec = BoxObs((3,))
    one = codec.encode_one(obs, np.dtype(np.float32))
    assert same_bits(one, codec.encode([obs], np.float32)) and one.dtype.isnative


@pytest.mark.parametrize(
    "obs", [np.zeros(2, np.float32), np.zeros((1, 3), np.float32), np.float32(0), [0.0, 1.0]], ids=str
)
def test_one_observation_of_another_shape_is_refused(obs):
    with pytest.raises(SpaceError, match="this policy takes \\(3,\\)"):
        BoxObs((3,)).encode_one(obs, np.dtype(np.float32))


@pytest.mark.parametrize("actions", ACTIONS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_acting_on_one_observation_is_acting_on_a_batch_of_it(actions, dtype):
    codecs = obs_codec(spaces.Box(-1.0, 1.0, (3,), np.float32)), action_codec(actions)
    policy = Policy(codecs[1].family(), 3, (4,), "tanh")
    agent = Agent(*codecs, policy.init(np.random.default_rng(0), 0.0, dtype), (4,), "tanh")
    one, many = np.random.default_rng(1), np.random.default_rng(1)
    for obs in np.random.default_rng(2).standard_normal((5, 3)).astype(np.float32):
        before = obs.copy()
        for given in (obs, obs.tolist(), obs.astype(np.float64)):
            action = agent.act(given, one)
            assert same_bits(action, agent.act_batch([given], many)[0]) and actions.contains(action)
            assert same_bits(agent.act(given), agent.act_batch([given])[0])
        assert same_bits(obs, before)
    with pytest.raises(NonFiniteError, match="entry 1 is nan") as raised:
        agent.act(np.array([0, np.nan, 0], dtype))
    with pytest.raises(NonFiniteError) as batch:
        agent.act_batch(np.array([[0, np.nan, 0]], dtype))
    assert str(raised.value) == str(batch.value)


# ----------------------------------------------------------------------------------------- Gaussians over finite bounds


F32_MAX = float(np.finfo(np.float32).max)


@pytest.mark.parametrize(
    "low, high, centre, half",
    [
        (300, 500, 400, 100),
        (-2, 2, 0, 2),
        (0, 1e-3, 5e-4, 5e-4),
        (-1e6, 3e6, 1e6, 2e6),
        (7, 7, 7, 0),
        (-np.inf, np.inf, 0, 1),
        (0, np.inf, 0, 1),
        (-F32_MAX, F32_MAX, 0, 1),
        ([-1, 0, -np.inf], [1, 10, 5], [0, 5, 0], [1, 5, 1]),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bug_12_a_gaussian_acts_in_half_ranges_around_the_centre(low, high, centre, half, dtype, rng):
    low, high, centre, half = (np.resize(np.asarray(x, float), 3) for x in (low, high, centre, half))
    space = spaces.Box(low.astype(dtype), high.astype(dtype), dtype=dtype)
    u = rng.standard_normal((200, 3)).astype(np.float32)
    sent = action_codec(space, scaled=True).decode(u)
    assert all(space.contains(a) for a in sent)
    np.testing.assert_allclose(
        sent, np.clip(centre + half * u.astype(float), space.low, space.high), rtol=1e-6, atol=1e-12
    )


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bug_12_a_box_from_minus_1_to_1_is_acted_on_as_before(scaled, dtype, rng):
    codec = action_codec(spaces.Box(-1, 1, (2,), dtype), scaled=scaled)
    u = rng.standard_normal((200, 2)).astype(np.float32)
    np.testing.assert_array_equal(codec.decode(u), np.clip(u.astype(dtype), -1, 1))
    assert codec.spread is None


class Dial(gymnasium.Env):
    """Reward 0 in the middle of the range, -1 at its ends."""

    observation_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, low, high):
        self.action_space, self.sent = spaces.Box(low, high, (1,), np.float32), []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        low, high = self.action_space.low[0], self.action_space.high[0]
        self.sent.append(float(action[0]))
        self.t += 1
        return (
            np.zeros(1, np.float32),
            -abs(float(action[0]) - (low + high) / 2) / float(high - low),
            self.t == 20,
            False,
            {},
        )


@pytest.mark.parametrize("family", ["auto", "state_gaussian", "full_gaussian"])
@pytest.mark.parametrize("low, high", [(300, 500), (-1e4, 1e4), (0, 1e-3)])
def test_bug_12_what_is_learned_does_not_depend_on_the_unit_of_the_actions(family, low, high, tmp_path):
    """The same raw actions, parameters to rounding, and actions over the whole range;
    the file acts as the training did.
    """
    here, there = (
        run("ppo", vector(Dial, {"low": a, "high": b}), 2, num_steps=40, family=family)
        for a, b in ((-1, 1), (low, high))
    )
    np.testing.assert_allclose(here[0].state["theta_pi"], there[0].state["theta_pi"], rtol=1e-3, atol=1e-4)
    sent = np.array(there[0].collector.envs.envs[0].sent)
    assert len(np.unique(sent)) > 40 and (np.abs(sent - (low + high) / 2) < (high - low) / 4).sum() > 15
    policy_file.save(tmp_path / "p", there[0].policy, "ppo", "")
    obs = np.zeros(1, np.float32)
    np.testing.assert_array_equal(policy_file.load(tmp_path / "p")[0].act(obs), there[0].policy.act(obs))


def test_bug_12_a_field_turns_it_off():
    made, _ = run("ppo", vector(Dial, {"low": 300, "high": 500}), 1, scale_actions=False)
    assert set(made.collector.envs.envs[0].sent) == {300.0}
    assert not made.policy.action_codec.scaled
