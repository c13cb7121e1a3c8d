/* Convolution (and dense layers) on the CPU.
 *
 * Items are split over the threads; each thread walks its items in tiles. Of a tile the shifted
 * inputs are laid side by side ("columns": one row an output position, kernel_size * channels
 * wide), so that the convolution is one product with the kernel (kernel_size channels, filters),
 * packed once a call: a row's sum does not depend on the rows beside it, so an utterance's values
 * are the same bits in any batch. Bias and activation follow while the tile is in the L2 cache. A
 * pointwise convolution or dense layer needs no columns: its input is them. Very thin inputs (the
 * first audio layer has one channel) are done by a direct loop, where a product of depth 3 would be
 * all overhead.
 *
 * Backward: columns' x d_y into one kernel gradient a thread, added in the order of the threads;
 * and d_y kernel' gives columns' gradient, which is added back to the positions it came from. */
#include "engine/device/cpu/cpu_backend.h"
#include "engine/device/cpu/cpu_product.h"

#include <string.h>

#define TILE_BYTES (384u << 10) /* columns of a tile: half an L2 cache, at least one item */
#define CHUNK      64           /* rows of a product at once: their addresses are on the stack */
#define THIN_DEPTH 8            /* kernel_size * channels below this: direct loop */

typedef struct {
    const affect_conv1d_shape *shape;
    affect_real *y, *d_x, *d_y;
    const affect_real *x, *y_saved, *kernel, *bias;
    bool want_kernel, want_bias;
    /* The workspace's parts: one a thread. */
    affect_real *columns, *d_kernel, *d_bias;
    affect_cpu_packed packed; /* the kernel; in backward its transpose */
    size_t depth, tile_items, columns_size;
} conv_call;

static bool is_pointwise(const affect_conv1d_shape *s) {
    return s->kernel_size == 1 && s->stride == 1 && s->pad_left == 0 && s->length_out == s->length;
}

static void plan(conv_call *call, const affect_conv1d_shape *s) {
    call->shape = s;
    call->depth = s->kernel_size * s->channels;
    size_t item_bytes = s->length_out * call->depth * sizeof(affect_real);
    size_t items = item_bytes ? TILE_BYTES / item_bytes : 1;
    call->tile_items = items == 0 ? 1 : items > s->n ? (s->n ? s->n : 1) : items;
    call->columns_size = affect_cpu_lines(call->tile_items * item_bytes) / sizeof(affect_real);
}

/* Numbers of the packed kernel or of its transpose. */
static size_t packed_size(const conv_call *call) {
    size_t forward = affect_cpu_packed_size(call->depth, call->shape->filters);
    size_t backward = affect_cpu_packed_size(call->shape->filters, call->depth);
    return forward > backward ? forward : backward;
}

static void cut_workspace(conv_call *call, void *workspace, size_t n_threads) {
    char *rest = workspace;
    call->columns = affect_cpu_take(&rest, 2 * call->columns_size * n_threads);
    call->d_kernel = affect_cpu_take(&rest, call->depth * call->shape->filters * n_threads);
    call->d_bias = affect_cpu_take(&rest, call->shape->filters * n_threads);
    call->packed = (affect_cpu_packed){.k = call->depth, .n = call->shape->filters};
    call->packed.numbers = affect_cpu_take(&rest, packed_size(call));
}

size_t AFFECT_CPU_OPERATION(conv1d_workspace)(affect_backend *backend,
                                              const affect_conv1d_shape *shape) {
    conv_call call = {0};
    size_t n_threads = affect_cpu_of(backend)->n_threads, real = sizeof(affect_real);
    plan(&call, shape);
    return affect_cpu_lines(2 * call.columns_size * n_threads * real) +
           affect_cpu_lines(call.depth * shape->filters * n_threads * real) +
           affect_cpu_lines(shape->filters * n_threads * real) +
           affect_cpu_lines(packed_size(&call) * real);
}

/* columns (items, length_out, kernel_size, channels) of x (items, length, channels). */
static void gather_columns(affect_real *columns, const affect_real *x, size_t items,
                           const affect_conv1d_shape *s) {
    size_t depth = s->kernel_size * s->channels;
    for (size_t i = 0; i < items; i++, x += s->length * s->channels) {
        for (size_t l = 0; l < s->length_out; l++, columns += depth) {
            ptrdiff_t first = (ptrdiff_t)(l * s->stride) - (ptrdiff_t)s->pad_left;
            if (first >= 0 && (size_t)first + s->kernel_size <= s->length) {
                memcpy(columns, x + (size_t)first * s->channels, depth * sizeof *columns);
                continue;
            }
            for (size_t k = 0; k < s->kernel_size; k++) {
                ptrdiff_t at = first + (ptrdiff_t)k;
                affect_real *to = columns + k * s->channels;
                if (at >= 0 && (size_t)at < s->length)
                    memcpy(to, x + (size_t)at * s->channels, s->channels * sizeof *to);
                else
                    memset(to, 0, s->channels * sizeof *to);
            }
        }
    }
}

