/* The CPU engine's inside: what its files share. No file outside engine/device/cpu/ includes this.
 *
 * Every operation splits its rows, items, channels or directions into the pool's fixed ranges and
 * computes each on tiles that fit the L2 cache, all products by cpu_product. Sums that cross ranges
 * go to one buffer a range, added in the order of the ranges, so results depend on the number of
 * threads and the level of vector instructions (cpu_names.h), never on timing. The files are named
 * after the operations; each defines functions of the table in cpu_backend.c. */
#ifndef AFFECT_CPU_CPU_BACKEND_H
#define AFFECT_CPU_CPU_BACKEND_H

#include "engine/core/parallel.h"
#include "engine/device/backend.h"
#include "engine/device/cpu/cpu_names.h"

#include <stdlib.h>

typedef struct {
    affect_backend base;
    affect_parallel *pool;
    size_t n_threads;
} affect_cpu;

static inline affect_cpu *affect_cpu_of(affect_backend *backend) {
    return (affect_cpu *)backend;
}

/* False after a failure: the operation must do nothing. */
static inline bool affect_cpu_ready(const affect_backend *backend) {
    return backend->error.status == AFFECT_STATUS_OK;
}

/* Runs the task on the pool's ranges of n items (core/parallel.h) with denormal numbers flushed to
 * zero: gradients that fade over hundreds of steps would be a hundred times slower otherwise. */
void affect_cpu_run(affect_backend *backend, size_t n, affect_parallel_task *task, void *context);

/* Bytes rounded up to whole cache lines: how workspaces are cut into parts. */
static inline size_t affect_cpu_lines(size_t n_bytes) {
    return (n_bytes + 63) / 64 * 64;
}

/* Takes n numbers from the front of a workspace. */
static inline affect_real *affect_cpu_take(char **workspace, size_t n) {
    affect_real *taken = (affect_real *)*workspace;
    *workspace += affect_cpu_lines(n * sizeof *taken);
    return taken;
}

/* x (rows, n) *= derivative of the activation by its value y; softmax and linear leave it alone. */
void affect_cpu_activation_gradient(affect_real *d, const affect_real *y, size_t n,
                                    affect_activation activation);
/* y = activation(y) on rows of n numbers. */
void affect_cpu_activate(affect_real *y, size_t rows, size_t n, affect_activation activation);

/* The operations; contracts in device/operations.h. */
#define AFFECT_CPU_DECLARED(type, name, parameters) type AFFECT_CPU_OPERATION(name) parameters;
AFFECT_OPERATIONS(AFFECT_CPU_DECLARED)

#endif
