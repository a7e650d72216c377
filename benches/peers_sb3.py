"""The peers' side of peers.py:
Stable-Baselines3, sb3-contrib and plain torch on the same workloads, with the threads they are given.
"""

import copy
import os
import sys
import time
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import torch
import workloads
from sb3_contrib import TRPO
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from worker import serve, timed

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))

PLAIN = {"device": "cpu", "seed": 0, "verbose": 0}
PPO_W2 = {"n_steps": 2048, "batch_size": 64, "n_epochs": 10} | PLAIN
TRPO_W3 = {"n_steps": 2048, "cg_max_steps": 15, "cg_damping": 0.1, "n_critic_updates": 10, "batch_size": 128} | PLAIN

# ----------------------------------------------------------------------------------------------------------- the update


class Nothing(BaseCallback):
    """What collect_rollouts wants to be given."""

    def _on_step(self) -> bool:
        return True


@cache
def filled(algorithm: str, env: str) -> Any:
    """A model with one full rollout buffer, and its parameters as they were."""
    model = PPO("MlpPolicy", env, **PPO_W2) if algorithm == "ppo" else TRPO("MlpPolicy", env, **TRPO_W3)
    _, callback = model._setup_learn(2048, Nothing())
    model.collect_rollouts(model.env, callback, model.rollout_buffer, n_rollout_steps=2048)
    return model, copy.deepcopy(model.get_parameters())


def update(quick: bool, algorithm: str, env: str) -> dict[str, Any]:
    """model.train() alone, each time from the same parameters."""
    model, start = filled(algorithm, env)
    return timed(model.train, quick, before=lambda: model.set_parameters(copy.deepcopy(start), device="cpu"))


def w7(quick: bool) -> dict[str, Any]:
    """sb3-contrib's product: the gradient of mean KL once with its graph, then one backward pass per vector.

    Equal to ours first.
    """
    product, policy, theta, obs = workloads.fisher_product()
    net, log_std, x = as_torch(policy, theta), torch.zeros(3, requires_grad=True), torch.from_numpy(obs)
    params = [*net.parameters(), log_std]
    new = torch.distributions.Normal(net(x), log_std.exp())
    old = torch.distributions.Normal(new.loc.detach(), new.scale.detach())
    kl = torch.distributions.kl_divergence(new, old).sum(dim=1).mean()
    grad = torch.cat([g.reshape(-1) for g in torch.autograd.grad(kl, params, create_graph=True)])

    def double_backward(v: torch.Tensor) -> torch.Tensor:
        parts = torch.autograd.grad((grad * v).sum(), params, retain_graph=True)
        return torch.cat([p.reshape(-1) for p in parts]) + 0.1 * v

    v = np.random.default_rng(1).standard_normal(policy.num_params)
    ours, theirs = product(v), double_backward(torch.from_numpy(to_torch(policy, v).astype(np.float32))).numpy()
    np.testing.assert_allclose(theirs, to_torch(policy, ours), rtol=1e-3, atol=1e-4 * np.abs(ours).max())
    direction = torch.from_numpy(theirs)
    return timed(lambda: double_backward(direction), quick)


def as_torch(policy: Any, theta: np.ndarray) -> torch.nn.Sequential:
    """The same network, the same weights."""
    sizes, layers = policy.mlp.sizes, []
    for n_in, n_out in pairwise(sizes):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.Tanh()]
    net = torch.nn.Sequential(*layers[:-1])
    flat = torch.from_numpy(to_torch(policy, theta)[: policy.mlp.num_params].copy())
    torch.nn.utils.vector_to_parameters(flat, net.parameters())
    return net


def to_torch(policy: Any, v: np.ndarray) -> np.ndarray:
    """θ-shaped v (n,) in torch's order: its weights are (out, in)."""
    from minirl._core import mlp_layers

    inner, free = policy.split(v)
    parts = [part.ravel() for weight, bias in mlp_layers(inner, policy.mlp.sizes) for part in (weight.T, bias)]
    return np.concatenate([*parts, free])


# ----------------------------------------------------------------------------------------------------------- end to end


@cache
def w1_model(num_envs: int) -> PPO:
    """W1, 4 minibatches whatever the number of environments."""
    envs = make_vec_env("CartPole-v1", num_envs, seed=0)
    fields = {
        "n_steps": 128,
        "batch_size": 32 * num_envs,
        "n_epochs": 4,
        "ent_coef": 0.01,
        "vf_coef": 0.5,
        "max_grad_norm": 0.5,
    } | PLAIN
    return PPO("MlpPolicy", envs, learning_rate=lambda left: 2.5e-4 * left, **fields)


def w1(quick: bool, num_envs: int = 4) -> dict[str, Any]:
    """Its rate is steady: 60 k of the 500 k steps."""
    return end_to_end(w1_model(num_envs), 1 if quick else -(-60_000 // (128 * num_envs)))


@cache
def cheetah(algorithm: str) -> Any:
    """W4."""
    envs = make_vec_env("HalfCheetah-v5", 1, seed=0)
    return PPO("MlpPolicy", envs, **PPO_W2) if algorithm == "ppo" else TRPO("MlpPolicy", envs, **TRPO_W3)


def w4(quick: bool, algorithm: str) -> dict[str, Any]:
    return end_to_end(cheetah(algorithm), 1 if quick else 4)


def end_to_end(model: Any, updates: int) -> dict[str, Any]:
    """Transitions per second over whole updates, after one that is not counted."""
    if model.num_timesteps == 0:
        model.learn(1)
    steps = updates * model.n_steps * model.n_envs
    start = time.perf_counter()
    model.learn(steps)
    return {"value": steps / (time.perf_counter() - start), "steps": steps}


# --------------------------------------------------------------------------------------------------------------- acting


@cache
def actor() -> PPO:
    return PPO("MlpPolicy", "CartPole-v1", **PLAIN)


def w5(quick: bool, sample: bool) -> dict[str, Any]:
    """model.predict of one observation."""
    model, n = actor(), 10 if quick else 500

    def many() -> None:
        for _ in range(n):
            model.predict(workloads.OBS, deterministic=not sample)

    return timed(many, quick, per=n)


if __name__ == "__main__":
    serve({"W1": w1, "update": update, "W4": w4, "W5": w5, "W7": w7})
