/* Runs operations of a device on given numbers and says what came out: the device's side of the
 * comparison that op_cases.py makes. The same source is built twice: run_ops in affect_real =
 * float, for any device, and run_ops64 in double on the CPU, whose answers are the truth.
 *
 *   run_ops DEVICE PRECISION REQUESTS ANSWERS
 *   run_ops --operations      names all operations of a device, and the requests in brackets
 *
 * REQUESTS: records of a line, the operation's name and its numbers in the order that its function
 * below reads them, and after the line its input arrays, doubles, as that function takes them.
 * ANSWERS: for each output array a line "count\n" and its doubles. Forward and backward are one
 * request, recorded as a whole (record_begin, record_end), as a training does. What an operation
 * must write is NaN before. Backward may take its y from the request instead (`use_y`): so the
 * double run follows the device's own ReLU. Exits with 1 and a sentence when the device fails. */
#include "engine/device/backend.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ARRAYS = 64, MAX_NUMBERS = 24 };

static affect_backend *backend;
static FILE *requests, *answers;
static double numbers[MAX_NUMBERS]; /* of the request's line */
static int next;                    /* of them */
static void *arrays[MAX_ARRAYS];    /* device memory of this request */
static int n_arrays;

static void stop(const char *what) {
    fprintf(stderr, "run_ops: %s\n", what);
    exit(1);
}

static double number(void) {
    return numbers[next++];
}
static size_t size(void) {
    return (size_t)number();
}

/* n doubles of the request; owned. */
static double *read_doubles(size_t n) {
    double *values = malloc((n + 1) * sizeof *values);
    if (!values || fread(values, sizeof *values, n, requests) != n) stop("request cut short");
    return values;
}

static void *device_memory(size_t n_bytes) {
    void *memory = backend->ops->allocate(backend, n_bytes ? n_bytes : 1);
    if (!memory || n_arrays == MAX_ARRAYS) stop("no memory");
    return arrays[n_arrays++] = memory;
}

/* n numbers on the device: those given, or each `fill`. */
static affect_real *make(const double *values, size_t n, double fill) {
    affect_real *host = malloc((n + 1) * sizeof *host);
    if (!host) stop("no memory");
    for (size_t i = 0; i < n; i++) host[i] = (affect_real)(values ? values[i] : fill);
    affect_real *device = device_memory(n * sizeof *device);
    backend->ops->upload(backend, device, host, n * sizeof *device);
    backend->ops->synchronize(backend, &(affect_error){0});
    free(host);
    return device;
}

static affect_real *take(size_t n) {
    double *values = read_doubles(n);
    affect_real *device = make(values, n, 0);
    free(values);
    return device;
}
static affect_real *poisoned(size_t n) {
    return make(NULL, n, (double)NAN);
}
static affect_real *zeros(size_t n) {
    return make(NULL, n, 0);
}
/* Scratch and what is carried from forward to backward: undefined, so NaN. */
static void *scratch(size_t n_bytes) {
    return poisoned(n_bytes / sizeof(affect_real) + 1);
}

static size_t *take_sizes(size_t n) {
    double *values = read_doubles(n);
    size_t *sizes = malloc((n + 1) * sizeof *sizes);
    if (!sizes) stop("no memory");
    for (size_t i = 0; i < n; i++) sizes[i] = (size_t)values[i];
    free(values);
    return sizes;
}

static void begin(void) {
    backend->ops->record_begin(backend);
}
static void end(void) {
    affect_error err = {0};
    backend->ops->record_end(backend, 0);
    if (backend->ops->synchronize(backend, &err) != AFFECT_STATUS_OK) stop(err.message);
}

static void answer_doubles(const double *values, size_t n) {
    fprintf(answers, "%zu\n", n);
    if (fwrite(values, sizeof *values, n, answers) != n) stop("answer not written");
}

