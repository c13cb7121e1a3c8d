/* Training; see trainer.h. */
#include "engine/train/trainer.h"

#include "engine/core/clock.h"
#include "engine/model/model_file.h"
#include "engine/train/batch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_STATS (2 + AFFECT_MAX_CLASSES * AFFECT_MAX_CLASSES)

/* Everything a training holds; made by begin, undone by end. */
typedef struct {
    const affect_train_spec *spec;
    const affect_training_config *config;
    const affect_train_callbacks *callbacks;
    affect_dataset *dataset;
    affect_architecture *architecture;
    affect_backend *backend;
    affect_session *session;
    affect_batch *batch;
    affect_normalizer normalizer;
    size_t n_classes;
    const char *classes[AFFECT_MAX_CLASSES];
    size_t *indices[AFFECT_PART_COUNT]; /* utterances of each part, ascending */
    size_t n[AFFECT_PART_COUNT];
    size_t *order, *permutation; /* of the training part, this epoch */
    affect_json *metadata;       /* of model files; "metrics" changes with each epoch */
    affect_schedule schedule;
    affect_stopping stopping;
    uint64_t step; /* optimiser steps done */
    double best;   /* monitored value, lower is better */
    affect_train_result *result;
} training;

/* ---- Beginning ---- */

static affect_status read_classes(training *t, affect_error *err) {
    t->n_classes = affect_dataset_n_classes(t->dataset);
    if (t->n_classes < 2 || t->n_classes > AFFECT_MAX_CLASSES)
        return affect_fail(err, INVALID, "the dataset has %zu classes (need 2..%d)", t->n_classes,
                           AFFECT_MAX_CLASSES);
    for (size_t c = 0; c < t->n_classes; c++) t->classes[c] = affect_dataset_class(t->dataset, c);
    return AFFECT_STATUS_OK;
}

static affect_status make_split(training *t, affect_error *err) {
    size_t n = affect_dataset_n_utterances(t->dataset);
    uint8_t *parts = malloc(n + 1);
    int *labels = malloc((n + 1) * sizeof *labels);
    const char **speakers = malloc((n + 1) * sizeof *speakers);
    affect_status status = AFFECT_STATUS_OK;
    bool complete = parts && labels && speakers;
    for (int p = 0; p < AFFECT_PART_COUNT; p++) {
        t->indices[p] = malloc((n + 1) * sizeof *t->indices[p]);
        complete = complete && t->indices[p];
    }
    t->order = malloc((n + 1) * sizeof *t->order);
    t->permutation = malloc((n + 1) * sizeof *t->permutation);
    if (!complete || !t->order || !t->permutation) {
        status = affect_fail(err, NO_MEMORY, "no memory for a split of %zu utterances", n);
        goto cleanup;
    }
    for (size_t i = 0; i < n; i++) {
        labels[i] = affect_dataset_utterance(t->dataset, i)->label;
        speakers[i] = affect_dataset_utterance(t->dataset, i)->speaker;
    }
    status =
        affect_split_make(parts, &t->spec->split_config, n, labels, t->n_classes, speakers, err);
    if (status != AFFECT_STATUS_OK) goto cleanup;
    for (size_t i = 0; i < n; i++) t->indices[parts[i]][t->n[parts[i]]++] = i;
cleanup:
    free(parts);
    free(labels);
    free(speakers);
    return status;
}

static affect_status make_architecture(training *t, affect_error *err) {
    affect_dataset_sizes data = affect_dataset_sizes_of(t->dataset);
    affect_sizes sizes = {data.frames, data.mels, data.parts, data.columns, t->n_classes};
    affect_json *document = NULL;
    AFFECT_TRY(affect_job_architecture(&document, t->spec->architecture, err));
    affect_status status =
        affect_architecture_create(&t->architecture, document, t->spec->variables, sizes, err);
    affect_json_free(document);
    return status;
}

