"""Multi-layer perceptron over a flat θ = [W₁ (in, out) row by row, b₁, W₂, b₂, …, free]. Loops: mlp/dispatch.h.

θ may end in `free` parameters that belong to no layer, such as log σ; they are appended to each row of the output.
"""

from minirl._core.compiled.arrays cimport (
    ANY, AS_IT_IS, EITHER_FLOAT, FLOAT32, FLOAT64, SAME, VECTOR, Array, new_array, take)


cdef extern from "mlp/dispatch.h" nogil:
    int mlp_forward_pass(
        const Network *net, const void *theta, const void *x, void **hidden, void *y, Py_ssize_t rows)
    int mlp_vjp_pass(
        const Network *net, const void *theta, const void **acts, const void *dy, void *dtheta, Py_ssize_t rows)
    int mlp_jvp_pass(
        const Network *net, const void *theta, const void **acts, const void *theta_dot, void *y_dot, Py_ssize_t rows)


cdef int describe(
    Network *net, Array *theta_, object theta, object sizes, object activation, Py_ssize_t free,
) except -1:
    """The network's shape, and θ's agreement with it; `free` more parameters follow."""
    if free < 0:
        raise ValueError(f"free must not be negative, is {free}")
    if activation not in ("tanh", "relu"):
        raise ValueError(f"activation must be 'tanh' or 'relu', not {activation!r}")
    net.free, net.relu, net.layers = free, activation == "relu", len(sizes) - 1
    if not 1 <= net.layers <= MLP_MAX_LAYERS:
        raise ValueError(f"sizes must name 2 to {MLP_MAX_SIZES} widths, not {sizes!r}")
    take(theta_, theta, "theta", EITHER_FLOAT | AS_IT_IS, ANY, VECTOR)
    net.wide = theta_.wide
    if not fills(net, sizes, theta_.rows - free):
        more = f" and {free} more" if free else ""
        raise ValueError(f"theta has {theta_.rows} entries, which is not what the sizes {tuple(sizes)} need{more}")
    return 0


cdef int fills(Network *net, object sizes, Py_ssize_t room) except -1:
    """Reads the widths; 1 where the layers need just `room` numbers, else 0."""
    cdef Py_ssize_t i
    for i in range(net.layers + 1):
        net.size[i] = sizes[i]
        if net.size[i] < 1:
            raise ValueError(f"sizes must be positive, not {sizes!r}")
        if i > 0:
            # in + 1 lines of `out` do not fit; no product that could overflow
            if net.size[i - 1] >= room // net.size[i]:
                return 0
            room -= (net.size[i - 1] + 1) * net.size[i]
    return room == 0


cdef char type_of(const Network *net) noexcept nogil:
    """The element type of θ, and of all that goes through the network."""
    return FLOAT64 if net.wide else FLOAT32


cdef Py_ssize_t outputs(const Network *net) noexcept nogil:
    """Numbers in a row of the output, with the free parameters."""
    return net.size[net.layers] + net.free


cdef Py_ssize_t rows_of(Network *net, object acts, const void **pointers) except -1:
    """The hidden activations h₀ … h_{L−1} that mlp_forward returned, checked; their common number of rows."""
    cdef Array h
    cdef Py_ssize_t i, rows = ANY
    if len(acts) != net.layers + 1:
        raise ValueError(f"acts must be the {net.layers + 1} arrays of mlp_forward, not {len(acts)}")
    for i in range(net.layers):
        take(&h, acts[i], "acts", type_of(net) | SAME | AS_IT_IS, rows, net.size[i])
        rows, pointers[i] = h.rows, h.start
    return rows


