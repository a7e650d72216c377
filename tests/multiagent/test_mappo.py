"""MAPPO: what the central critic sees, and the counterfactual advantage. [EXT-2]"""

import itertools

import numpy as np
import pytest
from oracles.tabular_team import K, S, TabularTeam, all_outcomes, differences_of_j, expected_gradients
from toy_parallel import Mortal
from toy_teams import Chain, Dying, rollouts_of, same_trees, team

import minirl
from minirl.envs.make_many_agents import make_many_agents
from minirl.errors import ConfigError
from minirl.models.distributions import Categorical
from minirl.multiagent.central_critic import CentralCritic, LocalPolicy
from minirl.multiagent.groups import groups_of
from minirl.multiagent.joint_collector import JointCollector
from minirl.multiagent.mappo import counterfactual_advantages
from minirl.numerics import random_streams

# ------------------------------------------------------------------------- MA-07: what the critic sees


@pytest.mark.parametrize("share", [False, True])
def test_ma_07_ext_2_the_critic_sees_all_of_its_own_step_in_one_order(share):
    """Mortal observes 10 t + place + start: each row says whose and of when it is, zeros for the dead."""
    learner = team("mappo", Mortal, num_steps=11, normalize_obs=False, share_policy=share)
    sizes, lives = [2, 3, 1], [2, 4, 5]
    for group, rollout in zip(learner.groups, rollouts_of(learner), strict=True):
        D = group.obs_codec.dim
        for (t, row), (i, place) in zip(
            np.ndindex(rollout.valid.shape), itertools.cycle(enumerate(group.places)), strict=False
        ):
            now = t % 5
            for rows, time in ((rollout.obs, now), (rollout.next_obs, now + 1)):
                for b in range(2):
                    x = rows[t, i * 2 + b]
                    central, at = x[D:], 0
                    for other, (size, life) in enumerate(zip(sizes, lives, strict=True)):
                        block, at = central[at : at + size], at + size
                        there = time < life if rows is rollout.obs else now < life
                        assert (np.floor(block) == (10 * time + other if there else 0)).all(), (t, row, other)
                        if other == place:
                            assert np.array_equal(block, x[:D])
                    assert at == len(central)


class Renamed(Mortal):
    """Mortal with other names, so that its agents sort otherwise."""

    names = {"a": "z", "b": "m", "c": "k"}  # noqa: RUF012
    possible_agents = ("k", "z", "m")

    def back(self, name):
        return {new: old for old, new in self.names.items()}[name]

    def observation_space(self, agent):
        return super().observation_space(self.back(agent))

    def action_space(self, agent):
        return super().action_space(self.back(agent))

    def renamed(self, part):
        return {self.names[name]: value for name, value in part.items()}

    def reset(self, seed=None, options=None):
        self.possible_agents = ("c", "a", "b")
        result = super().reset(seed)
        self.possible_agents, self.agents = Renamed.possible_agents, [self.names[a] for a in self.agents]
        return tuple(map(self.renamed, result))

    def step(self, actions):
        self.agents = [self.back(name) for name in self.agents]
        result = super().step({self.back(name): action for name, action in actions.items()})
        self.agents = [self.names[name] for name in self.agents]
        return tuple(map(self.renamed, result))