static void answer(const affect_real *device, size_t n) {
    affect_error err = {0};
    affect_real *host = malloc((n + 1) * sizeof *host);
    double *values = malloc((n + 1) * sizeof *values);
    if (!host || !values) stop("no memory");
    backend->ops->download(backend, host, device, n * sizeof *host);
    if (backend->ops->synchronize(backend, &err) != AFFECT_STATUS_OK) stop(err.message);
    for (size_t i = 0; i < n; i++) values[i] = (double)host[i];
    answer_doubles(values, n);
    free(host);
    free(values);
}

/* n length channels filters kernel_size stride pad_left length_out activation use_y;
 * x, kernel, bias, d_y, [y]. Answers y, d_x, d_kernel, d_bias. */
static void run_conv1d(void) {
    affect_conv1d_shape s = {0};
    s.n = size(), s.length = size(), s.channels = size();
    s.filters = size(), s.kernel_size = size(), s.stride = size(), s.pad_left = size();
    s.length_out = size(), s.activation = (affect_activation)size();
    bool use_y = size();
    size_t n_x = s.n * s.length * s.channels, n_y = s.n * s.length_out * s.filters;
    size_t n_kernel = s.kernel_size * s.channels * s.filters;
    affect_real *x = take(n_x), *kernel = take(n_kernel), *bias = take(s.filters);
    affect_real *d_y = take(n_y), *y = poisoned(n_y), *y_used = use_y ? take(n_y) : y;
    affect_real *d_x = poisoned(n_x), *d_kernel = zeros(n_kernel), *d_bias = zeros(s.filters);
    void *workspace = scratch(backend->ops->conv1d_workspace(backend, &s));
    begin();
    backend->ops->conv1d_forward(backend, y, x, kernel, bias, workspace, &s);
    backend->ops->conv1d_backward(backend, d_x, d_kernel, d_bias, d_y, x, y_used, kernel, workspace,
                                  &s);
    end();
    answer(y, n_y), answer(d_x, n_x), answer(d_kernel, n_kernel), answer(d_bias, s.filters);
}

/* The same without activation (ReLU) and use_y; d_y and y are (n, length_out / 2, filters). */
static void run_conv1d_pool(void) {
    affect_conv1d_shape s = {0};
    s.n = size(), s.length = size(), s.channels = size();
    s.filters = size(), s.kernel_size = size(), s.stride = size(), s.pad_left = size();
    s.length_out = size(), s.activation = AFFECT_ACTIVATION_RELU;
    size_t n_x = s.n * s.length * s.channels, n_y = s.n * (s.length_out / 2) * s.filters;
    size_t n_kernel = s.kernel_size * s.channels * s.filters;
    affect_real *x = take(n_x), *kernel = take(n_kernel), *bias = take(s.filters);
    affect_real *d_y = take(n_y), *y = poisoned(n_y);
    affect_real *d_x = poisoned(n_x), *d_kernel = zeros(n_kernel), *d_bias = zeros(s.filters);
    uint32_t *switches = scratch(backend->ops->conv1d_pool_switches(backend, &s));
    void *workspace = scratch(backend->ops->conv1d_pool_workspace(backend, &s));
    begin();
    backend->ops->conv1d_pool_forward(backend, y, switches, x, kernel, bias, workspace, &s);
    backend->ops->conv1d_pool_backward(backend, d_x, d_kernel, d_bias, d_y, x, y, switches, kernel,
                                       workspace, &s);
    end();
    answer(y, n_y), answer(d_x, n_x), answer(d_kernel, n_kernel), answer(d_bias, s.filters);
}

/* n length channels pool_size stride pad_left length_out; x, d_y. Answers y, d_x. */
static void run_pool1d(void) {
    affect_pool1d_shape s = {0};
    s.n = size(), s.length = size(), s.channels = size();
    s.pool_size = size(), s.stride = size(), s.pad_left = size(), s.length_out = size();
    size_t n_x = s.n * s.length * s.channels, n_y = s.n * s.length_out * s.channels;
    affect_real *x = take(n_x), *d_y = take(n_y), *y = poisoned(n_y), *d_x = poisoned(n_x);
    begin();
    backend->ops->pool1d_forward(backend, y, x, &s);
    backend->ops->pool1d_backward(backend, d_x, d_y, x, y, &s);
    end();
    answer(y, n_y), answer(d_x, n_x);
}

