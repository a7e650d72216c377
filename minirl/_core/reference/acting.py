"""Twins of compiled/acting.pyx: what a policy does in every step, in NumPy."""

import numpy as np

from minirl._core.reference.categorical import categorical_sample
from minirl._core.reference.gaussian import gaussian_sample
from minirl._core.reference.mlp import mlp_infer
from minirl._core.reference.vectors import standardize

__all__ = ["policy_act", "policy_actor"]


def policy_act(theta, x, noise, mean, inv_std, limit, sizes, activation, free, family):
    """Actions for N observations x (N, D): standardised, through the network, and sampled with `noise`, or the most
    likely ones for None.

    theta (n + free,) = [θ of the MLP, free parameters of the distribution]; x in θ's type, or in float64 where it is
    standardised;  mean, inv_std (D,), or None for x as it is;  family and noise: "categorical" and u (N,) in [0, 1)
    -> (N,) int64, "gaussian" and z (N, d) -> (N, d).
    """
    seen = x if mean is None else standardize(x, mean, inv_std, limit, theta.dtype == np.float32)
    phi = mlp_infer(theta, seen, sizes, activation, free)
    if family == "categorical":
        return phi.argmax(axis=1) if noise is None else categorical_sample(phi, noise)
    return phi[:, : phi.shape[1] // 2].copy() if noise is None else gaussian_sample(phi, noise)


def policy_actor(theta, mean, inv_std, limit, sizes, activation, free, family):
    """`policy_act` for many steps of one θ: the function (x (N, D), noise) -> actions. The arrays must not change as
    long as it is used.
    """
    return lambda x, noise: policy_act(theta, x, noise, mean, inv_std, limit, sizes, activation, free, family)
