/* The public face compiles as one header, and its errors are sentences. */
#include "engine/affect.h"
#include "tests/test.h"

static void test_missing_model(void) {
    affect_error error = {0};
    affect_predictor *predictor = NULL;
    CHECK(affect_predictor_open(&predictor, "/nonexistent/model.safetensors", NULL, &error) ==
          AFFECT_STATUS_NOT_FOUND);
    CHECK(predictor == NULL && strstr(error.message, "model.safetensors") != NULL);
    affect_predictor_close(NULL);
}

static void test_missing_dataset(void) {
    affect_error error = {0};
    affect_dataset *dataset = NULL;
    CHECK(affect_dataset_open(&dataset, "/nonexistent", NULL, &error) == AFFECT_STATUS_NOT_FOUND);
}

int main(void) {
    TEST_RUN(test_missing_model);
    TEST_RUN(test_missing_dataset);
    return TEST_END();
}
