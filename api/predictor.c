/* Predictors; see predictor.h. */
#include "api/predictor.h"

#include "api/child.h"
#include "engine/core/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROTOCOL          1
#define MAX_PACKET        (128u << 10)
#define HELLO_SECONDS     60.0 /* from start to hello */
#define MAX_PAUSE_SECONDS 10.0 /* between two starts of a child that keeps dying */
#define MAX_REQUEST_PARTS 8
enum { MAX_CHILDREN = 64, SWEEP_MS = 50 };

typedef struct {
    char name[32];
    size_t offset, size;
} part_place;

typedef struct request {
    int64_t id;
    char model[AFFECT_PATH_MAX];
    part_place parts[MAX_REQUEST_PARTS];
    size_t n_parts;
    int memory_fd;
    bool has_start, has_end;
    double start_s, end_s, deadline;
    void (*done)(void *context, affect_status status, affect_json *result,
                 const affect_error *error);
    bool (*gone)(void *context);
    void *context;
    struct request *next;
} request;

typedef enum { CHILD_DEAD, CHILD_STARTING, CHILD_IDLE, CHILD_BUSY } child_state;

typedef struct {
    child_state state;
    pid_t pid;
    int fd;
    double started, restart_at;
    int n_failures; /* in a row, without an answer between */
    request *current;
} child;

struct api_predictor {
    char binary[AFFECT_PATH_MAX], device[32], log_path[AFFECT_PATH_MAX];
    api_predictor_options options;
    child children[MAX_CHILDREN]; /* the thread's own, but states are read under the lock */
    int wake_fd;
    char *packet; /* MAX_PACKET, the thread's own */
    pthread_t thread;
    bool thread_started;
    pthread_mutex_t lock; /* guards all below, and writing of children[].state */
    request *first, **last;
    int n_queued;
    int64_t next_id;
    bool stopping;
};

void api_predictor_options_default(api_predictor_options *options) {
    *options = (api_predictor_options){.device = "auto",
                                       .n_children = 1,
                                       .max_queued = 64,
                                       .deadline_s = 30,
                                       .max_log_bytes = 1u << 20};
}

static void wake(api_predictor *predictor) {
    uint64_t one = 1;
    if (write(predictor->wake_fd, &one, sizeof one) < 0) { /* full: it is awake */
    }
}

static void set_state(api_predictor *predictor, child *c, child_state state) {
    pthread_mutex_lock(&predictor->lock);
    c->state = state;
    pthread_mutex_unlock(&predictor->lock);
}

/* ---- Requests ---- */

static void free_request(request *r) {
    if (!r) return;
    api_child_close(&r->memory_fd);
    free(r);
}

static void finish(request *r, affect_status status, affect_json *result,
                   const affect_error *error) {
    r->done(r->context, status, result, error);
    free_request(r);
}

static void finish_failed(request *r, affect_status status, const char *message) {
    affect_error error = {0};
    affect_error_set(&error, status, "%s", message);
    finish(r, status, NULL, &error);
}

static affect_status write_all(int fd, const char *data, size_t size, affect_error *err) {
    while (size) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return affect_error_errno(err, errno, "shared memory of a prediction");
        data += n;
        size -= (size_t)n;
    }
    return AFFECT_STATUS_OK;
}

static affect_status copy_file(int to, const char *path, affect_error *err) {
    char bytes[1 << 16];
    int from = open(path, O_RDONLY | O_CLOEXEC);
    if (from < 0) return affect_error_errno(err, errno, "a spooled part");
    affect_status status = AFFECT_STATUS_OK;
    while (status == AFFECT_STATUS_OK) {
        ssize_t n = read(from, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) status = affect_error_errno(err, errno, "a spooled part");
        if (n <= 0) break;
        status = write_all(to, bytes, (size_t)n, err);
    }
    close(from);
    return status;
}

