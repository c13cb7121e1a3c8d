/* How a worker prints events and learns that it must stop.
 *
 * Each event is one line, flushed, under the lock. A handler of SIGTERM and SIGINT, and a thread
 * that reads stdin to its end, set a flag that the work checks between its steps. */
#include "engine/train/job_event.h"

#include "engine/core/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

struct affect_job_events {
    FILE *lines;
    bool terminal;
    bool bar_shown;
    pthread_mutex_t lock; /* guards the streams and all below */
    double started, last_progress;
    size_t last_done, done_at_start;
    bool ended; /* the last progress was that of all */
    char what[32];
};

affect_job_events *affect_job_events_create(FILE *lines) {
    affect_job_events *events = calloc(1, sizeof *events);
    if (!events) return NULL;
    events->lines = lines;
    events->terminal = !lines && isatty(STDERR_FILENO);
    pthread_mutex_init(&events->lock, NULL);
    return events;
}

void affect_job_events_free(affect_job_events *events) {
    if (!events) return;
    pthread_mutex_destroy(&events->lock);
    free(events);
}

static void write_line(affect_job_events *events, const char *kind, affect_json *members) {
    affect_buffer line = {0};
    affect_buffer_append_string(&line, "{\"event\":");
    affect_json_print_string(&line, kind);
    for (affect_json *m = affect_json_first(members); m; m = affect_json_next(m)) {
        affect_buffer_append(&line, ",", 1);
        affect_json_print_string(&line, affect_json_name(m));
        affect_buffer_append(&line, ":", 1);
        affect_json_print(&line, m);
    }
    affect_buffer_append_string(&line, "}\n");
    if (!line.failed) {
        fwrite(line.data, 1, line.size, events->lines);
        fflush(events->lines);
    }
    affect_buffer_free(&line);
}

static void write_text(affect_job_events *events, const char *text) {
    if (events->bar_shown) fputs("\r\033[K", stderr);
    events->bar_shown = false;
    fprintf(stderr, "%s\n", text);
}

void affect_job_events_emit(affect_job_events *events, const char *kind, affect_json *members,
                            const char *text) {
    pthread_mutex_lock(&events->lock);
    if (events->lines)
        write_line(events, kind, members);
    else if (text)
        write_text(events, text);
    pthread_mutex_unlock(&events->lock);
    affect_json_free(members);
}

void affect_job_events_handshake(affect_job_events *events) {
    affect_json *members = affect_json_new_object();
    affect_json_set_number(members, "protocol", AFFECT_JOB_PROTOCOL);
    affect_json_set_string(members, "version", AFFECT_VERSION);
    affect_json_set_number(members, "pid", (double)getpid());
    affect_job_events_emit(events, "hello", members, NULL);
}

void affect_job_events_state(affect_job_events *events, const char *state) {
    affect_json *members = affect_json_new_object();
    affect_json_set_string(members, "state", state);
    affect_job_events_emit(events, "state", members, NULL);
}

static void show_bar(affect_job_events *events, double fraction, size_t done, size_t total,
                     double rate, double eta_seconds) {
    enum { WIDTH = 30 };
    char bar[WIDTH + 1];
    int filled = (int)(fraction * WIDTH);
    for (int i = 0; i < WIDTH; i++) bar[i] = i < filled ? '=' : ' ';
    bar[WIDTH] = '\0';
    fprintf(stderr, "\r\033[K%s [%s] %zu/%zu  %.1f/s  %.0f s left", events->what, bar, done, total,
            rate, eta_seconds);
    fflush(stderr);
    events->bar_shown = true;
    if (done == total) {
        fputs("\r\033[K", stderr);
        events->bar_shown = false;
    }
}

void affect_job_events_progress(affect_job_events *events, const char *what, size_t done,
                                size_t total) {
    double now = affect_clock_seconds();
    pthread_mutex_lock(&events->lock);
    if (events->ended || done < events->last_done ||
        strncmp(events->what, what, sizeof events->what - 1) != 0) {
        snprintf(events->what, sizeof events->what, "%s", what);
        events->started = now;
        events->done_at_start = done;
        events->last_progress = 0;
    }
    events->last_done = done;
    events->ended = done == total;
    bool due = done == total || now - events->last_progress >= 0.1;
    if (due) events->last_progress = now;
    double seconds = now - events->started, fraction = total ? (double)done / (double)total : 1;
    double rate = seconds > 0 ? (double)(done - events->done_at_start) / seconds : 0;
    double eta_seconds = rate > 0 ? (double)(total - done) / rate : 0;
    if (due && events->terminal) show_bar(events, fraction, done, total, rate, eta_seconds);
    if (due && events->lines) {
        affect_json *members = affect_json_new_object();
        affect_json_set_string(members, "what", what);
        affect_json_set_number(members, "fraction", fraction);
        affect_json_set_number(members, "done", (double)done);
        affect_json_set_number(members, "total", (double)total);
        bool known = rate > 0;
        affect_json_set(members, "rate",
                        known ? affect_json_new_number(rate) : affect_json_new_null());
        affect_json_set(members, "eta_seconds",
                        known || done == total ? affect_json_new_number(eta_seconds)
                                               : affect_json_new_null());
        write_line(events, "progress", members);
        affect_json_free(members);
    }
    pthread_mutex_unlock(&events->lock);
}

