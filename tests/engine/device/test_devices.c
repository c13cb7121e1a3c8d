/* Devices by name, and every way in which the CUDA plug-in can be missing: told plainly, and the
 * CPU under "auto". The plug-in is loaded once a process, so each case is a process of its own:
 * this program again, with the case as its argument. */
#include "engine/device/backend.h"
#include "tests/test.h"

#include <pthread.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static affect_status open_device(const char *device, affect_precision precision, char note[300],
                                 affect_error *err) {
    affect_backend *backend = NULL;
    affect_status status =
        affect_backend_open(&backend, (affect_backend_options){device, 1, precision}, err);
    if (status == AFFECT_STATUS_OK) snprintf(note, 300, "%s", backend->note);
    affect_backend_free(backend);
    return status;
}

/* Without a GPU that can be used: cuda says `why`, auto takes the CPU and says it too. */
static void check_refused(const char *why) {
    char note[300] = "";
    affect_error error = {0};
    CHECK(open_device("cuda", AFFECT_PRECISION_AUTO, note, &error) ==
          AFFECT_STATUS_DEVICE_UNAVAILABLE);
    CHECK(strstr(error.message, why) != NULL);
    CHECK_OK(open_device("auto", AFFECT_PRECISION_AUTO, note, err));
    CHECK(strncmp(note, "the CPU is used: ", 17) == 0 && strstr(note, why) != NULL);
    CHECK_OK(open_device("auto", AFFECT_PRECISION_BF16, note, err));
    CHECK(strstr(note, "in fp32") != NULL);
    if (test_n_failed) fprintf(stderr, "    \"%s\", \"%s\"\n", error.message, note);
}

static void check_missing(const char *why) {
    affect_error error = {0};
    affect_device devices[AFFECT_MAX_DEVICES];
    check_refused(why);
    CHECK(affect_devices_list(devices, &error) == 1);
    CHECK(error.status == AFFECT_STATUS_DEVICE_UNAVAILABLE);
    CHECK_STRING(devices[0].device, "cpu");
}

/* Listed as what it is, but there are no kernels for it. */
static void check_old(const char *why) {
    affect_error error = {0};
    affect_device devices[AFFECT_MAX_DEVICES];
    check_refused(why);
    CHECK(affect_devices_list(devices, &error) == 2 && devices[1].compute_capability == 61);
}

static void check_there(const char *why) {
    (void)why;
    char note[300] = "";
    affect_error error = {0};
    affect_device devices[AFFECT_MAX_DEVICES];
    CHECK(affect_devices_list(devices, &error) == 2 && error.status == AFFECT_STATUS_OK);
    CHECK_STRING(devices[1].device, "cuda:0");
    CHECK(devices[1].memory_bytes > 0 && devices[1].compute_capability == 90);
    CHECK_OK(open_device("cuda:0", AFFECT_PRECISION_BF16, note, err));
    CHECK_OK(open_device("auto", AFFECT_PRECISION_AUTO, note, err));
    CHECK_STRING(note, "");
    CHECK(open_device("cuda:3", AFFECT_PRECISION_FP32, note, &error) ==
          AFFECT_STATUS_DEVICE_UNAVAILABLE);
}

/* There, but in use, or not ours to open. */
static void check_occupied(const char *why) {
    affect_error error = {0};
    affect_device devices[AFFECT_MAX_DEVICES];
    check_refused(why);
    CHECK(affect_devices_list(devices, &error) == 2 && error.status == AFFECT_STATUS_OK);
    CHECK(devices[1].memory_bytes > 0 && devices[1].memory_free_bytes == 0);
}

static void *open_and_free(void *context) {
    affect_backend *backend = NULL;
    affect_status *status = context;
    *status = affect_backend_open(&backend, (affect_backend_options){.device = "cuda"}, NULL);
    if (*status == AFFECT_STATUS_OK) {
        backend->ops->deallocate(backend, backend->ops->allocate(backend, 64));
        *status = affect_backend_synchronize(backend, NULL);
    }
    affect_backend_free(backend);
    return NULL;
}

/* A recording of one thread while another opens, frees and closes: handles and memory make the
 * device wait, which would end the capture. */