static void add_to(affect_real *to, const affect_real *from, size_t n) {
    for (size_t i = 0; i < n; i++) to[i] += from[i];
}

/* The reverse of gather_columns, adding. */
static void scatter_columns(affect_real *d_x, const affect_real *columns, size_t items,
                            const affect_conv1d_shape *s) {
    size_t depth = s->kernel_size * s->channels;
    memset(d_x, 0, items * s->length * s->channels * sizeof *d_x);
    for (size_t i = 0; i < items; i++, d_x += s->length * s->channels) {
        for (size_t l = 0; l < s->length_out; l++, columns += depth) {
            ptrdiff_t first = (ptrdiff_t)(l * s->stride) - (ptrdiff_t)s->pad_left;
            if (first >= 0 && (size_t)first + s->kernel_size <= s->length) {
                add_to(d_x + (size_t)first * s->channels, columns, depth);
                continue;
            }
            for (size_t k = 0; k < s->kernel_size; k++) {
                ptrdiff_t at = first + (ptrdiff_t)k;
                if (at >= 0 && (size_t)at < s->length)
                    add_to(d_x + (size_t)at * s->channels, columns + k * s->channels, s->channels);
            }
        }
    }
}

static void add_bias(affect_real *y, const affect_real *bias, size_t rows, size_t n) {
    for (size_t r = 0; r < rows; r++)
        for (size_t f = 0; f < n; f++) y[r * n + f] += bias[f];
}

static void add_bias_relu(affect_real *y, const affect_real *bias, size_t rows, size_t n) {
    for (size_t r = 0; r < rows; r++)
        for (size_t f = 0; f < n; f++) {
            affect_real value = y[r * n + f] + bias[f];
            y[r * n + f] = value > 0 ? value : 0;
        }
}

/* y = columns kernel for a depth of a few numbers. */
static void multiply_thin(affect_real *restrict y, const affect_real *restrict columns,
                          const affect_real *restrict kernel, size_t rows, size_t depth, size_t n) {
    for (size_t r = 0; r < rows; r++) {
        for (size_t f = 0; f < n; f++) y[f] = columns[0] * kernel[f];
        for (size_t d = 1; d < depth; d++)
            for (size_t f = 0; f < n; f++) y[f] += columns[d] * kernel[d * n + f];
        columns += depth;
        y += n;
    }
}

/* d_kernel += columns' d_y for a depth of a few numbers. */
static void accumulate_thin(affect_real *restrict d_kernel, const affect_real *restrict columns,
                            const affect_real *restrict d_y, size_t rows, size_t depth, size_t n) {
    for (size_t r = 0; r < rows; r++) {
        for (size_t d = 0; d < depth; d++) {
            affect_real value = columns[d];
            for (size_t f = 0; f < n; f++) d_kernel[d * n + f] += value * d_y[f];
        }
        columns += depth;
        d_y += n;
    }
}

static const affect_real *tile_columns(const conv_call *call, affect_real *columns,
                                       size_t first_item, size_t items) {
    const affect_conv1d_shape *s = call->shape;
    const affect_real *x = call->x + first_item * s->length * s->channels;
    if (is_pointwise(s)) return x;
    gather_columns(columns, x, items, s);
    return columns;
}

/* y (rows, n) = x (rows, k) times the packed kernel (k, n): its transpose in backward. */
static void multiply_packed(const conv_call *call, affect_real *y, const affect_real *x,
                            size_t rows) {
    const affect_real *a[CHUNK];
    affect_real *c[CHUNK];
    for (size_t first = 0, n; first < rows; first += n) {
        n = rows - first < CHUNK ? rows - first : CHUNK;
        for (size_t r = 0; r < n; r++) {
            a[r] = x + (first + r) * call->packed.k;
            c[r] = y + (first + r) * call->packed.n;
        }
        affect_cpu_multiply_rows(c, NULL, a, n, &call->packed);
    }
}

/* d_kernel (depth, filters) += columns' d_y. */
static void add_products(const conv_call *call, affect_real *d_kernel, const affect_real *columns,
                         const affect_real *d_y, size_t rows) {
    const affect_real *a[CHUNK], *b[CHUNK];
    size_t filters = call->shape->filters;
    for (size_t first = 0, n; first < rows; first += n) {
        n = rows - first < CHUNK ? rows - first : CHUNK;
        for (size_t r = 0; r < n; r++) {
            a[r] = columns + (first + r) * call->depth;
            b[r] = d_y + (first + r) * filters;
        }
        affect_cpu_add_outer(d_kernel, filters, a, b, n, call->depth, filters);
    }
}

static void forward_tile(const conv_call *call, affect_real *columns, size_t first_item,
                         size_t items) {
    const affect_conv1d_shape *s = call->shape;
    size_t rows = items * s->length_out;
    affect_real *y = call->y + first_item * s->length_out * s->filters;
    const affect_real *from = tile_columns(call, columns, first_item, items);
    if (call->depth < THIN_DEPTH)
        multiply_thin(y, from, call->kernel, rows, call->depth, s->filters);
    else
        multiply_packed(call, y, from, rows);
    if (call->bias && s->activation == AFFECT_ACTIVATION_RELU) {
        add_bias_relu(y, call->bias, rows, s->filters);
        return;
    }
    if (call->bias) add_bias(y, call->bias, rows, s->filters);
    affect_cpu_activate(y, rows, s->filters, s->activation);
}

