/* Metrics of confusion matrices worked out by hand, with classes that never occur or are never
 * predicted, and how they are printed. */
#include "engine/evaluation/metrics.h"
#include "tests/test.h"

/* 6 rows of class 0 (4 right, 2 called 1), 2 of class 1 (1 right, 1 called 0), 2 of class 2 (never
 * recognised, never predicted: both called 0). */
static const double stats[] = {7.5, 10, 4, 2, 0, 1, 1, 0, 2, 0, 0};

static void test_by_hand(void) {
    affect_metrics m;
    affect_metrics_from_stats(&m, stats, 3, 0.25);
    CHECK(m.n_rows == 10 && m.n_classes == 3);
    CHECK_NEAR(m.cross_entropy, 0.75, 1e-15);
    CHECK_NEAR(m.loss, 1.0, 1e-15);
    CHECK_NEAR(m.accuracy, 0.5, 1e-15);
    const double recall[] = {4.0 / 6, 0.5, 0}, precision[] = {4.0 / 7, 1.0 / 3, 0};
    const double f1[] = {8.0 / 13, 2.0 / 5, 0}; /* 2 right / (true + predicted) */
    for (int c = 0; c < 3; c++) {
        CHECK_NEAR(m.recall[c], recall[c], 1e-15);
        CHECK_NEAR(m.precision[c], precision[c], 1e-15);
        CHECK_NEAR(m.f1[c], f1[c], 1e-15);
    }
    CHECK_NEAR(m.uar, (4.0 / 6 + 0.5) / 3, 1e-15);
    CHECK_NEAR(m.f1_macro, (8.0 / 13 + 0.4) / 3, 1e-15);
    CHECK_NEAR(m.f1_weighted, (6 * 8.0 / 13 + 2 * 0.4) / 10, 1e-15);
    CHECK(m.confusion[0][1] == 2 && m.confusion[1][0] == 1 && m.confusion[2][0] == 2);
}

/* A class without an utterance does not count in the mean recall. */
static void test_a_class_that_does_not_occur(void) {
    const double one[] = {1, 4, 3, 1, 0, 0};
    affect_metrics m;
    affect_metrics_from_stats(&m, one, 2, 0);
    CHECK_NEAR(m.uar, 0.75, 1e-15);
    CHECK_NEAR(m.accuracy, 0.75, 1e-15);
    CHECK(m.recall[1] == 0 && m.precision[1] == 0);
}

static void test_nothing_and_everything(void) {
    const double none[6] = {0}, all[] = {0, 8, 5, 0, 0, 3};
    affect_metrics m;
    affect_metrics_from_stats(&m, none, 2, 0.5);
    CHECK(m.accuracy == 0 && m.uar == 0 && m.f1_macro == 0 && m.loss == 0.5);
    affect_metrics_from_stats(&m, all, 2, 0);
    CHECK_NEAR(m.accuracy, 1, 1e-15);
    CHECK_NEAR(m.f1_macro, 1, 1e-15);
    CHECK_NEAR(m.f1_weighted, 1, 1e-15);
    CHECK_NEAR(m.uar, 1, 1e-15);
}

static void test_a_loss_that_is_no_number_stays_one(void) {
    const double bad[] = {NAN, 2, 1, 0, 0, 1};
    affect_metrics m;
    affect_metrics_from_stats(&m, bad, 2, 0);
    CHECK(isnan(m.cross_entropy) && isnan(m.loss));
}

static void test_print(void) {
    static const char *const classes[] = {"angry", "happy", "sad"};
    affect_metrics m;
    affect_metrics_from_stats(&m, stats, 3, 0.25);
    affect_json *json = affect_json_new_object();
    affect_metrics_print(json, "val_", &m, classes);
    CHECK_NEAR(affect_json_get_number(json, "val_loss", 0), 1, 1e-15);
    CHECK_NEAR(affect_json_get_number(json, "val_l2", 0), 0.25, 1e-15);
    CHECK_NEAR(affect_json_get_number(affect_json_get(json, "val_recall"), "happy", 0), 0.5, 1e-15);
    char *text = affect_json_text(affect_json_get(json, "val_confusion"));
    CHECK_STRING(text, "[[4,2,0],[1,1,0],[2,0,0]]");
    free(text);
    static const char *const names[] = {"val_cross_entropy", "val_accuracy", "val_recall_mean",
                                        "val_f1_macro", "val_f1_weighted"};
    for (int i = 0; i < 5; i++) CHECK(affect_json_is_number(affect_json_get(json, names[i])));
    affect_json_free(json);
}

int main(void) {
    TEST_RUN(test_by_hand);
    TEST_RUN(test_a_class_that_does_not_occur);
    TEST_RUN(test_nothing_and_everything);
    TEST_RUN(test_a_loss_that_is_no_number_stays_one);
    TEST_RUN(test_print);
    return TEST_END();
}
