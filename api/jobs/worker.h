/* Workers: one process a job, started, read, stopped and reaped.
 *
 * A worker is `affect <type> --spec FILE --events --supervised`, started by a launcher
 * (launcher.h). One thread polls all of them: it cuts what a worker prints into lines, checks the
 * handshake that must come first, hands on the others in batches, writes stderr to the job's log up
 * to a limit, and reaps. A batch that could not be stored is kept and offered again each second,
 * while the worker waits in its pipe. */
#ifndef AFFECT_JOBS_WORKER_H
#define AFFECT_JOBS_WORKER_H

#include "engine/core/json.h"
#include "engine/core/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct api_workers api_workers;

/* How a worker ended. */
typedef struct {
    affect_json *end;    /* its end line, borrowed; NULL when there was none */
    int exit_code;       /* -1 when a signal ended it */
    int signal;          /* 0 when it exited */
    bool killed_by_us;   /* it did not stop in time */
    bool out_of_memory;  /* SIGKILL, and the kernel counted an out-of-memory kill meanwhile */
    const char *problem; /* how it broke the protocol ("protocol 2, need 1"), or NULL */
} api_worker_exit;

/* Called on the workers' thread. */
typedef struct {
    void *context;
    /* Lines in order, handshake and end excepted; borrowed. After a failure the same lines come
     * again. */
    affect_status (*events)(void *context, const char *job_id, affect_json *const *lines, size_t n,
                            affect_error *err);
    /* The process is gone and reaped; after its last events. After a failure: called again. */
    affect_status (*exited)(void *context, const char *job_id, const api_worker_exit *how,
                            affect_error *err);
} api_worker_callbacks;

typedef struct {
    const char *launcher;  /* name of a row; copied */
    const char *binary;    /* of `affect`; copied */
    double handshake_s;    /* from the start to the first line */
    double cancel_grace_s; /* between asking it to stop and killing it */
    double drain_grace_s;  /* the same when all are drained, where it is less */
    size_t max_line_bytes; /* of an event line; longer ones are dropped with a warning */
    size_t max_log_bytes;  /* of stderr that is kept */
} api_worker_options;
void api_worker_options_default(api_worker_options *options); /* all but binary */

affect_status api_workers_create(api_workers **workers, const api_worker_options *options,
                                 const api_worker_callbacks *callbacks, affect_error *err);
/* Starts a worker. `folder` is the job's, with spec.json in it. CONFLICT: the folder is locked, an
 * earlier worker still lives. Keep the calling thread alive: workers die with it. */
affect_status api_workers_start(api_workers *workers, const char *job_id, const char *type,
                                const char *folder, affect_error *err);
/* Asks it to stop now, kills it after the grace. False: no such worker (any more). */
bool api_workers_stop(api_workers *workers, const char *job_id);
/* Whether the job has a worker whose exit has not been stored yet. */
bool api_workers_has(api_workers *workers, const char *job_id);
/* Stops all, waits until they are gone and their exits were handed on, ends the thread. One that
 * the kernel does not let die is left behind after a second; its job's row says so to the next
 * start. To be called by the thread that started them. */
void api_workers_drain(api_workers *workers);
/* Drains first where that was not done. NULL allowed. */
void api_workers_free(api_workers *workers);

#endif
