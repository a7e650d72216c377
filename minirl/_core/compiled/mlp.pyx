"""Multi-layer perceptron over a flat θ = [W₁ (in, out) row by row, b₁, W₂, b₂, …, free]. The loops are in mlp/dispatch.h.

`free` parameters of no layer may stand at the end of θ; they are handed on behind each row of the output, as a log σ is.
"""

from minirl._core.compiled.arrays cimport F32, F64, Span, empty, expect, floats, span


cdef extern from "mlp/dispatch.h" nogil:
    int mlp_forward_pass(const Network *, const void *, const void *, void **, void *, Py_ssize_t)
    int mlp_vjp_pass(const Network *, const void *, const void **, const void *, void *, Py_ssize_t)
    int mlp_jvp_pass(const Network *, const void *, const void **, const void *, void *, Py_ssize_t)

LARGE = 1 << 20  # multiplications from which other threads may run meanwhile


cdef int describe(Network *net, Span *theta, object flat, object sizes, object activation, Py_ssize_t free=0) except -1:
    """The network's shape, and θ's agreement with it; `free` more parameters follow."""
    cdef Py_ssize_t i, room
    if free < 0:
        raise ValueError(f"free must not be negative, is {free}")
    net.free = free
    if activation not in ("tanh", "relu"):
        raise ValueError(f"activation must be 'tanh' or 'relu', not {activation!r}")
    net.relu = activation == "relu"
    net.layers = len(sizes) - 1
    if not 1 <= net.layers <= MLP_MAX_LAYERS:
        raise ValueError(f"sizes must name 2 to {MLP_MAX_LAYERS + 1} widths, not {sizes!r}")
    span(theta, flat, "theta", 1)
    net.wide = theta.wide
    room = theta.rows - free
    for i in range(net.layers + 1):
        net.size[i] = sizes[i]
        if net.size[i] < 1:
            raise ValueError(f"sizes must be positive, not {sizes!r}")
        if i > 0:
            if net.size[i - 1] >= room // net.size[i]:  # in + 1 lines of `out` do not fit; no product that could overflow
                room = -1
                break
            room -= (net.size[i - 1] + 1) * net.size[i]
    if room != 0:
        more = f" and {free} more" if free else ""
        raise ValueError(f"theta has {theta.rows} entries, which is not what the sizes {tuple(sizes)} need{more}")
    return 0


cdef int like(Network *net, Span *s, str name) except -1:
    """The element type is θ's."""
    if s.wide != net.wide:
        raise TypeError(f"{name} must hold {F64 if net.wide else F32} as theta does, not {F64 if s.wide else F32}")
    return 0


cdef Py_ssize_t rows_of(Network *net, object acts, const void **pointers) except -1:
    """The hidden activations h₀ … h_{L−1} that mlp_forward returned, checked; their common number of rows."""
    cdef Span s
    cdef Py_ssize_t i, rows = 0
    if len(acts) != net.layers + 1:
        raise ValueError(f"acts must be the {net.layers + 1} arrays of mlp_forward, not {len(acts)}")
    for i in range(net.layers):
        span(&s, acts[i], "acts", 2)
        like(net, &s, "acts")
        rows = s.rows if i == 0 else rows
        expect("acts", s.rows, s.cols, rows, net.size[i])
        pointers[i] = s.start
    return rows


def mlp_forward(theta, x, sizes, activation, Py_ssize_t free=0):
    """h₀ = x, h_l = σ(h_{l−1} W_l + b_l), y = [h_{L−1} W_L + b_L, free] -> (h₀, …, h_{L−1}, y): all that the two products below need."""
    cdef Network net
    cdef Span flat, s
    cdef void *out[33]
    cdef const void *start
    cdef Py_ssize_t i, rows
    cdef int failed
    describe(&net, &flat, theta, sizes, activation, free)
    x = floats(x, "x", 2)
    span(&s, x, "x", 2)
    like(&net, &s, "x")
    expect("x", s.rows, s.cols, s.rows, net.size[0])
    rows, start, dtype = s.rows, s.start, F64 if net.wide else F32
    acts = [x]
    for i in range(1, net.layers + 1):
        h = empty((rows, net.size[i] + (free if i == net.layers else 0)), dtype)
        span(&s, h, "h", 2)
        out[i - 1] = s.start
        acts.append(h)
    if rows * flat.rows < LARGE:
        failed = mlp_forward_pass(&net, flat.start, start, out, out[net.layers - 1], rows)
    else:
        with nogil:
            failed = mlp_forward_pass(&net, flat.start, start, out, out[net.layers - 1], rows)
    if failed:
        raise MemoryError
    return tuple(acts)