/* All parts, one behind the other, in memory that nobody can change any more. */
static affect_status fill_memory(request *r, const api_predictor_request *given,
                                 affect_error *err) {
    if (given->n_parts > MAX_REQUEST_PARTS)
        return affect_fail(err, INVALID, "at most %d parts", MAX_REQUEST_PARTS);
    r->memory_fd = memfd_create("prediction", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (r->memory_fd < 0) return affect_error_errno(err, errno, "shared memory of a prediction");
    size_t offset = 0;
    for (size_t i = 0; i < given->n_parts; i++) {
        const api_predictor_part *part = &given->parts[i];
        snprintf(r->parts[i].name, sizeof r->parts[i].name, "%s", part->name);
        r->parts[i].offset = offset;
        r->parts[i].size = part->size;
        offset += part->size;
        AFFECT_TRY(part->data ? write_all(r->memory_fd, part->data, part->size, err)
                              : copy_file(r->memory_fd, part->path, err));
    }
    r->n_parts = given->n_parts;
    int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
    if (fcntl(r->memory_fd, F_ADD_SEALS, seals) != 0)
        return affect_error_errno(err, errno, "sealing a prediction's memory");
    return AFFECT_STATUS_OK;
}

/* Whether one more may wait; asked before the parts are copied too, so that a full queue costs
 * nothing. */
static affect_status check_room(const api_predictor *predictor, affect_error *err) {
    if (predictor->stopping) return affect_fail(err, CANCELLED, "the server is stopping");
    if (predictor->n_queued < predictor->options.max_queued) return AFFECT_STATUS_OK;
    return affect_fail(err, BUSY, "%d predictions wait already (at most %d)", predictor->n_queued,
                       predictor->options.max_queued);
}

static affect_status enqueue(api_predictor *predictor, request *r, affect_error *err) {
    pthread_mutex_lock(&predictor->lock);
    affect_status status = check_room(predictor, err);
    if (status == AFFECT_STATUS_OK && r) {
        r->id = ++predictor->next_id;
        *predictor->last = r;
        predictor->last = &r->next;
        predictor->n_queued++;
    }
    pthread_mutex_unlock(&predictor->lock);
    return status;
}

affect_status api_predictor_submit(api_predictor *predictor, const api_predictor_request *given,
                                   affect_error *err) {
    AFFECT_TRY(enqueue(predictor, NULL, err));
    request *r = calloc(1, sizeof *r);
    if (!r) return affect_fail(err, NO_MEMORY, "no memory for a prediction");
    r->memory_fd = -1;
    snprintf(r->model, sizeof r->model, "%s", given->model);
    r->has_start = given->has_start;
    r->has_end = given->has_end;
    r->start_s = given->start_s;
    r->end_s = given->end_s;
    r->deadline = affect_clock_seconds() + predictor->options.deadline_s;
    r->done = given->done;
    r->gone = given->gone;
    r->context = given->context;
    affect_status status = fill_memory(r, given, err);
    if (status == AFFECT_STATUS_OK) status = enqueue(predictor, r, err);
    if (status != AFFECT_STATUS_OK)
        free_request(r);
    else
        wake(predictor);
    return status;
}

/* The oldest request, or NULL. */
static request *dequeue(api_predictor *predictor) {
    pthread_mutex_lock(&predictor->lock);
    request *r = predictor->first;
    if (r) {
        predictor->first = r->next;
        if (!r->next) predictor->last = &predictor->first;
        r->next = NULL;
        predictor->n_queued--;
    }
    pthread_mutex_unlock(&predictor->lock);
    return r;
}

/* Takes out those that waited too long. */
static request *dequeue_late(api_predictor *predictor, double now) {
    request *late = NULL;
    pthread_mutex_lock(&predictor->lock);
    for (request **at = &predictor->first; *at;) {
        request *r = *at;
        if (now < r->deadline) {
            at = &r->next;
            continue;
        }
        *at = r->next;
        r->next = late;
        late = r;
        predictor->n_queued--;
    }
    predictor->last = &predictor->first;
    while (*predictor->last) predictor->last = &(*predictor->last)->next;
    pthread_mutex_unlock(&predictor->lock);
    return late;
}

/* ---- Children ---- */

static int open_log(const api_predictor *predictor) {
    const char *path = predictor->log_path[0] ? predictor->log_path : "/dev/null";
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd >= 0 && predictor->log_path[0] &&
        lseek(fd, 0, SEEK_END) > (off_t)predictor->options.max_log_bytes && ftruncate(fd, 0) != 0) {
    }
    return fd;
}

