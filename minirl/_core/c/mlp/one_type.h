/* The network's loops for one element type (REAL) and one instruction set (ISA, TARGET, VEC_BYTES, TILE_ROWS,
 * TILE_VECS). Read by ../each_type.h for dispatch.h, not on its own. */
#if defined(VEC_BYTES)
#define LANES ((ptrdiff_t)(VEC_BYTES / sizeof(REAL))) /* numbers in a vector */
#else
#define LANES ((ptrdiff_t)1)
#endif
#define PADDED(n) (((n) + LANES - 1) / LANES * LANES) /* n rounded up to whole vectors */

#include "product_plain.h"
#if defined(VEC_BYTES)
#include "product_tiled.h"
#endif
#include "transpose.h"
#include "activations.h"
#include "passes.h"

#undef LANES
#undef PADDED
