/* Philox 4x32-10 and what is drawn from it; see random.h. */
#include "engine/core/random.h"

#include <math.h>

static uint64_t mix(uint64_t x) { /* splitmix64's finaliser (Steele et al. 2014) */
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

uint64_t affect_random_stream(const char *purpose, uint64_t a, uint64_t b) {
    uint64_t hash = 0xCBF29CE484222325u; /* FNV-1a of the purpose */
    for (const char *c = purpose; *c; c++) hash = (hash ^ (unsigned char)*c) * 0x100000001B3u;
    return mix(mix(mix(hash) ^ a) + b);
}

uint32_t affect_random_word(affect_random_key key, uint64_t index) {
    uint32_t words[4];
    affect_random_block(words, key, index / 4);
    return words[index % 4];
}

double affect_random_uniform(affect_random_key key, uint64_t index) {
    uint32_t words[4];
    affect_random_block(words, key, index / 2);
    const uint32_t *pair = words + 2 * (index % 2);
    uint64_t bits = (uint64_t)pair[0] << 32 | pair[1];
    return (double)(bits >> 11) * 0x1p-53;
}

double affect_random_normal(affect_random_key key, uint64_t index) {
    double radius = sqrt(-2.0 * log1p(-affect_random_uniform(key, 2 * index)));
    return radius * cos(6.283185307179586 * affect_random_uniform(key, 2 * index + 1));
}

void affect_random_permutation(size_t *order, size_t n, affect_random_key key) {
    for (size_t i = 0; i < n; i++) order[i] = i;
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)(affect_random_uniform(key, i) * (double)i);
        size_t swap = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swap;
    }
}
