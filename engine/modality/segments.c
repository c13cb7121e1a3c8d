/* Averages over parts of an utterance; see segments.h. */
#include "engine/modality/segments.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const compats[] = {"none", "reference8", NULL};

const affect_field affect_motion_fields[] = {
    AFFECT_FIELD_INTEGER(affect_motion_config, parts, 200, 1, 4096,
                         "runs of rows that an utterance's motion is averaged over"),
    AFFECT_FIELD_CHOICE(affect_motion_config, compat, AFFECT_MOTION_COMPAT_NONE, compats,
                        "none, or reference8: what the paper's reference code computes"),
    AFFECT_FIELD_END};

struct affect_segments {
    size_t n_parts;
    int compat;
    affect_mocap_kind kind;
    affect_time_window window;
    affect_quality_meter meter;
    size_t n_columns, n_rows;
    size_t capacity; /* values */
    double *rows;    /* (n_rows, n_columns) */
};

affect_status affect_segments_create(affect_segments **segments, const affect_motion_config *config,
                                     affect_error *err) {
    affect_segments *made = calloc(1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "segments: no memory");
    made->n_parts = (size_t)config->parts;
    made->compat = config->compat;
    affect_segments_begin(made, AFFECT_MOCAP_FACE, (affect_time_window){0});
    *segments = made;
    return AFFECT_STATUS_OK;
}

void affect_segments_free(affect_segments *segments) {
    if (!segments) return;
    free(segments->rows);
    free(segments);
}

void affect_segments_begin(affect_segments *segments, affect_mocap_kind kind,
                           affect_time_window window) {
    segments->kind = kind;
    segments->window = window;
    segments->meter = (affect_quality_meter){0};
    segments->n_columns = affect_mocap_n_columns(kind);
    segments->n_rows = 0;
}

static bool contains(const affect_segments *segments, double time_s) {
    const affect_time_window *window = &segments->window;
    if (!window->limited) return true;
    if (segments->compat == AFFECT_MOTION_COMPAT_REFERENCE8)
        return time_s > window->start_s && time_s < window->end_s;
    return time_s >= window->start_s && time_s < window->end_s;
}

static affect_status grow(affect_segments *segments, affect_error *err) {
    size_t needed = (segments->n_rows + 1) * segments->n_columns;
    if (needed <= segments->capacity) return AFFECT_STATUS_OK;
    size_t capacity = segments->capacity ? 2 * segments->capacity : 256 * segments->n_columns;
    if (capacity < needed) capacity = needed;
    double *rows = realloc(segments->rows, capacity * sizeof *rows);
    if (!rows)
        return affect_fail(err, NO_MEMORY, "segments: no memory for %zu rows",
                           segments->n_rows + 1);
    segments->rows = rows;
    segments->capacity = capacity;
    return AFFECT_STATUS_OK;
}

affect_status affect_segments_add(affect_segments *segments, double time_s, const double *values,
                                  affect_error *err) {
    if (!contains(segments, time_s)) return AFFECT_STATUS_OK;
    if (segments->n_rows == AFFECT_SEGMENTS_MAX_ROWS)
        return affect_fail(err, TOO_LARGE,
                           "mocap %s: more than %d rows for one utterance (for a whole dialog's "
                           "file give its start and end)",
                           affect_mocap_kind_name(segments->kind), AFFECT_SEGMENTS_MAX_ROWS);
    AFFECT_TRY(grow(segments, err));
    memcpy(segments->rows + segments->n_rows * segments->n_columns, values,
           segments->n_columns * sizeof *values);
    segments->n_rows++;
    affect_quality_meter_add(&segments->meter, time_s, values, segments->n_columns);
    return AFFECT_STATUS_OK;
}

/* Finite values of rows begin..end-1, summed in their order. */
static void sum_run(const affect_segments *segments, size_t begin, size_t end,
                    double sums[AFFECT_MOCAP_MAX_COLUMNS],
                    size_t counts[AFFECT_MOCAP_MAX_COLUMNS]) {
    size_t n_columns = segments->n_columns;
    memset(sums, 0, n_columns * sizeof *sums);
    memset(counts, 0, n_columns * sizeof *counts);
    if (segments->meter.n_missing == 0) { /* nothing to look for: vectors of columns */
        for (size_t row = begin; row < end; row++)
            for (size_t c = 0; c < n_columns; c++) sums[c] += segments->rows[row * n_columns + c];
        for (size_t c = 0; c < n_columns; c++) counts[c] = end - begin;
        return;
    }
    for (size_t row = begin; row < end; row++) {
        const double *values = segments->rows + row * n_columns;
        for (size_t c = 0; c < n_columns; c++) {
            bool finite = isfinite(values[c]);
            sums[c] += finite ? values[c] : 0;
            counts[c] += finite;
        }
    }
}

/* First column of the stream in a part, or AFFECT_MOTION_COLUMNS when it has none. */
static size_t first_column(const affect_segments *segments) {
    static const size_t columns[AFFECT_MOCAP_KIND_COUNT] = {
        [AFFECT_MOCAP_FACE] = 0, [AFFECT_MOCAP_HEAD] = 165, [AFFECT_MOCAP_HAND] = 171};
    if (segments->compat == AFFECT_MOTION_COMPAT_NONE) return columns[segments->kind];
    return segments->kind == AFFECT_MOCAP_FACE ? 24 : AFFECT_MOTION_COLUMNS;
}

affect_motion_quality affect_segments_average(const affect_segments *segments, float *motion,
                                              uint8_t *missing) {
    affect_motion_quality quality = affect_quality_meter_result(&segments->meter);
    size_t first = first_column(segments), n_columns = segments->n_columns;
    if (first == AFFECT_MOTION_COLUMNS) return quality;
    bool reference = segments->compat == AFFECT_MOTION_COMPAT_REFERENCE8;
    size_t base = segments->n_rows / segments->n_parts, rest = segments->n_rows % segments->n_parts;
    double sums[AFFECT_MOCAP_MAX_COLUMNS];
    size_t counts[AFFECT_MOCAP_MAX_COLUMNS];
    for (size_t part = 0, begin = 0; part < segments->n_parts; part++) {
        size_t n = base + (part < rest);
        sum_run(segments, begin, begin + n, sums, counts);
        float *means = motion + part * AFFECT_MOTION_COLUMNS + first;
        uint8_t *flags = missing + part * AFFECT_MOTION_COLUMNS + first;
        for (size_t c = 0; c < n_columns; c++) {
            bool valid = reference ? n > 0 && counts[c] == n : counts[c] > 0;
            double mean = valid ? sums[c] / (double)counts[c] : 0;
            valid = valid && fabs(mean) <= AFFECT_MOTION_MAX_VALUE; /* false for NaN */
            means[c] = valid ? (float)mean : 0;
            flags[c] = !valid && !reference;
        }
        begin += n;
    }
    return quality;
}

void affect_segments_clear(const affect_motion_config *config, float *motion, uint8_t *missing) {
    size_t n = (size_t)config->parts * AFFECT_MOTION_COLUMNS;
    memset(motion, 0, n * sizeof *motion);
    memset(missing, config->compat == AFFECT_MOTION_COMPAT_NONE, n);
}
