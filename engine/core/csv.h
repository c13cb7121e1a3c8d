/* Tables as text: CSV and TSV by RFC 4180 (quotes, "" within them, CRLF or LF), one row after the
 * other, out of memory. */
#ifndef AFFECT_CORE_CSV_H
#define AFFECT_CORE_CSV_H

#include "engine/core/status.h"

#include <stdbool.h>
#include <stddef.h>

enum { AFFECT_CSV_MAX_CELLS = 512, AFFECT_CSV_MAX_OPEN = 16 };
#define AFFECT_CSV_MAX_ROW ((size_t)1 << 20) /* bytes */

typedef struct {
    const char *at, *end;
    char separator;
    size_t line;                       /* of the row, from 1: quoted cells may hold line ends */
    size_t next_line;                  /* where the next row begins */
    size_t n;                          /* cells of the row */
    char *cells[AFFECT_CSV_MAX_CELLS]; /* NUL-terminated, borrowed until the next row */
    size_t n_open;                     /* quotes that did not end */
    char *row;                         /* owned */
    size_t capacity;
} affect_csv;

/* Borrows text. A byte order mark is skipped. */
void affect_csv_begin(affect_csv *csv, const char *text, size_t size, char separator);
/* The next row that is not empty; false at the end. MALFORMED: the row is not well-formed (a quote
 * that does not end, text behind one, a NUL, too many cells or bytes); the next call continues
 * behind it. After AFFECT_CSV_MAX_OPEN quotes that do not end each line is a row, so that no text
 * takes more than linear time. */
affect_status affect_csv_next(affect_csv *csv, bool *more, affect_error *err);
void affect_csv_end(affect_csv *csv);

#endif
