/* Convolution, ReLU and pooling of pairs in one pass, on the CPU.
 *
 * Forward: the convolution of a tile of positions goes to a buffer in the cache (rows of windows
 * times the packed kernel), and of each pair only the maximum is written, with one bit that says
 * which it was.
 *
 * Backward uses what pooling and ReLU left: of each pair at most one position has a gradient, and
 * none where the maximum is 0. That is exact, and less than half of the dense work. The numbers
 * that are left become lists: for each filter the windows of x that its kernel's gradient sums, and
 * for each pair the filters' kernels that its d_x sums. Channels are done 32 at a time (one word of
 * switches), so that a tile of x and the block's kernels stay in the first-level cache.
 *
 * Inputs of one channel (the first audio layer) have direct loops. Whatever else a convolution can
 * be (padding, strides) goes the plain way: convolution, then pooling, a tile of items at a time;
 * it is also what the others are tested against. */
#include "engine/device/cpu/cpu_backend.h"
#include "engine/device/cpu/cpu_product.h"
#include "engine/device/cpu/cpu_vector.h"

#include <string.h>

enum {
    CHUNK = 96,              /* positions of one product: 48 pairs */
    MAX_THIN = 8,            /* kernel_size of the direct loops */
    TILE_BYTES = 28 << 10,   /* of x in backward: most of a first-level cache */
    PLAIN_BYTES = 2048 << 10 /* of a tile's convolution on the plain way */
};

typedef enum { PLAIN, THIN, SPARSE } method;

static method method_of(const affect_conv1d_shape *s) {
    bool valid =
        s->stride == 1 && s->pad_left == 0 && s->length_out + s->kernel_size == s->length + 1;
    if (!valid) return PLAIN;
    if (s->channels == 1 && s->kernel_size <= MAX_THIN) return THIN;
    return SPARSE;
}

typedef struct {
    const affect_conv1d_shape *shape;
    affect_real *y, *d_x;
    uint32_t *switches;
    const affect_real *x, *y_saved, *d_y, *kernel, *bias;
    const uint32_t *saved_switches;
    size_t pairs, depth, words;     /* a row's: pooled positions, window, words of switches */
    size_t tile_items;              /* of backward, or of the plain way */
    affect_cpu_packed packed;       /* forward */
    affect_real *by_filter;         /* backward: kernel as (filters, depth) */
    affect_real *d_kernel, *d_bias; /* one a thread: (filters, depth), (filters) */
    affect_real *sums;              /* forward: one a thread: (CHUNK, filters) */
    affect_cpu_term *terms;         /* backward: one a thread */
    affect_real *plain;             /* the plain way: a tile's convolution */
    void *conv_workspace;           /* and conv1d's own workspace */
} pool_call;

static size_t words_of(const affect_conv1d_shape *s) {
    return (s->filters + 31) / 32;
}

size_t AFFECT_CPU_OPERATION(conv1d_pool_switches)(affect_backend *backend,
                                                  const affect_conv1d_shape *s) {
    (void)backend;
    return s->n * (s->length_out / 2) * words_of(s) * sizeof(uint32_t);
}

static size_t tile_of(const affect_conv1d_shape *s, size_t bytes, size_t item_numbers) {
    size_t items = bytes / (item_numbers * sizeof(affect_real));
    return items < 1 ? 1 : items > s->n ? (s->n ? s->n : 1) : items;
}

/* Terms of one thread: a list for each of 32 filters, then two lists of 32. */
static size_t terms_of(const pool_call *call) {
    return 32 * call->tile_items * call->pairs + 64;
}

static affect_conv1d_shape tile_shape(const pool_call *call, size_t items) {
    affect_conv1d_shape shape = *call->shape;
    shape.n = items;
    shape.activation = AFFECT_ACTIVATION_LINEAR;
    return shape;
}