/* Weights of the classes by config; *weighted false when all are 1. */
static affect_status make_class_weights(float *weights, bool *weighted, const training *t,
                                        affect_error *err) {
    const affect_json *config = t->config->class_weights;
    const char *word = affect_json_string(config, "");
    size_t counts[AFFECT_MAX_CLASSES] = {0};
    const size_t *indices = t->indices[AFFECT_PART_TRAINING];
    for (size_t i = 0; i < t->n[AFFECT_PART_TRAINING]; i++)
        counts[affect_dataset_utterance(t->dataset, indices[i])->label]++;
    *weighted = affect_json_is_object(config) || strcmp(word, "balanced") == 0;
    for (size_t c = 0; c < t->n_classes; c++) {
        weights[c] = 1;
        if (strcmp(word, "balanced") == 0 && counts[c])
            weights[c] = (float)((double)t->n[AFFECT_PART_TRAINING] /
                                 ((double)t->n_classes * (double)counts[c]));
    }
    for (const affect_json *e = affect_json_first(config); e; e = affect_json_next(e)) {
        size_t c = 0;
        while (c < t->n_classes && strcmp(t->classes[c], affect_json_name(e)) != 0) c++;
        if (c == t->n_classes)
            return affect_field_fail(err, "/training", "class_weights", "no class \"%.40s\"",
                                     affect_json_name(e));
        weights[c] = (float)affect_json_number(e, 1);
    }
    return AFFECT_STATUS_OK;
}

static affect_status make_session(training *t, affect_error *err) {
    size_t largest = t->n[AFFECT_PART_TRAINING];
    for (int p = 0; p < AFFECT_PART_COUNT; p++)
        if (t->n[p] > largest) largest = t->n[p];
    size_t max_batch = (size_t)t->config->batch_size;
    if (max_batch > largest) max_batch = largest;
    AFFECT_TRY(affect_backend_open(&t->backend, t->spec->device, (int)t->spec->threads, err));
    affect_session_options options = {.max_batch = max_batch, .training = true};
    AFFECT_TRY(affect_session_create(&t->session, t->backend, t->architecture, options, err));
    AFFECT_TRY(affect_session_initialize(t->session, (uint64_t)t->config->seed, err));
    float weights[AFFECT_MAX_CLASSES];
    int class_map[AFFECT_MAX_CLASSES];
    bool weighted;
    AFFECT_TRY(make_class_weights(weights, &weighted, t, err));
    for (int c = 0; c < AFFECT_MAX_CLASSES; c++) class_map[c] = c;
    return affect_batch_create(&t->batch, t->architecture, t->dataset, &t->normalizer, class_map,
                               weighted ? weights : NULL, max_batch, err);
}

static affect_json *split_json(const training *t) {
    affect_json *json = affect_json_new_object();
    affect_split_config_print(json, &t->spec->split_config);
    affect_json *parts = affect_json_set_object(json, "utterances");
    for (int p = 0; p < AFFECT_PART_COUNT; p++) {
        affect_json *ids = affect_json_set_array(parts, affect_part_names[p]);
        for (size_t i = 0; i < t->n[p]; i++)
            affect_json_append(
                ids,
                affect_json_new_string(affect_dataset_utterance(t->dataset, t->indices[p][i])->id));
    }
    return json;
}

static void make_metadata(training *t) {
    affect_json *metadata = t->metadata = affect_json_new_object();
    affect_json_set_string(metadata, "model", t->spec->model);
    affect_json_set(metadata, "feature_config",
                    affect_json_copy(affect_dataset_features_json(t->dataset)));
    affect_json_set(metadata, "normalizer", affect_normalizer_to_json(&t->normalizer));
    affect_json *labels = affect_json_set_array(metadata, "labels");
    for (size_t c = 0; c < t->n_classes; c++)
        affect_json_append(labels, affect_json_new_string(t->classes[c]));
    affect_json_set(metadata, "label_map", affect_json_copy(affect_dataset_label_map(t->dataset)));
    affect_json *dataset = affect_json_set_object(metadata, "dataset");
    affect_json_set_string(dataset, "name", affect_dataset_name(t->dataset));
    affect_json_set_string(dataset, "digest", affect_dataset_digest(t->dataset));
    affect_json_set(metadata, "split", split_json(t));
    affect_training_config_print(affect_json_set_object(metadata, "training"), t->config);
    affect_json_set_string(metadata, "selection", "optimistic");
}

