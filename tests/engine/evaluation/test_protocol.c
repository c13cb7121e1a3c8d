/* Splits: the study's sizes, stratification, determinism, speakers, and what is refused. */
#include "engine/evaluation/protocol.h"
#include "tests/test.h"

#define N 5521

static int labels[N];
static const char *speakers[N];
static uint8_t parts[N], again[N];

/* IEMOCAP's four classes in the study's proportions, ten speakers in turn. */
static void make_corpus(void) {
    static const char *const names[] = {"Ses01F", "Ses01M", "Ses02F", "Ses02M", "Ses03F",
                                        "Ses03M", "Ses04F", "Ses04M", "Ses05F", "Ses05M"};
    for (int i = 0; i < N; i++) {
        labels[i] = i < 1103 ? 0 : i < 1103 + 1636 ? 1 : i < 1103 + 1636 + 1708 ? 2 : 3;
        speakers[i] = names[i % 10];
    }
}

static affect_status config_from(affect_split_config *config, const char *text,
                                 affect_error *error) {
    affect_json *json = NULL;
    CHECK_OK(affect_json_parse(&json, text, strlen(text), err));
    affect_status status = affect_split_config_parse(config, json, "/split", error);
    affect_json_free(json);
    return status;
}

static affect_status split(uint8_t *to, const char *text, size_t n, affect_error *error) {
    affect_split_config config;
    CHECK_OK(config_from(&config, text, err));
    affect_status status = affect_split_make(to, &config, n, labels, 4, speakers, error);
    affect_split_config_free(&config);
    return status;
}

static size_t count(const uint8_t *of, size_t n, affect_part part, int label) {
    size_t found = 0;
    for (size_t i = 0; i < n; i++) found += of[i] == part && (label < 0 || labels[i] == label);
    return found;
}

static void test_sizes_of_the_study(void) {
    const char *const kinds[] = {"{\"stratified\":true}", "{\"stratified\":false}"};
    for (int k = 0; k < 2; k++) {
        CHECK_OK(split(parts, kinds[k], N, err));
        CHECK(count(parts, N, AFFECT_PART_VALIDATION, -1) == 1105); /* ceil(0.2 * 5521) */
        CHECK(count(parts, N, AFFECT_PART_TRAINING, -1) == 4416);
        CHECK(count(parts, N, AFFECT_PART_TEST, -1) == 0);
    }
    CHECK_OK(split(parts, "{\"validation\":0.2,\"test\":0.1}", N, err));
    CHECK(count(parts, N, AFFECT_PART_TEST, -1) == 553);
    CHECK(count(parts, N, AFFECT_PART_VALIDATION, -1) == 1105);
}

static void test_stratified(void) {
    CHECK_OK(split(parts, "{\"validation\":0.2,\"test\":0.15,\"stratified\":true}", N, err));
    for (int c = 0; c < 4; c++) {
        double all = 0;
        for (int i = 0; i < N; i++) all += labels[i] == c;
        CHECK_NEAR(count(parts, N, AFFECT_PART_VALIDATION, c), 0.2 * all, 1.0);
        CHECK_NEAR(count(parts, N, AFFECT_PART_TEST, c), 0.15 * all, 1.0);
    }
}

/* Without stratification a class' share varies from seed to seed. */
static void test_not_stratified(void) {
    size_t first = 0;
    int n_other = 0;
    for (int seed = 0; seed < 10; seed++) {
        char text[64];
        snprintf(text, sizeof text, "{\"stratified\":false,\"seed\":%d}", seed);
        CHECK_OK(split(parts, text, N, err));
        size_t n = count(parts, N, AFFECT_PART_VALIDATION, 0);
        if (seed == 0) first = n;
        n_other += n != first;
        CHECK_NEAR(n, 0.2 * 1103, 60); /* 5 standard deviations are 59 */
    }
    CHECK(n_other > 0);
}

static void test_a_seed_is_a_split(void) {
    CHECK_OK(split(parts, "{\"seed\":7}", N, err));
    CHECK_OK(split(again, "{\"seed\":7}", N, err));
    CHECK(memcmp(parts, again, N) == 0);
    CHECK_OK(split(again, "{\"seed\":8}", N, err));
    size_t n_same = 0;
    for (int i = 0; i < N; i++)
        n_same += parts[i] == AFFECT_PART_VALIDATION && again[i] == parts[i];
    CHECK_NEAR(n_same, 0.2 * 1105, 70);
}

