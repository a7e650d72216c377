/* forward, vjp and jvp over a flat θ = [W₁ (in, out) row by row, b₁, W₂, b₂, …]. Read by one_type.h, not on its own.
 *
 * Rows go through all layers in blocks, so that a block's activations and one layer's weights stay in the cache. Lines
 * of B must be whole vectors long: where a layer's width is not, the weights are copied into scratch with zeros behind
 * each line. */

typedef struct {
    const REAL *w, *b; /* (in, row) and (row) */
    ptrdiff_t row;     /* numbers from one line of w to the next */
} NAME(layer);

static TARGET ptrdiff_t NAME(widest)(const Network *net)
{
    ptrdiff_t widest = 1;
    for (ptrdiff_t l = 0; l <= net->layers; l++)
        if (net->size[l] > widest) widest = net->size[l];
    return PADDED(widest);
}

/* What product() may need in scratch: no depth is more than the widest layer or a block's rows. */
static TARGET ptrdiff_t NAME(panel_room)(const Network *net)
{
    return (NAME(widest)(net) + MLP_ROW_BLOCK) * TILE_VECS * LANES;
}

/* What layers() may need in scratch. */
static TARGET ptrdiff_t NAME(layers_room)(const Network *net)
{
    ptrdiff_t room = 0;
    for (ptrdiff_t l = 0; l < net->layers; l++)
        if (net->size[l + 1] % LANES) room += (net->size[l] + 1) * PADDED(net->size[l + 1]);
    return room;
}

/* The layers of θ with lines of whole vectors: views of θ itself where they are, copies in scratch where they are not.
 * Returns what is left. */
static TARGET REAL *NAME(layers)(const Network *net, const REAL *theta, NAME(layer) *layer, REAL *scratch)
{
    for (ptrdiff_t l = 0; l < net->layers; l++) {
        const ptrdiff_t in = net->size[l], out = net->size[l + 1], row = PADDED(out);
        layer[l] = (NAME(layer)){theta, theta + in * out, row};
        if (row != out) {
            layer[l].w = scratch;
            layer[l].b = scratch + in * row;
            for (ptrdiff_t k = 0; k <= in; k++, scratch += row) { /* the bias is the line after the last */
                for (ptrdiff_t j = 0; j < out; j++) scratch[j] = theta[k * out + j];
                for (ptrdiff_t j = out; j < row; j++) scratch[j] = 0;
            }
        }
        theta += (in + 1) * out;
    }
    return scratch;
}

/* The free parameters, behind the network's own in θ, behind each row of y too. */
static TARGET void NAME(append)(const Network *net, const REAL *theta, REAL *y, ptrdiff_t rows)
{
    const ptrdiff_t width = net->size[net->layers], row = width + net->free;
    for (ptrdiff_t l = 0; l < net->layers; l++) theta += (net->size[l] + 1) * net->size[l + 1];
    for (ptrdiff_t n = 0; n < rows && net->free; n++)
        for (ptrdiff_t j = 0; j < net->free; j++) y[n * row + width + j] = theta[j];
}

/* h₀ = x, h_l = σ(h_{l−1} W_l + b_l), y = [h_{L−1} W_L + b_L, free]. hidden: where h₁ … h_{L−1} go, each (rows, width);
 * NULL keeps none. */
static TARGET int NAME(forward)(const Network *net, const REAL *theta, const REAL *x, void *const *hidden, REAL *y,
    ptrdiff_t rows)
{
    const ptrdiff_t last = net->layers - 1, some = rows < MLP_ROW_BLOCK ? rows : MLP_ROW_BLOCK;
    const ptrdiff_t space = hidden ? 0 : some * NAME(widest)(net);
    NAME(layer) layer[MLP_MAX_LAYERS];
    void *memory = malloc((size_t)(NAME(panel_room)(net) + NAME(layers_room)(net) + 2 * space + 64) * sizeof(REAL));
    if (!memory) return -1;
    REAL *room = MLP_ALIGNED(memory), *scratch = room + NAME(panel_room)(net);
    REAL *spare = NAME(layers)(net, theta, layer, scratch);

    for (ptrdiff_t first = 0; first < rows; first += MLP_ROW_BLOCK) {
        const ptrdiff_t block = rows - first < MLP_ROW_BLOCK ? rows - first : MLP_ROW_BLOCK;
        const REAL *h = x + first * net->size[0];
        for (ptrdiff_t l = 0; l <= last; l++) {
            const ptrdiff_t in = net->size[l], out = net->size[l + 1], row = l == last ? out + net->free : out;
            REAL *z = l == last ? y + first * row : hidden ? (REAL *)hidden[l] + first * out : spare + (l % 2) * space;
            NAME(product)((NAME(matmul)){.rows = block, .cols = out, .depth = in, .a = h, .a_row = in, .a_step = 1,
                .b = layer[l].w, .b_row = layer[l].row, .bias = layer[l].b, .c = z, .c_row = row, .room = room});
            if (l < last) NAME(activate)(z, block * out, net->relu);
            h = z;
        }
    }
    NAME(append)(net, theta, y, rows);
    free(memory);
    return 0;
}

