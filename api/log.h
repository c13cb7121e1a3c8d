/* The log: one JSON object a line on stderr or in a file, with time, level, message and fields.
 *
 *   api_log(API_LOG_INFO, "listening", "address", "127.0.0.1:8080", NULL);
 *   {"time":"2026-11-23T05:00:00.123Z","level":"info","message":"listening","address":"..."}
 *
 * Any thread; a line is written at once. */
#ifndef AFFECT_API_LOG_H
#define AFFECT_API_LOG_H

#include "engine/core/json.h"

typedef enum { API_LOG_DEBUG, API_LOG_INFO, API_LOG_WARNING, API_LOG_ERROR } api_log_level;

/* "debug", "info", "warning" or "error"; false for another word. Before any other thread logs. */
bool api_log_set_level(const char *name);
/* Whether lines of that level are written: for callers whose fields cost something. */
bool api_log_has(api_log_level level);
/* From now on to the file at `path`, appended; again the same: the file is opened anew, as after a
 * rotation. "": stderr stays. */
affect_status api_log_open(const char *path, affect_error *err);
/* Pairs of name and text (both const char *; a NULL text is skipped), ended by NULL. */
void api_log(api_log_level level, const char *message, ...) __attribute__((sentinel));
/* Any fields: takes ownership of the object (or NULL). */
void api_log_fields(api_log_level level, const char *message, affect_json *fields);

#endif
