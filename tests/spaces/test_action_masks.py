"""Actions that an environment rules out:
read from it, kept with the samples, and the same when acting as when learning.
"""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from oracles import gradient, hessian, made_up_batch, part_of, random_theta, relative_error, same_bits, step_weights
from toy_envs import ALGORITHMS, MODES, Counting, Match, Narrow, learner, register, run, vector

import minirl
from minirl.algorithms.npg import fisher_vector_product, policy_gradient
from minirl.algorithms.ppo import minibatch_gradient
from minirl.deploy import policy_file
from minirl.errors import EnvError, MinirlError, SpaceError
from minirl.models.distributions import Categorical, MultiCategorical
from minirl.models.policy import Policy
from minirl.samples.batch import Batch, make_batch
from minirl.spaces.action_masks import ActionMasks
from minirl.spaces.actions import action_codec
from minirl.training.evaluation import evaluate

MULTI = spaces.MultiDiscrete([2, 3, 4])
TAXI = "Taxi-v4" if "Taxi-v4" in gymnasium.registry else "Taxi-v3"
actions = pytest.mark.parametrize("actions", [5, MULTI], ids=["discrete", "multi_discrete"])


def identity(obs):
    return obs


def masked(algorithm, *kwargs, mode=AutoresetMode.SAME_STEP, **changes):
    return learner(algorithm, vector(Narrow, *kwargs, mode=mode), mask_actions=True, **changes)


def random_masks(dist, n, rng):
    """At least one action of each choice is allowed."""
    sizes = [dist.num_params] if isinstance(dist, Categorical) else dist.num_actions
    parts = [(rng.random((n, k)) < 0.5) | np.eye(k, dtype=bool)[rng.integers(k, size=n)] for k in sizes]
    return np.concatenate(parts, axis=1)


# ----------------------------------------------------------------------------------------------------------- collecting


@actions
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_masked_training_never_takes_what_is_ruled_out(algorithm, mode, actions):
    """The environment raises when it is given such an action;
    the mask at the end of an episode allows nothing and does no harm.
    """
    trained, _ = run(algorithm, vector(Narrow, *[{"actions": actions}] * 3, mode=mode), 4, mask_actions=True)
    assert np.isfinite(trained.state["theta_pi"]).all()


@actions
def test_masked_rollouts_are_the_same_in_every_autoreset_mode(actions):  # ENV-02 with masks
    transitions = []
    for mode in MODES:
        made = masked("trpo", *[{"actions": actions}] * 2, mode=mode, num_steps=30)
        rollout = made.collector.collect(made.state["theta_pi"], identity)
        per_env = [
            [getattr(rollout, name)[rollout.valid[:, b], b][:20] for name in ("obs", "action", "mask", "reward")]
            for b in range(2)
        ]
        transitions.append(per_env)
    assert same_bits(transitions[0], transitions[1]) and same_bits(transitions[1], transitions[2])


@actions
def test_the_mask_that_is_kept_is_the_one_that_was_acted_on(actions):
    made = masked("trpo", {"actions": actions}, num_steps=25)
    env, seen = made.collector.envs.envs[0], []
    act = env.step
    env.step = lambda action: (seen.append(env.mask.astype(bool)), act(action))[1]
    rollout = made.collector.collect(made.state["theta_pi"], identity)
    np.testing.assert_array_equal(rollout.mask[:, 0], seen)
    batch = make_batch(rollout, rollout.reward, step_weights(rollout), made.value, identity, made.config)
    np.testing.assert_array_equal(batch.mask, seen)
    assert batch.mask_of(np.array([3, 1])).tolist() == [seen[3].tolist(), seen[1].tolist()]


@pytest.mark.parametrize("mode", MODES)
def test_dist_04_a_mask_that_allows_nothing_names_the_environment(mode):
    made = masked("ppo", {}, {"stuck": 2}, {}, mode=mode)
    with pytest.raises(ValueError, match="action_mask, env=1: it allows no action") as raised:
        next(made)
    assert isinstance(raised.value, MinirlError)


def test_dist_04_one_choice_of_several_without_an_action_is_enough():
    mask = np.ones((2, 9))
    mask[1, 2:5] = 0
    with pytest.raises(SpaceError, match="row=1: it allows no action"):
        action_codec(MULTI).read_mask(mask)


def test_environments_without_masks_and_actions_that_have_none():
    with pytest.raises(EnvError, match=r"mask_actions.*without action_mask"):
        learner("ppo", vector(Counting, {}), mask_actions=True)
    for space in (spaces.Box(-1, 1, (2,)), spaces.MultiBinary(3)):
        with pytest.raises(SpaceError, match="masks for Discrete and MultiDiscrete"):
            ActionMasks(action_codec(space), 1, {"action_mask": np.ones((1, 3))})


