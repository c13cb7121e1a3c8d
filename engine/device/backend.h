/* The device interface: one table of functions that a CPU or a GPU fills in.
 *
 * A backend is a device opened for one thread: memory, copies, and one forward/backward pair per
 * operation. Pointers named in operations point to the device's memory. Operations are enqueued in
 * order and return nothing: the first failure sticks and affect_backend_synchronize reports it;
 * after a failure operations do nothing. Layers call the table directly:
 * backend->ops->dropout(backend, ...).
 *
 * Conventions of every operation:
 *  - tensors are row-major and contiguous unless a stride is named; layouts and formulas are Keras
 * 3's;
 *  - gradients of parameters (d_kernel, d_bias, ...) are ADDED to what is there, so that batches
 *    accumulate; gradients of activations (d_x) are WRITTEN, unless the comment says added;
 *  - outputs never overlap inputs unless the comment says "may be the same";
 *  - `workspace` is scratch of at least the stated bytes, undefined before and after.
 *
 * Valid C and C++ (a CUDA plug-in fills the same table). */
#ifndef AFFECT_DEVICE_BACKEND_H
#define AFFECT_DEVICE_BACKEND_H

#include "engine/core/random.h"
#include "engine/core/status.h"
#include "engine/core/tensor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bumped with every change of the table; a plug-in of another version is refused. */
#define AFFECT_BACKEND_VERSION 5

typedef enum {
    AFFECT_ACTIVATION_LINEAR,
    AFFECT_ACTIVATION_RELU,
    AFFECT_ACTIVATION_TANH,
    AFFECT_ACTIVATION_SIGMOID,
    AFFECT_ACTIVATION_SOFTMAX, /* over the last index */
    AFFECT_ACTIVATION_COUNT
} affect_activation;

/* y (n, length_out, filters) = activation(bias + sum_k x (n, length, channels) shifted by k .
 * kernel). kernel (kernel_size, channels, filters), bias (filters) or NULL. Zero padding of
 * pad_left before and as much as needed after. length_out is the caller's: floor((length + pads -
 * kernel_size) / stride) + 1. A dense layer is the case length = kernel_size = 1; time-distributed
 * layers fold the frames into n. */
typedef struct {
    size_t n, length, channels;
    size_t filters, kernel_size, stride, pad_left, length_out;
    affect_activation activation; /* softmax only for length_out = 1 */
} affect_conv1d_shape;

/* y (n, length_out, channels) = max over windows of pool_size at stride; windows are clipped to the
 * input when padding is `same` (pad_left > 0 or a last window past the end). */
typedef struct {
    size_t n, length, channels;
    size_t pool_size, stride, pad_left, length_out;
} affect_pool1d_shape;

/* Normalisation over `rows` for each of `channels` (the last index). */
typedef struct {
    size_t rows, channels;
    double momentum, epsilon;
} affect_batch_norm_shape;

/* Normalisation of each row over its channels. */
typedef struct {
    size_t rows, channels;
    double epsilon;
} affect_layer_norm_shape;

/* Windows that slide over images (height, width, channels): window (i, j) begins at row i
 * stride_height - pad_top and column j stride_width - pad_left. */
typedef struct {
    size_t n, height, width, channels;
    size_t window_height, window_width, stride_height, stride_width, pad_top, pad_left;
    size_t height_out, width_out;
} affect_window2d_shape;

/* Statistics over the steps of each sequence of x (batch, steps, channels), with weights a (batch,
 * steps) >= 0 whose sum over the steps is 1 (Okabe et al. 2018, "Attentive statistics pooling"):
 *   mean = sum_t a_t x_t; deviation = sqrt(sum_t a_t (x_t - mean)^2 + epsilon).
 * a = softmax over the steps of the scores, or 1 / steps without scores. */
typedef struct {
    size_t batch, steps, channels;
    bool deviation; /* y: (batch, 2 channels), means first; else (batch, channels) */
    double epsilon;
    const size_t *lengths; /* (batch) on the host: later steps are masked; NULL: none */
} affect_pool_steps_shape;

