"""The value function V(s): an MLP, of its own unless PPO shares the trunk, fitted to the returns by least squares."""

from typing import Any

import numpy as np

from minirl import _core
from minirl.errors import NonFiniteError
from minirl.losses import value_loss
from minirl.mlp import MLP
from minirl.optim import adam_step, copy_adam
from minirl.reduce import SERIAL, explained_variance, moments
from minirl.rollout import Batch, minibatches

RATE = 0.2  # share of the newest batch in the moments that a scaled critic keeps
LEAST, TINY = 1e-9, 1e-12  # σ is at least so much of μ, and so much: less is the rounding of equal returns


class Critic:
    """V_θ(s): obs (N, D) -> (N,); θ (n,) is the MLP's, and with `scaled` V = μ + σ y with μ, σ as the last two entries of θ.

    No gradient moves μ and σ: `rescale` does, and keeps V as it is (PopArt, van Hasselt et al., 2016).
    """

    def __init__(self, obs_dim: int, hidden: tuple[int, ...], activation: str, scaled: bool = False):
        self.mlp = MLP((obs_dim, *hidden, 1), activation)
        self.scaled = scaled
        self.num_params = self.mlp.num_params + 2 * scaled

    def init(self, rng: np.random.Generator, dtype: Any = np.float32) -> np.ndarray:
        """Orthogonal weights, gain 1 in the last layer; μ = 0, σ = 1."""
        theta = self.mlp.init(rng, 1.0, dtype)
        return np.concatenate([theta, np.array([0, 1], dtype)]) if self.scaled else theta

    def unit(self, theta: np.ndarray) -> float:
        """σ, in which errors of V are measured; 1 when not scaled."""
        return float(theta[-1]) if self.scaled else 1.0

    def in_units(self, theta: np.ndarray, w: np.ndarray) -> np.ndarray:
        """The weights of squared errors of V (N,), the errors taken in units of σ."""
        return w / self.unit(theta) ** 2 if self.scaled else w

    def split(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """θ of the MLP, and [μ, σ] where it is scaled."""
        return theta[: self.mlp.num_params], theta[self.mlp.num_params :]

    def scale(self, theta: np.ndarray, y: np.ndarray) -> np.ndarray:
        """V (N,) from the MLP's output y (N,): in float64 where it is scaled, for beside μ float32 might not see σ."""
        return float(theta[-2]) + float(theta[-1]) * y.astype(np.float64) if self.scaled else y

    def forward(self, theta: np.ndarray, obs: np.ndarray) -> tuple[np.ndarray, Any]:
        """V (N,) and the cache that vjp takes."""
        y, cache = self.mlp.forward(self.split(theta)[0], obs)
        return self.scale(theta, y[:, 0]), cache

    def value(self, theta: np.ndarray, obs: np.ndarray) -> np.ndarray:
        """V (N,) in float64, as the returns are."""
        return self.scale(theta, self.mlp.infer(self.split(theta)[0], obs)[:, 0].astype(np.float64))

    def vjp(self, theta: np.ndarray, cache: Any, dvalue: np.ndarray) -> np.ndarray:
        """Jᵀ dV: (N,) -> (n,)."""
        if not self.scaled:
            return self.mlp.vjp(theta, cache, dvalue[:, None])
        dtheta = self.mlp.vjp(theta[:-2], cache, (self.unit(theta) * dvalue).astype(theta.dtype)[:, None])
        return np.concatenate([dtheta, np.zeros(2, theta.dtype)])

    def rescale(self, theta: np.ndarray, mean: float, std: float) -> np.ndarray:
        """θ with μ, σ = mean, std and the last layer changed so that V(s) is what it was for every s."""
        old_mean, old_std = float(theta[-2]), float(theta[-1])
        theta = theta.copy()
        theta[-2:] = mean, std
        mean, std = float(theta[-2]), float(theta[-1])  # as θ's type holds them
        weight, bias = _core.mlp_layers(self.split(theta)[0], self.mlp.sizes)[-1]
        weight *= old_std / std
        bias[...] = (old_mean - mean + old_std * bias) / std
        return theta

    def first_scale(self, theta: np.ndarray, mean: float, std: float) -> np.ndarray:
        """θ with μ, σ = mean, std and y(s) as it was: a V that has learned nothing yet goes where the returns are."""
        theta = theta.copy()
        theta[-2:] = mean, std
        bias = _core.mlp_layers(self.split(theta)[0], self.mlp.sizes)[-1][1]
        bias += (mean - float(theta[-2])) / float(theta[-1])  # what θ's type cannot hold of the mean
        return theta


def track_returns(critic: Critic, theta: np.ndarray, batch: Batch, comm=SERIAL) -> np.ndarray:
    """With `scaled`: move μ and σ towards the moments of the batch's returns, V unchanged. -> θ (n,).

    The first batch that is not all zeros sets them, and V moves with them: an offset of the returns is learned at once.
    """
    if not critic.scaled:
        return theta
    n, centre, m2 = moments(batch.weight, batch.returns[:, None], comm)
    mean, var = float(centre[0]), float(m2[0]) / max(n, 1.0)
    old_mean, old_std = float(theta[-2]), float(theta[-1])
    first = (old_mean, old_std) == (0.0, 1.0)
    if n == 0 or (first and mean == var == 0):
        return theta
    if not first:  # of the mixture of old and new, about its own mean: an offset costs no digits
        shift = mean - old_mean
        mean, var = old_mean + RATE * shift, (1 - RATE) * old_std**2 + RATE * var + RATE * (1 - RATE) * shift**2
    std = max(float(np.sqrt(var)), LEAST * abs(mean), TINY)
    return (critic.first_scale if first else critic.rescale)(theta, mean, std)


def fit_critic(critic: Critic, theta, adam, batch: Batch, cfg, rng, comm=SERIAL):
    """Regress V on the returns: `critic_epochs` passes of minibatches with Adam. -> θ (n,), Adam's state, info; the inputs stay.

    The last step of GUIDE's algorithm; every sample is used once per pass, however few there are.                  [TR-14]
    """
    theta, adam = theta.copy(), copy_adam(adam)
    loss = 0.0
    for _ in range(cfg.critic_epochs):
        for part in minibatches(batch, cfg.minibatch_size, rng, comm):
            value, cache = critic.forward(theta, part.obs)
            loss, dvalue = value_loss(critic.in_units(theta, part.w), value, part.returns, comm)
            adam_step(theta, comm.sum(critic.vjp(theta, cache, dvalue)), adam, cfg.critic_lr)
    if not all(np.isfinite(x).all() for x in (loss, theta, adam["v"])):  # a second moment of infinity would stop it for ever
        raise NonFiniteError("the value loss", "check the scale of the rewards, or set normalize_reward")
    variance = explained_variance(batch.value, batch.returns, batch.weight, comm)
    return theta, adam, {"losses/value_loss": loss, "losses/explained_variance": variance}
