/* Softmax over the first numbers of each row on the CPU: rows are split over the threads, sums are
 * kept in double. The largest number is taken from all, so that nothing overflows. */
#include "engine/device/cpu/cpu_backend.h"

#include <math.h>
#include <string.h>

typedef struct {
    affect_real *to;
    const affect_real *from, *y;
    const affect_softmax_shape *shape;
} softmax_call;

static void forward_rows(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    const softmax_call *call = context;
    const affect_softmax_shape *s = call->shape;
    for (size_t r = begin; r < end; r++) {
        size_t length = s->lengths ? s->lengths[r / s->rows] : s->columns;
        const affect_real *x = call->from + r * s->columns;
        affect_real *y = call->to + r * s->columns;
        double largest = -INFINITY, sum = 0;
        for (size_t c = 0; c < length; c++) largest = fmax(largest, (double)x[c]);
        for (size_t c = 0; c < length; c++) {
            y[c] = (affect_real)exp((double)x[c] - largest);
            sum += (double)y[c];
        }
        for (size_t c = 0; c < length; c++) y[c] = (affect_real)((double)y[c] / sum);
        memset(y + length, 0, (s->columns - length) * sizeof *y);
    }
}

void AFFECT_CPU_OPERATION(masked_softmax_forward)(affect_backend *backend, affect_real *y,
                                                  const affect_real *x,
                                                  const affect_softmax_shape *shape) {
    if (!affect_cpu_ready(backend)) return;
    softmax_call call = {.to = y, .from = x, .shape = shape};
    affect_cpu_run(backend, shape->batch * shape->rows, forward_rows, &call);
}

static void backward_rows(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    const softmax_call *call = context;
    size_t n = call->shape->columns;
    for (size_t r = begin; r < end; r++) {
        const affect_real *d_y = call->from + r * n, *y = call->y + r * n;
        double sum = 0;
        for (size_t c = 0; c < n; c++) sum += (double)d_y[c] * (double)y[c];
        for (size_t c = 0; c < n; c++)
            call->to[r * n + c] = (affect_real)((double)y[c] * ((double)d_y[c] - sum));
    }
}

void AFFECT_CPU_OPERATION(masked_softmax_backward)(affect_backend *backend, affect_real *d_x,
                                                   const affect_real *d_y, const affect_real *y,
                                                   const affect_softmax_shape *shape) {
    if (!affect_cpu_ready(backend)) return;
    softmax_call call = {.to = d_x, .from = d_y, .y = y, .shape = shape};
    affect_cpu_run(backend, shape->batch * shape->rows, backward_rows, &call);
}
