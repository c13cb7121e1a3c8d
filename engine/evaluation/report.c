/* A result's report; see report.h. Attributes come from the manifest, labels and predictions are
 * columns of numbers in the model's classes. */
#include "engine/evaluation/report.h"

#include "engine/dataset/utterance_table.h"
#include "engine/evaluation/calibration.h"
#include "engine/evaluation/interval.h"
#include "engine/evaluation/metrics.h"
#include "engine/evaluation/split_report.h"
#include "engine/evaluation/temperature.h"

#include <stdlib.h>
#include <string.h>

#define BOOTSTRAP_SEED 1 /* stated in the result: two evaluations draw alike */

typedef struct {
    const affect_predictions *predictions;
    affect_utterance_table table;
    int *labels, *predicted, *groups; /* (n), in one piece */
    double accuracy;
} report;

static affect_status begin(report *r, affect_error *err) {
    const affect_predictions *p = r->predictions;
    size_t n_right = 0;
    r->labels = malloc((3 * p->n + 1) * sizeof *r->labels);
    if (!r->labels) return affect_fail(err, NO_MEMORY, "no memory for %zu results", p->n);
    r->predicted = r->labels + p->n;
    r->groups = r->predicted + p->n;
    for (size_t i = 0; i < p->n; i++) {
        r->labels[i] = affect_predictions_label(p, i);
        r->predicted[i] = affect_predictions_class(p, i);
        n_right += r->labels[i] == r->predicted[i];
    }
    r->accuracy = (double)n_right / (double)p->n;
    return affect_utterance_table_make(&r->table, affect_dataset_manifest(p->dataset), err);
}

/* ---- Intervals ---- */

/* Of draws of the groups of one attribute; null where there are fewer than two of them. */
static affect_status set_bootstrap(affect_json *to, report *r, const char *attribute,
                                   affect_error *err) {
    const affect_predictions *p = r->predictions;
    const affect_utterance_groups *groups;
    affect_bootstrap bootstrap;
    affect_error few = {0};
    AFFECT_TRY(affect_utterance_table_group(&groups, &r->table, attribute, err));
    for (size_t i = 0; i < p->n; i++) r->groups[i] = groups->of[p->indices[i]];
    affect_status status =
        groups->n == 0
            ? affect_fail(&few, INVALID, "no group")
            : affect_bootstrap_run(&bootstrap, r->labels, r->predicted, r->groups, p->n,
                                   p->n_classes, AFFECT_BOOTSTRAP_DRAWS, BOOTSTRAP_SEED, &few);
    if (status == AFFECT_STATUS_INVALID) {
        affect_json_set(to, attribute, affect_json_new_null());
        return AFFECT_STATUS_OK;
    }
    if (status != AFFECT_STATUS_OK) return affect_fail(err, NO_MEMORY, "%s", few.message);
    affect_json *json = affect_json_set_object(to, attribute);
    affect_json_set_number(json, "groups", (double)bootstrap.n_groups);
    affect_json_set(json, "accuracy", affect_interval_to_json(bootstrap.accuracy));
    affect_json_set(json, "recall_mean", affect_interval_to_json(bootstrap.uar));
    affect_json_set(json, "f1_macro", affect_interval_to_json(bootstrap.f1_macro));
    return AFFECT_STATUS_OK;
}

static affect_status print_intervals(affect_json *result, report *r, affect_error *err) {
    size_t n = r->predictions->n, n_right = 0;
    for (size_t i = 0; i < n; i++) n_right += r->labels[i] == r->predicted[i];
    affect_json *intervals = affect_json_set_object(result, "intervals");
    affect_json_set_number(intervals, "level", 0.95);
    affect_json_set(intervals, "accuracy",
                    affect_interval_to_json(affect_interval_wilson(n_right, n)));
    affect_json *bootstrap = affect_json_set_object(intervals, "bootstrap");
    affect_json_set_number(bootstrap, "draws", AFFECT_BOOTSTRAP_DRAWS);
    affect_json_set_number(bootstrap, "seed", BOOTSTRAP_SEED);
    AFFECT_TRY(set_bootstrap(bootstrap, r, "speaker", err));
    return set_bootstrap(bootstrap, r, "dialog", err);
}

/* ---- Groups ---- */

