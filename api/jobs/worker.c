/* Workers; see worker.h. */
#include "api/jobs/worker.h"

#include "api/jobs/child.h"
#include "engine/core/clock.h"
#include "engine/core/file.h"
#include "engine/train/job_event.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define READ_BYTES    (1u << 18) /* of one worker, before the next one is served */
#define MAX_BATCH     256        /* lines handed on at once */
#define SWEEP_MS      50         /* between looks at who has exited */
#define RETRY_SECONDS 1.0

typedef struct worker {
    char job_id[40];
    pid_t pid;
    int control_fd, event_fd, error_fd, log_fd;
    affect_buffer input; /* of stdout, not yet cut into lines */
    bool skips_line;     /* inside a line that is too long */
    affect_json *lines[MAX_BATCH + 1];
    size_t n_lines;   /* heard, not yet stored */
    affect_json *end; /* the end line */
    bool said_hello;
    char problem[200];
    bool reaped;
    int wait_status;
    bool killed_by_us;
    double kill_at;  /* 0: nobody asked it to stop */
    double retry_at; /* 0: nothing failed */
    size_t n_log_bytes;
    long oom_kills_before;
    struct worker *next;
} worker;

struct api_workers {
    char binary[AFFECT_PATH_MAX];
    api_worker_options options;
    api_worker_callbacks callbacks;
    int wake_fd;
    pthread_t thread;
    bool thread_started;
    pthread_mutex_t lock; /* guards the list, kill_at, reaped and stopping */
    worker *first;
    bool stopping;
};

void api_worker_options_default(api_worker_options *options) {
    *options = (api_worker_options){.cancel_grace_s = 10,
                                    .drain_grace_s = 6,
                                    .max_line_bytes = 4u << 20,
                                    .max_log_bytes = 4u << 20};
}

static void wake(api_workers *workers) {
    uint64_t one = 1;
    if (write(workers->wake_fd, &one, sizeof one) < 0) { /* full: it is awake */
    }
}