/* Sizes of the call; with a workspace also its parts. Returns the bytes used. */
static size_t cut(pool_call *call, affect_backend *backend, const affect_conv1d_shape *s,
                  void *workspace) {
    size_t threads = affect_cpu_of(backend)->n_threads;
    char *rest = workspace;
    char *begin = rest;
    call->shape = s;
    call->pairs = s->length_out / 2;
    call->depth = s->kernel_size * s->channels;
    call->words = words_of(s);
    if (method_of(s) == PLAIN) {
        call->tile_items = tile_of(s, PLAIN_BYTES, s->length_out * s->filters);
        affect_conv1d_shape tile = tile_shape(call, call->tile_items);
        call->plain = affect_cpu_take(&rest, call->tile_items * s->length_out * s->filters);
        call->conv_workspace = rest;
        return (size_t)(rest - begin) + backend->ops->conv1d_workspace(backend, &tile);
    }
    call->tile_items = tile_of(s, TILE_BYTES, s->length * s->channels);
    call->packed = (affect_cpu_packed){.k = call->depth, .n = s->filters};
    call->packed.numbers = affect_cpu_take(&rest, affect_cpu_packed_size(call->depth, s->filters));
    call->by_filter = affect_cpu_take(&rest, call->depth * s->filters);
    call->d_kernel = affect_cpu_take(&rest, threads * call->depth * s->filters);
    call->d_bias = affect_cpu_take(&rest, threads * s->filters);
    call->sums = affect_cpu_take(&rest, threads * CHUNK * s->filters);
    call->terms = (affect_cpu_term *)rest;
    rest += affect_cpu_lines(threads * terms_of(call) * sizeof *call->terms);
    return (size_t)(rest - begin);
}

size_t AFFECT_CPU_OPERATION(conv1d_pool_workspace)(affect_backend *backend,
                                                   const affect_conv1d_shape *s) {
    pool_call call = {0};
    return cut(&call, backend, s, (void *)64); /* only differences are used */
}

/* ---- Forward ---- */

/* The maximum of two rows of sums and 0, and which was larger. */
static void pool_pair(affect_real *restrict y, uint32_t *switches, const affect_real *restrict sums,
                      size_t n) {
    const affect_real *second = sums + n;
    for (size_t f = 0; f < n; f++) {
        affect_real larger = second[f] > sums[f] ? second[f] : sums[f];
        y[f] = larger > 0 ? larger : 0;
    }
    for (size_t f = 0; switches && f < n; f += 32)
        *switches++ = affect_greater_bits(second + f, sums + f, n - f < 32 ? n - f : 32);
}

static void pool_rows(const pool_call *call, const affect_real *sums, size_t pair, size_t n_pairs) {
    size_t filters = call->shape->filters;
    for (size_t i = 0; i < n_pairs; i++, pair++)
        pool_pair(call->y + pair * filters,
                  call->switches ? call->switches + pair * call->words : NULL,
                  sums + 2 * i * filters, filters);
}

static void forward_items(void *context, size_t begin, size_t end, int thread) {
    const pool_call *call = context;
    const affect_conv1d_shape *s = call->shape;
    affect_real *sums = call->sums + (size_t)thread * CHUNK * s->filters, *c[CHUNK];
    const affect_real *a[CHUNK], *init[CHUNK];
    size_t last = end * call->pairs, n = 0, done = begin * call->pairs;
    for (size_t i = 0; i < CHUNK; i++) {
        c[i] = sums + i * s->filters;
        init[i] = call->bias;
    }
    for (size_t pair = done; pair < last; pair++) {
        size_t item = pair / call->pairs, position = 2 * (pair % call->pairs);
        a[n] = call->x + (item * s->length + position) * s->channels;
        a[n + 1] = a[n] + s->channels;
        n += 2;
        if (n < CHUNK && pair + 1 < last) continue;
        affect_cpu_multiply_rows(c, call->bias ? init : NULL, a, n, &call->packed);
        pool_rows(call, sums, done, n / 2);
        done += n / 2;
        n = 0;
    }
}

/* Two positions of one channel: sums (2, n) from x (kernel_size + 1). */
static void thin_pair(affect_real *restrict sums, const affect_real *restrict x,
                      const affect_real *restrict kernel, const affect_real *restrict bias,
                      size_t kernel_size, size_t n) {
    for (size_t f = 0; f < n; f++) {
        affect_real first = bias ? bias[f] : 0, second = first;
        for (size_t k = 0; k < kernel_size; k++) {
            first += x[k] * kernel[k * n + f];
            second += x[k + 1] * kernel[k * n + f];
        }
        sums[f] = first;
        sums[n + f] = second;
    }
}

static void forward_thin(void *context, size_t begin, size_t end, int thread) {
    const pool_call *call = context;
    const affect_conv1d_shape *s = call->shape;
    affect_real *sums = call->sums + (size_t)thread * CHUNK * s->filters;
    for (size_t i = begin; i < end; i++)
        for (size_t p = 0; p < call->pairs; p++) {
            const affect_real *x = call->x + i * s->length + 2 * p;
            if (s->kernel_size == 3 && call->bias) /* constants: the loop over k unrolls */
                thin_pair(sums, x, call->kernel, call->bias, 3, s->filters);
            else
                thin_pair(sums, x, call->kernel, call->bias, s->kernel_size, s->filters);
            pool_rows(call, sums, i * call->pairs + p, 1);
        }
}

