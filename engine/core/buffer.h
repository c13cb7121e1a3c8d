/* A growable run of bytes: how text is built (JSON, SVG, CSV, log lines).
 *
 * Appending never fails visibly: the first failed allocation sticks in `failed`, later appends do
 * nothing, and the caller checks once, when it takes the bytes. The bytes are always followed by a
 * 0 that `size` does not count. Belongs to one thread. */
#ifndef AFFECT_CORE_BUFFER_H
#define AFFECT_CORE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    char *data; /* owned; NULL while empty */
    size_t size;
    size_t capacity;
    bool failed; /* an allocation failed: the content is incomplete */
} affect_buffer;

/* All accept a zero-initialised buffer. */
void affect_buffer_append(affect_buffer *buffer, const void *bytes, size_t size);
void affect_buffer_append_string(affect_buffer *buffer, const char *text);
void affect_buffer_printf(affect_buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Text as a cell of a CSV file (RFC 4180): in quotes where it holds a comma, a quote or a line
 * break. Before one that a spreadsheet would compute, as it begins with = + - @ or a tab, an
 * apostrophe. */
void affect_buffer_append_csv(affect_buffer *buffer, const char *text);
/* Makes room for `size` more bytes and returns where they go (NULL on failure); the caller then
 * adds what it wrote to `size`. */
char *affect_buffer_reserve(affect_buffer *buffer, size_t size);
/* The content as a C string: "" when empty, NULL when an allocation failed. Borrowed until the
 * next change. */
const char *affect_buffer_string(const affect_buffer *buffer);
/* The bytes, owned by the caller (free), leaving an empty buffer; NULL when an allocation failed.
 */
char *affect_buffer_take(affect_buffer *buffer);
void affect_buffer_clear(affect_buffer *buffer); /* keeps the memory */
void affect_buffer_free(affect_buffer *buffer);

#endif
