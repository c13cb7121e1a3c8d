/* The CPU backend: memory, copies, and the table that names every operation. */
#include "engine/device/cpu/cpu_backend.h"

#include "engine/device/cpu/cpu_open.h"

#include <string.h>

static void cpu_free(affect_backend *backend) {
    affect_parallel_free(affect_cpu_of(backend)->pool);
    free(backend);
}

static affect_status cpu_synchronize(affect_backend *backend, affect_error *err) {
    if (err && backend->error.status != AFFECT_STATUS_OK) *err = backend->error;
    return backend->error.status;
}

static void *cpu_allocate(affect_backend *backend, size_t n_bytes) {
    if (!affect_cpu_ready(backend)) return NULL;
    void *memory = aligned_alloc(64, affect_cpu_lines(n_bytes ? n_bytes : 1));
    if (!memory) affect_fail(&backend->error, NO_MEMORY, "no memory for %zu bytes", n_bytes);
    return memory;
}

static void cpu_deallocate(affect_backend *backend, void *memory) {
    (void)backend;
    free(memory);
}

static void cpu_zero(affect_backend *backend, void *memory, size_t n_bytes) {
    if (affect_cpu_ready(backend) && n_bytes) memset(memory, 0, n_bytes);
}

static void cpu_copy(affect_backend *backend, void *to, const void *from, size_t n_bytes) {
    if (affect_cpu_ready(backend) && n_bytes) memcpy(to, from, n_bytes);
}

static void cpu_copy_runs(affect_backend *backend, affect_real *to, const affect_real *from,
                          const affect_run *runs, size_t n_runs) {
    for (size_t i = 0; i < n_runs; i++)
        cpu_copy(backend, to + runs[i].to, from + runs[i].from, runs[i].count * sizeof *to);
}

/* Operations run as they are called: there is nothing to record or to wait for. */
static void cpu_use_stream(affect_backend *backend, int stream) {
    (void)backend, (void)stream;
}

static void cpu_record_begin(affect_backend *backend) {
    (void)backend;
}
static void cpu_record_end(affect_backend *backend, int kind) {
    (void)backend, (void)kind;
}
static void cpu_mark(affect_backend *backend, int mark) {
    (void)backend, (void)mark;
}
static size_t cpu_memory_free(affect_backend *backend) {
    (void)backend;
    return 0;
}

static const affect_backend_ops cpu_ops = {
    .version = AFFECT_BACKEND_VERSION,
    .real_size = sizeof(affect_real),
    .name = "cpu",
    .n_streams = 1,
    .level = AFFECT_CPU_LEVEL_NAME,
    .free = cpu_free,
    .synchronize = cpu_synchronize,
    .allocate = cpu_allocate,
    .deallocate = cpu_deallocate,
    .zero = cpu_zero,
    .copy = cpu_copy,
    .upload = cpu_copy,
    .download = cpu_copy,
    .add = affect_cpu_add,
    .copy_rows = affect_cpu_copy_rows,
    .copy_runs = cpu_copy_runs,
    .put = cpu_copy,
    .record_begin = cpu_record_begin,
    .record_end = cpu_record_end,
    .fork = cpu_record_begin,
    .use_stream = cpu_use_stream,
    .join = cpu_record_begin,
    .allocate_host = cpu_allocate,
    .deallocate_host = cpu_deallocate,
    .mark = cpu_mark,
    .wait_for = cpu_mark,
    .memory_free = cpu_memory_free,
    .conv1d_workspace = affect_cpu_conv1d_workspace,
    .conv1d_forward = affect_cpu_conv1d_forward,
    .conv1d_backward = affect_cpu_conv1d_backward,
    .conv1d_pool_switches = affect_cpu_conv1d_pool_switches,
    .conv1d_pool_workspace = affect_cpu_conv1d_pool_workspace,
    .conv1d_pool_forward = affect_cpu_conv1d_pool_forward,
    .conv1d_pool_backward = affect_cpu_conv1d_pool_backward,
    .pool1d_forward = affect_cpu_pool1d_forward,
    .pool1d_backward = affect_cpu_pool1d_backward,
    .batch_norm_forward = affect_cpu_batch_norm_forward,
    .batch_norm_infer = affect_cpu_batch_norm_infer,
    .batch_norm_backward = affect_cpu_batch_norm_backward,
    .layer_norm_forward = affect_cpu_layer_norm_forward,
    .layer_norm_backward = affect_cpu_layer_norm_backward,
    .window2d_forward = affect_cpu_window2d_forward,
    .window2d_backward = affect_cpu_window2d_backward,
    .pool2d_forward = affect_cpu_pool2d_forward,
    .pool2d_backward = affect_cpu_pool2d_backward,
    .pool_steps_forward = affect_cpu_pool_steps_forward,
    .pool_steps_backward = affect_cpu_pool_steps_backward,
    .dropout = affect_cpu_dropout,
    .activation_forward = affect_cpu_activation_forward,
    .activation_backward = affect_cpu_activation_backward,
    .lstm_reserve = affect_cpu_lstm_reserve,
    .lstm_workspace = affect_cpu_lstm_workspace,
    .lstm_forward = affect_cpu_lstm_forward,
    .lstm_backward = affect_cpu_lstm_backward,
    .cross_entropy = affect_cpu_cross_entropy,
    .l2_penalty = affect_cpu_l2_penalty,
    .adam_step = affect_cpu_adam_step,
};

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
