"""Environments: the three autoreset modes, seeds, codecs,
and what minirl says of an environment that breaks the rules.
"""

import multiprocessing
import sys
import types
import warnings

import gymnasium
import numpy as np
import pytest
import toy_envs
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from oracles import same_bits, step_weights
from toy_envs import ALGORITHMS, MODES, Counting, Drift, Image, Narrow, Wrong, learner, run, vector

import minirl
import minirl.training.trainee
from minirl import algorithms
from minirl.envs.autoreset import autoreset_mode
from minirl.envs.check import check_env
from minirl.envs.make import make_env, make_envs, reset
from minirl.errors import EnvError, NonFiniteError, SpaceError
from minirl.numerics import random_streams
from minirl.runs.metrics import row_of
from minirl.samples.advantages import evaluate_states
from minirl.spaces.actions import action_codec
from minirl.spaces.observations import obs_codec
from minirl.training.evaluation import evaluate
from minirl.training.learner import Learner

NEXT_STEP, SAME_STEP, DISABLED = AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED
BOX = spaces.Box(-0.1, 0.1, (2,), np.float64)


@pytest.fixture(autouse=True)
def registered():
    toy_envs.register()


@pytest.fixture
def batches(monkeypatch):
    """(rollout, batch) of every update, as `make_batch` hands them to the learner."""
    seen, make = [], minirl.training.trainee.make_batch
    monkeypatch.setattr(
        minirl.training.trainee,
        "make_batch",
        lambda rollout, *a: seen.append((rollout, make(rollout, *a))) or seen[-1][1],
    )
    return seen


def identity(obs):
    return obs


def transitions(rollouts, b):
    """The real transitions (s, a, r, s', terminated, truncated) of environment b, in order."""
    names = [n for n, field in vars(rollouts[0]).items() if n != "valid" and isinstance(field, np.ndarray)]
    return [
        tuple(getattr(r, n)[t, b].tobytes() for n in names) for r in rollouts for t in np.flatnonzero(r.valid[:, b])
    ]


def collect(envs, times=1, **changes):
    """Rollouts of a fixed policy, each going on where the one before ended."""
    made = learner("trpo", envs, **({"normalize_obs": False} | changes))
    rollouts = []
    for _ in range(times):
        rollouts.append(made.collector.collect(made.state["theta_pi"], identity))
        made.collector.commit()
    envs.close()
    return rollouts


# ------------------------------------------------------------------------------------------------------------ autoreset