def test_ma_07_permuting_the_agents_permutes_the_results():
    """The same agents under names that sort otherwise: each one's rows are the same, the joint state's blocks move."""
    config = minirl.configure("mappo", num_steps=11, dtype="float64", normalize_obs=False)
    found = []
    for env in (Mortal, Renamed):
        envs = make_many_agents(env, 2)
        groups = groups_of(envs, config.family, config.scale_actions, share=False)
        seeds = [random_streams.stream_seeds(0)] * 3
        collector = JointCollector(envs, groups, config, seeds, central=True, with_actions=False)
        shapes = [group.action_codec.family().action_shape for group in groups]
        kinds = [group.action_codec.family().action_dtype for group in groups]
        still = [
            lambda obs, noise, mask, shape=shape, kind=kind: np.ones((len(obs), *shape), kind or float)
            for shape, kind in zip(shapes, kinds, strict=True)
        ]
        found.append(dict(zip(envs.agents, collector.collect(still), strict=True)))
    (mine, its), sizes = found, {"a": 2, "b": 3, "c": 1}
    blocks = {"a": slice(0, 2), "b": slice(2, 5), "c": slice(5, 6)}
    moved = {"c": slice(0, 1), "b": slice(1, 4), "a": slice(4, 6)}  # k, m, z
    for name, rollout in mine.items():
        other, D = its[Renamed.names[name]], sizes[name]
        for field in ("action", "reward", "terminated", "truncated", "valid"):
            assert np.array_equal(getattr(rollout, field), getattr(other, field)), field
        for field in ("obs", "next_obs"):
            x, y = getattr(rollout, field), getattr(other, field)
            assert np.array_equal(x[..., :D], y[..., :D])
            for block in sizes:
                assert np.array_equal(x[..., D:][..., blocks[block]], y[..., D:][..., moved[block]])


def test_ma_07_a_policy_reads_its_own_observation_and_the_critic_the_others(rng):
    own, central = 3, 5
    policy, critic = LocalPolicy(Categorical(4), own, (6,), "tanh"), CentralCritic(own, central, (6,), "tanh")
    theta, theta_v = policy.init(rng, 0.0, np.float64), critic.init(rng, np.float64)
    x = rng.normal(size=(7, own + central))
    other, noise = x.copy(), rng.random(7)
    other[:, own:] = rng.normal(size=(7, central))
    assert np.array_equal(policy.infer(theta, x), policy.infer(theta, other))
    assert np.array_equal(policy.actor(theta)(x, noise), policy.actor(theta)(other, noise))
    other[:, own:], other[:, :own] = x[:, own:], 0.0
    assert np.array_equal(critic.value(theta_v, x), critic.value(theta_v, other))
    assert np.array_equal(critic.forward(theta_v, x)[0], critic.value(theta_v, x))


# ---------------------------------------------------------------- the counterfactual advantage [EXT-2]


@pytest.mark.parametrize("seed", range(3))
def test_ext_2_the_counterfactual_gradient_is_unbiased(seed):
    """E[Σ_i ∇log π_i Â_i] = ∇J on a Markov game of two agents: all joint actions enumerated, Q exact."""
    game = TabularTeam(np.random.default_rng(seed))
    for i, found in enumerate(expected_gradients(game)):
        expected = differences_of_j(game, i)
        assert np.abs(expected).max() > 1e-3
        np.testing.assert_allclose(found, expected, atol=1e-8)


def test_ext_2_the_counterfactual_advantage_is_that_of_the_definition(rng):
    """Against loops; its mean over the agent's own actions is 0; masked actions count for nothing."""
    game = TabularTeam(rng)
    _, q, _ = game.solve(game.theta)
    s, joint = all_outcomes()
    pi, i = game.pi(game.theta), 1
    own = slice(2 * S + K[0], 2 * S + K[0] + K[1])
    rows = game.rows(i, s, joint)
    before = rows.copy()
    args = game.policies[i], game.theta[i], game.q_of(i, q), rows
    adv = counterfactual_advantages(*args, None, own, joint[:, i])
    expected = [
        q[t, a, b] - sum(pi[i][t, c] * q[t, a, c] for c in range(K[1])) for t, (a, b) in zip(s, joint, strict=True)
    ]
    np.testing.assert_allclose(adv, expected, atol=1e-14)
    np.testing.assert_allclose((pi[i][s, joint[:, i]] * adv).reshape(-1, K[1]).sum(axis=1), 0.0, atol=1e-14)
    assert np.array_equal(rows, before)
    mask = np.ones((len(s), K[1]), bool)
    mask[:, 0] = False
    left = pi[i][:, 1:] / pi[i][:, 1:].sum(axis=1, keepdims=True)
    allowed = joint[:, 1] > 0
    adv = counterfactual_advantages(*args, mask, own, joint[:, i])[allowed]
    expected = [
        q[t, a, b] - sum(left[t, c - 1] * q[t, a, c] for c in (1, 2))
        for t, (a, b) in zip(s[allowed], joint[allowed], strict=True)
    ]
    np.testing.assert_allclose(adv, expected, atol=1e-14)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("share", [False, True])
