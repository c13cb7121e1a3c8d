/* CSV; see csv.h. A row is copied without its quotes into one block that the cells point into. */
#include "engine/core/csv.h"

#include <stdlib.h>
#include <string.h>

void affect_csv_begin(affect_csv *csv, const char *text, size_t size, char separator) {
    *csv = (affect_csv){.at = text, .end = text + size, .separator = separator, .next_line = 1};
    if (size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) csv->at += 3;
}

void affect_csv_end(affect_csv *csv) {
    free(csv->row);
    *csv = (affect_csv){0};
}

/* The row's bytes, with its line end: a cell that begins with a quote may hold others. */
static size_t row_size(const affect_csv *csv, size_t *n_lines, bool *closed) {
    bool quoted = false,
         opens = true; /* a quote here would open: a cell's first, or a doubled one */
    const char *at = csv->at;
    *n_lines = 0;
    for (bool ended = false; at < csv->end && !ended; at++) {
        bool turns = *at == '"' && (quoted || opens);
        quoted = quoted != turns;
        opens = !quoted && (turns || *at == csv->separator);
        *n_lines += *at == '\n';
        ended = *at == '\n' && (!quoted || csv->n_open >= AFFECT_CSV_MAX_OPEN);
    }
    *closed = !quoted;
    return (size_t)(at - csv->at);
}

static affect_status malformed(const affect_csv *csv, affect_error *err, const char *what) {
    return affect_fail(err, MALFORMED, "line %zu: %s", csv->line, what);
}

/* Copies one cell; *at goes behind its separator. */
static affect_status read_cell(affect_csv *csv, const char **at, const char *end, char **to,
                               affect_error *err) {
    const char *from = *at;
    if (csv->n == AFFECT_CSV_MAX_CELLS) return malformed(csv, err, "over 512 cells");
    csv->cells[csv->n++] = *to;
    if (from < end && *from == '"') {
        for (from++; from < end; from++) {
            if (*from == '"' && from + 1 < end && from[1] == '"')
                from++;
            else if (*from == '"')
                break;
            *(*to)++ = *from;
        }
        if (from == end) return malformed(csv, err, "a quote that does not end");
        from++;
        if (from < end && *from != csv->separator)
            return malformed(csv, err, "text behind a closing quote");
    } else {
        while (from < end && *from != csv->separator) {
            if (*from == '"') return malformed(csv, err, "a quote within a cell without quotes");
            *(*to)++ = *from++;
        }
    }
    *(*to)++ = '\0';
    *at = from;
    return AFFECT_STATUS_OK;
}

static affect_status read_row(affect_csv *csv, const char *begin, size_t size, affect_error *err) {
    const char *at = begin, *end = begin + size;
    if (size > AFFECT_CSV_MAX_ROW) return malformed(csv, err, "over a megabyte");
    if (memchr(begin, 0, size)) return malformed(csv, err, "a NUL byte");
    if (size + 2 > csv->capacity) { /* a separator becomes the end of a cell */
        char *grown = realloc(csv->row, size + 2);
        if (!grown) return affect_fail(err, NO_MEMORY, "no memory for a row");
        csv->row = grown;
        csv->capacity = size + 2;
    }
    char *to = csv->row;
    for (csv->n = 0;;) {
        AFFECT_TRY(read_cell(csv, &at, end, &to, err));
        if (at == end) return AFFECT_STATUS_OK;
        at++; /* a separator */
    }
}

affect_status affect_csv_next(affect_csv *csv, bool *more, affect_error *err) {
    while (csv->at < csv->end) {
        size_t n_lines;
        bool closed;
        const char *begin = csv->at;
        size_t whole = row_size(csv, &n_lines, &closed), size = whole;
        csv->line = csv->next_line;
        *more = true;
        if (!closed) { /* the rest cannot be told apart: only its first line is given up */
            const char *end = memchr(begin, '\n', whole);
            csv->at = end ? end + 1 : csv->end;
            csv->next_line++;
            csv->n_open++;
            return malformed(csv, err, "a quote that does not end");
        }
        csv->at += whole;
        csv->next_line += n_lines;
        if (size && begin[size - 1] == '\n') size--;
        if (size && begin[size - 1] == '\r') size--;
        if (size) return read_row(csv, begin, size, err);
    }
    *more = false;
    return AFFECT_STATUS_OK;
}
