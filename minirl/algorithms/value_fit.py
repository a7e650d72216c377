"""Fitting the value function: regression on the returns, and the scale of a scaled critic."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from minirl.algorithms.diagnostics import explained_variance
from minirl.algorithms.losses import value_loss
from minirl.config import AtLeastOne, Config, Positive
from minirl.errors import NonFiniteError
from minirl.models.critic import Critic
from minirl.numerics.arrays import Array
from minirl.numerics.optimizers import AdamState, adam_step, copy_adam
from minirl.samples.batch import Batch, minibatches

RATE = 0.2  # weight of the newest batch in the moments that a scaled critic keeps
LEAST, TINY = 1e-9, 1e-12  # lower limits of σ, relative to μ and absolute: less is the rounding of equal returns


@dataclass(frozen=True, kw_only=True)
class ValueFitConfig(Config):
    """Fields of the algorithms that fit the critic separately, after the policy."""

    critic_lr: Annotated[float, Positive] = 1e-3  # Adam step size of the value function, > 0
    critic_epochs: Annotated[int, AtLeastOne] = 10  # passes over the batch to fit the value function, >= 1
    minibatch_size: Annotated[int, AtLeastOne] = 64  # largest minibatch of these passes, >= 1


def track_returns(critic: Critic, theta_v: Array, batch: Batch) -> Array:
    """With `scaled`: move μ and σ towards the moments of the batch's returns, V unchanged -> θ_V (n,).

    The first batch whose returns are not all zero sets them, and V changes with them: it has learned nothing yet.
    """
    if not critic.scaled:
        return theta_v
    n, (centre, m2) = batch.weights.n, batch.weights.moments(batch.returns[:, None])
    mean, var = float(centre[0]), float(m2[0]) / max(n, 1.0)
    old_mean, old_std = float(theta_v[-2]), float(theta_v[-1])
    first = (old_mean, old_std) == (0.0, 1.0)
    if n == 0 or (first and mean == var == 0):
        return theta_v
    if not first:  # moments of the mixture of old and new, around its own mean: an offset costs no digits
        shift = mean - old_mean
        mean, var = old_mean + RATE * shift, (1 - RATE) * old_std**2 + RATE * var + RATE * (1 - RATE) * shift**2
    std = max(float(np.sqrt(var)), LEAST * abs(mean), TINY)
    return (critic.first_scale if first else critic.rescale)(theta_v, mean, std)


def fit_critic(
    critic: Critic, theta_v: Array, adam: AdamState, batch: Batch, cfg: ValueFitConfig, rng: np.random.Generator
) -> tuple[Array, AdamState, dict[str, float]]:
    """Regress V on the returns: `critic_epochs` passes of minibatches with Adam -> θ_V (n,), Adam's state, metrics.

    The last step of GUIDE's algorithm [TR-14]; every sample is used once per pass. The arguments are not changed.
    """
    theta_v, adam, loss = theta_v.copy(), copy_adam(adam), 0.0
    for _ in range(cfg.critic_epochs):
        for part in minibatches(batch, cfg.minibatch_size, rng):
            value, cache = critic.forward(theta_v, part.obs)
            loss, dvalue = value_loss(critic.in_units(theta_v, part.weights), value, part.returns)
            gradient = part.weights.total(critic.vjp(theta_v, cache, dvalue))
            adam_step(theta_v, gradient, adam, cfg.critic_lr)
    # with an infinite second moment Adam would never move again
    if not all(np.isfinite(x).all() for x in (loss, theta_v, adam["v"])):
        raise NonFiniteError("the value loss", "check the scale of the rewards, or set normalize_reward")
    variance = explained_variance(batch.value, batch.returns, batch.weights)
    return theta_v, adam, {"losses/value_loss": loss, "losses/explained_variance": variance}