def test_env_01_reset_steps_are_never_learned_from(batches):
    """Environments of different lengths under NEXT_STEP:
    what is learned from are the steps that the environments really took.
    """
    envs = vector(
        Counting, {"lengths": (3,)}, {"lengths": (5,), "ends": ("truncated",)}, {"lengths": (2, 1)}, mode=NEXT_STEP
    )
    made, updates = run("ppo", envs, 3, num_steps=12, lam=0.0, normalize_obs=True)
    assert sum(int((~r.valid).sum()) for r, _ in batches) > 10
    assert (
        made.global_step
        == updates[-1].global_step
        == sum(len(b) for _, b in batches)
        == sum(env.steps for env in envs.envs)
    )
    for rollout, batch in batches:
        assert (rollout.obs[~rollout.valid] % 10 > 0).all()  # a reset step is taken from the final observation …
        assert len(batch) == rollout.valid.sum()
        for b, lengths in enumerate([(3,), (5,), (2, 1)]):  # … and no final observation is learned from
            seen = rollout.obs[rollout.valid[:, b], b, 0]
            assert all(x % 10 < lengths[int(x // 10 - 1) % len(lengths)] for x in seen)
    assert made.normalizer.moments.count == made.global_step
    raw = np.concatenate([r.obs[r.valid] for r, _ in batches])
    np.testing.assert_allclose(made.normalizer.moments.mean, raw.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(made.normalizer.moments.var, raw.var(axis=0), rtol=1e-10)
    ended = np.concatenate([u.lengths for u in updates])
    assert sorted(set(ended)) == [1, 2, 3, 5]


def test_env_01_what_a_reset_step_holds_changes_no_batch():
    envs = vector(Counting, {"lengths": (3,)}, {"lengths": (5,), "ends": ("truncated",)}, mode=NEXT_STEP)
    made = learner("trpo", envs, num_steps=13)
    rollout = made.collector.collect(made.state["theta_pi"], identity)
    fake = ~rollout.valid
    assert fake.sum() == 3
    clean = minirl.training.trainee.make_batch(
        rollout, rollout.reward, step_weights(rollout), made.value, identity, made.config
    )
    for array in (rollout.obs, rollout.next_obs, rollout.reward, rollout.action):
        array[fake] = 77
    poisoned = minirl.training.trainee.make_batch(
        rollout, rollout.reward, step_weights(rollout), made.value, identity, made.config
    )
    for name in ("obs", "action", "adv", "returns", "value"):
        assert same_bits(getattr(clean, name), getattr(poisoned, name))
    made.scaler = made.scaler.update(rollout.reward * 0 + 1, rollout.cut, step_weights(rollout), 0.9)
    assert made.scaler.moments.count == rollout.valid.sum()


def test_env_01_what_a_vector_returns_for_a_reset_step_is_ignored():
    """A vector of its own making may put anything there: gymnasium's leaves reward 0 and no flags."""

    class Careless(SyncVectorEnv):
        def step(self, actions):
            resets = self._autoreset_envs.copy()
            obs, reward, terminated, truncated, info = super().step(actions)
            reward[resets], terminated[resets] = np.nan, True
            return obs, reward, terminated, truncated, info

    lengths = (3, 4)
    careless = Careless([lambda n=n: Counting(lengths=(n,)) for n in lengths], autoreset_mode=NEXT_STEP)
    careful = vector(Counting, *[{"lengths": (n,)} for n in lengths], mode=NEXT_STEP)
    (ours,), (theirs,) = (collect(envs, num_steps=10) for envs in (careless, careful))
    assert same_bits(vars(ours), vars(theirs)) and not ours.valid.all()


def test_env_01_when_all_environments_are_due_the_reset_takes_no_row():
    rollout = collect(vector(Counting, {}, {}, mode=NEXT_STEP), num_steps=11)[0]
    assert rollout.valid.all()
    np.testing.assert_array_equal(rollout.obs[:, 0, 0], [10, 11, 12, 20, 21, 22, 30, 31, 32, 40, 41])
    np.testing.assert_array_equal(rollout.next_obs[:, 1, 0], [11, 12, 13, 21, 22, 23, 31, 32, 33, 41, 42])


@pytest.mark.parametrize("actions", [3, BOX], ids=["discrete", "box"])
@pytest.mark.parametrize("num_envs", [1, 3])
def test_env_02_every_mode_gives_each_environment_the_same_transitions(actions, num_envs):
    per_mode = [
        collect(vector(Drift, *[{"actions": actions}] * num_envs, mode=mode), times=2, num_steps=19) for mode in MODES
    ]
    for b in range(num_envs):
        next_step, same_step, disabled = (transitions(rollouts, b) for rollouts in per_mode)
        assert same_step == disabled and len(same_step) == 38
        assert next_step == same_step[: len(next_step)] and len(next_step) > 20
    ends = np.concatenate([r.terminated + 2 * r.truncated for r in per_mode[1]])
    assert set(ends.ravel()) == {0, 1, 2}  # both kinds of end were met


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(("num_envs", "modes"), [(1, MODES), (3, (SAME_STEP, DISABLED))], ids=["one", "several"])
def test_env_02_parameters_do_not_depend_on_the_mode(algorithm, num_envs, modes):
    states = []
    for mode in modes:
        made, updates = run(
            algorithm, vector(Drift, *[{}] * num_envs, mode=mode), 3, num_steps=20, normalize_reward=True
        )
        assert sum(u.metrics["charts/episodes"] for u in updates) > 0
        states.append(made.state | {"obs": vars(made.normalizer.moments), "reward": vars(made.scaler.moments)})
    assert all(same_bits(state, states[0]) for state in states)


@pytest.mark.parametrize("algorithm", ["ppo", "trpo"])
@pytest.mark.parametrize("vectorization", ["sync", "async", "vector_entry_point"])
def test_env_02_every_vectorization_trains(algorithm, vectorization):
    made = learner(algorithm, make_envs("CartPole-v1", 2, vectorization), num_steps=40)
    before = made.state["theta_pi"].copy()
    updates = [next(made) for _ in range(2)]
    made.collector.envs.close()
    assert updates[-1].global_step > 60 and sum(u.metrics["charts/episodes"] for u in updates) > 0
    assert np.isfinite(made.state["theta_pi"]).all() and (made.state["theta_pi"] != before).any()


def test_env_03_same_step_without_final_obs_is_refused():
    class Forgetful(SyncVectorEnv):
        def step(self, actions):
            *result, info = super().step(actions)
            return *result, {k: v for k, v in info.items() if "final" not in k}

    with pytest.raises(EnvError, match="final_obs"):
        collect(Forgetful([Counting], autoreset_mode=SAME_STEP))


@pytest.mark.parametrize(
    "metadata", [None, {}, {"autoreset_mode": None}, {"autoreset_mode": "sometimes"}, {"autoreset_mode": True}]
)
def test_env_04_an_unknown_autoreset_mode_is_an_error(metadata):
    with pytest.raises(EnvError, match="NextStep, SameStep, Disabled"):
        autoreset_mode(types.SimpleNamespace(metadata=metadata))


@pytest.mark.parametrize("mode", MODES)
def test_env_04_a_known_mode_may_be_given_by_its_value(mode):
    assert autoreset_mode(types.SimpleNamespace(metadata={"autoreset_mode": mode.value})) is mode


@pytest.mark.parametrize("mode", MODES)
def test_env_05_norm_06_the_final_observation_is_normalised_as_all_others(mode, batches):
    """λ = 0: the critic's target is r + γ V(normalised s'),
    s' the final observation where the episode was truncated.
    """
    made = learner(
        "trpo",
        vector(Counting, {"lengths": (3, 2), "ends": ("truncated",)}, {"lengths": (4,)}, mode=mode),
        lam=0.0,
        gamma=0.9,
    )
    for _ in range(3):
        normalizer, critic = made.normalizer, made.state["theta_v"]
        made.step()
        rollout, batch = batches[-1]
        s, s_next = (normalizer(getattr(rollout, name)[rollout.valid]) for name in ("obs", "next_obs"))
        np.testing.assert_array_equal(batch.obs, s)
        v_next = np.where(rollout.terminated[rollout.valid], 0, made.nets.critic.value(critic, s_next))
        np.testing.assert_allclose(batch.returns, rollout.reward[rollout.valid] + 0.9 * v_next, rtol=1e-9, atol=1e-12)
    assert normalizer.moments.count > 0 and rollout.truncated.any()


# ---------------------------------------------------------------------------------------------------------------- seeds


def first_observations(seed, num_envs=4, **kwargs):
    made = learner("ppo", vector(Drift, *[kwargs] * num_envs), seed=seed)
    return made.collector.state.obs


def test_env_06_neighbouring_seeds_share_no_initial_observation():
    rows = np.concatenate([first_observations(seed) for seed in (5, 6, 7)])
    assert len(np.unique(rows, axis=0)) == 12
    envs = vector(Drift, *[{}] * 4)
    reset(envs, random_streams.stream_seeds(5)["envs"])
    assert np.diff(np.sort(np.array(envs.np_random_seed, np.int64))).min() > 1  # nor are the seeds s, s + 1, …


def test_env_07_the_environments_of_a_run_start_differently_and_reproducibly():
    rows = first_observations(5)
    assert len(np.unique(rows, axis=0)) == 4
    np.testing.assert_array_equal(rows, first_observations(5))


class Seeded(Counting):
    """Keeps the seeds that it was given; a simulator in another language takes a signed 32-bit integer."""

    given: list

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            assert type(seed) is int and -(2**31) <= seed < 2**31, f"seed {seed}"
            Seeded.given.append(seed)
        return super().reset(seed=seed, options=options)


@pytest.fixture
def seeded(monkeypatch):
    monkeypatch.setattr(Seeded, "given", [], raising=False)
    monkeypatch.setitem(gymnasium.registry, "Seeded-v0", EnvSpec("Seeded-v0", Seeded, disable_env_checker=True))
    return "Seeded-v0"


@pytest.mark.parametrize("seed", [0, 1, 7, 2**40])
def test_bug_19_seeds_fit_a_signed_integer_of_32_bits(seeded, seed):
    """In the check, in training and in evaluation; the check sees the first environment's."""
    trained = minirl.train("ppo", seeded, seed=seed, num_envs=3, num_steps=4, total_timesteps=12, hidden=(4,))
    checked, *theirs = Seeded.given
    assert len(theirs) == len(set(theirs)) == 3 and checked == theirs[0]
    evaluate(trained.policy, seeded, episodes=40, seed=seed)
    played = Seeded.given[4:]
    assert len(set(played)) == 40 and max(played) > 2**30  # and the whole range is used


def test_bug_19_native_environments_get_the_same_seeds(seeded):
    native = make_envs("minirl/CartPole-v1", 3)
    for envs in (native, make_envs(seeded, 3)):
        reset(envs, random_streams.stream_seeds(5)["envs"])
    assert list(native.np_random_seed) == Seeded.given
    before = [int(child.generate_state(1)[0]) for child in random_streams.stream_seeds(5)["envs"].spawn(3)]
    assert Seeded.given == [number // 2 for number in before]  # the upper 31 of the 32 bits that they used to be


def test_env_08_the_action_space_is_seeded():
    samples = []
    for seed in (3, 3, 4):
        envs = vector(Drift, *[{"actions": BOX}] * 2)
        reset(envs, random_streams.stream_seeds(seed)["envs"])
        samples.append(np.concatenate([envs.action_space.sample() for _ in range(5)]))
    np.testing.assert_array_equal(samples[0], samples[1])
    assert (samples[0] != samples[2]).all()


# -------------------------------------------------------------------------------------------------------- shared arrays


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_env_09_observations_changed_in_place_by_an_environment_that_minirl_made(vectorization):
    """SAME_STEP resets before the final observation is handed over: it has to be a copy by then."""
    rollouts = {}
    for alias in (True, False):
        rollouts[alias] = collect(
            make_envs("minirl-test/Drift-v0", 2, vectorization, alias=alias), times=2, num_steps=30
        )
    for b in range(2):
        assert transitions(rollouts[True], b) == transitions(rollouts[False], b)
    assert rollouts[True][0].truncated.any()
    assert len(np.unique(rollouts[True][0].obs.reshape(-1, 3), axis=0)) == 60


@pytest.mark.parametrize("mode", [NEXT_STEP, DISABLED])
def test_env_09_observations_changed_in_place_by_an_environment_of_the_user(mode):
    aliased, copied = (
        collect(vector(Drift, *[{"alias": alias}] * 2, mode=mode), num_steps=30)[0] for alias in (True, False)
    )
    assert same_bits(vars(aliased), vars(copied))
    assert len(np.unique(aliased.obs.reshape(-1, 3), axis=0)) == 60


def test_env_10_actions_changed_in_place():
    changed, kept = (
        collect(vector(Drift, *[{"actions": BOX, "mutate": mutate}] * 3), num_steps=30)[0] for mutate in (True, False)
    )
    assert same_bits(vars(changed), vars(kept))
    assert (changed.action != 0).all()


# --------------------------------------------------------------------------------------------------------------- codecs


@pytest.mark.parametrize("start", [-1, 0, 10])
def test_env_11_discrete_actions_count_from_start(start):
    space = spaces.Discrete(3, start=start)
    envs = vector(Drift, *[{"actions": space}] * 2)
    rollout = collect(envs, num_steps=40)[0]
    for b, env in enumerate(envs.envs):
        assert set(np.ravel(env.received)) == {start, start + 1, start + 2}
        np.testing.assert_array_equal(np.ravel(env.received), rollout.action[:, b] + start)
    assert set(rollout.action.ravel()) == {0, 1, 2}  # log-probabilities are looked up by number from 0

    made, _ = run("ppo", vector(Drift, {"actions": space}), 1)
    assert all(space.contains(a) for a in made.policy.act_batch(np.zeros((9, 3), np.float32), np.random.default_rng(0)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("space_dtype", [np.float32, np.float64])
def test_env_12_actions_lie_in_the_box(dtype, space_dtype):
    space = spaces.Box(-0.1, 0.1, (2,), space_dtype)
    envs = vector(Drift, *[{"actions": space}] * 2)
    rollout = collect(envs, num_steps=30, dtype=dtype, log_std=1.0)[0]
    received = np.concatenate([env.received for env in envs.envs])
    assert all(space.contains(a) for a in received) and received.dtype == space_dtype
    assert all(
        float(low) <= float(a) <= float(high)
        for row in received
        for a, low, high in zip(row, space.low, space.high, strict=True)
    )
    assert (np.abs(rollout.action) > 0.1).any()  # stored as sampled: the density is that of the uncut action
    agent = run("trpo", vector(Drift, {"actions": space}), 1, log_std=1.0, dtype=dtype)[0].policy
    acts = agent.act_batch(np.zeros((50, 3)), np.random.default_rng(0))
    assert all(space.contains(a) for a in acts) and (acts == space.high).any()


@pytest.mark.parametrize("low", [-np.inf, 0.0])
def test_env_13_infinite_bounds_are_not_rescaled(low):
    space = spaces.Box(low, np.inf, (2,), np.float32)
    envs = vector(Drift, *[{"actions": space}] * 2)
    rollout = collect(envs, num_steps=20)[0]
    received = np.stack([env.received for env in envs.envs], axis=1)
    np.testing.assert_array_equal(received, np.maximum(rollout.action.astype(np.float32), low))
    assert (rollout.action < 0).any()
    made, _ = run("ppo", vector(Drift, {"actions": space}), 2)
    assert np.isfinite(made.state["theta_pi"]).all()


def test_env_14_an_observation_too_large_to_be_squared_names_environment_and_entry():
    huge = {"fault": ("obs", 4, 1e300), "dim": 2, "lengths": ()}
    with pytest.raises(NonFiniteError, match=r"obs is not finite, env=1, step=4: entry 1 is 1e\+300") as caught:
        run("ppo", vector(Counting, {"dim": 2, "lengths": ()}, huge, {"dim": 2, "lengths": ()}), 1, dtype="float32")
    assert (caught.value.env, caught.value.step) == (1, 4)


@pytest.mark.filterwarnings("error")
def test_env_14_float64_takes_what_can_be_squared():
    large = {"fault": ("obs", 4, 1e60), "dim": 2, "lengths": ()}
    made, _ = run("ppo", vector(Counting, {"dim": 2}, large), 3)
    assert all(np.isfinite(made.state[name]).all() for name in ("theta_pi", "theta_v"))
    with pytest.raises(NonFiniteError, match="obs is not finite, env=1, step=4: entry 1"):
        run("ppo", vector(Counting, {"dim": 2}, large | {"fault": ("obs", 4, 1e300)}), 3)


def test_env_14_images_of_bytes_are_flattened_and_normalised():
    made, _ = run("ppo", vector(Image, {"lengths": (9,)}, {"lengths": (5,)}), 3, dtype="float32")
    rollout = collect(vector(Image, {"lengths": (9,)}), dtype="float32")[0]
    np.testing.assert_array_equal(rollout.obs[:, 0], np.repeat(np.arange(10.0, 17)[:, None], 24, axis=1))
    x = made.normalizer(np.full((1, 24), 12, np.float32))
    assert np.isfinite(made.state["theta_pi"]).all() and (np.abs(x) < 3).all()


# ---------------------------------------------------------------------------------------------------- what is not kept


@pytest.fixture
def wrong(monkeypatch):
    """Registers an environment whose step returns `value` for `what`; gives its id."""

    def make(what, value, cls=Wrong, **kwargs):
        spec = EnvSpec(
            "minirl-test/Odd-v0", cls, kwargs={"what": what, "value": value} | kwargs, disable_env_checker=True
        )
        monkeypatch.setitem(gymnasium.registry, spec.id, spec)
        return spec.id

    return make


@pytest.mark.parametrize(
    ("what", "value", "named"),
    [
        ("reward", np.array([1.0]), "reward has to be a number"),
        ("reward", None, "reward has to be a number"),
        ("reward", "1", "reward has to be a number"),
        ("reward", 1j, "reward has to be a number"),
        ("terminated", 1, "terminated has to be True or False"),
        ("truncated", None, "truncated has to be True or False"),
        ("obs", np.zeros(2), r"obs has shape \(2,\).*says \(1,\)"),
        ("obs", 3.0, r"obs has shape \(\)"),
        ("obs", [[1.0], [1.0, 2.0]], "obs has to be numbers"),
        ("obs", ["north"], "obs has to be numbers"),
        ("obs", {"x": 1}, "obs has to be numbers"),
        ("tuple", 4, r"\(obs, reward, terminated, truncated, info\), not tuple"),
    ],
)
def test_env_15_wrong_types_are_named_by_the_check(wrong, what, value, named):
    with pytest.raises(EnvError, match=f"Odd-v0.*{named}"):
        check_env(wrong(what, value))


@pytest.mark.parametrize(
    ("what", "value"),
    [
        *(("reward", value) for value in (2, True, np.float32(2), np.array(2.0), np.int64(-3))),
        *(("obs", value) for value in ([11.0], np.array([11]), np.array([11], np.float32), np.array([True]))),
        ("terminated", np.bool_(False)),
        ("truncated", np.bool_(True)),
    ],
)
def test_env_15_harmless_types_are_coerced(wrong, what, value):
    env_id = wrong(what, value)
    check_env(env_id)
    rollout = collect(make_envs(env_id, 2), dtype="float32")[0]
    assert rollout.reward.dtype == np.float64 and rollout.obs.dtype == np.float32 and rollout.terminated.dtype == bool
    stored = {
        "reward": rollout.reward,
        "obs": rollout.next_obs,
        "terminated": rollout.terminated,
        "truncated": rollout.truncated,
    }[what]
    keep = ~rollout.terminated if what == "truncated" else slice(None)
    assert (stored[keep] == np.float64(np.ravel(value)[0])).all()


TEXTS = [np.array([1.5], object), ["1.5"], np.array(["2"]), [None], [b"1"], np.array([1 + 0j])]


@pytest.mark.parametrize("value", TEXTS, ids=repr)
def test_bug_28_objects_and_texts_are_no_numbers(wrong, value):
    """Even where NumPy could make numbers of them: that is not what training does."""
    with pytest.raises(EnvError, match=r"Odd-v0.*obs has to be numbers, it is .*\((list|ndarray)"):
        check_env(wrong("obs", value))
    for how in ("sync", "async"):
        with pytest.raises(EnvError, match="env=0, step=1: obs has to be numbers"):
            collect(make_envs(wrong("obs", value), 2, how))


def test_bug_28_parts_of_an_observation_too(wrong):
    class Parts(Wrong):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.observation_space = spaces.Dict({"a": spaces.Box(0, 9, (2,)), "b": spaces.MultiDiscrete([3, 3])})

        def reset(self, **kwargs):
            return {"a": np.zeros(2), "b": np.zeros(2, int)}, super().reset(**kwargs)[1]

    check_env(wrong("obs", {"a": [1, 2.5], "b": [2, 0]}, Parts))
    for value in ({"a": ["1", "2"], "b": [2, 0]}, {"a": [1, 2], "b": np.array([1, 0], object)}):
        with pytest.raises(EnvError, match=r"Odd-v0.*obs has to be numbers"):
            check_env(wrong("obs", value, Parts))


class Strict(Narrow):
    """A Narrow that begins with a mask of its own; what an info says may come in another form."""

    def __init__(self, form=lambda mask: mask, **kwargs):
        super().__init__(**kwargs)
        self.form = form

    def _info(self, none=False):
        super()._info(none)
        return {"action_mask": self.form(self.mask.copy())}


@pytest.mark.parametrize("form", [list, np.array, lambda m: m.astype(bool), lambda m: m.astype(float)])
@pytest.mark.parametrize("actions", [5, 9, *map(spaces.MultiDiscrete, ([2, 3, 4], [9], [1, 2]))], ids=str)
def test_bug_22_the_check_plays_what_the_mask_allows(wrong, form, actions):
    """Strict raises where it is given anything else; its episodes end with a mask that allows nothing."""
    env_id = wrong("unused", 0, lambda what, value: Strict(form, actions=actions))
    for seed in range(20):
        check_env(env_id, seed=seed, steps=20)


def test_bug_22_actions_that_start_elsewhere_and_masks_that_are_none(wrong):
    given = []

    class Shifted(Counting):
        def __init__(self, mask, space):
            super().__init__(lengths=(4,), actions=space)
            self.mask = mask

        def reset(self, **kwargs):
            return super().reset(**kwargs)[0], {"action_mask": self.mask}

        def step(self, action):
            assert self.action_space.contains(action)
            given.append(np.array(action).tolist())
            return *super().step(action)[:4], {"action_mask": self.mask}

    def played(mask, space):
        given.clear()
        check_env(wrong("unused", 0, lambda what, value: Shifted(mask, space)), steps=40)
        return {tuple(np.ravel(action)) for action in given}

    assert played(np.array([0, 1, 0, 1]), spaces.Discrete(4, start=-2)) == {(-1,), (1,)}
    assert played(np.array([0, 1, 1, 1, 0]), spaces.MultiDiscrete([2, 3], start=[5, -1])) == {(6, -1), (6, 0)}
    for mask in ("abc", np.ones(9), None, {"a": 1}):  # nobody reads it unless mask_actions is set: any action will do
        assert played(mask, spaces.Discrete(4)) == {(0,), (1,), (2,), (3,)}
    assert played(np.zeros(4), spaces.Discrete(4)) == set()  # nothing is allowed: there is nothing to try


# ------------------------------------------------------------------------------------------------------------- warnings


class Warns(Counting):
    """Warns when it is made, and returns observations of another type, of which gymnasium's checker warns."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        warnings.warn("an old simulator", DeprecationWarning, stacklevel=1)

    def step(self, action):
        obs, *rest = super().step(action)
        return obs.astype(np.float32), *rest


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_use_13_an_environment_is_checked_once_and_its_copies_are_quiet(wrong, vectorization, capfd):
    """What a run says once: of the check, five copies, and an evaluation. Workers say nothing more on stderr."""
    spec = EnvSpec(f"Warns{vectorization}-v0", Warns)
    gymnasium.registry[spec.id] = spec
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            small = {"num_envs": 5, "num_steps": 4, "total_timesteps": 20, "hidden": (4,)}
            trained = minirl.train("ppo", spec.id, vectorization=vectorization, **small)
            evaluate(trained.policy, spec.id, episodes=2)
    finally:
        del gymnasium.registry[spec.id]
    texts = [str(w.message) for w in said]
    assert sum("an old simulator" in text for text in texts) == 1
    assert sum("float32" in text for text in texts) == 1  # of the step; it used to be once for each copy
    assert "an old simulator" not in capfd.readouterr().err


def test_use_13_mujocos_own_warnings_are_printed_once(capfd):
    mujoco = pytest.importorskip("mujoco")
    spoken = []
    mujoco.set_mju_user_warning(spoken.append)
    try:
        for _ in range(2):
            make_envs("HalfCheetah-v5", 3).close()
        assert mujoco.get_mju_user_warning() == spoken.append
        assert len(spoken) == len(set(spoken))
    finally:
        mujoco.set_mju_user_warning(None)


def test_env_15_discrete_observations_outside_their_space_are_refused(wrong):
    class Rooms(Wrong):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.observation_space = spaces.Discrete(3, start=10)

        def reset(self, **kwargs):
            return 10, super().reset(**kwargs)[1]

    check_env(wrong("obs", 12, Rooms))
    for number in (9, 13):  # one below would silently be the last room
        with pytest.raises(EnvError, match=f"obs {number} is not in"):
            check_env(wrong("obs", number, Rooms))
        with pytest.raises(SpaceError, match="10 to 12"):
            collect(make_envs(wrong("obs", number, Rooms), 2))
    codec = obs_codec(spaces.Discrete(3, start=10))
    np.testing.assert_array_equal(codec.encode(np.array([12, 10]), np.float32), [[0, 0, 1], [1, 0, 0]])


@pytest.mark.parametrize("space", [spaces.Text(3), spaces.Dict({}), spaces.Box(0, 9, (2,), np.int64)], ids=str)
def test_env_15_spaces_without_a_codec_are_named(space):
    with pytest.raises(SpaceError, match=type(space).__name__):
        action_codec(space)


def test_env_15_unknown_ids_and_failing_constructors_are_named(wrong):
    with pytest.raises(EnvError, match="CartPole"):
        make_envs("CartPol-v1", 2)
    with pytest.raises(EnvError, match=r"Odd-v0.*unexpected keyword argument 'colour'"):
        make_envs(wrong("reward", 1.0, colour="red"), 2)
    with pytest.raises(EnvError, match=r"Odd-v0.*colour"):
        make_env(wrong("reward", 1.0, colour="red"))
    with pytest.raises(EnvError, match="vector_entry_point"):
        make_envs("minirl-test/Counting-v0", 2, "vector_entry_point")


def test_env_16_a_worker_that_cannot_import_the_environment_is_explained(monkeypatch):
    """Workers are handed the spec, so registering in the parent is enough;
    the code must be importable there.
    """
    here = types.ModuleType("only_in_the_parent")
    here.Counting = Counting
    monkeypatch.setitem(sys.modules, here.__name__, here)
    spec = EnvSpec("minirl-test/Parent-v0", f"{here.__name__}:Counting", disable_env_checker=True)
    monkeypatch.setitem(gymnasium.registry, spec.id, spec)
    method = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    try:
        with pytest.raises(EnvError, match=r"Parent-v0.*'only_in_the_parent'.*worker process.*importable there.*sync"):
            make_envs(spec.id, 1, "async")
        envs = make_envs("minirl-test/Limited-v0", 1, "async")  # registered in the parent only, importable: works
        assert collect(envs, num_steps=5)[0].truncated.sum() == 1
    finally:
        multiprocessing.set_start_method(method, force=True)


# ------------------------------------------------------------------------------------------------------ lengths, limits


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("lengths", "episodes"),
    [((), [0, 0, 0]), ((17,), [0, 0, 2]), ((1,), [14, 14, 14])],
    ids=["never ends", "longer than a rollout", "one step"],
)
def test_env_17_episodes_of_any_length(algorithm, mode, lengths, episodes):
    made, updates = run(
        algorithm, vector(Counting, *[{"lengths": lengths, "rewards": (0.5,)}] * 2, mode=mode), 3, normalize_reward=True
    )
    assert [u.metrics["charts/episodes"] for u in updates] == episodes
    for update in updates:
        mean = {k: update.metrics.get(k, np.nan) for k in ("charts/episodic_return", "charts/episodic_length")}
        if update.metrics["charts/episodes"]:
            assert mean == {"charts/episodic_return": 0.5 * lengths[0], "charts/episodic_length": lengths[0]}
            assert (update.lengths == lengths[0]).all() and (update.returns == 0.5 * lengths[0]).all()
        else:
            assert np.isnan(list(mean.values())).all()  # "no data"; everything else is a number
        assert all(np.isfinite(v) for k, v in update.metrics.items() if k not in mean and not isinstance(v, str))
        # in the files it is empty
        assert not any(isinstance(v, float) and not np.isfinite(v) for v in row_of(update).values())
    assert np.isfinite(made.state["theta_pi"]).all() and np.isfinite(made.state["theta_v"]).all()


def test_env_17_episodes_of_one_step_among_longer_ones_under_next_step():
    envs = vector(Counting, {"lengths": (1,)}, {"lengths": (4,)}, mode=NEXT_STEP)
    made, updates = run("ppo", envs, 4)
    assert made.global_step == sum(env.steps for env in envs.envs)
    assert sum(u.metrics["charts/episodes"] for u in updates) == envs.envs[0].steps + envs.envs[1].steps // 4


@pytest.mark.parametrize(
    ("name", "truncated", "terminated"),
    [("Limited", 8, 0), ("LimitedTogether", 0, 14), ("Endless", 0, 0)],
    ids=["TimeLimit of 5", "limit and natural end coincide", "no limit"],
)
def test_env_18_time_limits_are_counted_once(name, truncated, terminated):
    """Two environments, 21 steps each."""
    made = learner("trpo", make_envs(f"minirl-test/{name}-v0", 2), num_steps=21)
    rollout = made.collector.collect(made.state["theta_pi"], identity)
    assert (rollout.truncated.sum(), rollout.terminated.sum()) == (truncated, terminated)
    _, _, next_value = evaluate_states(rollout, lambda obs: np.full(len(obs), 3.0), identity)
    assert (next_value == np.where(rollout.terminated, 0.0, 3.0)).all()


def test_env_18_evaluation_plays_whole_episodes_up_to_the_limit():
    made = Learner(
        algorithms.find("ppo"),
        make_envs("minirl-test/Limited-v0", 1),
        toy_envs.config("ppo", types.SimpleNamespace(num_envs=1)),
    )
    made.step()
    played = evaluate(made.policy, "minirl-test/Limited-v0", episodes=3)
    np.testing.assert_array_equal(played.lengths, [5, 5, 5])
    np.testing.assert_array_equal(played.returns, [5.0, 5.0, 5.0])
