"""The native environments: gymnasium's own transitions, seeds and infos, and kernels that are their twins."""

import copy
import itertools
import math
import signal

import gymnasium
import numpy as np
import pytest
import toy_envs
from gymnasium.vector import AutoresetMode
from oracles import same_bits
from processes import python

import minirl.envs
from minirl import _core
from minirl._core.reference import classic_control
from minirl.errors import EnvError, NonFiniteError
from minirl.training.evaluation import evaluate

NEXT_STEP, SAME_STEP, DISABLED = AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED
IDS = ("CartPole-v1", "Pendulum-v1", "Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0")
LIMITS = dict(zip(IDS, (500, 200, 500, 200, 999), strict=True))
ALL = pytest.mark.parametrize("env_id", IDS)
PROBLEMS = pytest.mark.parametrize("name", list(classic_control.PROBLEMS))
MODES = pytest.mark.parametrize("mode", [SAME_STEP, NEXT_STEP, DISABLED], ids=lambda m: m.value)
PROBE = np.random.default_rng(0).uniform(-7, 7, 1000)
# NumPy's are the C library's
EXACT = all(np.cos(x) == math.cos(x) and np.sin(x) == math.sin(x) and x**2 == math.pow(x, 2) for x in PROBE)


@pytest.fixture(autouse=True)
def registered():
    minirl.envs.register()


def native(env_id, num_envs, **kwargs):
    return gymnasium.make_vec(f"minirl/{env_id}", num_envs, vectorization_mode="vector_entry_point", **kwargs)


def theirs(env_id, num_envs, mode=SAME_STEP, **kwargs):
    """gymnasium's environments one by one; float32 and Python numbers mix there as NumPy 2 says."""
    if int(np.__version__.split(".")[0]) < 2 and env_id in ("Pendulum-v1", "MountainCarContinuous-v0"):
        pytest.skip("NumPy 1 mixes float32 and Python numbers to float64")
    return gymnasium.make_vec(
        env_id, num_envs, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode}, **kwargs
    )


def states(envs):
    return np.array([np.array(env.unwrapped.state, np.float64) for env in envs.envs])


def equal(got, want, tol=1e-12):
    """To the last bit where NumPy's functions are the C library's, else to `tol`, or two units of float32."""
    assert got.dtype == want.dtype and got.shape == want.shape
    if EXACT and tol == 1e-12:
        np.testing.assert_array_equal(got, want)
    else:
        np.testing.assert_allclose(got, want, rtol=0, atol=2.5e-7 if got.dtype == np.float32 else 1e-12)


def act(env_id, obs, rng):
    """Every other environment is played well enough to come to its goal or limit, the others at random,
    beyond the bounds too.
    """
    B, v = len(obs), obs[:, -1]
    if env_id in ("Pendulum-v1", "MountainCarContinuous-v0"):
        good, chance = 1.5 * np.sign(v), 2 * rng.standard_normal(B)
        return np.where(np.arange(B) % 2, good, chance).astype(np.float32)[:, None]
    if env_id == "CartPole-v1":
        good, chance = obs @ [0.1, 0.3, 1.0, 0.4] > 0, rng.integers(0, 2, B)
    else:
        good, chance = 1 + np.sign(v), rng.integers(0, 3, B)
    return np.where(np.arange(B) % 2, good, chance).astype(np.int64)


def same_info(got, want, tol):
    """The same keys; masks and final observations equal."""
    assert got.keys() == want.keys()
    for key in got:
        if key == "final_obs":
            assert got[key].dtype == object and [o is None for o in got[key]] == [o is None for o in want[key]]
            for mine, other in zip(got[key], want[key], strict=True):
                if mine is not None:
                    equal(mine, other, tol)
        elif isinstance(got[key], dict):
            assert got[key] == want[key]
        else:
            np.testing.assert_array_equal(got[key], want[key])


# --------------------------------------------------------------------------------------------- gymnasium's trajectories


