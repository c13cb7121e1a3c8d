/* Intervals, calibration and comparisons against statsmodels, SciPy, scikit-learn and NumPy
 * (tests/reference/make_statistics.py made statistics.json), and their edges. */
#include "engine/core/json.h"
#include "engine/evaluation/calibration.h"
#include "engine/evaluation/interval.h"
#include "engine/evaluation/mcnemar.h"
#include "tests/test.h"

static affect_json *reference;

/* A case's arrays; owned. */
typedef struct {
    size_t n, n_classes;
    int *labels, *predicted, *groups;
    float *probabilities;
} corpus;

static int *integers(const affect_json *array) {
    int *numbers = calloc(affect_json_size(array) + 1, sizeof *numbers), *to = numbers;
    for (const affect_json *e = affect_json_first(array); e; e = affect_json_next(e))
        *to++ = (int)affect_json_number(e, -1);
    return numbers;
}

static corpus read_case(const affect_json *json) {
    const affect_json *p = affect_json_get(json, "probabilities");
    corpus c = {.n = affect_json_size(affect_json_get(json, "labels")),
                .n_classes = (size_t)affect_json_get_number(json, "n_classes", 0),
                .labels = integers(affect_json_get(json, "labels")),
                .groups = integers(affect_json_get(json, "groups"))};
    c.predicted = calloc(c.n, sizeof *c.predicted);
    c.probabilities = calloc(affect_json_size(p), sizeof *c.probabilities);
    float *to = c.probabilities;
    for (const affect_json *e = affect_json_first(p); e; e = affect_json_next(e))
        *to++ = (float)affect_json_number(e, 0);
    for (size_t i = 0; i < c.n; i++)
        for (size_t k = 1; k < c.n_classes; k++)
            if (c.probabilities[i * c.n_classes + k] >
                c.probabilities[i * c.n_classes + (size_t)c.predicted[i]])
                c.predicted[i] = (int)k;
    return c;
}

static void free_case(corpus *c) {
    free(c->labels);
    free(c->predicted);
    free(c->groups);
    free(c->probabilities);
}

static void check_interval(affect_interval got, const affect_json *want, double tolerance) {
    CHECK_NEAR(got.low, affect_json_number(affect_json_at(want, 0), -1), tolerance);
    CHECK_NEAR(got.high, affect_json_number(affect_json_at(want, 1), -1), tolerance);
}

static void test_wilson(void) {
    const affect_json *rows = affect_json_get(reference, "wilson");
    for (const affect_json *row = affect_json_first(rows); row; row = affect_json_next(row)) {
        affect_interval got =
            affect_interval_wilson((size_t)affect_json_number(affect_json_at(row, 0), 0),
                                   (size_t)affect_json_number(affect_json_at(row, 1), 0));
        CHECK_NEAR(got.low, affect_json_number(affect_json_at(row, 2), -1), 1e-12);
        CHECK_NEAR(got.high, affect_json_number(affect_json_at(row, 3), -1), 1e-12);
    }
    affect_interval none = affect_interval_wilson(0, 0);
    CHECK(none.low == 0 && none.high == 1);
}

static void test_cases(void) {
    const affect_json *cases = affect_json_get(reference, "cases");
    for (const affect_json *json = affect_json_first(cases); json; json = affect_json_next(json)) {
        corpus c = read_case(json);
        affect_calibration calibration;
        affect_bootstrap bootstrap, again;
        size_t n_right = 0, n_binned = 0;
        CHECK_OK(affect_calibrate(&calibration, c.probabilities, c.labels, c.n, c.n_classes, err));
        CHECK_NEAR(calibration.nll, affect_json_get_number(json, "nll", 0), 1e-12);
        CHECK_NEAR(calibration.brier, affect_json_get_number(json, "brier", 0), 1e-12);
        CHECK_NEAR(calibration.ece, affect_json_get_number(json, "ece", 0), 1e-12);
        CHECK_NEAR(calibration.ece_adaptive, affect_json_get_number(json, "ece_adaptive", 0),
                   1e-12);
        for (int b = 0; b < AFFECT_CALIBRATION_BINS; b++) n_binned += calibration.bins[b].n;
        CHECK(n_binned == c.n);
        for (size_t i = 0; i < c.n; i++) n_right += c.labels[i] == c.predicted[i];
        check_interval(affect_interval_wilson(n_right, c.n), affect_json_get(json, "wilson"),
                       1e-12);
        const affect_json *stored = affect_json_get(json, "bootstrap");
        CHECK_OK(affect_bootstrap_run(&bootstrap, c.labels, c.predicted, c.groups, c.n, c.n_classes,
                                      20000, 1, err));
        check_interval(bootstrap.accuracy, affect_json_get(stored, "accuracy"), 5e-3);
        check_interval(bootstrap.recall_mean, affect_json_get(stored, "recall_mean"), 5e-3);
        check_interval(bootstrap.f1_macro, affect_json_get(stored, "f1_macro"), 5e-3);
        CHECK_OK(affect_bootstrap_run(&again, c.labels, c.predicted, c.groups, c.n, c.n_classes,
                                      20000, 1, err));
        CHECK(memcmp(&again, &bootstrap, sizeof again) == 0); /* a function of the seed */
        CHECK_OK(affect_bootstrap_run(&again, c.labels, c.predicted, c.groups, c.n, c.n_classes,
                                      20000, 2, err));
        if (bootstrap.n_groups > 5) CHECK(memcmp(&again, &bootstrap, sizeof again) != 0);
        free_case(&c);
    }
}