@pytest.mark.parametrize(
    "mask",
    [np.ones((2, 4)), np.ones(2), np.array([None, None]), np.full((2, 5), "x")],
    ids=["wide", "flat", "object", "text"],
)
def test_masks_of_a_wrong_shape_or_type_are_named(mask):
    masks = masked("ppo", {}, {}).collector.state.masks
    with pytest.raises(EnvError, match=r"action_mask of shape .* and type .*\(2, 5\)"):
        masks.update({"action_mask": mask})


def test_an_environment_that_says_nothing_after_its_step_is_named():
    masks = masked("ppo", {}, {}).collector.state.masks
    masks.update({"action_mask": np.ones((2, 5)), "_action_mask": np.array([True, False])})
    with pytest.raises(SpaceError, match="env=1"):
        masks.read(np.zeros(2, bool))
    assert masks.read(np.array([False, True])).all()  # due for a reset: what it is sent does not count


# ------------------------------------------------------------------------------------------------------------- learning


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_mask_that_allows_everything_changes_no_bit(algorithm):
    class Wide(Match):
        def reset(self, **kwargs):
            return super().reset(**kwargs)[0], {"action_mask": np.ones(4, np.int8)}

        def step(self, action):
            return *super().step(action)[:4], {"action_mask": np.ones(4, np.int8)}

    states = [
        run(algorithm, vector(Wide, *[{"actions": spaces.Discrete(4)}] * 2), 3, mask_actions=on)[0].state
        for on in (False, True)
    ]
    assert same_bits(states[0], states[1])


@actions
def test_dist_08_acting_and_updating_see_the_same_probabilities(actions):
    """φ of every step, as the collector acted on it, is φ of the batch; the ratio of the first minibatch is 1."""
    made = masked("ppo", *[{"actions": actions}] * 2, num_steps=20)
    acted, infer = [], made.nets.policy.infer
    made.nets.policy.infer = lambda *args: acted.append(infer(*args)) or acted[-1]
    rollout = made.collector.collect(made.state["theta_pi"], identity)
    made.nets.policy.infer = infer
    batch = make_batch(rollout, rollout.reward, step_weights(rollout), made.value, identity, made.config)
    dist = made.nets.policy.dist
    logp = dist.log_prob(np.stack(acted).reshape(40, -1), batch.action)
    phi = infer(made.state["theta_pi"], batch.obs, batch.mask)
    np.testing.assert_allclose(np.exp(dist.log_prob(phi, batch.action) - logp), 1, atol=1e-14)

    theta, rows = (
        np.concatenate([made.state["theta_pi"], made.state["theta_v"]]),
        np.random.default_rng(0).permutation(40)[:7],
    )
    _, losses, _ = minibatch_gradient(made.nets, theta, part_of(batch, rows, logp), made.config)
    np.testing.assert_allclose(losses.ratio, 1, atol=1e-14)
    forgotten = dist.log_prob(infer(made.state["theta_pi"], batch.obs), batch.action)
    assert np.abs(np.exp(forgotten - logp) - 1).max() > 0.1  # what forgetting the mask would do


@pytest.mark.parametrize("dist", [Categorical(5), MultiCategorical((2, 3))], ids=lambda d: d.name)
def test_dist_03_masked_gradients_and_fisher_products(dist, rng):
    """By differences; nothing flows into a logit that is masked in every sample."""
    policy = Policy(dist, 3, (4,), "tanh")
    theta, n = random_theta(policy, rng), 9
    mask = random_masks(dist, n, rng)
    mask[:, 0], mask[:, 1] = False, True
    obs = rng.standard_normal((n, 3))
    action = dist.sample(policy.infer(theta, obs, mask), rng)
    batch = made_up_batch(policy, theta, n, rng, obs=obs)
    batch = Batch(obs, action, batch.adv, batch.returns, batch.value, batch.weights, mask=mask)
    w = batch.weights.w
    phi, cache = policy.forward(theta, obs, mask)
    assert (np.isneginf(phi) == ~mask).all()

    def surrogate(th):
        return w @ (np.exp(dist.log_prob(policy.infer(th, obs, mask), action) - dist.log_prob(phi, action)) * batch.adv)

    g = policy_gradient(policy, theta, cache, phi, batch)
    assert relative_error(g, gradient(surrogate, theta)) <= 1e-6
    curvature = hessian(lambda th: w @ dist.kl(phi, policy.infer(th, obs, mask)), theta)
    product = fisher_vector_product(policy, theta, cache, phi, batch.weights, 0.0)
    for v in rng.standard_normal((10, policy.num_params)):
        assert relative_error(product(v), curvature @ v) <= 1e-5
    into_first = np.zeros(policy.num_params, bool)
    into_first[policy.mlp.num_params - dist.num_params] = True  # its bias
    assert not g[into_first].any() and np.isfinite(g).all()


