"""IPPO: N policies that learn as N separate runs of PPO would, and agents that are not there weigh nothing. [EXT-1]"""

from dataclasses import replace

import numpy as np
import pytest
from gymnasium import spaces
from toy_parallel import Mortal
from toy_teams import Climbing, Dying, Penalty, ippo_beside_ppo, rollouts_of, same_trees, team

import minirl
from minirl.algorithms import ppo
from minirl.errors import ConfigError, EnvError, NonFiniteError
from minirl.numerics import random_streams
from minirl.numerics.running_moments import RunningMoments
from minirl.numerics.sums_over_samples import SampleWeights
from minirl.samples.advantages import standardize_adv
from minirl.samples.batch import Batch, make_batch

# ------------------------------------------------------------------- MA-06: as many separate trainings


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("actions", [3, spaces.Box(-0.5, 0.5, (2,), np.float32)], ids=["discrete", "continuous"])
@pytest.mark.parametrize(
    "options",
    [
        {"normalize_obs": False, "normalize_reward": False},
        {"normalize_obs": True, "normalize_reward": True},
        {"normalize_value": True, "share_trunk": True},
        {"recompute_adv": True, "target_kl": 0.01, "ent_coef": 0.1},
    ],
    ids=["plain", "normalised", "popart", "recomputed"],
)
def test_ma_06_ext_1_nothing_shared_is_n_runs_of_ppo_bit_for_bit(options, actions, dtype):
    for name, trainee, alone in ippo_beside_ppo(options, actions, dtype):
        assert same_trees(trainee.tree(True), alone.tree(True)), name
        assert np.array_equal(trainee.scaler.carry, alone.scaler.carry)


# ---------------------------------------------------------------------------- MA-01: values have units


@pytest.mark.parametrize("method", ["ippo", "mappo"])
def test_ma_01_ext_1_ext_2_values_are_in_units_of_the_rewards_before_advantages(method):
    """The critic of a team with μ = 5, σ = 3: δ = r + γ V' − V with V = μ + σ y, by hand."""
    options = {"normalize_value": True, "normalize_adv": False, "normalize_obs": False, "normalize_reward": False}
    learner = team(method, Dying, num_envs=1, lam=0.0, gamma=0.5, share_policy=False, **options)
    rollouts = rollouts_of(learner)
    for trainee, rollout in zip(learner.trainees, rollouts, strict=True):
        trainee.state["theta_v"][-2:] = 5.0, 3.0
        batch = trainee.prepare(rollout).batch
        critic, theta = trainee.nets.critic, trainee.state["theta_v"]
        own = (critic.own,) if method == "mappo" else ()
        inner = type(critic)(*own, critic.mlp.sizes[0], (5,), "tanh")
        y = inner.value(theta[:-2], rollout.obs[:, 0])
        value = 5.0 + 3.0 * y
        life = int(rollout.valid.sum())
        following = np.append(value[1:life], 0.0)  # its own end is the end
        expected = rollout.reward[:life, 0] + 0.5 * following - value[:life]
        np.testing.assert_allclose(batch.adv, expected, rtol=1e-12)
        np.testing.assert_allclose(batch.value, value[:life], rtol=1e-12)


# ------------------------------------------------------------------ MA-02, MA-03: agents that are gone


def without_the_dead(learner, rollout):
    """The batch made of the rows of living agents alone, each agent's own rollout at a time."""
    trainee, T = learner.trainees[0], len(rollout.obs)
    parts, order = [], []
    for row in range(rollout.obs.shape[1]):
        at = np.flatnonzero(rollout.valid[:, row])
        fields = ["obs", "action", "reward", "next_obs", "terminated", "truncated", "valid"]
        alone = replace(rollout, **{name: getattr(rollout, name)[at][:, [row]] for name in fields})
        weights = SampleWeights(np.ones(len(at)))
        plain = learner.config.replace(normalize_adv=False)
        parts.append(make_batch(alone, alone.reward, weights, trainee.value, trainee.preprocess, plain))
        order.append(at * rollout.obs.shape[1] + row)
    place = np.argsort(np.concatenate(order))
    weights = SampleWeights(np.ones(len(place)))
    assert len(place) < T * rollout.obs.shape[1]
    names = ("obs", "action", "adv", "returns", "value")
    columns = {n: np.concatenate([getattr(p, n) for p in parts])[place] for n in names}
    columns["adv"] = standardize_adv(columns["adv"], weights)
    return Batch(**columns, weights=weights)


