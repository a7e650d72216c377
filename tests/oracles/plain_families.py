"""The distribution families as the textbook has them, for autograd:
another formula than the library's, without its precautions.

A family enters the suites by one row in PLAIN.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import product

import autograd.numpy as anp
import numpy as np
from autograd.scipy.special import betaln, polygamma, psi

CHOICES = {5: (2, 3), 8: (3, 1, 4)}  # of the tests' MultiCategorical with that many logits


@dataclass(frozen=True)
class Plain:
    """A family as the textbook has it: log π(a|φ), H(φ), KL(old‖new), each (N,) and differentiable by autograd.

    `volume(φ row)` gives actions and weights whose weighted sum is the integral over all actions (their sum where they
    are discrete). `outcomes(φ row)` gives actions and probabilities whose weighted sum is the expectation: of
    anything, or for Gaussians with Gauss–Hermite nodes of polynomials in a up to degree 5 (score products,
    log-ratios).
    """

    log_prob: Callable
    entropy: Callable
    kl: Callable
    volume: Callable
    outcomes: Callable


def _with_density(log_prob, volume):
    """Outcomes that are all of `volume`, each as likely as its density says."""

    def outcomes(phi):
        action, weight = volume(phi)
        return action, weight * np.exp(log_prob(np.repeat(phi[None], len(action), axis=0), action))

    return outcomes


def _grid(nodes, weights):
    """Nodes (M,) and weights of each dimension, as lists -> their product (Mᵈ, d), (Mᵈ,)."""
    points = np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1).reshape(-1, len(nodes))
    return points, np.prod(np.stack(np.meshgrid(*weights, indexing="ij"), axis=-1).reshape(-1, len(nodes)), axis=1)


# ------------------------------------------------------------------------------------------------------------- discrete


def _softmax(phi):
    return anp.exp(phi) / anp.sum(anp.exp(phi), axis=1, keepdims=True)


CATEGORICAL = {
    "log_prob": lambda phi, a: anp.log(anp.sum(_softmax(phi) * np.eye(phi.shape[1])[a], axis=1)),
    "entropy": lambda phi: -anp.sum(_softmax(phi) * anp.log(_softmax(phi)), axis=1),
    "kl": lambda old, new: anp.sum(_softmax(old) * anp.log(_softmax(old) / _softmax(new)), axis=1),
    "volume": lambda phi: (np.arange(len(phi)), np.ones(len(phi))),
}


def _joint(phi, choices):
    """p of every combination of choices (N, ΠK), in the order of `itertools.product`."""
    at, joint = 0, np.ones((len(phi), 1))
    for k in choices:
        joint = anp.reshape(
            joint[:, :, None] * _softmax(phi[:, at : at + k])[:, None, :], (len(phi), joint.shape[1] * k)
        )
        at += k
    return joint


def _coins(phi):
    """The choices between tails (logit 0) and heads (logit φ) of each coin,
    as the logits of a joint distribution's parts.
    """
    return anp.reshape(anp.stack([0 * phi, phi], axis=2), (len(phi), 2 * phi.shape[1])), (2,) * phi.shape[1]


def _choices(phi):
    return phi, CHOICES[phi.shape[1]]


def _enumerated(parts):
    """A distribution over several choices as one over all their combinations, enumerated."""

    def log_prob(phi, action):
        logits, choices = parts(phi)
        number = np.ravel_multi_index(tuple(np.asarray(action).T), choices) if len(action) else np.zeros(0, int)
        return anp.log(anp.sum(_joint(logits, choices) * np.eye(int(np.prod(choices)))[number], axis=1))

    def entropy(phi):
        p = _joint(*parts(phi))
        return -anp.sum(p * anp.log(p), axis=1)

    def kl(old, new):
        p, q = _joint(*parts(old)), _joint(*parts(new))
        return anp.sum(p * anp.log(p / q), axis=1)

    def volume(phi):
        actions = np.array(list(product(*(range(k) for k in parts(phi[None])[1]))))
        return actions, np.ones(len(actions))

    return {"log_prob": log_prob, "entropy": entropy, "kl": kl, "volume": volume}


# ------------------------------------------------------------------------------------------------ independent Gaussians


def _std(phi):
    return anp.exp(phi[:, phi.shape[1] // 2 :])


def _mean(phi):
    return phi[:, : phi.shape[1] // 2]


def _normal(d, reach=9.0, step=0.5):
    """Trapezium rule over standard normals (M, d), (M,): ∫ f dz, exact to rounding for a density times a polynomial."""
    z = np.arange(-reach, reach + step / 2, step)
    return _grid([z] * d, [np.full(len(z), step)] * d)


def _hermite(d):
    """Three nodes per dimension (3ᵈ, d), (3ᵈ,): E[f(z)], exact for polynomials up to degree 5."""
    node, weight = np.polynomial.hermite_e.hermegauss(3)
    return _grid([node] * d, [weight / weight.sum()] * d)


def _diag_volume(phi):
    z, weight = _normal(len(phi) // 2, step=0.7)
    return phi[: len(phi) // 2] + np.exp(phi[len(phi) // 2 :]) * z, weight * np.prod(np.exp(phi[len(phi) // 2 :]))


def _diag_outcomes(phi):
    z, p = _hermite(len(phi) // 2)
    return phi[: len(phi) // 2] + np.exp(phi[len(phi) // 2 :]) * z, p


GAUSSIAN = {
    "log_prob": lambda phi, a: (
        -0.5 * anp.sum((a - _mean(phi)) ** 2 / _std(phi) ** 2 + anp.log(2 * np.pi * _std(phi) ** 2), axis=1)
    ),
    "entropy": lambda phi: 0.5 * anp.sum(anp.log(2 * np.pi * np.e * _std(phi) ** 2), axis=1),
    "kl": lambda old, new: (
        0.5
        * anp.sum(
            anp.log(_std(new) ** 2 / _std(old) ** 2)
            + (_std(old) ** 2 + (_mean(old) - _mean(new)) ** 2) / _std(new) ** 2
            - 1,
            axis=1,
        )
    ),
    "volume": _diag_volume,
    "outcomes": _diag_outcomes,
}


# ------------------------------------------------------------- full covariance: Σ itself, its determinant and cofactors


def _dim(phi):
    return (math.isqrt(9 + 8 * phi.shape[1]) - 3) // 2  # P = d + d(d+1)/2


def _factor(phi):
    """L as rows of columns (N,)."""
    d, at = _dim(phi), 2 * _dim(phi)
    rows = []
    for i in range(d):
        rows.append([phi[:, at + j] for j in range(i)] + [anp.exp(phi[:, d + i])])
        at += i
    return rows


def _covariance(phi):
    """Σ = L Lᵀ as rows of columns (N,)."""
    rows = _factor(phi)
    return [[sum(a * b for a, b in zip(left, right, strict=False)) for right in rows] for left in rows]


def _det(m):
    """Laplace's expansion."""
    if not m:
        return 1.0
    return sum((-1) ** j * m[0][j] * _det([row[:j] + row[j + 1 :] for row in m[1:]]) for j in range(len(m)))


