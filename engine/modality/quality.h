/* How good a stream of motion is: rows, seconds, and the share of values that are missing. */
#ifndef AFFECT_MODALITY_QUALITY_H
#define AFFECT_MODALITY_QUALITY_H

#include "engine/core/json.h"

#include <stdbool.h>
#include <stddef.h>

/* Zero-initialise: absent. */
typedef struct {
    bool present;      /* a source was given and read */
    bool is_empty;     /* it ended after its header */
    size_t n_rows;     /* rows in the window */
    size_t n_rejected; /* malformed rows of the whole source */
    double missing;    /* share of values not finite, 0..1; 1 without rows */
    double seconds;    /* from the first to the last row's time */
} affect_motion_quality;

/* Gathers rows into a quality. Zero-initialise. */
typedef struct {
    size_t n_rows, n_values, n_missing;
    double first_s, last_s;
} affect_quality_meter;

void affect_quality_meter_add(affect_quality_meter *meter, double time_s, const double *values,
                              size_t n_columns);
/* Quality of what was added; present, with no rejected rows. */
affect_motion_quality affect_quality_meter_result(const affect_quality_meter *meter);

/* {"present", "rows", "rejected", "missing", "seconds"}; owned; only "present" when absent. */
affect_json *affect_motion_quality_to_json(const affect_motion_quality *quality);

#endif
