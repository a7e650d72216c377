"""What is measured of minirl, W1 to W7: one place for what speed.py, peers.py and scaling.py all time."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minirl import algorithms
from minirl.algorithms.npg import fisher_vector_product
from minirl.deploy.agent import Agent
from minirl.envs.make import make_envs
from minirl.models.actor_critic import Networks
from minirl.models.critic import Critic
from minirl.models.distributions import Categorical, DiagGaussian
from minirl.models.policy import Policy
from minirl.numerics.sums_over_samples import SampleWeights
from minirl.samples.batch import Batch
from minirl.training.learner import Learner, keep_freed_memory

W1 = {
    "total_timesteps": 500_000, "num_envs": 4, "num_steps": 128, "epochs": 4, "minibatch_size": 128, "lr": 2.5e-4,
    "ent_coef": 0.01, "vf_coef": 0.5, "max_grad_norm": 0.5,
}  # fmt: skip
W2 = {"epochs": 10, "minibatch_size": 64}
W3 = {"cg_iters": 15, "damping": 0.1, "critic_epochs": 10, "minibatch_size": 128}
SAMPLES = 2048  # of W2, W3, W4 and W7
OBS = np.array([0.01, -0.02, 0.03, 0.04], dtype=np.float32)  # of CartPole, W5


def made_up(dist: Any, obs_dim: int, n: int, algorithm: str, config: Any) -> tuple[Networks, dict, Batch]:
    """Networks, first state and a batch of n samples drawn from the policy itself."""
    rng = np.random.default_rng(0)
    nets = Networks(Policy(dist, obs_dim, config.hidden, "tanh"), Critic(obs_dim, config.hidden, "tanh"))
    state = algorithms.find(algorithm).init(nets, config, rng)
    obs = rng.standard_normal((n, obs_dim)).astype(np.float32)
    action = dist.sample(nets.policy.infer(state["theta_pi"], obs), rng)
    adv, returns = rng.standard_normal(n), rng.standard_normal(n)
    return nets, state, Batch(obs, action, adv, returns, np.zeros(n), SampleWeights(np.ones(n)))


def update_of(algorithm: str, dist: Any, obs_dim: int, n: int = SAMPLES, **fields: Any) -> Callable[[], Any]:
    """One update on n made-up samples, each time from the same state."""
    keep_freed_memory()  # as a Learner does
    kind = algorithms.find(algorithm)
    config = kind.config(**fields)
    nets, state, batch = made_up(dist, obs_dim, n, algorithm, config)
    rng = np.random.default_rng(1)
    return lambda: kind.update(nets, state, batch, config, rng)


def ppo_update() -> Callable[[], Any]:
    """W2: 2048 samples, 10 epochs of minibatches of 64, CartPole's shapes."""
    return update_of("ppo", Categorical(2), 4, **W2)


def trpo_update() -> Callable[[], Any]:
    """W3: 2048 samples, CG 15, damping 0.1, 10 critic epochs of minibatch 128, HalfCheetah's shapes."""
    return update_of("trpo", DiagGaussian(6), 17, **W3)


def fisher_product() -> tuple[Callable[[np.ndarray], np.ndarray], Policy, np.ndarray, np.ndarray]:
    """W7: v -> (F + 0.1 I) v for 2048 samples through 11-64-64-3,
    the policy, its θ (n,) and the observations (N, D).
    """
    nets, state, batch = made_up(DiagGaussian(3), 11, SAMPLES, "trpo", algorithms.find("trpo").config())
    theta = state["theta_pi"]
    phi, cache = nets.policy.forward(theta, batch.obs)
    return fisher_vector_product(nets.policy, theta, cache, phi, batch.weights, 0.1), nets.policy, theta, batch.obs


def w1(seed: int = 0) -> Learner:
    """W1: PPO on CartPole-v1, 4 × 128 steps, 4 epochs of 4 minibatches; gymnasium's own environments."""
    return Learner(
        algorithms.find("ppo"), make_envs("CartPole-v1", 4), algorithms.find("ppo").config(**W1).replace(seed=seed)
    )


def acting() -> Agent:
    """W5: a policy for raw CartPole observations, statistics and all."""
    learner = Learner(
        algorithms.find("ppo"), make_envs("CartPole-v1", 4), algorithms.find("ppo").config(total_timesteps=1024)
    )
    list(learner)
    return learner.policy