@pytest.mark.parametrize("end", ["terminated", "truncated"])
def test_ma_02_ext_1_the_dead_weigh_nothing_anywhere(end):
    """Loss, advantage statistics, entropy: to the last bit what a batch without their rows gives."""
    options = {"share_policy": True, "normalize_obs": False, "normalize_reward": False, "ent_coef": 0.1}
    learner = team("ippo", Dying, env_kwargs={"end": end}, **options)
    rollout, trainee = rollouts_of(learner)[0], learner.trainees[0]
    assert rollout.valid.sum(axis=0).tolist() == [6, 6, 3, 3]
    prepared, bare = trainee.prepare(rollout), without_the_dead(learner, rollout)
    for name in ("obs", "action", "adv", "returns", "value"):
        assert np.array_equal(getattr(prepared.batch, name), getattr(bare, name)), name
    assert np.array_equal(prepared.batch.weights.w, bare.weights.w) and prepared.batch.weights.n == 18
    rng = random_streams.get_state(trainee.rng)
    learned = trainee.learn(prepared, 0.0)
    state, info = ppo.update(trainee.nets, trainee.state, bare, trainee.config, random_streams.from_state(rng), 0.0)
    assert same_trees(learned.state, state) and same_trees(learned.metrics, dict(info))


def test_ma_02_what_the_dead_would_have_seen_and_earned_changes_no_bit():
    """Rows of theirs full of other numbers: the same statistics, the same update; the moments are the living's."""
    learner = team("ippo", Dying, share_policy=True)
    rollout, trainee = rollouts_of(learner)[0], learner.trainees[0]
    dead = ~rollout.valid
    assert not rollout.reward[dead].any() and not rollout.cut[dead].any() and not rollout.obs[dead].any()
    fields = {name: getattr(rollout, name).copy() for name in ("obs", "next_obs", "action")}
    fields["obs"][dead], fields["next_obs"][dead], fields["action"][dead] = 123.0, -7.0, 1
    one, other = trainee.prepare(rollout), trainee.prepare(replace(rollout, **fields))
    assert same_trees(one.normalizer.moments.tree(), other.normalizer.moments.tree())
    assert same_trees(one.scaler.moments.tree(), other.scaler.moments.tree())
    rng = random_streams.get_state(trainee.rng)
    first = trainee.learn(one, 0.0)
    trainee.rng = random_streams.from_state(rng)
    assert same_trees(first.state, trainee.learn(other, 0.0).state)
    living = rollout.obs[rollout.valid]
    expected = RunningMoments.zeros(1).update(living, SampleWeights(np.ones(len(living))))
    assert one.normalizer.moments.count == len(living) == one.scaler.moments.count
    np.testing.assert_allclose(one.normalizer.moments.mean, expected.mean, rtol=1e-14)
    np.testing.assert_allclose(one.normalizer.moments.m2, expected.m2, rtol=1e-14)


@pytest.mark.parametrize("method", ["ippo", "mappo"])
def test_ma_02_an_agent_that_is_dead_for_a_whole_rollout_learns_nothing_from_it(method):
    learner = team(method, Dying, env_kwargs={"length": 40, "life": 2}, share_policy=False, num_envs=1)
    learner.step()
    before = learner.trainees[1].tree(True)
    others = learner.trainees[0].state["theta_pi"].copy()
    update = learner.step()
    assert same_trees(learner.trainees[1].tree(True), before)
    assert not np.array_equal(learner.trainees[0].state["theta_pi"], others)
    assert all(np.isfinite(v) for k, v in update.metrics.items() if k.startswith("losses/") and "explained" not in k)