def mlp_forward(theta, x, sizes, activation, Py_ssize_t free=0):
    """h₀ = x, h_l = σ(h_{l−1} W_l + b_l), y = [h_{L−1} W_L + b_L, free] -> (h₀, …, h_{L−1}, y).

    That is all that the two products below need.
    """
    cdef Network net
    cdef Array theta_, x_, h_
    cdef void *out[MLP_MAX_LAYERS]
    cdef Py_ssize_t i
    cdef int failed
    describe(&net, &theta_, theta, sizes, activation, free)
    x = take(&x_, x, "x", type_of(&net) | SAME, ANY, net.size[0])
    acts = [x]
    for i in range(1, net.layers + 1):
        h = new_array(&h_, type_of(&net), x_.rows, outputs(&net) if i == net.layers else net.size[i])
        out[i - 1] = h_.start
        acts.append(h)
    if x_.rows * theta_.rows < RELEASE_GIL_FROM:
        failed = mlp_forward_pass(&net, theta_.start, x_.start, out, out[net.layers - 1], x_.rows)
    else:
        with nogil:
            failed = mlp_forward_pass(&net, theta_.start, x_.start, out, out[net.layers - 1], x_.rows)
    if failed:
        raise MemoryError
    return tuple(acts)


cdef int infer(const Network *net, const void *theta, const void *x, void *y, Py_ssize_t rows) noexcept nogil:
    """y = network(x), nothing kept; −1 without memory."""
    return mlp_forward_pass(net, theta, x, NULL, y, rows)


def mlp_infer(theta, x, sizes, activation, Py_ssize_t free=0):
    """y (N, out + free) alone, nothing kept: acting."""
    cdef Network net
    cdef Array theta_, x_, y_
    cdef int failed
    describe(&net, &theta_, theta, sizes, activation, free)
    x = take(&x_, x, "x", type_of(&net) | SAME, ANY, net.size[0])
    y = new_array(&y_, type_of(&net), x_.rows, outputs(&net))
    if x_.rows * theta_.rows < RELEASE_GIL_FROM:
        failed = infer(&net, theta_.start, x_.start, y_.start, x_.rows)
    else:
        with nogil:
            failed = infer(&net, theta_.start, x_.start, y_.start, x_.rows)
    if failed:
        raise MemoryError
    return y


def mlp_vjp(theta, acts, dy, sizes, activation, Py_ssize_t free=0):
    """dyᵀ ∂y/∂θ -> (n,): dW_l = h_{l−1}ᵀ dz_l, db_l = Σ_n dz_l, dh_{l−1} = dz_l W_lᵀ, dz_l = dh_l ⊙ σ'(z_l).

    The free parameters' part is the sum over n of their columns of dy.
    """
    cdef Network net
    cdef Array theta_, dy_, dtheta_
    cdef const void *h[MLP_MAX_LAYERS]
    cdef Py_ssize_t rows
    cdef int failed
    describe(&net, &theta_, theta, sizes, activation, free)
    rows = rows_of(&net, acts, h)
    dy = take(&dy_, dy, "dy", type_of(&net) | SAME, rows, outputs(&net))
    dtheta = new_array(&dtheta_, type_of(&net), theta_.rows, VECTOR)
    if rows * theta_.rows < RELEASE_GIL_FROM:
        failed = mlp_vjp_pass(&net, theta_.start, h, dy_.start, dtheta_.start, rows)
    else:
        with nogil:
            failed = mlp_vjp_pass(&net, theta_.start, h, dy_.start, dtheta_.start, rows)
    if failed:
        raise MemoryError
    return dtheta


def mlp_jvp(theta, acts, theta_dot, sizes, activation, Py_ssize_t free=0):
    """∂y/∂θ θ̇ -> (N, out + free): ż_l = h_{l−1} Ẇ_l + ḃ_l + ḣ_{l−1} W_l, ḣ_l = ż_l ⊙ σ'(z_l), ḣ₀ = 0."""
    cdef Network net
    cdef Array theta_, theta_dot_, y_dot_
    cdef const void *h[MLP_MAX_LAYERS]
    cdef Py_ssize_t rows
    cdef int failed
    describe(&net, &theta_, theta, sizes, activation, free)
    rows = rows_of(&net, acts, h)
    theta_dot = take(&theta_dot_, theta_dot, "theta_dot", type_of(&net) | SAME, theta_.rows, VECTOR)
    y_dot = new_array(&y_dot_, type_of(&net), rows, outputs(&net))
    if rows * theta_.rows < RELEASE_GIL_FROM:
        failed = mlp_jvp_pass(&net, theta_.start, h, theta_dot_.start, y_dot_.start, rows)
    else:
        with nogil:
            failed = mlp_jvp_pass(&net, theta_.start, h, theta_dot_.start, y_dot_.start, rows)
    if failed:
        raise MemoryError
    return y_dot
