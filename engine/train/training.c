/* Making all that a training holds; see training.h. */
#include "engine/core/memory.h"
#include "engine/core/parallel.h"
#include "engine/train/checkpoint.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static affect_status read_classes(affect_training *t, affect_error *err) {
    AFFECT_TRY(affect_train_spec_check(t->spec, t->dataset, err));
    t->n_classes = affect_dataset_n_classes(t->dataset);
    for (size_t c = 0; c < t->n_classes; c++) t->classes[c] = affect_dataset_class(t->dataset, c);
    return AFFECT_STATUS_OK;
}

static affect_status make_split(affect_training *t, affect_error *err) {
    size_t n = affect_dataset_n_utterances(t->dataset);
    uint8_t *parts = malloc(n + 1);
    bool complete = parts != NULL;
    for (int p = 0; p < AFFECT_PART_COUNT; p++) {
        t->indices[p] = malloc((n + 1) * sizeof *t->indices[p]);
        complete = complete && t->indices[p];
    }
    t->order = malloc((n + 1) * sizeof *t->order);
    t->permutation = malloc((n + 1) * sizeof *t->permutation);
    affect_status status =
        complete && t->order && t->permutation
            ? affect_train_spec_split(parts, t->spec, t->dataset, err)
            : affect_fail(err, NO_MEMORY, "no memory for a split of %zu utterances", n);
    for (size_t i = 0; i < n && status == AFFECT_STATUS_OK; i++)
        if (parts[i] != AFFECT_PART_NONE) t->indices[parts[i]][t->n[parts[i]]++] = i;
    free(parts);
    return status;
}

static affect_status make_architecture(affect_training *t, affect_error *err) {
    affect_json *document = NULL;
    AFFECT_TRY(affect_job_architecture(&document, t->spec->architecture, err));
    affect_status status = affect_architecture_create(
        &t->architecture, document, t->spec->variables, affect_dataset_sizes(t->dataset), err);
    affect_json_free(document);
    return status;
}

/* Weights of the classes by config; *weighted false when all are 1. */
static void make_class_weights(float *weights, bool *weighted, const affect_training *t) {
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
    for (size_t c = 0; c < t->n_classes && affect_json_is_object(config); c++)
        weights[c] = (float)affect_json_get_number(config, t->classes[c], 1);
}

static affect_status check_plan(const affect_training *t, affect_error *err) {
    const affect_memory_plan *plan = &t->plan;
    if (plan->fits || t->spec->dry_run) return AFFECT_STATUS_OK;
    return affect_fail(err, NO_MEMORY,
                       "a batch of 1 needs %zu MB, the training may take %zu (activations %zu MB)",
                       plan->total >> 20, plan->limit >> 20, plan->activations >> 20);
}

/* Where the device is apart from the host and has room, all features stay there. */
static affect_status keep_on_device(affect_training *t, affect_error *err) {
    char text[120];
    if (t->backend->ops->memory_free(t->backend) == 0) return AFFECT_STATUS_OK;
    size_t *rows = affect_memory_plan_rows(t), n = affect_dataset_n_utterances(t->dataset);
    if (!rows) return affect_fail(err, NO_MEMORY, "no memory for %zu utterances", n);
    size_t bytes = affect_device_cache_bytes(t->session, rows, n);
    bool fits = t->plan.total + bytes <= t->plan.limit;
    affect_status status = AFFECT_STATUS_OK;
    if (fits) status = affect_batch_keep_on_device(t->batch, t->session, rows, err);
    free(rows);
    snprintf(text, sizeof text, "features (%zu MB): %s", bytes >> 20,
             fits ? "kept on the device" : "streamed from the host");
    if (status == AFFECT_STATUS_OK && t->callbacks->on_message)
        t->callbacks->on_message(t->callbacks->context, "log", text);
    return status;
}

static affect_status make_session(affect_training *t, affect_error *err) {
    affect_session_options options = {
        .max_batch = t->plan.micro_batch, .training = true, .max_rows = t->plan.rows};
    float weights[AFFECT_MAX_CLASSES];
    int class_map[AFFECT_MAX_CLASSES];
    bool weighted;
    AFFECT_TRY(check_plan(t, err));
    make_class_weights(weights, &weighted, t);
    if (!t->plan.fits) return AFFECT_STATUS_OK; /* a dry run, which then needs none */
    AFFECT_TRY(affect_session_create(&t->session, t->backend, t->architecture, options, err));
    AFFECT_TRY(affect_session_initialize(t->session, (uint64_t)t->config->seed, err));
    for (int c = 0; c < AFFECT_MAX_CLASSES; c++) class_map[c] = c;
    affect_batch_options batch = {.backend = t->backend,
                                  .architecture = t->architecture,
                                  .dataset = t->dataset,
                                  .normalizer = &t->normalizer,
                                  .class_map = class_map,
                                  .class_weights = weighted ? weights : NULL,
                                  .capacity = t->plan.micro_batch};
    AFFECT_TRY(affect_batch_create(&t->batch, &batch, err));
    return keep_on_device(t, err);
}

