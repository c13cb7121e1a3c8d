/* Evaluation; see evaluation.h. */
#include "engine/train/evaluation.h"

#include "engine/evaluation/predictions.h"
#include "engine/evaluation/report.h"
#include "engine/model/model_file.h"
#include "engine/train/batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_SIZE 48

typedef struct {
    const affect_evaluate_spec *spec;
    affect_model *model;
    affect_dataset *dataset;
    affect_backend *backend;
    affect_session *session;
    affect_batch *batch;
    affect_normalizer normalizer;
    size_t n_classes;
    const char *classes[AFFECT_MAX_CLASSES]; /* the model's */
    int class_map[AFFECT_MAX_CLASSES];       /* from the dataset's to the model's */
    size_t *indices, n;
    float *probabilities;                                       /* (n, classes) */
    double totals[3 + AFFECT_MAX_CLASSES * AFFECT_MAX_CLASSES]; /* the session's */
} evaluation;

static affect_status check_features(const evaluation *e, affect_error *err) {
    char *ours = affect_json_canonical_text(affect_model_metadata(e->model, "feature_config"));
    char *theirs = affect_json_canonical_text(affect_dataset_features_json(e->dataset));
    bool same = ours && theirs && strcmp(ours, theirs) == 0;
    affect_status status =
        same ? AFFECT_STATUS_OK
             : affect_fail(err, INVALID,
                           "the dataset's features differ from the model's: dataset %.150s, model "
                           "%.150s",
                           theirs ? theirs : "?", ours ? ours : "?");
    free(ours);
    free(theirs);
    return status;
}

static affect_status map_classes(evaluation *e, affect_error *err) {
    const affect_json *labels = affect_model_metadata(e->model, "labels");
    e->n_classes = affect_architecture_sizes(affect_model_architecture(e->model))->n_classes;
    if (affect_json_size(labels) != e->n_classes || e->n_classes > AFFECT_MAX_CLASSES)
        return affect_fail(err, MALFORMED, "%s: %zu labels for %zu classes", e->spec->model,
                           affect_json_size(labels), e->n_classes);
    for (size_t c = 0; c < e->n_classes; c++)
        e->classes[c] = affect_json_string(affect_json_at(labels, c), "");
    if (affect_dataset_n_classes(e->dataset) > AFFECT_MAX_CLASSES)
        return affect_fail(err, INVALID, "the dataset has over %d classes", AFFECT_MAX_CLASSES);
    for (size_t d = 0; d < affect_dataset_n_classes(e->dataset); d++) {
        size_t c = 0;
        while (c < e->n_classes && strcmp(e->classes[c], affect_dataset_class(e->dataset, d)) != 0)
            c++;
        if (c == e->n_classes)
            return affect_fail(err, INVALID, "the model does not know the dataset's class \"%s\"",
                               affect_dataset_class(e->dataset, d));
        e->class_map[d] = (int)c;
    }
    return AFFECT_STATUS_OK;
}

static affect_status choose_utterances(evaluation *e, affect_error *err) {
    size_t n_all = affect_dataset_n_utterances(e->dataset);
    const char *part = affect_evaluate_parts[e->spec->part];
    e->indices = malloc((n_all + 1) * sizeof *e->indices);
    if (!e->indices) return affect_fail(err, NO_MEMORY, "no memory for %zu utterances", n_all);
    if (strcmp(part, "all") == 0) {
        for (size_t i = 0; i < n_all; i++) e->indices[e->n++] = i;
    } else {
        const affect_json *parts =
            affect_json_get(affect_model_metadata(e->model, "split"), "utterances");
        const affect_json *ids = affect_json_get(parts, part);
        for (const affect_json *id = affect_json_first(ids); id; id = affect_json_next(id)) {
            size_t index;
            if (affect_dataset_find(e->dataset, &index, affect_json_string(id, "")) && e->n < n_all)
                e->indices[e->n++] = index;
        }
    }
    if (e->n == 0)
        return affect_fail(err, INVALID, "no utterance of the dataset is in the model's %s part",
                           part);
    return AFFECT_STATUS_OK;
}

static affect_status begin(evaluation *e, affect_error *err) {
    AFFECT_TRY(affect_model_open(&e->model, e->spec->model, err));
    AFFECT_TRY(affect_dataset_open(&e->dataset, e->spec->dataset, NULL, err));
    AFFECT_TRY(affect_dataset_verify(e->dataset, err));
    AFFECT_TRY(check_features(e, err));
    AFFECT_TRY(map_classes(e, err));
    AFFECT_TRY(affect_normalizer_from_json(
        &e->normalizer, affect_architecture_sizes(affect_model_architecture(e->model)),
        affect_model_metadata(e->model, "normalizer"), err));
    AFFECT_TRY(choose_utterances(e, err));
    e->probabilities = malloc(e->n * e->n_classes * sizeof *e->probabilities);
    if (!e->probabilities) return affect_fail(err, NO_MEMORY, "no memory for %zu results", e->n);
    AFFECT_TRY(affect_backend_open(
        &e->backend,
        (affect_backend_options){.device = e->spec->device,
                                 .n_threads = (int)e->spec->threads,
                                 .precision = (affect_precision)e->spec->precision},
        err));
    const affect_architecture *architecture = affect_model_architecture(e->model);
    affect_session_options options = {.max_batch = e->n < BATCH_SIZE ? e->n : BATCH_SIZE};
    AFFECT_TRY(affect_session_create(&e->session, e->backend, architecture, options, err));
    AFFECT_TRY(affect_model_load(e->model, e->session, err));
    affect_batch_options batch = {.backend = e->backend,
                                  .architecture = architecture,
                                  .dataset = e->dataset,
                                  .normalizer = &e->normalizer,
                                  .class_map = e->class_map,
                                  .capacity = options.max_batch};
    return affect_batch_create(&e->batch, &batch, err);
}

