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

/* The operations, file by file; contracts in device/backend.h. */
size_t affect_cpu_conv1d_workspace(affect_backend *, const affect_conv1d_shape *);
void affect_cpu_conv1d_forward(affect_backend *, affect_real *, const affect_real *,
                               const affect_real *, const affect_real *, void *,
                               const affect_conv1d_shape *);
void affect_cpu_conv1d_backward(affect_backend *, affect_real *, affect_real *, affect_real *,
                                affect_real *, const affect_real *, const affect_real *,
                                const affect_real *, void *, const affect_conv1d_shape *);
size_t affect_cpu_conv1d_pool_switches(affect_backend *, const affect_conv1d_shape *);
size_t affect_cpu_conv1d_pool_workspace(affect_backend *, const affect_conv1d_shape *);
void affect_cpu_conv1d_pool_forward(affect_backend *, affect_real *, uint32_t *,
                                    const affect_real *, const affect_real *, const affect_real *,
                                    void *, const affect_conv1d_shape *);
void affect_cpu_conv1d_pool_backward(affect_backend *, affect_real *, affect_real *, affect_real *,
                                     const affect_real *, const affect_real *, const affect_real *,
                                     const uint32_t *, const affect_real *, void *,
                                     const affect_conv1d_shape *);
void affect_cpu_pool1d_forward(affect_backend *, affect_real *, const affect_real *,
                               const affect_pool1d_shape *);
void affect_cpu_pool1d_backward(affect_backend *, affect_real *, const affect_real *,
                                const affect_real *, const affect_real *,
                                const affect_pool1d_shape *);
void affect_cpu_batch_norm_forward(affect_backend *, affect_real *, affect_real *, affect_real *,
                                   affect_real *, const affect_real *, const affect_real *,
                                   const affect_real *, const affect_batch_norm_shape *);
void affect_cpu_batch_norm_infer(affect_backend *, affect_real *, const affect_real *,
                                 const affect_real *, const affect_real *, const affect_real *,
                                 const affect_real *, const affect_batch_norm_shape *);
void affect_cpu_batch_norm_backward(affect_backend *, affect_real *, affect_real *, affect_real *,
                                    const affect_real *, const affect_real *, const affect_real *,
                                    const affect_real *, const affect_batch_norm_shape *);
void affect_cpu_dropout(affect_backend *, affect_real *, const affect_real *,
                        const affect_dropout_shape *);
void affect_cpu_activation_forward(affect_backend *, affect_real *, const affect_real *, size_t,
                                   size_t, affect_activation);
void affect_cpu_activation_backward(affect_backend *, affect_real *, const affect_real *,
                                    const affect_real *, size_t, size_t, affect_activation);
void affect_cpu_copy_rows(affect_backend *, affect_real *, size_t, const affect_real *, size_t,
                          size_t, size_t);
void affect_cpu_add(affect_backend *, affect_real *, const affect_real *, size_t);
void affect_cpu_layer_norm_forward(affect_backend *, affect_real *, affect_real *,
                                   const affect_real *, const affect_real *, const affect_real *,
                                   const affect_layer_norm_shape *);
void affect_cpu_layer_norm_backward(affect_backend *, affect_real *, affect_real *, affect_real *,
                                    const affect_real *, const affect_real *, const affect_real *,
                                    const affect_real *, const affect_layer_norm_shape *);
void affect_cpu_window2d_forward(affect_backend *, affect_real *, const affect_real *,
                                 const affect_window2d_shape *);
void affect_cpu_window2d_backward(affect_backend *, affect_real *, const affect_real *,
                                  const affect_window2d_shape *);
void affect_cpu_pool2d_forward(affect_backend *, affect_real *, const affect_real *,
                               const affect_window2d_shape *);
void affect_cpu_pool2d_backward(affect_backend *, affect_real *, const affect_real *,
                                const affect_real *, const affect_real *,
                                const affect_window2d_shape *);
void affect_cpu_pool_steps_forward(affect_backend *, affect_real *, affect_real *,
                                   const affect_real *, const affect_real *,
                                   const affect_pool_steps_shape *);
void affect_cpu_pool_steps_backward(affect_backend *, affect_real *, affect_real *,
                                    const affect_real *, const affect_real *, const affect_real *,
                                    const affect_real *, const affect_pool_steps_shape *);
size_t affect_cpu_lstm_reserve(affect_backend *, const affect_lstm_shape *);
size_t affect_cpu_lstm_workspace(affect_backend *, const affect_lstm_shape *);
void affect_cpu_lstm_forward(affect_backend *, affect_real *, void *, const affect_real *,
                             const affect_lstm_parameters *, void *, const affect_lstm_shape *);
void affect_cpu_lstm_backward(affect_backend *, affect_real *, const affect_lstm_parameters *,
                              const affect_real *, const affect_real *, const affect_real *, void *,
                              const affect_lstm_parameters *, void *, const affect_lstm_shape *);
void affect_cpu_cross_entropy(affect_backend *, affect_real *, double *, const affect_real *,
                              const int32_t *, const affect_real *, const affect_loss_shape *);
void affect_cpu_l2_penalty(affect_backend *, double *, affect_real *, const affect_real *, size_t,
                           double, double);
void affect_cpu_adam_step(affect_backend *, affect_real *, affect_real *, affect_real *,
                          const affect_real *, const affect_adam_shape *);

#endif
