"""Each compiled kernel beside its NumPy twin at the shapes that training meets: equal first, then timed.

    OMP_NUM_THREADS=1 python -m pytest benches/test_bench_kernels.py \\
        --benchmark-columns=median,iqr,rounds --benchmark-sort=name

One group per kernel, element type and shape, so that each table holds two rows, kernel and twin. `-k mlp` or `-k "gae
or adam"` takes a part; `--benchmark-json FILE` keeps the machine with the numbers.
"""

import copy
from itertools import pairwise

import numpy as np
import pytest

from minirl import _core
from minirl._core.reference import classic_control, mlp

pytestmark = pytest.mark.skipif(not _core.COMPILED, reason="the compiled core is not built, or MINIRL_REFERENCE is set")

RTOL = {np.dtype(np.float32): 2e-5, np.dtype(np.float64): 1e-12}
ACTING, MINIBATCH, BATCH = 1, 64, 2048  # rows: one observation, a PPO minibatch, a whole batch


def time_cases(rng):
    for steps, envs in ((128, 8), (2048, 1)):
        reward, value, next_value = rng.standard_normal((3, steps, envs))
        terminated, cut = rng.random((2, steps, envs)) < 0.02
        cut |= terminated
        shape = f"{steps}x{envs}"
        yield "gae", shape, (reward, value, next_value, terminated, cut, 0.99, 0.95)
        yield "discounted_returns", shape, (reward, next_value, terminated, cut, 0.99)
        yield "running_return", shape, (reward, cut, np.zeros(envs), 0.99)


def distribution_cases(rng, dtype):
    for rows, actions in ((ACTING, 2), (MINIBATCH, 2), (BATCH, 2), (BATCH, 18)):
        phi, other = rng.standard_normal((2, rows, actions)).astype(dtype)
        action, shape = rng.integers(0, actions, rows), f"{rows}x{actions}"
        yield from family("categorical", shape, phi, other, action, rng.random(rows))
    for rows, d in ((ACTING, 3), (MINIBATCH, 3), (BATCH, 6)):
        phi, other = rng.standard_normal((2, rows, 2 * d)).astype(dtype)
        action, z = rng.standard_normal((2, rows, d)).astype(dtype)
        yield from family("gaussian", f"{rows}x{d}", phi, other, action, z)


def family(name, shape, phi, other, action, noise):
    for function in ("log_prob", "dlog_prob"):
        yield f"{name}_{function}", shape, (phi, action)
    for function in ("entropy", "dentropy"):
        yield f"{name}_{function}", shape, (phi,)
    for function in ("kl", "dkl", "fisher_vec"):
        yield f"{name}_{function}", shape, (phi, other)
    yield f"{name}_sample", shape, (phi, noise)


def mlp_cases(rng, dtype):
    wide = [(rows, (17, width, width, 6)) for width in (256, 512) for rows in (MINIBATCH, BATCH)]
    for rows, sizes in ((ACTING, (4, 64, 64, 2)), (MINIBATCH, (4, 64, 64, 2)), (BATCH, (11, 64, 64, 3)), *wide):
        count = sum((a + 1) * b for a, b in pairwise(sizes))
        theta, theta_dot = (0.1 * rng.standard_normal((2, count))).astype(dtype)
        x, dy = (
            rng.standard_normal((rows, sizes[0])).astype(dtype),
            rng.standard_normal((rows, sizes[-1])).astype(dtype),
        )
        acts, shape = mlp.mlp_forward(theta, x, sizes, "tanh"), f"{rows}x{'-'.join(map(str, sizes))}"
        yield "mlp_forward", shape, (theta, x, sizes, "tanh")
        yield "mlp_infer", shape, (theta, x, sizes, "tanh")
        yield "mlp_vjp", shape, (theta, acts, dy, sizes, "tanh")
        moments = np.zeros(sizes[0]), np.ones(sizes[0])
        yield "policy_act", shape, (theta, x, rng.random(rows), *moments, 10.0, sizes, "tanh", 0, "categorical")
        yield "mlp_jvp", shape, (theta, acts, theta_dot, sizes, "tanh")


