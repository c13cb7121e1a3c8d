/* Baselines on feature statistics; see baseline.h. Statistics are computed anew in each pass: that
 * costs less than a matrix of all utterances would take. */
#include "engine/evaluation/baseline.h"

#include "engine/evaluation/lda.h"
#include "engine/evaluation/metrics.h"

#include <math.h>
#include <stdlib.h>

/* ---- Statistics ---- */

static bool is_there(const affect_dataset *dataset, size_t feature) {
    for (size_t i = 0; i < affect_dataset_n_utterances(dataset); i++)
        if (affect_dataset_values(dataset, feature, i).n_rows) return true;
    return false;
}

void affect_statistics_plan(affect_statistics *plan, const affect_dataset *dataset,
                            bool with_deviations) {
    const affect_sizes *sizes = affect_dataset_sizes(dataset);
    *plan = (affect_statistics){.dataset = dataset};
    for (size_t f = 0; f < sizes->n_features; f++) {
        const affect_feature *feature = &sizes->features[f];
        plan->has[f] = is_there(dataset, f);
        plan->varies[f] = plan->has[f] && with_deviations && affect_feature_n_rows(feature) > 1;
        plan->n += affect_feature_row_size(feature) * (size_t)(plan->has[f] + plan->varies[f]);
    }
}

/* Sums over rows of (value - from[c])^power, power 1 or 2; n: how many there were. */
static void add_rows(double *sums, double *n, const affect_feature_values *of, size_t n_columns,
                     const double *from) {
    for (size_t r = 0; r < of->n_rows; r++) {
        const float *values = of->values + r * n_columns;
        const uint8_t *missing = of->missing ? of->missing + r * n_columns : NULL;
        for (size_t c = 0; c < n_columns; c++) {
            double there = missing ? !missing[c] : 1;
            double value = from ? (double)values[c] - from[c] : (double)values[c];
            sums[c] += there * (from ? value * value : value);
            n[c] += there;
        }
    }
}

static void compute_feature(double *mean, double *deviation, const affect_feature_values *of,
                            size_t n_columns, double *n) {
    for (size_t c = 0; c < n_columns; c++) mean[c] = n[c] = 0;
    add_rows(mean, n, of, n_columns, NULL);
    for (size_t c = 0; c < n_columns; c++) mean[c] /= n[c]; /* 0 / 0: NAN */
    if (!deviation) return;
    for (size_t c = 0; c < n_columns; c++) {
        deviation[c] = n[c] = 0;
        if (isnan(mean[c])) mean[c] = 0; /* until it has served */
    }
    add_rows(deviation, n, of, n_columns, mean);
    for (size_t c = 0; c < n_columns; c++) {
        deviation[c] = sqrt(deviation[c] / n[c]);
        if (n[c] == 0) mean[c] = NAN;
    }
}

void affect_statistics_compute(double *numbers, const affect_statistics *plan, size_t index) {
    const affect_sizes *sizes = affect_dataset_sizes(plan->dataset);
    double *scratch = numbers + plan->n;
    for (size_t f = 0; f < sizes->n_features; f++) {
        if (!plan->has[f]) continue;
        size_t n_columns = affect_feature_row_size(&sizes->features[f]);
        affect_feature_values of = affect_dataset_values(plan->dataset, f, index);
        compute_feature(numbers, plan->varies[f] ? numbers + n_columns : NULL, &of, n_columns,
                        scratch);
        numbers += n_columns * (plan->varies[f] ? 2 : 1);
    }
}

/* ---- Linear discriminant analysis ---- */

typedef struct {
    affect_statistics plan;
    affect_lda *lda;
    double *row; /* (2 n) */
} analysis;

static const double *compute(const analysis *a, size_t index) {
    affect_statistics_compute(a->row, &a->plan, index);
    return a->row;
}

static affect_status fit(analysis *a, const bool *trains, affect_error *err) {
    size_t n = affect_dataset_n_utterances(a->plan.dataset);
    for (size_t i = 0; i < n; i++)
        if (trains[i]) affect_lda_scale(a->lda, compute(a, i));
    for (size_t i = 0; i < n; i++)
        if (trains[i])
            affect_lda_add(a->lda, compute(a, i),
                           affect_dataset_utterance(a->plan.dataset, i)->label);
    return affect_lda_solve(a->lda, AFFECT_LDA_SHRINKAGE, err);
}

static affect_status evaluate(affect_baseline *baseline, analysis *a, const bool *evaluated,
                              affect_error *err) {
    size_t n = affect_dataset_n_utterances(a->plan.dataset), n_evaluated = 0;
    int *labels = malloc((2 * n + 1) * sizeof *labels), *predicted = labels + n;
    affect_metrics metrics;
    if (!labels) return affect_fail(err, NO_MEMORY, "no memory for %zu predictions", n);
    for (size_t i = 0; i < n; i++) {
        if (!evaluated[i]) continue;
        labels[n_evaluated] = affect_dataset_utterance(a->plan.dataset, i)->label;
        predicted[n_evaluated++] = affect_lda_predict(a->lda, compute(a, i));
    }
    affect_metrics_count(&metrics, labels, predicted, n_evaluated,
                         affect_dataset_n_classes(a->plan.dataset));
    free(labels);
    baseline->known = true;
    baseline->accuracy = metrics.accuracy;
    baseline->uar = metrics.uar;
    baseline->f1_macro = metrics.f1_macro;
    return AFFECT_STATUS_OK;
}

affect_status affect_baseline_lda(affect_baseline *baseline, const affect_dataset *dataset,
                                  const bool *trains, const bool *evaluated, affect_error *err) {
    *baseline = (affect_baseline){.name = "lda_statistics"};
    analysis a = {0};
    affect_statistics_plan(&a.plan, dataset, true);
    if (a.plan.n > AFFECT_LDA_MAX_FEATURES) affect_statistics_plan(&a.plan, dataset, false);
    size_t n = a.plan.n;
    if (n == 0 || n > AFFECT_LDA_MAX_FEATURES ||
        affect_dataset_n_classes(dataset) > AFFECT_MAX_CLASSES)
        return AFFECT_STATUS_OK;
    AFFECT_TRY(affect_lda_create(&a.lda, n, affect_dataset_n_classes(dataset), err));
    a.row = malloc(2 * n * sizeof *a.row);
    affect_status status =
        a.row ? fit(&a, trains, err) : affect_fail(err, NO_MEMORY, "no memory for %zu columns", n);
    if (status == AFFECT_STATUS_OK) status = evaluate(baseline, &a, evaluated, err);
    if (status == AFFECT_STATUS_INVALID) status = AFFECT_STATUS_OK; /* not known */
    affect_lda_free(a.lda);
    free(a.row);
    return status;
}