@ALL
@MODES
def test_every_transition_is_gymnasiums(env_id, mode):
    """A third of 1e5 transitions per mode, side by side from the same seed, with the resets' streams going on."""
    B, T = 33, 1010
    ours, sync, rng = native(env_id, B, autoreset_mode=mode), theirs(env_id, B, mode), np.random.default_rng(4)
    # its first observation is a float32 cosine there, a rounded float64 one here
    tol = 1e-7 if env_id == "Acrobot-v1" else 1e-12
    obs, other = ours.reset(seed=11)[0], sync.reset(seed=11)[0]
    equal(obs, other, tol)
    ends = np.zeros(2, int)
    for _ in range(T):
        action = act(env_id, obs, rng)
        obs, *got, info = ours.step(action)
        other, *want, their_info = sync.step(action)
        equal(obs, other, tol)
        for mine, yours in zip(got, want, strict=True):
            equal(mine, yours)
        same_info(info, their_info, tol)
        done = got[1] | got[2]
        ends += got[1].sum(), got[2].sum()
        if mode is DISABLED and done.any():
            obs, other = ours.reset(options={"reset_mask": done})[0], sync.reset(options={"reset_mask": done})[0]
            equal(obs, other, tol)
        equal(ours.state, states(sync))
        if not EXACT:  # a last bit grows along a trajectory
            for env, state in zip(sync.envs, ours.state, strict=True):
                env.unwrapped.state = state.astype(np.asarray(env.unwrapped.state).dtype)
    assert ends[1] > 0 and (ends[0] > 0 or env_id == "Pendulum-v1")


@ALL
def test_spaces_limits_and_metadata_are_gymnasiums(env_id):
    ours, sync = native(env_id, 3, autoreset_mode="NextStep"), theirs(env_id, 3, NEXT_STEP)
    for name in ("single_observation_space", "single_action_space", "observation_space", "action_space"):
        assert getattr(ours, name) == getattr(sync, name)
    assert ours.spec.max_episode_steps == gymnasium.spec(env_id).max_episode_steps == LIMITS[env_id]
    assert ours.metadata["autoreset_mode"] is NEXT_STEP and ours.metadata["render_fps"] == sync.metadata["render_fps"]
    assert native(env_id, 1).metadata["autoreset_mode"] is SAME_STEP


@ALL
def test_seeds_one_for_all_or_one_each(env_id):
    sync, one, each = theirs(env_id, 3), native(env_id, 3), native(env_id, 3)
    one.reset(seed=5)
    each.reset(seed=[5, 6, 7])
    sync.reset(seed=5)
    np.testing.assert_array_equal(one.state, each.state)
    np.testing.assert_array_equal(one.state, states(sync))
    for envs in (one, each, sync):
        envs.reset()  # goes on
    np.testing.assert_array_equal(one.state, states(sync))
    before = one.state
    each.reset(seed=[9, None, np.int64(7)])
    sync.reset(seed=[9, None, 7])
    np.testing.assert_array_equal(each.state, states(sync))
    assert (each.state != before).any(axis=1).all()
    assert each.np_random_seed == sync.np_random_seed == (9, 6, 7)
    assert [g.bit_generator.state for g in each.np_random] == [g.bit_generator.state for g in sync.np_random]


def test_unseeded_environments_differ():
    a, b = native("CartPole-v1", 2), native("CartPole-v1", 2)
    a.reset()
    b.reset()
    assert len(np.unique(np.concatenate([a.state, b.state])[:, 0])) == 4


@ALL
def test_the_same_seed_is_the_same_trajectory(env_id):
    def play(copies):
        envs, rng = native(env_id, 5, copy=copies), np.random.default_rng(1)
        obs, _ = envs.reset(seed=3)
        seen = []
        for _ in range(300):
            obs, reward, *_ = envs.step(act(env_id, obs, rng))
            seen += [obs.copy(), reward]
        return seen

    for a, b in zip(play(True), play(False), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("env_id", "options"),
    [
        ("CartPole-v1", {"low": -0.2, "high": 0.1}),
        ("Acrobot-v1", {"high": 0.5}),
        ("MountainCar-v0", {"low": -1}),
        ("MountainCarContinuous-v0", {"low": -0.7, "high": -0.6}),
        ("Pendulum-v1", {"x_init": 0.5, "y_init": 0}),
        ("Pendulum-v1", {"y_init": 3}),
    ],
)
def test_other_bounds_of_the_start(env_id, options):
    ours, sync = native(env_id, 4), theirs(env_id, 4)
    ours.reset(seed=1, options=options)
    sync.reset(seed=1, options=options)
    np.testing.assert_array_equal(ours.state, states(sync))


# ----------------------------------------------------------------------------------------------------- ends of episodes


@ALL
@MODES
def test_truncation_at_the_limit(env_id, mode):
    envs = native(env_id, 2, autoreset_mode=mode, max_episode_steps=3)
    envs.reset(seed=0)
    action = np.zeros_like(envs.action_space.sample())
    cuts = []
    for _ in range(9):
        *_, terminated, truncated, _ = envs.step(action)
        assert not terminated.any() and (truncated == truncated[0]).all()
        cuts.append(bool(truncated[0]))
        if mode is DISABLED and truncated.any():
            envs.reset(options={"reset_mask": truncated})
    every = 4 if mode is NEXT_STEP else 3  # the reset takes a step of its own
    assert [t for t, cut in enumerate(cuts) if cut] == list(range(2, 9, every))


