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
    const affect_scaling *motion = affect_normalizer_find(&normalizer, "motion");
    CHECK(normalizer.n == 1 && motion && motion->n_columns == FIXTURE_COLUMNS);
    CHECK(affect_normalizer_find(&normalizer, "mel") == NULL);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        CHECK_NEAR(motion->mean[numbers[i].column], numbers[i].mean, 1.3e-4); /* 1 ulp at 1000 */
        CHECK_NEAR(motion->deviation[numbers[i].column], numbers[i].deviation, 3e-7);
    }
    affect_normalizer_free(&normalizer);
}

static void test_only_the_given_utterances_count(void) {
    affect_normalizer some, all;
    const size_t everything[] = {0, 1, 2, 3};
    CHECK_OK(affect_normalizer_fit(&some, dataset, indices, 3, err));
    CHECK_OK(affect_normalizer_fit(&all, dataset, everything, 4, err));
    CHECK(some.scalings[0].mean[0] != all.scalings[0].mean[0]);
    affect_normalizer_free(&some);
    affect_normalizer_free(&all);
}

static void test_apply(void) {
    affect_normalizer normalizer;
    float raw[FIXTURE_PARTS * FIXTURE_COLUMNS], scaled[FIXTURE_PARTS * FIXTURE_COLUMNS];
    uint8_t missing[FIXTURE_PARTS * FIXTURE_COLUMNS];
    CHECK_OK(affect_normalizer_fit(&normalizer, dataset, indices, 3, err));
    const affect_scaling *motion = affect_normalizer_find(&normalizer, "motion");
    affect_dataset_fill(dataset, raw, missing, FIXTURE_MOTION, 3);
    memcpy(scaled, raw, sizeof raw);
    affect_scaling_apply(motion, scaled, missing, FIXTURE_PARTS);
    size_t wrong = 0;
    for (size_t k = 0; k < FIXTURE_PARTS * FIXTURE_COLUMNS; k++) {
        size_t c = k % FIXTURE_COLUMNS;
        float want = (raw[k] - motion->mean[c]) / motion->deviation[c];
        wrong += scaled[k] != (missing[k] ? 0 : want);
    }
    CHECK(wrong == 0);
    memset(missing, 1, sizeof missing); /* an absent stream is all zeros */
    memset(scaled, 0, sizeof scaled);
    affect_scaling_apply(motion, scaled, missing, FIXTURE_PARTS);
    for (size_t k = 0; k < FIXTURE_PARTS * FIXTURE_COLUMNS; k++) wrong += scaled[k] != 0;
    CHECK(wrong == 0);
    affect_scaling_apply(motion, scaled, NULL, FIXTURE_PARTS); /* nothing missing */
    CHECK(scaled[0] == (0 - motion->mean[0]) / motion->deviation[0]);
    memcpy(scaled, raw, sizeof raw);
    affect_scaling_apply(NULL, scaled, missing, FIXTURE_PARTS); /* of a feature without */
    CHECK(memcmp(scaled, raw, sizeof raw) == 0);
    affect_normalizer_free(&normalizer);
}

static void check_malformed(const affect_json *json, const char *text) {
    affect_normalizer read;
    affect_error failure = {0};
    CHECK(affect_normalizer_from_json(&read, affect_dataset_sizes(dataset), json, &failure) ==
          AFFECT_STATUS_MALFORMED);
    CHECK(strstr(failure.message, text) != NULL);
    affect_normalizer_free(&read);
}

static bool is_same(const affect_normalizer *a, const affect_normalizer *b) {
    const affect_scaling *x = &a->scalings[0], *y = &b->scalings[0];
    size_t size = 2 * x->n_columns * sizeof *x->mean;
    return a->n == b->n && x->n_columns == y->n_columns && memcmp(x->mean, y->mean, size) == 0;
}

static void test_json(void) {
    affect_normalizer normalizer, read;
    const affect_sizes *sizes = affect_dataset_sizes(dataset);
    CHECK_OK(affect_normalizer_fit(&normalizer, dataset, indices, 3, err));
    affect_json *json = affect_normalizer_to_json(&normalizer);
    char *text = affect_json_text(json);
    affect_json *again = fixture_json(text), *motion = affect_json_get(again, "motion");
    CHECK_OK(affect_normalizer_from_json(&read, sizes, again, err));
    CHECK(is_same(&read, &normalizer));
    affect_normalizer_free(&read);
    CHECK_OK(affect_normalizer_from_json(&read, sizes, motion, err)); /* as older models have it */
    CHECK(is_same(&read, &normalizer));
    affect_normalizer_free(&read);
    affect_json_set(motion, "deviation", affect_json_copy(affect_json_get(motion, "mean")));
    affect_json_append(affect_json_get(motion, "mean"), affect_json_new_number(1));
    check_malformed(again, "189");
    affect_json *zero = affect_json_copy(json);
    affect_json *deviation = affect_json_set_array(affect_json_get(zero, "motion"), "deviation");
    for (int i = 0; i < 189; i++) affect_json_append(deviation, affect_json_new_number(0));
    check_malformed(zero, "above 0");
    check_malformed(NULL, "mean");
    affect_json_free(affect_json_detach(zero, "motion"));
    check_malformed(zero, "mean");
    affect_json_free(json);
    affect_json_free(again);
    affect_json_free(zero);
    free(text);
    affect_normalizer_free(&normalizer);
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