static affect_status begin(training *t, affect_error *err) {
    AFFECT_TRY(affect_directory_make(t->spec->output, err));
    AFFECT_TRY(affect_dataset_open(&t->dataset, t->spec->dataset, NULL, err));
    AFFECT_TRY(read_classes(t, err));
    AFFECT_TRY(make_split(t, err));
    AFFECT_TRY(make_architecture(t, err));
    AFFECT_TRY(affect_normalizer_fit(&t->normalizer, t->dataset, t->indices[AFFECT_PART_TRAINING],
                                     t->n[AFFECT_PART_TRAINING], err));
    AFFECT_TRY(make_session(t, err));
    make_metadata(t);
    affect_schedule_begin(&t->schedule, t->config->learning_rate);
    affect_stopping_begin(&t->stopping);
    t->best = INFINITY;
    return AFFECT_STATUS_OK;
}

static void end(training *t) {
    affect_json_free(t->metadata);
    affect_batch_free(t->batch);
    affect_session_free(t->session);
    affect_backend_free(t->backend);
    affect_architecture_free(t->architecture);
    affect_dataset_close(t->dataset);
    for (int p = 0; p < AFFECT_PART_COUNT; p++) free(t->indices[p]);
    free(t->order);
    free(t->permutation);
}

/* ---- One epoch ---- */

static void shuffle(training *t, int64_t epoch) {
    size_t n = t->n[AFFECT_PART_TRAINING];
    affect_random_key key = {(uint64_t)t->config->seed,
                             affect_random_stream("order", (uint64_t)epoch, 0)};
    affect_random_permutation(t->permutation, n, key);
    for (size_t i = 0; i < n; i++)
        t->order[i] = t->indices[AFFECT_PART_TRAINING][t->permutation[i]];
}

static affect_status one_step(training *t, double *stats, double *l2_rows, const size_t *indices,
                              size_t rows, affect_error *err) {
    affect_session_batch batch = affect_batch_fill(t->batch, indices, rows);
    t->step++;
    batch.dropout =
        (affect_random_key){(uint64_t)t->config->seed, affect_random_stream("dropout", t->step, 0)};
    double l2 = 0;
    affect_adam_shape adam = {.learning_rate = t->schedule.learning_rate,
                              .beta_1 = t->config->beta_1,
                              .beta_2 = t->config->beta_2,
                              .epsilon = t->config->epsilon,
                              .step = t->step};
    AFFECT_TRY(affect_session_accumulate(t->session, stats, &batch, err));
    AFFECT_TRY(affect_session_step(t->session, &l2, &adam, err));
    *l2_rows += l2 * (double)rows;
    if (!isfinite(stats[0]) || !isfinite(l2))
        return affect_fail(err, DIVERGED, "step %llu: the loss is not a number (rate %g)",
                           (unsigned long long)t->step, t->schedule.learning_rate);
    return AFFECT_STATUS_OK;
}

