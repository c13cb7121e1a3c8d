/* Motion capture as a modality; see motion.h. One state a thread: a parser, and gathered rows of as
 * many windows as a reading has had at most. */
#include "engine/modality/motion.h"

#include "engine/modality/mocap_text.h"

#include <stdio.h>
#include <stdlib.h>

_Static_assert(sizeof(affect_motion_config) <= AFFECT_FEATURE_OPTIONS_SIZE, "room for the options");
_Static_assert(sizeof(affect_motion_quality) <= sizeof(((affect_quality *)0)->record),
               "room for the record");

typedef struct {
    affect_motion_config config;
    affect_segments **segments; /* (n_segments), made as needed */
    bool *overfull;             /* (n_segments) windows of a pass that were given up */
    size_t n_segments;
    affect_mocap_reader *reader;          /* made as needed */
    const affect_stream_reading *reading; /* of the running pass */
} motion_state;

static void get_sizes(size_t sizes[2], const void *options) {
    sizes[0] = (size_t)((const affect_motion_config *)options)->parts;
    sizes[1] = AFFECT_MOTION_COLUMNS;
}

static void free_state(void *of) {
    motion_state *state = of;
    if (!state) return;
    for (size_t i = 0; i < state->n_segments; i++) affect_segments_free(state->segments[i]);
    free(state->segments);
    free(state->overfull);
    affect_mocap_reader_free(state->reader);
    free(state);
}

static affect_status create_state(void **state, const void *options, const char *feature,
                                  affect_error *err) {
    motion_state *made = calloc(1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "%s: no memory", feature);
    made->config = *(const affect_motion_config *)options;
    *state = made;
    return AFFECT_STATUS_OK;
}

static void clear(const void *options, float *all, uint8_t *missing) {
    affect_segments_clear(options, all, missing);
}

/* ---- Reading ---- */

static void on_rejected(void *context, size_t line, const char *reason) {
    const affect_stream_reading *reading = ((motion_state *)context)->reading;
    if (reading->listener && reading->listener->rejected)
        reading->listener->rejected(reading->listener->context,
                                    affect_mocap_kind_name((affect_mocap_kind)reading->stream),
                                    line, reason);
}

static bool on_progress(void *context, size_t n_bytes) {
    const affect_stream_reading *reading = ((motion_state *)context)->reading;
    if (!reading->listener || !reading->listener->progress) return true;
    return reading->listener->progress(reading->listener->context, n_bytes);
}

/* A window of too many rows is given up alone; when it is the only one, that is the result. */
static affect_status on_overfull(motion_state *state, size_t index, affect_status status,
                                 affect_error *err) {
    const affect_stream_reading *reading = state->reading;
    if (status != AFFECT_STATUS_TOO_LARGE || reading->n == 1) return status;
    char reason[96];
    snprintf(reason, sizeof reason, "window %g..%g s has more than %d rows",
             reading->windows[index].start_s, reading->windows[index].end_s,
             AFFECT_SEGMENTS_MAX_ROWS);
    state->overfull[index] = true;
    on_rejected(state, 0, reason);
    if (err) *err = (affect_error){0};
    return AFFECT_STATUS_OK;
}

static affect_status on_row(void *context, double time_s, const double *values, affect_error *err) {
    motion_state *state = context;
    for (size_t i = 0; i < state->reading->n; i++) {
        const affect_time_window *window = &state->reading->windows[i];
        bool outside = window->limited && (time_s < window->start_s || time_s >= window->end_s);
        if (outside || state->overfull[i]) continue;
        affect_status status = affect_segments_add(state->segments[i], time_s, values, err);
        if (status != AFFECT_STATUS_OK) AFFECT_TRY(on_overfull(state, i, status, err));
    }
    return AFFECT_STATUS_OK;
}

