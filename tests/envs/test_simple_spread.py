"""The native simple_spread against mpe2's, state for state and reward for reward; its kernel against its twin."""

import itertools

import numpy as np
import pytest

from minirl import _core
from minirl._core.reference import simple_spread
from minirl.envs.make_many_agents import make_many_agents
from minirl.errors import EnvError

ID = "minirl/SimpleSpread-v0"
OPTIONS = [{"N": N} for N in (1, 2, 3, 6, 11)] + [{"local_ratio": ratio} for ratio in (0.0, 0.3, 1.0)]
OPTIONS += [{"max_cycles": 7}, {"continuous_actions": True}, {"continuous_actions": True, "N": 6, "local_ratio": 0.25}]


def chase(state, rng, continuous=False):
    """Actions (N,) that drive all agents into one place half of the time, so that they meet; else random ones."""
    position = simple_spread.parts(state[None])[0][0]
    if continuous:
        return rng.random((len(position), 5)).astype(np.float32)
    if rng.random() < 0.5:
        return rng.integers(0, 5, len(position))
    gap = position.mean(axis=0) - position
    return np.where(np.abs(gap[:, 0]) > np.abs(gap[:, 1]), np.where(gap[:, 0] > 0, 2, 1), np.where(gap[:, 1] > 0, 4, 3))


def world_state(one):
    """mpe2's state as a row of ours."""
    world = one.unwrapped.world
    agents, landmarks = [each.state for each in world.agents], [each.state for each in world.landmarks]
    return np.concatenate([x.p_pos for x in agents] + [x.p_vel for x in agents] + [x.p_pos for x in landmarks])


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equal_to_mpe2_to_the_last_bit(options):
    """Episode after episode. Exact: each operation is rounded as mpe2's; exp and log1p are the C library's in both."""
    module = pytest.importorskip("mpe2.simple_spread_v3")
    ours, theirs = make_many_agents(ID, 2, **options), [module.parallel_env(**options) for _ in range(2)]
    names = [f"agent_{i}" for i in range(options.get("N", 3))]
    obs, seen = ours.reset([5, 6]), [one.reset(seed=5 + b)[0] for b, one in enumerate(theirs)]
    assert ours.agents == tuple(sorted(names))
    for name in names:
        assert ours.action_spaces[name] == theirs[0].action_space(name)
        assert ours.observation_spaces[name] == theirs[0].observation_space(name)
    rng, limit, met = np.random.default_rng(0), options.get("max_cycles", 25), 0
    for t in range(1, 4 * limit + 1):
        for b, one in enumerate(theirs):
            np.testing.assert_array_equal(ours.state[b], world_state(one))
            for name in names:
                np.testing.assert_array_equal(obs[name][b], seen[b][name])
        action = np.stack([chase(row, rng, "continuous_actions" in options) for row in ours.state], axis=1)
        step = ours.step(dict(zip(names, action, strict=True)))
        assert (step.truncated == (t % limit == 0)).all() and not step.terminated.any() and step.alive.all()
        for b, one in enumerate(theirs):
            seen[b], reward, over, cut, _ = one.step(dict(zip(names, action[:, b], strict=True)))
            assert step.reward[b].tolist() == [reward[name] for name in ours.agents]
            met += len(set(step.reward[b])) > 1
            for i, name in enumerate(ours.agents):
                np.testing.assert_array_equal(step.led_to[name][b], seen[b][name])
                assert step.led_to[name].dtype == seen[b][name].dtype
                assert step.terminated[b, i] == over[name] and step.truncated[b, i] == cut[name]
            if t % limit == 0:
                seen[b] = one.reset()[0]
        obs = step.obs
    assert met or len(names) < 3 or not options.get("local_ratio", 1) or "continuous_actions" in options


def batch(N, B, continuous, seed=0):
    """Arguments of spread_step: states from far apart to on top of each other."""
    rng = np.random.default_rng(seed)
    state = rng.uniform(-1, 1, (B, 6 * N)) * rng.choice([1e-3, 0.1, 1.0], (B, 1))
    action = rng.normal(0.5, 1, (N, B, 5)).astype(np.float32) if continuous else rng.integers(0, 5, (N, B))
    steps = rng.integers(0, 30, B)
    return [state, steps, action, 25, 0.3, np.zeros((N, B, 6 * N), np.float32), np.zeros((B, N)), np.zeros(B, bool)]


