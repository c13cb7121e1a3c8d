/* Predictions for a server; see serve.h. */
#include "engine/predict/serve.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_PACKET 262144
#define MAX_BATCH  AFFECT_PREDICTOR_MAX_BATCH
#define MAX_OPEN   4 /* models kept open */

typedef struct {
    char path[1024];
    affect_predictor *predictor;
    uint64_t last_used;
} open_model;

/* One request of a batch. */
typedef struct {
    double id;
    void *data; /* its memory file, mapped; NULL when it has none */
    size_t size;
    affect_error error; /* what was wrong before it came to a prediction */
    affect_features_input input;
    bool calibrated; /* its probabilities are asked for by the model's temperature */
} place;

typedef struct {
    int socket;
    affect_predictor_options options;
    open_model models[MAX_OPEN];
    uint64_t n_batches;
    char packet[MAX_PACKET];
    int fds[MAX_BATCH];
    size_t n_fds;
    place places[MAX_BATCH];
    affect_features_input inputs[MAX_BATCH]; /* of the places without an error, in their order */
    affect_prediction predictions[MAX_BATCH];
} server;

static affect_status find_model(server *self, affect_predictor **predictor, const char *path,
                                affect_error *err) {
    open_model *oldest = &self->models[0];
    for (int i = 0; i < MAX_OPEN; i++) {
        open_model *model = &self->models[i];
        if (model->predictor && strcmp(model->path, path) == 0) {
            model->last_used = self->n_batches;
            *predictor = model->predictor;
            return AFFECT_STATUS_OK;
        }
        if (model->last_used < oldest->last_used) oldest = model;
    }
    if (strlen(path) >= sizeof oldest->path)
        return affect_fail(err, INVALID, "model: path too long");
    /* A model leaves only for one that opened, or for memory that it lacked. */
    affect_predictor *opened = NULL;
    affect_status status = affect_predictor_open(&opened, path, &self->options, err);
    if (status == AFFECT_STATUS_NO_MEMORY && oldest->predictor) {
        affect_predictor_close(oldest->predictor);
        oldest->predictor = NULL;
        oldest->last_used = 0;
        status = affect_predictor_open(&opened, path, &self->options, err);
    }
    if (status != AFFECT_STATUS_OK) return status;
    affect_predictor_close(oldest->predictor);
    oldest->predictor = opened;
    strcpy(oldest->path, path);
    oldest->last_used = self->n_batches;
    *predictor = oldest->predictor;
    return AFFECT_STATUS_OK;
}

/* ---- Taking a batch ---- */

/* One packet; the descriptors that came with it go to self->fds. 0: the other side closed. */
static ssize_t receive(server *self) {
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof self->fds)];
    } control;
    struct iovec vector = {.iov_base = self->packet, .iov_len = sizeof self->packet};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    ssize_t n;
    do n = recvmsg(self->socket, &message, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    self->n_fds = 0;
    struct cmsghdr *header = n >= 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
        self->n_fds = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(self->fds, CMSG_DATA(header), self->n_fds * sizeof(int));
    }
    return n;
}

/* Populated at once: that costs a tenth of the faults that reading it would take. */
static affect_status map_bytes(place *at, int fd, affect_error *err) {
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0 || info.st_size == 0) return AFFECT_STATUS_OK;
    void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (data == MAP_FAILED) return affect_error_errno(err, errno, "mapping the request");
    at->data = data;
    at->size = (size_t)info.st_size;
    return AFFECT_STATUS_OK;
}

/* The name is borrowed from the packet's JSON, which outlives the batch. */
static affect_status take_part(place *at, const affect_json *part, affect_error *err) {
    const char *name = affect_json_name(part);
    double offset = affect_json_get_number(part, "offset", -1);
    double size = affect_json_get_number(part, "size", -1);
    if (!(offset >= 0 && size >= 0 && offset + size <= (double)at->size))
        return affect_fail(err, MALFORMED, "%s: outside the request's bytes", name);
    const affect_source source = {.data = size > 0 ? (const char *)at->data + (size_t)offset : "",
                                  .size = (size_t)size};
    if (affect_features_input_set(&at->input, name, source)) return AFFECT_STATUS_OK;
    return affect_fail(err, INVALID, "more than %d parts", AFFECT_MAX_INPUT_STREAMS);
}

/* Seconds that are not given leave their side open. */
static affect_time_window find_window(const affect_json *request, const char *start,
                                      const char *end) {
    return (affect_time_window){.limited = affect_json_get(request, start) ||
                                           affect_json_get(request, end),
                                .start_s = affect_json_get_number(request, start, 0),
                                .end_s = affect_json_get_number(request, end, HUGE_VAL)};
}

static affect_status take_request(place *at, const affect_json *request, int fd,
                                  affect_error *err) {
    const affect_json *parts = affect_json_get(request, "parts");
    const affect_modality *m;
    at->id = affect_json_get_number(request, "id", -1);
    at->calibrated = affect_json_get_bool(request, "calibrated", false);
    AFFECT_TRY(map_bytes(at, fd, err));
    for (const affect_json *part = affect_json_first(parts); part; part = affect_json_next(part))
        AFFECT_TRY(take_part(at, part, err));
    for (size_t i = 0; (m = affect_modality_at(i)); i++)
        if (m->window[0]) at->input.windows[i] = find_window(request, m->window[0], m->window[1]);
    return AFFECT_STATUS_OK;
}

