"""Early stopping of a PPO update by KL(old‖new)."""

import numpy as np

from minirl.models.actor_critic import Networks
from minirl.numerics.arrays import Array
from minirl.numerics.optimizers import AdamState, copy_adam
from minirl.numerics.sums_over_samples import SampleWeights
from minirl.samples.batch import Batch, Minibatch

HALVINGS = 30  # of a first step beyond the limit; after that the policy takes none of it


class KLStop:
    """Ends an update before KL(old‖new) exceeds 1.5 `target_kl`: a step beyond it is undone, a first one shortened.

    KL is exact. It is measured on the minibatch that follows a step; after the first and the last step, on all samples.
    Without `target_kl` nothing is measured and the update is never ended.
    """

    def __init__(self, nets: Networks, batch: Batch, target_kl: float | None):
        self.nets, self.batch = nets, batch
        self.limit = None if target_kl is None else 1.5 * target_kl
        self.steps = 0  # so far
        self.first_step = 1.0  # the fraction of the first step that the policy took
        self.exceeded = False  # whether the last step is to be undone
        self.before: tuple[Array, AdamState] | None = None  # θ and Adam's state before the last step

    def exceeded_on(self, part: Minibatch, phi: Array) -> bool:
        """Whether KL exceeds the limit on this minibatch, φ (N, P), after two steps or more."""
        if self.limit is not None and self.steps > 1:
            self.exceeded = self._exceeds(part.weights, part.phi_old, phi)
        return self.exceeded

    def remember(self, theta: Array, adam: AdamState) -> None:
        """Called before each step: copies θ and Adam's state, which `undone` may return."""
        self.steps += 1
        if self.limit is not None:
            self.before = theta.copy(), copy_adam(adam)

    def shorten_first(self, theta: Array) -> bool:
        """Called after each step: shortens the first one, in place, until KL is below the limit -> whether it did.

        To ½, ¼, … or 0 of the policy's step. The critic keeps its full step, and Adam its moments: both learn even if
        the policy's step is always shortened.
        """
        if self.before is None or self.steps > 1:
            return False
        (old, _), (new, critic) = self.nets.split(self.before[0]), self.nets.split(theta)
        if not self._exceeds_on_batch(new):
            return False
        shares = (float(share) for share in 0.5 ** np.arange(1.0, HALVINGS))
        tries = ((share, old + theta.dtype.type(share) * (new - old)) for share in shares)
        self.first_step, shorter = next((each for each in tries if not self._exceeds_on_batch(each[1])), (0.0, old))
        theta[:] = self.nets.join(shorter, critic)
        return True

    def undone(self, theta: Array, adam: AdamState) -> tuple[Array, AdamState]:
        """θ and Adam's state at the end: as they are, or before the last step where that exceeded the limit."""
        if self.before is None:
            return theta, adam
        if not self.exceeded and self.steps > 1:
            theta_pi, _ = self.nets.split(theta)
            self.exceeded = self._exceeds_on_batch(theta_pi)
        return self.before if self.exceeded else (theta, adam)

    def _exceeds_on_batch(self, theta_pi: Array) -> bool:
        with np.errstate(over="ignore", invalid="ignore"):
            phi = self.nets.policy.infer(theta_pi, self.batch.obs, self.batch.mask)
        return self._exceeds(self.batch.weights, self.batch.phi_old, phi)

    def _exceeds(self, weights: SampleWeights, phi_old: Array, phi: Array) -> bool:
        """Whether the mean KL exceeds the limit; NaN counts as exceeding it."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self.limit is not None and not weights.mean(self.nets.policy.dist.kl(phi_old, phi)) <= self.limit
