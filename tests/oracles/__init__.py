"""What the tests hold the library against:
differences, automatic differentiation of a plain re-statement, exact expectations.

The re-statement is written from the textbook, without any of the library's precautions against overflow; `autograd`
differentiates it. That of the distributions stands in plain_families.py.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise, product

import autograd
import autograd.numpy as anp
import numpy as np

from minirl.numerics.sums_over_samples import SampleWeights
from minirl.samples.batch import Batch, Minibatch
from oracles.plain_families import PLAIN

# ---------------------------------------------------------------------------------------------------------- comparisons


def relative_error(actual, expected):
    """max |actual − expected| / max |expected|; the absolute error where 0 is expected (up to the oracle's rounding).

    NaN stays NaN.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    if actual.size == 0:
        return 0.0
    scale = np.abs(expected).max()
    return float(np.abs(actual - expected).max() / (scale if not scale < 1e-14 else 1.0))


def sigmas(samples, expected):
    """How many standard errors the mean of independent samples (S,) is away from what is expected."""
    return float(abs(samples.mean() - expected) / (samples.std(ddof=1) / np.sqrt(len(samples))))


def same_bits(a, b):
    """True when two trees of arrays and scalars are equal to the last bit, types included."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_bits(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same_bits(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, int | str):
        return type(a) is type(b) and a == b
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# ---------------------------------------------------------------------------------------------------------- differences


def _moved(f, x, steps):
    """f at x with the entries `steps` = {index: by} moved."""
    x = x.copy()
    for index, by in steps:
        x[index] += by
    return np.asarray(f(x))


def jacobian(f, x, h=1e-3):
    """∂f/∂x by five points, (*f.shape, *x.shape):
    exact for polynomials of degree 4, error h⁴ f⁽⁵⁾/30 and 10⁻¹⁶/h from rounding.
    """
    columns = []
    for i in np.ndindex(x.shape):
        near = _moved(f, x, [(i, h)]) - _moved(f, x, [(i, -h)])
        far = _moved(f, x, [(i, 2 * h)]) - _moved(f, x, [(i, -2 * h)])
        columns.append((8 * near - far) / (12 * h))
    return np.moveaxis(np.array(columns), 0, -1).reshape(*np.shape(f(x)), *x.shape)


def gradient(f, x, h=1e-3):
    """∇f of a scalar function by five points, in the shape of x."""
    return jacobian(f, x, h)


def directional(f, x, v, h=1e-3):
    """d/dt f(x + t v) at 0 by five points."""
    return (8 * (f(x + h * v) - f(x - h * v)) - (f(x + 2 * h * v) - f(x - 2 * h * v))) / (12 * h)


def hessian(f, x, h=3e-4):
    """∇²f of a scalar function of a vector (n,) by mixed central differences (n, n):
    error h² ≈ 10⁻⁷, rounding 10⁻¹⁶/h² ≈ 10⁻⁹.
    """
    n = len(x)
    out = np.empty((n, n))
    for i in range(n):
        for j in range(i + 1):
            corners = [s * t * _moved(f, x, [(i, s * h), (j, t * h)]) for s, t in product((1, -1), repeat=2)]
            out[i, j] = out[j, i] = sum(corners) / (4 * h * h)
    return out


# ----------------------------------------------------------------------------------------------- policies, for autograd


def plain_mlp(theta, x, sizes, activation):
    """The network on θ = [W₁, b₁, W₂, b₂, …] as one expression of autograd."""
    at = 0
    for layer, (n_in, n_out) in enumerate(pairwise(sizes)):
        weight = anp.reshape(theta[at : at + n_in * n_out], (n_in, n_out))
        x = anp.dot(x, weight) + theta[at + n_in * n_out : at + (n_in + 1) * n_out]
        at += (n_in + 1) * n_out
        if layer < len(sizes) - 2:
            x = anp.tanh(x) if activation == "tanh" else anp.where(x > 0, x, 0.0)
    return x


def plain_phi(policy, theta, obs):
    """φ (N, P) of a policy: the network's outputs, then the free parameters repeated."""
    y = plain_mlp(theta, obs, policy.mlp.sizes, policy.mlp.activation)
    return anp.concatenate([y, anp.ones((len(obs), 1)) * theta[policy.mlp.num_params :]], axis=1)


def plain_kl(policy, theta_old, theta, obs):
    """KL(π_old(·|s) ‖ π_θ(·|s)) per sample (N,), in float64 whatever the parameters are."""
    wide = [np.asarray(x, np.float64) for x in (theta_old, theta, obs)]
    return PLAIN[policy.dist.name].kl(plain_phi(policy, wide[0], wide[2]), plain_phi(policy, wide[1], wide[2]))


def plain_gain(policy, theta_old, theta, batch):
    """mean_n π_θ/π_old A − mean_n A, in float64: the ratio of the densities themselves."""
    wide = [np.asarray(x, np.float64) for x in (theta_old, theta, batch.obs)]
    log_prob = PLAIN[policy.dist.name].log_prob
    p_old, p = (np.exp(log_prob(plain_phi(policy, th, wide[2]), batch.action)) for th in wide[:2])
    return np.average(p / p_old * batch.adv, weights=batch.weights.w) - np.average(batch.adv, weights=batch.weights.w)


def score(policy, theta, obs, action):
    """∇_θ log π(a|s) of one observation (D,) and action, by autograd -> (n,)."""
    plain = PLAIN[policy.dist.name]
    return autograd.grad(lambda th: plain.log_prob(plain_phi(policy, th, obs[None]), np.asarray(action)[None])[0])(
        theta
    )


def dense_fisher(policy, theta, obs, w=None):
    """F = Σ_n w_n Σ_a π(a|s_n) ∇log π ∇log πᵀ (n, n): the definition, every action enumerated."""
    w = np.full(len(obs), 1 / len(obs)) if w is None else w
    fisher = np.zeros((len(theta), len(theta)))
    for w_n, s in zip(w, obs, strict=True):
        phi = plain_phi(policy, theta, s[None])[0]
        for a, p in zip(*PLAIN[policy.dist.name].outcomes(phi), strict=True):
            g = score(policy, theta, s, a)
            fisher += w_n * p * np.outer(g, g)
    return fisher


# --------------------------------------------------------------------------------------------------------- made-up data


def random_theta(net, rng, dtype=np.float64, scale=0.5):
    """Parameters of a network that is far from its start: no symmetry, no zeros."""
    return (scale * rng.standard_normal(net.num_params)).astype(dtype)


def made_up_batch(policy, theta, n, rng, **fields):
    """N samples of π_θ in random states, with random advantages and returns; `fields` replaces some of them."""
    obs = rng.standard_normal((n, policy.mlp.sizes[0])).astype(theta.dtype)
    obs = fields.pop("obs", obs)
    action = policy.dist.sample(policy.infer(theta, obs), rng)
    made = {"adv": rng.standard_normal(n), "returns": rng.standard_normal(n), "value": rng.standard_normal(n)}
    made["weights"] = SampleWeights(fields.pop("weight", np.ones(n)))
    return Batch(**({"obs": obs, "action": action} | made | fields))


def part_of(batch, rows=slice(None), logp_old=None, phi_old=None):
    """Some samples of a batch as one minibatch."""
    fields = {name: getattr(batch, name) for name in ("obs", "action", "adv", "returns", "value", "mask")}
    fields |= {"logp_old": logp_old, "phi_old": phi_old}
    columns = {name: None if x is None else x[rows] for name, x in fields.items()}
    return Minibatch(weights=batch.weights.of(rows), **columns)


def weighted(batch, weight):
    """The same samples with other weights (N,)."""
    return replace(batch, weights=SampleWeights(weight))


def rows_of(batch, rows):
    """Some samples of a batch, with their weights."""
    columns = {name: getattr(batch, name) for name in ("obs", "action", "adv", "returns", "value", "mask")}
    some = {name: None if x is None else x[rows] for name, x in columns.items()}
    return replace(batch, weights=batch.weights.of(rows), **some)


def step_weights(rollout):
    """The weights of a rollout's T·B steps: reset steps do not count."""
    return SampleWeights(rollout.valid.reshape(-1).astype(np.float64))


def on_rank(batch, comm):
    """The batch as the samples of one rank."""
    return replace(batch, weights=SampleWeights(batch.weights.weight, comm))


def chosen(action, adv, logp_old, w=None):
    """Actions with their advantages and old log-probabilities as a minibatch,
    where only the policy's loss is asked for.
    """
    return Minibatch(
        SampleWeights(np.ones(len(adv)) if w is None else w),
        obs=None,
        action=action,
        adv=adv,
        returns=None,
        value=None,
        logp_old=logp_old,
    )


# ----------------------------------------------------------------------------------------------------------- many ranks


class Rank:
    """A communicator between threads: `sum` adds in the order of the ranks, so that all get the same bits."""

    def __init__(self, rank, barrier, slots):
        self.rank, self.size, self.barrier, self.slots = rank, len(slots), barrier, slots

    def _reduce(self, x, operation):
        self.slots[self.rank] = x
        self.barrier.wait()
        result = operation(self.slots)
        self.barrier.wait()
        return result

    def sum(self, x):
        return self._reduce(x, lambda parts: sum(parts[1:], start=parts[0]))

    def max(self, x):
        return self._reduce(x, lambda parts: float(np.max(parts)))  # NaN stays NaN


def on_ranks(size, work):
    """work(comm) on `size` ranks at once -> its results, rank by rank. One that fails or lags lets the others go."""
    barrier, slots = threading.Barrier(size, timeout=600), [None] * size  # of work that is over in milliseconds

    def run(rank):
        try:
            return work(Rank(rank, barrier, slots))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(run, range(size)))
