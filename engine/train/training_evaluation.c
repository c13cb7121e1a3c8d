/* What a training evaluates: the validation part after each epoch, and at the end its result.
 *
 * After the last epoch the best epoch's weights are read back from their file. With them the
 * validation part is evaluated, to which a temperature is fitted that the file then also holds, and
 * the test part, once; without a test part the result reports the validation part, which chose the
 * epoch and the temperature. Nothing of it steers the training, and nothing is drawn: a training
 * that is stopped here resumes behind its last epoch and comes here again, to the same bits. */
#include "engine/evaluation/report.h"
#include "engine/evaluation/temperature.h"
#include "engine/train/training.h"

#include <math.h>
#include <stdlib.h>

affect_status affect_training_evaluate(affect_training *t, affect_metrics *metrics,
                                       float *probabilities, affect_part part, affect_error *err) {
    double totals[AFFECT_MAX_STATS + 1], l2 = 0;
    const affect_train_callbacks *to = t->callbacks;
    AFFECT_TRY(affect_session_set_totals(t->session, NULL, err));
    for (size_t begin = 0; begin < t->n[part]; begin += t->plan.micro_batch) {
        size_t rows =
            t->n[part] - begin < t->plan.micro_batch ? t->n[part] - begin : t->plan.micro_batch;
        float *of_rows = probabilities ? probabilities + begin * t->n_classes : NULL;
        AFFECT_TRY(affect_batch_evaluate(of_rows, t->batch, t->session, t->indices[part] + begin,
                                         rows, err));
        if (to->should_continue && !to->should_continue(to->context))
            return affect_fail(err, CANCELLED, "stopped at the %s part", affect_part_names[part]);
    }
    AFFECT_TRY(affect_session_read_totals(totals, t->session, err));
    AFFECT_TRY(affect_session_l2(t->session, &l2, err));
    affect_metrics_from_stats(metrics, totals, t->n_classes, l2);
    if (!isfinite(metrics->loss))
        return affect_fail(err, DIVERGED, "the %s loss is not a number", affect_part_names[part]);
    return AFFECT_STATUS_OK;
}

/* test is NULL without a test part. */
static affect_json *summarize(const affect_training *t, const affect_metrics *test) {
    const affect_train_result *result = t->result;
    affect_json *json = affect_json_new_object();
    affect_json_set_string(json, "model_file", AFFECT_BEST_FILE);
    affect_json_set_number(json, "epochs_done", (double)result->epochs_done);
    affect_json_set_bool(json, "stopped_early", result->stopped_early);
    affect_json *best = affect_json_set_object(json, "best");
    affect_json_set_number(best, "epoch", (double)result->best_epoch);
    affect_json_set_number(best, "val_loss",
                           affect_json_get_number(t->best_report, "val_loss", NAN));
    affect_json_set_number(best, "val_accuracy",
                           affect_json_get_number(t->best_report, "val_accuracy", NAN));
    affect_json_set(json, "metrics", affect_json_copy(t->best_report));
    if (test) affect_metrics_print(affect_json_set_object(json, "test"), "", test, t->classes);
    /* The best epoch was chosen on the validation part: its numbers flatter, the test part's do
     * not. */
    affect_json_set_string(json, "selection", test ? "validation" : "optimistic");
    affect_json *artifacts = affect_json_set_array(json, "artifacts");
    affect_json_append(artifacts, affect_json_new_string(AFFECT_PREDICTIONS_FILE));
    affect_json_append(artifacts, affect_json_new_string(AFFECT_PREDICTIONS_TABLE));
    return json;
}

static affect_status fit_temperature(double *temperature, const affect_training *t,
                                     const float *probabilities, affect_error *err) {
    size_t n = t->n[AFFECT_PART_VALIDATION];
    int *labels = malloc((n + 1) * sizeof *labels);
    if (!labels) return affect_fail(err, NO_MEMORY, "no memory to fit a temperature");
    for (size_t i = 0; i < n; i++)
        labels[i] =
            (int)affect_dataset_utterance(t->dataset, t->indices[AFFECT_PART_VALIDATION][i])->label;
    affect_status status =
        affect_temperature_fit(temperature, probabilities, labels, n, t->n_classes, err);
    free(labels);
    return status;
}

/* The session's weights are those of the file. */
static affect_status save_temperature(const affect_training *t, const char *path,
                                      const affect_json *metadata, double temperature,
                                      affect_error *err) {
    affect_json *changed = affect_json_copy(metadata);
    if (!changed) return affect_fail(err, NO_MEMORY, "no memory for a temperature");
    affect_json_set_number(changed, "temperature", temperature);
    affect_status status = affect_model_save(path, t->session, changed, false, err);
    affect_json_free(changed);
    return status;
}

/* Metrics and probabilities of the part that is reported, with the best epoch's weights; those of
 * the validation part come first, into the same memory. */
static affect_status evaluate_best(affect_training *t, affect_metrics *metrics,
                                   float *probabilities, double *temperature, affect_part part,
                                   affect_error *err) {
    char path[AFFECT_PATH_MAX];
    affect_model *model = NULL;
    AFFECT_TRY(affect_path_join(path, err, t->spec->output, "%s", AFFECT_BEST_FILE));
    AFFECT_TRY(affect_model_open(&model, path, err));
    affect_status status = affect_model_load(model, t->session, err);
    if (status == AFFECT_STATUS_OK)
        status = affect_training_evaluate(t, metrics, probabilities, AFFECT_PART_VALIDATION, err);
    if (status == AFFECT_STATUS_OK) status = fit_temperature(temperature, t, probabilities, err);
    if (status == AFFECT_STATUS_OK)
        status = save_temperature(t, path, affect_model_metadata(model, NULL), *temperature, err);
    affect_model_close(model);
    if (status != AFFECT_STATUS_OK || part == AFFECT_PART_VALIDATION) return status;
    return affect_training_evaluate(t, metrics, probabilities, part, err);
}

affect_status affect_training_finish(affect_training *t, affect_error *err) {
    affect_metrics metrics;
    double temperature = 1;
    bool has_test = t->n[AFFECT_PART_TEST] > 0;
    affect_part part = has_test ? AFFECT_PART_TEST : AFFECT_PART_VALIDATION;
    size_t n_validation = t->n[AFFECT_PART_VALIDATION];
    size_t most = t->n[part] > n_validation ? t->n[part] : n_validation;
    float *probabilities = malloc((most * t->n_classes + 1) * sizeof *probabilities);
    if (!probabilities) return affect_fail(err, NO_MEMORY, "no memory for predictions");
    const affect_predictions predictions = {.dataset = t->dataset,
                                            .indices = t->indices[part],
                                            .n = t->n[part],
                                            .classes = t->classes,
                                            .n_classes = t->n_classes,
                                            .probabilities = probabilities};
    affect_status status = evaluate_best(t, &metrics, probabilities, &temperature, part, err);
    /* The report's own memory comes after that of the plan, not on top of it. */
    affect_batch_free(t->batch);
    affect_session_free(t->session);
    t->batch = NULL;
    t->session = NULL;
    if (status == AFFECT_STATUS_OK)
        status = affect_predictions_write(&predictions, t->spec->output, err);
    if (status == AFFECT_STATUS_OK) {
        t->result->summary = summarize(t, has_test ? &metrics : NULL);
        status =
            affect_report_fill(t->result->summary, &predictions,
                               affect_json_get(t->metadata, "split"), affect_part_names[part], err);
    }
    if (status == AFFECT_STATUS_OK)
        status = affect_report_temperature(t->result->summary, &predictions, temperature, err);
    free(probabilities);
    return status;
}
