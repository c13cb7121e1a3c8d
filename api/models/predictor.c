/* Predictors: the thread that serves the children, start, stop and counts. The thread polls the
 * children's sockets and an eventfd that a new request writes to; on each turn it ends and restarts
 * children, answers requests that are late, and hands batches to those that are idle. */
#include "api/models/predictor.h"

#include "api/models/predictor_state.h"
#include "engine/core/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define HANDSHAKE_SECONDS 60.0 /* from start to handshake */
#define SWEEP_SECONDS     0.05 /* between checks of deadlines, while there is work */
enum { MAX_CHILDREN = API_PREDICTOR_MAX_CHILDREN };

void api_predictor_options_default(api_predictor_options *options) {
    *options = (api_predictor_options){.device = "auto",
                                       .n_children = 1,
                                       .max_queued = 64,
                                       .max_batch = 8,
                                       .batch_window_s = 0.002,
                                       .deadline_s = 30,
                                       .max_log_bytes = 1u << 20};
}

/* ---- The thread ---- */

static void end_lost(api_predictor *predictor, api_predictor_child *c, double now) {
    api_predictor_end_child(predictor, c, now, AFFECT_STATUS_DEVICE_LOST,
                            "the predictor ended while it worked on this; try again");
}

/* A batch that takes as long as a request may is taken for hung: all that waited for it have their
 * answers by then. */
static void check_child(api_predictor *predictor, api_predictor_child *c, double now) {
    if (c->state != API_CHILD_DEAD && affect_child_reap(&c->process)) {
        api_predictor_read_child(predictor, c); /* others may hold its socket open */
        end_lost(predictor, c, now);
    }
    if (c->state == API_CHILD_DEAD && now >= c->restart_at)
        api_predictor_start_child(predictor, c, now);
    if (c->state == API_CHILD_STARTING && now > c->started + HANDSHAKE_SECONDS)
        api_predictor_end_child(predictor, c, now, AFFECT_STATUS_TIMEOUT, "");
    if (c->state != API_CHILD_BUSY) return;
    api_predictor_drop_late(predictor, c, now);
    if (now > c->dispatched + predictor->options.deadline_s)
        api_predictor_end_child(predictor, c, now, AFFECT_STATUS_TIMEOUT,
                                "the prediction took too long and was stopped");
}

static int count_idle(const api_predictor *predictor) {
    int n = 0;
    for (int i = 0; i < predictor->options.n_children; i++)
        n += predictor->children[i].state == API_CHILD_IDLE;
    return n;
}

static void dispatch(api_predictor *predictor, double now) {
    predictor->next_due = 0;
    for (int i = 0; i < predictor->options.n_children; i++) {
        api_predictor_child *c = &predictor->children[i];
        if (c->state != API_CHILD_IDLE) continue;
        api_prediction *batch = api_predictor_take_batch(predictor, count_idle(predictor), now);
        if (!batch) return;
        api_predictor_hand_over(predictor, c, batch, now);
    }
}

/* Until a packet, a wake-up, the end of a batch's window, or the next check of deadlines. */
static double seconds_to_wait(const api_predictor *predictor, double now) {
    double seconds = 1;
    for (int i = 0; i < predictor->options.n_children; i++)
        if (predictor->children[i].state != API_CHILD_IDLE) seconds = SWEEP_SECONDS;
    if (predictor->next_due > 0 && predictor->next_due - now < seconds)
        seconds = predictor->next_due > now ? predictor->next_due - now : 0;
    return seconds;
}

static void wait_for_packets(api_predictor *predictor) {
    struct pollfd fds[MAX_CHILDREN + 1];
    int n = predictor->options.n_children;
    fds[n] = (struct pollfd){.fd = predictor->wake_fd, .events = POLLIN};
    for (int i = 0; i < n; i++) {
        const api_predictor_child *c = &predictor->children[i];
        fds[i] = (struct pollfd){.fd = c->state != API_CHILD_DEAD ? c->fd : -1, .events = POLLIN};
    }
    double seconds = seconds_to_wait(predictor, affect_clock_seconds());
    struct timespec timeout = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    if (ppoll(fds, (nfds_t)n + 1, &timeout, NULL) <= 0) return;
    uint64_t wakes;
    if (fds[n].revents && read(predictor->wake_fd, &wakes, sizeof wakes) < 0) {
    }
    for (int i = 0; i < n; i++) {
        api_predictor_child *c = &predictor->children[i];
        if (fds[i].revents && !api_predictor_read_child(predictor, c))
            end_lost(predictor, c, affect_clock_seconds());
    }
}

