/* The list of devices. One caller at a time runs `affect inspect --devices`, without the lock; the
 * others take the last answer, which is kept for some seconds, an error as well. A driver can hang
 * for ever in the kernel: its process is waited for no longer than affect_child_run does, and until
 * it is gone no other is started. */
#include "api/jobs/devices.h"

#include "engine/core/child.h"

#include <pthread.h>
#include <string.h>

#define KEPT_SECONDS     10.0
#define DEADLINE_SECONDS 15.0 /* a driver that wakes up takes seconds */
enum { MAX_OUTPUT = 1 << 16 };

static struct {
    pthread_mutex_t lock;
    affect_json *answer; /* of the last listing that succeeded ... */
    affect_error error;  /* ... or how it failed */
    double at;
    bool listing;       /* a caller lists */
    affect_child child; /* that caller's; not under the lock */
} cache = {.lock = PTHREAD_MUTEX_INITIALIZER};

static affect_status should_continue(void *context, affect_error *err) {
    const api_context *server = context;
    return atomic_load(&server->draining) ? affect_fail(err, BUSY, "the server is stopping")
                                          : AFFECT_STATUS_OK;
}

static affect_status list_devices(affect_json **answer, const api_context *context,
                                  affect_error *err) {
    if (!affect_child_reap(&cache.child))
        return affect_fail(err, TIMEOUT, "an earlier listing of the devices still hangs");
    const char *argv[] = {context->worker_binary, "inspect", "--devices", "--json", NULL};
    const affect_child_run_options options = {.program = context->worker_binary,
                                              .argv = argv,
                                              .deadline_s = DEADLINE_SECONDS,
                                              .max_output = MAX_OUTPUT,
                                              .proceed = should_continue,
                                              .context = (void *)context};
    affect_buffer output = {0};
    affect_status status = affect_child_run(&cache.child, &output, &options, err);
    if (status == AFFECT_STATUS_OK)
        status = affect_json_parse(answer, affect_buffer_string(&output), output.size, err);
    affect_buffer_free(&output);
    return status == AFFECT_STATUS_OK ? status
                                      : affect_error_prefix(err, status, "the list of devices");
}

affect_status api_devices(affect_json **devices, const api_context *context, affect_error *err) {
    *devices = NULL;
    pthread_mutex_lock(&cache.lock);
    bool fresh = (cache.answer || cache.error.status != AFFECT_STATUS_OK) &&
                 affect_clock_seconds() - cache.at < KEPT_SECONDS;
    if (!fresh && !cache.listing) {
        affect_json *answer = NULL;
        affect_error error = {0};
        cache.listing = true;
        pthread_mutex_unlock(&cache.lock);
        list_devices(&answer, context, &error);
        pthread_mutex_lock(&cache.lock);
        affect_json_free(cache.answer);
        cache.answer = answer;
        cache.error = error;
        cache.at = affect_clock_seconds();
        cache.listing = false;
    }
    affect_status status = cache.error.status;
    if (cache.answer)
        status = AFFECT_STATUS_OK, *devices = affect_json_copy(cache.answer);
    else if (status != AFFECT_STATUS_OK && err)
        *err = cache.error;
    else if (status == AFFECT_STATUS_OK)
        status = affect_fail(err, BUSY, "the devices are being listed for the first time");
    pthread_mutex_unlock(&cache.lock);
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
