/* The thread that serves all workers, and its calls from outside.
 *
 * Each turn polls the workers' pipes for at most 50 ms, then takes every worker on: reaps, stops or
 * kills it if that is due, hands on its lines, and, once it is gone, what it has left in its pipes,
 * then how it ended. The thread alone touches a worker; the list, the requests to stop and
 * `stopping` are under the lock, which is held across no callback and no start.
 *
 * Nothing is read without a bound: at most 256 KiB of events and 4 KiB of stderr a turn from a
 * worker that lives, and from one that is gone as much as lay in its pipes when it was reaped,
 * though a process that the worker started and that has left its group may still write there. */
#include "api/jobs/worker.h"

#include "api/jobs/launcher.h"
#include "api/log.h"
#include "engine/core/child.h"
#include "engine/core/clock.h"
#include "engine/core/file.h"
#include "engine/train/job_event.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define READ_BYTES      (1u << 18) /* of one worker, before the next one is served */
#define MAX_BATCH       256        /* lines handed on at once */
#define SWEEP_MS        50         /* between checks of who has exited */
#define RETRY_SECONDS   1.0
#define ABANDON_SECONDS 1.0 /* after a kill, when the server stops */

typedef struct worker {
    char job_id[40];
    api_launch launch;
    int log_fd;
    double started_at;
    affect_buffer input; /* of stdout, not yet cut into lines */
    bool skips_line;     /* inside a line that is too long */
    affect_json *lines[MAX_BATCH + 1];
    size_t n_lines;   /* read, not yet stored */
    affect_json *end; /* the end line */
    bool has_handshake;
    char problem[200];
    bool gone; /* then: how, and what it has left unread in its pipes */
    api_exit_report report;
    size_t n_events_left, n_errors_left;
    bool is_overdue;  /* it was killed as it did not stop in time */
    double killed_at; /* 0: it was not killed */
    double retry_at;  /* 0: nothing failed */
    size_t n_log_bytes;
    bool must_terminate; /* under the lock: a request to stop that the thread has not yet passed on
                          */
    double kill_at;      /* under the lock; 0: no request */
    struct worker *next;
} worker;

struct api_workers {
    const api_launcher *launcher;
    char binary[AFFECT_PATH_MAX];
    api_worker_options options;
    api_worker_callbacks callbacks;
    int wake_fd;
    struct pollfd *polled; /* wake_fd, then two of each worker; the thread's own */
    size_t max_polled;
    pthread_t thread;
    bool thread_started;
    pthread_mutex_t lock;
    worker *first;
    bool stopping;
};

void api_worker_options_default(api_worker_options *options) {
    *options = (api_worker_options){.launcher = "local",
                                    .handshake_s = 60,
                                    .cancel_grace_s = 10,
                                    .drain_grace_s = 6,
                                    .max_line_bytes = 4u << 20,
                                    .max_log_bytes = 4u << 20};
}

static void wake(api_workers *workers) {
    uint64_t one = 1;
    if (write(workers->wake_fd, &one, sizeof one) < 0) { /* full: it is awake */
    }
}

/* ---- Lines ---- */

static void add_line(worker *w, affect_json *line) {
    if (line) w->lines[w->n_lines++] = line;
}

