/* Vectors of affect_real as wide as the level's registers, in the compilers' own vector extension:
 * +, * and < work on them, and a * b + c becomes one fused multiply-add where the level has it.
 * Loads and stores need no alignment. */
#ifndef AFFECT_CPU_CPU_VECTOR_H
#define AFFECT_CPU_CPU_VECTOR_H

#include "engine/core/tensor.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
enum { AFFECT_VECTOR_BYTES = 64, AFFECT_TILE_ROWS = 12, AFFECT_TILE_VECTORS = 24 };
#elif defined(__AVX2__)
enum { AFFECT_VECTOR_BYTES = 32, AFFECT_TILE_ROWS = 6, AFFECT_TILE_VECTORS = 12 };
#else
enum { AFFECT_VECTOR_BYTES = 16, AFFECT_TILE_ROWS = 6, AFFECT_TILE_VECTORS = 12 };
#endif
/* TILE_ROWS rows of two vectors, or TILE_VECTORS of one, are accumulated in registers. */

typedef affect_real affect_vector
    __attribute__((vector_size(AFFECT_VECTOR_BYTES), aligned(sizeof(affect_real)), may_alias));

enum { AFFECT_LANES = AFFECT_VECTOR_BYTES / sizeof(affect_real) };

static inline __attribute__((always_inline)) const affect_vector *
affect_vectors(const affect_real *numbers) {
    return (const affect_vector *)numbers;
}

/* Before a loop of few, constant turns over an array that is to live in registers. */
#ifdef __clang__
#define AFFECT_UNROLL _Pragma("clang loop unroll(full)")
#else
#define AFFECT_UNROLL _Pragma("GCC unroll 32")
#endif

/* The same pointer, of which the compiler knows nothing more: keeps it from precomputing the
 * addresses of all of a tile's vectors, for which there are not enough registers. */
#define AFFECT_OPAQUE(pointer) __asm__("" : "+r"(pointer))

#define AFFECT_INLINE static inline __attribute__((always_inline))

/* Bit i is set where a[i] > b[i], for i < n <= 32. */
AFFECT_INLINE uint32_t affect_greater_bits(const affect_real *a, const affect_real *b, size_t n) {
    uint32_t bits = 0;
    size_t i = 0;
#if defined(__AVX512F__) && !defined(AFFECT_REAL_DOUBLE)
    for (; i + 16 <= n; i += 16)
        bits |=
            (uint32_t)_mm512_cmp_ps_mask(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i), _CMP_GT_OQ)
            << i;
#elif defined(__AVX2__) && !defined(AFFECT_REAL_DOUBLE)
    for (; i + 8 <= n; i += 8)
        bits |= (uint32_t)_mm256_movemask_ps(
                    _mm256_cmp_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), _CMP_GT_OQ))
                << i;
#endif
    for (; i < n; i++) bits |= (uint32_t)(a[i] > b[i]) << i;
    return bits;
}

#endif
