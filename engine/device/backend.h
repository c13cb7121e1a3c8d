/* The device interface: one table of functions that a CPU or a GPU fills in.
 *
 * A backend is a device opened for one thread: memory, copies, and one forward/backward pair per
 * operation. Pointers named in operations point to the device's memory. Operations are enqueued in
 * order and return nothing: the first failure sticks and affect_backend_synchronize reports it;
 * after a failure operations do nothing. Layers call the table directly:
 * backend->ops->dropout(backend, ...). The operations, with their contracts, are listed in
 * operations.h.
 *
 * Valid C and C++ (a CUDA plug-in fills the same table). */
#ifndef AFFECT_DEVICE_BACKEND_H
#define AFFECT_DEVICE_BACKEND_H

#include "engine/core/random.h"
#include "engine/core/status.h"
#include "engine/core/tensor.h"
#include "engine/device/operations.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bumped with every change of the table; a plug-in of another version is refused. */
#define AFFECT_BACKEND_VERSION 8

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

/* Softmax of rows (batch, rows, columns) over their first lengths[b] columns; the others are
 * masked. */
typedef struct {
    size_t batch, rows, columns;
    const size_t *lengths; /* (batch) on the host, up to columns; NULL: none is masked */
} affect_softmax_shape;

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

/* c (m, n) = alpha op(a) op(b) + beta c. op transposes where asked: a is stored as (m, k), or as
 * (k, m) when transposed, b as (k, n) or (n, k); lda, ldb and ldc are the numbers from one stored
 * row to the next. With beta 0 c is written whatever it held. Each size below 2^31. */
typedef struct {
    size_t m, n, k;
    bool transpose_a, transpose_b;
    size_t lda, ldb, ldc;
    affect_real alpha, beta;
} affect_gemm_shape;

/* Matrix i of a batch begins i stride numbers after the first; stride 0: all read the same one (a
 * and b only). */
typedef struct {
    size_t count, stride_a, stride_b, stride_c;
} affect_gemm_batch;

/* n rows of a table (rows, columns), by number. */
typedef struct {
    size_t n, rows, columns;
} affect_gather_shape;

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
/* Of all operations, ended by NULL. */
extern const char *const affect_operation_names[];

enum { AFFECT_RECORDING_KINDS = 4, AFFECT_MARKS = 4, AFFECT_MAX_STREAMS = 2 };

typedef struct affect_backend affect_backend;

typedef struct affect_backend_ops {
    uint32_t version;   /* AFFECT_BACKEND_VERSION */
    uint32_t real_size; /* sizeof(affect_real) it was compiled for */
    const char *name;   /* "cpu", "cuda" */
    int n_streams;      /* at most AFFECT_MAX_STREAMS */
    const char *level;  /* cpu: the vector instructions used, "avx512" (core/cpu_level.h); or "" */

#define AFFECT_OPERATION_MEMBER(type, name, parameters) type(*name) parameters;
    AFFECT_OPERATIONS(AFFECT_OPERATION_MEMBER)
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
