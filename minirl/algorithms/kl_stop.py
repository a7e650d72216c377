"""What ends an update of PPO before KL(old‖new) runs away."""

import numpy as np

from minirl.models.actor_critic import Networks
from minirl.numerics.arrays import Array
from minirl.numerics.optimizers import AdamState, copy_adam
from minirl.numerics.sample_weights import SampleWeights
from minirl.samples.batch import Batch, Minibatch

HALVINGS = 30  # of a first step that goes too far, before none of it is taken


class KLStop:
    """Ends an update before KL(old‖new) exceeds 1.5 `target_kl`: the step that goes beyond is undone, a first one shortened.

    KL is exact. It is measured on the minibatch that follows a step, after the first and the last step on the whole batch.
    Without `target_kl` nothing is measured and nothing ends.
    """

    def __init__(self, nets: Networks, batch: Batch, target_kl: float | None):
        self.nets, self.batch = nets, batch
        self.limit = None if target_kl is None else 1.5 * target_kl
        self.steps = 0  # so far
        self.first_step = 1.0  # the share of the first step in the policy that was taken
        self.exceeded = False  # whether the last step is to be undone
        self.before: tuple[Array, AdamState] | None = None  # θ and Adam's state that the last step began from

    def passed(self, part: Minibatch, phi: Array) -> bool:
        """Whether the steps so far, but not a lone first one, went beyond the limit on this minibatch, φ (N, P)."""
        if self.limit is not None and self.steps > 1:
            self.exceeded = self._beyond(part.weights, part.phi_old, phi)
        return self.exceeded

    def remember(self, theta: Array, adam: AdamState) -> None:
        """Called before each step: copies what may have to be gone back to."""
        self.steps += 1
        if self.limit is not None:
            self.before = theta.copy(), copy_adam(adam)

    def shorten_first(self, theta: Array) -> bool:
        """Called after each step: takes as much of the first one as the limit lets it, in place; whether that was not all of it.

        All, ½, ¼, … or none, of the policy's step. The critic keeps all of its own, and Adam what it has seen: both learn,
        however often the policy is held back.
        """
        if self.before is None or self.steps > 1:
            return False
        (old, _), (new, critic) = self.nets.split(self.before[0]), self.nets.split(theta)
        if not self._whole_batch_beyond(new):
            return False
        shares = (float(share) for share in 0.5 ** np.arange(1.0, HALVINGS))
        tries = ((share, old + theta.dtype.type(share) * (new - old)) for share in shares)
        self.first_step, shorter = next((each for each in tries if not self._whole_batch_beyond(each[1])), (0.0, old))
        theta[:] = self.nets.join(shorter, critic)
        return True

    def undone(self, theta: Array, adam: AdamState) -> tuple[Array, AdamState]:
        """θ and Adam's state at the end: as they are, or before the last step where that went beyond the limit."""
        if self.before is None:
            return theta, adam
        if not self.exceeded and self.steps > 1:
            self.exceeded = self._whole_batch_beyond(self.nets.split(theta)[0])
        return self.before if self.exceeded else (theta, adam)

    def _whole_batch_beyond(self, theta_pi: Array) -> bool:
        with np.errstate(over="ignore", invalid="ignore"):
            phi = self.nets.policy.infer(theta_pi, self.batch.obs, self.batch.mask)
        return self._beyond(self.batch.weights, self.batch.phi_old, phi)

    def _beyond(self, weights: SampleWeights, phi_old: Array, phi: Array) -> bool:
        """Whether the mean KL is beyond the limit; NaN is."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self.limit is not None and not weights.mean(self.nets.policy.dist.kl(phi_old, phi)) <= self.limit
