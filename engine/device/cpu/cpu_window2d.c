/* Windows over images on the CPU: what a two-dimensional convolution multiplies, and maximum
 * pooling. Images are split over the threads. */
#include "engine/device/cpu/cpu_backend.h"

#include <string.h>

typedef struct {
    affect_real *to;
    const affect_real *from, *x, *y;
    const affect_window2d_shape *shape;
} window2d_call;

/* The part begin..end-1 of window i that lies on an axis of `size`, and the window's place before
 * it. */
typedef struct {
    size_t begin, end, skipped;
} covered;

static covered cover(size_t i, size_t stride, size_t pad, size_t window, size_t size) {
    size_t first = i * stride, last = first + window;
    covered part = {.begin = first > pad ? first - pad : 0, .end = last > pad ? last - pad : 0};
    if (part.end > size) part.end = size;
    if (part.begin > part.end) part.begin = part.end;
    part.skipped = first > pad ? 0 : pad - first;
    return part;
}

static covered cover_rows(const affect_window2d_shape *s, size_t i) {
    return cover(i, s->stride_height, s->pad_top, s->window_height, s->height);
}
static covered cover_columns(const affect_window2d_shape *s, size_t j) {
    return cover(j, s->stride_width, s->pad_left, s->window_width, s->width);
}

static size_t image_size(const affect_window2d_shape *s) {
    return s->height * s->width * s->channels;
}
static size_t window_size(const affect_window2d_shape *s) {
    return s->window_height * s->window_width * s->channels;
}

static void take_windows(void *context, size_t first, size_t last, int thread) {
    (void)thread;
    const window2d_call *call = context;
    const affect_window2d_shape *s = call->shape;
    for (size_t n = first; n < last; n++) {
        const affect_real *x = call->from + n * image_size(s);
        affect_real *to = call->to + n * s->height_out * s->width_out * window_size(s);
        for (size_t i = 0; i < s->height_out; i++)
            for (size_t j = 0; j < s->width_out; j++, to += window_size(s)) {
                covered rows = cover_rows(s, i), columns = cover_columns(s, j);
                memset(to, 0, window_size(s) * sizeof *to);
                for (size_t r = rows.begin; r < rows.end; r++)
                    memcpy(
                        to + ((r - rows.begin + rows.skipped) * s->window_width + columns.skipped) *
                                 s->channels,
                        x + (r * s->width + columns.begin) * s->channels,
                        (columns.end - columns.begin) * s->channels * sizeof *to);
            }
    }
}

void AFFECT_CPU_OPERATION(window2d_forward)(affect_backend *backend, affect_real *columns,
                                            const affect_real *x,
                                            const affect_window2d_shape *shape) {
    if (!affect_cpu_ready(backend)) return;
    window2d_call call = {.to = columns, .from = x, .shape = shape};
    affect_cpu_run(backend, shape->n, take_windows, &call);
}

static void add_windows(void *context, size_t first, size_t last, int thread) {
    (void)thread;
    const window2d_call *call = context;
    const affect_window2d_shape *s = call->shape;
    for (size_t n = first; n < last; n++) {
        affect_real *d_x = call->to + n * image_size(s);
        const affect_real *from = call->from + n * s->height_out * s->width_out * window_size(s);
        memset(d_x, 0, image_size(s) * sizeof *d_x);
        for (size_t i = 0; i < s->height_out; i++)
            for (size_t j = 0; j < s->width_out; j++, from += window_size(s)) {
                covered rows = cover_rows(s, i), columns = cover_columns(s, j);
                size_t count = (columns.end - columns.begin) * s->channels;
                for (size_t r = rows.begin; r < rows.end; r++) {
                    affect_real *to = d_x + (r * s->width + columns.begin) * s->channels;
                    const affect_real *row =
                        from +
                        ((r - rows.begin + rows.skipped) * s->window_width + columns.skipped) *
                            s->channels;
                    for (size_t c = 0; c < count; c++) to[c] += row[c];
                }
            }
    }
}

