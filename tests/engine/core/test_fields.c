/* Field tables: defaults, types, bounds, choices, pointers, printing, from JSON and from text. */
#include "engine/core/fields.h"
#include "tests/test.h"

typedef struct {
    bool stratified;
    int64_t epochs;
    double rate;
    char name[8];
    int kind;
    affect_json *extra;
} sample;

static const char *const kinds[] = {"first", "second", NULL};
static const affect_field table[] = {AFFECT_FIELD_BOOL(sample, stratified, true, "a"),
                                     AFFECT_FIELD_INTEGER(sample, epochs, 10, 1, 100, "b"),
                                     AFFECT_FIELD_NUMBER(sample, rate, 0.5, 0, 1, "c"),
                                     AFFECT_FIELD_STRING(sample, name, "none", "d"),
                                     AFFECT_FIELD_CHOICE(sample, kind, 1, kinds, "e"),
                                     AFFECT_FIELD_JSON(sample, extra, "f"),
                                     AFFECT_FIELD_END};

static affect_status parse(sample *s, const char *text, affect_error *error) {
    affect_json *json = NULL;
    CHECK_OK(affect_json_parse(&json, text, strlen(text), err));
    affect_fields_default(s, table);
    affect_status status = affect_fields_parse(s, table, json, "/training", error);
    affect_json_free(json);
    return status;
}

static void test_defaults(void) {
    sample s;
    memset(&s, 0xAB, sizeof s);
    affect_fields_default(&s, table);
    CHECK(s.stratified && s.epochs == 10 && s.rate == 0.5 && s.kind == 1 && s.extra == NULL);
    CHECK_STRING(s.name, "none");
    CHECK_OK(affect_fields_parse(&s, table, NULL, "", err));
    CHECK(s.epochs == 10);
}

static void test_values(void) {
    sample s;
    CHECK_OK(parse(&s,
                   "{\"stratified\":false,\"epochs\":100,\"rate\":0,\"name\":\"1234567\","
                   "\"kind\":\"first\",\"extra\":{\"x\":[1]}}",
                   err));
    CHECK(!s.stratified && s.epochs == 100 && s.rate == 0 && s.kind == 0);
    CHECK_STRING(s.name, "1234567");
    CHECK(affect_json_size(affect_json_get(s.extra, "x")) == 1);
    affect_json *printed = affect_json_new_object();
    affect_fields_print(printed, &s, table);
    char *text = affect_json_text(printed);
    CHECK_STRING(text, "{\"stratified\":false,\"epochs\":100,\"rate\":0,\"name\":\"1234567\","
                       "\"kind\":\"first\",\"extra\":{\"x\":[1]}}");
    free(text);
    affect_json_free(printed);
    affect_fields_free(&s, table);
    CHECK(s.extra == NULL);
}

static void check_refused(const char *text, const char *pointer, const char *says) {
    sample s;
    affect_error error = {0};
    CHECK(parse(&s, text, &error) == AFFECT_STATUS_INVALID);
    CHECK_STRING(error.pointer, pointer);
    CHECK(strstr(error.message, says) != NULL);
    if (!strstr(error.message, says))
        fprintf(stderr, "    \"%s\" lacks \"%s\"\n", error.message, says);
    affect_fields_free(&s, table);
}

static void test_refusals(void) {
    check_refused("{\"epoch\":1}", "/training/epoch", "known: stratified, epochs");
    check_refused("{\"epochs\":0}", "/training/epochs", "1..100");
    check_refused("{\"epochs\":101}", "/training/epochs", "1..100");
    check_refused("{\"epochs\":1.5}", "/training/epochs", "integer");
    check_refused("{\"epochs\":1e300}", "/training/epochs", "bounds");
    check_refused("{\"epochs\":\"1\"}", "/training/epochs", "string");
    check_refused("{\"epochs\":null}", "/training/epochs", "null");
    check_refused("{\"rate\":1.0001}", "/training/rate", "0..1");
    check_refused("{\"rate\":true}", "/training/rate", "number");
    check_refused("{\"stratified\":1}", "/training/stratified", "boolean");
    check_refused("{\"name\":\"12345678\"}", "/training/name", "7 bytes");
    check_refused("{\"kind\":\"third\"}", "/training/kind", "first, second");
    check_refused("{\"kind\":0}", "/training/kind", "string");
    check_refused("[1]", "/training", "object");
}