static affect_status spawn(api_predictor *predictor, child *c, affect_error *err) {
    int ends[2] = {-1, -1}, log_fd = open_log(predictor);
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    affect_status status = AFFECT_STATUS_OK;
    if (log_fd < 0 || null_fd < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        status = affect_error_errno(err, errno, "a predictor's descriptors");
    if (status == AFFECT_STATUS_OK) {
        char threads[16];
        snprintf(threads, sizeof threads, "%d", predictor->options.n_threads);
        const char *argv[] = {predictor->binary, "predict",   "--serve", "--device",
                              predictor->device, "--threads", threads,   NULL};
        const int fds[] = {null_fd, log_fd, log_fd, ends[1]};
        status = api_child_spawn(&c->pid, predictor->binary, argv, fds, 4, err);
    }
    api_child_close(&ends[1]);
    api_child_close(&log_fd);
    api_child_close(&null_fd);
    if (status == AFFECT_STATUS_OK)
        c->fd = ends[0];
    else
        api_child_close(&ends[0]);
    return status;
}

static void plan_restart(child *c, double now) {
    double pause = 0.05;
    for (int i = 0; i < c->n_failures && pause < MAX_PAUSE_SECONDS; i++) pause *= 2;
    c->n_failures++;
    c->restart_at = now + (pause < MAX_PAUSE_SECONDS ? pause : MAX_PAUSE_SECONDS);
}

static void start_child(api_predictor *predictor, child *c, double now) {
    if (spawn(predictor, c, NULL) != AFFECT_STATUS_OK) {
        plan_restart(c, now);
        return;
    }
    c->started = now;
    set_state(predictor, c, CHILD_STARTING);
}

/* Ends the child, whatever it does; its request ends with the status. */
static void end_child(api_predictor *predictor, child *c, double now, affect_status status,
                      const char *why) {
    set_state(predictor, c, CHILD_DEAD);
    api_child_close(&c->fd);
    kill(-c->pid, SIGKILL);
    while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR) {
    }
    plan_restart(c, now);
    request *r = c->current;
    c->current = NULL;
    if (r) finish_failed(r, status, why);
}

static affect_status status_of_name(const char *name) {
    for (int s = 0; s < AFFECT_STATUS_COUNT; s++)
        if (strcmp(affect_status_name((affect_status)s), name) == 0) return (affect_status)s;
    return AFFECT_STATUS_INTERNAL;
}

static void take_answer(api_predictor *predictor, child *c, affect_json *answer) {
    request *r = c->current;
    affect_status status = status_of_name(affect_json_get_string(answer, "status", ""));
    c->current = NULL;
    c->n_failures = 0;
    set_state(predictor, c, CHILD_IDLE);
    if (status == AFFECT_STATUS_OK) {
        affect_json *result = affect_json_detach(answer, "result");
        if (affect_json_is_object(result)) {
            finish(r, status, result, NULL);
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
    finish(r, status, NULL, &error);
}

/* One packet of a child; false: it is lost, or speaks another language. */
static bool read_packet(api_predictor *predictor, child *c) {
    ssize_t n = recv(c->fd, predictor->packet, MAX_PACKET, MSG_DONTWAIT | MSG_TRUNC);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    if (n == 0 || n > (ssize_t)MAX_PACKET) return false;
    affect_json *packet = NULL;
    if (affect_json_parse(&packet, predictor->packet, (size_t)n, NULL) != AFFECT_STATUS_OK)
        return false;
    bool good = false;
    if (c->state == CHILD_STARTING) {
        good = strcmp(affect_json_get_string(packet, "event", ""), "hello") == 0 &&
               affect_json_get_number(packet, "protocol", 0) == PROTOCOL;
        if (good) set_state(predictor, c, CHILD_IDLE);
    } else if (c->current && affect_json_get_number(packet, "id", -1) == (double)c->current->id) {
        good = true;
        take_answer(predictor, c, packet);
    }
    affect_json_free(packet);
    return good;
}

static char *request_text(const request *r) {
    affect_json *json = affect_json_new_object();
    affect_json_set_number(json, "id", (double)r->id);
    affect_json_set_string(json, "model", r->model);
    affect_json *parts = affect_json_set_object(json, "parts");
    for (size_t i = 0; i < r->n_parts; i++) {
        affect_json *part = affect_json_set_object(parts, r->parts[i].name);
        affect_json_set_number(part, "offset", (double)r->parts[i].offset);
        affect_json_set_number(part, "size", (double)r->parts[i].size);
    }
    if (r->has_start) affect_json_set_number(json, "start", r->start_s);
    if (r->has_end) affect_json_set_number(json, "end", r->end_s);
    char *text = affect_json_text(json);
    affect_json_free(json);
    return text;
}

static bool send_request(child *c, const request *r) {
    char *text = request_text(r);
    if (!text) return false;
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr header; /* for its alignment */
    } control = {0};
    struct iovec data = {text, strlen(text)};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &r->memory_fd, sizeof(int));
    ssize_t n = sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    free(text);
    return n >= 0;
}

/* Gives the child work, if there is any that is still wanted. */
static void dispatch(api_predictor *predictor, child *c, double now) {
    request *r;
    while ((r = dequeue(predictor))) {
        if (!r->gone || !r->gone(r->context)) break;
        finish_failed(r, AFFECT_STATUS_CANCELLED, "the client left");
    }
    if (!r) return;
    c->current = r;
    set_state(predictor, c, CHILD_BUSY);
    if (!send_request(c, r))
        end_child(predictor, c, now, AFFECT_STATUS_DEVICE_LOST, "the predictor is gone");
}