/* rows channels momentum epsilon; x, gamma, beta, mean, variance, d_y. Answers y, the moved mean
 * and variance, y of inference (with the moved ones), d_x, d_gamma, d_beta. */
static void run_batch_norm(void) {
    affect_batch_norm_shape s = {0};
    s.rows = size(), s.channels = size();
    s.momentum = number(), s.epsilon = number();
    size_t n = s.rows * s.channels, c = s.channels;
    affect_real *x = take(n), *gamma = take(c), *beta = take(c), *mean = take(c);
    affect_real *variance = take(c), *d_y = take(n), *y = poisoned(n), *inferred = poisoned(n);
    affect_real *saved = poisoned(2 * c), *d_x = poisoned(n), *d_gamma = zeros(c);
    affect_real *d_beta = zeros(c);
    begin();
    backend->ops->batch_norm_forward(backend, y, saved, mean, variance, x, gamma, beta, &s);
    backend->ops->batch_norm_infer(backend, inferred, x, gamma, beta, mean, variance, &s);
    backend->ops->batch_norm_backward(backend, d_x, d_gamma, d_beta, d_y, x, gamma, saved, &s);
    end();
    answer(y, n), answer(mean, c), answer(variance, c), answer(inferred, n);
    answer(d_x, n), answer(d_gamma, c), answer(d_beta, c);
}

/* rows channels epsilon; x, gamma, beta, d_y. Answers y, y of inference, d_x, d_gamma, d_beta. */
static void run_layer_norm(void) {
    affect_layer_norm_shape s = {0};
    s.rows = size(), s.channels = size(), s.epsilon = number();
    size_t n = s.rows * s.channels, c = s.channels;
    affect_real *x = take(n), *gamma = take(c), *beta = take(c), *d_y = take(n);
    affect_real *y = poisoned(n), *inferred = poisoned(n), *saved = poisoned(2 * s.rows);
    affect_real *d_x = poisoned(n), *d_gamma = zeros(c), *d_beta = zeros(c);
    begin();
    backend->ops->layer_norm_forward(backend, y, saved, x, gamma, beta, &s);
    backend->ops->layer_norm_forward(backend, inferred, NULL, x, gamma, beta, &s);
    backend->ops->layer_norm_backward(backend, d_x, d_gamma, d_beta, d_y, x, gamma, saved, &s);
    end();
    answer(y, n), answer(inferred, n), answer(d_x, n), answer(d_gamma, c), answer(d_beta, c);
}

static affect_window2d_shape take_window2d(void) {
    affect_window2d_shape s = {0};
    s.n = size(), s.height = size(), s.width = size(), s.channels = size();
    s.window_height = size(), s.window_width = size();
    s.stride_height = size(), s.stride_width = size();
    s.pad_top = size(), s.pad_left = size(), s.height_out = size(), s.width_out = size();
    return s;
}

/* n height width channels window_height window_width stride_height stride_width pad_top pad_left
 * height_out width_out; x, d_columns. Answers columns, d_x. */
static void run_window2d(void) {
    affect_window2d_shape s = take_window2d();
    size_t n_x = s.n * s.height * s.width * s.channels;
    size_t n_y = s.n * s.height_out * s.width_out * s.window_height * s.window_width * s.channels;
    affect_real *x = take(n_x), *d_y = take(n_y), *y = poisoned(n_y), *d_x = poisoned(n_x);
    begin();
    backend->ops->window2d_forward(backend, y, x, &s);
    backend->ops->window2d_backward(backend, d_x, d_y, &s);
    end();
    answer(y, n_y), answer(d_x, n_x);
}

/* The same; x, d_y. Answers y, d_x. */
static void run_pool2d(void) {
    affect_window2d_shape s = take_window2d();
    size_t n_x = s.n * s.height * s.width * s.channels;
    size_t n_y = s.n * s.height_out * s.width_out * s.channels;
    affect_real *x = take(n_x), *d_y = take(n_y), *y = poisoned(n_y), *d_x = poisoned(n_x);
    begin();
    backend->ops->pool2d_forward(backend, y, x, &s);
    backend->ops->pool2d_backward(backend, d_x, d_y, x, y, &s);
    end();
    answer(y, n_y), answer(d_x, n_x);
}

