/* A split's config from JSON as text, for the tests of splits. */
#ifndef AFFECT_TESTS_EVALUATION_SPLIT_TEXT_H
#define AFFECT_TESTS_EVALUATION_SPLIT_TEXT_H

#include "engine/evaluation/split.h"
#include "tests/test.h"

static affect_status read_config(affect_split_config *config, const char *text,
                                 affect_error *error) {
    affect_json *json = NULL;
    CHECK_OK(affect_json_parse(&json, text, strlen(text), err));
    affect_status status = affect_split_config_parse(config, json, "/split", error);
    affect_json_free(json);
    return status;
}

#endif