def test_ext_2_the_target_of_q_has_the_next_joint_action(share, normalize):
    """λ = 0: r + γ Q(s', a') with the a' that was taken next; Q and Â by the critic's θ, from rows made by hand."""
    fields = {"normalize_reward": False, "normalize_adv": False, "lam": 0.0, "gamma": 0.7, "share_policy": share}
    learner = team("mappo", Chain, critic="actions", num_steps=8, normalize_obs=normalize, **fields)
    learner.step()
    actors = [t.nets.policy.actor(t.state["theta_pi"], t.preprocess) for t in learner.trainees]
    rollouts = learner.collector.collect(actors)
    taken = {
        name: np.split(rollout.action, len(group.agents), axis=1)[j]
        for group, rollout in zip(learner.groups, rollouts, strict=True)
        for j, name in enumerate(group.agents)
    }
    joint = np.concatenate([np.eye(3)[taken[name]] for name in ("agent_0", "agent_1")], axis=2)  # (T, B, 6)
    learner.actions.add_next_actions(actors, rollouts)
    for i, (group, rollout) in enumerate(zip(learner.groups, rollouts, strict=True)):
        trainee, copies = learner.trainees[i], len(group.agents)
        prepared = learner._prepare(i, rollout)

        def q(actions, trainee=trainee):
            rows = np.concatenate([np.ones((len(actions), 3)), actions], axis=1)  # own, and those of both
            return trainee.nets.critic.value(trainee.state["theta_v"], trainee.preprocess(rows))

        now = q(joint.reshape(16, 6)).reshape(8, 2)
        after = np.zeros((8, 2))
        after[:-1] = now[1:]
        last = rollout.next_obs[-1][:2, 3:]
        assert (last.reshape(2, 2, 3).sum(axis=2) == 1).all() and (rollout.next_obs[-1, :, :3] == 1).all()
        after[-1] = q(last)
        target = rollout.reward[:, :2] + 0.7 * np.where(rollout.terminated[:, :2], 0.0, after)
        np.testing.assert_allclose(prepared.batch.returns.reshape(8, copies, 2), target[:, None].repeat(copies, 1))
        np.testing.assert_allclose(prepared.batch.value.reshape(8, copies, 2), now[:, None].repeat(copies, 1))
        for j, place in enumerate(group.places):
            phi = trainee.nets.policy.infer(trainee.state["theta_pi"], trainee.preprocess(np.ones((1, 9))))[0]
            pi, expected = np.exp(phi - phi.max()) / np.exp(phi - phi.max()).sum(), now.reshape(-1).copy()
            for k in range(3):
                other = joint.reshape(16, 6).copy()
                other[:, 3 * place : 3 * place + 3] = np.eye(3)[k]
                expected -= pi[k] * q(other)
            np.testing.assert_allclose(
                prepared.batch.adv.reshape(8, copies, 2)[:, j], expected.reshape(8, 2), atol=1e-9
            )


