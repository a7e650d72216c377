"""The perceptron: values, both products of its Jacobian, the order of its parameters and its start."""

import math
from itertools import pairwise

import autograd
import numpy as np
import pytest
from oracles import directional, gradient, plain_mlp, random_theta, relative_error, same_bits, sigmas

from minirl import _core
from minirl.models.mlp import MLP, orthogonal

# 0 to 4 hidden layers
ARCHITECTURES = [(3, 2), (1, 1), (4, 8, 3), (1, 1, 1), (3, 7, 5, 2), (2, 1, 9, 3, 1), (6, 5, 4, 3, 2, 7)]
architectures = pytest.mark.parametrize("sizes", ARCHITECTURES, ids=lambda s: "-".join(map(str, s)))
activations = pytest.mark.parametrize("activation", ["tanh", "relu"])
batches = pytest.mark.parametrize("n", [0, 1, 13])
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])

# float64: sums of about 50 products. float32: 1.2e-7 per operation, a dozen roundings deep
RTOL = {np.float32: 2e-5, np.float64: 1e-12}


@pytest.fixture
def net(sizes, activation):
    return MLP(sizes, activation)


def points(net, n, rng, dtype=np.float64):
    """θ, x, an output cotangent dy and a parameter tangent v."""
    theta, v = random_theta(net, rng, dtype), random_theta(net, rng, dtype)
    return (
        theta,
        rng.standard_normal((n, net.sizes[0])).astype(dtype),
        rng.standard_normal((n, net.sizes[-1])).astype(dtype),
        v,
    )


def by_hand(theta, x, sizes, activation):
    """One input through the network, number by number: Python floats, θ read off in its documented order."""
    numbers, h = iter(theta.tolist()), x.tolist()
    for layer, (n_in, n_out) in enumerate(pairwise(sizes)):
        weight = [[next(numbers) for _ in range(n_out)] for _ in range(n_in)]
        bias = [next(numbers) for _ in range(n_out)]
        z = [math.fsum([bias[j]] + [h[i] * weight[i][j] for i in range(n_in)]) for j in range(n_out)]
        last = layer == len(sizes) - 2
        h = z if last else [math.tanh(a) if activation == "tanh" else max(a, 0.0) for a in z]
    return h


@dtypes
@batches
@activations
@architectures
def test_forward_is_the_network_number_by_number(net, n, dtype, rng):
    theta, x, _, _ = points(net, n, rng, dtype)
    expected = np.array([by_hand(theta, row, net.sizes, net.activation) for row in x]).reshape(n, net.sizes[-1])
    y, _ = net.forward(theta, x)
    assert y.dtype == dtype and relative_error(y, expected) <= RTOL[dtype]
    inferred = net.infer(theta, x)
    assert inferred.dtype == dtype and relative_error(inferred, expected) <= RTOL[dtype]


@dtypes
@batches
@activations
@architectures
def test_dot_product_of_vjp_and_jvp(net, n, dtype, rng):  # [TR-9]: dyᵀ(J v) = (Jᵀdy)ᵀ v
    theta, x, dy, v = points(net, n, rng, dtype)
    _, cache = net.forward(theta, x)
    y_dot, dtheta = net.jvp(theta, cache, v), net.vjp(theta, cache, dy)
    assert y_dot.dtype == dtheta.dtype == dtype and y_dot.shape == dy.shape and dtheta.shape == theta.shape
    left, right = (float(np.vdot(a.astype(np.float64), b.astype(np.float64))) for a, b in ((dy, y_dot), (dtheta, v)))
    assert abs(left - right) <= RTOL[dtype] * (
        np.linalg.norm(dy) * np.linalg.norm(y_dot) + np.linalg.norm(dtheta) * np.linalg.norm(v)
    )


@batches
@activations
@architectures
def test_vjp_matches_differences_and_autodiff(net, n, rng):
    theta, x, dy, _ = points(net, n, rng)
    _, cache = net.forward(theta, x)
    dtheta = net.vjp(theta, cache, dy)
    # y is piecewise linear in each weight of a ReLU net: stay on this side of the kinks
    h = 1e-3 if net.activation == "tanh" else 1e-6
    assert relative_error(dtheta, gradient(lambda th: np.vdot(dy, net.forward(th, x)[0]), theta, h)) <= 1e-6
    auto = autograd.grad(lambda th: np.sum(dy * plain_mlp(th, x, net.sizes, net.activation)))(theta)
    assert relative_error(dtheta, auto) <= 1e-12


@batches
@activations
@architectures
def test_jvp_matches_differences_and_autodiff(net, n, rng):
    theta, x, _, v = points(net, n, rng)
    _, cache = net.forward(theta, x)
    y_dot = net.jvp(theta, cache, v)
    h = 1e-3 if net.activation == "tanh" else 1e-6
    assert relative_error(y_dot, directional(lambda th: net.forward(th, x)[0], theta, v, h)) <= 1e-6
    jacobian = (
        autograd.jacobian(lambda th: plain_mlp(th, x, net.sizes, net.activation))(theta)
        if n
        else np.zeros((0, net.sizes[-1], len(v)))
    )
    assert relative_error(y_dot, jacobian @ v) <= 1e-12