/* batch steps channels deviation epsilon is_masked has_scores; [lengths], [scores], x, d_y. Answers
 * y, weights, d_x, [d_scores]. */
static void run_pool_steps(void) {
    affect_pool_steps_shape s = {0};
    s.batch = size(), s.steps = size(), s.channels = size();
    s.deviation = size(), s.epsilon = number();
    bool is_masked = size(), has_scores = size();
    size_t *lengths = is_masked ? take_sizes(s.batch) : NULL;
    size_t n_a = s.batch * s.steps, n_x = n_a * s.channels;
    size_t n_y = s.batch * s.channels * (s.deviation ? 2 : 1);
    s.lengths = lengths;
    affect_real *scores = has_scores ? take(n_a) : NULL, *x = take(n_x), *d_y = take(n_y);
    affect_real *y = poisoned(n_y), *weights = poisoned(n_a), *d_x = poisoned(n_x);
    affect_real *d_scores = has_scores ? poisoned(n_a) : NULL;
    begin();
    backend->ops->pool_steps_forward(backend, y, weights, x, scores, &s);
    backend->ops->pool_steps_backward(backend, d_x, d_scores, d_y, x, y, weights, &s);
    end();
    answer(y, n_y), answer(weights, n_a), answer(d_x, n_x);
    if (has_scores) answer(d_scores, n_a);
    free(lengths);
}

/* Reads m n k transpose_a transpose_b alpha beta; rows are contiguous. */
static affect_gemm_shape take_gemm(size_t *n_a, size_t *n_b, size_t *n_c) {
    affect_gemm_shape s = {0};
    s.m = size(), s.n = size(), s.k = size();
    s.transpose_a = size(), s.transpose_b = size();
    s.alpha = (affect_real)number(), s.beta = (affect_real)number();
    s.lda = s.transpose_a ? s.m : s.k, s.ldb = s.transpose_b ? s.k : s.n, s.ldc = s.n;
    *n_a = s.m * s.k, *n_b = s.k * s.n, *n_c = s.m * s.n;
    return s;
}

/* As take_gemm reads; a, b, c. Answers c. */
static void run_gemm(void) {
    size_t n_a, n_b, n_c;
    affect_gemm_shape s = take_gemm(&n_a, &n_b, &n_c);
    affect_real *a = take(n_a), *b = take(n_b), *c = take(n_c);
    begin();
    backend->ops->gemm(backend, c, a, b, &s);
    end();
    answer(c, n_c);
}

/* count, then as take_gemm reads; count matrices each of a, b and c. Answers c. */
static void run_gemm_batched(void) {
    size_t count = size(), n_a, n_b, n_c;
    affect_gemm_shape s = take_gemm(&n_a, &n_b, &n_c);
    affect_gemm_batch batch = {count, n_a, n_b, n_c};
    affect_real *a = take(count * n_a), *b = take(count * n_b), *c = take(count * n_c);
    begin();
    backend->ops->gemm_batched(backend, c, a, b, &s, &batch);
    end();
    answer(c, count * n_c);
}

static int32_t *take_ids(size_t n) {
    double *values = read_doubles(n);
    int32_t *host = malloc((n + 1) * sizeof *host), *device = device_memory(n * sizeof *device);
    if (!host) stop("no memory");
    for (size_t i = 0; i < n; i++) host[i] = (int32_t)values[i];
    backend->ops->upload(backend, device, host, n * sizeof *host);
    backend->ops->synchronize(backend, &(affect_error){0});
    free(values);
    free(host);
    return device;
}

/* batch rows columns is_masked; [lengths], x, d_y. Answers y, d_x. */
static void run_masked_softmax(void) {
    affect_softmax_shape s = {0};
    s.batch = size(), s.rows = size(), s.columns = size();
    size_t *lengths = size() ? take_sizes(s.batch) : NULL, n = s.batch * s.rows * s.columns;
    s.lengths = lengths;
    affect_real *x = take(n), *d_y = take(n), *y = poisoned(n), *d_x = poisoned(n);
    begin();
    backend->ops->masked_softmax_forward(backend, y, x, &s);
    backend->ops->masked_softmax_backward(backend, d_x, d_y, y, &s);
    end();
    answer(y, n), answer(d_x, n);
    free(lengths);
}

