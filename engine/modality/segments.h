/* Motion of an utterance as `parts` averages: what the networks see.
 *
 * The rows of a time window are split into `parts` runs as numpy.array_split does (the first
 * n mod parts runs have one row more; with fewer rows than parts the last runs are empty), and each
 * column of a run is averaged over its finite values in double, in the order of the rows
 * (numpy.nanmean); where there is none, or the average exceeds
 * +-AFFECT_MOTION_MAX_VALUE, the value is 0 and `missing` is 1. The split needs the
 * number of rows, so the rows of the window are held: at most AFFECT_SEGMENTS_MAX_ROWS.
 *
 * Columns of a part, AFFECT_MOTION_COLUMNS in all:
 *   compat "none":       face 0-164, head 165-170, hand 171-188; rows with start <= t < end
 *   compat "reference8": what the paper's reference code computes. Rows with start < t < end; order
 *                        head, hand, face = 18 + 6 + 165: it takes head for 18 and hand for 6
 *                        columns, the reverse of the files, and then puts zeros, so columns 0-23
 *                        are always 0 and the face is at 24-188; a run that is empty or has any
 *                        value that is not finite in a column becomes 0 there; nothing is marked
 *                        missing.
 *
 * An affect_segments gathers one window of one stream, belongs to one thread, and can be used again
 * after affect_segments_begin. */
#ifndef AFFECT_MODALITY_SEGMENTS_H
#define AFFECT_MODALITY_SEGMENTS_H

#include "engine/core/fields.h"
#include "engine/core/source.h"
#include "engine/core/status.h"
#include "engine/modality/mocap_text.h"
#include "engine/modality/quality.h"

#include <stdint.h>

#define AFFECT_MOTION_COLUMNS    189
#define AFFECT_MOTION_MAX_VALUE  1e9   /* keeps what networks compute of it finite */
#define AFFECT_SEGMENTS_MAX_ROWS 16384 /* 136 s at 119.88 rows a second; 21 MB of face */

enum { AFFECT_MOTION_COMPAT_NONE, AFFECT_MOTION_COMPAT_REFERENCE8 };

/* Rows of affect_motion_fields. */
typedef struct {
    int64_t parts;
    int compat;
} affect_motion_config;

extern const affect_field affect_motion_fields[];

typedef struct affect_segments affect_segments;

affect_status affect_segments_create(affect_segments **segments, const affect_motion_config *config,
                                     affect_error *err);
void affect_segments_free(affect_segments *segments);
/* Forgets all rows and starts a window of a stream; keeps the memory. */
void affect_segments_begin(affect_segments *segments, affect_mocap_kind kind,
                           affect_time_window window);
/* Takes the row if its time lies in the window. TOO_LARGE beyond AFFECT_SEGMENTS_MAX_ROWS,
 * NO_MEMORY. */
affect_status affect_segments_add(affect_segments *segments, double time_s, const double *values,
                                  affect_error *err);
/* Writes the stream's columns of motion (parts, AFFECT_MOTION_COLUMNS) and missing (the same shape;
 * 0 or 1), and no others; returns the stream's quality. */
affect_motion_quality affect_segments_average(const affect_segments *segments, float *motion,
                                              uint8_t *missing);

/* What an utterance without any motion has: 0, and missing 1 everywhere (0 in "reference8"). */
void affect_segments_clear(const affect_motion_config *config, float *motion, uint8_t *missing);

#endif
