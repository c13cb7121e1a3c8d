/* Settings: configs/server.json shows the table's defaults, and every row has help and fits. */
#include "api/settings.h"
#include "engine/core/embedded.h"
#include "tests/test.h"

static void test_file_equals_table(void) {
    static api_settings settings;
    affect_fields_default(&settings, api_settings_fields);
    affect_json *table = affect_json_new_object(), *file = NULL;
    affect_fields_print(table, &settings, api_settings_fields);
    const affect_embedded_file *embedded = affect_embedded_find("configs/server.json");
    CHECK(embedded != NULL);
    CHECK_OK(affect_json_parse(&file, embedded->text, embedded->size, err));
    char *want = affect_json_canonical_text(table), *got = affect_json_canonical_text(file);
    CHECK_STRING(got, want);
    free(want);
    free(got);
    affect_json_free(table);
    affect_json_free(file);
}

static void test_rows(void) {
    for (const affect_field *field = api_settings_fields; field->name; field++) {
        CHECK(field->help && *field->help);
        CHECK(affect_fields_find(api_settings_fields, field->name) == field); /* unique */
    }
}

static void test_unknown_and_wrong(void) {
    static api_settings settings;
    affect_error error = {0};
    affect_json *json = affect_json_new_object();
    affect_fields_default(&settings, api_settings_fields);
    affect_json_set_number(json, "job_slot", 2);
    CHECK(affect_fields_parse(&settings, api_settings_fields, json, "", &error) ==
          AFFECT_STATUS_INVALID);
    CHECK_STRING(error.pointer, "/job_slot");
    affect_json_free(affect_json_detach(json, "job_slot"));
    affect_json_set_number(json, "job_slots", 0);
    CHECK(affect_fields_parse(&settings, api_settings_fields, json, "", &error) ==
          AFFECT_STATUS_INVALID);
    affect_json_free(json);
}

int main(void) {
    TEST_RUN(test_file_equals_table);
    TEST_RUN(test_rows);
    TEST_RUN(test_unknown_and_wrong);
    return TEST_END();
}