static bool is_stopping(api_predictor *predictor) {
    pthread_mutex_lock(&predictor->lock);
    bool stopping = predictor->stopping;
    pthread_mutex_unlock(&predictor->lock);
    return stopping;
}

static void *predictor_thread(void *context) {
    api_predictor *predictor = context;
    while (!is_stopping(predictor)) {
        double now = affect_clock_seconds();
        api_predictor_sweep(predictor, now);
        api_predictor_bound_log(predictor, now);
        for (int i = 0; i < predictor->options.n_children; i++)
            check_child(predictor, &predictor->children[i], now);
        dispatch(predictor, now);
        wait_for_packets(predictor);
    }
    for (int i = 0; i < predictor->options.n_children; i++)
        if (predictor->children[i].state != API_CHILD_DEAD)
            api_predictor_end_child(predictor, &predictor->children[i], 0, AFFECT_STATUS_CANCELLED,
                                    "the server is stopping");
    for (api_prediction *r; (r = api_predictor_take_one(predictor));)
        api_prediction_fail(r, AFFECT_STATUS_CANCELLED, "the server is stopping");
    double until = affect_clock_seconds() + 1; /* for all of them together */
    for (int i = 0; i < predictor->options.n_children; i++)
        affect_child_wait(&predictor->children[i].process, until - affect_clock_seconds());
    return NULL;
}

/* ---- Start, stop, counts ---- */

static affect_status start(api_predictor *predictor, affect_error *err) {
    predictor->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (predictor->wake_fd < 0) return affect_error_errno(err, errno, "eventfd");
    predictor->packet = malloc(API_PREDICTOR_MAX_PACKET);
    if (!predictor->packet) return affect_fail(err, NO_MEMORY, "no memory for predictors");
    int e = pthread_create(&predictor->thread, NULL, predictor_thread, predictor);
    if (e) return affect_error_errno(err, e, "starting the predictors' thread");
    predictor->thread_started = true;
    return AFFECT_STATUS_OK;
}

affect_status api_predictor_create(api_predictor **predictor, const api_predictor_options *options,
                                   affect_error *err) {
    if (options->n_children < 1 || options->n_children > MAX_CHILDREN)
        return affect_fail(err, INVALID, "%d predictors (need 1..%d)", options->n_children,
                           MAX_CHILDREN);
    if (options->max_batch < 1 || options->max_batch > API_PREDICTOR_MAX_BATCH)
        return affect_fail(err, INVALID, "batches of %d predictions (need 1..%d)",
                           options->max_batch, API_PREDICTOR_MAX_BATCH);
    api_predictor *made = calloc(1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "no memory for predictors");
    made->options = *options;
    snprintf(made->binary, sizeof made->binary, "%s", options->binary);
    snprintf(made->device, sizeof made->device, "%s", options->device ? options->device : "auto");
    snprintf(made->log_path, sizeof made->log_path, "%s",
             options->log_path ? options->log_path : "");
    made->last = &made->first;
    made->wake_fd = -1;
    for (int i = 0; i < MAX_CHILDREN; i++) made->children[i].fd = -1;
    pthread_mutex_init(&made->lock, NULL);
    affect_status status = start(made, err);
    if (status == AFFECT_STATUS_OK)
        *predictor = made;
    else
        api_predictor_free(made);
    return status;
}

void api_predictor_stop(api_predictor *predictor) {
    if (!predictor->thread_started) return;
    pthread_mutex_lock(&predictor->lock);
    predictor->stopping = true;
    pthread_mutex_unlock(&predictor->lock);
    api_predictor_wake(predictor);
    pthread_join(predictor->thread, NULL);
    predictor->thread_started = false;
}

void api_predictor_free(api_predictor *predictor) {
    if (!predictor) return;
    api_predictor_stop(predictor);
    affect_file_close(&predictor->wake_fd);
    free(predictor->packet);
    pthread_mutex_destroy(&predictor->lock);
    free(predictor);
}

void api_predictor_count(api_predictor *predictor, api_predictor_counts *counts) {
    pthread_mutex_lock(&predictor->lock);
    *counts = predictor->counts;
    for (int i = 0; i < predictor->options.n_children; i++) {
        counts->n_ready += predictor->children[i].state >= API_CHILD_IDLE;
        counts->n_busy += predictor->children[i].state == API_CHILD_BUSY;
    }
    pthread_mutex_unlock(&predictor->lock);
}

bool api_predictor_ready(api_predictor *predictor) {
    api_predictor_counts counts;
    api_predictor_count(predictor, &counts);
    return counts.n_ready > 0;
}
