/* Intervals, calibration and comparisons against statsmodels, SciPy, scikit-learn and NumPy
 * (tests/reference/make_statistics.py made statistics.json), and their edges. */
#include "engine/core/json.h"
#include "engine/evaluation/calibration.h"
#include "engine/evaluation/interval.h"
#include "engine/evaluation/lda.h"
#include "engine/evaluation/mcnemar.h"
#include "engine/evaluation/temperature.h"
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
        check_interval(bootstrap.uar, affect_json_get(stored, "recall_mean"), 5e-3);
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
        check_interval(got.uar, affect_json_get(stored, "recall_mean"), 5e-3);
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

/* ---- Discriminant analysis ---- */

/* Numbers of rows, null as NAN; owned. */
static double *read_rows(const affect_json *rows, size_t p) {
    double *numbers = calloc(affect_json_size(rows) * p, sizeof *numbers), *to = numbers;
    for (const affect_json *row = affect_json_first(rows); row; row = affect_json_next(row))
        for (const affect_json *x = affect_json_first(row); x; x = affect_json_next(x))
            *to++ = affect_json_number(x, NAN);
    return numbers;
}

static affect_lda *fit_lda(const double *rows, const int *labels, size_t n, size_t p,
                           size_t n_classes) {
    affect_lda *lda = NULL;
    CHECK_OK(affect_lda_create(&lda, p, n_classes, err));
    for (size_t i = 0; i < n; i++) affect_lda_scale(lda, rows + i * p);
    for (size_t i = 0; i < n; i++) affect_lda_add(lda, rows + i * p, labels[i]);
    CHECK_OK(affect_lda_solve(lda, AFFECT_LDA_SHRINKAGE, err));
    return lda;
}

/* With two classes scikit-learn has one score: the second's less the first's. */
static void test_lda(void) {
    const affect_json *cases = affect_json_get(reference, "lda");
    CHECK(affect_json_size(cases) == 3);
    for (const affect_json *json = affect_json_first(cases); json; json = affect_json_next(json)) {
        const affect_json *table = affect_json_get(json, "rows");
        size_t p = affect_json_size(affect_json_at(table, 0)), n_all = affect_json_size(table);
        size_t n = (size_t)affect_json_get_number(json, "n", 0);
        size_t n_classes = (size_t)affect_json_get_number(json, "n_classes", 0);
        int *labels = integers(affect_json_get(json, "labels"));
        int *predicted = integers(affect_json_get(json, "predicted"));
        double *rows = read_rows(table, p);
        double *want = read_rows(affect_json_get(json, "scores"), n_classes), got[8], again[8];
        affect_lda *lda = fit_lda(rows, labels, n, p, n_classes);
        affect_lda *unknown = fit_lda(rows, labels, n, p, n_classes + 1);
        for (size_t i = n; i < n_all; i++) {
            affect_lda_score(lda, got, rows + i * p);
            CHECK(affect_lda_predict(lda, rows + i * p) == predicted[i - n]);
            double shift = n_classes == 2 ? got[0] : 0;
            for (size_t c = 0; c < n_classes; c++)
                CHECK_NEAR(got[c] - shift, want[(i - n) * n_classes + c], 1e-6);
            /* A class without rows changes nothing and is never predicted. */
            affect_lda_score(unknown, again, rows + i * p);
            CHECK(memcmp(got, again, n_classes * sizeof *got) == 0);
            CHECK(again[n_classes] == -INFINITY);
        }
        affect_lda_free(lda);
        affect_lda_free(unknown);
        free(labels);
        free(predicted);
        free(rows);
        free(want);
    }
}

