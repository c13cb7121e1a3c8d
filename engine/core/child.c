/* How child processes are started and ended.
 *
 * posix_spawn, because a fork of a server with many threads and much memory is slow and may run
 * handlers of libraries. The descriptors that are handed over are first moved above those that the
 * child gets (one of ours may be 0, 1 or 2 where the server was started with these closed), then
 * each is duplicated into its place, and all others are closed.
 *
 * A pid is safe to signal as long as the process is not reaped: until then the kernel gives the
 * number to no other. So an exited child is found with WNOWAIT, its group is killed while the
 * number is still its own, and only then is it reaped. A child that this program cannot wait for
 * (ECHILD: it was reaped elsewhere) counts as gone, and is signalled no more.
 *
 * Waiting is polling, with pauses that double from 1 ms to 50 ms: there is no portable way to wait
 * for a process and a pipe with a deadline, and processes here live for seconds to days. */
#include "engine/core/child.h"

#include "engine/core/clock.h"
#include "engine/core/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define POLL_SECONDS 0.05
#define END_SECONDS  1.0 /* for the kernel to let a killed process go */

/* ---- Start ---- */

/* What is passed on of our environment: names, and prefixes of names, which end with "_". */
static const char *const passed[] = {
    "PATH",         "HOME",         "LANG",
    "LC_",          "TZ",           "LD_LIBRARY_PATH", /* of any program */
    "AFFECT_CPU",   "AFFECT_CUDA_", "CUDA_",
    "NVIDIA_",      "CUBLAS_",      "GLIBC_TUNABLES",
    "MALLOC_",      "ASAN_OPTIONS", "LSAN_OPTIONS",
    "TSAN_OPTIONS", "UBSAN_OPTIONS"};

static bool is_passed(const char *variable) {
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++) {
        size_t length = strlen(passed[i]);
        if (strncmp(variable, passed[i], length) != 0) continue;
        if (passed[i][length - 1] == '_' || variable[length] == '=') return true;
    }
    return false;
}

/* The array is owned, its texts are not. */
static char **filter_environment(void) {
    size_t n = 0, n_passed = 0;
    while (environ[n]) n++;
    char **list = malloc((n + 1) * sizeof *list);
    if (!list) return NULL;
    for (size_t i = 0; i < n; i++)
        if (is_passed(environ[i])) list[n_passed++] = environ[i];
    list[n_passed] = NULL;
    return list;
}

static int set_attributes(posix_spawnattr_t *attributes) {
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int e = posix_spawnattr_setsigmask(attributes, &none);
    if (!e) e = posix_spawnattr_setsigdefault(attributes, &all);
    if (!e) e = posix_spawnattr_setpgroup(attributes, 0);
    if (!e)
        e = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                                     POSIX_SPAWN_SETPGROUP);
    return e;
}

/* moved[i]: a duplicate of fds[i] above the child's descriptors, or -1 where none is needed. */
static int set_descriptors(posix_spawn_file_actions_t *actions, int *moved,
                           const affect_child_command *command) {
    int e = 0, n = (int)command->n_fds;
    for (int i = 0; i < n && !e; i++) {
        int fd = command->fds[i];
        if (fd >= 0 && fd < n) {
            fd = moved[i] = fcntl(fd, F_DUPFD_CLOEXEC, n);
            if (fd < 0) return errno;
        }
        e = fd < 0 ? posix_spawn_file_actions_addopen(actions, i, "/dev/null", O_RDWR, 0)
                   : posix_spawn_file_actions_adddup2(actions, fd, i);
    }
    return e ? e : posix_spawn_file_actions_addclosefrom_np(actions, n);
}