def vector_cases(rng, dtype):
    theta, grad, m = rng.standard_normal((3, 9155)).astype(dtype)  # two 4-64-64 networks
    yield "adam", "9155", (theta, grad, m, m * m, 3, 3e-4, 0.9, 0.999, 1e-5, 0.7)
    yield "global_norm", "9155", (grad,)
    if dtype == np.float64:
        yield "cg_step", "9155", (*rng.standard_normal((4, 9155)), 1e-3, 1.0)
    logp, logp_old = 0.3 * rng.standard_normal((2, MINIBATCH)).astype(dtype)
    adv, w = rng.standard_normal(MINIBATCH), np.full(MINIBATCH, 1 / MINIBATCH)
    yield "surrogate_loss", f"{MINIBATCH}", (logp, logp_old, adv, w, 0.2)
    yield "squared_loss", f"{MINIBATCH}", (w, logp, adv)
    phi, choice = rng.standard_normal((MINIBATCH, 2)).astype(dtype), rng.integers(0, 2, MINIBATCH)
    yield (
        "policy_surrogate",
        f"categorical {MINIBATCH}x2",
        (phi, choice, logp_old, adv, w, 0.2, None, 0.01, "categorical"),
    )
    phi, chosen = rng.standard_normal((MINIBATCH, 12)).astype(dtype), rng.standard_normal((MINIBATCH, 6)).astype(dtype)
    yield "policy_surrogate", f"gaussian {MINIBATCH}x6", (phi, chosen, logp_old, adv, w, 0.2, None, 0.01, "gaussian")
    for rows in (ACTING, MINIBATCH, BATCH):
        x = rng.standard_normal((rows, 17)).astype(dtype)
        yield "standardize", f"{rows}x17", (x, np.zeros(17), np.ones(17), 10.0)
        yield "all_finite", f"{rows}x17", (x,)
        if dtype == np.float64:
            yield "narrow", f"{rows}x17", (x,)


def env_cases(rng):
    for name, problem in classic_control.PROBLEMS.items():
        for B in (4, 1024):
            state, steps, none = (
                0.05 * rng.standard_normal((B, problem.states)),
                np.ones(B, np.int64),
                np.zeros(B, bool),
            )
            action = rng.integers(0, problem.actions, B) if problem.actions else rng.random((B, 1)).astype(np.float32)
            obs, low = np.zeros((B, problem.obs), np.float32), np.full(problem.draws, -0.05)
            results = (np.zeros(B), np.zeros(B, bool), np.zeros(B, bool))
            yield "env_step", f"{name} {B}", (name, state, steps, action, none, 10**9, obs, *results)
            generators = [np.random.PCG64(i) for i in range(B)]
            yield "env_reset", f"{name} {B}", (name, generators, ~none, low, -low, state, steps, obs)


def spread_cases(rng):
    for N, B in ((3, 1), (3, 128), (6, 128)):
        state, obs, steps = rng.uniform(-1, 1, (B, 6 * N)), np.zeros((N, B, 6 * N), np.float32), np.ones(B, np.int64)
        action, results = rng.integers(0, 5, (N, B)), (np.zeros((B, N)), np.zeros(B, bool))
        yield "spread_step", f"{N} agents {B}", (state, steps, action, 10**9, 0.5, obs, *results)
        generators = [np.random.PCG64(i) for i in range(B)]
        yield "spread_reset", f"{N} agents {B}", (generators, np.ones(B, bool), state, steps, obs)