@pytest.mark.parametrize("env_id", [i for i in IDS if i != "Pendulum-v1"])
def test_an_end_in_the_last_step_is_both(env_id):
    def play(limit):
        envs, rng = native(env_id, 2, max_episode_steps=limit), np.random.default_rng(0)
        obs, _ = envs.reset(seed=2)
        for t in range(limit):
            action = np.zeros(2, np.int64) if env_id == "CartPole-v1" else act(env_id, obs, rng)
            obs, _, terminated, truncated, _ = envs.step(action)
            if terminated[1] or truncated[1]:
                return t + 1, bool(terminated[1]), bool(truncated[1])

    steps, *ends = play(LIMITS[env_id])
    assert ends == [True, False]
    assert play(steps) == (steps, True, True)
    assert play(steps - 1) == (steps - 1, False, True)


def test_reset_mask_resets_these_alone():
    envs = native("CartPole-v1", 4, autoreset_mode=DISABLED)
    envs.reset(seed=0)
    for _ in range(5):
        kept, *_ = envs.step(np.array([0, 1, 0, 1]))
    options = {"reset_mask": np.array([False, True, False, True])}
    obs, info = envs.reset(seed=[1, 2, 3, 4], options=options)
    assert list(options) == ["reset_mask"] and info == {}
    np.testing.assert_array_equal(obs[::2], kept[::2])
    assert (np.abs(obs[1::2]) <= 0.05).all() and envs.np_random_seed == (0, 2, 2, 4)


def test_a_step_after_the_end_is_refused_where_nothing_resets():
    envs = native("CartPole-v1", 3, autoreset_mode=DISABLED, max_episode_steps=2)
    envs.reset(seed=0)
    envs.step(np.zeros(3, int))
    envs.step(np.zeros(3, int))
    with pytest.raises(EnvError, match=r"env=0.*reset_mask"):
        envs.step(np.zeros(3, int))
    envs.reset(options={"reset_mask": np.array([True, True, False])})
    with pytest.raises(EnvError, match="env=2"):
        envs.step(np.zeros(3, int))
    envs.reset(options={"reset_mask": np.array([False, False, True])})
    envs.step(np.zeros(3, int))


def test_copies_are_the_callers():
    kept, shared = native("CartPole-v1", 2), native("CartPole-v1", 2, copy=False)
    for envs, same in ((kept, False), (shared, True)):
        first, _ = envs.reset(seed=0)
        second, *_ = envs.step(np.zeros(2, int))
        assert np.shares_memory(first, second) is same
    kept.step(np.ones(2, int))[0][:] = np.nan
    assert np.isfinite(kept.step(np.ones(2, int))[0]).all()


# ------------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("env_id", "action", "message"),
    [
        ("CartPole-v1", np.zeros(2, int), r"shape \(2,\): takes 3 whole numbers 0 to 1"),
        ("CartPole-v1", np.zeros((3, 1), int), r"shape \(3, 1\)"),
        ("CartPole-v1", 1, r"shape \(\)"),
        ("CartPole-v1", np.zeros(3), "type float64: takes 3 whole numbers"),
        ("CartPole-v1", None, "takes 3 whole numbers"),
        ("CartPole-v1", [0, 1, 2], "env=2: 2 is out of range; takes 3 whole numbers 0 to 1"),
        ("Acrobot-v1", [0, -1, 2], "env=1: -1 is out of range; takes 3 whole numbers 0 to 2"),
        ("MountainCar-v0", [3, 1, 2], "env=0: 3 is out of range"),
        ("Pendulum-v1", [[0], [np.nan], [0]], r"env=1: nan is not finite; takes numbers of shape \(3, 1\)"),
        ("Pendulum-v1", np.zeros(3, np.float32), r"shape \(3,\): takes numbers"),
        ("MountainCarContinuous-v0", [[0], [1], [np.inf]], "env=2: inf is not finite"),
        ("MountainCarContinuous-v0", "left", "actions = 'left': takes numbers"),
    ],
)
def test_a_wrong_action_is_named_and_nothing_moves(env_id, action, message):
    envs = native(env_id, 3)
    envs.reset(seed=0)
    before = envs.state
    with pytest.raises(EnvError, match=message):
        envs.step(action)
    np.testing.assert_array_equal(envs.state, before)
    envs.step(envs.action_space.sample())


def test_actions_of_environments_that_only_reset_are_not_looked_at():
    envs = native("CartPole-v1", 2, autoreset_mode=NEXT_STEP, max_episode_steps=1)
    envs.reset(seed=0)
    envs.step([0, 1])
    obs, reward, *_ = envs.step([-1, 7])
    assert (np.abs(obs) <= 0.05).all() and not reward.any()


