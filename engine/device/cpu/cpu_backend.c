/* The CPU backend: memory, copies, and the table that names every operation. */
#include "engine/device/cpu/cpu_backend.h"

#include "engine/device/cpu/cpu_open.h"

#include <string.h>

void AFFECT_CPU_OPERATION(free)(affect_backend *backend) {
    affect_parallel_free(affect_cpu_of(backend)->pool);
    free(backend);
}

affect_status AFFECT_CPU_OPERATION(synchronize)(affect_backend *backend, affect_error *err) {
    if (err && backend->error.status != AFFECT_STATUS_OK) *err = backend->error;
    return backend->error.status;
}

void *AFFECT_CPU_OPERATION(allocate)(affect_backend *backend, size_t n_bytes) {
    if (!affect_cpu_ready(backend)) return NULL;
    void *memory = aligned_alloc(64, affect_cpu_lines(n_bytes ? n_bytes : 1));
    if (!memory) affect_fail(&backend->error, NO_MEMORY, "no memory for %zu bytes", n_bytes);
    return memory;
}

void AFFECT_CPU_OPERATION(deallocate)(affect_backend *backend, void *memory) {
    (void)backend;
    free(memory);
}

void AFFECT_CPU_OPERATION(zero)(affect_backend *backend, void *memory, size_t n_bytes) {
    if (affect_cpu_ready(backend) && n_bytes) memset(memory, 0, n_bytes);
}

void AFFECT_CPU_OPERATION(copy)(affect_backend *backend, void *to, const void *from,
                                size_t n_bytes) {
    if (affect_cpu_ready(backend) && n_bytes) memcpy(to, from, n_bytes);
}

void AFFECT_CPU_OPERATION(copy_runs)(affect_backend *backend, affect_real *to,
                                     const affect_real *from, const affect_run *runs,
                                     size_t n_runs) {
    for (size_t i = 0; i < n_runs; i++)
        backend->ops->copy(backend, to + runs[i].to, from + runs[i].from,
                           runs[i].count * sizeof *to);
}

void AFFECT_CPU_OPERATION(upload)(affect_backend *backend, void *to, const void *from_host,
                                  size_t n_bytes) {
    backend->ops->copy(backend, to, from_host, n_bytes);
}

void AFFECT_CPU_OPERATION(download)(affect_backend *backend, void *to_host, const void *from,
                                    size_t n_bytes) {
    backend->ops->copy(backend, to_host, from, n_bytes);
}

void AFFECT_CPU_OPERATION(put)(affect_backend *backend, void *to, const void *from_host,
                               size_t n_bytes) {
    backend->ops->copy(backend, to, from_host, n_bytes);
}

void *AFFECT_CPU_OPERATION(allocate_host)(affect_backend *backend, size_t n_bytes) {
    return backend->ops->allocate(backend, n_bytes);
}

void AFFECT_CPU_OPERATION(deallocate_host)(affect_backend *backend, void *memory) {
    backend->ops->deallocate(backend, memory);
}

size_t AFFECT_CPU_OPERATION(memory_free)(affect_backend *backend) {
    (void)backend;
    return 0;
}

/* Operations run as they are called: there is nothing to record, to order or to wait for. */
void AFFECT_CPU_OPERATION(record_begin)(affect_backend *backend) {
    (void)backend;
}
void AFFECT_CPU_OPERATION(record_end)(affect_backend *backend, int kind) {
    (void)backend, (void)kind;
}
void AFFECT_CPU_OPERATION(fork)(affect_backend *backend) {
    (void)backend;
}
void AFFECT_CPU_OPERATION(use_stream)(affect_backend *backend, int stream) {
    (void)backend, (void)stream;
}
void AFFECT_CPU_OPERATION(join)(affect_backend *backend) {
    (void)backend;
}
void AFFECT_CPU_OPERATION(mark)(affect_backend *backend, int mark) {
    (void)backend, (void)mark;
}
void AFFECT_CPU_OPERATION(wait_for)(affect_backend *backend, int mark) {
    (void)backend, (void)mark;
}

#define OPERATION(type, name, parameters) .name = AFFECT_CPU_OPERATION(name),
static const affect_backend_ops cpu_ops = {.version = AFFECT_BACKEND_VERSION,
                                           .real_size = sizeof(affect_real),
                                           .name = "cpu",
                                           .n_streams = 1,
                                           .level = AFFECT_CPU_LEVEL_NAME,
                                           AFFECT_OPERATIONS(OPERATION)};

affect_status affect_cpu_open_level(affect_backend **backend, int n_threads, affect_error *err) {
    affect_cpu *cpu = calloc(1, sizeof *cpu);
    if (!cpu) return affect_fail(err, NO_MEMORY, "cpu: no memory");
    affect_status status = affect_parallel_create(&cpu->pool, n_threads, err);
    if (status != AFFECT_STATUS_OK) {
        free(cpu);
        return status;
    }
    cpu->base.ops = &cpu_ops;
    cpu->n_threads = (size_t)affect_parallel_n_threads(cpu->pool);
    *backend = &cpu->base;
    return AFFECT_STATUS_OK;
}
