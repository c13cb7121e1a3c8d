/* JSON: what is read, what is refused, numbers and strings that come back as they went. */
#include "engine/core/json.h"
#include "tests/test.h"

static affect_json *parsed(const char *text) {
    affect_json *json = NULL;
    CHECK_OK(affect_json_parse(&json, text, strlen(text), err));
    return json;
}

static void check_refused(const char *text, size_t size) {
    affect_json *json = NULL;
    affect_error err = {0};
    affect_status status = affect_json_parse(&json, text, size, &err);
    if (status != AFFECT_STATUS_MALFORMED) fprintf(stderr, "    accepted: %.*s\n", 60, text);
    CHECK(status == AFFECT_STATUS_MALFORMED);
    CHECK(json == NULL && err.message[0]);
    affect_json_free(status == AFFECT_STATUS_OK ? json : NULL);
}

static void test_refused(void) {
    const char *const wrong[] = {"",
                                 " ",
                                 "{",
                                 "[1,]",
                                 "{\"a\":1,}",
                                 "{a:1}",
                                 "nul",
                                 "truex",
                                 "1 2",
                                 "{} {}",
                                 "\"\\x\"",
                                 "\"open",
                                 "[1",
                                 "{\"a\" 1}",
                                 "'a'",
                                 "// c\n1",
                                 "{\"a\":1,\"a\":2}",
                                 "\"\\u0000\"",
                                 "\"\\ud800\"",
                                 "\"a\nb\"",
                                 "\"a\tb\"",
                                 "\xEF\xBB\xBF{}",
                                 "NaN",
                                 "Infinity",
                                 "-",
                                 "01",
                                 "1.",
                                 ".5",
                                 "+1",
                                 "0x10",
                                 "1e",
                                 "\"\xFF\"",
                                 "\"\xC0\x80\"",
                                 "\"\xED\xA0\x80\""};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        check_refused(wrong[i], strlen(wrong[i]));
    check_refused("{\"a\":1}\0 ", 9);
    check_refused("\"a\0b\"", 5);
}

static void test_every_cut_is_refused(void) {
    const char *text = "{\"a\":[1,2.5e3,\"x\\u00e4\"],\"b\":{\"c\":null,\"d\":true}}";
    for (size_t n = 0; n < strlen(text); n++) {
        char *cut = malloc(n + 1); /* its end is the allocation's: a read beyond it is seen */
        memcpy(cut, text, n);
        cut[n] = '}';
        check_refused(cut, n);
        free(cut);
    }
    affect_json_free(parsed(text));
}

static void test_depth(void) {
    char text[20001];
    for (size_t depth = 1; depth <= 10000; depth = depth < 64    ? 64
                                                   : depth == 64 ? 65
                                                                 : depth * 10) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        affect_json *json = NULL;
        affect_status status = affect_json_parse(&json, text, 2 * depth, NULL);
        CHECK(status == (depth <= 64 ? AFFECT_STATUS_OK : AFFECT_STATUS_MALFORMED));
        affect_json_free(json);
    }
}

/* A file's header or a body may have very many members: were each compared with all
 * others, the runner's limit of time would end this. */
static void test_many_members(void) {
    enum { MEMBERS = 500000 };
    affect_buffer text = {0};
    affect_json *json = NULL;
    affect_error err = {0};
    affect_buffer_append_string(&text, "{\"a\":{");
    for (int i = 0; i < MEMBERS; i++) affect_buffer_printf(&text, "\"m%d\":0,", i);
    size_t size = text.size;
    affect_buffer_append_string(&text, "\"last\":0}}");
    json = parsed(affect_buffer_string(&text));
    CHECK(affect_json_size(affect_json_get(json, "a")) == MEMBERS + 1);
    affect_json_free(json);
    text.size = size;
    affect_buffer_append_string(&text, "\"m7\":0}}");
    CHECK(affect_json_parse(&json, affect_buffer_string(&text), text.size, &err) ==
          AFFECT_STATUS_MALFORMED);
    CHECK_STRING(err.message, "JSON: \"m7\" given twice");
    affect_buffer_free(&text);
}

static void test_numbers_come_back(void) {
    const double numbers[] = {0,
                              1,
                              -1,
                              0.1,
                              1.0 / 3,
                              1e-300,
                              1e300,
                              5e-324,
                              9007199254740991.0,
                              2.5,
                              1e21,
                              123456789.123,
                              -0.0005,
                              3.4028234663852886e38};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        affect_json *json = affect_json_new_number(numbers[i]);
        char *text = affect_json_text(json);
        affect_json *again = parsed(text);
        CHECK(affect_json_number(again, -7) == numbers[i]);
        affect_json_free(again);
        affect_json_free(json);
        free(text);
    }
    affect_json *json = affect_json_new_number(0.1);
    char *text = affect_json_text(json);
    CHECK_STRING(text, "0.1");
    free(text);
    affect_json_free(json);
}

