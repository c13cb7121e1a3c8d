/* Inputs of many utterances on the device; see session.h. */
#include "engine/model/session_state.h"

#include <stdlib.h>
#include <string.h>

/* Numbers of one row of input i: of a frame where only distinct rows are kept, else of all. */
static size_t row_size(const affect_session *s, size_t i) {
    affect_shape shape = s->architecture->inputs[i].feature.shape;
    return affect_shape_count(shape) / (s->layout.shared[i] ? shape.size[0] : 1);
}

static size_t rows_of(const affect_session *s, size_t i, const size_t *rows, size_t utterance) {
    const affect_input *input = &s->architecture->inputs[i];
    if (!s->layout.shared[i]) return 1;
    size_t most = affect_feature_n_rows(&input->feature);
    return input->feature.modality->is_ragged && rows[utterance] < most ? rows[utterance] : most;
}

static affect_status allocate(affect_device_cache *r, const size_t *rows, affect_error *err) {
    affect_session *s = r->session;
    size_t n = r->n_utterances;
    for (size_t i = 0; i < s->architecture->n_inputs; i++) {
        r->first[i] = calloc(n + 1, sizeof *r->first[i]);
        r->lengths[i] = calloc(n + 1, sizeof *r->lengths[i]);
        r->used[i] = calloc(n + 1, sizeof *r->used[i]);
        if (!r->first[i] || !r->lengths[i] || !r->used[i])
            return affect_fail(err, NO_MEMORY, "no memory for %zu utterances", n);
        for (size_t u = 0; u < n; u++) r->first[i][u + 1] = r->first[i][u] + rows_of(s, i, rows, u);
        size_t n_bytes = r->first[i][n] * row_size(s, i) * sizeof(affect_real);
        r->memory[i] = s->backend->ops->allocate(s->backend, n_bytes);
        if (!r->memory[i]) return affect_backend_synchronize(s->backend, err);
    }
    return AFFECT_STATUS_OK;
}

affect_status affect_device_cache_create(affect_device_cache **cache, affect_session *session,
                                         const size_t *rows, size_t n_utterances,
                                         affect_error *err) {
    affect_device_cache *made = calloc(1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "no memory for a device cache");
    made->session = session;
    made->n_utterances = n_utterances;
    affect_status status = allocate(made, rows, err);
    if (status != AFFECT_STATUS_OK) {
        affect_device_cache_free(made);
        return status;
    }
    *cache = made;
    return AFFECT_STATUS_OK;
}

void affect_device_cache_free(affect_device_cache *r) {
    if (!r) return;
    affect_backend *backend = r->session->backend;
    for (size_t i = 0; i < AFFECT_MAX_INPUTS; i++) {
        if (r->memory[i]) backend->ops->deallocate(backend, r->memory[i]);
        free(r->first[i]);
        free(r->lengths[i]);
        free(r->used[i]);
    }
    free(r);
}

size_t affect_device_cache_bytes(const affect_session *session, const size_t *rows,
                                 size_t n_utterances) {
    size_t n = 0;
    for (size_t i = 0; i < session->architecture->n_inputs; i++)
        for (size_t u = 0; u < n_utterances; u++)
            n += rows_of(session, i, rows, u) * row_size(session, i);
    return n * sizeof(affect_real);
}

affect_status affect_device_cache_fill(affect_device_cache *r, size_t utterance,
                                       const float *const *inputs, affect_error *err) {
    affect_session *s = r->session;
    for (size_t i = 0; i < s->architecture->n_inputs; i++) {
        affect_shape shape = s->architecture->inputs[i].feature.shape;
        size_t frames = shape.size[0], frame = affect_shape_count(shape) / frames, n_rows = 1;
        size_t room = r->first[i][utterance + 1] - r->first[i][utterance];
        const affect_input *input = &s->architecture->inputs[i];
        AFFECT_TRY(affect_session_check_ids(input, inputs[i], err));
        if (input->has_lengths)
            r->lengths[i][utterance] = affect_session_count_unpadded(input, inputs[i]);
        if (s->layout.shared[i]) n_rows = affect_session_count_rows(inputs[i], frames, frame);
        if (n_rows > room)
            return affect_fail(err, INVALID, "utterance %zu has %zu distinct rows (room for %zu)",
                               utterance, n_rows, room);
        r->used[i][utterance] = n_rows;
        AFFECT_TRY(affect_session_write(s, r->memory[i] + r->first[i][utterance] * row_size(s, i),
                                        inputs[i], n_rows * row_size(s, i), err));
    }
    return AFFECT_STATUS_OK;
}

/* The copies of input i, in a list of its own a batch. */
static affect_status gather_input(affect_session *s, size_t i, const affect_session_batch *batch,
                                  affect_error *err) {
    const affect_device_cache *r = batch->cache;
    affect_run *runs = s->runs;
    size_t size = row_size(s, i), *first = s->first[i];
    for (size_t b = 0; b < batch->batch; b++) {
        size_t u = batch->utterances[b];
        size_t n_rows = r->used[i][u];
        first[b + 1] = first[b] + n_rows;
        s->lengths[i][b] = r->lengths[i][u];
        runs[b] = (affect_run){first[b] * size, r->first[i][u] * size, n_rows * size};
    }
    if (s->layout.shared[i] && first[batch->batch] > s->layout.max_rows[i])
        return affect_fail(err, INVALID, "session: %zu distinct rows of input %s (room for %zu)",
                           first[batch->batch], s->architecture->inputs[i].name,
                           s->layout.max_rows[i]);
    affect_real *to = (affect_real *)(s->inputs + s->layout.inputs[i]);
    s->backend->ops->copy_runs(s->backend, to, r->memory[i], runs, batch->batch);
    return AFFECT_STATUS_OK;
}

affect_status affect_session_gather(affect_session *s, const affect_session_batch *batch,
                                    affect_error *err) {
    for (size_t b = 0; b < batch->batch; b++)
        if (batch->utterances[b] >= batch->cache->n_utterances)
            return affect_fail(err, INVALID, "session: utterance %zu (need 0..%zu)",
                               batch->utterances[b], batch->cache->n_utterances - 1);
    for (size_t i = 0; i < s->architecture->n_inputs; i++)
        AFFECT_TRY(gather_input(s, i, batch, err));
    return AFFECT_STATUS_OK;
}