def rollout_cases(rng):
    """128 steps of 4 CartPoles and of 64, the policy's and the environment's, in one call."""
    sizes = (4, 64, 64, 2)
    theta = (0.1 * rng.standard_normal(sum((a + 1) * b for a, b in pairwise(sizes)))).astype(np.float32)
    for B in (4, 64):
        shapes = (((4,), "f4"), ((), "i8"), ((), "f8"), ((4,), "f4"), ((), "?"), ((), "?"))
        out = tuple(np.zeros((128, B, *shape), dtype) for shape, dtype in shapes)
        problem = "cartpole", [np.random.PCG64(i) for i in range(B)], np.full(4, -0.05), np.full(4, 0.05), 500
        policy = theta, np.zeros(4), np.ones(4), 10.0, sizes, "tanh", 0, "categorical"
        seen = np.zeros((B, 4), np.float32)
        yield (
            "env_rollout",
            f"cartpole 128x{B}",
            (problem, np.zeros((B, 4)), np.zeros(B, np.int64), seen, policy, rng.random((128, B)), None, out),
        )


def cases():
    rng = np.random.default_rng(0)
    for name, shape, args in rollout_cases(rng):
        yield pytest.param(name, args, id=f"{name} {shape}")
    for name, shape, args in time_cases(rng):
        yield pytest.param(name, args, id=f"{name} {shape} float64")
    for name, shape, args in (*env_cases(rng), *spread_cases(rng)):
        yield pytest.param(name, args, id=f"{name} {shape}")
    for dtype in (np.float32, np.float64):
        for make in (distribution_cases, mlp_cases, vector_cases):
            for name, shape, args in make(rng, dtype):
                yield pytest.param(name, args, id=f"{name} {shape} {dtype.__name__}")


def assert_equal(name, args):
    """The kernel's results and what it leaves in its arguments are the twin's."""
    ours, theirs = copy.deepcopy(args), copy.deepcopy(args)
    got, want = getattr(_core, name)(*ours), _core.TWINS[name](*theirs)
    # a sum in float64 of float32 numbers is as good as they are
    coarsest = max(RTOL.get(x.dtype, 0) for x in flat(args))
    for g, w in zip(flat((got, ours)), flat((want, theirs)), strict=True):
        rtol = coarsest if w.dtype in RTOL else 0
        np.testing.assert_allclose(g, w, rtol=rtol, atol=rtol * np.abs(w).max())


def flat(tree):
    """The arrays and numbers of nested tuples and lists, as arrays."""
    if isinstance(tree, (tuple, list)):
        return [leaf for branch in tree for leaf in flat(branch)]
    return [] if tree is None or isinstance(tree, (str, np.random.BitGenerator)) else [np.asarray(tree)]


@pytest.mark.parametrize(("name", "args"), list(cases()))
@pytest.mark.parametrize("side", ["kernel", "twin"])
@pytest.mark.benchmark(max_time=0.05, min_rounds=5, warmup=False)
def test_kernel(benchmark, request, name, args, side):
    assert_equal(name, args)
    benchmark.group = request.node.callspec.id.removeprefix(f"{side}-").removesuffix(f"-{side}")
    benchmark.name = side
    benchmark(getattr(_core, name) if side == "kernel" else _core.TWINS[name], *args)


@pytest.mark.parametrize("side", ["kernel", "kernel, not prepared", "twin"])
@pytest.mark.benchmark(max_time=0.05, min_rounds=5, warmup=False, group="policy_actor 1x4-64-64-2 float32")
def test_prepared_actor(benchmark, side):
    """`policy_actor`'s function is what acts in every step: beside the call that looks at everything each time."""
    rng, sizes = np.random.default_rng(0), (4, 64, 64, 2)
    theta = (0.1 * rng.standard_normal(sum((a + 1) * b for a, b in pairwise(sizes)))).astype(np.float32)
    policy = theta, np.zeros(4), np.ones(4), 10.0, sizes, "tanh", 0, "categorical"
    x, noise = rng.standard_normal((1, 4)).astype(np.float32), rng.random(1)
    sides = {
        "kernel": _core.policy_actor(*policy),
        "kernel, not prepared": lambda x, noise: _core.policy_act(theta, x, noise, *policy[1:]),
        "twin": _core.TWINS["policy_actor"](*policy),
    }
    assert len({int(act(x, noise)[0]) for act in sides.values()}) == 1
    benchmark.name = side
    benchmark(sides[side], x, noise)