/* As many segments as windows, begun. */
static affect_status begin_segments(motion_state *state, affect_mocap_kind kind,
                                    affect_error *err) {
    size_t n = state->reading->n;
    if (n > state->n_segments) {
        affect_segments **grown = realloc(state->segments, n * sizeof(*grown));
        if (grown) state->segments = grown;
        bool *flags = realloc(state->overfull, n * sizeof *flags);
        if (flags) state->overfull = flags;
        if (!grown || !flags)
            return affect_fail(err, NO_MEMORY, "motion: no memory for %zu windows", n);
        while (state->n_segments < n) {
            AFFECT_TRY(affect_segments_create(&grown[state->n_segments], &state->config, err));
            state->n_segments++;
        }
    }
    for (size_t i = 0; i < n; i++) {
        affect_segments_begin(state->segments[i], kind, state->reading->windows[i]);
        state->overfull[i] = false;
    }
    return AFFECT_STATUS_OK;
}

static affect_status read_stream(void *of, affect_extracted *values,
                                 const affect_stream_reading *reading, affect_error *err) {
    motion_state *state = of;
    affect_mocap_kind kind = (affect_mocap_kind)reading->stream;
    const affect_mocap_callbacks callbacks = {state, on_row, on_rejected, on_progress};
    state->reading = reading;
    AFFECT_TRY(begin_segments(state, kind, err));
    if (!state->reader)
        AFFECT_TRY(affect_mocap_reader_create(&state->reader, kind, &callbacks, err));
    affect_mocap_reader_begin(state->reader, kind, &callbacks);
    affect_error failure = {0};
    affect_status status = affect_mocap_reader_read(state->reader, reading->source, &failure);
    affect_mocap_counts counts = affect_mocap_reader_counts(state->reader);
    if (status == AFFECT_STATUS_MALFORMED && counts.is_empty) {
        on_rejected(state, 0, "no rows after the header: taken as missing");
        status = AFFECT_STATUS_OK;
    }
    for (size_t i = 0; i < reading->n && status == AFFECT_STATUS_OK; i++) {
        if (state->overfull[i]) continue;
        affect_quality *quality = &values[i].quality[kind];
        affect_motion_quality *record = (affect_motion_quality *)quality->record;
        *record = affect_segments_average(state->segments[i], values[i].all, values[i].missing);
        record->n_rejected = counts.n_rejected;
        record->is_empty = counts.is_empty;
        quality->present = true;
    }
    if (status != AFFECT_STATUS_OK && err) *err = failure;
    return status;
}

/* ---- Quality ---- */

static const affect_motion_quality *record_of(const affect_quality *quality) {
    return (const affect_motion_quality *)quality->record;
}

static affect_json *describe(const affect_quality *quality) {
    return affect_motion_quality_to_json(record_of(quality));
}

static void warnings(const affect_quality *quality, void *context,
                     void (*warn)(void *context, const char *text)) {
    const affect_motion_quality *motion = record_of(quality);
    if (motion->is_empty)
        warn(context, "no rows after the header: taken as missing");
    else if (motion->n_rows == 0)
        warn(context, "no rows in the window: taken as missing");
    else if (motion->missing >= 1)
        warn(context, "no finite value: taken as missing");
    if (motion->n_rejected > 0) {
        char text[80];
        snprintf(text, sizeof text, "%zu malformed rows were skipped", motion->n_rejected);
        warn(context, text);
    }
}

static bool has_data(const affect_quality *quality) {
    return record_of(quality)->n_rows > 0 && record_of(quality)->missing < 1;
}

static double seconds(const affect_quality *quality) {
    return record_of(quality)->seconds;
}

const affect_extraction affect_motion_extraction = {.fields = affect_motion_fields,
                                                    .sizes = get_sizes,
                                                    .create = create_state,
                                                    .free = free_state,
                                                    .clear = clear,
                                                    .read = read_stream,
                                                    .describe = describe,
                                                    .warnings = warnings,
                                                    .has_data = has_data,
                                                    .seconds = seconds};