static void test_not_a_number_is_null(void) {
    affect_json *array = affect_json_new_array();
    affect_json_append(array, affect_json_new_number(NAN));
    affect_json_append(array, affect_json_new_number(INFINITY));
    char *text = affect_json_text(array);
    CHECK_STRING(text, "[null,null]");
    free(text);
    affect_json_free(array);
}

static void test_strings_come_back(void) {
    affect_json *json = affect_json_new_object();
    affect_json_set_string(json, "k\"\\\n\x01", "\xC3\xA4\xF0\x9F\x98\x80 \" \\ / \b \f \r \t");
    char *text = affect_json_text(json);
    affect_json *again = parsed(text);
    CHECK_STRING(affect_json_get_string(again, "k\"\\\n\x01", ""),
                 "\xC3\xA4\xF0\x9F\x98\x80 \" \\ / \b \f \r \t");
    affect_json_free(again);
    free(text);
    affect_json_free(json);
    json = parsed("\"\\ud83d\\ude00\"");
    CHECK_STRING(affect_json_string(json, ""), "\xF0\x9F\x98\x80");
    affect_json_free(json);
}

static void test_bytes_that_are_not_text(void) {
    affect_buffer buffer = {0};
    affect_json_print_string(&buffer, "a\xFFz\xC3");
    CHECK_STRING(affect_buffer_string(&buffer), "\"a\xEF\xBF\xBDz\xEF\xBF\xBD\"");
    affect_buffer_free(&buffer);
}

static void test_questions(void) {
    affect_json *json = parsed("{\"a\":1,\"A\":2,\"s\":\"x\",\"l\":[10,20],\"t\":true,\"n\":null}");
    CHECK(affect_json_get_number(json, "a", 0) == 1 && affect_json_get_number(json, "A", 0) == 2);
    CHECK(affect_json_get(json, "b") == NULL && affect_json_get_number(json, "b", 5) == 5);
    CHECK(affect_json_get_number(json, "s", 5) == 5); /* another type: the fallback */
    CHECK_STRING(affect_json_get_string(json, "a", "none"), "none");
    CHECK(affect_json_get_bool(json, "t", false) &&
          affect_json_is_null(affect_json_get(json, "n")));
    const affect_json *list = affect_json_get(json, "l");
    CHECK(affect_json_size(list) == 2 && affect_json_number(affect_json_at(list, 1), 0) == 20);
    CHECK(affect_json_at(list, 2) == NULL);
    CHECK_STRING(affect_json_type_name(list), "array");
    CHECK_STRING(affect_json_name(affect_json_first(json)), "a");
    CHECK(affect_json_get(list, "a") == NULL && affect_json_get(NULL, "a") == NULL);
    CHECK(affect_json_size(NULL) == 0 && affect_json_first(NULL) == NULL);
    affect_json *out = affect_json_detach(json, "l");
    CHECK(affect_json_size(out) == 2 && affect_json_get(json, "l") == NULL);
    affect_json_free(out);
    affect_json_free(json);
}

static void test_canonical_text(void) {
    affect_json *a = parsed("{\"b\":{\"y\":1,\"x\":[2,{\"q\":1,\"p\":2}]},\"a\":1.0}");
    affect_json *b = parsed(" { \"a\" : 1, \"b\" : {\"x\":[2.0,{\"p\":2,\"q\":1}],\"y\":1e0} } ");
    char *text_a = affect_json_canonical_text(a), *text_b = affect_json_canonical_text(b);
    CHECK_STRING(text_a, text_b);
    CHECK_STRING(text_a, "{\"a\":1,\"b\":{\"x\":[2,{\"p\":2,\"q\":1}],\"y\":1}}");
    free(text_a);
    free(text_b);
    affect_json_free(a);
    affect_json_free(b);
}

static void test_building_on_nothing(void) {
    CHECK(affect_json_set(NULL, "a", affect_json_new_number(1)) == NULL);
    CHECK(affect_json_append(NULL, affect_json_new_number(1)) == NULL);
    affect_json_set_string(NULL, "a", "b");
    CHECK(affect_json_text(NULL) == NULL);
    affect_json_free(NULL);
}

static void test_detached_members_have_no_name_in_an_array(void) {
    affect_json *object = affect_json_new_object(), *array = affect_json_new_array();
    affect_json_set_number(object, "n", 1);
    affect_json_append(array, affect_json_detach(object, "n"));
    char *text = affect_json_text(array);
    CHECK(text && strcmp(text, "[1]") == 0);
    free(text);
    affect_json_free(object);
    affect_json_free(array);
}

int main(void) {
    TEST_RUN(test_refused);
    TEST_RUN(test_every_cut_is_refused);
    TEST_RUN(test_depth);
    TEST_RUN(test_many_members);
    TEST_RUN(test_numbers_come_back);
    TEST_RUN(test_not_a_number_is_null);
    TEST_RUN(test_strings_come_back);
    TEST_RUN(test_bytes_that_are_not_text);
    TEST_RUN(test_questions);
    TEST_RUN(test_canonical_text);
    TEST_RUN(test_building_on_nothing);
    TEST_RUN(test_detached_members_have_no_name_in_an_array);
    return TEST_END();
}