void affect_job_events_message(affect_job_events *events, const char *level, const char *format,
                               ...) {
    char text[1024], shown[1100];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(shown, sizeof shown, "%s%s", strcmp(level, "warning") == 0 ? "warning: " : "", text);
    affect_json *members = affect_json_new_object();
    affect_json_set_string(members, "message", text);
    affect_job_events_emit(events, level, members, shown);
}

const char *affect_job_reason(affect_status status) {
    switch (status) {
    case AFFECT_STATUS_OK:
        return NULL;
    case AFFECT_STATUS_CANCELLED:
        return "user";
    case AFFECT_STATUS_DIVERGED:
        return "diverged";
    case AFFECT_STATUS_NO_MEMORY:
        return "oom";
    case AFFECT_STATUS_NO_SPACE:
        return "no_space";
    case AFFECT_STATUS_DEVICE_UNAVAILABLE:
    case AFFECT_STATUS_DEVICE_LOST:
        return "device";
    case AFFECT_STATUS_IO:
        return "io";
    case AFFECT_STATUS_CONFLICT:
    case AFFECT_STATUS_BUSY:
        return "conflict";
    case AFFECT_STATUS_TIMEOUT:
        return "deadline";
    case AFFECT_STATUS_INVALID:
    case AFFECT_STATUS_SHAPE:
    case AFFECT_STATUS_MALFORMED:
    case AFFECT_STATUS_NOT_FOUND:
    case AFFECT_STATUS_UNSUPPORTED:
    case AFFECT_STATUS_TOO_LARGE:
        return "dataset_invalid"; /* what the job was given */
    default:
        return "crash";
    }
}

void affect_job_events_end(affect_job_events *events, affect_status status,
                           const affect_error *error, affect_json *result) {
    affect_json *members = affect_json_new_object();
    affect_json_set_string(members, "state",
                           status == AFFECT_STATUS_OK          ? "succeeded"
                           : status == AFFECT_STATUS_CANCELLED ? "cancelled"
                                                               : "failed");
    affect_json_set_string(members, "reason", affect_job_reason(status));
    char text[600];
    if (status == AFFECT_STATUS_OK) {
        affect_json_set(members, "error", affect_json_new_null());
        snprintf(text, sizeof text, "done");
    } else {
        affect_json *problem = affect_json_set_object(members, "error");
        affect_json_set_string(problem, "code", affect_status_name(status));
        affect_json_set_string(problem, "message", error->message);
        if (error->pointer[0]) affect_json_set_string(problem, "pointer", error->pointer);
        snprintf(text, sizeof text, "%s: %s%s%s%s",
                 status == AFFECT_STATUS_CANCELLED ? "cancelled" : "failed", error->message,
                 *error->pointer ? " (at " : "", error->pointer, *error->pointer ? ")" : "");
    }
    affect_json_set(members, "result", result ? result : affect_json_new_null());
    affect_job_events_emit(events, "end", members, text);
}

/* Set by a signal or by the thread that watches the control pipe. */
static atomic_bool cancelled;
_Static_assert(ATOMIC_BOOL_LOCK_FREE == 2, "a signal may set it");

static void on_signal(int number) {
    (void)number;
    atomic_store(&cancelled, true);
}

bool affect_job_cancelled(void) {
    return atomic_load_explicit(&cancelled, memory_order_relaxed);
}

/* Waits for the server to close (or lose) the control pipe. */
static void *watch_stdin(void *unused) {
    (void)unused;
    char byte;
    for (;;) {
        ssize_t n = read(STDIN_FILENO, &byte, 1);
        if (n == 0 || (n < 0 && errno != EINTR)) break;
    }
    atomic_store(&cancelled, true);
    return NULL;
}

static affect_status lower_standing(affect_error *err) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        return affect_error_errno(err, errno, "prctl");
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) { /* a courtesy: a container may not offer it */
        if (write(fd, "500", 3) < 0) {
        }
        close(fd);
    }
    return AFFECT_STATUS_OK;
}

affect_status affect_job_supervise(bool supervised, affect_error *err) {
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (!supervised) return AFFECT_STATUS_OK;
    AFFECT_TRY(lower_standing(err));
    pthread_t thread;
    int error_number = pthread_create(&thread, NULL, watch_stdin, NULL);
    if (error_number) return affect_error_errno(err, error_number, "watching the control pipe");
    pthread_detach(thread);
    return AFFECT_STATUS_OK;
}
