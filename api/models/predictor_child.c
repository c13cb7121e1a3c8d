/* Predictor processes: started, given batches, read and ended, all on the predictor's thread. A
 * batch is one packet of a socket pair with the shared memory of each of its requests; each answer
 * is a packet (engine/predict/serve.h has their members). A child that ends, whatever the reason,
 * fails what it had in hand; its slot gets a new one after a pause, which doubles with each failure
 * in a row, and not before the kernel has let the old process go. */
#include "api/models/predictor_state.h"
#include "engine/core/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_PAUSE_SECONDS 10.0 /* between two starts of a child that keeps dying */

static void set_state(api_predictor *predictor, api_predictor_child *c, api_child_state state) {
    pthread_mutex_lock(&predictor->lock);
    c->state = state;
    pthread_mutex_unlock(&predictor->lock);
}

static void count(api_predictor *predictor, uint64_t *counter, uint64_t n) {
    pthread_mutex_lock(&predictor->lock);
    *counter += n;
    pthread_mutex_unlock(&predictor->lock);
}

/* ---- Start and end ---- */

static int open_log(const api_predictor *predictor) {
    const char *path = predictor->log_path[0] ? predictor->log_path : "/dev/null";
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);
}

void api_predictor_bound_log(api_predictor *predictor, double now) {
    struct stat info;
    if (!predictor->log_path[0] || now < predictor->log_due) return;
    predictor->log_due = now + 1;
    if (stat(predictor->log_path, &info) == 0 && S_ISREG(info.st_mode) &&
        info.st_size > (off_t)predictor->options.max_log_bytes &&
        truncate(predictor->log_path, 0) != 0) {
    }
}