static affect_status print_groups(affect_json *to, report *r, const char *attribute,
                                  affect_error *err) {
    const affect_predictions *p = r->predictions;
    const affect_utterance_groups *groups;
    AFFECT_TRY(affect_utterance_table_group(&groups, &r->table, attribute, err));
    size_t *n_of = calloc(groups->n + 1, sizeof *n_of), n_found = 0;
    int *labels = malloc((2 * p->n + 1) * sizeof *labels);
    affect_status status = n_of && labels
                               ? AFFECT_STATUS_OK
                               : affect_fail(err, NO_MEMORY, "no memory for %zu groups", groups->n);
    for (size_t i = 0; i < p->n && status == AFFECT_STATUS_OK; i++) {
        int g = groups->of[p->indices[i]];
        if (g >= 0) n_found += n_of[g]++ == 0;
    }
    if (status == AFFECT_STATUS_OK && n_found && n_found <= AFFECT_REPORT_MAX_GROUPS) {
        affect_json *json = affect_json_set_object(to, attribute);
        for (size_t g = 0; g < groups->n; g++) {
            affect_metrics metrics;
            size_t n = 0;
            if (!n_of[g]) continue;
            for (size_t i = 0; i < p->n; i++) {
                if (groups->of[p->indices[i]] != (int)g) continue;
                labels[n] = r->labels[i];
                labels[p->n + n++] = r->predicted[i];
            }
            affect_metrics_count(&metrics, labels, labels + p->n, n, p->n_classes);
            affect_json *one = affect_json_set_object(json, groups->names[g]);
            affect_json_set_number(one, "utterances", (double)n);
            affect_metrics_print_rates(one, &metrics);
        }
    }
    free(n_of);
    free(labels);
    return status;
}

static affect_status print_all_groups(affect_json *result, report *r, affect_error *err) {
    static const char *const attributes[] = {"gender", "session", "own_motion", "improvised",
                                             "speaker"};
    affect_json *groups = affect_json_set_object(result, "groups");
    for (size_t a = 0; a < sizeof attributes / sizeof *attributes; a++)
        AFFECT_TRY(print_groups(groups, r, attributes[a], err));
    return AFFECT_STATUS_OK;
}

/* ---- The split ---- */

static affect_status print_split(affect_json *result, const report *r, const affect_json *split,
                                 const char *part, affect_error *err) {
    const affect_predictions *p = r->predictions;
    const affect_json *ids = affect_json_get(affect_json_get(split, "utterances"),
                                             affect_part_names[AFFECT_PART_TRAINING]);
    size_t *training = malloc((affect_json_size(ids) + 1) * sizeof *training), n = 0;
    if (!training) return affect_fail(err, NO_MEMORY, "no memory to audit the split");
    for (const affect_json *id = affect_json_first(ids); id; id = affect_json_next(id))
        n += affect_dataset_find(p->dataset, &training[n], affect_json_string(id, ""));
    const affect_split_report_input input = {.split = split,
                                             .manifest = affect_dataset_manifest(p->dataset),
                                             .dataset = p->dataset,
                                             .training = training,
                                             .n_training = n,
                                             .evaluated = p->indices,
                                             .n_evaluated = p->n,
                                             .part = part,
                                             .accuracy = r->accuracy};
    affect_status status = affect_split_report(result, &input, err);
    free(training);
    return status;
}

affect_status affect_report_fill(affect_json *result, const affect_predictions *predictions,
                                 const affect_json *split, const char *part, affect_error *err) {
    report r = {.predictions = predictions};
    affect_calibration calibration;
    affect_status status = begin(&r, err);
    if (status != AFFECT_STATUS_OK) {
        free(r.labels);
        return status;
    }
    status = print_intervals(result, &r, err);
    if (status == AFFECT_STATUS_OK)
        status = affect_calibrate(&calibration, predictions->probabilities, r.labels,
                                  predictions->n, predictions->n_classes, err);
    if (status == AFFECT_STATUS_OK)
        affect_json_set(result, "calibration", affect_calibration_to_json(&calibration));
    if (status == AFFECT_STATUS_OK) status = print_all_groups(result, &r, err);
    if (status == AFFECT_STATUS_OK) status = print_split(result, &r, split, part, err);
    affect_utterance_table_free(&r.table);
    free(r.labels);
    return status;
}

affect_status affect_report_temperature(affect_json *result, const affect_predictions *predictions,
                                        double temperature, affect_error *err) {
    size_t n = predictions->n, n_classes = predictions->n_classes;
    affect_calibration calibration;
    affect_status status;
    if (!(temperature > 0)) {
        affect_json_set(result, "temperature", affect_json_new_null());
        return AFFECT_STATUS_OK;
    }
    float *scaled = malloc(n * n_classes * sizeof *scaled);
    int *labels = malloc(n * sizeof *labels);
    if (scaled && labels) {
        affect_temperature_apply(scaled, predictions->probabilities, n, n_classes, temperature);
        for (size_t i = 0; i < n; i++) labels[i] = affect_predictions_label(predictions, i);
        status = affect_calibrate(&calibration, scaled, labels, n, n_classes, err);
    } else {
        status = affect_fail(err, NO_MEMORY, "no memory to scale %zu predictions", n);
    }
    free(scaled);
    free(labels);
    if (status != AFFECT_STATUS_OK) return status;
    affect_json *json = affect_json_set_object(result, "temperature");
    affect_json_set_number(json, "value", temperature);
    affect_json_set(json, "calibration", affect_calibration_to_json(&calibration));
    return AFFECT_STATUS_OK;
}
