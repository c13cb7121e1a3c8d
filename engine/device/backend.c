/* Opening a device by name, and the CUDA plug-in; see backend.h. The plug-in is loaded once and
 * stays. */
#include "engine/device/backend.h"

#include "engine/core/file.h"
#include "engine/core/parallel.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- The plug-in ---- */

static struct {
    const affect_backend_plugin *plugin; /* NULL: */
    affect_error missing;                /* why not */
} cuda;

static affect_status check_plugin(void *library, const char *path) {
    const affect_backend_plugin *plugin = dlsym(library, "affect_cuda_plugin");
    if (!plugin)
        return affect_fail(&cuda.missing, DEVICE_UNAVAILABLE, "%s is no plug-in of this program",
                           path);
    if (plugin->version != AFFECT_BACKEND_VERSION)
        return affect_fail(&cuda.missing, DEVICE_UNAVAILABLE,
                           "%s is of another build (interface %u, this program has %d)", path,
                           (unsigned)plugin->version, AFFECT_BACKEND_VERSION);
    if (plugin->real_size != sizeof(affect_real))
        return affect_fail(&cuda.missing, DEVICE_UNAVAILABLE,
                           "%s computes with numbers of %u bytes, this program with %zu", path,
                           (unsigned)plugin->real_size, sizeof(affect_real));
    cuda.plugin = plugin;
    return AFFECT_STATUS_OK;
}

/* False when there is no such file: the next place may have one. */
static bool try_library(const char *path, bool must_exist) {
    if (strchr(path, '/') && !must_exist && access(path, F_OK) != 0) return false;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char *reason = dlerror();
        affect_fail(&cuda.missing, DEVICE_UNAVAILABLE, "%s cannot be loaded: %.300s", path,
                    reason ? reason : "no reason given");
        return strchr(path, '/') != NULL;
    }
    if (check_plugin(library, path) != AFFECT_STATUS_OK) dlclose(library);
    return true;
}

static void load_plugin(void) {
    static const char *const places[] = {"", "../lib/"};
    char folder[AFFECT_PATH_MAX] = "", path[2 * AFFECT_PATH_MAX];
    const char *named = getenv("AFFECT_CUDA_LIBRARY");
    if (named && *named) {
        try_library(named, true);
        return;
    }
    ssize_t length = readlink("/proc/self/exe", folder, sizeof folder - 1);
    folder[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(folder, '/');
    if (slash) slash[1] = '\0';
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(path, sizeof path, "%s%slibaffect_cuda.so", folder, places[i]);
        if (try_library(path, false)) return;
    }
    if (!try_library("libaffect_cuda.so", false))
        affect_fail(&cuda.missing, DEVICE_UNAVAILABLE,
                    "there is no CUDA engine (libaffect_cuda.so) beside the program");
}

static const affect_backend_plugin *find_plugin(affect_error *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load_plugin);
    if (!cuda.plugin && err) *err = cuda.missing;
    return cuda.plugin;
}

/* ---- Listing ---- */

/* "model name" of /proc/cpuinfo, or "cpu". */
static void cpu_name(char *name, size_t size) {
    snprintf(name, size, "cpu");
    FILE *file = fopen("/proc/cpuinfo", "re");
    char line[256];
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon || strlen(colon) < 3) continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(name, size, "%s", colon + 2);
        break;
    }
    if (file) fclose(file);
}

static affect_device describe_cpu(void) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    affect_device cpu = {.device = "cpu",
                         .memory_bytes = (size_t)sysconf(_SC_PHYS_PAGES) * page,
                         .memory_free_bytes = (size_t)sysconf(_SC_AVPHYS_PAGES) * page};
    cpu.n_units = affect_parallel_n_cores();
    cpu_name(cpu.name, sizeof cpu.name);
    return cpu;
}

size_t affect_devices_list(affect_device devices[AFFECT_MAX_DEVICES], affect_error *missing) {
    size_t n = 0;
    affect_error ignored = {0}, *err = missing ? missing : &ignored;
    *err = (affect_error){0};
    devices[0] = describe_cpu();
    const affect_backend_plugin *plugin = find_plugin(err);
    if (!plugin || plugin->list(devices + 1, AFFECT_MAX_DEVICES - 1, &n, err) != AFFECT_STATUS_OK)
        n = 0;
    return 1 + n;
}

/* ---- Opening ---- */

static affect_status open_cpu(affect_backend **backend, affect_backend_options options,
                              affect_error *err) {
    if (options.precision != AFFECT_PRECISION_FP32 && options.precision != AFFECT_PRECISION_AUTO)
        return affect_fail(err, UNSUPPORTED, "precision \"%s\": a CPU computes in fp32",
                           affect_precision_names[options.precision]);
    return affect_cpu_backend_open(backend, options.n_threads, err);
}

static affect_status open_cuda(affect_backend **backend, int number, affect_precision precision,
                               affect_error *err) {
    const affect_backend_plugin *plugin = find_plugin(err);
    return plugin ? plugin->open(backend, number, precision, err)
                  : AFFECT_STATUS_DEVICE_UNAVAILABLE;
}

/* A GPU where there is one, else the CPU. */
static affect_status open_auto(affect_backend **backend, affect_backend_options options,
                               affect_error *err) {
    affect_error missing = {0};
    affect_status status = open_cuda(backend, 0, options.precision, &missing);
    if (status == AFFECT_STATUS_OK) return status;
    if (status != AFFECT_STATUS_DEVICE_UNAVAILABLE) {
        if (err) *err = missing;
        return status;
    }
    bool other =
        options.precision != AFFECT_PRECISION_AUTO && options.precision != AFFECT_PRECISION_FP32;
    AFFECT_TRY(affect_cpu_backend_open(backend, options.n_threads, err));
    snprintf((*backend)->note, sizeof(*backend)->note, "the CPU is used%s: %.220s",
             other ? ", in fp32" : "", missing.message);
    return AFFECT_STATUS_OK;
}

affect_status affect_backend_open(affect_backend **backend, affect_backend_options options,
                                  affect_error *err) {
    const char *device = options.device;
    char *end = NULL;
    if (strcmp(device, "cpu") == 0) return open_cpu(backend, options, err);
    if (strcmp(device, "auto") == 0) return open_auto(backend, options, err);
    if (strcmp(device, "cuda") == 0) return open_cuda(backend, 0, options.precision, err);
    long number = strncmp(device, "cuda:", 5) == 0 ? strtol(device + 5, &end, 10) : -1;
    if (end && end > device + 5 && !*end && number >= 0 && number < AFFECT_MAX_DEVICES)
        return open_cuda(backend, (int)number, options.precision, err);
    return affect_fail(err, INVALID, "device \"%.40s\": unknown (known: cpu, cuda, cuda:N, auto)",
                       device);
}

void affect_backend_free(affect_backend *backend) {
    if (backend) backend->ops->free(backend);
}