/* One or two recurrences over the same x (batch, steps, inputs); Keras' LSTM: gates i f c o,
 * sigmoid and tanh, zero initial state.
 *   n_rows > 0: x holds only the distinct rows of each sequence, rows first[b]..first[b + 1] - 1 of
 *      x (n_rows, inputs), first[0] = 0; every step after a sequence's last row reads that last row
 *      again. d_x has the same rows: the last one's gradient is the sum over the steps that read
 *      it. The mathematics are those of the full x.
 *   y: (batch, steps, directions u) with return_sequences, else the last states (batch, directions
 * u); direction 1 (backward) walks the steps in reverse, and its output at step t is what it had
 *      after reading steps T-1..t; its last state is the one at t = 0.
 *   lengths: steps lengths[b].. of sequence b are masked as in Keras: the state stays what it was;
 *      x is not read there, and gets no gradient. One direction repeats its last output (0 before
 *      the first, when it walks backwards); two directions give 0 in the masked steps of y.
 *      With n_rows > 0 only a sequence's last row may be masked.
 * With directions = 1, `reverse` makes that one walk backwards (Keras' go_backwards, but outputs
 * stay at their own steps, as Bidirectional needs). */
typedef struct {
    size_t batch, steps, inputs, units;
    int directions; /* 1 or 2 */
    bool reverse, return_sequences;
    size_t n_rows;         /* 0: x is full; else rows of x, or the most there may be (for sizes) */
    const size_t *first;   /* (batch + 1), where n_rows > 0 */
    const size_t *lengths; /* (batch) on the host: later steps are masked; NULL: none */
} affect_lstm_shape;

/* Parameters (or their gradients) of each direction. */
typedef struct {
    affect_real *kernel[2];           /* (inputs, 4 units) */
    affect_real *recurrent_kernel[2]; /* (units, 4 units) */
    affect_real *bias[2];             /* (4 units) or NULL */
} affect_lstm_parameters;

typedef struct {
    size_t n;
    double rate;           /* share set to zero; the rest is divided by 1 - rate */
    affect_random_key key; /* element i is dropped when uniform(key, first + i) < rate */
    uint64_t first;
} affect_dropout_shape;

/* One step of Adam in Keras' form on n parameters:
 *   m += (g - m)(1 - beta_1); v += (g^2 - v)(1 - beta_2);
 *   p -= rate sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v) + epsilon). */
typedef struct {
    size_t n;
    double learning_rate, beta_1, beta_2, epsilon;
    uint64_t step; /* t, from 1 */
} affect_adam_shape;

/* Cross-entropy of softmax outputs, and what an epoch counts.
 * stats: (2 + classes^2) doubles on the device, added to: [0] sum of weighted cross-entropies,
 * [1] number of rows, then the confusion matrix (true, predicted; ties go to the lower class).
 * Cross-entropy is -log(max(p, 1e-7)) as in Keras. */
typedef struct {
    size_t batch, classes;
    double divisor; /* d_logits = weight (p - onehot) / divisor */
} affect_loss_shape;

/* `count` numbers that go from one place to another. */
typedef struct {
    size_t to, from, count;
} affect_run;

/* What products are computed in. Accumulators, parameters, states and losses are fp32 in all. */
typedef enum {
    AFFECT_PRECISION_FP32, /* the only one of a CPU */
    AFFECT_PRECISION_TF32, /* factors rounded to 10 bits of mantissa */
    AFFECT_PRECISION_BF16, /* factors rounded to 7 bits of mantissa */
    AFFECT_PRECISION_COUNT,
    AFFECT_PRECISION_AUTO = AFFECT_PRECISION_COUNT /* to open: tf32 where the device has it */
} affect_precision;

/* "fp32", "tf32", "bf16", "auto", ended by NULL. */
extern const char *const affect_precision_names[];

enum { AFFECT_RECORDING_KINDS = 4, AFFECT_MARKS = 4, AFFECT_MAX_STREAMS = 2 };

typedef struct affect_backend affect_backend;