static void test_speakers(void) {
    CHECK_OK(split(parts,
                   "{\"kind\":\"speakers\",\"validation\":[\"Ses05F\"],\"test\":[\"Ses05M\"]}", N,
                   err));
    for (int i = 0; i < N; i++)
        CHECK(parts[i] == (i % 10 == 8   ? AFFECT_PART_VALIDATION
                           : i % 10 == 9 ? AFFECT_PART_TEST
                                         : AFFECT_PART_TRAINING));
    CHECK_OK(
        split(parts, "{\"kind\":\"speakers\",\"validation\":[\"Ses01F\",\"Ses01M\"]}", N, err));
    CHECK(count(parts, N, AFFECT_PART_TEST, -1) == 0);
    CHECK(parts[0] == AFFECT_PART_VALIDATION && parts[1] == AFFECT_PART_VALIDATION);
}

static void check_config_refused(const char *text, const char *pointer) {
    affect_split_config config;
    affect_error error = {0};
    CHECK(config_from(&config, text, &error) == AFFECT_STATUS_INVALID);
    CHECK_STRING(error.pointer, pointer);
}

static void test_refused_configs(void) {
    check_config_refused("{\"kind\":\"folds\"}", "/split/kind");
    check_config_refused("{\"valid\":0.2}", "/split/valid");
    check_config_refused("{\"validation\":0}", "/split/validation");
    check_config_refused("{\"validation\":1}", "/split/validation");
    check_config_refused("{\"validation\":-0.1}", "/split/validation");
    check_config_refused("{\"validation\":0.5,\"test\":0.5}", "/split/validation");
    check_config_refused("{\"validation\":[\"Ses01F\"]}", "/split/validation");
    check_config_refused("{\"kind\":\"speakers\"}", "/split/validation");
    check_config_refused("{\"kind\":\"speakers\",\"validation\":0.2}", "/split/validation");
    check_config_refused("{\"kind\":\"speakers\",\"validation\":[]}", "/split/validation");
    check_config_refused("{\"kind\":\"speakers\",\"validation\":[1]}", "/split/validation");
    check_config_refused("{\"kind\":\"speakers\",\"validation\":[\"a\"],\"test\":0.1}",
                         "/split/test");
    check_config_refused("{\"seed\":-1}", "/split/seed");
}

static void check_split_refused(const char *text, size_t n, const char *says) {
    affect_error error = {0};
    CHECK(split(parts, text, n, &error) == AFFECT_STATUS_INVALID);
    CHECK(strstr(error.message, says) != NULL);
}

static void test_refused_splits(void) {
    check_split_refused("{\"kind\":\"speakers\",\"validation\":[\"Ses06F\"]}", N, "Ses06F");
    check_split_refused("{\"kind\":\"speakers\",\"validation\":[\"Ses05F\",\"Ses05F\"]}", N,
                        "twice");
    check_split_refused("{\"kind\":\"speakers\",\"validation\":[\"Ses05F\"],\"test\":[\"Ses05F\"]}",
                        N, "twice");
    check_split_refused("{\"kind\":\"speakers\",\"validation\":[\"Ses01F\"]}", 1, "0 to train");
    check_split_refused("{}", 1, "0 to train");
    CHECK_OK(split(parts, "{}", 2, err));
}

static void test_print_reads_back(void) {
    static const char *const texts[] = {
        "{\"kind\":\"random\",\"validation\":0.25,\"test\":0.1,\"stratified\":false,\"seed\":3}",
        "{\"kind\":\"speakers\",\"validation\":[\"a\"],\"test\":[\"b\",\"c\"]}"};
    for (int i = 0; i < 2; i++) {
        affect_split_config config;
        CHECK_OK(config_from(&config, texts[i], err));
        affect_json *printed = affect_json_new_object();
        affect_split_config_print(printed, &config);
        char *text = affect_json_text(printed);
        CHECK_STRING(text, texts[i]);
        free(text);
        affect_json_free(printed);
        affect_split_config_free(&config);
    }
}

int main(void) {
    make_corpus();
    TEST_RUN(test_sizes_of_the_study);
    TEST_RUN(test_stratified);
    TEST_RUN(test_not_stratified);
    TEST_RUN(test_a_seed_is_a_split);
    TEST_RUN(test_speakers);
    TEST_RUN(test_refused_configs);
    TEST_RUN(test_refused_splits);
    TEST_RUN(test_print_reads_back);
    return TEST_END();
}
