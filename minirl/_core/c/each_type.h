/* float32 and float64, for every loop in C: reads the file that EACH_TYPE names twice, with REAL float and REAL double.
 *
 * Such a file is plain C over REAL. It calls its functions NAME(f), which is f_float and then f_double, and asks
 * `#if defined(REAL_IS_DOUBLE)` where the two differ in more than the type. BY_TYPE(wide, f, …) calls one of them.
 * A file that reads itself has its loops under `#if defined(REAL)`, and below them what is written once. */
#ifndef MINIRL_EACH_TYPE_H
#define MINIRL_EACH_TYPE_H

#define TYPE_JOIN2(a, b) a##_##b
#define TYPE_JOIN3(a, b, c) a##_##b##_##c
#define TYPE_NAME(function, real) TYPE_JOIN2(function, real)
#define TYPE_ISA_NAME(function, isa, real) TYPE_JOIN3(function, isa, real)

#define BY_TYPE(wide, function, ...) ((wide) ? function##_double(__VA_ARGS__) : function##_float(__VA_ARGS__))

#endif

#undef NAME
#if defined(ISA) /* mlp/dispatch.h: f_avx2_float */
#define NAME(function) TYPE_ISA_NAME(function, ISA, REAL)
#else
#define NAME(function) TYPE_NAME(function, REAL)
#endif

#define REAL float
#include EACH_TYPE
#undef REAL

#define REAL double
#define REAL_IS_DOUBLE
#include EACH_TYPE
#undef REAL
#undef REAL_IS_DOUBLE

#undef EACH_TYPE