@pytest.mark.parametrize(
    ("end", "bias", "golden"),
    [  # of agent_1: rewards 1, 2, 4, then it is gone; γ = λ = ½
        ("terminated", 0.0, [1.75, 3.0, 4.0]),
        ("truncated", 0.0, [1.75, 3.0, 4.0]),
        ("terminated", 8.0, [-3.75, -3.0, -4.0]),  # V = 8 everywhere, and 0 after its own death
        ("truncated", 8.0, [-3.5, -2.0, 0.0]),  # V = 8 goes on
    ],
)
def test_ma_03_gae_is_cut_at_its_own_death(end, bias, golden):
    """The rewards of the team after an agent's death, 8, 16 and 32 here, are not its own."""
    options = {"normalize_adv": False, "normalize_obs": False, "normalize_reward": False, "gamma": 0.5, "lam": 0.5}
    learner = team("ippo", Dying, num_envs=1, env_kwargs={"end": end}, **options)
    rollouts = rollouts_of(learner)
    trainee = learner.trainees[1]
    trainee.state["theta_v"][:] = 0.0
    trainee.state["theta_v"][-1] = bias
    batch = trainee.prepare(rollouts[1]).batch
    assert batch.adv.tolist() == golden
    assert batch.returns.tolist() == [a + bias for a in golden]
    assert rollouts[1].valid[:, 0].tolist() == [True] * 3 + [False] * 3


# ---------------------------------------------------------------- MA-04, MA-05: dicts, names and masks


@pytest.mark.parametrize("method", ["ippo", "mappo"])
def test_ma_04_the_order_of_dicts_and_of_agents_changes_no_bit(method):
    class Reversed(Mortal):
        possible_agents = ("b", "c", "a")

    found = []
    for env, order in ((Mortal, None), (Mortal, 1), (Reversed, 2)):
        kwargs = {"order": None if order is None else np.random.default_rng(order)}
        learner = team(method, env, env_kwargs=kwargs)
        for _ in range(3):
            learner.step()
        assert learner.envs.agents == ("a", "b", "c")
        found.append([trainee.tree(True) for trainee in learner.trainees])
    assert same_trees(found[0], found[1]) and same_trees(found[0], found[2])


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("method", ["ippo", "mappo"])
def test_ma_05_the_masks_of_the_update_are_those_of_acting(method, nested):
    """Mortal allows action t mod 4 and the agent's own number; t is read from what was observed."""
    learner = team(method, Mortal, env_kwargs={"masks": True, "nested": nested}, normalize_obs=False, num_steps=9)
    seen = []

    def update(nets, state, batch, *rest):
        seen.append((nets, state, batch))
        return ppo.update(nets, state, batch, *rest)

    for trainee in learner.trainees:
        trainee.algorithm = replace(trainee.algorithm, update=update)
    learner.step()
    learner.step()
    for k, (nets, state, batch) in enumerate(seen):
        agent = k % 3
        t = np.floor(batch.obs[:, 0] / 10).astype(int)
        expected = np.zeros((len(batch), 4), bool)
        expected[np.arange(len(batch)), t % 4] = True
        expected[:, agent] = True
        assert np.array_equal(batch.mask, expected)
        assert batch.mask[np.arange(len(batch)), batch.action].all()
        phi = nets.policy.infer(state["theta_pi"], batch.obs, batch.mask)
        assert np.isneginf(phi[~expected]).all() and np.isfinite(nets.policy.dist.log_prob(phi, batch.action)).all()


def test_ma_05_an_agent_without_masks_may_share_with_one_that_has_them():
    class Half(Mortal):
        """Agent c alone has masks; all observe one number and have four actions."""

        sizes = dict.fromkeys("abc", 1)

        def infos(self, names):
            return {name: {"action_mask": self.mask(name)} if name == "c" else {} for name in names}

    learner = team("ippo", Half, env_kwargs={"masks": True}, share_policy=True, num_steps=20)
    learner.step()
    for copy in learner.envs._copies:
        for t, played in enumerate(copy.env.played):
            if "c" in played:
                assert played["c"] in (2, t % 5 % 4)
    assert {action for played in copy.env.played for name, action in played.items() if name == "a"} == {0, 1, 2, 3}


