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

/* Four 32-bit words: block number `index` of the sequence. */
void affect_random_block(uint32_t words[4], affect_random_key key, uint64_t index);
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
