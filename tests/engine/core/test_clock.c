/* Times as text, clocks that go forward, ids that sort. */
#include "engine/core/clock.h"
#include "tests/test.h"

#include <pthread.h>

static void check_text(int64_t unix_ms, const char *want) {
    char text[AFFECT_CLOCK_TEXT_SIZE];
    affect_clock_text(text, unix_ms);
    CHECK_STRING(text, want);
}

static void test_text(void) {
    check_text(0, "1970-01-01T00:00:00.000Z");
    check_text(951782399999, "2000-02-28T23:59:59.999Z");
    check_text(951782400000, "2000-02-29T00:00:00.000Z");
    check_text(1795392000123, "2026-11-23T00:00:00.123Z");
    check_text(4102444800000, "2100-01-01T00:00:00.000Z");
}

static void test_clocks(void) {
    double last = affect_clock_seconds();
    for (int i = 0; i < 1000; i++) {
        double now = affect_clock_seconds();
        CHECK(now >= last);
        last = now;
    }
    CHECK(affect_clock_unix_ms() > 1700000000000); /* later than 2023 */
}

#define N 20000
static void test_ids_are_in_order(void) {
    char last[AFFECT_ULID_SIZE] = "", id[AFFECT_ULID_SIZE];
    for (int i = 0; i < N; i++) {
        affect_ulid_make(id);
        CHECK(strcmp(last, id) < 0);
        memcpy(last, id, sizeof id);
    }
    CHECK(strlen(id) == 26 && strspn(id, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") == 26);
}

static void test_id_begins_with_the_time(void) {
    static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    char id[AFFECT_ULID_SIZE];
    int64_t before = affect_clock_unix_ms(), time = 0;
    affect_ulid_make(id);
    for (int i = 0; i < 10; i++) time = time * 32 + (strchr(digits, id[i]) - digits);
    CHECK(time >= before - 1000 && time <= affect_clock_unix_ms() + 1000);
}

static char ids[4][2000][AFFECT_ULID_SIZE];
static void *make_ids(void *to) {
    for (int i = 0; i < 2000; i++) affect_ulid_make(((char(*)[AFFECT_ULID_SIZE])to)[i]);
    return NULL;
}

static int compare(const void *a, const void *b) {
    return strcmp(a, b);
}

static void test_threads_never_share_an_id(void) {
    pthread_t threads[4];
    for (int t = 0; t < 4; t++) pthread_create(&threads[t], NULL, make_ids, ids[t]);
    for (int t = 0; t < 4; t++) pthread_join(threads[t], NULL);
    char(*all)[AFFECT_ULID_SIZE] = ids[0];
    qsort(all, 8000, AFFECT_ULID_SIZE, compare);
    for (int i = 1; i < 8000; i++) CHECK(strcmp(all[i - 1], all[i]) != 0);
}

int main(void) {
    TEST_RUN(test_text);
    TEST_RUN(test_clocks);
    TEST_RUN(test_ids_are_in_order);
    TEST_RUN(test_id_begins_with_the_time);
    TEST_RUN(test_threads_never_share_an_id);
    return TEST_END();
}
