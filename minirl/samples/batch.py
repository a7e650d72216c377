"""The flat batch of N samples that an update uses, and its minibatches."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from minirl.config import Config
from minirl.numerics.arrays import Array
from minirl.numerics.sums_over_samples import SampleWeights
from minirl.samples.advantages import Function, advantages, evaluate_states, standardize_adv
from minirl.samples.rollout import Rollout


@dataclass(frozen=True)
class Batch:
    """N samples: all that an update uses of the environments."""

    obs: Array  # (N, D) as the networks see it
    action: Array  # (N,) or (N, d)
    adv: Array  # (N,) float64
    returns: Array  # (N,) float64, targets of the critic
    value: Array  # (N,) float64, V(s) of the critic that made the advantages
    weights: SampleWeights  # of the samples, among those of all ranks: they take every mean
    estimate: Callable[[Function], "Batch"] | None = None  # critic (obs -> V) -> the same samples, with its advantages
    trajectories: int = 1  # |S|, episodes or parts of one that the samples belong to
    mask: Array | None = None  # (N, K) bool: the actions that were allowed; None where all always are
    fisher: Array | None = None  # (M,) rows that the Fisher matrix is estimated from; None: drawn where needed
    # of π_old, which took the actions; an update that compares with it sets both first, so that no reader expects None
    phi_old: Array = None  # type: ignore[assignment]  # (N, P)
    logp_old: Array = None  # type: ignore[assignment]  # (N,) log π_old(a|s)

    def __len__(self) -> int:
        return len(self.obs)

    def mask_of(self, rows: Array) -> Array | None:
        """The mask of some of the samples."""
        return None if self.mask is None else self.mask[rows]

    def estimated_by(self, value_of: Function) -> "Batch":
        """The same samples, π_old included, with advantages and returns by another critic."""
        if self.estimate is None:
            raise ValueError("estimate is None: a batch made by hand has no rollout to estimate advantages from")
        return replace(self.estimate(value_of), estimate=self.estimate, phi_old=self.phi_old, logp_old=self.logp_old)


class Minibatch(NamedTuple):
    """Some samples of a batch, as a step of an update sees them."""

    weights: SampleWeights  # sum to 1 over the minibatches of all ranks
    obs: Array
    action: Array
    adv: Array
    returns: Array
    value: Array
    mask: Array | None = None
    logp_old: Array = None  # type: ignore[assignment]  # as in Batch
    phi_old: Array = None  # type: ignore[assignment]  # as in Batch


def make_batch(
    rollout: Rollout, reward: Array, weights: SampleWeights, value_of: Function, preprocess: Function, cfg: Config
) -> Batch:
    """The rollout's samples with advantages and returns, without reset steps.

    reward (T, B): scaled;  weights: of the T·B steps;  value_of: inputs (N, ·) -> V (N,);
    preprocess: encoded observations (N, D) -> inputs of the networks (N, ·).
    """
    obs, value, next_value = evaluate_states(rollout, value_of, preprocess)
    adv, returns = advantages(reward, value, next_value, rollout, cfg)
    keep = np.flatnonzero(rollout.valid)
    action = rollout.action.reshape(obs.shape[0], *rollout.action.shape[2:])
    weights, flat = weights.of(keep), adv.reshape(-1)[keep]
    return Batch(
        obs=obs[keep],
        action=action[keep],
        adv=standardize_adv(flat, weights) if cfg.normalize_adv else flat,
        returns=returns.reshape(-1)[keep],
        value=value.reshape(-1)[keep],
        weights=weights,
        trajectories=int((rollout.cut & rollout.valid).sum()) + int((rollout.valid & ~rollout.cut)[-1:].sum()),
        mask=rollout.mask.reshape(len(obs), -1)[keep] if rollout.mask is not None else None,
    )


def one_in(k: int, weight: Array, rng: np.random.Generator | None = None) -> Array:
    """⌈N/k⌉ rows of the N samples that count, one from each of as many intervals; without `rng` always the same.

    All rows are equally likely. Every k-th row could be always the same environment's, since consecutive rows are of
    different environments: hence the draw.
    """
    rows = np.flatnonzero(weight)
    n, parts = len(rows), -(-len(rows) // k)
    draw = (rng or np.random.Generator(np.random.PCG64(0))).random(parts)
    at = (np.arange(parts) + draw) * (n / max(parts, 1))
    return np.asarray(rows[np.minimum(at.astype(np.intp), n - 1)])


def minibatches(batch: Batch, size: int, rng: np.random.Generator) -> Iterator[Minibatch]:
    """One pass over a batch: its samples in a random order, in ⌈n/size⌉ parts that differ by at most one in length.

    Each sample is used once, and no part is a small remainder, whose samples would weigh more than others.
    All samples are permuted at once, so that each part is contiguous in memory.
    """
    lengths = batch.weights.part_lengths(size)
    order = rng.permutation(len(batch))
    columns = batch.obs, batch.action, batch.adv, batch.returns, batch.value, batch.mask, batch.logp_old, batch.phi_old
    ordered = [None if x is None else x.take(order, axis=0) for x in columns]
    end = 0
    for weights in batch.weights.parts(order, lengths):
        start, end = end, end + len(weights)
        # the star hides from the type checker which of them may be None
        yield Minibatch(weights, *(None if x is None else x[start:end] for x in ordered))  # type: ignore[arg-type]
