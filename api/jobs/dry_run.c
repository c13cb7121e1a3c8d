/* Dry runs; see dry_run.h.
 *
 * The thread is detached: its last word to the request comes when it needs nothing of the server
 * any more. A child that does not die (a driver hangs in the kernel) is waited for after the
 * answer, and until it is gone there is no other dry run. */
#include "api/jobs/dry_run.h"

#include "api/jobs/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOK_MS = 100, MAX_LOOKS = 10, MAX_OUTPUT = 1 << 20 };

typedef struct {
    pid_t pid;
    int control[2], events[2], errors;
    affect_buffer output;
} child;

static affect_status start(child *c, const char *binary, const char *type, const char *spec,
                           affect_error *err) {
    AFFECT_TRY(api_child_pipe(c->control, err));
    AFFECT_TRY(api_child_pipe(c->events, err));
    c->errors = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (c->errors < 0) return affect_error_errno(err, errno, "/dev/null");
    const char *argv[] = {binary, type, "--spec", spec, "--events", "--supervised", NULL};
    const int fds[] = {c->control[0], c->events[1], c->errors};
    AFFECT_TRY(api_child_spawn(&c->pid, binary, argv, fds, 3, err));
    api_child_close(&c->control[0]);
    api_child_close(&c->events[1]);
    return AFFECT_STATUS_OK;
}

/* Reads until the child closes its end. */
static affect_status hear(child *c, const api_request *request, affect_error *err) {
    const api_context *context = api_context_of(request);
    double seconds = context->settings->dry_run_deadline_seconds;
    double until = affect_clock_seconds() + seconds;
    for (;;) {
        struct pollfd fd = {.fd = c->events[0], .events = POLLIN};
        if (atomic_load(&context->draining))
            return affect_fail(err, CANCELLED, "the server is stopping");
        if (api_client_gone(request)) return affect_fail(err, CANCELLED, "the client left");
        if (affect_clock_seconds() > until)
            return affect_fail(err, TIMEOUT, "the dry run took over %g s", seconds);
        if (poll(&fd, 1, LOOK_MS) <= 0) continue;
        char *to = affect_buffer_reserve(&c->output, 4096);
        ssize_t n = to ? read(c->events[0], to, 4096) : -1;
        if (n == 0) return AFFECT_STATUS_OK;
        if (n < 0 && errno != EINTR) return affect_error_errno(err, errno, "a dry run's output");
        if (n > 0) c->output.size += (size_t)n;
        if (c->output.size > MAX_OUTPUT) return affect_fail(err, INTERNAL, "a dry run's flood");
    }
}

/* Kills the child; false: it is not gone after a second. */
static bool stop(child *c) {
    bool gone = c->pid <= 0;
    if (!gone) kill(-c->pid, SIGKILL); /* nothing where it has ended */
    for (int i = 0; !gone && i < MAX_LOOKS; i++) {
        gone = waitpid(c->pid, NULL, WNOHANG) != 0;
        if (!gone) poll(NULL, 0, i ? LOOK_MS : 1);
    }
    api_child_close(&c->control[0]);
    api_child_close(&c->control[1]);
    api_child_close(&c->events[0]);
    api_child_close(&c->events[1]);
    api_child_close(&c->errors);
    affect_buffer_free(&c->output);
    return gone;
}

/* The result in the end line, which is the last. */
static affect_status read_end(affect_json **result, child *c, affect_error *err) {
    affect_json *end = NULL;
    const char *text = c->output.data, *line = text;
    size_t size = c->output.size;
    if (size && text[size - 1] == '\n') size--;
    for (size_t i = 0; i < size; i++)
        if (text[i] == '\n') line = text + i + 1;
    if (!size || affect_json_parse(&end, line, (size_t)(text + size - line), NULL) != 0 ||
        strcmp(affect_json_get_string(end, "event", ""), "end") != 0) {
        affect_json_free(end);
        return affect_fail(err, INTERNAL, "the dry run's worker ended without a word");
    }
    affect_status status = AFFECT_STATUS_OK;
    *result = affect_json_detach(end, "result");
    if (strcmp(affect_json_get_string(end, "state", ""), "succeeded") != 0) {
        affect_json_free(*result);
        *result = NULL;
        status = affect_fail(
            err, INVALID, "%.300s",
            affect_json_get_string(affect_json_get(end, "error"), "message", "no reason given"));
    }
    affect_json_free(end);
    return status;
}

static atomic_flag running = ATOMIC_FLAG_INIT;

typedef struct {
    api_request *request;
    affect_json *spec; /* owned */
} dry_run;

static affect_status run(affect_json **result, child *c, const dry_run *d, affect_error *err) {
    const api_context *context = api_context_of(d->request);
    char path[AFFECT_PATH_MAX], ulid[AFFECT_ULID_SIZE];
    affect_ulid_make(ulid);
    AFFECT_TRY(affect_path_join(path, err, context->settings->data, "staging/%s.json", ulid));
    char *text = affect_json_text(d->spec);
    affect_status status = text ? affect_file_write(path, text, strlen(text), err)
                                : affect_fail(err, NO_MEMORY, "no memory for a dry run");
    free(text);
    if (status == AFFECT_STATUS_OK)
        status = start(c, context->worker_binary, affect_json_get_string(d->spec, "type", ""), path,
                       err);
    if (status == AFFECT_STATUS_OK) status = hear(c, d->request, err);
    if (status == AFFECT_STATUS_OK) status = read_end(result, c, err);
    unlink(path);
    return status;
}

static void *run_thread(void *context) {
    dry_run d = *(dry_run *)context;
    free(context);
    child c = {.control = {-1, -1}, .events = {-1, -1}, .errors = -1};
    affect_error error = {0};
    affect_json *result = NULL;
    affect_status status = run(&result, &c, &d, &error);
    affect_json_free(d.spec);
    bool gone = stop(&c);
    if (gone) atomic_flag_clear(&running);
    api_answer_result(d.request, status, result, &error);
    if (gone) return NULL;
    waitpid(c.pid, NULL, 0);
    atomic_flag_clear(&running);
    return NULL;
}

static affect_status begin(api_request *request, affect_json *spec, affect_error *err) {
    if (atomic_flag_test_and_set(&running))
        return affect_fail(err, BUSY, "another dry run is running");
    dry_run *d = malloc(sizeof *d);
    pthread_t thread;
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    if (d) *d = (dry_run){request, spec};
    int e = d ? pthread_create(&thread, &detached, run_thread, d) : ENOMEM;
    pthread_attr_destroy(&detached);
    if (!e) return AFFECT_STATUS_OK;
    free(d);
    atomic_flag_clear(&running);
    return affect_error_errno(err, e, "starting a dry run");
}

void api_dry_run(api_request *request, affect_json *spec) {
    affect_error error = {0};
    api_defer(request);
    if (begin(request, spec, &error) == AFFECT_STATUS_OK) return;
    affect_json_free(spec);
    api_answer_error(request, &error);
}