typedef struct affect_backend_ops {
    uint32_t version;   /* AFFECT_BACKEND_VERSION */
    uint32_t real_size; /* sizeof(affect_real) it was compiled for */
    const char *name;   /* "cpu", "cuda" */
    int n_streams;      /* at most AFFECT_MAX_STREAMS */
    const char *level;  /* cpu: the vector instructions used, "avx512" (core/cpu_level.h); or "" */

    void (*free)(affect_backend *backend);
    affect_status (*synchronize)(affect_backend *backend, affect_error *err);

    /* Memory, aligned to 64 bytes. allocate returns NULL and sticks NO_MEMORY when it fails. */
    void *(*allocate)(affect_backend *backend, size_t n_bytes);
    void (*deallocate)(affect_backend *backend, void *memory);
    void (*zero)(affect_backend *backend, void *memory, size_t n_bytes);
    void (*copy)(affect_backend *backend, void *to, const void *from, size_t n_bytes);
    void (*upload)(affect_backend *backend, void *to, const void *from_host, size_t n_bytes);
    void (*download)(affect_backend *backend, void *to_host, const void *from, size_t n_bytes);
    /* y[i] += x[i], i < n. */
    void (*add)(affect_backend *backend, affect_real *y, const affect_real *x, size_t n);
    /* Copies rows: to[r * to_stride + c] = from[r * from_stride + c], c < columns (in numbers). */
    void (*copy_rows)(affect_backend *backend, affect_real *to, size_t to_stride,
                      const affect_real *from, size_t from_stride, size_t rows, size_t columns);
    /* Gathers: to[r.to + i] = from[r.from + i], i < r.count, for each run r (host, copied). */
    void (*copy_runs)(affect_backend *backend, affect_real *to, const affect_real *from,
                      const affect_run *runs, size_t n_runs);
    /* Copies host bytes of a small array; the host memory is free at once, also in a recording. */
    void (*put)(affect_backend *backend, void *to, const void *from_host, size_t n_bytes);

    /* What is enqueued between the two may be recorded and started as a whole at the end; in
     * between: no upload, download, allocation, mark, wait_for or synchronize. Recordings of one
     * kind (0 .. AFFECT_RECORDING_KINDS - 1) are expected to differ in arguments only. */
    void (*record_begin)(affect_backend *backend);
    void (*record_end)(affect_backend *backend, int kind);

    /* Work side by side. After fork, use_stream(i) sends what is enqueued to stream i (0 ..
     * n_streams - 1; fork itself continues with 0), until join, from which on everything comes
     * after all streams. Between the two a stream sees what was enqueued before fork and its own
     * work: outputs, scratch and workspaces of streams must be apart. Where n_streams is 1 these do
     * nothing. */
    void (*fork)(affect_backend *backend);
    void (*use_stream)(affect_backend *backend, int stream);
    void (*join)(affect_backend *backend);

    /* Host memory that uploads read while the host continues (pinned). A mark is a place in the
     * order of what is enqueued; wait_for returns when everything before the mark's last place is
     * done. marks: 0 .. AFFECT_MARKS - 1. */
    void *(*allocate_host)(affect_backend *backend, size_t n_bytes);
    void (*deallocate_host)(affect_backend *backend, void *memory);
    void (*mark)(affect_backend *backend, int mark);
    void (*wait_for)(affect_backend *backend, int mark);
    /* Bytes of the device that are free; 0: its memory is the host's. */
    size_t (*memory_free)(affect_backend *backend);

    size_t (*conv1d_workspace)(affect_backend *backend, const affect_conv1d_shape *shape);
    void (*conv1d_forward)(affect_backend *backend, affect_real *y, const affect_real *x,
                           const affect_real *kernel, const affect_real *bias, void *workspace,
                           const affect_conv1d_shape *shape);
    /* d_y is overwritten with the gradient before the activation. d_x, d_kernel, d_bias may be
     * NULL. With a softmax activation d_y must already be the gradient of the logits (see loss). */
    void (*conv1d_backward)(affect_backend *backend, affect_real *d_x, affect_real *d_kernel,
                            affect_real *d_bias, affect_real *d_y, const affect_real *x,
                            const affect_real *y, const affect_real *kernel, void *workspace,
                            const affect_conv1d_shape *shape);

    /* conv1d with relu, then the maximum of each pair of positions (size and stride 2, an odd last
     * position left out): y (n, length_out / 2, filters) in one pass, without the convolution's own
     * output in memory. switches: conv1d_pool_switches bytes that say which of each pair was the
     * maximum (the first when equal), for backward; NULL in inference. Backward: d_y is read only;
     * positions that lost their pair or whose maximum is 0 send no gradient. */
    size_t (*conv1d_pool_switches)(affect_backend *backend, const affect_conv1d_shape *shape);
    size_t (*conv1d_pool_workspace)(affect_backend *backend, const affect_conv1d_shape *shape);
    void (*conv1d_pool_forward)(affect_backend *backend, affect_real *y, uint32_t *switches,
                                const affect_real *x, const affect_real *kernel,
                                const affect_real *bias, void *workspace,
                                const affect_conv1d_shape *shape);
    void (*conv1d_pool_backward)(affect_backend *backend, affect_real *d_x, affect_real *d_kernel,
                                 affect_real *d_bias, const affect_real *d_y, const affect_real *x,
                                 const affect_real *y, const uint32_t *switches,
                                 const affect_real *kernel, void *workspace,
                                 const affect_conv1d_shape *shape);

    void (*pool1d_forward)(affect_backend *backend, affect_real *y, const affect_real *x,
                           const affect_pool1d_shape *shape);
    /* The gradient goes to the first maximum of each window. */
    void (*pool1d_backward)(affect_backend *backend, affect_real *d_x, const affect_real *d_y,
                            const affect_real *x, const affect_real *y,
                            const affect_pool1d_shape *shape);

    /* Training: normalises by the batch's mean and biased variance, keeps mean and 1/deviation in
     * `saved` (2, channels), and moves the statistics: moving = moving momentum + batch (1 -
     * momentum). */
    void (*batch_norm_forward)(affect_backend *backend, affect_real *y, affect_real *saved,
                               affect_real *moving_mean, affect_real *moving_variance,
                               const affect_real *x, const affect_real *gamma,
                               const affect_real *beta, const affect_batch_norm_shape *shape);
    void (*batch_norm_infer)(affect_backend *backend, affect_real *y, const affect_real *x,
                             const affect_real *gamma, const affect_real *beta,
                             const affect_real *moving_mean, const affect_real *moving_variance,
                             const affect_batch_norm_shape *shape);
    void (*batch_norm_backward)(affect_backend *backend, affect_real *d_x, affect_real *d_gamma,
                                affect_real *d_beta, const affect_real *d_y, const affect_real *x,
                                const affect_real *gamma, const affect_real *saved,
                                const affect_batch_norm_shape *shape);

    /* y = gamma (x - mean) / sqrt(variance + epsilon) + beta over the channels of each row, with
     * the biased variance; saved (2, rows), or NULL in inference: mean and 1/deviation. Backward:
     * d_x may be NULL. */
    void (*layer_norm_forward)(affect_backend *backend, affect_real *y, affect_real *saved,
                               const affect_real *x, const affect_real *gamma,
                               const affect_real *beta, const affect_layer_norm_shape *shape);
    void (*layer_norm_backward)(affect_backend *backend, affect_real *d_x, affect_real *d_gamma,
                                affect_real *d_beta, const affect_real *d_y, const affect_real *x,
                                const affect_real *gamma, const affect_real *saved,
                                const affect_layer_norm_shape *shape);

    /* columns (n height_out width_out, window_height window_width channels) = what each window
     * covers of x, 0 beyond the edges: a convolution is then a product. Backward: each number of
     * d_x is the sum over the windows that cover it. */
    void (*window2d_forward)(affect_backend *backend, affect_real *columns, const affect_real *x,
                             const affect_window2d_shape *shape);
    void (*window2d_backward)(affect_backend *backend, affect_real *d_x,
                              const affect_real *d_columns, const affect_window2d_shape *shape);
    /* y (n, height_out, width_out, channels) = the maximum of each window, clipped to the image.
     * Backward: to the first maximum, row by row. */
    void (*pool2d_forward)(affect_backend *backend, affect_real *y, const affect_real *x,
                           const affect_window2d_shape *shape);
    void (*pool2d_backward)(affect_backend *backend, affect_real *d_x, const affect_real *d_y,
                            const affect_real *x, const affect_real *y,
                            const affect_window2d_shape *shape);

    /* weights (batch, steps): written, 0 in masked steps. scores (batch, steps) or NULL. A sequence
     * without steps gives 0. Backward: d_x and d_scores may be NULL; masked steps get 0. */
    void (*pool_steps_forward)(affect_backend *backend, affect_real *y, affect_real *weights,
                               const affect_real *x, const affect_real *scores,
                               const affect_pool_steps_shape *shape);
    void (*pool_steps_backward)(affect_backend *backend, affect_real *d_x, affect_real *d_scores,
                                const affect_real *d_y, const affect_real *x, const affect_real *y,
                                const affect_real *weights, const affect_pool_steps_shape *shape);

    /* The same function forward (x to y) and backward (d_y to d_x); may be the same memory. */
    void (*dropout)(affect_backend *backend, affect_real *y, const affect_real *x,
                    const affect_dropout_shape *shape);

    /* On rows of n numbers; y and x may be the same. Backward: d_x from d_y and y; not for softmax.
     */
    void (*activation_forward)(affect_backend *backend, affect_real *y, const affect_real *x,
                               size_t rows, size_t n, affect_activation activation);
    void (*activation_backward)(affect_backend *backend, affect_real *d_x, const affect_real *d_y,
                                const affect_real *y, size_t rows, size_t n,
                                affect_activation activation);

    /* `reserve` carries what backward needs from forward. Inference passes reserve = NULL. */
    size_t (*lstm_reserve)(affect_backend *backend, const affect_lstm_shape *shape);
    size_t (*lstm_workspace)(affect_backend *backend, const affect_lstm_shape *shape);
    void (*lstm_forward)(affect_backend *backend, affect_real *y, void *reserve,
                         const affect_real *x, const affect_lstm_parameters *parameters,
                         void *workspace, const affect_lstm_shape *shape);
    /* d_x may be NULL. `reserve` is consumed (may be overwritten). */
    void (*lstm_backward)(affect_backend *backend, affect_real *d_x,
                          const affect_lstm_parameters *gradients, const affect_real *d_y,
                          const affect_real *x, const affect_real *y, void *reserve,
                          const affect_lstm_parameters *parameters, void *workspace,
                          const affect_lstm_shape *shape);

    /* probabilities (batch, classes), labels (batch), weights (batch) or NULL; d_logits or NULL. */
    void (*cross_entropy)(affect_backend *backend, affect_real *d_logits, double *stats,
                          const affect_real *probabilities, const int32_t *labels,
                          const affect_real *weights, const affect_loss_shape *shape);
    /* total[0] += weight scale sum of squares of w[0..n); when d_w is given, d_w += 2 scale w. */
    void (*l2_penalty)(affect_backend *backend, double *total, affect_real *d_w,
                       const affect_real *w, size_t n, double scale, double weight);
    void (*adam_step)(affect_backend *backend, affect_real *parameters, affect_real *m,
                      affect_real *v, const affect_real *gradients, const affect_adam_shape *shape);
} affect_backend_ops;

