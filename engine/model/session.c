/* A session: its memory, what goes in and out of it, and what callers run; see session.h. The
 * passes through the graph are session_pass.c's. */
#include "engine/model/session_state.h"

#include <stdlib.h>

enum { MAX_BATCH = 65536 };

static affect_status check_options(affect_session_options options, affect_error *err) {
    if (options.max_batch < 1 || options.max_batch > MAX_BATCH)
        return affect_fail(err, INVALID, "session: max_batch %zu (need 1..%d)", options.max_batch,
                           MAX_BATCH);
    return AFFECT_STATUS_OK;
}

affect_status affect_session_measure(affect_session_plan *plan, affect_backend *backend,
                                     const affect_architecture *architecture,
                                     affect_session_options options, affect_error *err) {
    affect_session_layout layout;
    AFFECT_TRY(check_options(options, err));
    affect_session_plan_memory(&layout, backend, architecture, options);
    *plan = layout.bytes;
    return AFFECT_STATUS_OK;
}

/* Memory of the device; empty blocks get a few bytes so that NULL means failure. */
static void *block(affect_backend *backend, size_t n_bytes) {
    return backend->ops->allocate(backend, n_bytes ? n_bytes : 64);
}

static void *zeroed_block(affect_backend *backend, size_t n_bytes) {
    void *memory = block(backend, n_bytes);
    if (memory) backend->ops->zero(backend, memory, n_bytes);
    return memory;
}

static affect_status allocate(affect_session *s, affect_error *err) {
    affect_backend *b = s->backend;
    const affect_session_plan *plan = &s->layout.bytes;
    size_t trainable = s->architecture->builder.n_trainable * sizeof(affect_real);
    size_t statistics = s->architecture->builder.n_statistics * sizeof(affect_real);
    bool ok = true;
    for (size_t i = 0; i < s->architecture->n_inputs; i++)
        ok = ok && (s->first[i] = calloc(s->options.max_batch + 1, sizeof *s->first[i])) &&
             (s->lengths[i] = calloc(s->options.max_batch, sizeof *s->lengths[i]));
    if (s->layout.staging) s->staging = malloc(s->layout.staging);
    s->runs = malloc(s->options.max_batch * sizeof *s->runs);
    ok = ok && s->runs && (!s->layout.staging || s->staging) &&
         (s->blocks.parameters = zeroed_block(b, trainable)) &&
         (s->blocks.statistics = zeroed_block(b, statistics)) &&
         (s->activations = block(b, plan->activations)) && (s->inputs = block(b, plan->inputs)) &&
         (s->workspace = block(b, plan->workspace));
    if (ok && s->options.training)
        ok = (s->blocks.gradients = zeroed_block(b, trainable)) &&
             (s->blocks.adam_m = zeroed_block(b, trainable)) &&
             (s->blocks.adam_v = zeroed_block(b, trainable));
    if (!ok)
        return affect_fail(
            err, NO_MEMORY, "session: no memory for %zu bytes (activations %zu, batch %zu)",
            plan->parameters + plan->optimizer + plan->activations + plan->workspace + plan->inputs,
            plan->activations, s->options.max_batch);
    return affect_session_set_totals(s, NULL, err);
}

affect_status affect_session_create(affect_session **session, affect_backend *backend,
                                    const affect_architecture *architecture,
                                    affect_session_options options, affect_error *err) {
    AFFECT_TRY(check_options(options, err));
    affect_session *s = calloc(1, sizeof *s);
    if (!s) return affect_fail(err, NO_MEMORY, "no memory for a session");
    s->backend = backend;
    s->architecture = architecture;
    s->options = options;
    affect_session_plan_memory(&s->layout, backend, architecture, options);
    affect_status status = allocate(s, err);
    if (status != AFFECT_STATUS_OK) {
        affect_session_free(s);
        return status;
    }
    *session = s;
    return AFFECT_STATUS_OK;
}

