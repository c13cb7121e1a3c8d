/* JSON: what is accepted prints, compact and indented, as a text that reads back to the same. */
#include "engine/core/json.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void check_same(const affect_json *json, const char *text, size_t size) {
    affect_json *again = NULL;
    FUZZ_CHECK(affect_json_parse(&again, text, size, NULL) == AFFECT_STATUS_OK);
    char *a = affect_json_canonical_text(json), *b = affect_json_canonical_text(again);
    FUZZ_CHECK(a && b && strcmp(a, b) == 0);
    free(a);
    free(b);
    affect_json_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    affect_json *json = NULL;
    affect_error err = {0};
    if (affect_json_parse(&json, (const char *)data, size, &err) != AFFECT_STATUS_OK) {
        FUZZ_CHECK(!json && err.message[0]);
        return 0;
    }
    affect_buffer pretty = {0};
    char *text = affect_json_text(json);
    affect_json_print_pretty(&pretty, json);
    FUZZ_CHECK(text && !pretty.failed);
    check_same(json, text, strlen(text));
    check_same(json, pretty.data, pretty.size);
    affect_buffer_free(&pretty);
    free(text);
    affect_json_free(json);
    return 0;
}