static void test_a_long_unknown_name(void) {
    char text[2000];
    sample s;
    affect_error error = {0};
    memset(text, 'x', sizeof text);
    memcpy(text, "{\"", 2);
    memcpy(text + 1990, "\":1}", 5);
    CHECK(parse(&s, text, &error) == AFFECT_STATUS_INVALID);
    CHECK(strlen(error.pointer) < sizeof error.pointer &&
          strncmp(error.pointer, "/training/xx", 12) == 0);
}

static void test_text(void) {
    sample s;
    affect_error error = {0};
    affect_fields_default(&s, table);
    CHECK_OK(affect_fields_parse_text(&s, affect_fields_find(table, "epochs"), "42", err));
    CHECK_OK(affect_fields_parse_text(&s, affect_fields_find(table, "stratified"), "false", err));
    CHECK_OK(affect_fields_parse_text(&s, affect_fields_find(table, "kind"), "first", err));
    CHECK_OK(affect_fields_parse_text(&s, affect_fields_find(table, "extra"), "{\"a\":1}", err));
    CHECK(s.epochs == 42 && !s.stratified && s.kind == 0 && affect_json_is_object(s.extra));
    const char *const wrong[][2] = {{"epochs", "4x"},          {"epochs", ""},   {"epochs", "nan"},
                                    {"stratified", "yes"},     {"rate", "2"},    {"rate", "inf"},
                                    {"name", "much too long"}, {"kind", "FIRST"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK(affect_fields_parse_text(&s, affect_fields_find(table, wrong[i][0]), wrong[i][1],
                                       &error) == AFFECT_STATUS_INVALID);
    CHECK(affect_fields_find(table, "epoch") == NULL);
    affect_fields_free(&s, table);
}

typedef struct {
    char name[8];
    affect_json *nested;
} outer;

static const affect_field outer_table[] = {
    AFFECT_FIELD_STRING(outer, name, "", "d", .minimum = 1, .required = true,
                        .schema = "{'pattern':'^[a-z]+$'}"),
    AFFECT_FIELD_JSON(outer, nested, "e", .fields = table,
                      .schema = "{'oneOf':[{'type':'string'},{'type':'null'}]}"),
    AFFECT_FIELD_END};

static void test_required(void) {
    affect_field_errors wrong = {0};
    affect_error error = {.fields = &wrong};
    affect_json *json = NULL;
    outer o;
    affect_fields_default(&o, outer_table);
    CHECK(affect_json_parse(&json, "{\"name\":\"\"}", 11, NULL) == AFFECT_STATUS_OK);
    CHECK(affect_fields_parse(&o, outer_table, json, "/o", &error) == AFFECT_STATUS_INVALID);
    CHECK(wrong.n == 1);
    affect_json_free(affect_json_detach(json, "name"));
    wrong.n = 0;
    CHECK(affect_fields_parse(&o, outer_table, json, "/o", &error) == AFFECT_STATUS_INVALID);
    CHECK(wrong.n == 1 && strcmp(wrong.items[0].pointer, "/o/name") == 0);
    affect_json_free(json);
}

static const char *name_table(const affect_field *fields) {
    return fields == table ? "Sample" : NULL;
}

static void test_schema(void) {
    static const char wanted[] =
        "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"minLength\":1,"
        "\"maxLength\":7,\"pattern\":\"^[a-z]+$\",\"description\":\"d\"},\"nested\":{\"oneOf\":[{"
        "\"type\":\"string\"},{\"type\":\"null\"},{\"$ref\":\"#/components/schemas/Sample\"}],"
        "\"description\":\"e\"}},\"required\":[\"name\"],\"additionalProperties\":false}";
    affect_json *schema = affect_fields_schema(outer_table, name_table);
    char *text = affect_json_text(schema);
    CHECK(text && strcmp(text, wanted) == 0);
    free(text);
    affect_json_free(schema);
    schema = affect_fields_schema(table, NULL);
    const affect_json *properties = affect_json_get(schema, "properties");
    const affect_json *epochs = affect_json_get(properties, "epochs");
    CHECK(affect_json_get_number(epochs, "minimum", 0) == 1);
    CHECK(affect_json_get_number(epochs, "maximum", 0) == 100);
    CHECK(affect_json_get_number(epochs, "default", 0) == 10);
    CHECK(affect_json_size(affect_json_get(affect_json_get(properties, "kind"), "enum")) == 2);
    affect_json_free(schema);
}

int main(void) {
    TEST_RUN(test_defaults);
    TEST_RUN(test_values);
    TEST_RUN(test_refusals);
    TEST_RUN(test_a_long_unknown_name);
    TEST_RUN(test_text);
    TEST_RUN(test_required);
    TEST_RUN(test_schema);
    return TEST_END();
}