void affect_session_free(affect_session *s) {
    if (!s) return;
    affect_session_flush(s, AFFECT_SESSION_RECORDS_MICRO_BATCH);
    void *blocks[] = {s->blocks.parameters, s->blocks.gradients, s->blocks.adam_m, s->blocks.adam_v,
                      s->blocks.statistics, s->activations,      s->inputs,        s->workspace};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        if (blocks[i]) s->backend->ops->deallocate(s->backend, blocks[i]);
    for (size_t i = 0; i < AFFECT_MAX_INPUTS; i++) {
        free(s->first[i]);
        free(s->lengths[i]);
    }
    free(s->staging);
    free(s->runs);
    free(s);
}

const affect_architecture *affect_session_architecture(const affect_session *s) {
    return s->architecture;
}

affect_session_blocks affect_session_blocks_of(affect_session *s) {
    return s->blocks;
}

/* ---- the batch ---- */

static void measure_lengths(affect_session *s, size_t input, const float *values, size_t batch) {
    const affect_input *read = &s->architecture->inputs[input];
    size_t size = affect_shape_count(read->feature.shape);
    for (size_t b = 0; b < batch; b++)
        s->lengths[input][b] = affect_session_count_unpadded(read, values + b * size);
}

/* Uploads the distinct rows of each utterance, one after another. */
static affect_status upload_rows(affect_session *s, size_t input, const float *values, size_t batch,
                                 affect_error *err) {
    affect_shape shape = s->architecture->inputs[input].feature.shape;
    size_t n_frames = shape.size[0], frame = affect_shape_count(shape) / n_frames;
    size_t *first = s->first[input];
    affect_real *to = (affect_real *)(s->inputs + s->layout.inputs[input]);
    for (size_t b = 0; b < batch; b++)
        first[b + 1] =
            first[b] + affect_session_count_rows(values + b * n_frames * frame, n_frames, frame);
    if (first[batch] > s->layout.max_rows[input])
        return affect_fail(err, INVALID, "session: %zu distinct rows of input %s (room for %zu)",
                           first[batch], s->architecture->inputs[input].name,
                           s->layout.max_rows[input]);
    for (size_t b = 0; b < batch; b++) {
        affect_session_upload(s, to + first[b] * frame, values + b * n_frames * frame,
                              (first[b + 1] - first[b]) * frame);
        if (s->staging) AFFECT_TRY(affect_backend_synchronize(s->backend, err));
    }
    return AFFECT_STATUS_OK;
}

static affect_status check_batch(const affect_session *s, size_t batch, affect_error *err) {
    if (batch >= 1 && batch <= s->options.max_batch) return AFFECT_STATUS_OK;
    return affect_fail(err, INVALID, "session: a batch of %zu (need 1..%zu)", batch,
                       s->options.max_batch);
}

static affect_status upload_inputs(affect_session *s, const float *const *inputs, size_t batch,
                                   affect_error *err) {
    AFFECT_TRY(check_batch(s, batch, err));
    affect_session_flush(s, AFFECT_SESSION_RECORDS_MICRO_BATCH);
    for (size_t i = 0; i < s->architecture->n_inputs; i++) {
        const affect_input *input = &s->architecture->inputs[i];
        for (size_t b = 0; b < batch; b++)
            AFFECT_TRY(affect_session_check_ids(
                input, inputs[i] + b * affect_shape_count(input->feature.shape), err));
        if (input->has_lengths) measure_lengths(s, i, inputs[i], batch);
        if (s->layout.shared[i]) {
            AFFECT_TRY(upload_rows(s, i, inputs[i], batch, err));
            continue;
        }
        size_t n = batch * affect_shape_count(s->architecture->inputs[i].feature.shape);
        affect_session_upload(s, (affect_real *)(s->inputs + s->layout.inputs[i]), inputs[i], n);
        if (s->staging) AFFECT_TRY(affect_backend_synchronize(s->backend, err));
    }
    return AFFECT_STATUS_OK;
}

