/* A growable run of bytes; see buffer.h. */
#include "engine/core/buffer.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void affect_buffer_append_csv(affect_buffer *buffer, const char *text) {
    bool quoted = text[strcspn(text, ",\"\r\n")] != '\0';
    if (quoted) affect_buffer_append(buffer, "\"", 1);
    if (*text && strchr("=+-@\t\r", *text)) affect_buffer_append(buffer, "'", 1);
    for (const char *c = text; *c; c++) {
        if (*c == '"') affect_buffer_append(buffer, "\"", 1);
        affect_buffer_append(buffer, c, 1);
    }
    if (quoted) affect_buffer_append(buffer, "\"", 1);
}

char *affect_buffer_reserve(affect_buffer *buffer, size_t size) {
    if (buffer->failed) return NULL;
    bool absurd = size > SIZE_MAX / 4 || buffer->size > SIZE_MAX / 4;
    size_t need = buffer->size + size + 1;
    if (absurd || need > buffer->capacity) {
        size_t capacity = buffer->capacity ? buffer->capacity : 64;
        while (!absurd && capacity < need) capacity *= 2;
        char *data = absurd ? NULL : realloc(buffer->data, capacity);
        if (!data) {
            buffer->failed = true;
            return NULL;
        }
        buffer->data = data;
        buffer->capacity = capacity;
    }
    return buffer->data + buffer->size;
}

void affect_buffer_append(affect_buffer *buffer, const void *bytes, size_t size) {
    char *end = affect_buffer_reserve(buffer, size);
    if (!end) return;
    if (size) memcpy(end, bytes, size);
    end[size] = '\0';
    buffer->size += size;
}

void affect_buffer_append_string(affect_buffer *buffer, const char *text) {
    affect_buffer_append(buffer, text, strlen(text));
}

void affect_buffer_printf(affect_buffer *buffer, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *end = n < 0 ? NULL : affect_buffer_reserve(buffer, (size_t)n);
    if (end) {
        vsnprintf(end, (size_t)n + 1, format, again);
        buffer->size += (size_t)n;
    }
    va_end(again);
}

const char *affect_buffer_string(const affect_buffer *buffer) {
    if (buffer->failed) return NULL;
    return buffer->data ? buffer->data : "";
}

char *affect_buffer_take(affect_buffer *buffer) {
    affect_buffer_append(buffer, "", 0);
    char *data = buffer->failed ? NULL : buffer->data;
    if (!data) free(buffer->data);
    *buffer = (affect_buffer){0};
    return data;
}

void affect_buffer_clear(affect_buffer *buffer) {
    buffer->size = 0;
    buffer->failed = false;
    if (buffer->data) buffer->data[0] = '\0';
}

void affect_buffer_free(affect_buffer *buffer) {
    free(buffer->data);
    *buffer = (affect_buffer){0};
}
