/* One instruction set (ISA, TARGET, VEC_BYTES, TILE_ROWS, TILE_VECS), both element types. Read by mlp_kernels.h, not on its own. */
#define REAL float
#include "mlp_product.h"
#include "mlp_passes.h"
#undef REAL

#define REAL double
#define REAL_IS_DOUBLE
#include "mlp_product.h"
#include "mlp_passes.h"
#undef REAL
#undef REAL_IS_DOUBLE

#undef ISA
#undef TARGET
#undef VEC_BYTES
#undef TILE_ROWS
#undef TILE_VECS
