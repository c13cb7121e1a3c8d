/* What an epoch or an evaluation counts, and what follows from the counts.
 *
 * Everything is made from two sums (cross-entropy, rows) and the confusion matrix, which a device
 * accumulates (affect_loss_shape in device/backend.h). Precision, recall and F1 are 0 where their
 * denominator is 0, as scikit-learn's zero_division=0; macro averages are over all classes. */
#ifndef AFFECT_EVALUATION_METRICS_H
#define AFFECT_EVALUATION_METRICS_H

#include "engine/dataset/label_map.h"

#include <stdint.h>

typedef struct {
    size_t n_classes;
    size_t n_rows;
    double cross_entropy; /* mean a row, weighted by class weights */
    double l2;            /* penalty of the parameters (running mean over training steps) */
    double loss;          /* cross_entropy + l2 */
    double accuracy;      /* WA */
    double uar;           /* UA: mean of recall over classes that occur */
    double f1_macro, f1_weighted;
    double precision[AFFECT_MAX_CLASSES], recall[AFFECT_MAX_CLASSES], f1[AFFECT_MAX_CLASSES];
    uint64_t confusion[AFFECT_MAX_CLASSES][AFFECT_MAX_CLASSES]; /* [true][predicted] */
} affect_metrics;

/* From `stats`, (2 + classes^2) doubles as the device counts them, and the L2 penalty. */
void affect_metrics_from_stats(affect_metrics *metrics, const double *stats, size_t n_classes,
                               double l2);
/* Of labels and predictions (n), classes of 0..n_classes-1; no losses. */
void affect_metrics_count(affect_metrics *metrics, const int *labels, const int *predicted,
                          size_t n, size_t n_classes);
/* Adds members to `json`, each name preceded by `prefix` ("" or "val_"): loss, cross_entropy, l2,
 * accuracy, recall_mean (uar), f1_macro, f1_weighted, recall {class: number}, confusion [[]]. */
void affect_metrics_print(affect_json *json, const char *prefix, const affect_metrics *metrics,
                          const char *const *classes);
/* Adds accuracy, recall_mean (uar) and f1_macro alone. */
void affect_metrics_print_rates(affect_json *json, const affect_metrics *metrics);

#endif
