/* Numbers between host and device, and where recordings of a session begin and end; see session.h
 * and session_state.h.
 *
 * A transfer ends an open recording first: within one, only what the device keeps may move. Where
 * affect_real is not float, numbers pass through the staging block, one transfer at a time. */
#include "engine/model/session_state.h"

#include <math.h>
#include <string.h>

/* ---- recordings ---- */

void affect_session_record(affect_session *s) {
    if (s->recording) return;
    s->backend->ops->record_begin(s->backend);
    s->recording = true;
}

void affect_session_flush(affect_session *s, int kind) {
    if (!s->recording) return;
    s->backend->ops->record_end(s->backend, kind);
    s->recording = false;
}

/* ---- host and device ---- */

void affect_session_upload(affect_session *s, affect_real *to, const float *from, size_t n) {
    const void *source = from;
    if (sizeof(affect_real) != sizeof(float)) {
        affect_real *staging = s->staging;
        for (size_t i = 0; i < n; i++) staging[i] = from[i];
        source = staging;
    }
    s->backend->ops->upload(s->backend, to, source, n * sizeof(affect_real));
}

affect_status affect_session_read(float *values, affect_session *s, const affect_real *from,
                                  size_t n, affect_error *err) {
    bool convert = sizeof(affect_real) != sizeof(float);
    const affect_real *staging = s->staging;
    affect_session_flush(s, AFFECT_SESSION_RECORDS_MICRO_BATCH);
    s->backend->ops->download(s->backend, convert ? s->staging : values, from,
                              n * sizeof(affect_real));
    AFFECT_TRY(affect_backend_synchronize(s->backend, err));
    for (size_t i = 0; convert && i < n; i++) values[i] = (float)staging[i];
    return AFFECT_STATUS_OK;
}

static affect_real *tensor_memory(const affect_session *s, const affect_parameter *parameter) {
    return (parameter->trainable ? s->blocks.parameters : s->blocks.statistics) + parameter->offset;
}

affect_status affect_session_write(affect_session *s, affect_real *to, const float *values,
                                   size_t n, affect_error *err) {
    affect_session_flush(s, AFFECT_SESSION_RECORDS_MICRO_BATCH);
    affect_session_upload(s, to, values, n);
    return affect_backend_synchronize(s->backend, err);
}

affect_status affect_session_set_tensor(affect_session *s, size_t parameter, const float *values,
                                        affect_error *err) {
    const affect_parameter *p = affect_architecture_parameter(s->architecture, parameter);
    return affect_session_write(s, tensor_memory(s, p), values, affect_shape_count(p->shape), err);
}

affect_status affect_session_get_tensor(float *values, affect_session *s, size_t parameter,
                                        affect_error *err) {
    const affect_parameter *p = affect_architecture_parameter(s->architecture, parameter);
    return affect_session_read(values, s, tensor_memory(s, p), affect_shape_count(p->shape), err);
}

size_t affect_session_count_rows(const float *frames, size_t n_frames, size_t frame_size) {
    const float *last = frames + (n_frames - 1) * frame_size;
    size_t n = n_frames;
    while (n > 1 && memcmp(last, frames + (n - 2) * frame_size, frame_size * sizeof *last) == 0)
        n--;
    return n;
}

size_t affect_session_count_unpadded(const affect_input *input, const float *frames) {
    affect_shape shape = input->feature.shape;
    size_t n_frames = shape.size[0], frame_size = affect_shape_count(shape) / n_frames;
    if (input->n_ids) {
        while (n_frames > 0 && frames[n_frames - 1] == 0) n_frames--;
        return n_frames;
    }
    const float *last = frames + (n_frames - 1) * frame_size;
    for (size_t i = 1; i < frame_size; i++)
        if (last[i] != last[0]) return n_frames;
    return affect_session_count_rows(frames, n_frames, frame_size) - 1;
}

affect_status affect_session_check_ids(const affect_input *input, const float *values,
                                       affect_error *err) {
    size_t n = input->n_ids ? affect_shape_count(input->feature.shape) : 0;
    for (size_t i = 0; i < n; i++) {
        float id = values[i];
        if (!(id >= 0 && (double)id < (double)input->n_ids && id == floorf(id)))
            return affect_fail(err, INVALID, "input %s: step %zu is %g, no id (need 0..%zu)",
                               input->name, i, (double)id, input->n_ids - 1);
        if (input->has_lengths && id != 0 && i > 0 && values[i - 1] == 0)
            return affect_fail(err, INVALID,
                               "input %s: step %zu is id 0, which is padding, before another id",
                               input->name, i - 1);
    }
    return AFFECT_STATUS_OK;
}
