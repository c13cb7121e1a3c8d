/* Predictions for a server; see serve.h. */
#include "engine/predict/serve.h"

#include "engine/predict/predict.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_PACKET 65536
#define MAX_OPEN   4 /* models kept open */

typedef struct {
    char path[1024];
    affect_predictor *predictor;
    uint64_t last_used;
} open_model;

typedef struct {
    int socket;
    const char *device;
    int n_threads;
    open_model models[MAX_OPEN];
    uint64_t n_requests;
} server;

/* A request's bytes: the memory file, mapped. */
typedef struct {
    void *data;
    size_t size;
} mapped;

static affect_status find_model(server *self, affect_predictor **predictor, const char *path,
                                affect_error *err) {
    open_model *oldest = &self->models[0];
    for (int i = 0; i < MAX_OPEN; i++) {
        open_model *model = &self->models[i];
        if (model->predictor && strcmp(model->path, path) == 0) {
            model->last_used = self->n_requests;
            *predictor = model->predictor;
            return AFFECT_STATUS_OK;
        }
        if (model->last_used < oldest->last_used) oldest = model;
    }
    if (strlen(path) >= sizeof oldest->path)
        return affect_fail(err, INVALID, "model: path too long");
    affect_predictor_close(oldest->predictor);
    oldest->predictor = NULL;
    oldest->last_used = 0;
    AFFECT_TRY(affect_predictor_open(&oldest->predictor, path, self->device, self->n_threads, err));
    strcpy(oldest->path, path);
    oldest->last_used = self->n_requests;
    *predictor = oldest->predictor;
    return AFFECT_STATUS_OK;
}

static affect_status find_part(affect_source *source, const affect_json *parts, const char *name,
                               mapped bytes, affect_error *err) {
    const affect_json *part = affect_json_get(parts, name);
    *source = (affect_source){0};
    if (!part) return AFFECT_STATUS_OK;
    double offset = affect_json_get_number(part, "offset", -1);
    double size = affect_json_get_number(part, "size", -1);
    if (!(offset >= 0 && size >= 0 && offset + size <= (double)bytes.size))
        return affect_fail(err, MALFORMED, "%s: outside the request's bytes", name);
    source->data = size > 0 ? (const char *)bytes.data + (size_t)offset : "";
    source->size = (size_t)size;
    return AFFECT_STATUS_OK;
}

static affect_status answer_request(server *self, affect_json **result, const affect_json *request,
                                    mapped bytes, affect_error *err) {
    static const struct {
        const char *name;
        affect_mocap_kind kind;
    } motion[] = {{"mocap_face", AFFECT_MOCAP_FACE},
                  {"mocap_head", AFFECT_MOCAP_HEAD},
                  {"mocap_hand", AFFECT_MOCAP_HAND}};
    const affect_json *parts = affect_json_get(request, "parts");
    affect_features_input input = {0};
    affect_predictor *predictor = NULL;
    AFFECT_TRY(find_part(&input.audio, parts, "audio", bytes, err));
    for (int i = 0; i < 3; i++)
        AFFECT_TRY(find_part(&input.motion[motion[i].kind], parts, motion[i].name, bytes, err));
    if (affect_json_get(request, "start") || affect_json_get(request, "end")) {
        input.motion_window.limited = true;
        input.motion_window.start_s = affect_json_get_number(request, "start", 0);
        input.motion_window.end_s = affect_json_get_number(request, "end", HUGE_VAL);
    }
    AFFECT_TRY(find_model(self, &predictor, affect_json_get_string(request, "model", ""), err));
    return affect_predictor_run(predictor, result, &input, err);
}

/* One packet and the descriptor that came with it (-1 for none). 0: the other side closed. */
static ssize_t receive(int socket, char *packet, size_t size, int *fd) {
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec vector = {.iov_base = packet, .iov_len = size};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    ssize_t n;
    do n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    *fd = -1;
    struct cmsghdr *header = n >= 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
        memcpy(fd, CMSG_DATA(header), sizeof *fd);
    return n;
}

static affect_status map_bytes(mapped *bytes, int fd, affect_error *err) {
    struct stat info;
    *bytes = (mapped){0};
    if (fd < 0 || fstat(fd, &info) != 0 || info.st_size == 0) return AFFECT_STATUS_OK;
    void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) return affect_error_errno(err, errno, "mapping the request");
    *bytes = (mapped){data, (size_t)info.st_size};
    return AFFECT_STATUS_OK;
}

static bool send_json(int socket, affect_json *json) {
    char *text = affect_json_text(json);
    bool sent = text && send(socket, text, strlen(text), MSG_NOSIGNAL) >= 0;
    free(text);
    affect_json_free(json);
    return sent;
}

static bool send_answer(const server *self, double id, affect_status status, affect_json *result,
                        const affect_error *error) {
    affect_json *answer = affect_json_new_object();
    affect_json_set_number(answer, "id", id);
    affect_json_set_string(answer, "status", affect_status_name(status));
    if (status == AFFECT_STATUS_OK)
        affect_json_set(answer, "result", result);
    else
        affect_json_set_string(answer, "error", error->message);
    return send_json(self->socket, answer);
}

static bool serve_one(server *self, const char *packet, size_t size, int fd) {
    affect_error error = {0};
    affect_json *request = NULL, *result = NULL;
    mapped bytes = {0};
    self->n_requests++;
    affect_status status = affect_json_parse(&request, packet, size, &error);
    if (status == AFFECT_STATUS_OK) status = map_bytes(&bytes, fd, &error);
    if (status == AFFECT_STATUS_OK) status = answer_request(self, &result, request, bytes, &error);
    bool sent =
        send_answer(self, affect_json_get_number(request, "id", -1), status, result, &error);
    if (bytes.size) munmap(bytes.data, bytes.size);
    affect_json_free(request);
    return sent;
}

static bool say_hello(const server *self) {
    affect_json *hello = affect_json_new_object();
    affect_json_set_string(hello, "event", "hello");
    affect_json_set_number(hello, "protocol", AFFECT_SERVE_PROTOCOL);
    affect_json_set_string(hello, "version", AFFECT_VERSION);
    affect_json_set_number(hello, "pid", (double)getpid());
    return send_json(self->socket, hello);
}

affect_status affect_predict_serve(int socket, const char *device, int n_threads,
                                   affect_error *err) {
    server self = {.socket = socket, .device = device, .n_threads = n_threads};
    affect_status status = AFFECT_STATUS_OK;
    char *packet = malloc(MAX_PACKET);
    if (!packet) return affect_fail(err, NO_MEMORY, "no memory to serve");
    bool alive = say_hello(&self);
    while (alive) {
        int fd;
        ssize_t n = receive(socket, packet, MAX_PACKET, &fd);
        if (n < 0) status = affect_error_errno(err, errno, "the server's socket");
        alive = n > 0 && serve_one(&self, packet, (size_t)n, fd);
        if (fd >= 0) close(fd);
    }
    for (int i = 0; i < MAX_OPEN; i++) affect_predictor_close(self.models[i].predictor);
    free(packet);
    return status;
}
