/* Statuses and errors; see status.h. */
#include "engine/core/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *affect_status_name(affect_status status) {
    static const char *const names[] = {
#define STATUS_NAME(name, text) text,
        AFFECT_STATUS_TABLE(STATUS_NAME)
#undef STATUS_NAME
    };
    return (unsigned)status < AFFECT_STATUS_COUNT ? names[status] : "unknown";
}

static void set_message(affect_error *err, affect_status status, const char *format, va_list args) {
    err->status = status;
    err->pointer[0] = '\0';
    vsnprintf(err->message, sizeof err->message, format, args);
}

affect_status affect_error_set(affect_error *err, affect_status status, const char *format, ...) {
    if (!err) return status;
    va_list args;
    va_start(args, format);
    set_message(err, status, format, args);
    va_end(args);
    return status;
}

affect_status affect_error_prefix(affect_error *err, affect_status status, const char *format,
                                  ...) {
    if (!err) return status;
    char text[sizeof err->message];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof text)
        snprintf(text + n, sizeof text - (size_t)n, ": %s", err->message);
    memcpy(err->message, text, sizeof text);
    err->status = status;
    return status;
}

affect_status affect_error_at(affect_error *err, affect_status status, const char *pointer) {
    if (!err) return status;
    snprintf(err->pointer, sizeof err->pointer, "%s", pointer);
    affect_field_errors *list = err->fields;
    if (!list || list->n == sizeof list->items / sizeof *list->items) return status;
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->items[i].pointer, err->pointer) == 0) return status;
    strcpy(list->items[list->n].pointer, err->pointer);
    strcpy(list->items[list->n++].message, err->message);
    return status;
}

static affect_status status_of_errno(int error_number) {
    switch (error_number) {
    case ENOENT:
    case ENOTDIR:
        return AFFECT_STATUS_NOT_FOUND;
    case EEXIST:
        return AFFECT_STATUS_CONFLICT;
    case ENOSPC:
    case EDQUOT:
        return AFFECT_STATUS_NO_SPACE;
    case ENOMEM:
        return AFFECT_STATUS_NO_MEMORY;
    case EFBIG:
        return AFFECT_STATUS_TOO_LARGE;
    case ETIMEDOUT:
        return AFFECT_STATUS_TIMEOUT;
    default:
        return AFFECT_STATUS_IO;
    }
}

affect_status affect_error_errno(affect_error *err, int error_number, const char *format, ...) {
    affect_status status = status_of_errno(error_number);
    if (!err) return status;
    va_list args;
    va_start(args, format);
    set_message(err, status, format, args);
    va_end(args);
    size_t used = strlen(err->message);
    char reason[128];
    snprintf(err->message + used, sizeof err->message - used, ": %s",
             strerror_r(error_number, reason, sizeof reason));
    return status;
}
