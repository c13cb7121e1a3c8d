/* Statuses and errors: what every function that can fail returns.
 *
 * A function that can fail returns an affect_status and takes an optional `affect_error *err` as
 * its last parameter, which it fills with a sentence for the user: what was wrong, and what is
 * allowed. All codes stand in one table, AFFECT_STATUS_TABLE, from which the enum, the names and
 * the HTTP answers of api/ are made. Bugs are asserts, never statuses. */
#ifndef AFFECT_CORE_STATUS_H
#define AFFECT_CORE_STATUS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/*  X(name, text for programs: also the `code` of a problem+json) */
#define AFFECT_STATUS_TABLE(X)                                                                     \
    X(OK, "ok")                                                                                    \
    X(INVALID, "invalid")         /* an argument, field or option is wrong */                      \
    X(MALFORMED, "malformed")     /* bytes are not in the format they claim */                     \
    X(NOT_FOUND, "not_found")     /* no such file, tensor, model, field */                         \
    X(CONFLICT, "conflict")       /* exists already, or wrong state for this */                    \
    X(UNSUPPORTED, "unsupported") /* well-formed, but not something we do */                       \
    X(TOO_LARGE, "too_large")     /* beyond a stated limit */                                      \
    X(SHAPE, "shape")             /* tensors or layers do not fit together */                      \
    X(IO, "io")                   /* reading or writing failed */                                  \
    X(NO_SPACE, "no_space")       /* the disk is full */                                           \
    X(NO_MEMORY, "no_memory")     /* an allocation failed */                                       \
    X(CANCELLED, "cancelled")     /* the caller asked to stop */                                   \
    X(DIVERGED, "diverged")       /* a loss or weight is not finite */                             \
    X(DEVICE_UNAVAILABLE, "device_unavailable")                                                    \
    X(DEVICE_LOST, "device_lost")                                                                  \
    X(BUSY, "busy") /* a queue is full: try later */                                               \
    X(TIMEOUT, "timeout")                                                                          \
    X(ARTIFACT_CORRUPT, "artifact_corrupt") /* a stored file is not what was stored */             \
    X(INTERNAL, "internal")                 /* a library failed in a way we did not foresee */

typedef enum {
#define AFFECT_STATUS_ENUM(name, text) AFFECT_STATUS_##name,
    AFFECT_STATUS_TABLE(AFFECT_STATUS_ENUM)
#undef AFFECT_STATUS_ENUM
        AFFECT_STATUS_COUNT
} affect_status;

/* The wrong fields of a document; those beyond the capacity are left out. */
typedef struct {
    size_t n;
    struct {
        char pointer[128], message[512];
    } items[16];
} affect_field_errors;

/* An error's details. Zero-initialise, pass by address; plain data, no ownership. */
typedef struct {
    affect_status status;
    char message[512]; /* a sentence without a final full stop; truncated if longer */
    char pointer[128]; /* JSON pointer of the field at fault, or "" */
    /* Borrowed; set by a caller that wants every wrong field, not the first alone (fields.h). */
    affect_field_errors *fields;
} affect_error;

/* "invalid", "not_found", ...; "unknown" outside the table. Borrowed for ever. */
const char *affect_status_name(affect_status status);

/* Fills err (if not NULL) with the status and the formatted message; returns the status.
 * Use through affect_fail: return affect_fail(err, INVALID, "mel: 0 bands (need 1..512)"); */
affect_status affect_error_set(affect_error *err, affect_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Prepends "context: " to err's message, as a caller that knows the file or line does; returns
 * the status it already had. */
affect_status affect_error_prefix(affect_error *err, affect_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Says which field the failure just set is about, and returns its status; with err->fields, it is
 * added there unless that field is listed already: what follows from a wrong value is no news. */
affect_status affect_error_at(affect_error *err, affect_status status, const char *pointer);

/* A failed system call: maps errno (ENOENT, ENOSPC, ENOMEM, ...) to a status and appends its text.
 */
affect_status affect_error_errno(affect_error *err, int error_number, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define affect_fail(err, CODE, ...) affect_error_set((err), AFFECT_STATUS_##CODE, __VA_ARGS__)

/* Returns from the calling function when `call` fails. Only where nothing is owned yet. */
#define AFFECT_TRY(call)                                                                           \
    do {                                                                                           \
        affect_status try_status_ = (call);                                                        \
        if (try_status_ != AFFECT_STATUS_OK) return try_status_;                                   \
    } while (0)

#ifdef __cplusplus
}
#endif

#endif
