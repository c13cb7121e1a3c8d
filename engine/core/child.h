/* Child processes: programs started with exactly the descriptors and variables they are given, each
 * leading a process group of its own, and ended whatever they do.
 *
 *   affect_child child = {0};
 *   AFFECT_TRY(affect_child_spawn(&child, &command, err));
 *   while (!affect_child_reap(&child)) ... poll its descriptors; affect_child_terminate ...
 *   affect_child_end(&child);
 *
 * No call waits for a child without a bound: one that the kernel does not let die (a driver hangs,
 * a debugger holds it) stays in the affect_child until a later affect_child_reap finds it gone. An
 * affect_child belongs to one thread; zero-initialised it is a child that is gone. */
#ifndef AFFECT_CORE_CHILD_H
#define AFFECT_CORE_CHILD_H

#include "engine/core/buffer.h"
#include "engine/core/json.h"
#include "engine/core/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { AFFECT_CHILD_MAX_FDS = 8 };

typedef struct {
    pid_t pid;       /* of the process and of its group; 0: none was started */
    bool reaped;     /* gone: its pid may be another's by now and is signalled no more */
    int wait_status; /* as of waitpid; SIGKILL where another part of this program reaped it */
} affect_child;

typedef struct {
    const char *program;     /* its path */
    const char *const *argv; /* ended by NULL */
    const int *fds;          /* fds[i] becomes descriptor i; -1: /dev/null; borrowed */
    size_t n_fds;            /* 3..AFFECT_CHILD_MAX_FDS */
} affect_child_command;

/* Starts the program with those descriptors and no others, signals at their defaults, and of our
 * environment what the list in child.c names: paths, language, and variables that the engine, the
 * CUDA driver and sanitizers read. The program confines itself (core/confine.h). `child` must be
 * one that is gone. NOT_FOUND: there is no such program; other statuses: what the system refused.
 */
affect_status affect_child_spawn(affect_child *child, const affect_child_command *command,
                                 affect_error *err);

/* SIGTERM to the process; SIGKILL to its whole group. Nothing where it is gone. */
void affect_child_terminate(affect_child *child);
void affect_child_kill(affect_child *child);
/* Reaps the process if it has exited, after it has killed what is left of its group; true: gone. */
bool affect_child_reap(affect_child *child);
/* The same, waiting up to so many seconds (CLOCK_MONOTONIC). */
bool affect_child_wait(affect_child *child, double seconds);
/* Kills the group and waits, a second at most. False: the kernel still holds the process. */
bool affect_child_end(affect_child *child);

/* A pipe, both ends close-on-exec; reads (kept = 0) or writes (kept = 1) of the end that this
 * process keeps do not block. On failure both are -1. */
affect_status affect_child_pipe(int ends[2], int kept, affect_error *err);
/* How many bytes lie unread in a pipe: what a child that is gone can have left there. */
size_t affect_child_unread(int fd);

/* Whether a child's first message is {"event": "hello", "protocol": <that number>, ...}. MALFORMED:
 * it is something else, UNSUPPORTED: it has another protocol. message may be NULL. */
affect_status affect_child_check_handshake(const affect_json *message, int protocol,
                                           affect_error *err);

typedef struct {
    const char *program;
    const char *const *argv;
    double deadline_s; /* from its start to the end of its output */
    size_t max_output; /* bytes of stdout */
    /* Called every 50 ms or oftener; a failure ends the run with it. May be NULL. */
    affect_status (*proceed)(void *context, affect_error *err);
    void *context;
} affect_child_run_options;

/* Runs a program whose answer is its output: appends its stdout to `output` until it exits or
 * closes it, then ends it. Its stdin is a pipe that nothing is written to and that ends with this
 * process, its stderr /dev/null. What it started itself neither prolongs nor outlives the run, as
 * far as that is in its group. TIMEOUT: the deadline has passed; INTERNAL: more than max_output.
 * Where child->reaped is still false afterwards, the kernel holds it. */
affect_status affect_child_run(affect_child *child, affect_buffer *output,
                               const affect_child_run_options *options, affect_error *err);

#endif
