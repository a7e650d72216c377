"""The flat batch (N) that an update sees, and the minibatches that a pass over it is made of."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minirl.numerics.communicator import SERIAL
from minirl.numerics.sample_weights import share_each, standardize_adv
from minirl.samples.advantages import advantages, evaluate_states
from minirl.samples.rollout import Rollout


@dataclass(frozen=True)
class Batch:
    """N samples: all that an update knows of the environments."""

    obs: np.ndarray  # (N, D) as the networks see it
    action: np.ndarray  # (N,) or (N, d)
    adv: np.ndarray  # (N,) float64
    returns: np.ndarray  # (N,) float64, targets of the critic
    value: np.ndarray  # (N,) float64, V(s) of the critic that made the advantages
    weight: np.ndarray  # (N,) float64, how much each sample counts
    again: Callable[[Any], "Batch"] | None = None  # the same samples with the advantages of another critic, obs -> V; not twice
    trajectories: int = 1  # |S|, episodes or parts of one that the samples belong to
    mask: np.ndarray | None = None  # (N, K) bool: the actions that were allowed; None where all always are
    fisher: np.ndarray | None = None  # (M,) rows that stand for all in the Fisher matrix; None: drawn where needed

    def __len__(self) -> int:
        return len(self.obs)

    def mask_of(self, rows: Any) -> np.ndarray | None:
        """The mask of some of the samples."""
        return None if self.mask is None else self.mask[rows]


class Minibatch(NamedTuple):
    """Some samples of a batch, as a step of an update sees them."""

    w: np.ndarray  # (N,) float64, what each counts; all of them sum to 1 over all ranks
    obs: np.ndarray
    action: np.ndarray
    adv: np.ndarray
    returns: np.ndarray
    value: np.ndarray
    mask: np.ndarray | None = None
    logp_old: np.ndarray | None = None  # (N,) log π_old of the actions
    phi_old: np.ndarray | None = None  # (N, P) of π_old


def make_batch(rollout: Rollout, reward: np.ndarray, value_of: Any, inputs: Any, cfg: Any, comm: Any = SERIAL) -> Batch:
    """Advantages and returns, without the reset steps; `reward` (T, B) is the scaled one.

    value_of: obs (N, D) -> V (N,);  inputs: what stands before the networks, of observations (N, D).
    """
    obs, value, next_value = evaluate_states(rollout, value_of, inputs)
    adv, returns = advantages(reward, value, next_value, rollout, cfg)
    keep = np.flatnonzero(rollout.valid)
    action = rollout.action.reshape(obs.shape[0], *rollout.action.shape[2:])
    weight = np.ones(len(keep))
    flat = adv.reshape(-1)[keep]
    return Batch(
        obs=obs[keep],
        action=action[keep],
        adv=standardize_adv(flat, weight, comm) if cfg.normalize_adv else flat,
        returns=returns.reshape(-1)[keep],
        value=value.reshape(-1)[keep],
        weight=weight,
        trajectories=int((rollout.cut & rollout.valid).sum()) + int((rollout.valid & ~rollout.cut)[-1:].sum()),
        mask=rollout.mask.reshape(len(obs), -1)[keep] if rollout.mask is not None else None,
    )


def one_in(k: int, weight: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
    """⌈N/k⌉ row numbers of the N samples that count, one from each of as many stretches; without `rng` always the same.

    Each row is as likely as any other. The rows run over the environments first: each k-th could be one environment's.
    """
    counted = np.flatnonzero(weight)
    n, parts = len(counted), -(-len(counted) // k)
    draw = (rng or np.random.Generator(np.random.PCG64(0))).random(parts)
    at = (np.arange(parts) + draw) * (n / max(parts, 1))
    return counted[np.minimum(at.astype(np.intp), n - 1)]


def minibatches(batch: Batch, size: int, rng: np.random.Generator, comm: Any = SERIAL, logp_old: Any = None, phi_old: Any = None):
    """One pass over a batch: its samples in a random order, in ⌈n/size⌉ parts that differ by at most one in length.

    Each sample is used once, and no part is a small remainder whose few samples would weigh more than the others. The samples are
    put in their order once, so that a part is a stretch of memory.
    """
    n, parts = len(batch), max(1, math.ceil(comm.max(len(batch)) / size))  # as many on every rank
    order = rng.permutation(n)
    lengths = [n // parts + (i < n % parts) for i in range(parts)]
    columns = batch.obs, batch.action, batch.adv, batch.returns, batch.value, batch.mask, logp_old, phi_old
    whole: list[Any] = [share_each(batch.weight[order], lengths, comm)] + [None if x is None else x.take(order, axis=0) for x in columns]
    end = 0
    for length in lengths:
        start, end = end, end + length
        yield Minibatch._make(None if x is None else x[start:end] for x in whole)