def _inverse(m):
    """By Cramer's rule."""
    d = range(len(m))
    minor = [[_det([row[:j] + row[j + 1 :] for k, row in enumerate(m) if k != i]) for j in d] for i in d]
    return [[(-1) ** (i + j) * minor[j][i] / _det(m) for j in d] for i in d]


def _quadratic(m, x):
    return sum(m[i][j] * x[:, i] * x[:, j] for i in range(len(m)) for j in range(len(m)))


def _full_log_prob(phi, action):
    d, sigma = _dim(phi), _covariance(phi)
    return -0.5 * (_quadratic(_inverse(sigma), action - phi[:, :d]) + anp.log(_det(sigma)) + d * np.log(2 * np.pi))


def _full_kl(old, new):  # [KL-8] with Σ₂⁻¹ and |Σ| by cofactors
    d, sigma1, sigma2 = _dim(old), _covariance(old), _covariance(new)
    inverse2, gap = _inverse(sigma2), old[:, :d] - new[:, :d]
    trace = sum(inverse2[i][j] * sigma1[j][i] for i in range(d) for j in range(d))
    return 0.5 * (anp.log(_det(sigma2) / _det(sigma1)) - d + trace + _quadratic(inverse2, gap))


def _through_factor(phi, z):
    rows = _factor(phi[None])
    factor = np.array([[row[j][0] if j < len(row) else 0.0 for j in range(len(rows))] for row in rows])
    return phi[: len(rows)] + z @ factor.T, np.prod(np.diag(factor))


def _full_volume(phi):
    z, weight = _normal(_dim(phi[None]), step=0.7)
    action, stretch = _through_factor(phi, z)
    return action, weight * stretch


def _full_outcomes(phi):
    z, p = _hermite(_dim(phi[None]))
    return _through_factor(phi, z)[0], p


