/* One instruction set (ISA, TARGET, VEC_BYTES, TILE_ROWS, TILE_VECS), both element types. Read by dispatch.h, not on its own. */
#define REAL float
#include "product_tiled.h"
#include "passes.h"
#undef REAL

#define REAL double
#define REAL_IS_DOUBLE
#include "product_tiled.h"
#include "passes.h"
#undef REAL
#undef REAL_IS_DOUBLE

#undef ISA
#undef TARGET
#undef VEC_BYTES
#undef TILE_ROWS
#undef TILE_VECS
