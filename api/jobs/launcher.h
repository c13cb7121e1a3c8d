/* Launchers: ways to start the worker of a job, each a row of the table in launcher.c and a file.
 *
 * `local` starts it as a child process of the server. A row for a cluster submits it to a queue,
 * for instance: the job's folder is then on a shared disk, events_fd is the output of a process
 * that follows the worker's, and terminate and kill send the cluster's cancel.
 *
 * All calls but `start` are made by one thread, that of worker.c, and must not wait: what takes
 * time (a cluster's command) is begun by them and found done by a later `reap`, which is called
 * every 50 ms. */
#ifndef AFFECT_JOBS_LAUNCHER_H
#define AFFECT_JOBS_LAUNCHER_H

#include "engine/core/status.h"

#include <stdbool.h>

typedef struct api_launcher api_launcher;

/* A worker that was started. */
typedef struct {
    const api_launcher *launcher;
    int events_fd; /* its event lines; does not block; its reader closes it */
    int errors_fd; /* its stderr likewise; -1 where the launcher writes the log itself */
    void *process; /* the launcher's own */
} api_launch;

typedef struct {
    const char *program; /* of `affect` */
    const char *type;    /* of the job: the subcommand */
    const char *folder;  /* the job's, with spec.json in it */
} api_launch_options;

/* How a worker ended. */
typedef struct {
    int exit_code;      /* -1 when a signal ended it */
    int signal;         /* 0 when it exited; SIGKILL where it was lost and nothing else is known */
    bool out_of_memory; /* it was killed because memory was short */
} api_exit_report;

struct api_launcher {
    const char *name;
    /* Starts `program type --spec folder/spec.json --events --supervised`, with the lock of the
     * folder, which lives as long as the worker does and keeps a restarted server from running the
     * job twice. CONFLICT: an earlier worker holds it. */
    affect_status (*start)(api_launch *launch, const api_launch_options *options,
                           affect_error *err);
    /* Asks it to stop at its next chance; ends it at once with all that it has started. */
    void (*terminate)(api_launch *launch);
    void (*kill)(api_launch *launch);
    /* True, and the report, once it is gone; then no other call than free. */
    bool (*reap)(api_launch *launch, api_exit_report *report);
    /* The server lets go of it: its control pipe ends, which tells a worker to exit. */
    void (*free)(api_launch *launch);
};

/* INVALID: no launcher has that name. */
affect_status api_launcher_find(const api_launcher **launcher, const char *name, affect_error *err);

/* The rows. */
extern const api_launcher api_launcher_local;

#endif
