/* Label maps: all labels, an own map, and every refusal with its pointer. */
#include "engine/dataset/label_map.h"
#include "tests/test.h"

/* 65 bytes. */
#define LONG "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef!"

static affect_status parse(affect_label_map *map, const char *text, affect_error *failure) {
    affect_json *json = NULL;
    CHECK_OK(affect_json_parse(&json, text, strlen(text), err));
    affect_status status = affect_label_map_parse(map, json, "/labels", failure);
    affect_json_free(json);
    return status;
}

static void test_all(void) {
    static const char *const labels[] = {"sad", "\xC3\x84rger", "joy, of a kind", "sad"};
    char names[AFFECT_MAX_CLASSES + 1][8];
    const char *many[AFFECT_MAX_CLASSES + 1];
    affect_label_map map;
    affect_error failure = {0};
    CHECK_OK(affect_label_map_parse(&map, NULL, "", err));
    CHECK(map.all && map.n_classes == 0);
    CHECK(parse(&map, "null", &failure) == AFFECT_STATUS_OK && map.all);
    CHECK_OK(affect_label_map_set_all(&map, labels, 4, err));
    CHECK(map.n_classes == 3);
    CHECK_STRING(map.classes[0], "joy, of a kind");
    CHECK(affect_label_map_class(&map, "sad") == 1 &&
          affect_label_map_class(&map, "\xC3\x84rger") == 2);
    affect_json *json = affect_label_map_to_json(&map);
    char *text = affect_json_text(json);
    CHECK_STRING(text, "{\"joy, of a kind\":[\"joy, of a kind\"],\"sad\":[\"sad\"],"
                       "\"\xC3\x84rger\":[\"\xC3\x84rger\"]}");
    free(text);
    affect_json_free(json);
    for (int i = 0; i <= AFFECT_MAX_CLASSES; i++) {
        snprintf(names[i], sizeof names[i], "l%d", i);
        many[i] = names[i];
    }
    CHECK_OK(affect_label_map_set_all(&map, many, AFFECT_MAX_CLASSES, err));
    CHECK(affect_label_map_set_all(&map, many, AFFECT_MAX_CLASSES + 1, &failure) ==
          AFFECT_STATUS_INVALID);
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
                 {"{\"a\":[\"\"]}", "/labels/a"},
                 {"{\"a\":[\"tab\\there\"]}", "/labels/a"},
                 {"{\"a\":[\"" LONG "\"]}", "/labels/a"},
                 {"{\"a\":[7]}", "/labels/a"},
                 {"{\"a\":[\"neu\"],\"b\":[\"neu\"]}", "/labels/b"},
                 {"{\"\":[\"neu\"]}", "/labels"},
                 {"{\"line\\nbreak\":[\"neu\"]}", "/labels"},
                 {"{\"" LONG "\":[\"neu\"]}", "/labels"},
                 {"7", "/labels"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        affect_label_map map;
        affect_error failure = {0};
        CHECK(parse(&map, cases[i].text, &failure) == AFFECT_STATUS_INVALID);
        CHECK(strncmp(failure.pointer, cases[i].pointer, strlen(cases[i].pointer)) == 0);
        CHECK(strlen(failure.message) > 10);
    }
}

int main(void) {
    TEST_RUN(test_all);
    TEST_RUN(test_own);
    TEST_RUN(test_refusals);
    return TEST_END();
}
