/* The launcher `local`: workers are child processes of the server, in process groups of their own.
 *
 * A worker has four descriptors: stdin is the control pipe, whose end tells it to exit, so that it
 * ends with its server; stdout and stderr are pipes to the server; the fourth is the lock of the
 * job's folder. A worker also dies with the thread that started it (engine/train/job_event.c).
 *
 * The kernel reports no reason of a SIGKILL. Where this launcher sent none and the kernel's count
 * of out-of-memory kills has risen since the start, memory is taken for it. */
#include "api/jobs/launcher.h"

#include "engine/core/child.h"
#include "engine/core/file.h"

#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>

typedef struct {
    affect_child child;
    int control_fd;
    bool killed;
    size_t n_oom_kills; /* at its start; SIZE_MAX: the kernel does not count them */
} local_process;

static size_t count_oom_kills(void) {
    return affect_file_find_number("/proc/vmstat", "oom_kill ");
}

static affect_status start(api_launch *launch, const api_launch_options *options,
                           affect_error *err) {
    int control[2] = {-1, -1}, events[2] = {-1, -1}, errors[2] = {-1, -1}, lock = -1;
    char spec[AFFECT_PATH_MAX], lock_path[AFFECT_PATH_MAX];
    AFFECT_TRY(affect_path_join(spec, err, options->folder, "spec.json"));
    AFFECT_TRY(affect_path_join(lock_path, err, options->folder, "lock"));
    local_process *p = calloc(1, sizeof *p);
    if (!p) return affect_fail(err, NO_MEMORY, "no memory for a worker");
    p->n_oom_kills = count_oom_kills();
    affect_status status = affect_file_lock(&lock, lock_path, err);
    if (status == AFFECT_STATUS_OK) status = affect_child_pipe(control, 1, err);
    if (status == AFFECT_STATUS_OK) status = affect_child_pipe(events, 0, err);
    if (status == AFFECT_STATUS_OK) status = affect_child_pipe(errors, 0, err);
    if (status == AFFECT_STATUS_OK) {
        const char *argv[] = {options->program, options->type,  "--spec", spec,
                              "--events",       "--supervised", NULL};
        const int fds[] = {control[0], events[1], errors[1], lock};
        const affect_child_command command = {options->program, argv, fds, 4};
        status = affect_child_spawn(&p->child, &command, err);
    }
    if (status == AFFECT_STATUS_OK) {
        p->control_fd = control[1];
        *launch = (api_launch){&api_launcher_local, events[0], errors[0], p};
        control[1] = events[0] = errors[0] = -1;
        p = NULL;
    }
    free(p);
    int *const all[] = {&control[0], &control[1], &events[0], &events[1],
                        &errors[0],  &errors[1],  &lock};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) affect_file_close(all[i]);
    return status;
}

static void terminate(api_launch *launch) {
    local_process *p = launch->process;
    affect_child_terminate(&p->child);
}

static void kill_all(api_launch *launch) {
    local_process *p = launch->process;
    p->killed = true;
    affect_child_kill(&p->child);
}

static bool reap(api_launch *launch, api_exit_report *report) {
    local_process *p = launch->process;
    if (!affect_child_reap(&p->child)) return false;
    int status = p->child.wait_status;
    bool signaled = WIFSIGNALED(status);
    *report = (api_exit_report){.exit_code = signaled ? -1 : WEXITSTATUS(status),
                                .signal = signaled ? WTERMSIG(status) : 0};
    report->out_of_memory = report->signal == SIGKILL && !p->killed && p->n_oom_kills != SIZE_MAX &&
                            count_oom_kills() > p->n_oom_kills;
    return true;
}

static void free_process(api_launch *launch) {
    local_process *p = launch->process;
    affect_file_close(&p->control_fd);
    free(p);
}

const api_launcher api_launcher_local = {.name = "local",
                                         .start = start,
                                         .terminate = terminate,
                                         .kill = kill_all,
                                         .reap = reap,
                                         .free = free_process};
