/* The four passes of a multi-layer perceptron, for float and double, at the width of the processor's vectors.
 *
 * Everything is one matrix product, C = A·B (+ bias), in three shapes:
 *     forward, tangent   Y  = X · W  + b       rows of X, contiguous lines of W
 *     backward, inputs   dX = dY · Wᵀ          W is transposed once into scratch, so that its lines are contiguous
 *     backward, weights  dW = Xᵀ · dY          X is read down its columns, one number at a time
 * To be read in this order, each file being plain C over one element type and one instruction set:
 *     network.h          what a network is: the widths of its layers
 *     product_plain.h    the product, in a dozen lines of standard C: the specification
 *     product_tiled.h    the same in tiles of vector registers, with a picture of one
 *     transpose.h        Wᵀ
 *     activations.h      tanh, relu and their slopes
 *     passes.h           forward, jvp and vjp, from these
 *     dispatch.h         this file: one copy of all that per instruction set, and the choice among them at run time;
 *                        one_type.h lists the files above, ../each_type.h reads it for float and for double
 *
 * Every entry of C is one sum over k in rising order, whatever the tile: a row's result does not depend on the rows it
 * comes with. Instruction sets differ in one thing, whether a·b + c is rounded once (FMA) or twice, so results differ
 * in the last bits between processors with and without it. No fast-math: NaN and infinities pass through. No static
 * state; threads may call at once. */
#ifndef MINIRL_MLP_DISPATCH_H
#define MINIRL_MLP_DISPATCH_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "network.h"

/* The highest level to build: −1 standard C, 0 any processor, 1 AVX2, 2 AVX-512; lowered only to test the others */
#if !defined(MINIRL_SIMD)
#define MINIRL_SIMD 2
#endif

#if defined(__GNUC__) && MINIRL_SIMD >= 0
#define MLP_INLINE static inline __attribute__((always_inline))
#define MLP_APART __attribute__((noinline))
#define MLP_UNROLL _Pragma("GCC unroll 16")
#else
#define MLP_INLINE static inline
#define MLP_APART
#define MLP_UNROLL
#endif

#if defined(__has_builtin) && MINIRL_SIMD >= 0
#if __has_builtin(__builtin_shufflevector)
#define MLP_SHUFFLE
#endif
#endif

#define MLP_ALIGNED(memory) (void *)(((uintptr_t)(memory) + 63) / 64 * 64) /* the next line of the cache */

/* What every processor can run: 128-bit vectors are SSE2 on x86-64 and NEON on AArch64; standard C has none. */
#define ISA plain
#define TARGET
#if defined(__GNUC__) && MINIRL_SIMD >= 0
#define VEC_BYTES 16
#if defined(__aarch64__)
#define TILE_ROWS 6 /* 24 sums, 4 of B and 1 of A in 32 registers */
#define TILE_VECS 4
#else
#define TILE_ROWS 4 /* 8 sums, 2 of B, 1 of A and a product in 16 registers */
#define TILE_VECS 2
#endif
#else
#define TILE_VECS 1
#endif
#define EACH_TYPE "mlp/one_type.h"
#include "../each_type.h"
#undef ISA
#undef TARGET
#undef VEC_BYTES
#undef TILE_ROWS
#undef TILE_VECS

#if defined(__GNUC__) && defined(__x86_64__) && MINIRL_SIMD >= 1
#define MLP_DISPATCH

#define ISA avx2
#define TARGET __attribute__((target("avx2,fma")))
#define VEC_BYTES 32
#define TILE_ROWS 6 /* 12 sums, 2 of B and 1 of A in 16 registers */
#define TILE_VECS 2
#define EACH_TYPE "mlp/one_type.h"
#include "../each_type.h"
#undef ISA
#undef TARGET
#undef VEC_BYTES
#undef TILE_ROWS
#undef TILE_VECS

#define ISA avx512
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,prefer-vector-width=512")))
#define VEC_BYTES 64
#define TILE_ROWS 6 /* 24 sums, 4 of B and 1 of A in 32 registers */
#define TILE_VECS 4
#define EACH_TYPE "mlp/one_type.h"
#include "../each_type.h"
#undef ISA
#undef TARGET
#undef VEC_BYTES
#undef TILE_ROWS
#undef TILE_VECS

static int mlp_level(void) /* 2: AVX-512, 1: AVX2 and FMA, 0: what every x86-64 has */
{
    if (MINIRL_SIMD >= 2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return 2;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

#if defined(MLP_DISPATCH)
#define MLP_PASS(wide, pass, ...) \
    (mlp_level() == 2   ? BY_TYPE(wide, pass##_avx512, __VA_ARGS__) \
     : mlp_level() == 1 ? BY_TYPE(wide, pass##_avx2, __VA_ARGS__) \
                        : BY_TYPE(wide, pass##_plain, __VA_ARGS__))
#else
#define MLP_PASS(wide, pass, ...) BY_TYPE(wide, pass##_plain, __VA_ARGS__)
#endif

/* The entries: each returns 0, or −1 when there is no memory for its scratch. */

static int mlp_forward_pass(const Network *net, const void *theta, const void *x, void *const *hidden, void *y,
    ptrdiff_t rows)
{
    return MLP_PASS(net->wide, forward, net, theta, x, hidden, y, rows);
}

static int mlp_vjp_pass(const Network *net, const void *theta, const void *const *acts, const void *dy, void *dtheta,
    ptrdiff_t rows)
{
    return MLP_PASS(net->wide, vjp, net, theta, acts, dy, dtheta, rows);
}

static int mlp_jvp_pass(const Network *net, const void *theta, const void *const *acts, const void *theta_dot,
    void *y_dot, ptrdiff_t rows)
{
    return MLP_PASS(net->wide, jvp, net, theta, acts, theta_dot, y_dot, rows);
}

#endif
