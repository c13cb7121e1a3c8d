/* SHA-256; see digest.h. In plain C, and with the SHA instructions of x86 where the processor has
 * them: an import reads every byte of a corpus through this, and they make it ten times faster. */
#include "engine/core/digest.h"

#include "engine/core/file.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>
#endif

static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate(uint32_t x, int n) {
    return x >> n | x << (32 - n);
}

static void absorb(uint32_t state[8], const unsigned char block[64]) {
    uint32_t w[64], v[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[i - 7] +
               (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
    }
    memcpy(v, state, sizeof v);
    for (int i = 0; i < 64; i++) {
        uint32_t e = v[4], a = v[0];
        uint32_t t1 = v[7] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) +
                      ((e & v[5]) ^ (~e & v[6])) + round_constants[i] + w[i];
        uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) +
                      ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++) state[i] += v[i];
}

static void absorb_plain(uint32_t state[8], const unsigned char *blocks, size_t n) {
    for (; n; n--, blocks += 64) absorb(state, blocks);
}

#ifdef __x86_64__
/* Four rounds, and the schedule's words for the four rounds after the next twelve. a..d: words of
 * rounds r..r+15. (Intel, "SHA Extensions", 2013: the state lies as ABEF and CDGH.) */
#define FOUR_ROUNDS(a, b, c, d, r)                                                                 \
    do {                                                                                           \
        __m128i sum = _mm_add_epi32(a, _mm_loadu_si128((const __m128i *)(round_constants + (r)))); \
        cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);                                             \
        abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0E));                    \
        a = _mm_add_epi32(_mm_sha256msg1_epu32(a, b), _mm_alignr_epi8(d, c, 4));                   \
        a = _mm_sha256msg2_epu32(a, d);                                                            \
    } while (0)

__attribute__((target("sha,sse4.1"))) static void
absorb_x86(uint32_t state[8], const unsigned char *blocks, size_t n) {
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i abcd = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)state), 0xB1);
    __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(state + 4)), 0x1B);
    __m128i abef = _mm_alignr_epi8(abcd, efgh, 8), cdgh = _mm_blend_epi16(efgh, abcd, 0xF0);
    for (; n; n--, blocks += 64) {
        const __m128i *words = (const __m128i *)blocks, abef_before = abef, cdgh_before = cdgh;
        __m128i a = _mm_shuffle_epi8(_mm_loadu_si128(words), big_endian);
        __m128i b = _mm_shuffle_epi8(_mm_loadu_si128(words + 1), big_endian);
        __m128i c = _mm_shuffle_epi8(_mm_loadu_si128(words + 2), big_endian);
        __m128i d = _mm_shuffle_epi8(_mm_loadu_si128(words + 3), big_endian);
        for (int r = 0; r < 64; r += 16) {
            FOUR_ROUNDS(a, b, c, d, r);
            FOUR_ROUNDS(b, c, d, a, r + 4);
            FOUR_ROUNDS(c, d, a, b, r + 8);
            FOUR_ROUNDS(d, a, b, c, r + 12);
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    abcd = _mm_shuffle_epi32(abef, 0x1B);
    efgh = _mm_shuffle_epi32(cdgh, 0xB1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(abcd, efgh, 0xF0));
    _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(efgh, abcd, 8));
}

static bool has_sha_instructions(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSE4_1)) return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1u << 29));
}
#endif

static void absorb_blocks(uint32_t state[8], const unsigned char *blocks, size_t n) {
#ifdef __x86_64__
    static atomic_int known; /* 0: not asked yet, 1: without, 2: with SHA instructions */
    int with = atomic_load_explicit(&known, memory_order_relaxed);
    if (!with) atomic_store(&known, with = has_sha_instructions() ? 2 : 1);
    if (with == 2) {
        absorb_x86(state, blocks, n);
        return;
    }
#endif
    absorb_plain(state, blocks, n);
}

void affect_digest_begin(affect_digest *digest) {
    *digest = (affect_digest){.state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f,
                                        0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

void affect_digest_update(affect_digest *digest, const void *data, size_t size) {
    const unsigned char *bytes = data;
    size_t held = digest->n_bytes % 64;
    digest->n_bytes += size;
    if (held) {
        size_t n = 64 - held < size ? 64 - held : size;
        memcpy(digest->block + held, bytes, n);
        if (held + n < 64) return;
        absorb_blocks(digest->state, digest->block, 1);
        bytes += n;
        size -= n;
    }
    absorb_blocks(digest->state, bytes, size / 64);
    bytes += size / 64 * 64;
    size %= 64;
    if (size) memcpy(digest->block, bytes, size);
}

void affect_digest_end(affect_digest *digest, char text[AFFECT_DIGEST_TEXT_SIZE]) {
    uint64_t n_bits = digest->n_bytes * 8;
    static const unsigned char padding[64] = {0x80};
    size_t held = digest->n_bytes % 64;
    affect_digest_update(digest, padding, held < 56 ? 56 - held : 120 - held);
    unsigned char length[8];
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)(n_bits >> (56 - 8 * i));
    affect_digest_update(digest, length, sizeof length);
    for (int i = 0; i < 8; i++) snprintf(text + 8 * i, 9, "%08x", digest->state[i]);
}

affect_status affect_digest_json(char text[AFFECT_DIGEST_TEXT_SIZE], const affect_json *json,
                                 affect_error *err) {
    affect_digest digest;
    char *canonical = affect_json_canonical_text(json);
    if (!canonical) return affect_fail(err, NO_MEMORY, "no memory for a digest");
    affect_digest_begin(&digest);
    affect_digest_update(&digest, canonical, strlen(canonical));
    affect_digest_end(&digest, text);
    free(canonical);
    return AFFECT_STATUS_OK;
}

affect_status affect_digest_file(char text[AFFECT_DIGEST_TEXT_SIZE], const char *path,
                                 affect_error *err) {
    affect_file_map map;
    AFFECT_TRY(affect_file_map_open(&map, path, err));
    affect_digest digest;
    affect_digest_begin(&digest);
    affect_digest_update(&digest, map.data, map.size);
    affect_digest_end(&digest, text);
    affect_file_map_close(&map);
    return AFFECT_STATUS_OK;
}