static affect_status run(evaluation *e, bool (*keep_going)(void *, size_t, size_t), void *context,
                         affect_error *err) {
    for (size_t done = 0; done < e->n;) {
        if (keep_going && !keep_going(context, done, e->n))
            return affect_fail(err, CANCELLED, "stopped after %zu of %zu utterances", done, e->n);
        size_t rows = e->n - done < BATCH_SIZE ? e->n - done : BATCH_SIZE;
        AFFECT_TRY(affect_batch_evaluate(e->probabilities + done * e->n_classes, e->batch,
                                         e->session, e->indices + done, rows, err));
        done += rows;
    }
    if (keep_going) keep_going(context, e->n, e->n);
    return AFFECT_STATUS_OK;
}

static affect_json *summarize(const evaluation *e, const affect_metrics *metrics) {
    const char *part = affect_evaluate_parts[e->spec->part];
    affect_json *json = affect_json_new_object();
    affect_json_set_string(json, "part", part);
    affect_json_set_number(json, "utterances", (double)e->n);
    affect_metrics_print(affect_json_set_object(json, "metrics"), "", metrics, e->classes);
    affect_json *dataset = affect_json_set_object(json, "dataset");
    affect_json_set_string(dataset, "name", affect_dataset_name(e->dataset));
    affect_json_set_string(dataset, "digest", affect_dataset_digest(e->dataset));
    /* The validation part chose the best epoch; the training part trained; "all" holds both. */
    if (strcmp(part, "test") != 0)
        affect_json_set(json, "selection",
                        affect_json_copy(affect_model_metadata(e->model, "selection")));
    affect_json *artifacts = affect_json_set_array(json, "artifacts");
    if (e->spec->output[0]) {
        affect_json_append(artifacts, affect_json_new_string(AFFECT_PREDICTIONS_FILE));
        affect_json_append(artifacts, affect_json_new_string(AFFECT_PREDICTIONS_TABLE));
    }
    return json;
}

affect_status affect_evaluate(affect_evaluation *result, const affect_evaluate_spec *spec,
                              bool (*keep_going)(void *context, size_t done, size_t total),
                              void *context, affect_error *err) {
    *result = (affect_evaluation){0};
    evaluation *e = calloc(1, sizeof *e);
    if (!e) return affect_fail(err, NO_MEMORY, "no memory to evaluate");
    e->spec = spec;
    affect_status status = begin(e, err);
    if (status == AFFECT_STATUS_OK) status = run(e, keep_going, context, err);
    double l2 = 0;
    if (status == AFFECT_STATUS_OK) status = affect_session_read_totals(e->totals, e->session, err);
    if (status == AFFECT_STATUS_OK) status = affect_session_l2(e->session, &l2, err);
    const affect_predictions predictions = {.dataset = e->dataset,
                                            .indices = e->indices,
                                            .n = e->n,
                                            .classes = e->classes,
                                            .n_classes = e->n_classes,
                                            .class_map = e->class_map,
                                            .probabilities = e->probabilities};
    if (status == AFFECT_STATUS_OK && spec->output[0])
        status = affect_predictions_write(&predictions, spec->output, err);
    if (status == AFFECT_STATUS_OK) {
        affect_metrics_from_stats(&result->metrics, e->totals, e->n_classes, l2);
        result->summary = summarize(e, &result->metrics);
        status = affect_report_fill(result->summary, &predictions,
                                    affect_model_metadata(e->model, "split"),
                                    affect_evaluate_parts[spec->part], err);
    }
    if (status == AFFECT_STATUS_OK)
        status = affect_report_temperature(
            result->summary, &predictions,
            affect_json_number(affect_model_metadata(e->model, "temperature"), 0), err);
    if (status != AFFECT_STATUS_OK) {
        affect_json_free(result->summary);
        result->summary = NULL;
    }
    affect_batch_free(e->batch);
    affect_session_free(e->session);
    affect_backend_free(e->backend);
    affect_normalizer_free(&e->normalizer);
    affect_dataset_close(e->dataset);
    affect_model_close(e->model);
    free(e->indices);
    free(e->probabilities);
    free(e);
    return status;
}