# ------------------------------------------------------------------------------------------------ errors, snapshots


@pytest.mark.parametrize("method", ["ippo", "mappo"])
def test_all_policies_change_together_or_not_at_all(method):
    """The third policy's update fails: nothing has changed, the next update begins new games and goes on."""
    learner = team(method, Mortal, share_policy=False)
    learner.step()
    before, row = learner.snapshot()["trainees"][:2], learner.trainees[2].algorithm

    def fails(*args):
        raise NonFiniteError("a parameter", "lower lr")

    learner.trainees[2].algorithm = replace(row, update=fails)
    with pytest.raises(NonFiniteError, match="agent c: a parameter is not finite: lower lr"):
        learner.step()
    for tree, trainee in zip(before, learner.trainees, strict=False):
        assert same_trees({**tree, "updates_stream": 0}, {**trainee.tree(False), "updates_stream": 0})
    assert learner.updates == 1 and learner.collector.state.fresh_start
    learner.trainees[2].algorithm = row
    assert learner.step().number == 2
    assert [copy.env.t for copy in learner.envs._copies] == [6 % 5] * 2


def test_an_observation_that_is_no_number_names_its_agent():
    class Broken(Mortal):
        def seen(self, agent):
            obs = super().seen(agent)
            if agent == "b" and self.t == 2:
                obs[1] = np.nan
            return obs

    learner = team("ippo", Broken)
    with pytest.raises(NonFiniteError, match="agent 'b': obs is not finite, env=0, step=2: entry 1 is nan"):
        learner.step()


def test_a_mask_that_comes_later_is_refused():
    class Late(Mortal):
        def infos(self, names):
            return super().infos(names) if self.games > 2 else {name: {} for name in names}

        games = 0

        def reset(self, seed=None, options=None):
            self.games += 1
            return super().reset(seed, options)

    learner = team("ippo", Late, env_kwargs={"masks": True}, num_steps=30)
    with pytest.raises(EnvError, match="a has an action_mask now, and had none before"):
        learner.step()


@pytest.mark.parametrize(
    ("fields", "name"),
    [({"hidden": (6,)}, "hidden"), ({"num_steps": 7}, "num_steps"), ({"share_policy": True}, "agents")],
)
def test_a_snapshot_of_another_team_is_refused_by_what_differs(fields, name):
    ours, theirs = team("ippo", Dying), team("ippo", Dying, **fields)
    before = ours.snapshot()
    with pytest.raises(ConfigError, match=f"the snapshot's {name} is .* this learner's"):
        ours.restore(theirs.snapshot())
    with pytest.raises(ConfigError, match="the snapshot's method is 'mappo'"):
        ours.restore(team("mappo", Dying).snapshot())
    with pytest.raises(ConfigError, match="the snapshot's critic is 'state', this learner's 'actions'"):
        team("mappo", Dying, critic="actions").restore(team("mappo", Dying).snapshot())
    assert same_trees(before, ours.snapshot())


# -------------------------------------------------------------------------------------------- learning


@pytest.mark.parametrize("method", ["ippo", "mappo"])
@pytest.mark.parametrize("game", [Climbing, Penalty])
@pytest.mark.parametrize("seed", range(3))
def test_ext_1_ext_2_matrix_games_end_in_an_equilibrium(game, method, seed):
    """No agent gains by another action alone: 11 or 7 of climbing, 10 or 2 of penalty."""
    budget = {"num_envs": 32, "num_steps": 4, "total_timesteps": 128 * 80, "minibatch_size": 128, "epochs": 4}
    options = {"hidden": (8,), "lr": 0.02, "normalize_obs": False, "share_policy": False, "ent_coef": 0.2}
    result = minirl.train(method, game, seed=seed, **budget, **options)
    actions = result.policy.act({name: np.ones(1, np.float32) for name in game.possible_agents})
    a, b = (int(actions[name]) for name in game.possible_agents)
    payoff = game.payoff
    assert payoff[a, b] == payoff[:, b].max() == payoff[a].max(), (a, b)