@dtypes
@activations
def test_products_of_many_rows_are_the_sum_of_each(activation, dtype, rng):
    """More rows than any block of a kernel: the sum over rows is taken once each."""
    net = MLP((5, 17, 9, 3), activation)
    theta, x, dy, v = points(net, 517, rng, dtype)
    _, cache = net.forward(theta, x)
    rows = [net.forward(theta, x[n : n + 1])[1] for n in range(517)]
    summed = sum(net.vjp(theta, cache_n, dy[n : n + 1]).astype(np.float64) for n, cache_n in enumerate(rows))
    assert relative_error(net.vjp(theta, cache, dy), summed) <= RTOL[dtype]
    each = np.concatenate([net.jvp(theta, cache_n, v) for cache_n in rows])
    assert relative_error(net.jvp(theta, cache, v), each) <= RTOL[dtype]


@activations
@architectures
def test_nothing_is_changed_in_place(net, rng):
    theta, x, dy, v = points(net, 7, rng)
    before = [a.copy() for a in (theta, x, dy, v)]
    y, cache = net.forward(theta, x)
    kept = y.copy()
    net.infer(theta, x), net.vjp(theta, cache, dy), net.jvp(theta, cache, v), net.vjp(theta, cache, dy)
    assert all(same_bits(a, b) for a, b in zip((theta, x, dy, v, y), (*before, kept), strict=True))
    # the cache is not used up
    assert same_bits(net.vjp(theta, cache, dy), net.vjp(theta, net.forward(theta, x)[1], dy))


def test_relu_has_slope_zero_at_zero():
    net = MLP((1, 1, 1), "relu")
    theta = np.array([1.0, 0.0, 1.0, 0.0])  # y = max(x, 0)
    _, cache = net.forward(theta, np.array([[0.0], [-1.0], [2.0]]))
    np.testing.assert_array_equal(net.jvp(theta, cache, np.array([0.0, 1.0, 0.0, 0.0])), [[0.0], [0.0], [1.0]])


def test_step_24_flat_and_structured_order_on_a_hundred_nets(rng):
    """θ = [W₁ (in, out) row by row, b₁, W₂, b₂, …]:
    views out and back are the same bits, and each number sits where forward reads it.
    """
    for _ in range(100):
        sizes = tuple(rng.integers(1, 9, size=rng.integers(2, 7)).tolist())
        net = MLP(sizes, "tanh")
        theta = rng.standard_normal(net.num_params).astype(rng.choice([np.float32, np.float64]))
        layers = _core.mlp_layers(theta, sizes)
        assert [(w.shape, b.shape) for w, b in layers] == [((i, o), (o,)) for i, o in pairwise(sizes)]
        assert same_bits(np.concatenate([np.r_[w.ravel(), b] for w, b in layers]), theta)
        x = rng.standard_normal((3, sizes[0])).astype(theta.dtype)
        expected = [by_hand(theta, row, sizes, "tanh") for row in x]
        assert relative_error(net.infer(theta, x), expected) <= RTOL[theta.dtype.type]
        for w, b in layers:  # views: writing to them writes to θ
            w[...], b[...] = 1, 2
        assert set(theta.tolist()) == {1.0, 2.0} and (theta == 2).sum() == sum(sizes[1:])


@dtypes
@architectures
def test_initial_weights_are_orthogonal_with_their_gain(sizes, dtype, rng):
    theta = MLP(sizes, "tanh").init(rng, 0.01, dtype)
    assert theta.dtype == dtype
    *hidden, head = _core.mlp_layers(theta, sizes)
    for (weight, bias), gain in [*((layer, np.sqrt(2)) for layer in hidden), (head, 0.01)]:
        w = weight.astype(np.float64) / gain
        gram = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T  # columns or rows, whichever are fewer
        np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-6 if dtype == np.float32 else 1e-14)
        assert not bias.any()


@pytest.mark.parametrize("shape", [(3, 3), (5, 2), (2, 5)])
def test_orthogonal_matrices_are_uniform_and_not_biased_by_the_factorisation(shape, rng):
    """LAPACK's Q alone has signs of its own:
    over all orthogonal matrices the mean of every entry is 0, of its square 1/max(shape).
    """
    q = np.array([orthogonal(shape, rng) for _ in range(2000)])
    for entry in ((0, 0), (-1, -1), (0, 1)):
        assert sigmas(q[(slice(None), *entry)], 0.0) <= 4  # 18 numbers are looked at: 4σ for all is 3σ for one
        assert sigmas(q[(slice(None), *entry)] ** 2, 1 / max(shape)) <= 4


def test_the_start_is_a_function_of_the_generator():
    net = MLP((3, 5, 2), "tanh")
    a, b, c = (net.init(np.random.default_rng(seed), 1.0) for seed in (0, 0, 1))
    assert same_bits(a, b) and not same_bits(a, c) and a.dtype == np.float32