static affect_status train_epoch(training *t, affect_metrics *metrics, int64_t epoch,
                                 affect_error *err) {
    size_t n = t->n[AFFECT_PART_TRAINING], batch_size = (size_t)t->config->batch_size;
    size_t steps = (n + batch_size - 1) / batch_size;
    double stats[MAX_STATS] = {0}, l2_rows = 0;
    shuffle(t, epoch);
    for (size_t s = 0; s < steps; s++) {
        size_t begin_row = s * batch_size;
        size_t rows = n - begin_row < batch_size ? n - begin_row : batch_size;
        AFFECT_TRY(one_step(t, stats, &l2_rows, t->order + begin_row, rows, err));
        if (t->callbacks->on_step && !t->callbacks->on_step(t->callbacks->context, s + 1, steps))
            return affect_fail(err, CANCELLED, "stopped in epoch %lld", (long long)epoch);
    }
    affect_metrics_from_stats(metrics, stats, t->n_classes, l2_rows / (double)n);
    return AFFECT_STATUS_OK;
}

static affect_status evaluate_part(training *t, affect_metrics *metrics, affect_part part,
                                   affect_error *err) {
    double stats[MAX_STATS] = {0}, l2 = 0;
    AFFECT_TRY(affect_batch_evaluate(stats, NULL, t->batch, t->session, t->indices[part],
                                     t->n[part], err));
    AFFECT_TRY(affect_session_l2(t->session, &l2, err));
    affect_metrics_from_stats(metrics, stats, t->n_classes, l2);
    if (!isfinite(metrics->loss))
        return affect_fail(err, DIVERGED, "the %s loss is not a number", affect_part_names[part]);
    return AFFECT_STATUS_OK;
}

affect_json *affect_epoch_report_json(const affect_epoch_report *report) {
    affect_json *json = affect_json_new_object();
    affect_json_set_number(json, "epoch", (double)report->epoch);
    affect_json_set_number(json, "epochs", (double)report->epochs);
    affect_metrics_print(json, "", &report->training, report->classes);
    affect_metrics_print(json, "val_", &report->validation, report->classes);
    affect_json_set_number(json, "gap", report->training.accuracy - report->validation.accuracy);
    affect_json_set_number(json, "learning_rate", report->learning_rate);
    affect_json_set_number(json, "seconds", report->seconds);
    return json;
}

static void announce(training *t, const char *kind, int64_t epoch) {
    if (t->callbacks->on_checkpoint)
        t->callbacks->on_checkpoint(t->callbacks->context, kind, epoch);
}

static affect_status save(training *t, const char *file, bool checkpoint, affect_error *err) {
    char path[AFFECT_PATH_MAX];
    AFFECT_TRY(affect_path_join(path, err, t->spec->output, "%s", file));
    return affect_model_save(path, t->session, t->metadata, checkpoint, err);
}

/* Keeps the epoch if it is the best, and the checkpoint of the last in any case. */
static affect_status keep(training *t, affect_epoch_report *report, affect_error *err) {
    const affect_metrics *validation = &report->validation;
    double value =
        t->config->best == AFFECT_MONITOR_VAL_ACCURACY ? -validation->accuracy : validation->loss;
    report->best = value < t->best;
    affect_json_set(t->metadata, "metrics", affect_epoch_report_json(report));
    if (report->best) {
        t->best = value;
        t->result->best_epoch = report->epoch;
        t->result->best = *validation;
        t->result->best_training = report->training;
        AFFECT_TRY(save(t, AFFECT_BEST_FILE, false, err));
        announce(t, "best", report->epoch);
    }
    affect_json *trainer = affect_json_set_object(t->metadata, "trainer");
    affect_json_set_number(trainer, "epoch", (double)report->epoch);
    affect_json_set_number(trainer, "step", (double)t->step);
    affect_json_set_number(trainer, "learning_rate", t->schedule.learning_rate);
    affect_json_set_number(trainer, "best_epoch", (double)t->result->best_epoch);
    affect_status status = save(t, AFFECT_LAST_FILE, true, err);
    affect_json_free(affect_json_detach(t->metadata, "trainer"));
    if (status == AFFECT_STATUS_OK) announce(t, "last", report->epoch);
    return status;
}