static void check_mcnemar(size_t only_first, size_t only_second, const affect_json *want) {
    affect_mcnemar got = affect_mcnemar_test(only_first, only_second);
    CHECK(got.exact == affect_json_get_bool(want, "exact", !got.exact));
    CHECK_NEAR(got.statistic, affect_json_get_number(want, "statistic", -1), 1e-12);
    CHECK_NEAR(got.p_value, affect_json_get_number(want, "p_value", -1), 1e-12);
}

static void test_mcnemar(void) {
    const affect_json *rows = affect_json_get(reference, "mcnemar");
    CHECK(affect_json_size(rows) > 5);
    for (const affect_json *row = affect_json_first(rows); row; row = affect_json_next(row))
        check_mcnemar((size_t)affect_json_number(affect_json_at(row, 0), 0),
                      (size_t)affect_json_number(affect_json_at(row, 1), 0),
                      affect_json_at(row, 2));
    affect_mcnemar alike = affect_mcnemar_test(40, 40);
    CHECK(!alike.exact && alike.statistic == 0 && alike.p_value == 1);
}

/* A second model on the same utterances. */
static void test_differences(void) {
    const affect_json *cases = affect_json_get(reference, "cases");
    for (const affect_json *json = affect_json_first(cases); json; json = affect_json_next(json)) {
        corpus c = read_case(json);
        affect_bootstrap got, none;
        const affect_json *second = affect_json_get(json, "second");
        const affect_json *stored = affect_json_get(second, "difference");
        const affect_json *right = affect_json_get(second, "right");
        int *predicted = integers(affect_json_get(second, "predicted"));
        CHECK_OK(affect_bootstrap_difference(&got, c.labels, c.predicted, predicted, c.groups, c.n,
                                             c.n_classes, 20000, 1, err));
        check_interval(got.accuracy, affect_json_get(stored, "accuracy"), 5e-3);
        check_interval(got.recall_mean, affect_json_get(stored, "recall_mean"), 5e-3);
        check_interval(got.f1_macro, affect_json_get(stored, "f1_macro"), 5e-3);
        CHECK_OK(affect_bootstrap_difference(&none, c.labels, predicted, predicted, c.groups, c.n,
                                             c.n_classes, 100, 1, err));
        CHECK(none.f1_macro.low == 0 && none.f1_macro.high == 0);
        check_mcnemar((size_t)affect_json_number(affect_json_at(right, 0), 0),
                      (size_t)affect_json_number(affect_json_at(right, 1), 0),
                      affect_json_get(second, "mcnemar"));
        free(predicted);
        free_case(&c);
    }
}

/* Utterances of no group count as groups of their own; one group is none to draw from. */
static void test_groups(void) {
    const int labels[] = {0, 1, 0, 1}, predicted[] = {0, 1, 1, 1};
    const int one[] = {3, 3, 3, 3}, none[] = {-1, -1, -1, -1}, each[] = {5, 0, 2, 9};
    affect_bootstrap a, b;
    affect_error failure = {0};
    CHECK(affect_bootstrap_run(&a, labels, predicted, one, 4, 2, 100, 1, &failure) ==
          AFFECT_STATUS_INVALID);
    CHECK(strstr(failure.message, "1 groups") != NULL);
    CHECK_OK(affect_bootstrap_run(&a, labels, predicted, none, 4, 2, 100, 1, err));
    CHECK_OK(affect_bootstrap_run(&b, labels, predicted, each, 4, 2, 100, 1, err));
    CHECK(a.n_groups == 4 && memcmp(&a, &b, sizeof a) == 0);
    CHECK(a.accuracy.low <= 0.75 && a.accuracy.high >= 0.75);
}

/* Probabilities of 0 and 1: the last bin holds 1, a certain mistake costs much, not infinity. */
static void test_certain(void) {
    const float probabilities[] = {1, 0, 1, 0, 0, 1};
    const int labels[] = {0, 1, 1};
    affect_calibration c;
    CHECK_OK(affect_calibrate(&c, probabilities, labels, 3, 2, err));
    CHECK(c.bins[AFFECT_CALIBRATION_BINS - 1].n == 3);
    CHECK_NEAR(c.ece, 1.0 / 3, 1e-12);
    CHECK_NEAR(c.brier, 2.0 / 3, 1e-12);
    CHECK_NEAR(c.nll, -log(1e-12) / 3, 1e-9);
}

int main(void) {
    if (affect_json_read(&reference, TEST_REFERENCE_DIR "/statistics.json", 1 << 22, NULL) !=
        AFFECT_STATUS_OK)
        return 1;
    TEST_RUN(test_wilson);
    TEST_RUN(test_cases);
    TEST_RUN(test_mcnemar);
    TEST_RUN(test_differences);
    TEST_RUN(test_groups);
    TEST_RUN(test_certain);
    affect_json_free(reference);
    return TEST_END();
}