@pytest.mark.skipif(not _core.COMPILED, reason="the compiled core is not built, or MINIRL_REFERENCE is set")
@pytest.mark.parametrize(("N", "continuous"), list(itertools.product([1, 2, 3, 6, 64], [False, True])))
def test_the_kernel_is_its_twin_to_the_last_bit(N, continuous):
    mine, twins = batch(N, 37, continuous), batch(N, 37, continuous)
    for _ in range(3):
        assert _core.spread_step(*mine) == simple_spread.spread_step(*twins)
        for a, b in zip(mine, twins, strict=True):
            np.testing.assert_array_equal(a, b)
    generators = [[np.random.PCG64(b) for b in range(37)] for _ in range(2)]
    rows = np.arange(37) % 3 == 0
    for side, args, bits in zip((_core, simple_spread), (mine, twins), generators, strict=True):
        side.spread_reset(bits, rows, args[0], args[1], args[5])
    for i in (0, 1, 5):
        np.testing.assert_array_equal(mine[i], twins[i])
    assert generators[0][0].state == generators[1][0].state


def test_the_contact_force_is_the_softened_depth():
    """100 · softplus(depth / k) · k along the line between two agents, in numbers where log(1 + e^x) needs care."""
    for gap in (0.2, 0.2999, 0.3, 0.3001, 0.33, 0.338, 0.339, 0.5, 1.04, 1.05, 2.0):
        state = np.zeros((1, 12))
        state[0, 2] = gap
        args = [state, np.zeros(1, int), np.zeros((2, 1), int), 25, 0.5]
        _core.spread_step(*args, np.zeros((2, 1, 12), "f4"), np.zeros((1, 2)), np.zeros(1, bool))
        x = (0.3 - gap) / 1e-3
        soft = x + np.log1p(np.exp(-x)) if x > 0 else np.log1p(np.exp(x))
        np.testing.assert_allclose(state[0, 6], 100 * soft * 1e-3 * 0.1, rtol=1e-10, atol=1e-300)
        assert state[0, 4] == -state[0, 6] and state[0, 5] == state[0, 7] == 0


@pytest.mark.skipif(not _core.COMPILED, reason="the compiled core is not built, or MINIRL_REFERENCE is set")
def test_the_kernel_refuses_what_it_cannot_write_to_and_what_overlaps():
    for i in (0, 1, 5, 6, 7):
        args = batch(3, 4, False)
        args[i].flags.writeable = False
        with pytest.raises(ValueError, match="read-only"):
            _core.spread_step(*args)
    args = batch(3, 4, False)
    args[6] = args[0].reshape(-1)[:12].reshape(4, 3)
    with pytest.raises(ValueError, match="overlap"):
        _core.spread_step(*args)
    for shape in ((4, 3, 18), (3, 72), (3, 18, 4)):
        args = batch(3, 4, False)
        args[5] = np.zeros(shape, np.float32)
        with pytest.raises(ValueError, match="obs must have shape"):
            _core.spread_step(*args)
    for columns in (0, 5, 7, 6 * 65):
        args = batch(3, 4, False)
        args[0] = np.zeros((4, columns))
        with pytest.raises(ValueError, match="6 numbers for each of 1 to 64 agents"):
            _core.spread_step(*args)


@pytest.mark.parametrize("module", [_core, simple_spread], ids=["core", "twin"])
@pytest.mark.parametrize("continuous", [False, True])
def test_an_action_without_a_force_is_refused(module, continuous):
    args = batch(3, 4, continuous)
    args[2][1, 2] = np.nan if continuous else 5
    before = args[0].copy()
    with pytest.raises(ValueError, match="that of agent 1 in environment 2 is"):
        module.spread_step(*args)
    np.testing.assert_array_equal(args[0], before)