/* "All cores" of a training that resumes are as many as it began with: the bits depend on it. */
static affect_status open_backend(affect_training *t, affect_error *err) {
    int64_t cores = affect_parallel_n_cores();
    t->n_threads = (int)(t->spec->threads ? t->spec->threads
                                          : affect_checkpoint_engine_number(t, "threads", cores));
    return affect_backend_open(
        &t->backend,
        (affect_backend_options){.device = t->spec->device,
                                 .n_threads = t->n_threads,
                                 .precision = (affect_precision)t->spec->precision},
        err);
}

/* What the bits depend on beside config and data. */
static affect_json *engine_json(const affect_training *t) {
    affect_json *json = affect_json_new_object();
    affect_json_set_string(json, "device", t->backend->ops->name);
    affect_json_set_string(json, "level", t->backend->ops->level);
    affect_json_set_string(json, "precision", affect_precision_names[t->backend->precision]);
    affect_json_set_number(json, "threads", t->n_threads);
    affect_json_set_number(json, "rows_at_once", (double)t->plan.micro_batch);
    if (affect_architecture_uses_gemm(t->architecture))
        affect_json_set_string(json, "gemm", t->backend->ops->gemm_library(t->backend));
    return json;
}

static affect_json *split_json(const affect_training *t) {
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

static void make_metadata(affect_training *t) {
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

static void tell_plan(const affect_training *t) {
    char text[300] = "";
    const affect_memory_plan *plan = &t->plan;
    if (!t->callbacks->on_plan) return;
    affect_json *json = affect_json_new_object();
    affect_memory_plan_print(json, plan);
    affect_json_set_number(json, "anonymous_bytes_before", (double)affect_memory_anonymous());
    if (plan->accumulation_steps > 1)
        snprintf(
            text, sizeof text,
            "a batch of %zu does not fit in %zu MB: it is computed in %zu pieces of up to %zu%s",
            plan->batch, plan->limit >> 20, plan->accumulation_steps, plan->micro_batch,
            affect_architecture_n_statistics(t->architecture)
                ? "; batch normalisation uses the statistics of each piece"
                : "");
    else
        snprintf(text, sizeof text, "memory: %zu MB planned, batches of %zu", plan->total >> 20,
                 plan->batch);
    t->callbacks->on_plan(t->callbacks->context, json, text);
    affect_json_free(json);
}

/* Adds the batch that fits to a failure for want of memory: others may have taken what the plan
 * counted on. */
static void say_what_fits(affect_training *t, affect_error *err) {
    size_t batch = 0, available = t->backend->ops->memory_free(t->backend);
    affect_memory_plan trial = t->plan;
    affect_error other = {0};
    if (!err) return;
    if (!available) available = affect_memory_available();
    trial.limit = (size_t)(AFFECT_SHARE_OF_MEMORY * (double)available);
    if (affect_memory_plan_largest(&batch, t, &trial, &other) != AFFECT_STATUS_OK) return;
    size_t used = strlen(err->message);
    snprintf(err->message + used, sizeof err->message - used,
             "; in the %zu MB that are free now a batch of %zu fits", available >> 20, batch);
}

affect_status affect_training_begin(affect_training *t, affect_error *err) {
    if (!t->spec->dry_run) AFFECT_TRY(affect_directory_make(t->spec->output, err));
    AFFECT_TRY(affect_dataset_open(&t->dataset, t->spec->dataset, NULL, err));
    if (!t->spec->dry_run) AFFECT_TRY(affect_dataset_verify(t->dataset, err));
    AFFECT_TRY(read_classes(t, err));
    AFFECT_TRY(make_split(t, err));
    AFFECT_TRY(make_architecture(t, err));
    AFFECT_TRY(affect_normalizer_fit(&t->normalizer, t->dataset, t->indices[AFFECT_PART_TRAINING],
                                     t->n[AFFECT_PART_TRAINING], err));
    make_metadata(t);
    AFFECT_TRY(affect_checkpoint_find(t, err));
    AFFECT_TRY(open_backend(t, err));
    if (*t->backend->note && t->callbacks->on_message)
        t->callbacks->on_message(t->callbacks->context, "log", t->backend->note);
    AFFECT_TRY(affect_memory_plan_make(&t->plan, t, err));
    affect_json_set(t->metadata, "engine", engine_json(t));
    tell_plan(t);
    affect_status status = make_session(t, err);
    if (status == AFFECT_STATUS_NO_MEMORY) say_what_fits(t, err);
    AFFECT_TRY(status);
    affect_schedule_begin(&t->schedule, t->config->learning_rate);
    affect_stopping_begin(&t->stopping);
    t->best = INFINITY;
    return AFFECT_STATUS_OK;
}

void affect_training_end(affect_training *t) {
    affect_json_free(t->best_report);
    affect_json_free(t->metadata);
    affect_model_close(t->checkpoint);
    affect_batch_free(t->batch);
    affect_session_free(t->session);
    affect_backend_free(t->backend);
    affect_architecture_free(t->architecture);
    affect_normalizer_free(&t->normalizer);
    affect_dataset_close(t->dataset);
    for (int p = 0; p < AFFECT_PART_COUNT; p++) free(t->indices[p]);
    free(t->order);
    free(t->permutation);
}
