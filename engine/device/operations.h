/* The operations of a device: the one place that names them all (backend.h).
 *
 * A row is ROW(type, name, (parameters)): backend.h makes the table's members of it, each backend
 * its functions' declarations and its table, backend_names.c the list of names, and the tests
 * (tests/bench/gpu/op_cases.py) the list of what must be tried. To add one: a row here, the
 * function in engine/device/cpu/ and engine/device/cuda/ (without it nothing links), a request in
 * run_ops.c and a case in op_cases.py (without them a test fails).
 *
 * Conventions of every operation:
 *  - tensors are row-major and contiguous unless a stride is named; layouts and formulas are
 *    Keras 3's;
 *  - gradients of parameters (d_kernel, d_bias, ...) are ADDED to what is there, so that batches
 *    accumulate; gradients of activations (d_x) are WRITTEN, unless the comment says added;
 *  - outputs never overlap inputs unless the comment says "may be the same";
 *  - `workspace` is scratch of at least the stated bytes, undefined before and after. */
#ifndef AFFECT_DEVICE_OPERATIONS_H
#define AFFECT_DEVICE_OPERATIONS_H

/* clang-format off */
#define AFFECT_OPERATIONS(ROW)                                                                     \
    ROW(void, free, (affect_backend *backend))                                                     \
    ROW(affect_status, synchronize, (affect_backend *backend, affect_error *err))                  \
                                                                                                   \
    /* Memory, aligned to 64 bytes. allocate returns NULL and sticks NO_MEMORY when it fails. */   \
    ROW(void *, allocate, (affect_backend *backend, size_t n_bytes))                               \
    ROW(void, deallocate, (affect_backend *backend, void *memory))                                 \
    ROW(void, zero, (affect_backend *backend, void *memory, size_t n_bytes))                       \
    ROW(void, copy, (affect_backend *backend, void *to, const void *from, size_t n_bytes))         \
    ROW(void, upload, (affect_backend *backend, void *to, const void *from_host,                   \
        size_t n_bytes))                                                                           \
    ROW(void, download, (affect_backend *backend, void *to_host, const void *from,                 \
        size_t n_bytes))                                                                           \
    /* y[i] += x[i], i < n. */                                                                     \
    ROW(void, add, (affect_backend *backend, affect_real *y, const affect_real *x,                 \
        size_t n))                                                                                 \
    /* Copies rows: to[r * to_stride + c] = from[r * from_stride + c], c < columns (in
     * numbers). */                                                                                \
    ROW(void, copy_rows, (affect_backend *backend, affect_real *to, size_t to_stride,              \
        const affect_real *from, size_t from_stride, size_t rows, size_t columns))                 \
    /* Gathers: to[r.to + i] = from[r.from + i], i < r.count, for each run r (host, copied). */    \
    ROW(void, copy_runs, (affect_backend *backend, affect_real *to,                                \
        const affect_real *from, const affect_run *runs, size_t n_runs))                           \
    /* Copies host bytes of a small array (lengths, offsets) to an 8-byte aligned place; the host
     * memory is free at once, also in a recording. */                                             \
    ROW(void, put, (affect_backend *backend, void *to, const void *from_host,                      \
        size_t n_bytes))                                                                           \
                                                                                                   \
    /* c = alpha op(a) op(b) + beta c, for sums over rows in training: equal bits for every
     * number of threads, but a row of c may depend on how many rows there are. */                 \
    ROW(void, gemm, (affect_backend *backend, affect_real *c, const affect_real *a,                \
        const affect_real *b, const affect_gemm_shape *shape))                                     \
    /* The same for each of a batch of matrices, whose bits depend on its own shape only: those
     * of a prediction are the same in any batch. */                                               \
    ROW(void, gemm_batched, (affect_backend *backend, affect_real *c,                              \
        const affect_real *a, const affect_real *b, const affect_gemm_shape *shape,                \
        const affect_gemm_batch *batch))                                                           \
    /* What gemm and gemm_batched compute with where their bits depend on it: "OpenBLAS 0.3.21,
     * SkylakeX" (version, and the processor that its kernels are for), "none" where there is
     * none and the CPU's own loops run; "" on CUDA. Borrowed for ever. */                         \
    ROW(const char *, gemm_library, (affect_backend *backend))                                     \
                                                                                                   \
    /* ids[i] = x[i], i < n; -1 where x[i] is no whole number from 0 to 2^31 - 1. */               \
    ROW(void, read_ids, (affect_backend *backend, int32_t *ids, const affect_real *x, size_t n))   \
    /* Rows of a table by number: y (n, columns) = table[ids[i]], 0 where ids[i] is not in 0 ..
     * rows - 1. scatter_add: d_table[ids[i]] += d_y[i], in the order of i; ids outside add
     * nothing. Equal bits for every number of threads. */                                         \
    ROW(void, gather, (affect_backend *backend, affect_real *y, const affect_real *table,          \
        const int32_t *ids, const affect_gather_shape *shape))                                     \
    ROW(void, scatter_add, (affect_backend *backend, affect_real *d_table,                         \
        const affect_real *d_y, const int32_t *ids, const affect_gather_shape *shape))             \
                                                                                                   \
    /* What is enqueued between the two may be recorded and started as a whole at the end; in
     * between: no upload, download, allocation, mark, wait_for or synchronize. Recordings of
     * one kind (0 .. AFFECT_RECORDING_KINDS - 1) are expected to differ in arguments only. */     \
    ROW(void, record_begin, (affect_backend *backend))                                             \
    ROW(void, record_end, (affect_backend *backend, int kind))                                     \
                                                                                                   \
    /* Work side by side. After fork, use_stream(i) sends what is enqueued to stream i (0 ..
     * n_streams - 1; fork itself continues with 0), until join, from which on everything comes
     * after all streams. Between the two a stream sees what was enqueued before fork and its
     * own work: outputs, scratch and workspaces of streams must be apart. Where n_streams is 1
     * these do nothing. */                                                                        \
    ROW(void, fork, (affect_backend *backend))                                                     \
    ROW(void, use_stream, (affect_backend *backend, int stream))                                   \
    ROW(void, join, (affect_backend *backend))                                                     \
                                                                                                   \
    /* Host memory that uploads read while the host continues (pinned). A mark is a place in
     * the order of what is enqueued; wait_for returns when everything before the mark's last
     * place is done. marks: 0 .. AFFECT_MARKS - 1. */                                             \
    ROW(void *, allocate_host, (affect_backend *backend, size_t n_bytes))                          \
    ROW(void, deallocate_host, (affect_backend *backend, void *memory))                            \
    ROW(void, mark, (affect_backend *backend, int mark))                                           \
    ROW(void, wait_for, (affect_backend *backend, int mark))                                       \
    /* Bytes of the device that are free; 0: its memory is the host's. */                          \
    ROW(size_t, memory_free, (affect_backend *backend))                                            \
                                                                                                   \
    ROW(size_t, conv1d_workspace, (affect_backend *backend,                                        \
        const affect_conv1d_shape *shape))                                                         \
    ROW(void, conv1d_forward, (affect_backend *backend, affect_real *y,                            \
        const affect_real *x, const affect_real *kernel, const affect_real *bias,                  \
        void *workspace, const affect_conv1d_shape *shape))                                        \
    /* d_y is overwritten with the gradient before the activation. d_x, d_kernel, d_bias may be
     * NULL. With a softmax activation d_y must already be the gradient of the logits (see
     * loss). */                                                                                   \
    ROW(void, conv1d_backward, (affect_backend *backend, affect_real *d_x,                         \
        affect_real *d_kernel, affect_real *d_bias, affect_real *d_y, const affect_real *x,        \
        const affect_real *y, const affect_real *kernel, void *workspace,                          \
        const affect_conv1d_shape *shape))                                                         \
                                                                                                   \
    /* conv1d with relu, then the maximum of each pair of positions (size and stride 2, an odd
     * last position left out): y (n, length_out / 2, filters) in one pass, without the
     * convolution's own output in memory. switches: conv1d_pool_switches bytes that say which
     * of each pair was the maximum (the first when equal), for backward; NULL in inference.
     * Backward: d_y is read only; positions that lost their pair or whose maximum is 0 send no
     * gradient. */                                                                                \
    ROW(size_t, conv1d_pool_switches, (affect_backend *backend,                                    \
        const affect_conv1d_shape *shape))                                                         \
    ROW(size_t, conv1d_pool_workspace, (affect_backend *backend,                                   \
        const affect_conv1d_shape *shape))                                                         \
    ROW(void, conv1d_pool_forward, (affect_backend *backend, affect_real *y,                       \
        uint32_t *switches, const affect_real *x, const affect_real *kernel,                       \
        const affect_real *bias, void *workspace, const affect_conv1d_shape *shape))               \
    ROW(void, conv1d_pool_backward, (affect_backend *backend, affect_real *d_x,                    \
        affect_real *d_kernel, affect_real *d_bias, const affect_real *d_y,                        \
        const affect_real *x, const affect_real *y, const uint32_t *switches,                      \
        const affect_real *kernel, void *workspace, const affect_conv1d_shape *shape))             \
                                                                                                   \
    ROW(void, pool1d_forward, (affect_backend *backend, affect_real *y,                            \
        const affect_real *x, const affect_pool1d_shape *shape))                                   \
    /* The gradient goes to the first maximum of each window. */                                   \
    ROW(void, pool1d_backward, (affect_backend *backend, affect_real *d_x,                         \
        const affect_real *d_y, const affect_real *x, const affect_real *y,                        \
        const affect_pool1d_shape *shape))                                                         \
                                                                                                   \
    /* Training: normalises by the batch's mean and biased variance, keeps mean and 1/deviation
     * in `saved` (2, channels), and moves the statistics: moving = moving momentum + batch (1
     * - momentum). */                                                                             \
    ROW(void, batch_norm_forward, (affect_backend *backend, affect_real *y,                        \
        affect_real *saved, affect_real *moving_mean, affect_real *moving_variance,                \
        const affect_real *x, const affect_real *gamma, const affect_real *beta,                   \
        const affect_batch_norm_shape *shape))                                                     \
    ROW(void, batch_norm_infer, (affect_backend *backend, affect_real *y,                          \
        const affect_real *x, const affect_real *gamma, const affect_real *beta,                   \
        const affect_real *moving_mean, const affect_real *moving_variance,                        \
        const affect_batch_norm_shape *shape))                                                     \
    ROW(void, batch_norm_backward, (affect_backend *backend, affect_real *d_x,                     \
        affect_real *d_gamma, affect_real *d_beta, const affect_real *d_y,                         \
        const affect_real *x, const affect_real *gamma, const affect_real *saved,                  \
        const affect_batch_norm_shape *shape))                                                     \
                                                                                                   \
    /* y = gamma (x - mean) / sqrt(variance + epsilon) + beta over the channels of each row,
     * with the biased variance; saved (2, rows), or NULL in inference: mean and 1/deviation.
     * Backward: d_x may be NULL. */                                                               \
    ROW(void, layer_norm_forward, (affect_backend *backend, affect_real *y,                        \
        affect_real *saved, const affect_real *x, const affect_real *gamma,                        \
        const affect_real *beta, const affect_layer_norm_shape *shape))                            \
    ROW(void, layer_norm_backward, (affect_backend *backend, affect_real *d_x,                     \
        affect_real *d_gamma, affect_real *d_beta, const affect_real *d_y,                         \
        const affect_real *x, const affect_real *gamma, const affect_real *saved,                  \
        const affect_layer_norm_shape *shape))                                                     \
                                                                                                   \
    /* columns (n height_out width_out, window_height window_width channels) = what each window
     * covers of x, 0 beyond the edges: a convolution is then a product. Backward: each number
     * of d_x is the sum over the windows that cover it. */                                        \
    ROW(void, window2d_forward, (affect_backend *backend, affect_real *columns,                    \
        const affect_real *x, const affect_window2d_shape *shape))                                 \
    ROW(void, window2d_backward, (affect_backend *backend, affect_real *d_x,                       \
        const affect_real *d_columns, const affect_window2d_shape *shape))                         \
    /* y (n, height_out, width_out, channels) = the maximum of each window, clipped to the
     * image. Backward: to the first maximum, row by row. */                                       \
    ROW(void, pool2d_forward, (affect_backend *backend, affect_real *y,                            \
        const affect_real *x, const affect_window2d_shape *shape))                                 \
    ROW(void, pool2d_backward, (affect_backend *backend, affect_real *d_x,                         \
        const affect_real *d_y, const affect_real *x, const affect_real *y,                        \
        const affect_window2d_shape *shape))                                                       \
                                                                                                   \
    /* weights (batch, steps): written, 0 in masked steps. scores (batch, steps) or NULL. A
     * sequence without steps gives 0. Backward: d_x and d_scores may be NULL; masked steps get
     * 0. */                                                                                       \
    ROW(void, pool_steps_forward, (affect_backend *backend, affect_real *y,                        \
        affect_real *weights, const affect_real *x, const affect_real *scores,                     \
        const affect_pool_steps_shape *shape))                                                     \
    ROW(void, pool_steps_backward, (affect_backend *backend, affect_real *d_x,                     \
        affect_real *d_scores, const affect_real *d_y, const affect_real *x,                       \
        const affect_real *y, const affect_real *weights,                                          \
        const affect_pool_steps_shape *shape))                                                     \
                                                                                                   \
    /* y = softmax of each row of x, 0 in masked columns; a row of masked columns alone gives 0.
     * Backward: d_x = y (d_y - sum of y d_y). y and x, d_x and d_y may be the same. */            \
    ROW(void, masked_softmax_forward, (affect_backend *backend, affect_real *y,                    \
        const affect_real *x, const affect_softmax_shape *shape))                                  \
    ROW(void, masked_softmax_backward, (affect_backend *backend, affect_real *d_x,                 \
        const affect_real *d_y, const affect_real *y, const affect_softmax_shape *shape))          \
                                                                                                   \
    /* The same function forward (x to y) and backward (d_y to d_x); may be the same memory. */    \
    ROW(void, dropout, (affect_backend *backend, affect_real *y, const affect_real *x,             \
        const affect_dropout_shape *shape))                                                        \
                                                                                                   \
    /* On rows of n numbers; y and x may be the same. Backward: d_x from d_y and y; not for
     * softmax. */                                                                                 \
    ROW(void, activation_forward, (affect_backend *backend, affect_real *y,                        \
        const affect_real *x, size_t rows, size_t n, affect_activation activation))                \
    ROW(void, activation_backward, (affect_backend *backend, affect_real *d_x,                     \
        const affect_real *d_y, const affect_real *y, size_t rows, size_t n,                       \
        affect_activation activation))                                                             \
                                                                                                   \
    /* `reserve` carries what backward needs from forward. Inference passes reserve = NULL. */     \
    ROW(size_t, lstm_reserve, (affect_backend *backend, const affect_lstm_shape *shape))           \
    ROW(size_t, lstm_workspace, (affect_backend *backend, const affect_lstm_shape *shape))         \
    ROW(void, lstm_forward, (affect_backend *backend, affect_real *y, void *reserve,               \
        const affect_real *x, const affect_lstm_parameters *parameters, void *workspace,           \
        const affect_lstm_shape *shape))                                                           \
    /* d_x may be NULL. `reserve` is consumed (may be overwritten). */                             \
    ROW(void, lstm_backward, (affect_backend *backend, affect_real *d_x,                           \
        const affect_lstm_parameters *gradients, const affect_real *d_y, const affect_real *x,     \
        const affect_real *y, void *reserve, const affect_lstm_parameters *parameters,             \
        void *workspace, const affect_lstm_shape *shape))                                          \
                                                                                                   \
    /* probabilities (batch, classes), labels (batch), weights (batch) or NULL; d_logits or
     * NULL. */                                                                                    \
    ROW(void, cross_entropy, (affect_backend *backend, affect_real *d_logits,                      \
        double *stats, const affect_real *probabilities, const int32_t *labels,                    \
        const affect_real *weights, const affect_loss_shape *shape))                               \
    /* total[0] += weight scale sum of squares of w[0..n); when d_w is given, d_w += 2 scale w. */ \
    ROW(void, l2_penalty, (affect_backend *backend, double *total, affect_real *d_w,               \
        const affect_real *w, size_t n, double scale, double weight))                              \
    ROW(void, adam_step, (affect_backend *backend, affect_real *parameters,                        \
        affect_real *m, affect_real *v, const affect_real *gradients,                              \
        const affect_adam_shape *shape))
/* clang-format on */

#endif