/* ---- Answering ---- */

static bool send_json(int socket, affect_json *json) {
    char *text = affect_json_text(json);
    bool sent = text && send(socket, text, strlen(text), MSG_NOSIGNAL) >= 0;
    free(text);
    affect_json_free(json);
    return sent;
}

static bool send_answer(const server *self, double id, affect_json *result,
                        const affect_error *error) {
    affect_json *answer = affect_json_new_object();
    affect_json_set_number(answer, "id", id);
    affect_json_set_string(answer, "status", affect_status_name(error->status));
    if (error->status == AFFECT_STATUS_OK)
        affect_json_set(answer, "result", result);
    else
        affect_json_set_string(answer, "error", error->message);
    return send_json(self->socket, answer);
}

/* Computes the batch; a failure of the whole of it becomes that of each place. */
static affect_status compute(server *self, affect_predictor **predictor, const char *model,
                             size_t n, affect_error *err) {
    size_t n_inputs = 0;
    AFFECT_TRY(find_model(self, predictor, model, err));
    for (size_t i = 0; i < n; i++)
        if (self->places[i].error.status == AFFECT_STATUS_OK)
            self->inputs[n_inputs++] = self->places[i].input;
    if (n_inputs == 0) return AFFECT_STATUS_OK;
    return affect_predictor_run_batch(*predictor, self->predictions, self->inputs, n_inputs, err);
}

static bool answer_batch(server *self, const char *model, size_t n) {
    affect_error error = {0};
    affect_predictor *predictor = NULL;
    affect_status status = compute(self, &predictor, model, n, &error);
    affect_prediction *prediction = self->predictions;
    bool sent = true;
    for (size_t i = 0; i < n && sent; i++) {
        place *at = &self->places[i];
        affect_json *result = NULL;
        if (at->error.status == AFFECT_STATUS_OK && status != AFFECT_STATUS_OK) {
            at->error = error;
        } else if (at->error.status == AFFECT_STATUS_OK) {
            at->error = prediction->error;
            if (prediction->status == AFFECT_STATUS_OK && at->calibrated)
                affect_predictor_calibrate(predictor, prediction, &at->error);
            if (at->error.status == AFFECT_STATUS_OK)
                result = affect_prediction_to_json(predictor, prediction);
            prediction++;
        }
        sent = send_answer(self, at->id, result, &at->error);
    }
    return sent;
}

/* False: the other side is gone, or what it sends is no batch. */
static bool serve_batch(server *self, const affect_json *batch) {
    const affect_json *requests = affect_json_get(batch, "requests");
    size_t n = affect_json_size(requests);
    if (n < 1 || n > self->options.max_batch || n != self->n_fds) return false;
    const affect_json *request = affect_json_first(requests);
    self->n_batches++;
    for (size_t i = 0; i < n; i++, request = affect_json_next(request)) {
        self->places[i] = (place){0};
        take_request(&self->places[i], request, self->fds[i], &self->places[i].error);
    }
    bool alive = answer_batch(self, affect_json_get_string(batch, "model", ""), n);
    for (size_t i = 0; i < n; i++)
        if (self->places[i].data) munmap(self->places[i].data, self->places[i].size);
    return alive;
}

static bool serve_packet(server *self, size_t size) {
    affect_json *batch = NULL;
    bool alive = affect_json_parse(&batch, self->packet, size, NULL) == AFFECT_STATUS_OK &&
                 serve_batch(self, batch);
    for (size_t i = 0; i < self->n_fds; i++) close(self->fds[i]);
    affect_json_free(batch);
    return alive;
}

static bool send_handshake(const server *self) {
    affect_json *message = affect_json_new_object();
    affect_json_set_string(message, "event", "hello");
    affect_json_set_number(message, "protocol", AFFECT_SERVE_PROTOCOL);
    affect_json_set_string(message, "version", AFFECT_VERSION);
    affect_json_set_number(message, "pid", (double)getpid());
    return send_json(self->socket, message);
}

affect_status affect_predict_serve(int socket, const affect_predictor_options *options,
                                   affect_error *err) {
    if (options->max_batch < 1 || options->max_batch > MAX_BATCH)
        return affect_fail(err, INVALID, "%zu predictions at once (need 1..%d)", options->max_batch,
                           MAX_BATCH);
    server *self = calloc(1, sizeof *self);
    if (!self) return affect_fail(err, NO_MEMORY, "no memory to serve");
    self->socket = socket;
    self->options = *options;
    affect_status status = AFFECT_STATUS_OK;
    bool alive = send_handshake(self);
    while (alive) {
        ssize_t n = receive(self);
        if (n < 0) status = affect_error_errno(err, errno, "the server's socket");
        alive = n > 0 && serve_packet(self, (size_t)n);
    }
    for (int i = 0; i < MAX_OPEN; i++) affect_predictor_close(self->models[i].predictor);
    free(self);
    return status;
}