@pytest.mark.parametrize(
    "kwargs",
    [
        {"num_envs": 0},
        {"max_episode_steps": 0},
        {"autoreset_mode": "Later"},
        {"render_mode": "human"},
        {"num_envs": True},
    ],
)
def test_wrong_arguments_are_named(kwargs):
    with pytest.raises(EnvError, match=f"{next(iter(kwargs))} = .*takes"):
        minirl.envs.CartPole(**kwargs)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"seed": -1}, "seed = -1: takes a whole number >= 0"),
        ({"seed": 1.5}, "seed = 1.5"),
        ({"seed": [1]}, "seed of length 1"),
        ({"options": {"reset_mask": [True, False]}}, "reset_mask"),
        ({"options": {"reset_mask": np.zeros(2, bool)}}, "at least one"),
        ({"options": {"reset_mask": np.ones(2, int)}}, "2 booleans"),
        ({"options": {"low": "deep"}}, "low = 'deep': takes a finite number"),
        ({"options": {"low": 1}}, "has to be the lower one"),
    ],
)
def test_wrong_resets_are_named(kwargs, message):
    envs = native("CartPole-v1", 2)
    envs.reset(seed=0)
    with pytest.raises(EnvError, match=message):
        envs.reset(**kwargs)


def test_nothing_is_asked_of_environments_before_their_reset():
    envs = native("CartPole-v1", 2, render_mode="rgb_array")
    for call in (
        lambda: envs.step([0, 0]),
        envs.render,
        lambda: envs.reset(options={"reset_mask": np.array([True, False])}),
    ):
        with pytest.raises(EnvError, match="before"):
            call()


# ------------------------------------------------------------------------------------------------------ kernel and twin

TWINS = pytest.mark.skipif(not _core.COMPILED, reason="the compiled core is not built, or MINIRL_REFERENCE is set")


def batch(name, rng, B, spread=1.0):
    """Arguments of env_step with states far beyond what an episode reaches."""
    problem = classic_control.PROBLEMS[name]
    state = spread * rng.standard_normal((B, problem.states))
    state[:: B // 5 + 1] = np.round(state[:: B // 5 + 1])  # whole numbers, walls and zeros
    action = (
        rng.integers(0, problem.actions, B) if problem.actions else (2 * rng.standard_normal((B, 1))).astype(np.float32)
    )
    if not problem.actions:
        action[::3] = np.clip(np.round(action[::3]), -2, 2)
    steps, skip = rng.integers(0, 3, B), rng.random(B) < 0.1
    obs = np.full((B, problem.obs), 7, np.float32)
    return [name, state, steps, action, skip, 3, obs, np.full(B, np.nan), np.ones(B, bool), np.ones(B, bool)]


@TWINS
@PROBLEMS
@pytest.mark.parametrize("B", [0, 1, 7, 501])
@pytest.mark.parametrize("spread", [0.1, 1.0, 30.0])
def test_a_step_is_its_twins(rng, name, B, spread):
    """To the last bit, since both round as the C library does, whatever NumPy's own loops do."""
    mine = batch(name, rng, B, spread)
    twins = copy.deepcopy(mine)
    assert _core.env_step(*mine) == classic_control.env_step(*twins)
    assert same_bits(mine, twins)


@PROBLEMS
def test_bug_30_a_twin_does_not_round_as_numpys_loops_do(name, monkeypatch):
    """NumPy's pow, cos and sin for arrays differ between processors; here they are off by a bit: no twin sees it."""
    args, others = (batch(name, np.random.default_rng(1), 50) for _ in range(2))
    classic_control.env_step(*args)
    for function in ("power", "float_power", "cos", "sin"):
        numpys = getattr(np, function)
        monkeypatch.setattr(np, function, lambda *x, f=numpys, **kwargs: np.nextafter(f(*x, **kwargs), np.inf))
    classic_control.env_step(*others)
    assert same_bits(args, others)


@TWINS
@PROBLEMS
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300, -1e17, 5e-324])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_step_from_anywhere_ends_and_is_its_twins(rng, name, value):
    mine = batch(name, rng, 6)
    for row in range(mine[1].shape[1]):
        mine[1][row, row] = value
    twins = copy.deepcopy(mine)
    _core.env_step(*mine)
    classic_control.env_step(*twins)
    for got, want in zip(mine[1:], twins[1:], strict=True):
        np.testing.assert_array_equal(got, want)  # NaN is NaN, of either sign