static affect_status check_labels(const affect_session *s, const affect_session_batch *batch,
                                  affect_error *err) {
    size_t classes = s->architecture->sizes.n_classes;
    for (size_t i = 0; i < batch->batch; i++)
        if (batch->labels[i] < 0 || (size_t)batch->labels[i] >= classes)
            return affect_fail(err, INVALID, "session: label %d of row %zu (need 0..%zu)",
                               (int)batch->labels[i], i, classes - 1);
    return AFFECT_STATUS_OK;
}

static void put_labels(affect_session *s, const affect_session_batch *batch) {
    const affect_backend_ops *ops = s->backend->ops;
    affect_real *weights = (affect_real *)(s->inputs + s->layout.weights);
    ops->put(s->backend, s->inputs + s->layout.labels, batch->labels,
             batch->batch * sizeof *batch->labels);
    if (!batch->weights) return;
    if (sizeof(affect_real) == sizeof(float)) {
        ops->put(s->backend, weights, batch->weights, batch->batch * sizeof *weights);
        return;
    }
    affect_real *staging = s->staging;
    for (size_t i = 0; i < batch->batch; i++) staging[i] = batch->weights[i];
    ops->put(s->backend, weights, staging, batch->batch * sizeof *weights);
}

/* Opens a recording and brings the batch to the device: inputs from the host before it, all else
 * within. */
static affect_status begin_batch(affect_session *s, const affect_session_batch *batch,
                                 affect_error *err) {
    AFFECT_TRY(check_batch(s, batch->batch, err));
    AFFECT_TRY(check_labels(s, batch, err));
    affect_session_flush(s, AFFECT_SESSION_RECORDS_MICRO_BATCH);
    if (!batch->cache) AFFECT_TRY(upload_inputs(s, batch->inputs, batch->batch, err));
    affect_session_record(s);
    put_labels(s, batch);
    if (!batch->cache) return AFFECT_STATUS_OK;
    affect_status status = affect_session_gather(s, batch, err);
    if (status != AFFECT_STATUS_OK) affect_session_flush(s, AFFECT_SESSION_RECORDS_MICRO_BATCH);
    return status;
}

/* ---- what callers run ---- */

affect_status affect_session_predict(affect_session *s, float *probabilities,
                                     const float *const *inputs, size_t batch, affect_error *err) {
    AFFECT_TRY(upload_inputs(s, inputs, batch, err));
    const affect_real *output = affect_session_forward(s, &(affect_session_run){.batch = batch});
    return affect_session_read(probabilities, s, output, batch * s->architecture->sizes.n_classes,
                               err);
}

static double *totals_of(const affect_session *s) {
    return (double *)(s->inputs + s->layout.totals);
}

/* Cross-entropy of `output` (and d_logits, or NULL), added to the totals. */
static void measure_loss(affect_session *s, affect_real *d_logits, const affect_real *output,
                         const affect_session_batch *batch) {
    affect_loss_shape shape = {batch->batch, s->architecture->sizes.n_classes,
                               (double)(batch->divisor ? batch->divisor : batch->batch)};
    s->backend->ops->cross_entropy(
        s->backend, d_logits, totals_of(s), output, (const int32_t *)(s->inputs + s->layout.labels),
        batch->weights ? (const affect_real *)(s->inputs + s->layout.weights) : NULL, &shape);
}

static affect_status need_training(const affect_session *s, affect_error *err) {
    if (s->options.training) return AFFECT_STATUS_OK;
    return affect_fail(err, CONFLICT, "session: was made for inference only");
}

affect_status affect_session_accumulate(affect_session *s, const affect_session_batch *batch,
                                        affect_error *err) {
    AFFECT_TRY(need_training(s, err));
    AFFECT_TRY(begin_batch(s, batch, err));
    affect_session_run run = {batch->batch, batch->first, &batch->dropout};
    const affect_real *output = affect_session_forward(s, &run);
    const affect_session_node *last = &s->layout.nodes[s->architecture->n_layers - 1];
    measure_loss(s, (affect_real *)(s->activations + last->d_y), output, batch);
    affect_session_backward(s, &run);
    /* The last micro-batch's recording continues with the step. Before that the caller may mark and
     * wait: not within a recording. */
    if (batch->first + batch->batch < batch->divisor)
        affect_session_flush(s, AFFECT_SESSION_RECORDS_MICRO_BATCH);
    return AFFECT_STATUS_OK;
}