static void pool_items(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    const pool_call *call = context;
    const affect_conv1d_shape *s = call->shape;
    for (size_t i = begin; i < end; i++)
        pool_rows(call, call->plain + i * s->length_out * s->filters, i * call->pairs, call->pairs);
}

static void forward_plain(affect_backend *backend, const pool_call *whole) {
    const affect_conv1d_shape *s = whole->shape;
    for (size_t first = 0; first < s->n; first += whole->tile_items) {
        size_t items = s->n - first < whole->tile_items ? s->n - first : whole->tile_items;
        affect_conv1d_shape tile = tile_shape(whole, items);
        pool_call call = *whole;
        call.y += first * call.pairs * s->filters;
        if (call.switches) call.switches += first * call.pairs * call.words;
        backend->ops->conv1d_forward(backend, call.plain, call.x + first * s->length * s->channels,
                                     call.kernel, call.bias, call.conv_workspace, &tile);
        affect_cpu_run(backend, items, pool_items, &call);
    }
}

void AFFECT_CPU_OPERATION(conv1d_pool_forward)(affect_backend *backend, affect_real *y,
                                               uint32_t *switches, const affect_real *x,
                                               const affect_real *kernel, const affect_real *bias,
                                               void *workspace, const affect_conv1d_shape *shape) {
    if (!affect_cpu_ready(backend)) return;
    pool_call call = {.y = y, .switches = switches, .x = x, .kernel = kernel, .bias = bias};
    cut(&call, backend, shape, workspace);
    switch (method_of(shape)) {
    case PLAIN:
        forward_plain(backend, &call);
        break;
    case THIN:
        affect_cpu_run(backend, shape->n, forward_thin, &call);
        break;
    case SPARSE:
        affect_cpu_pack(&call.packed, kernel, shape->filters, false);
        affect_cpu_run(backend, shape->n, forward_items, &call);
        break;
    }
}

/* ---- Backward ---- */

static const affect_real zeros[32];

/* One thread's tile and the block of 32 filters at work. */
typedef struct {
    const affect_real *x;
    affect_real *d_x, *d_kernel, *d_bias; /* of the tile; of the thread */
    size_t first_pair, n_pairs;           /* of the tile */
    size_t word, n_filters;               /* of the block */
    affect_cpu_term *by_filter, *by_switch[2];
    uint32_t n_by_filter[32];
} sparse_tile;

/* Lists the gradients of one pair: for their filters' kernels, and for d_x by the switch. */
static void list_pair(sparse_tile *tile, size_t n_terms[2], const pool_call *call, size_t pair,
                      size_t row) {
    size_t at = pair * call->shape->filters + tile->word * 32;
    const affect_real *d_y = call->d_y + at;
    uint32_t live = affect_greater_bits(call->y_saved + at, zeros, tile->n_filters);
    uint32_t second = call->saved_switches[pair * call->words + tile->word];
    size_t room = call->tile_items * call->pairs;
    uint32_t offset[2] = {(uint32_t)row, (uint32_t)(row + call->shape->channels)};
    n_terms[0] = n_terms[1] = 0;
    while (live) {
        uint32_t f = (uint32_t)__builtin_ctz(live), which = (second >> f) & 1;
        affect_real value = d_y[f];
        live &= live - 1;
        tile->by_filter[f * room + tile->n_by_filter[f]++] =
            (affect_cpu_term){offset[which], value};
        tile->by_switch[which][n_terms[which]++] =
            (affect_cpu_term){f * (uint32_t)call->depth, value};
    }
}

/* d_bias: what the pairs' gradients sum to. */
static void add_live(affect_real *restrict d_bias, const affect_real *restrict d_y,
                     const affect_real *restrict y, size_t n) {
    for (size_t f = 0; f < n; f++) d_bias[f] += y[f] > 0 ? d_y[f] : 0;
}

