/* Learning rates, stopping and metrics against stored numbers: Keras' own callbacks and numpy
 * (tests/reference/make_keras.py made schedules.json and metrics.json). */
#include "engine/evaluation/metrics.h"
#include "engine/train/schedule.h"
#include "tests/test.h"

static affect_json *read_reference(const char *name) {
    affect_json *json = NULL;
    char path[1024];
    snprintf(path, sizeof path, "%s/keras/%s", TEST_REFERENCE_DIR, name);
    CHECK_OK(affect_json_read(&json, path, 1 << 20, err));
    return json;
}

static void check_plateau(const affect_json *item, double initial_rate) {
    affect_schedule_config config = {
        .kind = AFFECT_SCHEDULE_PLATEAU,
        .factor = affect_json_get_number(item, "factor", NAN),
        .min_delta = affect_json_get_number(item, "min_delta", NAN),
        .min_learning_rate = affect_json_get_number(item, "min_lr", NAN),
        .patience = (int64_t)affect_json_get_number(item, "patience", NAN),
        .cooldown = (int64_t)affect_json_get_number(item, "cooldown", NAN),
    };
    const affect_json *losses = affect_json_get(item, "losses");
    const affect_json *rates = affect_json_get(item, "rates");
    affect_schedule schedule;
    affect_schedule_begin(&schedule, initial_rate);
    CHECK(affect_json_size(losses) == 20 && affect_json_size(rates) == 20);
    for (size_t i = 0; i < affect_json_size(losses); i++) {
        double rate = affect_json_number(affect_json_at(rates, i), NAN);
        affect_schedule_update(&schedule, &config,
                               affect_json_number(affect_json_at(losses, i), NAN));
        CHECK_NEAR(schedule.learning_rate, rate, 1e-7 * rate);
    }
}

static void test_plateau(void) {
    affect_json *reference = read_reference("schedules.json");
    double initial_rate = affect_json_get_number(reference, "initial_rate", NAN);
    const affect_json *items = affect_json_get(reference, "plateau");
    CHECK(affect_json_size(items) == 12);
    for (const affect_json *item = affect_json_first(items); item; item = affect_json_next(item))
        check_plateau(item, initial_rate);
    affect_json_free(reference);
}

/* Patience 0 means "never stops" here and "at the first epoch without improvement" in Keras. */
static void check_stopping(const affect_json *item) {
    affect_stopping_config config = {
        .patience = (int64_t)affect_json_get_number(item, "patience", NAN),
        .min_delta = affect_json_get_number(item, "min_delta", NAN),
    };
    if (config.patience == 0) return;
    const affect_json *losses = affect_json_get(item, "losses");
    double stopped_epoch = affect_json_get_number(item, "stopped_epoch", -1);
    affect_stopping stopping;
    affect_stopping_begin(&stopping);
    double stopped = -1;
    for (size_t i = 0; i < affect_json_size(losses) && stopped < 0; i++)
        if (affect_stopping_update(&stopping, &config,
                                   affect_json_number(affect_json_at(losses, i), NAN)))
            stopped = (double)i;
    CHECK_NEAR(stopped, stopped_epoch, 0);
}

static void test_stopping(void) {
    affect_json *reference = read_reference("schedules.json");
    const affect_json *items = affect_json_get(reference, "early_stopping");
    CHECK(affect_json_size(items) == 15);
    for (const affect_json *item = affect_json_first(items); item; item = affect_json_next(item))
        check_stopping(item);
    affect_json_free(reference);
}

static void check_metrics(const affect_json *item) {
    size_t n_classes = (size_t)affect_json_get_number(item, "n_classes", 0);
    const affect_json *labels = affect_json_get(item, "labels");
    const affect_json *predicted = affect_json_get(item, "predicted");
    double stats[2 + 4 * 4] = {0};
    CHECK(n_classes == 4);
    if (n_classes != 4) return;
    for (size_t i = 0; i < affect_json_size(labels); i++) {
        size_t label = (size_t)affect_json_number(affect_json_at(labels, i), 0);
        size_t said = (size_t)affect_json_number(affect_json_at(predicted, i), 0);
        stats[1] += 1;
        stats[2 + label * n_classes + said] += 1;
    }
    affect_metrics metrics;
    affect_metrics_from_stats(&metrics, stats, n_classes, 0);
    CHECK(metrics.n_rows == affect_json_size(labels));
    CHECK_NEAR(metrics.accuracy, affect_json_get_number(item, "accuracy", NAN), 1e-12);
    CHECK_NEAR(metrics.f1_macro, affect_json_get_number(item, "macro_f1", NAN), 1e-12);
    CHECK_NEAR(metrics.f1_weighted, affect_json_get_number(item, "weighted_f1", NAN), 1e-12);
    for (size_t c = 0; c < n_classes; c++) {
        const affect_json *row = affect_json_at(affect_json_get(item, "confusion"), c);
        const affect_json *recall = affect_json_at(affect_json_get(item, "recall"), c);
        const affect_json *precision = affect_json_at(affect_json_get(item, "precision"), c);
        const affect_json *f1 = affect_json_at(affect_json_get(item, "f1"), c);
        CHECK_NEAR(metrics.recall[c], affect_json_number(recall, NAN), 1e-12);
        CHECK_NEAR(metrics.precision[c], affect_json_number(precision, NAN), 1e-12);
        CHECK_NEAR(metrics.f1[c], affect_json_number(f1, NAN), 1e-12);
        for (size_t k = 0; k < n_classes; k++)
            CHECK_NEAR(metrics.confusion[c][k], affect_json_number(affect_json_at(row, k), NAN), 0);
    }
}

static void test_metrics(void) {
    affect_json *reference = read_reference("metrics.json");
    const affect_json *items = affect_json_get(reference, "cases");
    CHECK(affect_json_size(items) == 4);
    for (const affect_json *item = affect_json_first(items); item; item = affect_json_next(item))
        check_metrics(item);
    affect_json_free(reference);
}

int main(void) {
    TEST_RUN(test_plateau);
    TEST_RUN(test_stopping);
    TEST_RUN(test_metrics);
    return TEST_END();
}
