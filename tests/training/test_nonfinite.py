"""NaN and infinity: stopped by name before they can reach a parameter."""

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from oracles import made_up_batch, random_theta, same_bits
from toy_envs import ALGORITHMS, MODES, Counting, Drift, learner, vector

from minirl.algorithms.reinforce import ReinforceConfig, reinforce_step
from minirl.errors import NonFiniteError
from minirl.models.critic import Critic
from minirl.models.distributions import Categorical
from minirl.models.policy import Policy
from minirl.numerics.optimizers import adam_init

BAD = [np.nan, np.inf, -np.inf]
LEARNED = ("algorithm", "normalizer", "scaler", "counters")


def stops(made, finite_updates, **where):
    """The learner does some updates, then raises NonFiniteError with these attributes,
    and all it learned is as before that update.
    """
    for _ in range(finite_updates):
        made.step()
    before = made.snapshot()
    with pytest.raises(NonFiniteError) as caught:
        made.step()
    error = {name: getattr(caught.value, name) for name in where}
    assert error == where
    after = made.snapshot()
    assert all(same_bits(before[part], after[part]) for part in LEARNED)
    assert np.isfinite(made.policy.theta).all() and np.isfinite(made.state["theta_v"]).all()
    return str(caught.value)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("value", BAD)
def test_nan_01_a_reward(algorithm, value):
    envs = vector(Counting, {"lengths": ()}, {"lengths": ()}, {"lengths": (), "fault": ("reward", 100, value)})
    message = stops(learner(algorithm, envs, num_steps=30, normalize_reward=True), 3, what="reward", env=2, step=100)
    assert message == f"reward is not finite, env=2, step=100: the environment returned {value}; fix the environment"


@pytest.mark.parametrize("mode", MODES)
def test_nan_01_the_first_of_several_in_every_mode(mode):
    """Episodes end in the same steps, so that a step of the vector is one of each environment, or the reset of all."""
    faults = [{"fault": ("reward", step, np.nan)} for step in (7, 5, 6)]
    step = 6 if mode is AutoresetMode.NEXT_STEP else 5
    stops(learner("ppo", vector(Counting, *faults, mode=mode)), 0, what="reward", env=1, step=step)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("lengths", [(3, 3), (2, 5), (1, 1)], ids=str)
@pytest.mark.parametrize("what", ["reward", "obs"])
def test_nan_01_the_step_is_that_of_the_vector_and_its_reset_steps_count(mode, lengths, what):
    class Counted(SyncVectorEnv):
        calls, first = 0, 0

        def step(self, actions):
            result = super().step(actions)
            self.calls += 1
            if not np.isfinite(result[1]).all():
                self.first = self.first or self.calls
            return result

    kwargs = ({"lengths": lengths[:1]}, {"lengths": lengths[1:], "fault": (what, 30, np.nan)})
    envs = Counted([lambda k=k: Counting(**k) for k in kwargs], autoreset_mode=mode)
    made = learner("ppo", envs, num_steps=11)
    with pytest.raises(NonFiniteError) as caught:
        list(made)
    step = envs.first if what == "reward" else envs.calls  # observations are looked at in each step
    assert caught.value.step == step >= 30 and caught.value.env == 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("value", BAD)
def test_nan_02_an_observation_never_reaches_the_policy(mode, value, monkeypatch):
    seen, actor = [], Policy.actor

    def watched(self, theta, preprocess):
        act = actor(self, theta, preprocess)
        return lambda obs, noise, mask: seen.append(np.isfinite(obs).all()) or act(obs, noise, mask)

    monkeypatch.setattr(Policy, "actor", watched)
    envs = vector(
        Counting, {"lengths": (), "dim": 3}, {"lengths": (), "dim": 3, "fault": ("obs", 17, value)}, mode=mode
    )
    message = stops(learner("trpo", envs), 2, what="obs", env=1, step=17)
    assert f"entry 2 is {value}" in message and all(seen) and len(seen) > 16
    assert envs.envs[0].steps == 17  # stopped there and then