@TWINS
@PROBLEMS
def test_a_reset_is_its_twins_and_uses_up_the_same_numbers(rng, name):
    problem, B = classic_control.PROBLEMS[name], 9
    low, high = -rng.random(problem.draws), rng.random(problem.draws)
    _, state, steps, *_, obs = batch(name, rng, B)[:7]
    mine = [name, [np.random.PCG64(i) for i in range(B)], rng.random(B) < 0.5, low, high, state, steps, obs]
    twins = copy.deepcopy(mine)
    _core.env_reset(*mine)
    classic_control.env_reset(*twins)
    for got, want in zip(mine[2:], twins[2:], strict=True):
        np.testing.assert_array_equal(got, want)
    assert [g.state for g in mine[1]] == [g.state for g in twins[1]]


@PROBLEMS
@pytest.mark.parametrize("module", [_core, classic_control], ids=["core", "twin"])
def test_a_step_refuses_actions_before_anything_moves(rng, name, module):
    args = batch(name, rng, 5)
    args[4][:] = False
    before = copy.deepcopy(args)
    args[3][4] = -1 if classic_control.PROBLEMS[name].actions else np.nan
    with pytest.raises(ValueError, match=r"action must be .*row 4"):
        module.env_step(*args)
    np.testing.assert_array_equal(args[1], before[1])
    args[3] = args[3].astype(np.float64)
    with pytest.raises(TypeError, match="action must hold"):
        module.env_step(*args)


@TWINS
def test_the_kernels_refuse_overlap_unknown_names_and_foreign_generators(rng):
    args = batch("cartpole", rng, 5)
    for i, j in ((8, 9), (8, 4), (2, 3)):
        wrong = list(args)
        wrong[i] = wrong[j]
        with pytest.raises(ValueError, match="overlap"):
            _core.env_step(*wrong)
    with pytest.raises(ValueError, match="name = 'pole': takes one of cartpole"):
        _core.env_step("pole", *args[1:])
    rest = (np.ones(5, bool), np.zeros(4), np.ones(4), args[1], args[2], args[6])
    for bits in ([None] * 5, [np.random.default_rng(0)] * 5, [np.random.PCG64(0)] * 4, None):
        with pytest.raises((TypeError, ValueError, AttributeError)):
            _core.env_reset("cartpole", bits, *rest)


# --------------------------------------------------------------------------------------------------------------- in use


@ALL
def test_a_picture_is_gymnasiums(env_id):
    pytest.importorskip("pygame")
    ours = native(env_id, 2, render_mode="rgb_array")
    single = gymnasium.make(env_id, render_mode="rgb_array")
    ours.reset(seed=4)
    single.reset(seed=4)
    for action in (None, 1, 1):
        if action is not None:
            # beyond its bounds
            actions = np.ones_like(ours.action_space.sample()) * (3 if env_id == "Pendulum-v1" else 1)
            ours.step(actions)
            single.step(actions[0])
        (frame,) = ours.render()
        np.testing.assert_array_equal(frame, single.render())
    ours.close()
    assert ours.closed


@ALL
@MODES
def test_learning(env_id, mode):
    made, updates = toy_envs.run("ppo", native(env_id, 3, autoreset_mode=mode, max_episode_steps=9), 3, num_steps=16)
    assert [u.number for u in updates] == [1, 2, 3] and np.isfinite(made.state["theta_pi"]).all()
    assert sum(len(u.lengths) for u in updates) > 0 and all((u.lengths <= 9).all() for u in updates)


@pytest.mark.parametrize("env_id", [i for i in IDS if i != "Acrobot-v1"])
def test_learning_is_the_same_as_on_gymnasiums(env_id):
    """One seed for all in both, which a SyncVectorEnv would otherwise be given one each of."""
    if not EXACT:
        pytest.skip("NumPy's functions are not the C library's: a last bit grows")
    results = []
    for envs in (native(env_id, 3), theirs(env_id, 3)):
        made = toy_envs.learner("ppo", envs, num_steps=40)
        made.collector.state.obs = made.collector.reader.read(envs.reset(seed=8)[0], 0)
        for _ in range(3):
            made.step()
        results.append(made.state["theta_pi"])
    np.testing.assert_array_equal(*results)


def test_evaluation_and_single_environments_are_gymnasiums():
    made, _ = toy_envs.run("ppo", native("CartPole-v1", 2), 1)
    assert evaluate(made.policy, "minirl/CartPole-v1", episodes=2, seed=0) is not None
    assert type(gymnasium.make("minirl/Acrobot-v1").unwrapped) is type(gymnasium.make("Acrobot-v1").unwrapped)


