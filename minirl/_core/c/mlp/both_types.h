/* One instruction set (ISA, TARGET, VEC_BYTES, TILE_ROWS, TILE_VECS), both element types. Read by dispatch.h, not on its own. */
#if defined(VEC_BYTES)
#define LANES ((ptrdiff_t)(VEC_BYTES / sizeof(REAL))) /* numbers in a vector */
#else
#define LANES ((ptrdiff_t)1)
#endif
#define WHOLE(n) (((n) + LANES - 1) / LANES * LANES) /* n rounded up to whole vectors */

#define REAL float
#include "product_plain.h"
#if defined(VEC_BYTES)
#include "product_tiled.h"
#endif
#include "transpose.h"
#include "activations.h"
#include "passes.h"
#undef REAL

#define REAL double
#define REAL_IS_DOUBLE
#include "product_plain.h"
#if defined(VEC_BYTES)
#include "product_tiled.h"
#endif
#include "transpose.h"
#include "activations.h"
#include "passes.h"
#undef REAL
#undef REAL_IS_DOUBLE

#undef LANES
#undef WHOLE
#undef ISA
#undef TARGET
#undef VEC_BYTES
#undef TILE_ROWS
#undef TILE_VECS
