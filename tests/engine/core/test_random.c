/* Philox against Random123's known answers (kat_vectors), and what is drawn from it: bounds,
 * moments, permutations, streams that differ. */
#include "engine/core/random.h"
#include "tests/test.h"

static void check_block(uint64_t seed, uint64_t stream, uint64_t index, const uint32_t want[4]) {
    uint32_t words[4];
    affect_random_block(words, (affect_random_key){seed, stream}, index);
    for (int i = 0; i < 4; i++) CHECK(words[i] == want[i]);
}

/* Counter words (c0, c1, c2, c3) are index and stream, key words are the seed, low word first. */
static void test_known_answers(void) {
    check_block(0, 0, 0, (const uint32_t[]){0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    check_block(UINT64_MAX, UINT64_MAX, UINT64_MAX,
                (const uint32_t[]){0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
    check_block(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88,
                (const uint32_t[]){0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

static void test_words_are_those_of_blocks(void) {
    affect_random_key key = {7, affect_random_stream("test", 1, 2)};
    for (uint64_t i = 0; i < 64; i++) {
        uint32_t words[4];
        affect_random_block(words, key, i / 4);
        CHECK(affect_random_word(key, i) == words[i % 4]);
    }
}

static void test_uniform(void) {
    affect_random_key key = {1, 0};
    const int n = 100000;
    double sum = 0, squares = 0, lowest = 1, highest = 0;
    for (int i = 0; i < n; i++) {
        double u = affect_random_uniform(key, (uint64_t)i);
        sum += u;
        squares += u * u;
        lowest = fmin(lowest, u);
        highest = fmax(highest, u);
    }
    CHECK(lowest >= 0 && highest < 1);
    CHECK(lowest < 1e-3 && highest > 1 - 1e-3);
    CHECK_NEAR(sum / n, 0.5, 0.005); /* 5 standard errors are 0.0046 */
    CHECK_NEAR(squares / n, 1.0 / 3, 0.005);
}

static void test_normal(void) {
    affect_random_key key = {2, 9};
    const int n = 100000;
    double sum = 0, squares = 0, fourth = 0;
    for (int i = 0; i < n; i++) {
        double x = affect_random_normal(key, (uint64_t)i);
        CHECK(isfinite(x));
        sum += x;
        squares += x * x;
        fourth += x * x * x * x;
    }
    CHECK_NEAR(sum / n, 0, 0.016);
    CHECK_NEAR(squares / n, 1, 0.023);
    CHECK_NEAR(fourth / n, 3, 0.16);
}

static void test_permutation(void) {
    size_t order[100], again[100], n_fixed = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        affect_random_key key = {seed, 3};
        unsigned char seen[100] = {0};
        affect_random_permutation(order, 100, key);
        affect_random_permutation(again, 100, key);
        CHECK(memcmp(order, again, sizeof order) == 0);
        for (size_t i = 0; i < 100; i++) {
            CHECK(order[i] < 100 && !seen[order[i]]);
            seen[order[i] % 100] = 1;
            n_fixed += order[i] == i;
        }
    }
    CHECK(n_fixed > 15 && n_fixed < 100); /* one a permutation is expected */
    affect_random_permutation(order, 1, (affect_random_key){0, 0});
    CHECK(order[0] == 0);
    affect_random_permutation(order, 0, (affect_random_key){0, 0});
}

static void test_all_orders_of_three(void) {
    int counts[27] = {0}, n_orders = 0;
    for (uint64_t seed = 0; seed < 6000; seed++) {
        size_t order[3];
        affect_random_permutation(order, 3, (affect_random_key){seed, 1});
        counts[9 * order[0] + 3 * order[1] + order[2]]++;
    }
    for (int i = 0; i < 27; i++) {
        n_orders += counts[i] > 0;
        CHECK(counts[i] == 0 || (counts[i] > 850 && counts[i] < 1150)); /* 1000 +- 5 sigma */
    }
    CHECK(n_orders == 6);
}

static void test_streams_differ(void) {
    const uint64_t streams[] = {
        affect_random_stream("dropout", 0, 0), affect_random_stream("dropout", 0, 1),
        affect_random_stream("dropout", 1, 0), affect_random_stream("dropout", 1, 1),
        affect_random_stream("shuffle", 0, 0), affect_random_stream("", 0, 0)};
    const size_t n = sizeof streams / sizeof *streams;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++) CHECK(streams[i] != streams[j]);
    CHECK(affect_random_stream("dropout", 3, 4) == affect_random_stream("dropout", 3, 4));
}

int main(void) {
    TEST_RUN(test_known_answers);
    TEST_RUN(test_words_are_those_of_blocks);
    TEST_RUN(test_uniform);
    TEST_RUN(test_normal);
    TEST_RUN(test_permutation);
    TEST_RUN(test_all_orders_of_three);
    TEST_RUN(test_streams_differ);
    return TEST_END();
}
