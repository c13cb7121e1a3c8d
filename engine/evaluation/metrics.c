/* What follows from a confusion matrix; see metrics.h. */
#include "engine/evaluation/metrics.h"

#include <assert.h>
#include <stdio.h>

static double ratio(double part, double whole) {
    return whole > 0 ? part / whole : 0;
}

void affect_metrics_from_stats(affect_metrics *metrics, const double *stats, size_t n_classes,
                               double l2) {
    assert(n_classes <= AFFECT_MAX_CLASSES);
    *metrics = (affect_metrics){.n_classes = n_classes, .n_rows = (size_t)stats[1], .l2 = l2};
    double n_right = 0, n_occurring = 0, recall_sum = 0;
    for (size_t c = 0; c < n_classes; c++) {
        double n_true = 0, n_predicted = 0, right = stats[2 + c * n_classes + c];
        for (size_t o = 0; o < n_classes; o++) {
            metrics->confusion[c][o] = (uint64_t)stats[2 + c * n_classes + o];
            n_true += stats[2 + c * n_classes + o];
            n_predicted += stats[2 + o * n_classes + c];
        }
        metrics->precision[c] = ratio(right, n_predicted);
        metrics->recall[c] = ratio(right, n_true);
        metrics->f1[c] = ratio(2 * right, n_true + n_predicted);
        metrics->f1_macro += metrics->f1[c] / (double)n_classes;
        metrics->f1_weighted += ratio(metrics->f1[c] * n_true, stats[1]);
        n_right += right;
        n_occurring += n_true > 0;
        recall_sum += metrics->recall[c];
    }
    metrics->accuracy = ratio(n_right, stats[1]);
    metrics->uar = ratio(recall_sum, n_occurring);
    metrics->cross_entropy = ratio(stats[0], stats[1]);
    metrics->loss = metrics->cross_entropy + l2;
}

void affect_metrics_count(affect_metrics *metrics, const int *labels, const int *predicted,
                          size_t n, size_t n_classes) {
    double stats[2 + AFFECT_MAX_CLASSES * AFFECT_MAX_CLASSES] = {0, (double)n};
    for (size_t i = 0; i < n; i++)
        stats[2 + (size_t)labels[i] * n_classes + (size_t)predicted[i]]++;
    affect_metrics_from_stats(metrics, stats, n_classes, 0);
}

static void set(affect_json *json, const char *prefix, const char *name, affect_json *value) {
    char full[64];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    affect_json_set(json, full, value);
}

void affect_metrics_print(affect_json *json, const char *prefix, const affect_metrics *metrics,
                          const char *const *classes) {
    const struct {
        const char *name;
        double value;
    } numbers[] = {{"loss", metrics->loss},
                   {"cross_entropy", metrics->cross_entropy},
                   {"l2", metrics->l2},
                   {"accuracy", metrics->accuracy},
                   {"recall_mean", metrics->uar},
                   {"f1_macro", metrics->f1_macro},
                   {"f1_weighted", metrics->f1_weighted}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        set(json, prefix, numbers[i].name, affect_json_new_number(numbers[i].value));
    affect_json *recall = affect_json_new_object(), *confusion = affect_json_new_array();
    for (size_t c = 0; c < metrics->n_classes; c++) {
        affect_json_set_number(recall, classes[c], metrics->recall[c]);
        affect_json *row = affect_json_append(confusion, affect_json_new_array());
        for (size_t o = 0; o < metrics->n_classes; o++)
            affect_json_append(row, affect_json_new_number((double)metrics->confusion[c][o]));
    }
    set(json, prefix, "recall", recall);
    set(json, prefix, "confusion", confusion);
}

void affect_metrics_print_rates(affect_json *json, const affect_metrics *metrics) {
    affect_json_set_number(json, "accuracy", metrics->accuracy);
    affect_json_set_number(json, "recall_mean", metrics->uar);
    affect_json_set_number(json, "f1_macro", metrics->f1_macro);
}