def test_registered_in_a_fresh_interpreter(tmp_path):
    code = """
import gymnasium
envs = gymnasium.make_vec("minirl.envs:minirl/CartPole-v1", 8, vectorization_mode="vector_entry_point")
obs, info = envs.reset(seed=0)
print(type(envs).__name__, obs.shape, [i for i in gymnasium.registry if i.startswith("minirl/")])
"""
    done = python("-W", "error", "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["CartPole", "(8,", "4)", *str([f"minirl/{i}" for i in IDS]).split()]


# ------------------------------------------------------------------------------------------- whole rollouts in one call

WAYS = {
    "plain": {},
    "float64": {"dtype": "float64"},
    "raw relu": {"normalize_obs": False, "normalize_reward": False, "activation": "relu"},
    "linear": {"hidden": ()},
    "trust region": {"algorithm": "trpo"},
}


def learned(env_id, at_once, algorithm="ppo", **fields):
    """The state after three updates, and the collector that made it."""
    made = toy_envs.learner(algorithm, native(env_id, 3, max_episode_steps=23), num_steps=40, **fields)
    assert made.collector.native
    made.collector.native = at_once
    for _ in range(3):
        made.step()
    return made


@ALL
@pytest.mark.parametrize("way", list(WAYS))
def test_rollouts_in_one_call_are_rollouts_step_by_step_to_the_bit(env_id, way):
    one, many = (learned(env_id, at_once, **WAYS[way]) for at_once in (True, False))
    assert same_bits(one.snapshot(), many.snapshot())
    np.testing.assert_array_equal(one.collector.state.obs, many.collector.state.obs)
    assert one.collector.state.steps_taken == many.collector.state.steps_taken


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "MountainCarContinuous-v0"])
@pytest.mark.parametrize("family", ["state_gaussian", "squashed_gaussian", "beta"])
def test_other_families_learn_too(env_id, family):
    made = toy_envs.learner("ppo", native(env_id, 2), num_steps=20, family=family)
    assert made.collector.native == (family == "state_gaussian")  # the others' actions are spread between the bounds
    made.step()
    assert np.isfinite(made.state["theta_pi"]).all()


@TWINS
@PROBLEMS
def test_a_rollout_is_its_twins(rng, name):
    T, B, problem = 30, 5, classic_control.PROBLEMS[name]
    sizes, free = (problem.obs, 6, problem.actions or 1), 0 if problem.actions else 1
    theta = rng.standard_normal(sum((a + 1) * b for a, b in itertools.pairwise(sizes)) + free)
    policy = (theta, None, None, 10.0, sizes, "tanh", free, "categorical" if problem.actions else "gaussian")
    shape = (T, B) if problem.actions else (T, B, 1)
    noise = rng.random(shape) if problem.actions else rng.standard_normal(shape)
    bounds = None if problem.actions else np.array([-1.0, 1.0, 0.25, 0.75])  # low, high, centre, half-range
    results = []
    for rollout in (_core.env_rollout, _core.TWINS["env_rollout"]):
        generators = [np.random.PCG64(i) for i in range(B)]
        state, steps, seen = (
            np.zeros((B, problem.states)),
            np.zeros(B, np.int64),
            np.zeros((B, problem.obs), np.float32),
        )
        low = np.full(problem.draws, -0.05)
        _core.env_reset(name, generators, np.ones(B, bool), low, -low, state, steps, seen)
        out = tuple(
            np.zeros(s, t)
            for s, t in (
                ((T, B, problem.obs), np.float64),
                (shape, np.int64 if problem.actions else np.float64),
                ((T, B), np.float64),
                ((T, B, problem.obs), np.float64),
                ((T, B), bool),
                ((T, B), bool),
            )
        )
        assert rollout((name, generators, low, -low, 11), state, steps, seen, policy, noise, bounds, out) == T
        results.append((*out, state, steps, seen))
    for got, want in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    assert (results[0][4] | results[0][5]).sum() >= B  # episodes ended and began


def test_an_action_that_is_not_finite_ends_the_rollout_with_its_place():
    made = toy_envs.learner("ppo", native("Pendulum-v1", 3), num_steps=8)
    assert made.collector.native
    made.state["theta_pi"][-1] = 800.0  # log σ
    with pytest.raises(NonFiniteError, match="action"):
        made.step()


