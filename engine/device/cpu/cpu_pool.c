/* Maximum pooling on the CPU. */
#include "engine/device/cpu/cpu_backend.h"

#include <string.h>

typedef struct {
    affect_real *y, *d_x;
    const affect_real *x, *y_saved, *d_y;
    const affect_pool1d_shape *shape;
} pool_call;

/* The input rows begin..end-1 of window l, clipped to the input. */
static void window(size_t *begin, size_t *end, size_t l, const affect_pool1d_shape *s) {
    size_t first = l * s->stride;
    *begin = first > s->pad_left ? first - s->pad_left : 0;
    *end = first + s->pool_size > s->pad_left ? first + s->pool_size - s->pad_left : 0;
    if (*end > s->length) *end = s->length;
}

static void max_into(affect_real *restrict y, const affect_real *restrict x, size_t n) {
    for (size_t c = 0; c < n; c++) y[c] = x[c] > y[c] ? x[c] : y[c];
}

static void forward_items(void *context, size_t first, size_t last, int thread) {
    (void)thread;
    const pool_call *call = context;
    const affect_pool1d_shape *s = call->shape;
    for (size_t i = first; i < last; i++) {
        const affect_real *x = call->x + i * s->length * s->channels;
        affect_real *y = call->y + i * s->length_out * s->channels;
        for (size_t l = 0; l < s->length_out; l++, y += s->channels) {
            size_t begin, end;
            window(&begin, &end, l, s);
            memcpy(y, x + begin * s->channels, s->channels * sizeof *y);
            for (size_t p = begin + 1; p < end; p++) max_into(y, x + p * s->channels, s->channels);
        }
    }
}

void AFFECT_CPU_OPERATION(pool1d_forward)(affect_backend *backend, affect_real *y,
                                          const affect_real *x, const affect_pool1d_shape *shape) {
    if (!affect_cpu_ready(backend)) return;
    pool_call call = {.y = y, .x = x, .shape = shape};
    affect_cpu_run(backend, shape->n, forward_items, &call);
}

/* The usual case, pairs: each input belongs to one window. */
static void backward_pair(affect_real *restrict d_x, const affect_real *restrict d_y,
                          const affect_real *restrict x, const affect_real *restrict y, size_t n) {
    for (size_t c = 0; c < n; c++) {
        affect_real first = x[c] == y[c] ? d_y[c] : 0;
        d_x[c] = first;
        d_x[n + c] = d_y[c] - first;
    }
}

static void backward_window(affect_real *d_x, const affect_real *d_y, const affect_real *x,
                            const affect_real *y, size_t begin, size_t end, size_t n) {
    for (size_t c = 0; c < n; c++) {
        size_t p = begin;
        while (p + 1 < end && x[p * n + c] != y[c]) p++;
        d_x[p * n + c] += d_y[c];
    }
}

static void backward_items(void *context, size_t first, size_t last, int thread) {
    (void)thread;
    const pool_call *call = context;
    const affect_pool1d_shape *s = call->shape;
    bool pairs =
        s->pool_size == 2 && s->stride == 2 && s->pad_left == 0 && 2 * s->length_out <= s->length;
    for (size_t i = first; i < last; i++) {
        size_t in = i * s->length * s->channels, out = i * s->length_out * s->channels;
        const affect_real *x = call->x + in;
        affect_real *d_x = call->d_x + in;
        memset(d_x, 0, s->length * s->channels * sizeof *d_x);
        for (size_t l = 0; l < s->length_out; l++, out += s->channels) {
            size_t begin, end;
            window(&begin, &end, l, s);
            if (pairs)
                backward_pair(d_x + begin * s->channels, call->d_y + out, x + begin * s->channels,
                              call->y_saved + out, s->channels);
            else
                backward_window(d_x, call->d_y + out, x, call->y_saved + out, begin, end,
                                s->channels);
        }
    }
}

void AFFECT_CPU_OPERATION(pool1d_backward)(affect_backend *backend, affect_real *d_x,
                                           const affect_real *d_y, const affect_real *x,
                                           const affect_real *y, const affect_pool1d_shape *shape) {
    if (!affect_cpu_ready(backend)) return;
    pool_call call = {.d_x = d_x, .x = x, .y_saved = y, .d_y = d_y, .shape = shape};
    affect_cpu_run(backend, shape->n, backward_items, &call);
}
