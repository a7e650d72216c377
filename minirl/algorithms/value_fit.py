"""Fitting the value function: regression on the returns, and the units of a scaled critic."""

import numpy as np

from minirl.algorithms.losses import value_loss
from minirl.errors import NonFiniteError
from minirl.models.critic import Critic
from minirl.numerics.communicator import SERIAL
from minirl.numerics.optimizers import adam_step, copy_adam
from minirl.numerics.running_moments import moments
from minirl.numerics.sample_weights import explained_variance
from minirl.samples.batch import Batch, minibatches

RATE = 0.2  # share of the newest batch in the moments that a scaled critic keeps
LEAST, TINY = 1e-9, 1e-12  # σ is at least so much of μ, and so much: less is the rounding of equal returns


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