def test_a_rollout_refuses_arrays_that_do_not_fit(rng):
    made = toy_envs.learner("ppo", native("CartPole-v1", 3), num_steps=8)
    policy, envs = made.nets.policy.act_arguments(made.state["theta_pi"], made.normalizer), made.collector.envs
    out = [np.zeros((8, 3, 4)), np.zeros((8, 3), np.int64), np.zeros((8, 3)), np.zeros((8, 3, 4))]
    out += [np.zeros((8, 3), bool), np.zeros((8, 3), bool)]
    if _core.COMPILED:
        for i in range(6):
            short = [a[:, :2] if j == i else a for j, a in enumerate(out)]
            with pytest.raises(ValueError):
                envs.rollout(policy, rng.random((8, 3)), tuple(short))
        with pytest.raises(ValueError):
            envs.rollout(policy, rng.random((8, 2)), tuple(out))
    assert envs.rollout(policy, rng.random((8, 3)), tuple(out)) == 8
    with pytest.raises(EnvError, match="SAME_STEP"):
        native("CartPole-v1", 3, autoreset_mode=AutoresetMode.NEXT_STEP).rollout(policy, rng.random((8, 3)), tuple(out))


class Shaped(minirl.envs.CartPole):
    """Somebody's own reward."""

    def step(self, actions):
        obs, reward, *rest = super().step(actions)
        return obs, np.full_like(reward, 7.0), *rest


def test_a_subclass_or_instance_with_its_own_step_is_stepped():
    one, two = Shaped(2), native("CartPole-v1", 2)
    step = two.step
    two.step = lambda actions: (lambda obs, reward, *rest: (obs, reward + 6, *rest))(*step(actions))
    for envs in (one, two):
        made = toy_envs.learner("ppo", envs, num_steps=5)
        rollout = made.collector.collect(made.state["theta_pi"], made.normalizer)
        assert set(rollout.reward.ravel()) == {7.0}


def test_strided_actions_and_masks_are_taken():
    envs = native("Pendulum-v1", 3, autoreset_mode=DISABLED, max_episode_steps=1)
    envs.reset(seed=0)
    envs.step(np.zeros((3, 2), np.float32)[:, :1])
    envs.reset(options={"reset_mask": np.ones(6, bool)[::2]})
    envs.reset(seed=np.array(3))
    assert native("CartPole-v1", np.int64(3)).num_envs == 3
    with pytest.raises(EnvError, match="max_episode_steps"):
        native("CartPole-v1", 1, max_episode_steps=1 << 70)


def test_a_rollout_refuses_other_peoples_policies_and_bounds(rng):
    made = toy_envs.learner("ppo", native("Pendulum-v1", 2), num_steps=4)
    theta, *rest = made.nets.policy.act_arguments(made.state["theta_pi"], made.normalizer)
    envs, noise = made.collector.envs, rng.standard_normal((4, 2, 1))
    out = [
        np.zeros((4, 2, 3)),
        np.zeros((4, 2, 1)),
        np.zeros((4, 2)),
        np.zeros((4, 2, 3)),
        np.zeros((4, 2), bool),
        np.zeros((4, 2), bool),
    ]
    if _core.COMPILED:
        with pytest.raises(ValueError, match="policy must be over"):
            envs.rollout((theta, *rest[:-1], "categorical"), noise, tuple(out))
        envs.low = np.zeros(1)
        with pytest.raises(ValueError, match=r"low must have shape \(2,\), not \(1,\)"):
            envs.rollout((theta, *rest), noise, tuple(out))


def rollout_arguments(rng, T=6, B=3):
    """The arguments of a rollout of the Pendulum, by name; `out` apart."""
    sizes, theta = (3, 5, 1), rng.standard_normal(3 * 5 + 5 + 5 + 1 + 1)
    own = {"state": np.zeros((B, 2)), "steps": np.zeros(B, np.int64), "seen": np.zeros((B, 3), np.float32)}
    problem = ("pendulum", [np.random.PCG64(i) for i in range(B)], np.array([-np.pi, -1]), np.array([np.pi, 1]), 4)
    rest = {"policy": (theta, None, None, 10.0, sizes, "tanh", 1, "gaussian"), "noise": rng.standard_normal((T, B, 1))}
    kinds = {
        "obs": (T, B, 3),
        "action": (T, B, 1),
        "reward": (T, B),
        "next_obs": (T, B, 3),
        "terminated": (T, B),
        "truncated": (T, B),
    }
    out = {name: np.zeros(shape, bool if "ated" in name else np.float64) for name, shape in kinds.items()}
    return {"problem": problem} | own | rest | {"bounds": np.array([-2.0, 2.0, 0.0, 2.0])}, out


def spoiled(array):
    """What a kernel must not read or write through."""
    yield "a list", array.tolist()
    yield "None", None
    yield "another type", array.astype(np.float32 if array.dtype == np.float64 else np.float64)
    yield "reversed bytes", array.astype(array.dtype.newbyteorder()) if array.itemsize > 1 else array.astype(np.int64)
    yield "strides", np.repeat(array, 2, axis=0)[::2]
    yield "a row less", array[:-1]
    yield "an axis more", array[None]
    crooked = (
        np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
        if array.itemsize > 1
        else array[:, :0]
    )
    yield "no alignment", crooked
    fixed = array.copy()
    fixed.flags.writeable = False
    yield "read-only", fixed


