/* The list of devices, from a child; see devices.h. */
#include "api/jobs/devices.h"

#include "api/jobs/child.h"
#include "engine/core/buffer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEPT_SECONDS     10.0
#define DEADLINE_SECONDS 15.0 /* a driver that wakes up takes seconds */
enum { MAX_OUTPUT = 1 << 16, LOOK_MS = 100 };

static struct {
    pthread_mutex_t lock;
    affect_json *answer; /* of the last listing that succeeded ... */
    affect_error error;  /* ... or how it failed */
    double at;
    bool asking; /* one caller lists, without the lock; others take what is there */
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Reads until the child closes its end; a server that stops does not wait for it. */
static affect_status hear(affect_buffer *output, int from, const api_context *context,
                          affect_error *err) {
    double until = affect_clock_seconds() + DEADLINE_SECONDS;
    for (;;) {
        struct pollfd fd = {.fd = from, .events = POLLIN};
        double left = until - affect_clock_seconds();
        if (left <= 0) return affect_fail(err, TIMEOUT, "the devices did not answer");
        if (atomic_load(&context->draining)) return affect_fail(err, BUSY, "the server stops");
        if (poll(&fd, 1, LOOK_MS) <= 0) continue;
        char *to = affect_buffer_reserve(output, 4096);
        ssize_t n = to ? read(from, to, 4096) : -1;
        if (n == 0) return AFFECT_STATUS_OK;
        if (n < 0 && errno != EINTR) return affect_error_errno(err, errno, "the list of devices");
        if (n > 0) output->size += (size_t)n;
        if (output->size > MAX_OUTPUT) return affect_fail(err, INTERNAL, "too many devices");
    }
}

static affect_status ask(affect_json **answer, const api_context *context, affect_error *err) {
    const char *binary = context->worker_binary;
    const char *argv[] = {binary, "inspect", "--devices", "--json", NULL};
    int ends[2] = {-1, -1}, nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    pid_t pid = 0;
    affect_buffer output = {0};
    affect_status status =
        nothing < 0 ? affect_error_errno(err, errno, "/dev/null") : api_child_pipe(ends, err);
    if (status == AFFECT_STATUS_OK) {
        const int fds[] = {nothing, ends[1], nothing};
        status = api_child_spawn(&pid, binary, argv, fds, 3, err);
        api_child_close(&ends[1]);
    }
    if (status == AFFECT_STATUS_OK) status = hear(&output, ends[0], context, err);
    if (pid > 0) {
        kill(-pid, SIGKILL); /* nothing where it has ended */
        waitpid(pid, NULL, 0);
    }
    if (status == AFFECT_STATUS_OK)
        status = affect_json_parse(answer, output.data, output.size, err);
    api_child_close(&ends[0]);
    api_child_close(&nothing);
    affect_buffer_free(&output);
    return status;
}

affect_status api_devices(affect_json **devices, const api_context *context, affect_error *err) {
    *devices = NULL;
    pthread_mutex_lock(&kept.lock);
    bool fresh = (kept.answer || kept.error.status != AFFECT_STATUS_OK) &&
                 affect_clock_seconds() - kept.at < KEPT_SECONDS;
    if (!fresh && !kept.asking) {
        affect_json *answer = NULL;
        affect_error error = {0};
        kept.asking = true;
        pthread_mutex_unlock(&kept.lock);
        ask(&answer, context, &error);
        pthread_mutex_lock(&kept.lock);
        affect_json_free(kept.answer);
        kept.answer = answer;
        kept.error = error;
        kept.at = affect_clock_seconds();
        kept.asking = false;
    }
    affect_status status = kept.error.status;
    if (kept.answer)
        status = AFFECT_STATUS_OK, *devices = affect_json_copy(kept.answer);
    else if (status != AFFECT_STATUS_OK && err)
        *err = kept.error;
    else if (status == AFFECT_STATUS_OK)
        status = affect_fail(err, BUSY, "the devices are being listed for the first time");
    pthread_mutex_unlock(&kept.lock);
    return status;
}

static bool is_gpu_name(const char *device) {
    if (strcmp(device, "cuda") == 0) return true;
    if (strncmp(device, "cuda:", 5) != 0 || !device[5]) return false;
    return strspn(device + 5, "0123456789") == strlen(device + 5);
}

affect_status api_devices_check(const char *device, const api_context *context, affect_error *err) {
    affect_json *list = NULL;
    const char *wanted = strcmp(device, "cuda") == 0 ? "cuda:0" : device;
    if (strcmp(device, "cpu") == 0 || strcmp(device, "auto") == 0) return AFFECT_STATUS_OK;
    if (!is_gpu_name(device))
        return affect_field_fail(err, "", "device", "\"%.40s\" (need cpu, cuda, cuda:N or auto)",
                                 device);
    AFFECT_TRY(api_devices(&list, context, err));
    const affect_json *e = affect_json_first(affect_json_get(list, "devices"));
    while (e && strcmp(affect_json_get_string(e, "device", ""), wanted) != 0)
        e = affect_json_next(e);
    affect_status status = AFFECT_STATUS_OK;
    if (!e)
        status = affect_fail(err, DEVICE_UNAVAILABLE, "device %.40s: %.300s", device,
                             affect_json_get_string(list, "cuda_unavailable", "there is none"));
    affect_json_free(list);
    return status;
}
