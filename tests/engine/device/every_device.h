/* A test of operations on every device that is here: the CPU at each level of vector instructions
 * with 1 to 3 threads, and the emulated GPU (tests/cuda_host); and arrays on it between guards. */
#ifndef AFFECT_TESTS_EVERY_DEVICE_H
#define AFFECT_TESTS_EVERY_DEVICE_H

#include "engine/core/cpu_level.h"
#include "engine/device/backend.h"
#include "tests/test.h"

enum { GUARD_NUMBERS = 16 };
#define GUARD_VALUE 12345.0f

static inline void on_device(const char *device, int n_threads,
                             void (*test)(affect_backend *backend)) {
    affect_backend *backend = NULL;
    CHECK_OK(affect_backend_open(
        &backend, (affect_backend_options){device, n_threads, AFFECT_PRECISION_FP32}, err));
    if (!backend) return;
    test(backend);
    CHECK_OK(affect_backend_synchronize(backend, err));
    affect_backend_free(backend);
}

static inline void on_every_device(void (*test)(affect_backend *backend)) {
    setenv("AFFECT_CUDA_LIBRARY", TEST_CUDA_LIBRARY, 1);
    for (int level = 0; level <= (int)affect_cpu_level_best(); level++) {
        setenv("AFFECT_CPU", affect_cpu_level_names[level], 1);
        for (int n_threads = 1; n_threads <= 3; n_threads++) on_device("cpu", n_threads, test);
    }
    unsetenv("AFFECT_CPU");
    on_device("cuda", 1, test);
}

/* n numbers on the device with guards around them; free_guarded. */
static inline float *guarded(affect_backend *backend, const float *values, size_t n) {
    size_t all = n + 2 * GUARD_NUMBERS;
    float *host = malloc(all * sizeof *host);
    float *memory = backend->ops->allocate(backend, all * sizeof *memory);
    for (size_t i = 0; i < all; i++) host[i] = GUARD_VALUE;
    memcpy(host + GUARD_NUMBERS, values, n * sizeof *values);
    backend->ops->upload(backend, memory, host, all * sizeof *host);
    CHECK_OK(affect_backend_synchronize(backend, err));
    free(host);
    return memory + GUARD_NUMBERS;
}

static inline void free_guarded(affect_backend *backend, float *memory) {
    backend->ops->deallocate(backend, memory - GUARD_NUMBERS);
}

/* The numbers that came out; their guards must be as they were. */
static inline void read_guarded(float *values, affect_backend *backend, const float *memory,
                                size_t n) {
    size_t all = n + 2 * GUARD_NUMBERS;
    float *host = malloc(all * sizeof *host);
    backend->ops->download(backend, host, memory - GUARD_NUMBERS, all * sizeof *host);
    CHECK_OK(affect_backend_synchronize(backend, err));
    bool kept = true;
    for (size_t i = 0; i < GUARD_NUMBERS; i++)
        kept = kept && host[i] == GUARD_VALUE && host[GUARD_NUMBERS + n + i] == GUARD_VALUE;
    CHECK(kept);
    memcpy(values, host + GUARD_NUMBERS, n * sizeof *values);
    free(host);
}

#endif
