/* What a worker prints: one JSON object a line, on a pipe to the server or on a shell's stdout.
 *
 *   {"event":"hello","protocol":1,"version":"0.1.0","pid":41}
 *   {"event":"state","state":"preparing" | "running"}
 *   {"event":"progress","what":"import","fraction":0.4,"done":12,"total":30,"rate":3.1,"eta_seconds":5.8}
 *   {"event":"epoch","epoch":7,"epochs":100,"loss":0.91, ... "val_loss":0.97, ...}
 *   {"event":"checkpoint","kind":"best" | "last","epoch":7}
 *   {"event":"warning" | "log","message":"..."}
 *   {"event":"end","state":"succeeded" | "failed" | "cancelled","reason":..., "error":...,
 * "result":...}
 *
 * An emitter either writes such lines or, for people, shows a progress bar and sentences on stderr.
 * It locks itself: any thread may emit. */
#ifndef AFFECT_TRAIN_JOB_EVENT_H
#define AFFECT_TRAIN_JOB_EVENT_H

#include "engine/core/json.h"
#include "engine/core/status.h"

#include <stdbool.h>
#include <stdio.h>

#define AFFECT_JOB_PROTOCOL 1

typedef struct affect_job_events affect_job_events;

/* `lines` is where JSON lines go, or NULL for people (then everything goes to stderr, with a bar
 * when it is a terminal). Borrows the stream. NULL without memory. */
affect_job_events *affect_job_events_create(FILE *lines);
void affect_job_events_free(affect_job_events *events);

/* The first line. */
void affect_job_events_handshake(affect_job_events *events);
void affect_job_events_state(affect_job_events *events, const char *state);
/* At most ten a second get through, and always the last (done = total). "rate", of what was done
 * since the first of its kind, and "eta_seconds" are null until there is a second. */
void affect_job_events_progress(affect_job_events *events, const char *what, size_t done,
                                size_t total);
/* level is "warning" or "log". */
void affect_job_events_message(affect_job_events *events, const char *level, const char *format,
                               ...) __attribute__((format(printf, 3, 4)));
/* Any other kind: members (owned by the call) after "event". For people, `text` is shown. */
void affect_job_events_emit(affect_job_events *events, const char *kind, affect_json *members,
                            const char *text);
/* The `state_reason` of a job that ended so; NULL: it ended well. */
const char *affect_job_reason(affect_status status);
/* The last line. status decides the state (CANCELLED: cancelled); result is owned by the call. */
void affect_job_events_end(affect_job_events *events, affect_status status,
                           const affect_error *error, affect_json *result);

/* Makes this process a worker under supervision: it gets no new privileges, is the first that the
 * kernel kills for memory, dies with its parent, and treats the end of stdin as a cancel. Also
 * installs the handlers of SIGTERM and SIGINT (with `supervised` false, only those). */
affect_status affect_job_supervise(bool supervised, affect_error *err);
/* Whether this process was asked to stop: by a signal, or by the end of its stdin. */
bool affect_job_cancelled(void);

#endif