static affect_status run_epochs(training *t, affect_error *err) {
    for (int64_t epoch = 1; epoch <= t->config->epochs && !t->result->stopped_early; epoch++) {
        double started = affect_clock_seconds();
        affect_epoch_report report = {.epoch = epoch,
                                      .epochs = t->config->epochs,
                                      .learning_rate = t->schedule.learning_rate,
                                      .classes = t->classes};
        AFFECT_TRY(train_epoch(t, &report.training, epoch, err));
        AFFECT_TRY(evaluate_part(t, &report.validation, AFFECT_PART_VALIDATION, err));
        report.seconds = affect_clock_seconds() - started;
        affect_schedule_update(&t->schedule, &t->config->schedule_config, report.validation.loss);
        t->result->stopped_early = affect_stopping_update(&t->stopping, &t->config->stopping_config,
                                                          report.validation.loss);
        AFFECT_TRY(keep(t, &report, err));
        t->result->epochs_done = epoch;
        if (t->callbacks->on_epoch && !t->callbacks->on_epoch(t->callbacks->context, &report))
            return affect_fail(err, CANCELLED, "stopped after epoch %lld", (long long)epoch);
    }
    return AFFECT_STATUS_OK;
}

/* ---- After the last epoch ---- */

static affect_status test_best(training *t, affect_error *err) {
    char path[AFFECT_PATH_MAX];
    affect_model *model = NULL;
    AFFECT_TRY(affect_path_join(path, err, t->spec->output, "%s", AFFECT_BEST_FILE));
    AFFECT_TRY(affect_model_open(&model, path, err));
    affect_status status = affect_model_load(model, t->session, err);
    if (status == AFFECT_STATUS_OK)
        status = evaluate_part(t, &t->result->test, AFFECT_PART_TEST, err);
    t->result->has_test = status == AFFECT_STATUS_OK;
    affect_model_close(model);
    return status;
}

static affect_json *summarize(const training *t) {
    const affect_train_result *result = t->result;
    affect_json *json = affect_json_new_object();
    affect_json_set_string(json, "model_file", AFFECT_BEST_FILE);
    affect_json_set_number(json, "epochs_done", (double)result->epochs_done);
    affect_json_set_bool(json, "stopped_early", result->stopped_early);
    affect_json *best = affect_json_set_object(json, "best");
    affect_json_set_number(best, "epoch", (double)result->best_epoch);
    affect_json_set_number(best, "val_loss", result->best.loss);
    affect_json_set_number(best, "val_accuracy", result->best.accuracy);
    affect_json *metrics = affect_json_set_object(json, "metrics");
    affect_metrics_print(metrics, "", &result->best_training, t->classes);
    affect_metrics_print(metrics, "val_", &result->best, t->classes);
    if (result->has_test)
        affect_metrics_print(affect_json_set_object(json, "test"), "", &result->test, t->classes);
    /* The best epoch was chosen on the validation part: its numbers flatter. */
    affect_json_set_string(json, "selection", "optimistic");
    return json;
}

affect_status affect_train(affect_train_result *result, const affect_train_spec *spec,
                           const affect_train_callbacks *callbacks, affect_error *err) {
    *result = (affect_train_result){0};
    training *t = calloc(1, sizeof *t);
    if (!t) return affect_fail(err, NO_MEMORY, "no memory to train");
    t->spec = spec;
    t->config = &spec->training_config;
    t->callbacks = callbacks;
    t->result = result;
    affect_status status = begin(t, err);
    if (status != AFFECT_STATUS_OK) goto cleanup;
    if (callbacks->on_running)
        callbacks->on_running(callbacks->context, t->n[AFFECT_PART_TRAINING],
                              t->n[AFFECT_PART_VALIDATION], t->n[AFFECT_PART_TEST]);
    status = run_epochs(t, err);
    if (status == AFFECT_STATUS_OK && t->n[AFFECT_PART_TEST]) status = test_best(t, err);
    if (status == AFFECT_STATUS_OK) result->summary = summarize(t);
cleanup:
    end(t);
    free(t);
    return status;
}