@TWINS
@pytest.mark.parametrize(
    "name",
    ["state", "steps", "seen", "noise", "bounds", "obs", "action", "reward", "next_obs", "terminated", "truncated"],
)
def test_bug_35_a_rollout_refuses_what_is_no_array_of_its_kind(rng, name):
    args, out = rollout_arguments(rng)
    for what, wrong in spoiled((args | out)[name]):
        if (what == "read-only" and name in ("noise", "bounds")) or (
            what in ("strides", "no alignment") and name == "noise"
        ):
            continue  # they are read alone, the noise by a kernel that copies what is laid out otherwise
        changed = {key: wrong if key == name else value for key, value in (args | out).items()}
        with pytest.raises((TypeError, ValueError), match=r"must|there"):
            _core.env_rollout(*(changed[key] for key in args), tuple(changed[key] for key in out))
    assert _core.env_rollout(*args.values(), tuple(out.values())) == 6


@TWINS
def test_bug_35_a_rollout_refuses_arrays_that_overlap(rng):
    for one, other in itertools.combinations(["state", "obs", "action", "reward", "next_obs"], 2):
        args, out = rollout_arguments(rng)
        both = args | out
        memory = np.zeros(max(both[one].size, both[other].size) + 1)
        for name, start in ((one, 0), (other, 1)):
            both[name] = memory[start : start + both[name].size].reshape(both[name].shape)
        with pytest.raises(ValueError, match="overlap"):
            _core.env_rollout(*(both[key] for key in args), tuple(both[key] for key in out))
    args, out = rollout_arguments(rng)
    out["truncated"] = out["terminated"]
    with pytest.raises(ValueError, match="overlap"):
        _core.env_rollout(*args.values(), tuple(out.values()))


@TWINS
@pytest.mark.parametrize(
    "change",
    [
        {"problem": ("pendulum", [], np.zeros(2), np.ones(2), 4)},
        {"problem": ("pend", *[None] * 4)},
        {"policy": ()},
        {"problem": None},
    ],
)
def test_bug_35_a_rollout_refuses_other_wrong_arguments(rng, change):
    args, out = rollout_arguments(rng)
    with pytest.raises((TypeError, ValueError)):
        _core.env_rollout(*(args | change).values(), tuple(out.values()))
    with pytest.raises(TypeError):
        _core.env_rollout(*args.values(), list(out.values()))


def test_bug_12_a_wide_torque_keeps_its_rollout_in_one_call(rng):
    """The Pendulum turns with ±2: half-ranges of 2, as gymnasium's environment is sent them."""
    made = toy_envs.learner("ppo", native("Pendulum-v1", 3), num_steps=20)
    assert made.collector.native
    rollout = made.collector.collect(made.state["theta_pi"], made.normalizer)
    u = np.clip(2 * rollout.action[:, :, 0], -2, 2).astype(np.float32)
    angle, speed = np.arctan2(rollout.obs[:, :, 1], rollout.obs[:, :, 0]), rollout.obs[:, :, 2]
    np.testing.assert_allclose(rollout.reward, -(angle**2 + 0.1 * speed**2 + 0.001 * u**2), rtol=1e-4)


def test_bug_31_a_signal_is_served_within_a_rollout(monkeypatch):
    """A clock of the process's own time ticks all along; a tick counts if served between the first row and the last."""
    made = toy_envs.learner("ppo", native("CartPole-v1", 64), num_steps=4_000)
    envs, rewards = made.collector.envs, []
    rollout = envs.rollout

    def watched(policy, noise, out, *spread):
        out[2][:] = np.nan
        rewards.append(out[2])
        return rollout(policy, noise, out, *spread)

    def tick(*_):
        if rewards and np.isfinite(rewards[-1][0]).all() and np.isnan(rewards[-1][-1]).any():
            raise KeyboardInterrupt

    monkeypatch.setattr(envs, "rollout", watched)
    old = signal.signal(signal.SIGVTALRM, tick)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.001, 0.001)
    try:
        with pytest.raises(KeyboardInterrupt):
            for _ in range(50):  # the first one, but for a processor that is done before a tick
                made.collector.collect(made.state["theta_pi"], made.normalizer)
                made.collector.commit()
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, old)
    assert made.collector.state.fresh_start
    assert made.collector.collect(made.state["theta_pi"], made.normalizer).fresh