void AFFECT_CPU_OPERATION(window2d_backward)(affect_backend *backend, affect_real *d_x,
                                             const affect_real *d_columns,
                                             const affect_window2d_shape *shape) {
    if (!affect_cpu_ready(backend)) return;
    window2d_call call = {.to = d_x, .from = d_columns, .shape = shape};
    affect_cpu_run(backend, shape->n, add_windows, &call);
}

static void pool_images(void *context, size_t first, size_t last, int thread) {
    (void)thread;
    const window2d_call *call = context;
    const affect_window2d_shape *s = call->shape;
    for (size_t n = first; n < last; n++) {
        const affect_real *x = call->from + n * image_size(s);
        affect_real *y = call->to + n * s->height_out * s->width_out * s->channels;
        for (size_t i = 0; i < s->height_out; i++)
            for (size_t j = 0; j < s->width_out; j++, y += s->channels) {
                covered rows = cover_rows(s, i), columns = cover_columns(s, j);
                const affect_real *corner =
                    x + (rows.begin * s->width + columns.begin) * s->channels;
                memcpy(y, corner, s->channels * sizeof *y);
                for (size_t r = rows.begin; r < rows.end; r++)
                    for (size_t k = columns.begin; k < columns.end; k++) {
                        const affect_real *at = x + (r * s->width + k) * s->channels;
                        for (size_t c = 0; c < s->channels; c++) y[c] = at[c] > y[c] ? at[c] : y[c];
                    }
            }
    }
}

void AFFECT_CPU_OPERATION(pool2d_forward)(affect_backend *backend, affect_real *y,
                                          const affect_real *x,
                                          const affect_window2d_shape *shape) {
    if (!affect_cpu_ready(backend)) return;
    window2d_call call = {.to = y, .from = x, .shape = shape};
    affect_cpu_run(backend, shape->n, pool_images, &call);
}

/* Index of the first number of the window that is the maximum y, for one channel. */
static size_t first_maximum(const affect_window2d_shape *s, covered rows, covered columns,
                            const affect_real *x, affect_real y, size_t c) {
    for (size_t r = rows.begin; r < rows.end; r++)
        for (size_t k = columns.begin; k < columns.end; k++) {
            size_t at = (r * s->width + k) * s->channels + c;
            if (x[at] == y) return at;
        }
    return (rows.begin * s->width + columns.begin) * s->channels + c; /* y is not a number */
}

static void pool_gradients(void *context, size_t first, size_t last, int thread) {
    (void)thread;
    const window2d_call *call = context;
    const affect_window2d_shape *s = call->shape;
    for (size_t n = first; n < last; n++) {
        const affect_real *x = call->x + n * image_size(s);
        affect_real *d_x = call->to + n * image_size(s);
        size_t at = n * s->height_out * s->width_out * s->channels;
        memset(d_x, 0, image_size(s) * sizeof *d_x);
        for (size_t i = 0; i < s->height_out; i++)
            for (size_t j = 0; j < s->width_out; j++, at += s->channels) {
                covered rows = cover_rows(s, i), columns = cover_columns(s, j);
                for (size_t c = 0; c < s->channels; c++)
                    d_x[first_maximum(s, rows, columns, x, call->y[at + c], c)] +=
                        call->from[at + c];
            }
    }
}

void AFFECT_CPU_OPERATION(pool2d_backward)(affect_backend *backend, affect_real *d_x,
                                           const affect_real *d_y, const affect_real *x,
                                           const affect_real *y,
                                           const affect_window2d_shape *shape) {
    if (!affect_cpu_ready(backend)) return;
    window2d_call call = {.to = d_x, .from = d_y, .x = x, .y = y, .shape = shape};
    affect_cpu_run(backend, shape->n, pool_gradients, &call);
}
