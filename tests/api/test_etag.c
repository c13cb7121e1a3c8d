/* ETags in lists, and the conditions of requests. */
#include "api/etag.h"
#include "api/request.h"
#include "tests/test.h"

static void test_lists(void) {
    static const struct {
        const char *list;
        bool strong, weak;
    } rows[] = {{"\"3\"", true, true},
                {"*", true, true},
                {" * ", true, true},
                {"*,\"4\"", false, false},
                {"W/\"3\"", false, true},
                {"w/\"3\"", false, false},
                {"\"33\"", false, false},
                {"\"2\", \"3\"", true, true},
                {"\"2\",W/\"3\" ,\"4\"", false, true},
                {",, \"3\",", true, true},
                {"\"2\" \"3\"", false, false},
                {"\"a,\"3\"", false, false},
                {"\"x\"3\"", false, false},
                {"3", false, false},
                {"\"3", false, false},
                {"W/", false, false},
                {"", false, false},
                {" ", false, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool good = api_etag_listed(rows[i].list, "\"3\"", false) == rows[i].strong &&
                    api_etag_listed(rows[i].list, "\"3\"", true) == rows[i].weak;
        CHECK(good);
        if (!good) fprintf(stderr, "    %s\n", rows[i].list);
    }
}

static api_condition condition(const char *method, const char *match, const char *none_match) {
    api_request *request = api_request_create(NULL, NULL);
    snprintf(request->method, sizeof request->method, "%s", method);
    if (match) api_pairs_add(&request->headers, "if-match", match);
    if (none_match) api_pairs_add(&request->headers, "if-none-match", none_match);
    api_condition found = api_condition_of(request, "\"3\"");
    api_request_free(request);
    return found;
}

static void test_conditions(void) {
    CHECK(condition("GET", NULL, NULL) == API_CONDITION_HOLDS);
    CHECK(condition("GET", "*", NULL) == API_CONDITION_HOLDS);
    CHECK(condition("GET", "\"2\"", NULL) == API_CONDITION_FAILED);
    CHECK(condition("GET", NULL, "\"2\"") == API_CONDITION_HOLDS);
    CHECK(condition("GET", NULL, "*") == API_CONDITION_UNCHANGED);
    CHECK(condition("HEAD", "\"3\"", "W/\"3\"") == API_CONDITION_UNCHANGED);
    CHECK(condition("GET", "\"2\"", "\"3\"") == API_CONDITION_FAILED);
    CHECK(condition("POST", "\"3\"", NULL) == API_CONDITION_HOLDS);
    CHECK(condition("POST", NULL, "*") == API_CONDITION_FAILED);
}

int main(void) {
    TEST_RUN(test_lists);
    TEST_RUN(test_conditions);
    return TEST_END();
}
