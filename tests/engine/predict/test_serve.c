/* The predictor's socket: a model that is open stays open when another one cannot be opened. */
#include "engine/core/json.h"
#include "engine/predict/serve.h"
#include "tests/engine/predict/utterances.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static int theirs;

static void *serve(void *context) {
    affect_predictor_options options;
    (void)context;
    affect_predictor_options_default(&options);
    CHECK_OK(affect_predict_serve(theirs, &options, err));
    return NULL;
}

/* Sends one request without a recording; the status that comes back. */
static void ask(char status[32], int link, const char *model) {
    char text[2048];
    int n = snprintf(text, sizeof text, "{\"model\":\"%s\",\"requests\":[{\"id\":1,\"parts\":{}}]}",
                     model),
        fd = memfd_create("request", 0);
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof fd)];
    } control = {0};
    struct iovec vector = {.iov_base = text, .iov_len = (size_t)n};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    CHECK(sendmsg(link, &message, 0) == n);
    close(fd);
    ssize_t size = recv(link, text, sizeof text, 0);
    affect_json *answer = NULL;
    CHECK(size > 0);
    CHECK_OK(affect_json_parse(&answer, text, size > 0 ? (size_t)size : 0, err));
    snprintf(status, 32, "%s", affect_json_get_string(answer, "status", ""));
    affect_json_free(answer);
}

static void test_models_stay_open(void) {
    static const char *const names[] = {"a.safetensors", "b.safetensors", "c.safetensors",
                                        "d.safetensors"};
    int ends[2];
    pthread_t thread;
    char status[32], hello[512];
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0);
    theirs = ends[1];
    CHECK(pthread_create(&thread, NULL, serve, NULL) == 0);
    CHECK(recv(ends[0], hello, sizeof hello, 0) > 0);
    for (int i = 0; i < 4; i++) {
        char path[1024];
        snprintf(path, sizeof path, "%s", scratch_path(names[i]));
        make_model(path, "audio-only", 2);
        ask(status, ends[0], path);
        CHECK(strcmp(status, "not_found") != 0);
        unlink(path); /* from here on it can be used only if it stays open */
    }
    ask(status, ends[0], scratch_path("none.safetensors"));
    CHECK(strcmp(status, "not_found") == 0);
    for (int i = 0; i < 4; i++) {
        ask(status, ends[0], scratch_path(names[i]));
        CHECK(strcmp(status, "not_found") != 0);
    }
    close(ends[0]);
    pthread_join(thread, NULL);
    close(ends[1]);
}

int main(void) {
    scratch_begin();
    TEST_RUN(test_models_stay_open);
    scratch_end();
    return TEST_END();
}