def test_nan_02_in_the_first_reset():
    with pytest.raises(NonFiniteError, match="obs is not finite, env=1, step=0"):
        learner("ppo", vector(Counting, {}, {"fault": ("obs", 0, np.nan)}))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("end", ["truncated", "terminated"])
def test_nan_03_a_final_observation_alone(mode, end):
    """The 8th step of environment 1 ends its second episode; what the reset returns is in order."""
    envs = vector(
        Counting,
        {"lengths": (5,)},
        {"lengths": (4,), "ends": (end,), "fault": ("obs", 8, np.nan)},
        {"lengths": ()},
        mode=mode,
    )
    made = learner("ppo", envs, num_steps=20)
    stops(made, 0, what="obs", env=1)
    assert envs.envs[1].steps == 8


def poisoned(method):
    """A vjp whose result has one NaN."""

    def vjp(*args):
        gradient = method(*args)
        gradient[len(gradient) // 2] = np.nan
        return gradient

    return vjp


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_nan_04_in_the_gradient_of_the_critic(algorithm, monkeypatch):
    made = learner(algorithm, vector(Drift, {}, {}))
    made.step()
    monkeypatch.setattr(Critic, "vjp", poisoned(Critic.vjp))
    stops(made, 0)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("actions", [3, spaces.Box(-1, 1, (2,))], ids=["discrete", "box"])
def test_nan_04_in_the_gradient_of_the_policy(algorithm, actions, monkeypatch):
    """First-order methods stop; the natural step is refused, with the reason in the metrics,
    and the policy stays bit for bit.
    """
    made = learner(algorithm, vector(Drift, *[{"actions": actions}] * 2))
    made.step()
    monkeypatch.setattr(Policy, "vjp", poisoned(Policy.vjp))
    if algorithm in ("npg", "trpo"):
        before = made.state["theta_pi"].copy()
        metrics = made.step().metrics
        assert metrics["step/status"] == "non_finite" and metrics["step/accepted"] == 0
        assert same_bits(made.state["theta_pi"], before) and np.isfinite(made.state["theta_v"]).all()
    else:
        stops(made, 0)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_nan_04_a_second_moment_that_overflows(rng):
    """g² = ∞ in float32 with g finite: Adam's step would be 0 for ever, without a word."""
    policy = Policy(Categorical(3), 4, (5,), "tanh")
    theta = random_theta(policy, rng, np.float32)
    batch = made_up_batch(policy, theta, 9, rng, adv=np.full(9, 1e25))
    with pytest.raises(NonFiniteError, match="moment"):
        reinforce_step(policy, theta, adam_init(len(theta), np.float32), batch, ReinforceConfig())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's own words on the way to ours
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_nan_04_in_the_values(algorithm):
    """A critic that overflows: its values, the advantages and the loss are not finite."""
    made = learner(algorithm, vector(Drift, {}, {}), dtype="float32")
    made.step()
    made.state["theta_v"][:] = 3e38
    stops(made, 0)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mean", [0.0, np.inf])
def test_nan_05_an_infinite_action_does_not_reach_the_environment(algorithm, dtype, mean):
    """log σ = 10³, or a mean that overflowed."""
    envs = vector(Drift, *[{"actions": spaces.Box(-1, 1, (2,))}] * 2)
    made = learner(algorithm, envs, dtype=dtype)
    made.step()
    made.state["theta_pi"][-2:] = 1e3
    made.state["theta_pi"][-4:-2] = mean
    taken = [len(env.received) for env in envs.envs]
    with pytest.raises(NonFiniteError, match="action is not finite, env=0, step=8: the policy's"):
        made.step()
    assert [len(env.received) for env in envs.envs] == taken


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_nan_01_a_reward_too_large_to_be_squared(algorithm):
    """Finite, and its square is not: the statistics of rewards would be."""
    envs = vector(Counting, {"lengths": ()}, {"lengths": (), "fault": ("reward", 71, 1e300)})
    made = learner(algorithm, envs, num_steps=30, normalize_reward=True)
    message = stops(made, 2, what="the running variance of reward", env=1, step=71)
    assert "a reward is 1e+300, too large to be squared; scale the rewards" in message