/* n; x. Answers the ids. */
static void run_read_ids(void) {
    size_t n = size();
    affect_real *x = take(n);
    int32_t *ids = device_memory(n * sizeof *ids), *host = malloc((n + 1) * sizeof *host);
    double *values = malloc((n + 1) * sizeof *values);
    if (!host || !values) stop("no memory");
    begin();
    backend->ops->read_ids(backend, ids, x, n);
    end();
    backend->ops->download(backend, host, ids, n * sizeof *host);
    backend->ops->synchronize(backend, &(affect_error){0});
    for (size_t i = 0; i < n; i++) values[i] = host[i];
    answer_doubles(values, n);
    free(host);
    free(values);
}

/* n rows columns; ids, table. Answers y. */
static void run_gather(void) {
    affect_gather_shape s = {0};
    s.n = size(), s.rows = size(), s.columns = size();
    int32_t *ids = take_ids(s.n);
    affect_real *table = take(s.rows * s.columns), *y = poisoned(s.n * s.columns);
    begin();
    backend->ops->gather(backend, y, table, ids, &s);
    end();
    answer(y, s.n * s.columns);
}

/* n rows columns; ids, table, y. Answers the table with y added. */
static void run_scatter_add(void) {
    affect_gather_shape s = {0};
    s.n = size(), s.rows = size(), s.columns = size();
    int32_t *ids = take_ids(s.n);
    affect_real *table = take(s.rows * s.columns), *y = take(s.n * s.columns);
    begin();
    backend->ops->scatter_add(backend, table, y, ids, &s);
    end();
    answer(table, s.rows * s.columns);
}

/* n; y, x. Answers y + x. */
static void run_add(void) {
    size_t n = size();
    affect_real *y = take(n), *x = take(n);
    begin();
    backend->ops->add(backend, y, x, n);
    end();
    answer(y, n);
}

/* n rate seed first; x. Answers y. */
static void run_dropout(void) {
    affect_dropout_shape s = {0};
    s.n = size(), s.rate = number();
    s.key.seed = size(), s.key.stream = affect_random_stream("run_ops", 1, 2);
    s.first = size();
    affect_real *x = take(s.n), *y = poisoned(s.n);
    begin();
    backend->ops->dropout(backend, y, x, &s);
    end();
    answer(y, s.n);
}

/* rows n activation; x, d_y. Answers y, d_x (not for softmax). */
static void run_activation(void) {
    size_t rows = size(), n = size();
    affect_activation activation = (affect_activation)size();
    affect_real *x = take(rows * n), *d_y = take(rows * n);
    affect_real *y = poisoned(rows * n), *d_x = poisoned(rows * n);
    begin();
    backend->ops->activation_forward(backend, y, x, rows, n, activation);
    if (activation != AFFECT_ACTIVATION_SOFTMAX)
        backend->ops->activation_backward(backend, d_x, d_y, y, rows, n, activation);
    end();
    answer(y, rows * n);
    if (activation != AFFECT_ACTIVATION_SOFTMAX) answer(d_x, rows * n);
}

/* batch steps inputs units directions reverse return_sequences n_rows is_masked;
 * [first], [lengths], x, kernel, recurrent kernel and bias of each direction, d_y. Answers y, d_x
 * and the gradients of the parameters in the same order. */