/* How often the kernel killed for memory since it started; -1 when it does not say. */
static long count_oom_kills(void) {
    size_t n = affect_file_find_number("/proc/vmstat", "oom_kill ");
    return n == SIZE_MAX ? -1 : (long)n;
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

static void kill_worker(worker *w) {
    if (!w->reaped) kill(-w->pid, SIGKILL);
}

static void hear_hello(worker *w, const affect_json *line) {
    double protocol = affect_json_get_number(line, "protocol", -1);
    if (strcmp(affect_json_get_string(line, "event", ""), "hello") != 0)
        snprintf(w->problem, sizeof w->problem, "the worker did not begin with hello");
    else if (protocol != AFFECT_JOB_PROTOCOL)
        snprintf(w->problem, sizeof w->problem, "the worker speaks protocol %g (need %d)", protocol,
                 AFFECT_JOB_PROTOCOL);
    w->said_hello = true;
    if (w->problem[0]) kill_worker(w);
}

static void hear_line(worker *w, const char *text, size_t size) {
    if (w->end || w->problem[0]) return; /* after its last word nothing counts */
    affect_json *line = NULL;
    affect_error error = {0};
    affect_status status = affect_json_parse(&line, text, size, &error);
    const char *kind = affect_json_get_string(line, "event", NULL);
    if (!w->said_hello) {
        hear_hello(w, line);
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
            hear_line(w, from, size);
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

static void read_events(worker *w) {
    char *to = affect_buffer_reserve(&w->input, READ_BYTES);
    if (!to) return;
    ssize_t n = read(w->event_fd, to, READ_BYTES);
    if (n > 0)
        w->input.size += (size_t)n;
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        api_child_close(&w->event_fd);
}

/* stderr goes to the job's log until that is full; then it is read and dropped, so that the worker
 * never waits. True: there may be more. */
static bool read_errors(worker *w, size_t max_log_bytes) {
    char bytes[4096];
    ssize_t n = read(w->error_fd, bytes, sizeof bytes);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) api_child_close(&w->error_fd);
    if (n <= 0 || w->n_log_bytes >= max_log_bytes) return n > 0;
    size_t room = max_log_bytes - w->n_log_bytes, size = (size_t)n < room ? (size_t)n : room;
    ssize_t written = write(w->log_fd, bytes, size);
    if (written > 0) w->n_log_bytes += (size_t)written;
    return true;
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

static bool tell_exit(api_workers *workers, worker *w, double now) {
    if (now < w->retry_at) return false;
    bool signaled = WIFSIGNALED(w->wait_status);
    api_worker_exit how = {.end = w->end,
                           .exit_code = signaled ? -1 : WEXITSTATUS(w->wait_status),
                           .signal = signaled ? WTERMSIG(w->wait_status) : 0,
                           .killed_by_us = w->killed_by_us,
                           .problem = w->problem[0] ? w->problem : NULL};
    how.out_of_memory = how.signal == SIGKILL && !w->killed_by_us && w->oom_kills_before >= 0 &&
                        count_oom_kills() > w->oom_kills_before;
    const api_worker_callbacks *to = &workers->callbacks;
    affect_status status = to->exited(to->context, w->job_id, &how, NULL);
    w->retry_at = status == AFFECT_STATUS_OK ? 0 : now + RETRY_SECONDS;
    return status == AFFECT_STATUS_OK;
}

/* ---- The thread ---- */

static void free_worker(worker *w) {
    api_child_close(&w->control_fd);
    api_child_close(&w->event_fd);
    api_child_close(&w->error_fd);
    api_child_close(&w->log_fd);
    affect_buffer_free(&w->input);
    for (size_t i = 0; i < w->n_lines; i++) affect_json_free(w->lines[i]);
    affect_json_free(w->end);
    free(w);
}

/* Looks whether it has exited, and kills it when its time is up. */
static void sweep(api_workers *workers, worker *w, double now) {
    pthread_mutex_lock(&workers->lock);
    siginfo_t exited = {0};
    if (!w->reaped && waitid(P_PID, (id_t)w->pid, &exited, WEXITED | WNOHANG | WNOWAIT) == 0 &&
        exited.si_pid == w->pid) {
        kill(-w->pid, SIGKILL); /* whatever it left behind in its group, while the id is its */
        w->reaped = waitpid(w->pid, &w->wait_status, 0) == w->pid;
    }
    if ((w->end || w->event_fd < 0) && w->kill_at == 0)
        w->kill_at = now + workers->options.cancel_grace_s; /* said its last word: time to go */
    if (!w->reaped && w->kill_at > 0 && now >= w->kill_at) {
        w->killed_by_us = true;
        kill_worker(w);
    }
    pthread_mutex_unlock(&workers->lock);
}

/* A server that stops does not wait for a disk to become free: its next start finds the job's row
 * and knows that its worker is lost. */
static bool gives_up(api_workers *workers) {
    pthread_mutex_lock(&workers->lock);
    bool stopping = workers->stopping;
    pthread_mutex_unlock(&workers->lock);
    return stopping;
}

/* One worker's turn; true: it is gone and told. */
static bool serve(api_workers *workers, worker *w) {
    double now = affect_clock_seconds();
    sweep(workers, w, now);
    bool stored = hand_on(workers, w, now);
    if (!w->reaped) return false;
    if (!stored) return gives_up(workers);
    if (w->event_fd >= 0) { /* what is still in the pipe */
        size_t before = w->input.size;
        read_events(w);
        if (w->event_fd >= 0 && w->input.size > before) return false;
    }
    while (w->error_fd >= 0 && read_errors(w, workers->options.max_log_bytes)) {
    } /* its last words say most */
    return (hand_on(workers, w, now) && tell_exit(workers, w, now)) || gives_up(workers);
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

enum { MAX_POLLED = 256 };

/* Waits until some worker has something to say, and reads it. */
static void poll_workers(api_workers *workers, worker *first) {
    struct pollfd fds[MAX_POLLED];
    worker *owners[MAX_POLLED];
    nfds_t n = 1;
    fds[0] = (struct pollfd){.fd = workers->wake_fd, .events = POLLIN};
    int timeout = first ? SWEEP_MS : -1;
    for (worker *w = first; w && n + 2 <= MAX_POLLED; w = w->next) {
        owners[n] = owners[n + 1] = w;
        fds[n++] = (struct pollfd){.fd = w->n_lines ? -1 : w->event_fd, .events = POLLIN};
        fds[n++] = (struct pollfd){.fd = w->error_fd, .events = POLLIN};
    }
    if (poll(fds, n, timeout) <= 0) return;
    uint64_t count;
    if (fds[0].revents && read(workers->wake_fd, &count, sizeof count) < 0) {
    }
    for (nfds_t i = 1; i < n; i++) {
        if (!fds[i].revents) continue;
        if (i % 2)
            read_events(owners[i]);
        else
            read_errors(owners[i], workers->options.max_log_bytes);
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

typedef struct {
    int control[2], events[2], errors[2], lock_fd, log_fd;
} plumbing;

static affect_status open_plumbing(plumbing *p, const char *folder, affect_error *err) {
    char path[AFFECT_PATH_MAX];
    AFFECT_TRY(affect_path_join(path, err, folder, "lock"));
    AFFECT_TRY(affect_file_lock(&p->lock_fd, path, err));
    AFFECT_TRY(affect_path_join(path, err, folder, "log"));
    p->log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (p->log_fd < 0) return affect_error_errno(err, errno, "%s", path);
    AFFECT_TRY(api_child_pipe(p->control, err));
    AFFECT_TRY(api_child_pipe(p->events, err));
    AFFECT_TRY(api_child_pipe(p->errors, err));
    fcntl(p->events[0], F_SETFL, O_NONBLOCK);
    fcntl(p->errors[0], F_SETFL, O_NONBLOCK);
    return AFFECT_STATUS_OK;
}

static void close_plumbing(plumbing *p) {
    int *all[] = {&p->control[0], &p->control[1], &p->events[0], &p->events[1],
                  &p->errors[0],  &p->errors[1],  &p->lock_fd,   &p->log_fd};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) api_child_close(all[i]);
}

static affect_status spawn(api_workers *workers, worker *w, const char *type, const char *folder,
                           affect_error *err) {
    plumbing p = {{-1, -1}, {-1, -1}, {-1, -1}, -1, -1};
    char spec[AFFECT_PATH_MAX];
    affect_status status = affect_path_join(spec, err, folder, "spec.json");
    if (status == AFFECT_STATUS_OK) status = open_plumbing(&p, folder, err);
    if (status == AFFECT_STATUS_OK) {
        const char *argv[] = {workers->binary, type,           "--spec", spec,
                              "--events",      "--supervised", NULL};
        const int fds[] = {p.control[0], p.events[1], p.errors[1], p.lock_fd};
        status = api_child_spawn(&w->pid, workers->binary, argv, fds, 4, err);
    }
    if (status == AFFECT_STATUS_OK) {
        w->control_fd = p.control[1];
        w->event_fd = p.events[0];
        w->error_fd = p.errors[0];
        w->log_fd = p.log_fd;
        p.control[1] = p.events[0] = p.errors[0] = p.log_fd = -1;
    }
    close_plumbing(&p);
    return status;
}

/* A second request may shorten the first one's grace, never lengthen it. */
static void ask_to_stop(worker *w, double grace_s) {
    double until = affect_clock_seconds() + grace_s;
    if (w->reaped) return;
    kill(w->pid, SIGTERM);
    if (w->kill_at == 0 || until < w->kill_at) w->kill_at = until;
}

affect_status api_workers_start(api_workers *workers, const char *job_id, const char *type,
                                const char *folder, affect_error *err) {
    worker *w = calloc(1, sizeof *w);
    if (!w) return affect_fail(err, NO_MEMORY, "no memory for a worker");
    snprintf(w->job_id, sizeof w->job_id, "%s", job_id);
    w->oom_kills_before = count_oom_kills();
    w->control_fd = w->event_fd = w->error_fd = w->log_fd = -1;
    affect_status status = spawn(workers, w, type, folder, err);
    if (status != AFFECT_STATUS_OK) {
        free(w);
        return status;
    }
    pthread_mutex_lock(&workers->lock);
    w->next = workers->first;
    workers->first = w;
    if (workers->stopping) ask_to_stop(w, workers->options.drain_grace_s);
    pthread_mutex_unlock(&workers->lock);
    wake(workers);
    return AFFECT_STATUS_OK;
}

bool api_workers_stop(api_workers *workers, const char *job_id) {
    bool found = false;
    pthread_mutex_lock(&workers->lock);
    for (worker *w = workers->first; w; w = w->next) {
        if (strcmp(w->job_id, job_id) != 0) continue;
        ask_to_stop(w, workers->options.cancel_grace_s);
        found = true;
    }
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
    if (status == AFFECT_STATUS_OK && options->binary)
        snprintf(made->binary, sizeof made->binary, "%s", options->binary);
    else if (status == AFFECT_STATUS_OK)
        status = api_child_binary(made->binary, err);
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
    for (worker *w = workers->first; w; w = w->next) ask_to_stop(w, grace);
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
    api_child_close(&workers->wake_fd);
    pthread_mutex_destroy(&workers->lock);
    free(workers);
}