static void add_warning(worker *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add_warning(worker *w, const char *format, ...) {
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    affect_json *line = affect_json_new_object();
    affect_json_set_string(line, "event", "warning");
    affect_json_set_string(line, "message", text);
    add_line(w, line);
}

static void handle_handshake(worker *w, const affect_json *line) {
    affect_error error = {0};
    w->has_handshake = true;
    if (affect_child_check_handshake(line, AFFECT_JOB_PROTOCOL, &error) != AFFECT_STATUS_OK)
        snprintf(w->problem, sizeof w->problem, "%.190s", error.message);
}

static void handle_line(worker *w, const char *text, size_t size) {
    if (w->end || w->problem[0]) return; /* nothing counts after these */
    affect_json *line = NULL;
    affect_error error = {0};
    affect_status status = affect_json_parse(&line, text, size, &error);
    const char *kind = affect_json_get_string(line, "event", NULL);
    if (!w->has_handshake) {
        handle_handshake(w, line);
        affect_json_free(line);
    } else if (status != AFFECT_STATUS_OK || !kind) {
        affect_json_free(line);
        add_warning(w, "the worker wrote a line that is no event: %.200s",
                    status != AFFECT_STATUS_OK ? error.message : "no member \"event\"");
    } else if (strcmp(kind, "end") == 0) {
        w->end = line;
    } else {
        add_line(w, line);
    }
}

/* Cuts what was read into lines, as many as a batch takes. */
static void cut_lines(worker *w, size_t max_line_bytes) {
    size_t start = 0;
    if (!w->input.size) return;
    while (w->n_lines < MAX_BATCH && start < w->input.size) {
        const char *from = w->input.data + start;
        const char *newline = memchr(from, '\n', w->input.size - start);
        if (!newline) break;
        size_t size = (size_t)(newline - from);
        if (w->skips_line)
            w->skips_line = false;
        else if (size > max_line_bytes)
            add_warning(w, "the worker wrote a line of %zu bytes (at most %zu)", size,
                        max_line_bytes);
        else if (size)
            handle_line(w, from, size);
        start += size + 1;
    }
    memmove(w->input.data, w->input.data + start, w->input.size - start);
    w->input.size -= start;
    if (w->n_lines < MAX_BATCH && w->input.size > max_line_bytes &&
        !memchr(w->input.data, '\n', w->input.size)) {
        if (!w->skips_line)
            add_warning(w, "the worker wrote a line of more than %zu bytes", max_line_bytes);
        w->skips_line = true;
        w->input.size = 0;
    }
}

static void read_output(worker *w) {
    size_t size = w->gone && w->n_events_left < READ_BYTES ? w->n_events_left : READ_BYTES;
    char *to = affect_buffer_reserve(&w->input, READ_BYTES);
    if (!to) return;
    ssize_t n = size ? read(w->launch.events_fd, to, size) : 0;
    if (n > 0) w->input.size += (size_t)n;
    if (n > 0 && w->gone) w->n_events_left -= (size_t)n;
    if (n == 0 || (n < 0 && errno != EINTR && (w->gone || errno != EAGAIN)))
        affect_file_close(&w->launch.events_fd);
}

/* stderr goes to the job's log until that is full; then it is read and dropped, so that the worker
 * never waits. */
static void read_errors(worker *w, size_t max_log_bytes) {
    char bytes[4096];
    size_t size = w->gone && w->n_errors_left < sizeof bytes ? w->n_errors_left : sizeof bytes;
    ssize_t n = size ? read(w->launch.errors_fd, bytes, size) : 0;
    if (n > 0 && w->gone) w->n_errors_left -= (size_t)n;
    if (n == 0 || (n < 0 && errno != EINTR && (w->gone || errno != EAGAIN)))
        affect_file_close(&w->launch.errors_fd);
    if (n <= 0 || w->n_log_bytes >= max_log_bytes) return;
    size_t room = max_log_bytes - w->n_log_bytes;
    ssize_t written = write(w->log_fd, bytes, (size_t)n < room ? (size_t)n : room);
    if (written > 0) w->n_log_bytes += (size_t)written;
}

/* ---- Handing on ---- */

static void hand_on_lines(api_workers *workers, worker *w, double now) {
    if (!w->n_lines || now < w->retry_at) return;
    const api_worker_callbacks *to = &workers->callbacks;
    affect_status status = to->events(to->context, w->job_id, w->lines, w->n_lines, NULL);
    w->retry_at = status == AFFECT_STATUS_OK ? 0 : now + RETRY_SECONDS;
    if (status != AFFECT_STATUS_OK) return;
    for (size_t i = 0; i < w->n_lines; i++) affect_json_free(w->lines[i]);
    w->n_lines = 0;
}

/* Hands on all complete lines; false while some could not be stored. */
static bool hand_on(api_workers *workers, worker *w, double now) {
    do {
        cut_lines(w, workers->options.max_line_bytes);
        hand_on_lines(workers, w, now);
    } while (!w->n_lines && w->input.size && memchr(w->input.data, '\n', w->input.size));
    return w->n_lines == 0;
}

static bool report_exit(api_workers *workers, worker *w, double now) {
    if (now < w->retry_at) return false;
    const api_worker_exit how = {.end = w->end,
                                 .exit_code = w->report.exit_code,
                                 .signal = w->report.signal,
                                 .killed_by_us = w->is_overdue,
                                 .out_of_memory = w->report.out_of_memory,
                                 .problem = w->problem[0] ? w->problem : NULL};
    const api_worker_callbacks *to = &workers->callbacks;
    affect_status status = to->exited(to->context, w->job_id, &how, NULL);
    w->retry_at = status == AFFECT_STATUS_OK ? 0 : now + RETRY_SECONDS;
    return status == AFFECT_STATUS_OK;
}

/* ---- The thread ---- */

static void free_worker(worker *w) {
    if (w->launch.launcher) w->launch.launcher->free(&w->launch);
    affect_file_close(&w->launch.events_fd);
    affect_file_close(&w->launch.errors_fd);
    affect_file_close(&w->log_fd);
    affect_buffer_free(&w->input);
    for (size_t i = 0; i < w->n_lines; i++) affect_json_free(w->lines[i]);
    affect_json_free(w->end);
    free(w);
}

/* Finds out whether it has exited; stops it when it was asked to, kills it when its time is up. */
static void check_worker(api_workers *workers, worker *w, double now) {
    const api_launcher *launcher = w->launch.launcher;
    if (w->gone) return;
    if (launcher->reap(&w->launch, &w->report)) {
        w->gone = true;
        w->n_events_left = affect_child_unread(w->launch.events_fd);
        w->n_errors_left = affect_child_unread(w->launch.errors_fd);
        return;
    }
    pthread_mutex_lock(&workers->lock);
    if ((w->end || w->launch.events_fd < 0) && w->kill_at == 0)
        w->kill_at = now + workers->options.cancel_grace_s; /* it has nothing more to do */
    bool terminate = w->must_terminate;
    w->must_terminate = false;
    w->is_overdue |= w->kill_at > 0 && now >= w->kill_at;
    pthread_mutex_unlock(&workers->lock);
    if (!w->has_handshake && !w->problem[0] && now > w->started_at + workers->options.handshake_s)
        snprintf(w->problem, sizeof w->problem, "the process sent no handshake within %g s",
                 workers->options.handshake_s);
    if (terminate) launcher->terminate(&w->launch);
    if (w->killed_at > 0 || !(w->is_overdue || w->problem[0])) return;
    w->killed_at = now;
    launcher->kill(&w->launch);
}

static bool is_stopping(api_workers *workers) {
    pthread_mutex_lock(&workers->lock);
    bool stopping = workers->stopping;
    pthread_mutex_unlock(&workers->lock);
    return stopping;
}

/* One worker's turn; true: it is done with. A server that stops waits neither for a disk to become
 * free nor for a process that does not die: its next start finds the job's row and knows that its
 * worker is lost. */
static bool serve(api_workers *workers, worker *w) {
    double now = affect_clock_seconds();
    check_worker(workers, w, now);
    bool stored = hand_on(workers, w, now);
    if (!w->gone) {
        if (!w->killed_at || now < w->killed_at + ABANDON_SECONDS || !is_stopping(workers))
            return false;
        api_log(API_LOG_WARNING, "a worker does not die and is left behind", "job", w->job_id,
                NULL);
        return true;
    }
    if (!stored) return is_stopping(workers);
    if (w->launch.events_fd >= 0) read_output(w);
    if (w->launch.events_fd >= 0) return false;
    while (w->launch.errors_fd >= 0) read_errors(w, workers->options.max_log_bytes);
    return (hand_on(workers, w, now) && report_exit(workers, w, now)) || is_stopping(workers);
}

static void remove_worker(api_workers *workers, worker *gone) {
    pthread_mutex_lock(&workers->lock);
    for (worker **at = &workers->first; *at; at = &(*at)->next) {
        if (*at != gone) continue;
        *at = gone->next;
        break;
    }
    pthread_mutex_unlock(&workers->lock);
    free_worker(gone);
}

/* Waits until a worker has written something, and reads it. */
static void poll_workers(api_workers *workers, worker *first) {
    size_t n = 1;
    for (const worker *w = first; w; w = w->next) n += 2;
    if (n > workers->max_polled) {
        struct pollfd *more = realloc(workers->polled, 2 * n * sizeof *more);
        if (!more) { /* next turn */
            poll(NULL, 0, SWEEP_MS);
            return;
        }
        workers->polled = more;
        workers->max_polled = 2 * n;
    }
    struct pollfd *at = workers->polled;
    *at++ = (struct pollfd){.fd = workers->wake_fd, .events = POLLIN};
    for (const worker *w = first; w; w = w->next) {
        *at++ = (struct pollfd){.fd = w->n_lines ? -1 : w->launch.events_fd, .events = POLLIN};
        *at++ = (struct pollfd){.fd = w->launch.errors_fd, .events = POLLIN};
    }
    if (poll(workers->polled, n, first ? SWEEP_MS : -1) <= 0) return;
    uint64_t count;
    at = workers->polled;
    if ((at++)->revents && read(workers->wake_fd, &count, sizeof count) < 0) {
    }
    for (worker *w = first; w; w = w->next) {
        if ((at++)->revents) read_output(w);
        if ((at++)->revents) read_errors(w, workers->options.max_log_bytes);
    }
}

static void *worker_thread(void *context) {
    api_workers *workers = context;
    for (;;) {
        pthread_mutex_lock(&workers->lock);
        worker *first = workers->first;
        bool stopping = workers->stopping;
        pthread_mutex_unlock(&workers->lock);
        if (stopping && !first) return NULL;
        poll_workers(workers, first);
        for (worker *w = first, *next; w; w = next) {
            next = w->next;
            if (serve(workers, w)) remove_worker(workers, w);
        }
    }
}

/* ---- For the scheduler ---- */

/* Under the lock. A second request may shorten the first one's grace, never lengthen it. */
static void request_stop(worker *w, double grace_s) {
    double until = affect_clock_seconds() + grace_s;
    w->must_terminate = true;
    if (w->kill_at == 0 || until < w->kill_at) w->kill_at = until;
}

affect_status api_workers_start(api_workers *workers, const char *job_id, const char *type,
                                const char *folder, affect_error *err) {
    char log[AFFECT_PATH_MAX];
    AFFECT_TRY(affect_path_join(log, err, folder, "log"));
    worker *w = calloc(1, sizeof *w);
    if (!w) return affect_fail(err, NO_MEMORY, "no memory for a worker");
    snprintf(w->job_id, sizeof w->job_id, "%s", job_id);
    w->launch.events_fd = w->launch.errors_fd = -1;
    w->started_at = affect_clock_seconds();
    w->log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    const api_launch_options options = {workers->binary, type, folder};
    affect_status status = w->log_fd < 0 ? affect_error_errno(err, errno, "%s", log)
                                         : workers->launcher->start(&w->launch, &options, err);
    if (status != AFFECT_STATUS_OK) {
        free_worker(w);
        return status;
    }
    pthread_mutex_lock(&workers->lock);
    w->next = workers->first;
    workers->first = w;
    if (workers->stopping) request_stop(w, workers->options.drain_grace_s);
    pthread_mutex_unlock(&workers->lock);
    wake(workers);
    return AFFECT_STATUS_OK;
}

bool api_workers_stop(api_workers *workers, const char *job_id) {
    bool found = false;
    pthread_mutex_lock(&workers->lock);
    for (worker *w = workers->first; w; w = w->next) {
        if (strcmp(w->job_id, job_id) != 0) continue;
        request_stop(w, workers->options.cancel_grace_s);
        found = true;
    }
    pthread_mutex_unlock(&workers->lock);
    if (found) wake(workers);
    return found;
}

bool api_workers_has(api_workers *workers, const char *job_id) {
    bool found = false;
    pthread_mutex_lock(&workers->lock);
    for (const worker *w = workers->first; w && !found; w = w->next)
        found = strcmp(w->job_id, job_id) == 0;
    pthread_mutex_unlock(&workers->lock);
    return found;
}

affect_status api_workers_create(api_workers **workers, const api_worker_options *options,
                                 const api_worker_callbacks *callbacks, affect_error *err) {
    api_workers *made = calloc(1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "no memory for workers");
    made->options = *options;
    made->callbacks = *callbacks;
    pthread_mutex_init(&made->lock, NULL);
    made->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    affect_status status = AFFECT_STATUS_OK;
    if (made->wake_fd < 0) status = affect_error_errno(err, errno, "eventfd");
    snprintf(made->binary, sizeof made->binary, "%s", options->binary);
    if (status == AFFECT_STATUS_OK)
        status = api_launcher_find(&made->launcher, options->launcher, err);
    if (status == AFFECT_STATUS_OK) {
        int e = pthread_create(&made->thread, NULL, worker_thread, made);
        if (e) status = affect_error_errno(err, e, "starting the workers' thread");
        made->thread_started = !e;
    }
    if (status == AFFECT_STATUS_OK)
        *workers = made;
    else
        api_workers_free(made);
    return status;
}

void api_workers_drain(api_workers *workers) {
    pthread_mutex_lock(&workers->lock);
    workers->stopping = true;
    double grace = workers->options.cancel_grace_s;
    if (workers->options.drain_grace_s < grace) grace = workers->options.drain_grace_s;
    for (worker *w = workers->first; w; w = w->next) request_stop(w, grace);
    pthread_mutex_unlock(&workers->lock);
    if (workers->thread_started) {
        wake(workers);
        pthread_join(workers->thread, NULL);
    }
    workers->thread_started = false;
}

void api_workers_free(api_workers *workers) {
    if (!workers) return;
    api_workers_drain(workers);
    affect_file_close(&workers->wake_fd);
    free(workers->polled);
    pthread_mutex_destroy(&workers->lock);
    free(workers);
}