static void run_lstm(void) {
    affect_lstm_shape s = {0};
    s.batch = size(), s.steps = size(), s.inputs = size(), s.units = size();
    s.directions = (int)size(), s.reverse = size(), s.return_sequences = size();
    s.n_rows = size();
    bool is_masked = size();
    size_t *first = s.n_rows ? take_sizes(s.batch + 1) : NULL;
    size_t *lengths = is_masked ? take_sizes(s.batch) : NULL;
    s.first = first, s.lengths = lengths;
    size_t u = s.units, n_x = (s.n_rows ? s.n_rows : s.batch * s.steps) * s.inputs;
    size_t n_y = s.batch * (s.return_sequences ? s.steps : 1) * (size_t)s.directions * u;
    affect_real *x = take(n_x);
    affect_lstm_parameters p = {0}, d = {0};
    for (int i = 0; i < s.directions; i++) {
        p.kernel[i] = take(s.inputs * 4 * u), d.kernel[i] = zeros(s.inputs * 4 * u);
        p.recurrent_kernel[i] = take(u * 4 * u), d.recurrent_kernel[i] = zeros(u * 4 * u);
        p.bias[i] = take(4 * u), d.bias[i] = zeros(4 * u);
    }
    affect_real *d_y = take(n_y), *y = poisoned(n_y), *d_x = poisoned(n_x);
    void *workspace = scratch(backend->ops->lstm_workspace(backend, &s));
    void *reserve = scratch(backend->ops->lstm_reserve(backend, &s));
    begin();
    backend->ops->lstm_forward(backend, y, reserve, x, &p, workspace, &s);
    backend->ops->lstm_backward(backend, d_x, &d, d_y, x, y, reserve, &p, workspace, &s);
    end();
    answer(y, n_y), answer(d_x, n_x);
    for (int i = 0; i < s.directions; i++) {
        answer(d.kernel[i], s.inputs * 4 * u), answer(d.recurrent_kernel[i], u * 4 * u);
        answer(d.bias[i], 4 * u);
    }
    free(first);
    free(lengths);
}

/* batch classes divisor; probabilities, labels, weights. Answers d_logits, stats. */
static void run_cross_entropy(void) {
    affect_loss_shape s = {0};
    s.batch = size(), s.classes = size(), s.divisor = number();
    size_t n = s.batch * s.classes, n_stats = 2 + s.classes * s.classes;
    affect_real *p = take(n);
    double *labels = read_doubles(s.batch), *stats = calloc(n_stats, sizeof *stats);
    int32_t *host = malloc((s.batch + 1) * sizeof *host);
    if (!host || !stats) stop("no memory");
    for (size_t i = 0; i < s.batch; i++) host[i] = (int32_t)labels[i];
    int32_t *on_device = device_memory(s.batch * sizeof *host);
    double *device_stats = device_memory(n_stats * sizeof *stats);
    affect_real *weights = take(s.batch), *d_logits = poisoned(n);
    backend->ops->upload(backend, on_device, host, s.batch * sizeof *host);
    backend->ops->upload(backend, device_stats, stats, n_stats * sizeof *stats);
    begin();
    backend->ops->cross_entropy(backend, d_logits, device_stats, p, on_device, weights, &s);
    end();
    backend->ops->download(backend, stats, device_stats, n_stats * sizeof *stats);
    backend->ops->synchronize(backend, &(affect_error){0});
    answer(d_logits, n);
    answer_doubles(stats, n_stats);
    free(labels);
    free(host);
    free(stats);
}

/* n scale; w. Answers the penalty, d_w. */
static void run_l2_penalty(void) {
    size_t n = size();
    double scale = number(), total = 0;
    affect_real *w = take(n), *d_w = zeros(n);
    double *device_total = device_memory(sizeof total);
    backend->ops->upload(backend, device_total, &total, sizeof total);
    begin();
    backend->ops->l2_penalty(backend, device_total, d_w, w, n, scale, 1);
    end();
    backend->ops->download(backend, &total, device_total, sizeof total);
    backend->ops->synchronize(backend, &(affect_error){0});
    answer_doubles(&total, 1);
    answer(d_w, n);
}

/* n learning_rate beta_1 beta_2 epsilon step; parameters, m, v, gradients. Answers the first 3. */
static void run_adam_step(void) {
    affect_adam_shape s = {0};
    s.n = size(), s.learning_rate = number(), s.beta_1 = number();
    s.beta_2 = number(), s.epsilon = number(), s.step = size();
    affect_real *p = take(s.n), *m = take(s.n), *v = take(s.n), *g = take(s.n);
    begin();
    backend->ops->adam_step(backend, p, m, v, g, &s);
    end();
    answer(p, s.n), answer(m, s.n), answer(v, s.n);
}