/* ż_l = h_{l−1} Ẇ_l + ḃ_l + ḣ_{l−1} W_l, ḣ_l = ż_l ⊙ σ'(z_l), ḣ₀ = 0, ẏ = [ż_L, free]. acts: h₀ … h_{L−1}. */
static TARGET int NAME(jvp)(const Network *net, const REAL *theta, const void *const *acts, const REAL *theta_dot,
    REAL *y_dot, ptrdiff_t rows)
{
    const ptrdiff_t last = net->layers - 1, space = (rows < MLP_ROW_BLOCK ? rows : MLP_ROW_BLOCK) * NAME(widest)(net);
    NAME(layer) layer[MLP_MAX_LAYERS], tangent[MLP_MAX_LAYERS];
    void *memory = malloc((size_t)(NAME(panel_room)(net) + 2 * NAME(layers_room)(net) + 2 * space + 64) * sizeof(REAL));
    if (!memory) return -1;
    REAL *room = MLP_ALIGNED(memory), *scratch = room + NAME(panel_room)(net);
    REAL *spare = NAME(layers)(net, theta_dot, tangent, NAME(layers)(net, theta, layer, scratch));

    for (ptrdiff_t first = 0; first < rows; first += MLP_ROW_BLOCK) {
        const ptrdiff_t block = rows - first < MLP_ROW_BLOCK ? rows - first : MLP_ROW_BLOCK;
        const REAL *h_dot = NULL;
        for (ptrdiff_t l = 0; l <= last; l++) {
            const ptrdiff_t in = net->size[l], out = net->size[l + 1], row = l == last ? out + net->free : out;
            const REAL *h = (const REAL *)acts[l] + first * in;
            REAL *z_dot = l == last ? y_dot + first * row : spare + (l % 2) * space;
            NAME(matmul) p = {.rows = block, .cols = out, .depth = in, .a = h, .a_row = in, .a_step = 1,
                .b = tangent[l].w, .b_row = tangent[l].row, .bias = tangent[l].b, .c = z_dot, .c_row = row,
                .room = room};
            NAME(product)(p);
            if (l > 0) {
                p.a = h_dot, p.b = layer[l].w, p.bias = NULL, p.add = 1;
                NAME(product)(p);
            }
            if (l < last) NAME(slope)(z_dot, (const REAL *)acts[l + 1] + first * out, block * out, net->relu);
            h_dot = z_dot;
        }
    }
    NAME(append)(net, theta_dot, y_dot, rows);
    free(memory);
    return 0;
}

/* The gradient of the free parameters: the sums of their columns of dy, in double. */
static TARGET void NAME(free_sums)(const Network *net, const REAL *dy, REAL *dfree, ptrdiff_t rows)
{
    const ptrdiff_t width = net->size[net->layers], row = width + net->free;
    for (ptrdiff_t j = 0; j < net->free; j += 8) {
        const ptrdiff_t some = net->free - j < 8 ? net->free - j : 8;
        double sum[8] = {0};
        for (ptrdiff_t n = 0; n < rows; n++)
            for (ptrdiff_t i = 0; i < some; i++) sum[i] += dy[n * row + width + j + i];
        for (ptrdiff_t i = 0; i < some; i++) dfree[j + i] = (REAL)sum[i];
    }
}