static void forward_items(void *context, size_t begin, size_t end, int thread) {
    const conv_call *call = context;
    affect_real *columns = call->columns + 2 * call->columns_size * (size_t)thread;
    for (size_t i = begin; i < end; i += call->tile_items)
        forward_tile(call, columns, i, end - i < call->tile_items ? end - i : call->tile_items);
}

void AFFECT_CPU_OPERATION(conv1d_forward)(affect_backend *backend, affect_real *y,
                                          const affect_real *x, const affect_real *kernel,
                                          const affect_real *bias, void *workspace,
                                          const affect_conv1d_shape *shape) {
    if (!affect_cpu_ready(backend)) return;
    conv_call call = {.y = y, .x = x, .kernel = kernel, .bias = bias};
    plan(&call, shape);
    cut_workspace(&call, workspace, affect_cpu_of(backend)->n_threads);
    if (call.depth >= THIN_DEPTH) affect_cpu_pack(&call.packed, kernel, shape->filters, false);
    affect_cpu_run(backend, shape->n, forward_items, &call);
}

static void add_rows(affect_real *restrict sums, const affect_real *restrict rows, size_t n_rows,
                     size_t n) {
    for (size_t r = 0; r < n_rows; r++)
        for (size_t f = 0; f < n; f++) sums[f] += rows[r * n + f];
}

static void backward_tile(const conv_call *call, affect_real *columns, affect_real *d_kernel,
                          affect_real *d_bias, size_t first_item, size_t items) {
    const affect_conv1d_shape *s = call->shape;
    size_t rows = items * s->length_out, offset = first_item * s->length_out * s->filters;
    affect_real *d_y = call->d_y + offset;
    affect_cpu_activation_gradient(d_y, call->y_saved + offset, rows * s->filters, s->activation);
    if (call->want_bias) add_rows(d_bias, d_y, rows, s->filters);
    if (call->want_kernel) {
        const affect_real *from = tile_columns(call, columns, first_item, items);
        if (call->depth < THIN_DEPTH)
            accumulate_thin(d_kernel, from, d_y, rows, call->depth, s->filters);
        else
            add_products(call, d_kernel, from, d_y, rows);
    }
    if (!call->d_x) return;
    affect_real *d_x = call->d_x + first_item * s->length * s->channels;
    affect_real *d_columns = is_pointwise(s) ? d_x : columns + call->columns_size;
    multiply_packed(call, d_columns, d_y, rows);
    if (!is_pointwise(s)) scatter_columns(d_x, d_columns, items, s);
}

static void backward_items(void *context, size_t begin, size_t end, int thread) {
    const conv_call *call = context;
    size_t t = (size_t)thread, kernel_size = call->depth * call->shape->filters;
    affect_real *columns = call->columns + 2 * call->columns_size * t;
    affect_real *d_kernel = call->d_kernel + kernel_size * t;
    affect_real *d_bias = call->d_bias + call->shape->filters * t;
    memset(d_kernel, 0, kernel_size * sizeof *d_kernel);
    memset(d_bias, 0, call->shape->filters * sizeof *d_bias);
    for (size_t i = begin; i < end; i += call->tile_items)
        backward_tile(call, columns, d_kernel, d_bias, i,
                      end - i < call->tile_items ? end - i : call->tile_items);
}

void AFFECT_CPU_OPERATION(conv1d_backward)(affect_backend *backend, affect_real *d_x,
                                           affect_real *d_kernel, affect_real *d_bias,
                                           affect_real *d_y, const affect_real *x,
                                           const affect_real *y, const affect_real *kernel,
                                           void *workspace, const affect_conv1d_shape *shape) {
    if (!affect_cpu_ready(backend)) return;
    size_t n_threads = affect_cpu_of(backend)->n_threads;
    conv_call call = {.x = x,
                      .y_saved = y,
                      .kernel = kernel,
                      .d_x = d_x,
                      .d_y = d_y,
                      .want_kernel = d_kernel != NULL,
                      .want_bias = d_bias != NULL};
    plan(&call, shape);
    cut_workspace(&call, workspace, n_threads);
    if (d_x) {
        call.packed.k = shape->filters;
        call.packed.n = call.depth;
        affect_cpu_pack(&call.packed, kernel, shape->filters, true);
    }
    affect_cpu_run(backend, shape->n, backward_items, &call);
    for (size_t t = 0; t < n_threads; t++) {
        if (d_kernel)
            add_to(d_kernel, call.d_kernel + t * call.depth * shape->filters,
                   call.depth * shape->filters);
        if (d_bias) add_to(d_bias, call.d_bias + t * shape->filters, shape->filters);
    }
}