affect_status affect_child_spawn(affect_child *child, const affect_child_command *command,
                                 affect_error *err) {
    assert(command->n_fds >= 3 && command->n_fds <= AFFECT_CHILD_MAX_FDS);
    assert(child->pid <= 0 || child->reaped);
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    int moved[AFFECT_CHILD_MAX_FDS] = {-1, -1, -1, -1, -1, -1, -1, -1};
    *child = (affect_child){0};
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_init(&actions);
    int e = set_attributes(&attributes);
    if (!e) e = set_descriptors(&actions, moved, command);
    char **environment = filter_environment();
    if (!environment) e = ENOMEM;
    pid_t pid = 0;
    if (!e)
        e = posix_spawn(&pid, command->program, &actions, &attributes, (char *const *)command->argv,
                        environment);
    free(environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    for (size_t i = 0; i < command->n_fds; i++) affect_file_close(&moved[i]);
    if (e) return affect_error_errno(err, e, "starting %s", command->program);
    child->pid = pid;
    return AFFECT_STATUS_OK;
}

/* ---- End ---- */

bool affect_child_reap(affect_child *child) {
    if (child->pid <= 0 || child->reaped) return true;
    siginfo_t exited = {0};
    int failed;
    do failed = waitid(P_PID, (id_t)child->pid, &exited, WEXITED | WNOHANG | WNOWAIT);
    while (failed && errno == EINTR);
    if (!failed && exited.si_pid != child->pid) return false;
    if (!failed) {
        kill(-child->pid, SIGKILL);
        failed = waitpid(child->pid, &child->wait_status, WNOHANG) != child->pid;
    }
    if (failed) child->wait_status = SIGKILL;
    child->reaped = true;
    return true;
}

void affect_child_terminate(affect_child *child) {
    if (!affect_child_reap(child)) kill(child->pid, SIGTERM);
}

void affect_child_kill(affect_child *child) {
    if (!affect_child_reap(child)) kill(-child->pid, SIGKILL);
}

bool affect_child_wait(affect_child *child, double seconds) {
    double until = affect_clock_seconds() + seconds, pause = 0.001;
    while (!affect_child_reap(child)) {
        double left = until - affect_clock_seconds();
        if (left <= 0) return false;
        poll(NULL, 0, (int)ceil(1e3 * fmin(pause, left)));
        pause = fmin(2 * pause, POLL_SECONDS);
    }
    return true;
}

bool affect_child_end(affect_child *child) {
    affect_child_kill(child);
    return affect_child_wait(child, END_SECONDS);
}

/* ---- What is exchanged ---- */

affect_status affect_child_pipe(int ends[2], int kept, affect_error *err) {
    if (pipe2(ends, O_CLOEXEC) != 0) {
        ends[0] = ends[1] = -1;
        return affect_error_errno(err, errno, "a pipe to a child process");
    }
    fcntl(ends[kept], F_SETFL, O_NONBLOCK);
    return AFFECT_STATUS_OK;
}

size_t affect_child_unread(int fd) {
    int n = 0;
    return fd >= 0 && ioctl(fd, FIONREAD, &n) == 0 && n > 0 ? (size_t)n : 0;
}

affect_status affect_child_check_handshake(const affect_json *message, int protocol,
                                           affect_error *err) {
    double theirs = affect_json_get_number(message, "protocol", -1);
    if (strcmp(affect_json_get_string(message, "event", ""), "hello") != 0)
        return affect_fail(err, MALFORMED, "the process did not begin with a handshake");
    if (theirs != protocol)
        return affect_fail(err, UNSUPPORTED, "the process speaks protocol %g (need %d)", theirs,
                           protocol);
    return AFFECT_STATUS_OK;
}

/* ---- A program that is run for its output ---- */

/* Reads once; *ended: there will be no more, or there is none and `last` is set. */
static affect_status read_piece(affect_buffer *output, bool *ended, int fd, bool last,
                                size_t max_output, affect_error *err) {
    char bytes[4096];
    ssize_t n = read(fd, bytes, sizeof bytes);
    if (n > 0) affect_buffer_append(output, bytes, (size_t)n);
    if (output->failed) return affect_fail(err, NO_MEMORY, "no memory for a child's output");
    if (output->size > max_output)
        return affect_fail(err, INTERNAL, "a child wrote more than %zu bytes", max_output);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return affect_error_errno(err, errno, "a child's output");
    *ended = n == 0 || (n < 0 && errno == EAGAIN && last);
    return AFFECT_STATUS_OK;
}

static affect_status read_output(affect_child *child, affect_buffer *output, int fd,
                                 const affect_child_run_options *options, affect_error *err) {
    double until = affect_clock_seconds() + options->deadline_s;
    bool ended = false, last = false;
    while (!ended) {
        double left = until - affect_clock_seconds();
        if (left <= 0)
            return affect_fail(err, TIMEOUT, "no answer within %g s", options->deadline_s);
        if (options->proceed) AFFECT_TRY(options->proceed(options->context, err));
        struct pollfd polled = {.fd = fd, .events = POLLIN};
        int n_ready = last ? 1 : poll(&polled, 1, (int)ceil(1e3 * fmin(left, POLL_SECONDS)));
        if (n_ready == 0) last = affect_child_reap(child); /* others may hold the pipe open */
        if (n_ready > 0 || last)
            AFFECT_TRY(read_piece(output, &ended, fd, last, options->max_output, err));
    }
    affect_child_wait(child, fmin(END_SECONDS, until - affect_clock_seconds()));
    return AFFECT_STATUS_OK;
}

affect_status affect_child_run(affect_child *child, affect_buffer *output,
                               const affect_child_run_options *options, affect_error *err) {
    int control[2] = {-1, -1}, answer[2] = {-1, -1};
    affect_status status = affect_child_pipe(control, 1, err);
    if (status == AFFECT_STATUS_OK) status = affect_child_pipe(answer, 0, err);
    if (status == AFFECT_STATUS_OK) {
        const int fds[] = {control[0], answer[1], -1};
        const affect_child_command command = {options->program, options->argv, fds, 3};
        status = affect_child_spawn(child, &command, err);
    }
    affect_file_close(&control[0]);
    affect_file_close(&answer[1]);
    if (status == AFFECT_STATUS_OK) status = read_output(child, output, answer[0], options, err);
    affect_child_end(child); /* nothing where it was not started */
    affect_file_close(&control[1]);
    affect_file_close(&answer[0]);
    return status;
}