/* dW_l = h_{l−1}ᵀ dz_l, db_l = Σ_n dz_l, dh_{l−1} = dz_l W_lᵀ, dz_l = dh_l ⊙ σ'(z_l). acts: h₀ … h_{L−1}. Each block is
 * summed by itself and then added to dθ, which keeps the rounding of a long sum small. */
static TARGET int NAME(vjp)(const Network *net, const REAL *theta, const void *const *acts, const REAL *dy,
    REAL *dtheta, ptrdiff_t rows)
{
    const ptrdiff_t last = net->layers - 1, space = (rows < MLP_ROW_BLOCK ? rows : MLP_ROW_BLOCK) * NAME(widest)(net);
    ptrdiff_t transposed_room = 0, count = 0, at[MLP_MAX_LAYERS];
    for (ptrdiff_t l = 0; l <= last; l++) {
        at[l] = count;
        count += (net->size[l] + 1) * net->size[l + 1];
        if (l > 0) transposed_room += net->size[l + 1] * PADDED(net->size[l]);
    }
    void *memory = malloc((size_t)(NAME(panel_room)(net) + transposed_room + 2 * space + 64) * sizeof(REAL));
    if (!memory) return -1;
    REAL *room = MLP_ALIGNED(memory), *transposed[MLP_MAX_LAYERS], *spare = room + NAME(panel_room)(net);
    for (ptrdiff_t l = 1; l <= last; l++) {
        NAME(transpose)(theta + at[l], net->size[l], net->size[l + 1], spare);
        transposed[l] = spare;
        spare += net->size[l + 1] * PADDED(net->size[l]);
    }
    const REAL one = 1;
    if (rows == 0) memset(dtheta, 0, (size_t)count * sizeof(REAL));

    for (ptrdiff_t first = 0; first < rows; first += MLP_ROW_BLOCK) {
        const ptrdiff_t block = rows - first < MLP_ROW_BLOCK ? rows - first : MLP_ROW_BLOCK,
            width = net->size[last + 1];
        REAL *dz = spare + (last % 2) * space;
        for (ptrdiff_t n = 0; n < block; n++) { /* dz_L = dy, with zeros behind each line */
            const REAL *line = dy + (first + n) * (width + net->free);
            for (ptrdiff_t j = 0; j < PADDED(width); j++) dz[n * PADDED(width) + j] = j < width ? line[j] : 0;
        }

        for (ptrdiff_t l = last; l >= 0; l--) {
            const ptrdiff_t in = net->size[l], out = net->size[l + 1], row = PADDED(in);
            const REAL *h = (const REAL *)acts[l] + first * in;
            /* a vector of outputs would be part empty: dW_lᵀ = dz_lᵀ h_{l−1}, then transposed */
            if (2 * out < LANES && in == row) {
                NAME(product)((NAME(matmul)){.rows = out, .cols = in, .depth = block, .a = dz, .a_row = 1,
                    .a_step = PADDED(out), .b = h, .b_row = in, .c = room, .c_row = in});
                for (ptrdiff_t i = 0; i < in; i++)
                    for (ptrdiff_t j = 0; j < out; j++) {
                        REAL *dw = dtheta + at[l] + i * out + j;
                        *dw = first > 0 ? *dw + room[j * in + i] : room[j * in + i];
                    }
            } else
                NAME(product)((NAME(matmul)){.rows = in, .cols = out, .depth = block, .a = h, .a_row = 1, .a_step = in,
                    .b = dz, .b_row = PADDED(out), .c = dtheta + at[l], .c_row = out, .add = first > 0, .room = room});
            NAME(product)((NAME(matmul)){.rows = 1, .cols = out, .depth = block, .a = &one, .b = dz,
                .b_row = PADDED(out), .c = dtheta + at[l] + in * out, .add = first > 0});
            if (l > 0) {
                REAL *dh = spare + ((l + 1) % 2) * space;
                NAME(product)((NAME(matmul)){.rows = block, .cols = row, .depth = out, .a = dz, .a_row = PADDED(out),
                    .a_step = 1, .b = transposed[l], .b_row = row, .c = dh, .c_row = row, .room = room});
                for (ptrdiff_t n = 0; n < block; n++) NAME(slope)(dh + n * row, h + n * in, in, net->relu);
                dz = dh;
            }
        }
    }
    NAME(free_sums)(net, dy, dtheta + count, rows);
    free(memory);
    return 0;
}