static affect_status spawn(api_predictor *predictor, api_predictor_child *c, affect_error *err) {
    int ends[2] = {-1, -1}, log_fd = open_log(predictor);
    affect_status status = AFFECT_STATUS_OK;
    if (log_fd < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        status = affect_error_errno(err, errno, "a predictor's descriptors");
    if (status == AFFECT_STATUS_OK) {
        char threads[16], batch[16];
        snprintf(threads, sizeof threads, "%d", predictor->options.n_threads);
        snprintf(batch, sizeof batch, "%d", predictor->options.max_batch);
        const char *argv[] = {
            predictor->binary, "predict", "--serve", "--device", predictor->device,
            "--threads",       threads,   "--batch", batch,      NULL};
        const int fds[] = {-1, log_fd, log_fd, ends[1]};
        const affect_child_command command = {predictor->binary, argv, fds, 4};
        status = affect_child_spawn(&c->process, &command, err);
    }
    affect_file_close(&ends[1]);
    affect_file_close(&log_fd);
    if (status == AFFECT_STATUS_OK)
        c->fd = ends[0];
    else
        affect_file_close(&ends[0]);
    return status;
}

static void plan_restart(api_predictor_child *c, double now) {
    double pause = 0.05;
    for (int i = 0; i < c->n_failures && pause < MAX_PAUSE_SECONDS; i++) pause *= 2;
    c->n_failures++;
    c->restart_at = now + (pause < MAX_PAUSE_SECONDS ? pause : MAX_PAUSE_SECONDS);
}

void api_predictor_start_child(api_predictor *predictor, api_predictor_child *c, double now) {
    if (!affect_child_reap(&c->process)) return;
    if (spawn(predictor, c, NULL) != AFFECT_STATUS_OK) {
        plan_restart(c, now);
        return;
    }
    c->started = now;
    set_state(predictor, c, API_CHILD_STARTING);
}

void api_predictor_end_child(api_predictor *predictor, api_predictor_child *c, double now,
                             affect_status status, const char *why) {
    set_state(predictor, c, API_CHILD_DEAD);
    affect_file_close(&c->fd);
    affect_child_kill(&c->process);
    plan_restart(c, now);
    for (size_t i = 0; i < c->n_slots; i++) {
        api_prediction *r = c->slots[i].request;
        c->slots[i].request = NULL;
        if (!r) continue;
        if (status == AFFECT_STATUS_DEVICE_LOST) count(predictor, &predictor->counts.n_lost, 1);
        api_prediction_fail(r, status, why);
    }
    c->n_slots = c->n_open = 0;
}

void api_predictor_drop_late(api_predictor *predictor, api_predictor_child *c, double now) {
    for (size_t i = 0; i < c->n_slots; i++) {
        api_prediction *r = c->slots[i].request;
        if (!r || now < r->deadline) continue;
        c->slots[i].request = NULL;
        count(predictor, &predictor->counts.n_expired, 1);
        api_prediction_fail(r, AFFECT_STATUS_TIMEOUT, "the prediction took too long");
    }
}

/* ---- Batches out ---- */

static void set_windows(affect_json *json, const affect_time_window *windows) {
    const affect_modality *m;
    for (size_t i = 0; (m = affect_modality_at(i)); i++) {
        if (!windows[i].limited) continue;
        affect_json_set_number(json, m->window[0], windows[i].start_s);
        if (isfinite(windows[i].end_s))
            affect_json_set_number(json, m->window[1], windows[i].end_s);
    }
}

static affect_json *request_json(const api_prediction *r) {
    affect_json *json = affect_json_new_object();
    affect_json_set_number(json, "id", (double)r->id);
    affect_json *parts = affect_json_set_object(json, "parts");
    for (size_t i = 0; i < r->n_parts; i++) {
        affect_json *part = affect_json_set_object(parts, r->parts[i].name);
        affect_json_set_number(part, "offset", (double)r->parts[i].offset);
        affect_json_set_number(part, "size", (double)r->parts[i].size);
    }
    set_windows(json, r->windows);
    if (r->calibrated) affect_json_set_bool(json, "calibrated", true);
    return json;
}

static char *batch_text(const api_predictor_child *c) {
    affect_json *json = affect_json_new_object();
    affect_json_set_string(json, "model", c->slots[0].request->model);
    affect_json *requests = affect_json_set_array(json, "requests");
    for (size_t i = 0; i < c->n_slots; i++)
        affect_json_append(requests, request_json(c->slots[i].request));
    char *text = affect_json_text(json);
    affect_json_free(json);
    return text;
}

static bool send_batch(const api_predictor_child *c) {
    char *text = batch_text(c);
    if (!text) return false;
    union {
        char bytes[CMSG_SPACE(API_PREDICTOR_MAX_BATCH * sizeof(int))];
        struct cmsghdr header; /* for its alignment */
    } control = {0};
    size_t n_bytes = c->n_slots * sizeof(int);
    struct iovec data = {text, strlen(text)};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = CMSG_SPACE(n_bytes)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(n_bytes);
    for (size_t i = 0; i < c->n_slots; i++)
        memcpy(CMSG_DATA(header) + i * sizeof(int), &c->slots[i].request->memory_fd, sizeof(int));
    ssize_t n = sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    free(text);
    return n >= 0;
}

void api_predictor_hand_over(api_predictor *predictor, api_predictor_child *c,
                             api_prediction *batch, double now) {
    c->n_slots = 0;
    for (api_prediction *r = batch, *next; r; r = next) {
        next = r->next;
        r->next = NULL;
        c->slots[c->n_slots++] = (api_child_slot){r->id, r};
    }
    c->n_open = c->n_slots;
    c->dispatched = now;
    set_state(predictor, c, API_CHILD_BUSY);
    if (!send_batch(c))
        api_predictor_end_child(predictor, c, now, AFFECT_STATUS_DEVICE_LOST,
                                "the predictor is gone; try again");
}

/* ---- Answers in ---- */

static affect_status status_of_name(const char *name) {
    for (int s = 0; s < AFFECT_STATUS_COUNT; s++)
        if (strcmp(affect_status_name((affect_status)s), name) == 0) return (affect_status)s;
    return AFFECT_STATUS_INTERNAL;
}

static void answer_request(api_prediction *r, affect_json *answer) {
    affect_status status = status_of_name(affect_json_get_string(answer, "status", ""));
    if (status == AFFECT_STATUS_OK) {
        affect_json *result = affect_json_detach(answer, "result");
        if (affect_json_is_object(result)) {
            api_prediction_finish(r, status, result, NULL);
            return;
        }
        affect_json_free(result);
        status = AFFECT_STATUS_INTERNAL;
    }
    affect_error error = {0};
    affect_error_set(&error, status, "%s",
                     affect_json_get_string(answer, "error", "the predictor gave no reason"));
    snprintf(error.pointer, sizeof error.pointer, "%s",
             affect_json_get_string(answer, "pointer", ""));
    api_prediction_finish(r, status, NULL, &error);
}

/* False: no open request has that id. The child is idle before its last answer is passed on, so
 * that a client that reads the answer finds the child free. */
static bool handle_answer(api_predictor *predictor, api_predictor_child *c, affect_json *answer) {
    double id = affect_json_get_number(answer, "id", -1);
    for (size_t i = 0; i < c->n_slots; i++) {
        api_prediction *r = c->slots[i].request;
        if (c->slots[i].id == 0 || (double)c->slots[i].id != id) continue;
        c->slots[i] = (api_child_slot){0};
        c->n_failures = 0;
        if (--c->n_open == 0) {
            c->n_slots = 0;
            set_state(predictor, c, API_CHILD_IDLE);
        }
        if (r) answer_request(r, answer);
        return true;
    }
    return false;
}

static bool handle_packet(api_predictor *predictor, api_predictor_child *c, size_t size) {
    affect_json *packet = NULL;
    if (affect_json_parse(&packet, predictor->packet, size, NULL) != AFFECT_STATUS_OK) return false;
    bool good;
    if (c->state == API_CHILD_STARTING) {
        good =
            affect_child_check_handshake(packet, API_PREDICTOR_PROTOCOL, NULL) == AFFECT_STATUS_OK;
        if (good) set_state(predictor, c, API_CHILD_IDLE);
    } else {
        good = handle_answer(predictor, c, packet);
    }
    affect_json_free(packet);
    return good;
}

bool api_predictor_read_child(api_predictor *predictor, api_predictor_child *c) {
    for (;;) {
        ssize_t n =
            recv(c->fd, predictor->packet, API_PREDICTOR_MAX_PACKET, MSG_DONTWAIT | MSG_TRUNC);
        if (n < 0) return errno == EAGAIN || errno == EINTR;
        if (n == 0 || n > (ssize_t)API_PREDICTOR_MAX_PACKET) return false;
        if (!handle_packet(predictor, c, (size_t)n)) return false;
    }
}
