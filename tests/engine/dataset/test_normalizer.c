/* The normaliser against numbers of numpy 2.4 (nanmean and nanstd of the fixture's formulas over
 * utterances 3, 0, 1), its edge cases, and its JSON. */
#include "engine/dataset/normalizer.h"
#include "tests/engine/dataset/store_fixture.h"

static char folder[] = "/tmp/test_normalizer_XXXXXX";
static affect_dataset *dataset;
static const size_t indices[] = {3, 0, 1};

static void test_numbers_of_numpy(void) {
    static const struct {
        size_t column;
        float mean, deviation;
    } numbers[] = {{0, 1004.2857f, 2.9137254f},
                   {1, 1006.1429f, 3.0904725f},
                   {5, 7.0f, 1.0f}, /* constant: deviation 0 counts as 1 */
                   {9, 0.0f, 1.0f}, /* never there */
                   {100, 1105.7142f, 3.4106677f},
                   {170, 1173.5714f, 3.0639443f},
                   {188, 1194.25f, 2.6339135f}};
    affect_normalizer normalizer;
    CHECK_OK(affect_normalizer_fit(&normalizer, dataset, indices, 3, err));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        CHECK_NEAR(normalizer.mean[numbers[i].column], numbers[i].mean, 1.3e-4); /* 1 ulp at 1000 */
        CHECK_NEAR(normalizer.deviation[numbers[i].column], numbers[i].deviation, 3e-7);
    }
}

static void test_only_the_given_utterances_count(void) {
    affect_normalizer some, all;
    const size_t everything[] = {0, 1, 2, 3};
    CHECK_OK(affect_normalizer_fit(&some, dataset, indices, 3, err));
    CHECK_OK(affect_normalizer_fit(&all, dataset, everything, 4, err));
    CHECK(some.mean[0] != all.mean[0]);
}

static void test_apply(void) {
    affect_normalizer normalizer;
    float raw[FIXTURE_PARTS * FIXTURE_COLUMNS], scaled[FIXTURE_PARTS * FIXTURE_COLUMNS];
    uint8_t missing[FIXTURE_PARTS * FIXTURE_COLUMNS];
    CHECK_OK(affect_normalizer_fit(&normalizer, dataset, indices, 3, err));
    affect_dataset_fill_motion(dataset, raw, missing, 3);
    memcpy(scaled, raw, sizeof raw);
    affect_normalizer_apply(&normalizer, scaled, missing, FIXTURE_PARTS);
    size_t wrong = 0;
    for (size_t k = 0; k < FIXTURE_PARTS * FIXTURE_COLUMNS; k++) {
        size_t c = k % FIXTURE_COLUMNS;
        float want = (raw[k] - normalizer.mean[c]) / normalizer.deviation[c];
        wrong += scaled[k] != (missing[k] ? 0 : want);
    }
    CHECK(wrong == 0);
    memset(missing, 1, sizeof missing); /* an absent stream is all zeros */
    memset(scaled, 0, sizeof scaled);
    affect_normalizer_apply(&normalizer, scaled, missing, FIXTURE_PARTS);
    for (size_t k = 0; k < FIXTURE_PARTS * FIXTURE_COLUMNS; k++) wrong += scaled[k] != 0;
    CHECK(wrong == 0);
    affect_normalizer_apply(&normalizer, scaled, NULL, FIXTURE_PARTS); /* nothing missing */
    CHECK(scaled[0] == (0 - normalizer.mean[0]) / normalizer.deviation[0]);
}

static void test_json(void) {
    affect_normalizer normalizer, read;
    affect_error failure = {0};
    CHECK_OK(affect_normalizer_fit(&normalizer, dataset, indices, 3, err));
    affect_json *json = affect_normalizer_to_json(&normalizer);
    char *text = affect_json_text(json);
    affect_json *again = fixture_json(text);
    CHECK_OK(affect_normalizer_from_json(&read, again, err));
    CHECK(memcmp(&read, &normalizer, sizeof read) == 0);
    affect_json_set(again, "deviation", affect_json_copy(affect_json_get(again, "mean")));
    affect_json_append(affect_json_get(again, "mean"), affect_json_new_number(1));
    CHECK(affect_normalizer_from_json(&read, again, &failure) == AFFECT_STATUS_MALFORMED);
    CHECK(strstr(failure.message, "189") != NULL);
    affect_json *zero = affect_json_copy(json);
    affect_json *deviation = affect_json_set_array(zero, "deviation");
    for (int i = 0; i < 189; i++) affect_json_append(deviation, affect_json_new_number(0));
    CHECK(affect_normalizer_from_json(&read, zero, &failure) == AFFECT_STATUS_MALFORMED);
    CHECK(affect_normalizer_from_json(&read, NULL, &failure) == AFFECT_STATUS_MALFORMED);
    affect_json_free(json);
    affect_json_free(again);
    affect_json_free(zero);
    free(text);
}

static void test_refusals(void) {
    affect_normalizer normalizer;
    affect_error failure = {0};
    const size_t outside[] = {4};
    CHECK(affect_normalizer_fit(&normalizer, dataset, indices, 0, &failure) ==
          AFFECT_STATUS_INVALID);
    CHECK(affect_normalizer_fit(&normalizer, dataset, outside, 1, &failure) ==
          AFFECT_STATUS_INVALID);
}

int main(void) {
    if (!mkdtemp(folder)) return 1;
    dataset = fixture_open(folder);
    TEST_RUN(test_numbers_of_numpy);
    TEST_RUN(test_only_the_given_utterances_count);
    TEST_RUN(test_apply);
    TEST_RUN(test_json);
    TEST_RUN(test_refusals);
    affect_dataset_close(dataset);
    affect_directory_remove(folder, NULL);
    return TEST_END();
}