affect_status affect_session_evaluate(affect_session *s, float *probabilities,
                                      const affect_session_batch *batch, affect_error *err) {
    AFFECT_TRY(begin_batch(s, batch, err));
    const affect_real *output =
        affect_session_forward(s, &(affect_session_run){.batch = batch->batch});
    measure_loss(s, NULL, output, batch);
    affect_session_flush(s, AFFECT_SESSION_RECORDS_EVALUATION);
    if (!probabilities) return AFFECT_STATUS_OK;
    return affect_session_read(probabilities, s, output,
                               batch->batch * s->architecture->sizes.n_classes, err);
}

/* ---- totals ---- */

size_t affect_session_n_totals(const affect_session *s) {
    return 3 + s->architecture->sizes.n_classes * s->architecture->sizes.n_classes;
}

affect_status affect_session_read_totals(double *totals, affect_session *s, affect_error *err) {
    affect_session_flush(s, AFFECT_SESSION_RECORDS_MICRO_BATCH);
    s->backend->ops->download(s->backend, totals, totals_of(s),
                              affect_session_n_totals(s) * sizeof *totals);
    return affect_backend_synchronize(s->backend, err);
}

affect_status affect_session_set_totals(affect_session *s, const double *totals,
                                        affect_error *err) {
    size_t n_bytes = affect_session_n_totals(s) * sizeof *totals;
    affect_session_flush(s, AFFECT_SESSION_RECORDS_MICRO_BATCH);
    if (totals)
        s->backend->ops->upload(s->backend, totals_of(s), totals, n_bytes);
    else
        s->backend->ops->zero(s->backend, totals_of(s), n_bytes);
    return affect_backend_synchronize(s->backend, err);
}

/* ---- the optimiser's step ---- */

/* The penalty, weighted, added to *total (device); gradients, or NULL. */
static void penalize(affect_session *s, double *total, affect_real *gradients, double weight) {
    for (size_t i = 0; i < s->architecture->builder.n_parameters; i++) {
        const affect_parameter *p = &s->architecture->builder.parameters[i];
        if (p->l2 > 0)
            s->backend->ops->l2_penalty(s->backend, total, gradients ? gradients + p->offset : NULL,
                                        s->blocks.parameters + p->offset,
                                        affect_shape_count(p->shape), p->l2, weight);
    }
}

affect_status affect_session_l2(affect_session *s, double *l2, affect_error *err) {
    double *total = (double *)(s->inputs + s->layout.l2);
    affect_session_flush(s, AFFECT_SESSION_RECORDS_MICRO_BATCH);
    s->backend->ops->zero(s->backend, total, sizeof *total);
    penalize(s, total, NULL, 1);
    s->backend->ops->download(s->backend, l2, total, sizeof *l2);
    return affect_backend_synchronize(s->backend, err);
}

affect_status affect_session_step(affect_session *s, size_t rows, const affect_adam_shape *adam,
                                  affect_error *err) {
    AFFECT_TRY(need_training(s, err));
    affect_session_record(s);
    penalize(s, totals_of(s) + affect_session_n_totals(s) - 1, s->blocks.gradients, (double)rows);
    affect_adam_shape shape = *adam;
    shape.n = s->architecture->builder.n_trainable;
    s->backend->ops->adam_step(s->backend, s->blocks.parameters, s->blocks.adam_m, s->blocks.adam_v,
                               s->blocks.gradients, &shape);
    s->backend->ops->zero(s->backend, s->blocks.gradients, shape.n * sizeof(affect_real));
    affect_session_flush(s, AFFECT_SESSION_RECORDS_STEP);
    return AFFECT_STATUS_OK;
}