def test_ext_2_the_actions_of_the_dead_are_no_actions():
    """agent_1 dies after step 3: from then on its indicators are 0; where it is cut it would have gone on."""
    learner = team("mappo", Dying, critic="actions", num_envs=1, normalize_obs=False, env_kwargs={"end": "truncated"})
    actors = [t.nets.policy.actor(t.state["theta_pi"], t.preprocess) for t in learner.trainees]
    (rollout,) = learner.collector.collect(actors)
    learner.actions.add_next_actions(actors, [rollout])
    mine, its = rollout.obs[:, 0, 3:].reshape(6, 2, 2), rollout.next_obs[:, :, 3:].reshape(6, 2, 2, 2)
    assert mine[:, 0].sum(axis=1).tolist() == [1] * 6 and mine[:, 1].sum(axis=1).tolist() == [1] * 3 + [0] * 3
    assert np.array_equal(mine[:, 0].argmax(axis=1), rollout.action[:, 0])
    assert np.array_equal(mine[:3, 1].argmax(axis=1), rollout.action[:3, 1])
    assert its[2, 1].sum(axis=1).tolist() == [1, 1]  # what agent_1 would have done, and agent_0 with it
    assert its[5, 0].sum(axis=1).tolist() == [1, 0]


def test_ext_2_a_critic_of_actions_draws_next_ones_that_are_allowed():
    learner = team("mappo", Mortal, critic="actions", num_envs=3, num_steps=7, env_kwargs={"masks": True})
    for _ in range(3):
        actors = [t.nets.policy.actor(t.state["theta_pi"], t.preprocess) for t in learner.trainees]
        rollouts = learner.collector.collect(actors)
        chosen = learner.actions.next_actions(actors, rollouts, 6)
        for place, name in enumerate("abc"):
            alive = learner.collector.state.alive[:, place] & ~rollouts[place].cut[6]
            allowed = learner.collector.state.masks[name][np.arange(3), chosen[name].astype(int)]
            assert allowed[alive].all()
        learner.collector.commit()


@pytest.mark.parametrize("share", [False, True])
def test_ext_2_a_critic_of_actions_learns_the_climbing_games(share):
    """It trains, and a snapshot goes back to where it was."""
    learner = team("mappo", Chain, critic="actions", share_policy=share)
    learner.step()
    before = learner.snapshot()
    learner.step()
    assert not same_trees(before, learner.snapshot())
    learner.restore(before)
    assert same_trees(before, learner.snapshot())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"share_trunk": True}, "share_trunk = True"),
        ({"critic": "actions", "recompute_adv": True}, "recompute_adv = True"),
        ({"rbf": 8}, "rbf = 8"),
        ({"critic": "all"}, "critic = 'all'"),
    ],
)
def test_ext_2_what_does_not_go_together_is_said(fields, said):
    with pytest.raises(ConfigError, match=said):
        minirl.configure("mappo", **fields)


def test_ext_2_a_critic_of_actions_takes_discrete_actions_alone():
    with pytest.raises(ConfigError, match="critic = 'actions': sums over actions, and those of b are"):
        team("mappo", Mortal, critic="actions")


# ------------------------------------------------------------------------------------ environments of mpe2


@pytest.mark.parametrize("method", ["ippo", "mappo"])
@pytest.mark.parametrize("env", ["simple_spread_v3", "simple_speaker_listener_v4", "simple_tag_v3"])
@pytest.mark.parametrize("share", [False, True])
def test_ext_1_ext_2_environments_of_mpe2(env, method, share):
    """Agents with different spaces: one policy each, or one for those that are alike; evaluation repeats."""
    pytest.importorskip("mpe2")
    budget = {"num_envs": 2, "num_steps": 26, "total_timesteps": 104, "hidden": (4,), "epochs": 1}
    result = minirl.train(method, f"mpe2/{env}", share_policy=share, **budget)
    agents = result.policy.agents
    distinct = {agent.theta.tobytes() for agent in agents.values()}
    alike = {"simple_spread_v3": 1, "simple_speaker_listener_v4": 2, "simple_tag_v3": 2}[env]
    assert len(distinct) == (alike if share else len(agents))
    assert [update.lengths.tolist() for update in result.history] == [[25, 25], [25, 25]]
    one, other = (minirl.evaluate(result, episodes=2, stochastic=True, seed=3) for _ in range(2))
    assert np.array_equal(one.returns, other.returns) and (one.lengths == 25).all()