/* ---- The thread ---- */

static void serve_child(api_predictor *predictor, child *c, double now) {
    if (c->state == CHILD_DEAD && now >= c->restart_at) start_child(predictor, c, now);
    if (c->state == CHILD_STARTING && now > c->started + HELLO_SECONDS)
        end_child(predictor, c, now, AFFECT_STATUS_TIMEOUT, "");
    if (c->state == CHILD_BUSY && now > c->current->deadline)
        end_child(predictor, c, now, AFFECT_STATUS_TIMEOUT,
                  "the prediction took too long and was stopped");
    if (c->state == CHILD_IDLE) dispatch(predictor, c, now);
}

static void wait_for_packets(api_predictor *predictor) {
    struct pollfd fds[MAX_CHILDREN + 1];
    int n = predictor->options.n_children;
    fds[n] = (struct pollfd){.fd = predictor->wake_fd, .events = POLLIN};
    int timeout = 1000;
    for (int i = 0; i < n; i++) {
        const child *c = &predictor->children[i];
        bool alive = c->state != CHILD_DEAD;
        fds[i] = (struct pollfd){.fd = alive ? c->fd : -1, .events = POLLIN};
        if (c->state != CHILD_IDLE) timeout = SWEEP_MS;
    }
    if (poll(fds, (nfds_t)n + 1, timeout) <= 0) return;
    uint64_t count;
    if (fds[n].revents && read(predictor->wake_fd, &count, sizeof count) < 0) {
    }
    for (int i = 0; i < n; i++) {
        child *c = &predictor->children[i];
        if (fds[i].revents && !read_packet(predictor, c))
            end_child(predictor, c, affect_clock_seconds(), AFFECT_STATUS_DEVICE_LOST,
                      "the predictor ended while it worked on this; try again");
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
        for (request *r = dequeue_late(predictor, now), *next; r; r = next) {
            next = r->next;
            finish_failed(r, AFFECT_STATUS_TIMEOUT, "the prediction waited too long for its turn");
        }
        for (int i = 0; i < predictor->options.n_children; i++)
            serve_child(predictor, &predictor->children[i], now);
        wait_for_packets(predictor);
    }
    for (int i = 0; i < predictor->options.n_children; i++)
        if (predictor->children[i].state != CHILD_DEAD)
            end_child(predictor, &predictor->children[i], 0, AFFECT_STATUS_CANCELLED,
                      "the server is stopping");
    for (request *r; (r = dequeue(predictor));)
        finish_failed(r, AFFECT_STATUS_CANCELLED, "the server is stopping");
    return NULL;
}

/* ---- Start, stop, questions ---- */

static affect_status start(api_predictor *predictor, affect_error *err) {
    predictor->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (predictor->wake_fd < 0) return affect_error_errno(err, errno, "eventfd");
    predictor->packet = malloc(MAX_PACKET);
    if (!predictor->packet) return affect_fail(err, NO_MEMORY, "no memory for predictors");
    if (!predictor->binary[0]) AFFECT_TRY(api_child_binary(predictor->binary, err));
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
    api_predictor *made = calloc(1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "no memory for predictors");
    made->options = *options;
    snprintf(made->binary, sizeof made->binary, "%s", options->binary ? options->binary : "");
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
    wake(predictor);
    pthread_join(predictor->thread, NULL);
    predictor->thread_started = false;
}

void api_predictor_free(api_predictor *predictor) {
    if (!predictor) return;
    api_predictor_stop(predictor);
    api_child_close(&predictor->wake_fd);
    free(predictor->packet);
    pthread_mutex_destroy(&predictor->lock);
    free(predictor);
}

void api_predictor_count(api_predictor *predictor, int *n_ready, int *n_busy, int *n_queued) {
    *n_ready = *n_busy = 0;
    pthread_mutex_lock(&predictor->lock);
    for (int i = 0; i < predictor->options.n_children; i++) {
        *n_ready += predictor->children[i].state >= CHILD_IDLE;
        *n_busy += predictor->children[i].state == CHILD_BUSY;
    }
    *n_queued = predictor->n_queued;
    pthread_mutex_unlock(&predictor->lock);
}

bool api_predictor_ready(api_predictor *predictor) {
    int n_ready, n_busy, n_queued;
    api_predictor_count(predictor, &n_ready, &n_busy, &n_queued);
    return n_ready > 0;
}