static void test_lda_of_nothing(void) {
    const double rows[] = {1, 2, 1, 2, 3, 0, 3, 0};
    const int labels[] = {0, 0, 1, 1}, same[] = {1, 1, 1, 1};
    const struct {
        const int *labels;
        const char *why;
    } cases[] = {{labels, "nothing varies within the classes"}, {same, "1 classes"}};
    for (int k = 0; k < 2; k++) {
        affect_lda *lda = NULL;
        affect_error error = {0};
        CHECK_OK(affect_lda_create(&lda, 2, 2, err));
        for (int i = 0; i < 4; i++) affect_lda_scale(lda, rows + 2 * i);
        for (int i = 0; i < 4; i++) affect_lda_add(lda, rows + 2 * i, cases[k].labels[i]);
        CHECK(affect_lda_solve(lda, AFFECT_LDA_SHRINKAGE, &error) == AFFECT_STATUS_INVALID);
        CHECK(strstr(error.message, cases[k].why) != NULL);
        affect_lda_free(lda);
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

static double nll_of(const float *probabilities, const corpus *c) {
    affect_calibration calibration;
    CHECK_OK(affect_calibrate(&calibration, probabilities, c->labels, c->n, c->n_classes, err));
    return calibration.nll;
}

/* SciPy's minimum; probabilities stay probabilities, and the likeliest class is the same. */
static void test_temperature(void) {
    const affect_json *cases = affect_json_get(reference, "cases");
    for (const affect_json *json = affect_json_first(cases); json; json = affect_json_next(json)) {
        corpus c = read_case(json);
        const affect_json *stored = affect_json_get(json, "temperature");
        double temperature = 0;
        float *scaled = malloc(c.n * c.n_classes * sizeof *scaled);
        CHECK_OK(
            affect_temperature_fit(&temperature, c.probabilities, c.labels, c.n, c.n_classes, err));
        CHECK_NEAR(temperature, affect_json_number(affect_json_at(stored, 0), 0), 1e-6);
        affect_temperature_apply(scaled, c.probabilities, c.n, c.n_classes, temperature);
        CHECK_NEAR(nll_of(scaled, &c), affect_json_number(affect_json_at(stored, 1), 0), 1e-6);
        CHECK(nll_of(scaled, &c) <= nll_of(c.probabilities, &c) + 1e-9);
        for (size_t i = 0; i < c.n; i++) {
            double sum = 0;
            size_t best = 0;
            for (size_t k = 0; k < c.n_classes; k++) {
                sum += (double)scaled[i * c.n_classes + k];
                if (scaled[i * c.n_classes + k] > scaled[i * c.n_classes + best]) best = k;
            }
            CHECK_NEAR(sum, 1, 1e-5);
            CHECK((int)best == c.predicted[i]);
        }
        affect_temperature_apply(scaled, c.probabilities, c.n, c.n_classes, 1);
        for (size_t i = 0; i < c.n * c.n_classes; i++)
            CHECK_NEAR((double)scaled[i], (double)c.probabilities[i], 1e-6);
        free(scaled);
        free_case(&c);
    }
}

/* Always right: as sure as allowed. Always wrong: as unsure. All alike: 1. Zeros are no trouble. */
static void test_temperature_at_its_ends(void) {
    const float sure[] = {.9f, .1f, .2f, .8f}, alike[] = {.5f, .5f, .5f, .5f};
    const float certain[] = {1, 0, 0, 1, 1, 0};
    const int right[] = {0, 1, 1}, wrong[] = {1, 0};
    double temperature = 0;
    float scaled[6];
    CHECK_OK(affect_temperature_fit(&temperature, sure, right, 2, 2, err));
    CHECK_NEAR(temperature, AFFECT_TEMPERATURE_MIN, 1e-9);
    CHECK_OK(affect_temperature_fit(&temperature, sure, wrong, 2, 2, err));
    CHECK_NEAR(temperature, AFFECT_TEMPERATURE_MAX, 1e-9);
    CHECK_OK(affect_temperature_fit(&temperature, alike, right, 2, 2, err));
    CHECK(temperature == 1);
    CHECK_OK(affect_temperature_fit(&temperature, certain, right, 3, 2, err));
    CHECK(temperature > 1 && temperature <= AFFECT_TEMPERATURE_MAX);
    affect_temperature_apply(scaled, certain, 3, 2, temperature);
    for (size_t i = 0; i < 6; i++) CHECK(isfinite(scaled[i]) && scaled[i] >= 0 && scaled[i] <= 1);
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
    TEST_RUN(test_lda);
    TEST_RUN(test_lda_of_nothing);
    TEST_RUN(test_groups);
    TEST_RUN(test_certain);
    TEST_RUN(test_temperature);
    TEST_RUN(test_temperature_at_its_ends);
    affect_json_free(reference);
    return TEST_END();
}