def test_episodes_end_by_truncation_and_start_again_in_the_same_step():
    envs = make_many_agents(ID, 3, max_cycles=4)
    first = envs.reset([0, 1, 2])
    act = {name: np.zeros(3, int) for name in envs.agents}
    steps = [envs.step(act) for _ in range(8)]
    assert [step.truncated.all() for step in steps] == [False, False, False, True] * 2
    assert all(step.obs is step.led_to for step in steps[:3])
    assert (steps[3].led_to["agent_0"] != steps[3].obs["agent_0"]).any()
    assert (steps[3].obs["agent_0"] != first["agent_0"]).any()  # the stream goes on
    again = envs.reset([0, 1, 2])
    for name in envs.agents:
        np.testing.assert_array_equal(again[name], first[name])


def test_each_copy_is_alone():
    """What one copy does depends neither on how many there are nor on the others."""
    many, rng = make_many_agents(ID, 5), np.random.default_rng(0)
    alone = [make_many_agents(ID, 1) for _ in range(5)]
    many.reset([3, 1, 4, 1, 5])
    for one, seed in zip(alone, [3, 1, 4, 1, 5], strict=True):
        one.reset([seed])
    for _ in range(60):
        actions = {name: rng.integers(0, 5, 5) for name in many.agents}
        step = many.step(actions)
        for b, one in enumerate(alone):
            single = one.step({name: each[b : b + 1] for name, each in actions.items()})
            np.testing.assert_array_equal(single.reward[0], step.reward[b])
            for name in many.agents:
                np.testing.assert_array_equal(single.obs[name][0], step.obs[name][b])


def test_the_sum_of_rewards():
    mine, summed = make_many_agents(ID, 4), make_many_agents(ID, 4, sum_rewards=True)
    mine.reset([0] * 4), summed.reset([0] * 4)
    rng = np.random.default_rng(0)
    for _ in range(30):
        act = {name: rng.integers(0, 5, 4) for name in mine.agents}
        each, total = mine.step(act).reward, summed.step(act).reward
        np.testing.assert_allclose(total, np.repeat(each.sum(axis=1, keepdims=True), 3, axis=1), rtol=1e-15)


def test_what_was_handed_out_is_not_written_to_again():
    envs = make_many_agents(ID, 2, max_cycles=3)
    obs = envs.reset([0, 1])
    kept, seen = [], [obs]
    for _ in range(7):
        step = envs.step({name: np.ones(2, int) for name in envs.agents})
        seen += [step.led_to, step.obs]
        kept = kept or [{name: x.copy() for name, x in each.items()} for each in seen]
    for each, copies in zip(seen, kept, strict=False):
        for name in envs.agents:
            np.testing.assert_array_equal(each[name], copies[name])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"N": 0}, "N = 0: takes a whole number from 1 to 64"),
        ({"N": 65}, "N = 65"),
        ({"N": 2.0}, "N = 2.0"),
        ({"max_cycles": 0}, "max_cycles = 0"),
        ({"local_ratio": 1.5}, "local_ratio = 1.5: takes a number from 0 to 1"),
        ({"local_ratio": float("nan")}, "local_ratio = nan"),
        ({"M": 1}, "unexpected keyword argument"),
    ],
)
def test_options_that_make_no_sense(options, said):
    with pytest.raises(EnvError, match=said):
        make_many_agents(ID, 2, **options)


def test_actions_and_seeds_that_do_not_fit():
    envs = make_many_agents(ID, 2)
    good = {name: np.zeros(2, int) for name in envs.agents}
    with pytest.raises(EnvError, match=r"reset\(\) first"):
        envs.step(good)
    with pytest.raises(EnvError, match="1 seeds: takes 2"):
        envs.reset([0])
    with pytest.raises(EnvError, match="seed = -1"):
        envs.reset([0, -1])
    envs.reset([0, 1])
    with pytest.raises(EnvError, match="actions without agent 'agent_1'"):
        envs.step({"agent_0": good["agent_0"], "agent_2": good["agent_2"]})
    with pytest.raises(EnvError, match=r"actions of agent 'agent_2' have shape \(3,\): takes \(2,\)"):
        envs.step(good | {"agent_2": np.zeros(3, int)})
    with pytest.raises(EnvError, match=r"in 0\.\.4, that of agent 1 in environment 0 is 7"):
        envs.step(good | {"agent_1": np.array([7, 0])})
    with pytest.raises(EnvError, match="integers"):
        envs.step(good | {"agent_1": np.array([0.5, 0])})
