"""From stepped environments to samples: the rollout (T, B), its advantages, and the flat batch (N) that an update sees."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minirl import _core
from minirl.reduce import SERIAL, share_each, standardize_adv


@dataclass(frozen=True)
class Rollout:
    """T steps of B environments. A row that is not `valid` (the reset step of NEXT_STEP) is no transition and is never learned from."""

    obs: np.ndarray  # (T, B, D) encoded, before normalisation
    action: np.ndarray  # (T, B) or (T, B, d), as sampled: neither shifted nor cut
    reward: np.ndarray  # (T, B) float64, as the environment gave it
    next_obs: np.ndarray  # (T, B, D) what the action led to: the final observation where an episode ends
    terminated: np.ndarray  # (T, B) bool: the episode is over, nothing follows
    truncated: np.ndarray  # (T, B) bool: it was cut short, its value goes on; never set together with terminated
    valid: np.ndarray  # (T, B) bool
    mask: np.ndarray | None = None  # (T, B, K) bool: the actions that were allowed; None where all always are

    @property
    def cut(self) -> np.ndarray:
        """Where the next row belongs to another episode."""
        return self.terminated | self.truncated


@dataclass(frozen=True)
class Batch:
    """N samples: all that an update knows of the environments."""

    obs: np.ndarray  # (N, D) as the networks see it
    action: np.ndarray  # (N,) or (N, d)
    adv: np.ndarray  # (N,) float64
    returns: np.ndarray  # (N,) float64, targets of the critic
    value: np.ndarray  # (N,) float64, V(s) of the critic that made the advantages
    weight: np.ndarray  # (N,) float64, how much each sample counts
    again: Callable[[Any], "Batch"] | None = None  # the same samples with the advantages of another critic, obs -> V
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


def evaluate_states(rollout: Rollout, value_of: Any, inputs: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the networks see (T·B, D), V(s_t) and V(s'_t) (T, B).

    V(s'_t) is V of the next row, but where the next row is another episode's, or there is none, the critic is asked for the
    final observation itself. After termination it is 0.
    """
    T, B, D = rollout.obs.shape
    obs = inputs(rollout.obs.reshape(T * B, D))  # one batch of all actors  [PPO-10]
    value = value_of(obs).reshape(T, B)
    next_value = np.zeros((T, B))
    next_value[:-1] = value[1:]
    ask = rollout.cut.copy()
    ask[-1:] = True
    ask &= ~rollout.terminated  # a truncated episode has a value behind it, a terminated one has not  [PPO-11]
    next_value[rollout.terminated] = 0.0  # [PPO-11]
    if ask.any():
        next_value[ask] = value_of(inputs(rollout.next_obs[ask]))
    return obs, value, next_value


def advantages(reward, value, next_value, rollout: Rollout, cfg: Any) -> tuple[np.ndarray, np.ndarray]:
    """Â and the critic's targets (T, B) by `cfg.advantage`, the ladder from REINFORCE to GAE.

    An episode that is not finished is continued by its value; of one that began in an earlier rollout only this part counts.
    """
    if cfg.advantage == "gae":
        adv = _core.gae(reward, value, next_value, rollout.terminated, rollout.cut, cfg.gamma, cfg.lam)
        return adv, adv + value
    returns = _core.discounted_returns(reward, next_value, rollout.terminated, rollout.cut, cfg.gamma)  # G_t             [PG-6]
    if cfg.advantage == "baseline":
        return returns - value, returns  # G_t − V(s_t)                                                                 [PG-7, PG-8]
    if cfg.advantage == "reward_to_go":
        return returns, returns
    first = segment_starts(rollout)  # R(τ) is G at the first step of the episode's part                              [PG-5]
    return np.take_along_axis(returns, first, axis=0), returns


def segment_starts(rollout: Rollout) -> np.ndarray:
    """For each row the number of the first row of the same episode in this rollout, (T, B) int; a reset step belongs to none."""
    rows = np.arange(len(rollout.cut))[:, None]
    begins = np.ones(rollout.cut.shape, bool)
    begins[1:] = (rollout.cut | ~rollout.valid)[:-1]
    return np.maximum.accumulate(np.where(begins, rows, 0), axis=0)


def make_batch(rollout: Rollout, reward: np.ndarray, value_of: Any, inputs: Any, cfg: Any, comm: Any = SERIAL) -> Batch:
    """Advantages and returns, rows that are no transitions left out; `reward` (T, B) is the scaled one.

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