@pytest.mark.parametrize("dist", [Categorical(5), MultiCategorical((2, 3))], ids=lambda d: d.name)
def test_dist_02_masked_distributions_are_those_of_the_allowed_actions(dist, rng):
    phi, mask = rng.standard_normal((20, 5)), random_masks(dist, 20, rng)
    other = np.where(mask, rng.standard_normal((20, 5)), -np.inf)
    covered = np.where(mask, phi, -np.inf)
    slices = [slice(0, 5)] if isinstance(dist, Categorical) else dist.slices
    for n in range(20):
        entropy = kl = 0.0
        for s in slices:
            p, q = (np.exp(x[n, s][mask[n, s]]) / np.exp(x[n, s][mask[n, s]]).sum() for x in (covered, other))
            entropy, kl = entropy - (p * np.log(p)).sum(), kl + (p * np.log(p / q)).sum()
        assert dist.entropy(covered[n : n + 1])[0] == pytest.approx(entropy, abs=1e-12)
        assert dist.kl(covered[n : n + 1], other[n : n + 1])[0] == pytest.approx(kl, abs=1e-12)


def test_masks_are_learned_with(rng):
    """The best of the allowed actions is the one of the highest number."""
    fast = {"lr": 0.02, "epochs": 4, "minibatch_size": 64, "gamma": 0.0, "num_steps": 64}
    trained, _ = run("ppo", vector(Narrow, *[{}] * 4), 40, mask_actions=True, **fast)
    mask = random_masks(Categorical(5), 500, rng)
    chosen = trained.policy.act_batch(rng.random((500, 4)), mask=mask)
    best = 4 - np.argmax(mask[:, ::-1], axis=1)
    assert np.mean(chosen == best) > 0.95


@pytest.mark.parametrize("algorithm", ["trpo", "ppo"])
def test_training_with_masks_on_taxi(algorithm):
    result = minirl.train(
        algorithm, TAXI, total_timesteps=800, num_envs=2, num_steps=200, hidden=(8,), mask_actions=True
    )
    assert len(result.history) == 2 and np.isfinite(result.policy.theta).all()
    assert result.history[0].metrics["losses/entropy"] < np.log(6) - 0.2  # of fewer than six actions


# --------------------------------------------------------------------------------------------------------------- acting


@actions
def test_acting_with_a_mask(actions, rng):
    agent = masked("ppo", {"actions": actions}).policy
    assert agent.masked
    dist = agent.policy.dist
    mask, obs = random_masks(dist, 200, rng), rng.random((200, 4))
    for generator in (None, rng):
        chosen = agent.act_batch(obs, generator, mask).reshape(200, -1)
        at = np.concatenate([[0], np.cumsum(dist.num_actions)[:-1]]) if chosen.shape[1] > 1 else np.zeros(1, int)
        assert np.take_along_axis(mask, chosen + at, axis=1).all()
    np.testing.assert_array_equal(agent.act(obs[0], mask=mask[0]), agent.act_batch(obs[:1], mask=mask[:1])[0])
    with pytest.raises(SpaceError, match="it allows no action"):
        agent.act(obs[0], mask=np.zeros(dist.num_params))
    with pytest.raises(SpaceError, match="action_mask of shape"):
        agent.act(obs[0], mask=np.ones(dist.num_params + 1))


def test_evaluation_passes_the_masks_on(tmp_path):
    register()
    agent = masked("ppo", {}).policy
    # raises where an action is ruled out
    played = evaluate(agent, "minirl-test/Narrow-v0", episodes=4, stochastic=True)
    assert (played.lengths >= 3).all()
    policy_file.save(tmp_path / "p", agent, "ppo", "minirl-test/Narrow-v0")
    assert minirl.load(tmp_path / "p").masked
    assert same_bits(vars(evaluate(minirl.load(tmp_path / "p"), "minirl-test/Narrow-v0", 4, True)), vars(played))
    blind = learner("ppo", vector(Narrow, {})).policy
    assert not blind.masked
    with pytest.raises(EnvError, match=r"episode \d+, step \d+: step\(\) raised AssertionError: .* with mask"):
        evaluate(blind, "minirl-test/Narrow-v0", episodes=10, stochastic=True)
