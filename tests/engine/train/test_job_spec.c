/* Specifications of jobs: defaults, every unknown or wrong field by its pointer, the study's
 * values. */
#include "engine/train/job_event.h"
#include "engine/train/job_spec.h"
#include "tests/test.h"

static affect_status train(affect_train_spec *spec, const char *text, affect_error *error) {
    affect_json *json = NULL;
    CHECK_OK(affect_json_parse(&json, text, strlen(text), err));
    affect_status status = affect_train_spec_parse(spec, json, error);
    affect_json_free(json);
    return status;
}

static void test_defaults(void) {
    affect_train_spec spec;
    CHECK_OK(train(&spec, "{\"dataset\":\"d\",\"output\":\"o\"}", err));
    const affect_training_config *training = &spec.training_config;
    CHECK_STRING(spec.type, "train");
    CHECK_STRING(affect_json_string(spec.architecture, ""), "paper-optimized");
    CHECK(training->epochs == 100 && training->batch_size == 48 && training->seed == 1);
    CHECK(training->learning_rate == 1e-3 && training->beta_1 == 0.9 && training->beta_2 == 0.999);
    CHECK(training->best == AFFECT_MONITOR_VAL_LOSS && training->epsilon == 1e-7);
    CHECK(training->schedule_config.kind == AFFECT_SCHEDULE_CONSTANT);
    CHECK(training->stopping_config.patience == 0);
    CHECK(spec.split_config.validation_share == 0.2 && spec.split_config.stratified);
    affect_train_spec_free(&spec);
    affect_train_spec_free(&spec);
}

static void test_values(void) {
    affect_train_spec spec;
    CHECK_OK(train(&spec,
                   "{\"type\":\"train\",\"dataset\":\"d\",\"output\":\"o\",\"threads\":2,"
                   "\"variables\":{\"dropout\":0.5},\"training\":{\"epochs\":3,"
                   "\"best\":\"val_accuracy\",\"class_weights\":{\"sad\":2},"
                   "\"schedule\":{\"kind\":\"plateau\",\"factor\":0.5},"
                   "\"early_stopping\":{\"patience\":4}},"
                   "\"split\":{\"kind\":\"speakers\",\"validation\":[\"x\"]}}",
                   err));
    CHECK(spec.threads == 2 && spec.training_config.epochs == 3);
    CHECK(spec.training_config.best == AFFECT_MONITOR_VAL_ACCURACY);
    CHECK(spec.training_config.schedule_config.factor == 0.5);
    CHECK(spec.training_config.schedule_config.patience == 5); /* its default stays */
    CHECK(spec.training_config.stopping_config.patience == 4);
    CHECK(affect_json_get_number(spec.training_config.class_weights, "sad", 0) == 2);
    CHECK(affect_json_get_number(spec.variables, "dropout", 0) == 0.5);
    CHECK(spec.split_config.method == AFFECT_SPLIT_SPEAKERS);
    affect_train_spec_free(&spec);
}

static void check_refused(const char *members, const char *pointer) {
    char text[512];
    affect_train_spec spec;
    affect_error error = {0};
    snprintf(text, sizeof text, "{\"dataset\":\"d\",\"output\":\"o\",%s}", members);
    affect_status status = train(&spec, text, &error);
    CHECK(status == AFFECT_STATUS_INVALID);
    CHECK_STRING(error.pointer, pointer);
    if (status == AFFECT_STATUS_OK) affect_train_spec_free(&spec);
}

static void test_refusals(void) {
    check_refused("\"learning_rate\":1", "/learning_rate");
    check_refused("\"training\":{\"learning_rat\":1}", "/training/learning_rat");
    check_refused("\"training\":{\"learning_rate\":0}", "/training/learning_rate");
    check_refused("\"training\":{\"epochs\":0}", "/training/epochs");
    check_refused("\"training\":{\"epochs\":\"10\"}", "/training/epochs");
    check_refused("\"training\":{\"batch_size\":0.5}", "/training/batch_size");
    check_refused("\"training\":{\"best\":\"loss\"}", "/training/best");
    check_refused("\"training\":{\"schedule\":{\"kind\":\"cosine\"}}", "/training/schedule/kind");
    check_refused("\"training\":{\"schedule\":{\"pacience\":1}}", "/training/schedule/pacience");
    check_refused("\"training\":{\"schedule\":\"plateau\"}", "/training/schedule");
    check_refused("\"training\":{\"early_stopping\":{\"min_delta\":-1}}",
                  "/training/early_stopping/min_delta");
    check_refused("\"training\":{\"class_weights\":\"equal\"}", "/training/class_weights");
    check_refused("\"training\":{\"class_weights\":{\"sad\":0}}", "/training/class_weights/sad");
    check_refused("\"training\":{\"class_weights\":{\"sad\":\"2\"}}",
                  "/training/class_weights/sad");
    check_refused("\"training\":{\"class_weights\":[1,2]}", "/training/class_weights");
    check_refused("\"training\":[]", "/training");
    check_refused("\"split\":{\"kind\":\"time\"}", "/split/kind");
    check_refused("\"split\":{\"validation\":2}", "/split/validation");
    check_refused("\"threads\":-1", "/threads");
}

