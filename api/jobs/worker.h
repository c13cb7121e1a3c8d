/* Workers: one child process a job, started, heard, stopped and reaped.
 *
 * A worker is `affect <type> --spec FILE --events --supervised` in a process group of its own, with
 * only five descriptors: stdin (the control pipe: its end tells the worker to exit), stdout (event
 * lines), stderr (to the job's log, cut at a limit), and the lock of the job's folder, which lives
 * as long as the worker and keeps a restarted server from running the job twice. One thread polls
 * all workers: it cuts stdout into lines, hands them on in batches, and reaps. A batch that could
 * not be stored is kept and offered again each second, while the worker waits in its pipe. */
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
    affect_json *end;    /* its end line, borrowed; NULL when it said nothing */
    int exit_code;       /* -1 when a signal ended it */
    int signal;          /* 0 when it exited */
    bool killed_by_us;   /* we sent SIGKILL: it did not stop in time */
    bool out_of_memory;  /* SIGKILL, and the kernel counted an out-of-memory kill meanwhile */
    const char *problem; /* what it did wrong on the pipe ("protocol 2, need 1"), or NULL */
} api_worker_exit;

/* Called on the workers' thread. */
typedef struct {
    void *context;
    /* Lines in order, hello and end excepted; borrowed. A failure: the same lines come again. */
    affect_status (*events)(void *context, const char *job_id, affect_json *const *lines, size_t n,
                            affect_error *err);
    /* The process is gone and reaped; after its last events. A failure: called again. */
    affect_status (*exited)(void *context, const char *job_id, const api_worker_exit *how,
                            affect_error *err);
} api_worker_callbacks;

typedef struct {
    const char *binary;    /* of `affect`; copied */
    double cancel_grace_s; /* between SIGTERM and SIGKILL */
    double drain_grace_s;  /* the same when all are drained, where it is less */
    size_t max_line_bytes; /* of an event line; longer ones are dropped with a warning */
    size_t max_log_bytes;  /* of stderr that is kept */
} api_worker_options;
void api_worker_options_default(api_worker_options *options);

affect_status api_workers_create(api_workers **workers, const api_worker_options *options,
                                 const api_worker_callbacks *callbacks, affect_error *err);
/* Starts a worker. `folder` is the job's, with spec.json in it. CONFLICT: the folder is locked, an
 * earlier worker still lives. Keep the calling thread alive: workers die with it. */
affect_status api_workers_start(api_workers *workers, const char *job_id, const char *type,
                                const char *folder, affect_error *err);
/* SIGTERM now, SIGKILL after the grace. False: no such worker (any more). */
bool api_workers_stop(api_workers *workers, const char *job_id);
/* Stops all, waits for them to be gone and their exits to be told, ends the thread. To be called by
 * the thread that started them. */
void api_workers_drain(api_workers *workers);
/* Drains first where that was not done. NULL allowed. */
void api_workers_free(api_workers *workers);

#endif