static void sparse_block(sparse_tile *tile, const pool_call *call) {
    const affect_conv1d_shape *s = call->shape;
    size_t first_filter = tile->word * 32, room = call->tile_items * call->pairs;
    const affect_real *kernels = call->by_filter + first_filter * call->depth;
    memset(tile->n_by_filter, 0, sizeof tile->n_by_filter);
    for (size_t i = 0; i < tile->n_pairs; i++) {
        size_t n_terms[2], item = i / call->pairs, position = 2 * (i % call->pairs);
        size_t row = (item * s->length + position) * s->channels;
        size_t at = (tile->first_pair + i) * s->filters + first_filter;
        list_pair(tile, n_terms, call, tile->first_pair + i, row);
        add_live(tile->d_bias, call->d_y + at, call->y_saved + at, tile->n_filters);
        for (size_t which = 0; tile->d_x && which < 2; which++)
            affect_cpu_combine(tile->d_x + row + which * s->channels, kernels,
                               tile->by_switch[which], n_terms[which], call->depth);
    }
    for (size_t f = 0; f < tile->n_filters; f++)
        affect_cpu_combine(tile->d_kernel + (first_filter + f) * call->depth, tile->x,
                           tile->by_filter + f * room, tile->n_by_filter[f], call->depth);
}

static void backward_sparse(void *context, size_t begin, size_t end, int thread) {
    const pool_call *call = context;
    const affect_conv1d_shape *s = call->shape;
    size_t t = (size_t)thread, weights = call->depth * s->filters, item = s->length * s->channels;
    affect_cpu_term *terms = call->terms + t * terms_of(call);
    affect_real *d_bias = call->d_bias + t * s->filters;
    sparse_tile tile = {.d_kernel = call->d_kernel + t * weights, .by_filter = terms};
    tile.by_switch[0] = terms + 32 * call->tile_items * call->pairs;
    tile.by_switch[1] = tile.by_switch[0] + 32;
    memset(tile.d_kernel, 0, weights * sizeof *tile.d_kernel);
    memset(d_bias, 0, s->filters * sizeof *d_bias);
    for (size_t first = begin; first < end; first += call->tile_items) {
        size_t items = end - first < call->tile_items ? end - first : call->tile_items;
        tile.x = call->x + first * item;
        tile.first_pair = first * call->pairs;
        tile.n_pairs = items * call->pairs;
        tile.d_x = call->d_x ? call->d_x + first * item : NULL;
        if (tile.d_x) memset(tile.d_x, 0, items * item * sizeof *tile.d_x);
        for (tile.word = 0; tile.word < call->words; tile.word++) {
            size_t left = s->filters - tile.word * 32;
            tile.n_filters = left < 32 ? left : 32;
            tile.d_bias = d_bias + tile.word * 32;
            sparse_block(&tile, call);
        }
    }
}

/* The gradients of a pair's two positions before pooling: d (2, n). */
static void unpool_pair(affect_real *restrict d, const affect_real *restrict d_y,
                        const affect_real *restrict y, const uint32_t *switches, size_t n) {
    for (size_t f = 0; f < n; f += 32) {
        uint32_t second = *switches++;
        size_t count = n - f < 32 ? n - f : 32;
        for (uint32_t i = 0; i < count; i++) {
            affect_real value = y[f + i] > 0 ? d_y[f + i] : 0;
            affect_real to_second = (second >> i) & 1 ? value : 0;
            d[f + i] = value - to_second;
            d[n + f + i] = to_second;
        }
    }
}

static void thin_gradient(affect_real *restrict d_kernel, affect_real *restrict d_bias,
                          const affect_real *restrict d, const affect_real *restrict x,
                          size_t kernel_size, size_t n) {
    for (size_t k = 0; k < kernel_size; k++)
        for (size_t f = 0; f < n; f++) d_kernel[k * n + f] += x[k] * d[f] + x[k + 1] * d[n + f];
    for (size_t f = 0; f < n; f++) d_bias[f] += d[f] + d[n + f];
}

static void thin_d_x(affect_real *d_x, const affect_real *d, const affect_real *kernel,
                     size_t kernel_size, size_t n) {
    for (size_t k = 0; k < kernel_size; k++)
        for (size_t f = 0; f < n; f++) {
            d_x[k] += d[f] * kernel[k * n + f];
            d_x[k + 1] += d[n + f] * kernel[k * n + f];
        }
}

static void backward_thin(void *context, size_t begin, size_t end, int thread) {
    const pool_call *call = context;
    const affect_conv1d_shape *s = call->shape;
    size_t t = (size_t)thread, n = s->filters;
    affect_real *d = call->sums + t * CHUNK * n;
    affect_real *d_kernel = call->d_kernel + t * call->depth * n, *d_bias = call->d_bias + t * n;
    memset(d_kernel, 0, call->depth * n * sizeof *d_kernel);
    memset(d_bias, 0, n * sizeof *d_bias);
    if (call->d_x)
        memset(call->d_x + begin * s->length, 0, (end - begin) * s->length * sizeof *call->d_x);
    for (size_t i = begin; i < end; i++)
        for (size_t p = 0; p < call->pairs; p++) {
            size_t pair = i * call->pairs + p, at = i * s->length + 2 * p;
            unpool_pair(d, call->d_y + pair * n, call->y_saved + pair * n,
                        call->saved_switches + pair * call->words, n);
            thin_gradient(d_kernel, d_bias, d, call->x + at, s->kernel_size, n);
            if (call->d_x) thin_d_x(call->d_x + at, d, call->kernel, s->kernel_size, n);
        }
}