static void test_what_must_be_there(void) {
    affect_train_spec spec;
    affect_error error = {0};
    CHECK(train(&spec, "{\"output\":\"o\"}", &error) == AFFECT_STATUS_INVALID);
    CHECK_STRING(error.pointer, "/dataset");
    CHECK(train(&spec, "{\"dataset\":\"d\"}", &error) == AFFECT_STATUS_INVALID);
    CHECK_STRING(error.pointer, "/output");
}

static void check_evaluate(const char *text, affect_status want, const char *pointer, int part) {
    affect_json *json = NULL;
    affect_evaluate_spec spec;
    affect_error error = {0};
    CHECK_OK(affect_json_parse(&json, text, strlen(text), err));
    CHECK(affect_evaluate_spec_parse(&spec, json, &error) == want);
    CHECK_STRING(error.pointer, pointer);
    if (want == AFFECT_STATUS_OK)
        CHECK_STRING(affect_evaluate_parts[spec.part], affect_evaluate_parts[part]);
    affect_json_free(json);
}

static void test_evaluate(void) {
    check_evaluate("{\"model\":\"m\",\"dataset\":\"d\"}", AFFECT_STATUS_OK, "", 1);
    check_evaluate("{\"model\":\"m\",\"dataset\":\"d\",\"part\":\"all\"}", AFFECT_STATUS_OK, "", 3);
    check_evaluate("{\"model\":\"m\",\"dataset\":\"d\",\"part\":\"train\"}", AFFECT_STATUS_INVALID,
                   "/part", 0);
    check_evaluate("{\"dataset\":\"d\"}", AFFECT_STATUS_INVALID, "/model", 0);
    check_evaluate("{\"model\":\"m\"}", AFFECT_STATUS_INVALID, "/dataset", 0);
    check_evaluate("{\"model\":\"m\",\"dataset\":\"d\",\"x\":1}", AFFECT_STATUS_INVALID, "/x", 0);
}

static void test_architecture(void) {
    affect_json *document = NULL, *name = affect_json_new_string("paper-base");
    CHECK_OK(affect_job_architecture(&document, name, err));
    CHECK(affect_json_is_object(document));
    affect_json_free(document);
    affect_json_free(name);
    document = NULL;
    name = affect_json_new_string("../secret");
    CHECK(affect_job_architecture(&document, name, NULL) != AFFECT_STATUS_OK && !document);
    affect_json_free(name);
    name = affect_json_new_number(3);
    CHECK(affect_job_architecture(&document, name, NULL) == AFFECT_STATUS_INVALID);
    affect_json_free(name);
}

/* The `state_reason` says what happened: only what a job was given makes a dataset invalid. */
static void test_reasons(void) {
    CHECK(affect_job_reason(AFFECT_STATUS_OK) == NULL);
    CHECK_STRING(affect_job_reason(AFFECT_STATUS_MALFORMED), "dataset_invalid");
    CHECK_STRING(affect_job_reason(AFFECT_STATUS_IO), "io");
    CHECK_STRING(affect_job_reason(AFFECT_STATUS_CONFLICT), "conflict");
    CHECK_STRING(affect_job_reason(AFFECT_STATUS_TIMEOUT), "deadline");
    CHECK_STRING(affect_job_reason(AFFECT_STATUS_NO_SPACE), "no_space");
}

int main(void) {
    TEST_RUN(test_reasons);
    TEST_RUN(test_defaults);
    TEST_RUN(test_values);
    TEST_RUN(test_refusals);
    TEST_RUN(test_what_must_be_there);
    TEST_RUN(test_evaluate);
    TEST_RUN(test_architecture);
    return TEST_END();
}
