/* SHA-256 against FIPS 180-4's examples and Python's hashlib, in pieces of every length, and the
 * plain code against the processor's instructions. Includes the source: both are static. */
#include "engine/core/digest.c"
#include "tests/test.h"

static void digest_of(char text[AFFECT_DIGEST_TEXT_SIZE], const void *data, size_t size,
                      size_t piece) {
    affect_digest digest;
    affect_digest_begin(&digest);
    for (size_t at = 0; at < size; at += piece)
        affect_digest_update(&digest, (const char *)data + at,
                             size - at < piece ? size - at : piece);
    affect_digest_end(&digest, text);
}

static void test_examples(void) {
    static char million[1000000];
    char text[AFFECT_DIGEST_TEXT_SIZE];
    digest_of(text, "abc", 3, 3);
    CHECK_STRING(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    digest_of(text, "", 0, 1);
    CHECK_STRING(text, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    memset(million, 'a', sizeof million);
    digest_of(text, million, sizeof million, 977);
    CHECK_STRING(text, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* hashlib: digest of the hexadecimal digests of bytes((i * 131 + n * 7) % 251 for i in range(n)),
 * n = 0..299. */
static void test_every_length(void) {
    char text[AFFECT_DIGEST_TEXT_SIZE];
    unsigned char data[300];
    for (size_t piece = 1; piece < 200; piece += 31) {
        affect_digest all;
        affect_digest_begin(&all);
        for (size_t n = 0; n < 300; n++) {
            for (size_t i = 0; i < n; i++) data[i] = (unsigned char)((i * 131 + n * 7) % 251);
            digest_of(text, data, n, piece);
            affect_digest_update(&all, text, 64);
        }
        affect_digest_end(&all, text);
        CHECK_STRING(text, "5309364579eb920f76b97872fb460262fdeabc182a412e088d77e35e466a01b0");
    }
}

static void test_instructions(void) {
#ifdef __x86_64__
    if (has_sha_instructions()) {
        unsigned char blocks[64 * 7];
        uint32_t plain[8] = {1, 2, 3, 4, 5, 6, 7, 0xFFFFFFFF}, fast[8];
        memcpy(fast, plain, sizeof fast);
        for (size_t i = 0; i < sizeof blocks; i++) blocks[i] = (unsigned char)(i * i + 3 * i);
        absorb_plain(plain, blocks, 7);
        absorb_x86(fast, blocks, 7);
        CHECK(memcmp(plain, fast, sizeof fast) == 0);
        return;
    }
#endif
    fprintf(stderr, "  (no SHA instructions here: only the plain code was tried)\n");
}

int main(void) {
    TEST_RUN(test_examples);
    TEST_RUN(test_every_length);
    TEST_RUN(test_instructions);
    return TEST_END();
}