/* What every backend starts with; a backend's own struct has it as first member. */
struct affect_backend {
    const affect_backend_ops *ops;
    affect_error error;         /* the first failure; status OK while there is none */
    affect_precision precision; /* that it computes in: not AUTO */
    char note[300];             /* why "auto" came to something else than asked for, or "" */
};

typedef struct {
    const char *device; /* "cpu", "cuda", "cuda:1", "auto" (cuda where it works, else cpu) */
    int n_threads;      /* CPU only; 0 = all cores this process may use */
    affect_precision precision;
} affect_backend_options;

/* Opens a device. *backend is owned by one thread, affect_backend_free. DEVICE_UNAVAILABLE says
 * what is missing, UNSUPPORTED which precisions the device has; "auto" then takes the CPU and
 * fp32, and says so in the backend's note. */
affect_status affect_backend_open(affect_backend **backend, affect_backend_options options,
                                  affect_error *err);
void affect_backend_free(affect_backend *backend);

/* Waits for everything enqueued and reports the first failure since the backend was opened. */
static inline affect_status affect_backend_synchronize(affect_backend *backend, affect_error *err) {
    return backend->ops->synchronize(backend, err);
}

/* The opener of the CPU backend (engine/device/cpu/cpu_open.c); at the level of core/cpu_level.h.
 */
