/* IEMOCAP's motion capture text, read as a stream.
 *
 * A file has header lines, then rows `frame time value ...` separated by blanks: 165 values for
 * the face, 6 for the head, 18 for the hands; LF or CRLF, blank lines anywhere, the last newline
 * optional. Header text is never looked at: data starts at the first line whose first token is an
 * integer. Bytes are fed in pieces of any size; each good row is given to a callback, each bad one
 * (wrong number of values, a token that is not a number, a time that is not finite, a line longer
 * than AFFECT_MOCAP_MAX_LINE) is reported with its line, counted and skipped. Memory is one line.
 *
 * Numbers are read by our own code, whatever the locale: [+-]digits[.digits][e[+-]digits], NaN and
 * Inf(inity) in any case. Up to 19 digits and exponents that a double holds exactly they are
 * rounded correctly; else the last bit may differ from strtod's. The usual token of these files
 * (-123.45678) takes a way without branches. A reader belongs to one thread. */
#ifndef AFFECT_MODALITY_MOCAP_TEXT_H
#define AFFECT_MODALITY_MOCAP_TEXT_H

#include "engine/core/source.h"
#include "engine/core/status.h"

#include <stdbool.h>
#include <stddef.h>

typedef enum {
    AFFECT_MOCAP_FACE, /* MOCAP_rotated: 55 markers x (x, y, z), millimetres */
    AFFECT_MOCAP_HEAD, /* MOCAP_head: pitch roll yaw (degrees), translation x y z */
    AFFECT_MOCAP_HAND, /* MOCAP_hand: 6 markers x (x, y, z) */
    AFFECT_MOCAP_KIND_COUNT
} affect_mocap_kind;

#define AFFECT_MOCAP_MAX_LINE    65536 /* bytes of a line, without its newline */
#define AFFECT_MOCAP_MAX_COLUMNS 165   /* values a row of any kind */
#define AFFECT_MOCAP_MAX_HEADER  8     /* lines of a header; the release has two */

/* "face", "head", "hand". */
const char *affect_mocap_kind_name(affect_mocap_kind kind);
/* 165, 6, 18. */
size_t affect_mocap_n_columns(affect_mocap_kind kind);

typedef struct {
    void *context;
    /* values: (n_columns of the kind), not finite where missing; borrowed during the call. Not OK
     * stops the reader, which returns it. */
    affect_status (*row)(void *context, double time_s, const double *values, affect_error *err);
    /* line: from 1; reason: a sentence. May be NULL. */
    void (*rejected)(void *context, size_t line, const char *reason);
    /* After each block that affect_mocap_read takes from a source; false: CANCELLED. May be NULL.
     */
    bool (*progress)(void *context, size_t n_bytes);
} affect_mocap_callbacks;

typedef struct {
    size_t n_rows, n_rejected, n_lines;
    bool is_empty; /* at the end: blank lines and at most AFFECT_MOCAP_MAX_HEADER lines of text */
} affect_mocap_counts;

typedef struct affect_mocap_reader affect_mocap_reader;

/* Copies callbacks; their context is borrowed. */
affect_status affect_mocap_reader_create(affect_mocap_reader **reader, affect_mocap_kind kind,
                                         const affect_mocap_callbacks *callbacks,
                                         affect_error *err);
void affect_mocap_reader_free(affect_mocap_reader *reader);
/* Forgets everything and starts a file of the kind: a reader's memory serves any number of files.
 */
void affect_mocap_reader_begin(affect_mocap_reader *reader, affect_mocap_kind kind,
                               const affect_mocap_callbacks *callbacks);
/* Fails only with what a row callback returned. */
affect_status affect_mocap_reader_feed(affect_mocap_reader *reader, const void *bytes, size_t size,
                                       affect_error *err);
/* After the last byte. MALFORMED when there was no good row: it says whether the file has rows of
 * another number of values (a hand file given as head, say), only bad rows, or none at all. A file
 * that ends after its header is counted as empty besides: a recording without a row, not damage. */
affect_status affect_mocap_reader_finish(affect_mocap_reader *reader, affect_error *err);
affect_mocap_counts affect_mocap_reader_counts(const affect_mocap_reader *reader);
/* Feeds and finishes a whole source after create or begin; bytes in memory are read without
 * allocating. */
affect_status affect_mocap_reader_read(affect_mocap_reader *reader, affect_source source,
                                       affect_error *err);

/* All of the above for a file or bytes in memory. *counts (may be NULL) is filled also on failure.
 */
affect_status affect_mocap_read(affect_mocap_counts *counts, affect_source source,
                                affect_mocap_kind kind, const affect_mocap_callbacks *callbacks,
                                affect_error *err);

/* Reads one number at *cursor and moves past it; `*end` must be readable and hold a byte that is no
 * part of a number (a newline, a 0). False when there is no number; the cursor is then unspecified.
 * What follows is the caller's to check. */
bool affect_mocap_number(double *value, const char **cursor, const char *end);

#endif
