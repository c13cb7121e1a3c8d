/* Counter-based random numbers: a value is a function of (seed, stream, index), not of history.
 *
 * So a dropout mask needs no storage, a resumed run draws what the undisturbed one would have
 * drawn, and threads need no order. Philox 4x32-10 (Salmon et al., "Parallel random numbers: as
 * easy as 1, 2, 3", SC 2011), checked against the authors' known answers. */
#ifndef AFFECT_CORE_RANDOM_H
#define AFFECT_CORE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What distinguishes one sequence from another. `stream` is made with affect_random_stream. */
typedef struct {
    uint64_t seed;
    uint64_t stream;
} affect_random_key;

/* A stream number from a purpose and two coordinates, as ("dropout", layer, step): any two
 * different triples give unrelated streams. */
uint64_t affect_random_stream(const char *purpose, uint64_t a, uint64_t b);

#ifdef __CUDACC__ /* devices draw the same numbers */
#define AFFECT_ON_DEVICE __host__ __device__
#else
#define AFFECT_ON_DEVICE
#endif

/* Four 32-bit words: block number `index` of the sequence. */
AFFECT_ON_DEVICE static inline void affect_random_block(uint32_t words[4], affect_random_key key,
                                                        uint64_t index) {
    uint32_t x0 = (uint32_t)index, x1 = (uint32_t)(index >> 32);
    uint32_t x2 = (uint32_t)key.stream, x3 = (uint32_t)(key.stream >> 32);
    uint32_t k0 = (uint32_t)key.seed, k1 = (uint32_t)(key.seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * x0, p1 = (uint64_t)0xCD9E8D57u * x2;
        x0 = (uint32_t)(p1 >> 32) ^ x1 ^ k0;
        x1 = (uint32_t)p1;
        x2 = (uint32_t)(p0 >> 32) ^ x3 ^ k1;
        x3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    words[0] = x0;
    words[1] = x1;
    words[2] = x2;
    words[3] = x3;
}
/* Word `index` of the sequence: word index % 4 of block index / 4. */
uint32_t affect_random_word(affect_random_key key, uint64_t index);
/* Uniform in [0, 1), 53 bits, from words 2 index and 2 index + 1. */
double affect_random_uniform(affect_random_key key, uint64_t index);
/* Standard normal (Box-Muller on uniforms 2 index and 2 index + 1). */
double affect_random_normal(affect_random_key key, uint64_t index);
/* order[0..n) becomes a uniformly random permutation of 0..n-1 (Fisher-Yates). */
void affect_random_permutation(size_t *order, size_t n, affect_random_key key);

#ifdef __cplusplus
}
#endif

#endif
