/* Label maps: the default, an own one, and every refusal with its pointer. */
#include "engine/dataset/label_map.h"
#include "tests/test.h"

static affect_status parse(affect_label_map *map, const char *text, affect_error *failure) {
    affect_json *json = NULL;
    CHECK_OK(affect_json_parse(&json, text, strlen(text), err));
    affect_status status = affect_label_map_parse(map, json, "/labels", failure);
    affect_json_free(json);
    return status;
}

static void test_default(void) {
    affect_label_map map;
    CHECK_OK(affect_label_map_parse(&map, NULL, "", err));
    CHECK(map.n_classes == 4);
    CHECK_STRING(map.classes[0], "angry");
    CHECK_STRING(map.classes[3], "sad");
    CHECK(affect_label_map_class(&map, "exc") == 1 && affect_label_map_class(&map, "hap") == 1);
    CHECK(affect_label_map_class(&map, "xxx") == -1 && affect_label_map_class(&map, "") == -1);
    affect_json *json = affect_label_map_to_json(&map);
    char *text = affect_json_text(json);
    CHECK_STRING(text, "{\"angry\":[\"ang\"],\"happy\":[\"exc\",\"hap\"],\"neutral\":[\"neu\"],"
                       "\"sad\":[\"sad\"]}");
    free(text);
    affect_json_free(json);
}

static void test_own(void) {
    affect_label_map map;
    affect_error failure = {0};
    CHECK(parse(&map, "{\"up\":[\"hap\",\"ang\"],\"down\":[\"sad\"]}", &failure) ==
          AFFECT_STATUS_OK);
    CHECK(map.n_classes == 2 && map.n_labels == 3);
    CHECK_STRING(map.classes[0], "down");
    CHECK(affect_label_map_class(&map, "ang") == 1 && affect_label_map_class(&map, "sad") == 0);
    CHECK(affect_label_map_class(&map, "exc") == -1);
}

static void test_refusals(void) {
    static const struct {
        const char *text, *pointer;
    } cases[] = {{"{}", "/labels"},
                 {"[]", "/labels"},
                 {"{\"a\":\"ang\"}", "/labels/a"},
                 {"{\"a\":[]}", "/labels/a"},
                 {"{\"a\":[\"angry\"]}", "/labels/a"},
                 {"{\"a\":[7]}", "/labels/a"},
                 {"{\"a\":[\"neu\"],\"b\":[\"neu\"]}", "/labels/b"},
                 {"{\"A\":[\"neu\"]}", "/labels"},
                 {"{\"../x\":[\"neu\"]}", "/labels"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        affect_label_map map;
        affect_error failure = {0};
        CHECK(parse(&map, cases[i].text, &failure) == AFFECT_STATUS_INVALID);
        CHECK(strncmp(failure.pointer, cases[i].pointer, strlen(cases[i].pointer)) == 0);
        CHECK(strlen(failure.message) > 10);
    }
}

int main(void) {
    TEST_RUN(test_default);
    TEST_RUN(test_own);
    TEST_RUN(test_refusals);
    return TEST_END();
}
