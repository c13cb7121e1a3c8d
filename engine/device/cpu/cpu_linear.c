/* Element by element on the CPU: activations, dropout, rows. */
#include "engine/device/cpu/cpu_backend.h"
#include "engine/device/cpu/cpu_math.h"

#include <string.h>

static void relu(affect_real *y, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = y[i] > 0 ? y[i] : 0;
}
static void tanh_all(affect_real *y, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = affect_tanh(y[i]);
}
static void sigmoid_all(affect_real *y, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = affect_sigmoid(y[i]);
}

static void softmax_row(affect_real *y, size_t n) {
    affect_real largest = y[0], sum = 0;
    for (size_t i = 1; i < n; i++) largest = y[i] > largest ? y[i] : largest;
    for (size_t i = 0; i < n; i++) sum += y[i] = affect_exp(y[i] - largest);
    for (size_t i = 0; i < n; i++) y[i] /= sum;
}

void affect_cpu_activate(affect_real *y, size_t rows, size_t n, affect_activation activation) {
    switch (activation) {
    case AFFECT_ACTIVATION_RELU:
        relu(y, rows * n);
        break;
    case AFFECT_ACTIVATION_TANH:
        tanh_all(y, rows * n);
        break;
    case AFFECT_ACTIVATION_SIGMOID:
        sigmoid_all(y, rows * n);
        break;
    case AFFECT_ACTIVATION_SOFTMAX:
        for (size_t r = 0; r < rows; r++) softmax_row(y + r * n, n);
        break;
    default:
        break;
    }
}

static void relu_gradient(affect_real *d, const affect_real *y, size_t n) {
    for (size_t i = 0; i < n; i++) d[i] = y[i] > 0 ? d[i] : 0;
}

void affect_cpu_activation_gradient(affect_real *d, const affect_real *y, size_t n,
                                    affect_activation activation) {
    switch (activation) {
    case AFFECT_ACTIVATION_RELU:
        relu_gradient(d, y, n);
        break;
    case AFFECT_ACTIVATION_TANH:
        for (size_t i = 0; i < n; i++) d[i] *= 1 - y[i] * y[i];
        break;
    case AFFECT_ACTIVATION_SIGMOID:
        for (size_t i = 0; i < n; i++) d[i] *= y[i] * (1 - y[i]);
        break;
    default:
        break;
    }
}

typedef struct {
    affect_real *y;
    const affect_real *x, *from;
    size_t n;
    affect_activation activation;
} activation_call;

static void forward_rows(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    const activation_call *call = context;
    size_t offset = begin * call->n, count = (end - begin) * call->n;
    if (count && call->y != call->x)
        memcpy(call->y + offset, call->x + offset, count * sizeof *call->y);
    affect_cpu_activate(call->y + offset, end - begin, call->n, call->activation);
}

void AFFECT_CPU_OPERATION(activation_forward)(affect_backend *backend, affect_real *y,
                                              const affect_real *x, size_t rows, size_t n,
                                              affect_activation activation) {
    if (!affect_cpu_ready(backend)) return;
    activation_call call = {.y = y, .x = x, .n = n, .activation = activation};
    affect_cpu_run(backend, rows, forward_rows, &call);
}

static void backward_rows(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    const activation_call *call = context;
    size_t offset = begin * call->n, count = (end - begin) * call->n;
    if (count && call->y != call->from)
        memcpy(call->y + offset, call->from + offset, count * sizeof *call->y);
    affect_cpu_activation_gradient(call->y + offset, call->x + offset, count, call->activation);
}

void AFFECT_CPU_OPERATION(activation_backward)(affect_backend *backend, affect_real *d_x,
                                               const affect_real *d_y, const affect_real *y,
                                               size_t rows, size_t n,
                                               affect_activation activation) {
    if (!affect_cpu_ready(backend)) return;
    activation_call call = {.y = d_x, .x = y, .from = d_y, .n = n, .activation = activation};
    affect_cpu_run(backend, rows, backward_rows, &call);
}

typedef struct {
    affect_real *y;
    const affect_real *x;
    const affect_dropout_shape *shape;
} dropout_call;

/* Two elements a block of random words: the pair (2 b, 2 b + 1), counted from element 0 of all. */
static void dropout_pairs(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    const dropout_call *call = context;
    affect_real scale = (affect_real)(1 / (1 - call->shape->rate));
    uint64_t first = call->shape->first, last = first + call->shape->n;
    for (uint64_t pair = first / 2 + begin; pair < first / 2 + end; pair++) {
        uint32_t words[4];
        affect_random_block(words, call->shape->key, pair);
        for (uint64_t half = 0; half < 2; half++) {
            uint64_t element = 2 * pair + half;
            if (element < first || element >= last) continue;
            uint64_t bits = (uint64_t)words[2 * half] << 32 | words[2 * half + 1];
            double uniform = (double)(bits >> 11) * 0x1p-53;
            size_t i = (size_t)(element - first);
            call->y[i] = uniform < call->shape->rate ? 0 : call->x[i] * scale;
        }
    }
}

void AFFECT_CPU_OPERATION(dropout)(affect_backend *backend, affect_real *y, const affect_real *x,
                                   const affect_dropout_shape *shape) {
    if (!affect_cpu_ready(backend)) return;
    dropout_call call = {y, x, shape};
    uint64_t pairs = (shape->first + shape->n + 1) / 2 - shape->first / 2;
    affect_cpu_run(backend, (size_t)pairs, dropout_pairs, &call);
}

void AFFECT_CPU_OPERATION(copy_rows)(affect_backend *backend, affect_real *to, size_t to_stride,
                                     const affect_real *from, size_t from_stride, size_t rows,
                                     size_t columns) {
    if (!affect_cpu_ready(backend) || columns == 0) return;
    for (size_t r = 0; r < rows; r++)
        memcpy(to + r * to_stride, from + r * from_stride, columns * sizeof *to);
}

typedef struct {
    affect_real *y;
    const affect_real *x;
} add_call;

static void add_range(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    const add_call *call = context;
    for (size_t i = begin; i < end; i++) call->y[i] += call->x[i];
}

void AFFECT_CPU_OPERATION(add)(affect_backend *backend, affect_real *y, const affect_real *x,
                               size_t n) {
    if (!affect_cpu_ready(backend)) return;
    affect_cpu_run(backend, n, add_range, &(add_call){y, x});
}
