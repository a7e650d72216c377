/* Every limit and fixed size of the kernels. What belongs to one formula alone (where tanh is 1) stands with it. */
#ifndef MINIRL_KERNEL_LIMITS_H
#define MINIRL_KERNEL_LIMITS_H

/* Networks: checked by `describe` in mlp.pyx, so that the kernels' tables of layers can lie on the stack. */
#define MLP_MAX_LAYERS 32                   /* affine maps */
#define MLP_MAX_SIZES (MLP_MAX_LAYERS + 1) /* widths, from the observation's to the output's */

/* A call that takes so many multiplications lets other Python threads run meanwhile. */
#define RELEASE_GIL_FROM (1 << 20)

/* Rows go through all layers in blocks of so many: activations and one layer's weights stay in the cache. */
#define MLP_ROW_BLOCK 128

/* A panel of B is copied to where its lines lie side by side if they are MLP_PACK_STRIDE bytes or more apart, so that
 * they would fall into few sets of the cache, or if vectors would straddle cache lines, and if MLP_PACK_ROWS rows or
 * more pay for it. */
#define MLP_PACK_STRIDE 1024
#define MLP_PACK_ROWS 32

/* Agents of one simple_spread, whose forces lie on the stack. As in reference/simple_spread.py. */
#define SPREAD_MAX_AGENTS 64

/* log σ is cut at ±LOG_STD_LIMIT inside densities: σ² and 1/σ² stay finite in float32. As in reference/gaussian.py. */
#define LOG_STD_LIMIT 20.0

#endif