static void check_captures(const char *why) {
    (void)why;
    affect_backend *backend = NULL;
    CHECK_OK(affect_backend_open(&backend, (affect_backend_options){.device = "cuda"}, err));
    affect_real *x = backend->ops->allocate(backend, 64);
    for (int i = 0; i < 5; i++) {
        pthread_t other;
        affect_status status = AFFECT_STATUS_INTERNAL;
        backend->ops->record_begin(backend);
        CHECK(pthread_create(&other, NULL, open_and_free, &status) == 0);
        nanosleep(&(struct timespec){.tv_nsec = 50 * 1000 * 1000}, NULL);
        backend->ops->zero(backend, x, 64);
        backend->ops->record_end(backend, 0);
        CHECK_OK(affect_backend_synchronize(backend, err));
        pthread_join(other, NULL);
        CHECK(status == AFFECT_STATUS_OK);
    }
    backend->ops->deallocate(backend, x);
    affect_backend_free(backend);
}

static void check_names(void) {
    static const char *const wrong[] = {"",        "gpu",     "cuda:",  "cuda:x",
                                        "cuda:-1", "cuda:1x", "cuda:99"};
    char note[300];
    affect_error error = {0};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK(open_device(wrong[i], AFFECT_PRECISION_FP32, note, &error) == AFFECT_STATUS_INVALID);
    CHECK_OK(open_device("cpu", AFFECT_PRECISION_AUTO, note, err));
    CHECK(open_device("cpu", AFFECT_PRECISION_TF32, note, &error) == AFFECT_STATUS_UNSUPPORTED);
}

typedef struct {
    const char *name, *library, *fault, *gpu; /* gpu: AFFECT_CUDA_HOST_DEVICE */
    const char *why;
    void (*check)(const char *why);
} device_case;

static const char h200[] = "90,132,227", gtx1080[] = "61,20,48";
static const device_case cases[] = {
    {"no library", "/nonexistent/libaffect_cuda.so", "", h200, "cannot be loaded", check_missing},
    {"no object", "/etc/hostname", "", h200, "cannot be loaded", check_missing},
    {"a stranger", "libm.so.6", "", h200, "is no plug-in", check_missing},
    {"no device", TEST_CUDA_LIBRARY, "nodevice", h200, "no CUDA-capable device", check_missing},
    {"an old device", TEST_CUDA_LIBRARY, "", gtx1080, "no kernel image", check_old},
    {"no driver", TEST_CUDA_LIBRARY, "nodriver", h200, "no NVIDIA driver", check_missing},
    {"unavailable", TEST_CUDA_LIBRARY, "open:46", h200, "device", check_occupied},
    {"initialization", TEST_CUDA_LIBRARY, "open:3", h200, "device", check_occupied},
    {"an old driver", TEST_CUDA_LIBRARY, "open:222", h200, "device", check_occupied},
    {"no device file", TEST_CUDA_LIBRARY, "open:304", h200, "device", check_occupied},
    {"not permitted", TEST_CUDA_LIBRARY, "open:800", h200, "device", check_occupied},
    {"a device", TEST_CUDA_LIBRARY, "", h200, "", check_there},
    {"captures", TEST_CUDA_LIBRARY, "", h200, "", check_captures},
};

static void run_case(const char *program, const device_case *c) {
    int state = 0;
    pid_t child = fork();
    if (child == 0) {
        setenv("AFFECT_CUDA_LIBRARY", c->library, 1);
        setenv("AFFECT_CUDA_HOST_FAULT", c->fault, 1);
        setenv("AFFECT_CUDA_HOST_DEVICE", c->gpu, 1);
        execl(program, program, c->name, (char *)NULL);
        _exit(127);
    }
    CHECK(child > 0 && waitpid(child, &state, 0) == child);
    CHECK(WIFEXITED(state) && WEXITSTATUS(state) == 0);
    if (state != 0) fprintf(stderr, "    case \"%s\"\n", c->name);
}

int main(int argc, char **argv) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (argc == 1) {
            run_case("/proc/self/exe", &cases[i]);
        } else if (strcmp(argv[1], cases[i].name) == 0) {
            cases[i].check(cases[i].why);
        }
    }
    if (argc == 1) check_names();
    return TEST_END();
}
