"""The collector between rollouts: what it keeps, when it goes on, and when it begins with fresh episodes."""

import copy
import dataclasses

import pytest
from oracles import same_bits
from toy_envs import MODES, Counting, Drift, Narrow, learner, vector


def collect(made):
    return made.collector.collect(made.state["theta_pi"], lambda obs: obs)


@pytest.mark.parametrize("mode", MODES)
def test_without_commit_the_next_rollout_begins_with_fresh_episodes(mode):
    """Episodes of 5 steps, rollouts of 7: after a commit the eighth step is seen, without it a first one."""
    made = learner("ppo", vector(Counting, {"lengths": (5,)}, mode=mode), num_steps=7, normalize_obs=False)
    seen = []
    for learned in (True, False, True):
        rollout = collect(made)
        seen.append((rollout.obs[0, 0, 0], rollout.fresh))
        if learned:
            made.collector.commit()
    assert seen == [(10, False), (22, False), (40, True)]
    made.collector.reset()
    rollout = collect(made)
    assert rollout.obs[0, 0, 0] == 60 and rollout.fresh


def test_an_update_that_fails_commits_nothing():
    made = learner("ppo", vector(Drift, {}, {}), normalize_reward=True)
    made.step()
    scaler, normalizer, algorithm = made.scaler, made.normalizer, made.algorithm

    def fails(*args):
        raise RuntimeError("no update")

    made.algorithm = dataclasses.replace(algorithm, update=fails)
    with pytest.raises(RuntimeError, match="no update"):
        made.step()
    assert made.collector.state.fresh_start and made.scaler is scaler and made.normalizer is normalizer
    made.algorithm, seen, prepare = algorithm, [], made.prepare
    made.prepare = lambda rollout: seen.append(rollout) or prepare(rollout)
    made.step()
    assert seen[0].fresh and not made.collector.state.fresh_start


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("env", [Drift, Narrow])
def test_the_state_and_the_environments_are_all_that_a_rollout_depends_on(mode, env):
    """Copies of both, taken between two updates, in a collector made otherwise: the same rollouts and episodes."""
    changes = {"num_steps": 11, "mask_actions": env is Narrow}
    made = learner("ppo", vector(env, {}, {}, {}, mode=mode), **changes)
    for _ in range(3):
        made.step()
    envs, state = copy.deepcopy((made.collector.envs, made.collector.state))
    other = learner("ppo", vector(env, {}, {}, {}, mode=mode), seed=9, **changes).collector
    other.envs, other.state = envs, state
    for _ in range(3):
        mine, its = (c.collect(made.state["theta_pi"], lambda obs: obs) for c in (made.collector, other))
        assert same_bits(vars(mine), vars(its))
        assert same_bits(*(c.finished_episodes(r) for c, r in ((made.collector, mine), (other, its))))
        made.collector.commit()
        other.commit()
    fields = {f.name for f in dataclasses.fields(state)} - {"noise", "masks"}
    assert same_bits(*({name: getattr(c.state, name) for name in fields} for c in (made.collector, other)))


def test_nothing_but_the_state_changes_between_rollouts():
    """Every other attribute is as the constructor left it, apart from one that speaks of the last rollout."""
    made = learner("ppo", vector(Counting, {"lengths": (3,)}, {}, mode=MODES[0]), num_steps=8)
    of_the_last = {"state", "reset_rows"}
    before = {name: value for name, value in vars(made.collector).items() if name not in of_the_last}
    for _ in range(2):
        made.step()
    after = vars(made.collector)
    assert set(after) == set(before) | of_the_last
    assert all(after[name] is value for name, value in before.items())
