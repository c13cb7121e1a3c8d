/* Growable text: growth, formats, the ending 0, taking. */
#include "engine/core/buffer.h"
#include "tests/test.h"

static void test_growth(void) {
    affect_buffer buffer = {0};
    CHECK_STRING(affect_buffer_string(&buffer), "");
    for (int i = 0; i < 10000; i++) affect_buffer_printf(&buffer, "%d,", i % 10);
    CHECK(buffer.size == 20000 && !buffer.failed && buffer.data[20000] == '\0');
    CHECK(strncmp(buffer.data + 19990, "5,6,7,8,9,", 10) == 0);
    affect_buffer_clear(&buffer);
    CHECK(buffer.size == 0);
    CHECK_STRING(affect_buffer_string(&buffer), "");
    affect_buffer_free(&buffer);
    affect_buffer_free(&buffer);
}

static void test_long_format(void) {
    affect_buffer buffer = {0};
    char text[5000];
    memset(text, 'q', sizeof text);
    text[4999] = '\0';
    affect_buffer_printf(&buffer, "<%s>", text);
    CHECK(buffer.size == 5001 && buffer.data[0] == '<' && buffer.data[5000] == '>');
    affect_buffer_free(&buffer);
}

static void test_csv(void) {
    static const char *const cells[][2] = {{"", ""},
                                           {"happy", "happy"},
                                           {"a,b", "\"a,b\""},
                                           {"a\"b", "\"a\"\"b\""},
                                           {"a\nb", "\"a\nb\""},
                                           {"=1+1", "'=1+1"},
                                           {"=1,\"x\"", "\"'=1,\"\"x\"\"\""},
                                           {"-5", "'-5"},
                                           {"@a", "'@a"},
                                           {"+a", "'+a"},
                                           {"\ta", "'\ta"},
                                           {"a=1", "a=1"},
                                           {"\rx", "\"'\rx\""}};
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
        affect_buffer buffer = {0};
        affect_buffer_append_csv(&buffer, cells[i][0]);
        CHECK_STRING(affect_buffer_string(&buffer), cells[i][1]);
        affect_buffer_free(&buffer);
    }
}

static void test_bytes_and_reserve(void) {
    affect_buffer buffer = {0};
    affect_buffer_append(&buffer, "a\0b", 3);
    affect_buffer_append(&buffer, NULL, 0);
    char *to = affect_buffer_reserve(&buffer, 1000);
    CHECK(to != NULL);
    memset(to, 'c', 1000);
    buffer.size += 1000;
    affect_buffer_append_string(&buffer, "end");
    CHECK(buffer.size == 1006 && memcmp(buffer.data, "a\0bc", 4) == 0);
    CHECK_STRING(buffer.data + 1003, "end");
    char *taken = affect_buffer_take(&buffer);
    CHECK(taken && buffer.data == NULL && buffer.size == 0);
    free(taken);
}

static void test_failure_sticks(void) {
    affect_buffer buffer = {0};
    affect_buffer_append_string(&buffer, "before");
    CHECK(affect_buffer_reserve(&buffer, (size_t)-1 / 2) == NULL);
    CHECK(buffer.failed);
    affect_buffer_append_string(&buffer, "after");
    CHECK(affect_buffer_string(&buffer) == NULL);
    CHECK(affect_buffer_take(&buffer) == NULL);
    affect_buffer_free(&buffer);
}

int main(void) {
    TEST_RUN(test_growth);
    TEST_RUN(test_long_format);
    TEST_RUN(test_csv);
    TEST_RUN(test_bytes_and_reserve);
    TEST_RUN(test_failure_sticks);
    return TEST_END();
}