static void unpool_items(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    const pool_call *call = context;
    size_t n = call->shape->filters, item = call->shape->length_out * n;
    for (size_t i = begin; i < end; i++) {
        affect_real *d = call->plain + i * item;
        for (size_t p = 0; p < call->pairs; p++) {
            size_t pair = i * call->pairs + p;
            unpool_pair(d + 2 * p * n, call->d_y + pair * n, call->y_saved + pair * n,
                        call->saved_switches + pair * call->words, n);
        }
        memset(d + 2 * call->pairs * n, 0, (item - 2 * call->pairs * n) * sizeof *d);
    }
}

static void backward_plain(affect_backend *backend, const pool_call *whole, affect_real *d_kernel,
                           affect_real *d_bias) {
    const affect_conv1d_shape *s = whole->shape;
    for (size_t first = 0; first < s->n; first += whole->tile_items) {
        size_t items = s->n - first < whole->tile_items ? s->n - first : whole->tile_items;
        size_t input = first * s->length * s->channels, pair = first * whole->pairs;
        affect_conv1d_shape tile = tile_shape(whole, items);
        pool_call call = *whole;
        call.d_y += pair * s->filters;
        call.y_saved += pair * s->filters;
        call.saved_switches += pair * call.words;
        affect_cpu_run(backend, items, unpool_items, &call);
        backend->ops->conv1d_backward(backend, call.d_x ? call.d_x + input : NULL, d_kernel, d_bias,
                                      call.plain, call.x + input, NULL, call.kernel,
                                      call.conv_workspace, &tile);
    }
}

static void add_threads(affect_real *to, const affect_real *parts, size_t n_threads, size_t n) {
    for (size_t t = 0; to && t < n_threads; t++)
        for (size_t i = 0; i < n; i++) to[i] += parts[t * n + i];
}

/* d_kernel (depth, filters) += the threads' (filters, depth), in the order of the threads. */
static void add_by_filter(affect_real *d_kernel, const pool_call *call, size_t n_threads) {
    size_t filters = call->shape->filters, weights = call->depth * filters;
    for (size_t t = 0; d_kernel && t < n_threads; t++)
        for (size_t f = 0; f < filters; f++)
            for (size_t i = 0; i < call->depth; i++)
                d_kernel[i * filters + f] += call->d_kernel[t * weights + f * call->depth + i];
}

static void list_by_filter(const pool_call *call) {
    size_t filters = call->shape->filters;
    for (size_t f = 0; f < filters; f++)
        for (size_t i = 0; i < call->depth; i++)
            call->by_filter[f * call->depth + i] = call->kernel[i * filters + f];
}

void AFFECT_CPU_OPERATION(conv1d_pool_backward)(affect_backend *backend, affect_real *d_x,
                                                affect_real *d_kernel, affect_real *d_bias,
                                                const affect_real *d_y, const affect_real *x,
                                                const affect_real *y, const uint32_t *switches,
                                                const affect_real *kernel, void *workspace,
                                                const affect_conv1d_shape *shape) {
    if (!affect_cpu_ready(backend)) return;
    size_t threads = affect_cpu_of(backend)->n_threads, weights;
    pool_call call = {
        .d_x = d_x, .x = x, .y_saved = y, .d_y = d_y, .kernel = kernel, .saved_switches = switches};
    cut(&call, backend, shape, workspace);
    weights = call.depth * shape->filters;
    switch (method_of(shape)) {
    case PLAIN:
        backward_plain(backend, &call, d_kernel, d_bias);
        return;
    case THIN:
        affect_cpu_run(backend, shape->n, backward_thin, &call);
        add_threads(d_kernel, call.d_kernel, threads, weights);
        break;
    case SPARSE:
        list_by_filter(&call);
        affect_cpu_run(backend, shape->n, backward_sparse, &call);
        add_by_filter(d_kernel, &call, threads);
        break;
    }
    add_threads(d_bias, call.d_bias, threads, shape->filters);
}
