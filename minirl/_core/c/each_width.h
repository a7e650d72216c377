/* EACH_WIDTH before a function: gcc compiles it once per vector width and the loader takes the widest that the
 * processor has. Elsewhere the compiler's ordinary vectors do. With -ffp-contract=off and no sum across elements, every
 * width gives the same bits. ALWAYS_INLINE: a part of such a function. */
#ifndef MINIRL_EACH_WIDTH_H
#define MINIRL_EACH_WIDTH_H

#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__GLIBC__) \
    && !(defined(MINIRL_SIMD) && MINIRL_SIMD <= 0)
#define EACH_WIDTH __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define EACH_WIDTH
#endif

#if defined(__GNUC__)
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#else
#define ALWAYS_INLINE static inline
#endif

#endif