affect_status affect_cpu_backend_open(affect_backend **backend, int n_threads, affect_error *err);

/* A device that can be opened. */
typedef struct {
    char device[16]; /* its name: "cpu", "cuda:0" */
    char name[128];  /* of the product */
    size_t memory_bytes, memory_free_bytes;
    int n_units;            /* cores that this process may use, or multiprocessors */
    int compute_capability; /* 90 for 9.0; 0: a CPU */
    int driver, runtime;    /* CUDA versions as CUDA counts: 12040 is 12.4; 0: a CPU */
} affect_device;

enum { AFFECT_MAX_DEVICES = 33 };

/* The CPU and every GPU; their number. missing (or NULL) says why there is no GPU: status OK when
 * there is one. */
size_t affect_devices_list(affect_device devices[AFFECT_MAX_DEVICES], affect_error *missing);

/* What the plug-in of engine/cuda (libaffect_cuda.so) exports as `affect_cuda_plugin`. It is looked
 * for beside the program, in ../lib, and where the loader looks; the environment variable
 * AFFECT_CUDA_LIBRARY names another file. */
typedef struct {
    uint32_t version;   /* AFFECT_BACKEND_VERSION */
    uint32_t real_size; /* sizeof(affect_real) */
    /* Number 0 is the first device. */
    affect_status (*open)(affect_backend **backend, int number, affect_precision precision,
                          affect_error *err);
    /* Fills up to `most`; DEVICE_UNAVAILABLE when there are none. */
    affect_status (*list)(affect_device *devices, size_t most, size_t *n, affect_error *err);
} affect_backend_plugin;

#ifdef __cplusplus
}
#endif

#endif
