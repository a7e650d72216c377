"""The value function V(s): an MLP of its own, fitted to the returns by least squares."""

from typing import Any

import numpy as np

from minirl.errors import NonFiniteError
from minirl.losses import value_loss
from minirl.mlp import MLP
from minirl.optim import adam_step, copy_adam
from minirl.reduce import SERIAL, explained_variance, share
from minirl.rollout import Batch, minibatches


class Critic:
    """V_θ(s): obs (N, D) -> (N,); θ (n,) is the MLP's."""

    def __init__(self, obs_dim: int, hidden: tuple[int, ...], activation: str):
        self.mlp = MLP((obs_dim, *hidden, 1), activation)
        self.num_params = self.mlp.num_params

    def init(self, rng: np.random.Generator, dtype: Any = np.float32) -> np.ndarray:
        """Orthogonal weights, gain 1 in the last layer."""
        return self.mlp.init(rng, 1.0, dtype)

    def forward(self, theta: np.ndarray, obs: np.ndarray) -> tuple[np.ndarray, Any]:
        """V (N,) and the cache that vjp takes."""
        y, cache = self.mlp.forward(theta, obs)
        return y[:, 0], cache

    def value(self, theta: np.ndarray, obs: np.ndarray) -> np.ndarray:
        """V (N,) in float64, as the returns are."""
        return self.mlp.infer(theta, obs)[:, 0].astype(np.float64)

    def vjp(self, theta: np.ndarray, cache: Any, dvalue: np.ndarray) -> np.ndarray:
        """Jᵀ dV: (N,) -> (n,)."""
        return self.mlp.vjp(theta, cache, dvalue[:, None])


def fit_critic(critic: Critic, theta, adam, batch: Batch, cfg, rng, comm=SERIAL):
    """Regress V on the returns: `critic_epochs` passes of minibatches with Adam. -> θ (n,), Adam's state, info; the inputs stay.

    The last step of GUIDE's algorithm; every sample is used once per pass, however few there are.                  [TR-14]
    """
    theta, adam = theta.copy(), copy_adam(adam)
    before = critic.value(theta, batch.obs)
    loss = 0.0
    for _ in range(cfg.critic_epochs):
        for rows in minibatches(len(batch), cfg.minibatch_size, rng):
            w = share(batch.weight[rows], comm)
            value, cache = critic.forward(theta, batch.obs[rows])
            loss, dvalue = value_loss(w, value, batch.returns[rows], comm)
            adam_step(theta, comm.sum(critic.vjp(theta, cache, dvalue)), adam, cfg.critic_lr)
    if not all(np.isfinite(x).all() for x in (loss, theta, adam["v"])):  # a second moment of infinity would stop it for ever
        raise NonFiniteError("the value loss", "check the scale of the rewards, or set normalize_reward")
    variance = explained_variance(before, batch.returns, batch.weight, comm)
    return theta, adam, {"losses/value_loss": loss, "losses/explained_variance": variance}