cdef int infer(const Network *net, const void *theta, const void *x, void *y, Py_ssize_t rows) noexcept nogil:
    """y = network(x), nothing kept; −1 without memory."""
    return mlp_forward_pass(net, theta, x, NULL, y, rows)


def mlp_infer(theta, x, sizes, activation, Py_ssize_t free=0):
    """y (N, out + free) alone, nothing kept: acting."""
    cdef Network net
    cdef Span flat, s, y
    cdef int failed
    describe(&net, &flat, theta, sizes, activation, free)
    x = floats(x, "x", 2)
    span(&s, x, "x", 2)
    like(&net, &s, "x")
    expect("x", s.rows, s.cols, s.rows, net.size[0])
    result = empty((s.rows, net.size[net.layers] + free), F64 if net.wide else F32)
    span(&y, result, "y", 2)
    if s.rows * flat.rows < LARGE:
        failed = mlp_forward_pass(&net, flat.start, s.start, NULL, y.start, s.rows)
    else:
        with nogil:
            failed = mlp_forward_pass(&net, flat.start, s.start, NULL, y.start, s.rows)
    if failed:
        raise MemoryError
    return result


def mlp_vjp(theta, acts, dy, sizes, activation, Py_ssize_t free=0):
    """dyᵀ ∂y/∂θ -> (n,): dW_l = h_{l−1}ᵀ dz_l, db_l = Σ_n dz_l, dh_{l−1} = dz_l W_lᵀ, dz_l = dh_l ⊙ σ'(z_l); dfree = Σ_n of its columns."""
    cdef Network net
    cdef Span flat, s, out
    cdef const void *h[33]
    cdef Py_ssize_t rows
    cdef int failed
    describe(&net, &flat, theta, sizes, activation, free)
    rows = rows_of(&net, acts, h)
    dy = floats(dy, "dy", 2)
    span(&s, dy, "dy", 2)
    like(&net, &s, "dy")
    expect("dy", s.rows, s.cols, rows, net.size[net.layers] + free)
    dtheta = empty(flat.rows, F64 if net.wide else F32)
    span(&out, dtheta, "dtheta", 1)
    if rows * flat.rows < LARGE:
        failed = mlp_vjp_pass(&net, flat.start, h, s.start, out.start, rows)
    else:
        with nogil:
            failed = mlp_vjp_pass(&net, flat.start, h, s.start, out.start, rows)
    if failed:
        raise MemoryError
    return dtheta


def mlp_jvp(theta, acts, theta_dot, sizes, activation, Py_ssize_t free=0):
    """∂y/∂θ θ̇ -> (N, out + free): ż_l = h_{l−1} Ẇ_l + ḃ_l + ḣ_{l−1} W_l, ḣ_l = ż_l ⊙ σ'(z_l), ḣ₀ = 0."""
    cdef Network net
    cdef Span flat, s, out
    cdef const void *h[33]
    cdef Py_ssize_t rows
    cdef int failed
    describe(&net, &flat, theta, sizes, activation, free)
    rows = rows_of(&net, acts, h)
    theta_dot = floats(theta_dot, "theta_dot", 1)
    span(&s, theta_dot, "theta_dot", 1)
    like(&net, &s, "theta_dot")
    expect("theta_dot", s.rows, -1, flat.rows, -1)
    y_dot = empty((rows, net.size[net.layers] + free), F64 if net.wide else F32)
    span(&out, y_dot, "y_dot", 2)
    if rows * flat.rows < LARGE:
        failed = mlp_jvp_pass(&net, flat.start, h, s.start, out.start, rows)
    else:
        with nogil:
            failed = mlp_jvp_pass(&net, flat.start, h, s.start, out.start, rows)
    if failed:
        raise MemoryError
    return y_dot