FULL = {
    "log_prob": _full_log_prob,
    "entropy": lambda phi: 0.5 * (anp.log(_det(_covariance(phi))) + _dim(phi) * np.log(2 * np.pi * np.e)),
    "kl": _full_kl,
    "volume": _full_volume,
    "outcomes": _full_outcomes,
}


# ------------------------------------------------------------------- with bounds: the raw action x is not the bounded a


def _log_cosh(x):
    return anp.logaddexp(x, -x) - np.log(2)


@cache
def _many_nodes():
    return np.polynomial.hermite.hermgauss(300)


def _squashed_entropy(phi):  # E[log 1/cosh² x] by 300 Gauss–Hermite nodes
    node, weight = _many_nodes()
    x = _mean(phi)[:, :, None] + np.sqrt(2) * _std(phi)[:, :, None] * node
    return GAUSSIAN["entropy"](phi) - 2 * anp.sum(_log_cosh(x) * (weight / np.sqrt(np.pi)), axis=(1, 2))


def _squashed_volume(phi):  # da = dx / cosh² x
    d = len(phi) // 2
    z, weight = _normal(d, step=0.1)
    x = phi[:d] + np.exp(phi[d:]) * z
    return x, weight * np.prod(np.exp(phi[d:])) * np.exp(-2 * _log_cosh(x).sum(axis=1))


SQUASHED = {
    "log_prob": lambda phi, x: GAUSSIAN["log_prob"](phi, x) + 2 * anp.sum(_log_cosh(x), axis=1),
    "entropy": _squashed_entropy,
    "kl": GAUSSIAN["kl"],
    "volume": _squashed_volume,
}


def _shape(phi):
    """α, β (N, d)."""
    both = 1 + anp.log(1 + anp.exp(phi))
    return both[:, : phi.shape[1] // 2], both[:, phi.shape[1] // 2 :]


def _beta_log_prob(phi, x):
    (alpha, beta), odds = _shape(phi), np.exp(np.asarray(x, np.float64))
    return anp.sum((alpha - 1) * np.log(odds / (1 + odds)) - (beta - 1) * np.log1p(odds) - betaln(alpha, beta), axis=1)


def _beta_entropy(phi):
    alpha, beta = _shape(phi)
    total = alpha + beta
    return anp.sum(
        betaln(alpha, beta) - (alpha - 1) * psi(alpha) - (beta - 1) * psi(beta) + (total - 2) * psi(total), axis=1
    )


def _bregman(old, new):
    """lnΓ(new) − lnΓ(old) − ψ(old)(new − old) = (new − old)² ∫₀¹ (1−t) ψ′(old + t (new − old)) dt,
    by 40 Gauss–Legendre nodes.
    """
    node, weight = np.polynomial.legendre.leggauss(40)
    t = (node + 1) / 2
    return (new - old) ** 2 * anp.sum(
        polygamma(1, old[..., None] + t * (new - old)[..., None]) * ((1 - t) * weight / 2), axis=-1
    )


def _beta_kl(old, new):  # the Bregman divergence of log B: nothing is subtracted that is nearly equal
    (alpha1, beta1), (alpha2, beta2) = _shape(old), _shape(new)
    parts = ((alpha1, alpha2), (beta1, beta2), (alpha1 + beta1, alpha2 + beta2))
    of_alpha, of_beta, of_sum = (_bregman(*(_narrow(x) for x in pair)) for pair in parts)
    return anp.sum(of_alpha + of_beta - of_sum, axis=1)


def _narrow(x):
    """SciPy's polygamma knows float64 alone."""
    return x.astype(np.float64) if isinstance(x, np.ndarray) else x


def _beta_volume(phi):  # da = a (1−a) dx, x the logit: the density falls as e^(−|x|) or faster
    d, step = len(phi) // 2, 0.4
    at = np.arange(-36, 36 + step / 2, step)
    x, weight = _grid([at] * d, [step * np.exp(at) / (1 + np.exp(at)) ** 2] * d)
    return x, weight


BETA = {"log_prob": _beta_log_prob, "entropy": _beta_entropy, "kl": _beta_kl, "volume": _beta_volume}


def _plain(functions):
    return Plain(**({"outcomes": _with_density(functions["log_prob"], functions["volume"])} | functions))


PLAIN = {
    "categorical": _plain(CATEGORICAL),
    "multi_categorical": _plain(_enumerated(_choices)),
    "bernoulli": _plain(_enumerated(_coins)),
    "diag_gaussian": _plain(GAUSSIAN),
    "state_gaussian": _plain(GAUSSIAN),
    "full_gaussian": _plain(FULL),
    "squashed_gaussian": _plain(SQUASHED),
    "beta": _plain(BETA),
}