/* to_stride from_stride rows columns; from (rows, from_stride). Answers to (rows, to_stride), 0
 * where nothing was copied; then the same rows, copied as runs. */
static void run_copies(void) {
    size_t to_stride = size(), from_stride = size(), rows = size(), columns = size();
    affect_real *from = take(rows * from_stride), *to = zeros(rows * to_stride);
    affect_real *gathered = zeros(rows * to_stride);
    affect_run *runs = calloc(rows, sizeof *runs);
    if (!runs) stop("no memory");
    for (size_t i = 0; i < rows; i++)
        runs[i] = (affect_run){i * to_stride, i * from_stride, columns};
    begin();
    backend->ops->copy_rows(backend, to, to_stride, from, from_stride, rows, columns);
    backend->ops->copy_runs(backend, gathered, from, runs, rows);
    end();
    answer(to, rows * to_stride), answer(gathered, rows * to_stride);
    free(runs);
}

static const struct {
    const char *name;
    void (*run)(void);
} operations[] = {
    {"conv1d", run_conv1d},
    {"conv1d_pool", run_conv1d_pool},
    {"pool1d", run_pool1d},
    {"batch_norm", run_batch_norm},
    {"layer_norm", run_layer_norm},
    {"window2d", run_window2d},
    {"pool2d", run_pool2d},
    {"pool_steps", run_pool_steps},
    {"gemm", run_gemm},
    {"gemm_batched", run_gemm_batched},
    {"masked_softmax", run_masked_softmax},
    {"read_ids", run_read_ids},
    {"gather", run_gather},
    {"scatter_add", run_scatter_add},
    {"add", run_add},
    {"dropout", run_dropout},
    {"activation", run_activation},
    {"lstm", run_lstm},
    {"cross_entropy", run_cross_entropy},
    {"l2_penalty", run_l2_penalty},
    {"adam_step", run_adam_step},
    {"copy", run_copies},
};

static bool run_request(void) {
    char line[1024], *save = NULL;
    if (!fgets(line, sizeof line, requests)) return false;
    const char *name = strtok_r(line, " \n", &save), *word;
    memset(numbers, 0, sizeof numbers);
    next = 0;
    for (int n = 0; n < MAX_NUMBERS && (word = strtok_r(NULL, " \n", &save)); n++)
        numbers[n] = strtod(word, NULL);
    for (size_t i = 0; name && i < sizeof operations / sizeof *operations; i++) {
        if (strcmp(name, operations[i].name) != 0) continue;
        operations[i].run();
        while (n_arrays) backend->ops->deallocate(backend, arrays[--n_arrays]);
        return true;
    }
    stop("unknown operation");
    return false;
}

static void list_operations(void) {
    for (const char *const *name = affect_operation_names; *name; name++) puts(*name);
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
        printf("[%s]\n", operations[i].name);
}

int main(int argc, char **argv) {
    affect_error err = {0};
    affect_backend_options options = {.device = argc == 5 ? argv[1] : ""};
    int precision = 0;
    if (argc == 2 && strcmp(argv[1], "--operations") == 0) return list_operations(), 0;
    if (argc != 5) stop("DEVICE PRECISION REQUESTS ANSWERS");
    while (affect_precision_names[precision] &&
           strcmp(affect_precision_names[precision], argv[2]) != 0)
        precision++;
    if (!affect_precision_names[precision]) stop("precision: fp32, tf32 or bf16");
    options.precision = (affect_precision)precision;
    if (affect_backend_open(&backend, options, &err) != AFFECT_STATUS_OK) stop(err.message);
    requests = fopen(argv[3], "rb");
    answers = fopen(argv[4], "wb");
    if (!requests || !answers) stop("a file cannot be opened");
    while (run_request()) {
    }
    if (fclose(answers) != 0) stop("answers not written");
    fclose(requests);
    affect_backend_free(backend);
    return 0;
}
