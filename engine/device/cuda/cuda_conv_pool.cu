/* Fused convolution, bias, relu and maximum of pairs: which kernel does what; see the header.
 *
 *   one channel              cuda_conv_channel.cuh   all four
 *   forward, d_x             cuda_conv_window.cuh    weights packed by a kernel of their own first
 *   d_kernel, d_bias         cuda_conv_gradient.cuh  then sums over blocks, in order
 *
 * ptxas 13.0: the window kernels take at most 122 registers on sm_90 in bf16 and tf32, 128 in fp32,
 * the gradient kernels at most 104; none spills there (before sm_90 fp32 back to 64 channels and
 * more: 48 bytes). PREDICTED, never measured: in bf16 what binds is the traffic of fp32
 * activations, about 46 KB an item of the paper's second convolution against 1200 cycles of its
 * products; this code has run on the host's emulation only, on no device. */
#include "engine/device/cuda/cuda_conv_pool.cuh"

#include "engine/device/cuda/cuda_conv_channel.cuh"
#include "engine/device/cuda/cuda_conv_gradient.cuh"
#include "engine/device/cuda/cuda_conv_window.cuh"

namespace {

using namespace affect_conv;

const unsigned most_channels = 256;
const unsigned channel_blocks = 8; /* a multiprocessor */

unsigned bytes_of(const affect_backend *backend) {
    return backend->precision == AFFECT_PRECISION_BF16 ? 2 : 4;
}

/* Filters of a warp's unit, of 8 each. */
int tiles_for(unsigned out, int most) {
    int tiles = most;
    while (out % (8u * static_cast<unsigned>(tiles))) tiles /= 2;
    return tiles;
}

/* How many of n: those that fit into `room`, not more than the blocks have to share. */
unsigned items_for(size_t n, size_t room, size_t item, size_t blocks) {
    size_t fit = room / item, share = (n + blocks - 1) / blocks;
    return static_cast<unsigned>(fit < share ? fit : share);
}

/* ---- Windows ---- */

struct window_plan {
    window_shape shape;
    size_t item, shared;
    unsigned blocks;
    bool fits;
};

window_plan plan_window(affect_backend *backend, const affect_conv1d_shape *c, bool back) {
    const affect_cuda *cuda = affect_cuda_of(backend);
    unsigned bytes = bytes_of(backend), length = static_cast<unsigned>(c->length);
    unsigned pooled = static_cast<unsigned>(c->length_out / 2);
    window_plan p = {};
    window_shape &s = p.shape;
    s.n = c->n;
    s.in = static_cast<unsigned>(back ? c->filters : c->channels);
    s.out = static_cast<unsigned>(back ? c->channels : c->filters);
    s.pad = static_cast<unsigned>(back ? taps - 1 - c->pad_left : c->pad_left);
    s.length = back ? 2 * pooled : length;
    s.pairs = back ? (length + 1) / 2 : pooled;
    s.half = s.pairs + 1;
    s.stride = s.in * bytes + 16;
    s.weight_bytes = taps * s.in * s.out * bytes;
    s.result_length = length;
    s.source_pairs = pooled;
    p.item = static_cast<size_t>(2 * s.half) * s.stride;
    /* Two blocks on a multiprocessor where an item and the weights leave room, else one. */
    size_t one = s.weight_bytes + p.item, half = (cuda->shared_limit + 1024) / 2 - 1024;
    size_t room = one <= half ? half : cuda->shared_limit;
    p.fits = one <= room && (!back || 2 * pooled + s.pad <= 2 * s.half);
    if (!p.fits) return p;
    size_t most = static_cast<size_t>(cuda->n_multiprocessors) * (room == half ? 2 : 1);
    s.items = items_for(c->n, room - s.weight_bytes, p.item, most);
    p.shared = s.weight_bytes + s.items * p.item;
    size_t tiles = s.items ? (c->n + s.items - 1) / s.items : 0;
    p.blocks = static_cast<unsigned>(tiles < most ? tiles : most);
    return p;
}

struct window_arguments {
    float *to;
    uint32_t *switches;
    const float *kernel, *from, *y, *bias;
    uint4 *weights;
};

template <affect_precision precision, int tiles, bool back>
void run_window(affect_backend *backend, const window_plan &p, const window_arguments &a) {
    AFFECT_CUDA_LAUNCH(backend, (pack_kernel<precision, back>),
                       affect_cuda_blocks(p.shape.weight_bytes / 16, 256), 256, 0, a.weights,
                       a.kernel, p.shape.in, p.shape.out);
    AFFECT_CUDA_LAUNCH(backend, (window_kernel<precision, tiles, back>), p.blocks, window_threads,
                       p.shared, a.to, a.switches, a.weights, a.from, a.y, a.bias, p.shape);
}

template <affect_precision precision, bool back>
void window_of(affect_backend *backend, const window_plan &p, const window_arguments &a) {
    switch (tiles_for(p.shape.out, 8)) {
    case 8:
        return run_window<precision, 8, back>(backend, p, a);
    case 4:
        return run_window<precision, 4, back>(backend, p, a);
    default:
        return run_window<precision, 2, back>(backend, p, a);
    }
}

template <bool back>
void window(affect_backend *backend, const affect_conv1d_shape *shape, const window_arguments &a) {
    window_plan p = plan_window(backend, shape, back);
    switch (backend->precision) {
    case AFFECT_PRECISION_BF16:
        return window_of<AFFECT_PRECISION_BF16, back>(backend, p, a);
    case AFFECT_PRECISION_TF32:
        return window_of<AFFECT_PRECISION_TF32, back>(backend, p, a);
    default:
        return window_of<AFFECT_PRECISION_FP32, back>(backend, p, a);
    }
}

/* ---- Gradients of kernel and bias ---- */

struct gradient_plan {
    gradient_shape shape;
    size_t shared;
    dim3 grid;
    bool fits;
};

unsigned rows_for(size_t items, unsigned pairs) {
    return static_cast<unsigned>((items * item_rows(pairs) + gradient_round - 1) / gradient_round *
                                 gradient_round);
}

size_t gradient_shared(const gradient_shape &s, unsigned rows) {
    size_t bytes =
        static_cast<size_t>(rows + taps - 1) * s.stride_x + static_cast<size_t>(rows) * s.stride_d;
    size_t scratch = gradient_threads * sizeof(float4);
    return bytes > scratch ? bytes : scratch;
}

gradient_plan plan_gradient(affect_backend *backend, const affect_conv1d_shape *c) {
    const affect_cuda *cuda = affect_cuda_of(backend);
    unsigned bytes = bytes_of(backend), margin = bytes == 2 ? 16 : 32;
    gradient_plan p = {};
    gradient_shape &s = p.shape;
    s.n = c->n;
    s.length = static_cast<unsigned>(c->length);
    s.in = static_cast<unsigned>(c->channels);
    s.out = static_cast<unsigned>(c->filters);
    s.pad = static_cast<unsigned>(c->pad_left);
    s.pairs = static_cast<unsigned>(c->length_out / 2);
    s.stride_x = s.in * bytes + margin;
    s.stride_d = s.out * bytes + margin;
    unsigned units = s.in / 16 * (s.out / (8u * static_cast<unsigned>(tiles_for(s.out, 4))));
    s.units = units < gradient_warps ? units : gradient_warps;
    s.parts = gradient_warps / s.units;
    p.fits = gradient_shared(s, rows_for(1, s.pairs)) <= cuda->shared_limit;
    if (!p.fits || !c->n) return p;
    size_t most = static_cast<size_t>(cuda->n_multiprocessors);
    size_t item = static_cast<size_t>(item_rows(s.pairs)) * (s.stride_x + s.stride_d);
    s.items = items_for(c->n, cuda->shared_limit, item, most);
    while (s.items > 1 && gradient_shared(s, rows_for(s.items, s.pairs)) > cuda->shared_limit)
        s.items--;
    if (!s.items) s.items = 1;
    s.rows = rows_for(s.items, s.pairs);
    p.shared = gradient_shared(s, s.rows);
    size_t blocks = (c->n + s.items - 1) / s.items;
    p.grid =
        dim3(static_cast<unsigned>(blocks < most ? blocks : most), (units + s.units - 1) / s.units);
    return p;
}

/* Rows of partial sums, at most, and how many numbers each has. */
struct partial_size {
    size_t rows, bias_rows, kernel, filters;
};

partial_size partials_of(affect_backend *backend, const affect_conv1d_shape *c) {
    size_t multiprocessors = static_cast<size_t>(affect_cuda_of(backend)->n_multiprocessors);
    size_t kernel = taps * c->channels * c->filters;
    if (c->channels == 1) {
        size_t slots = multiprocessors * channel_blocks * (channel_threads / 32);
        return {slots, slots, kernel, c->filters};
    }
    gradient_plan p = plan_gradient(backend, c);
    return {multiprocessors * p.shape.parts, multiprocessors, kernel, c->filters};
}

/* The workspace's parts. */
struct parts {
    uint4 *weights;
    float *partial, *bias_partial, *columns;
};

parts cut(affect_backend *backend, const affect_conv1d_shape *c, void *workspace, size_t *n_bytes) {
    partial_size size = partials_of(backend, c);
    char *at = static_cast<char *>(workspace);
    parts p = {};
    p.weights = affect_cuda_take<uint4>(&at, size.kernel * bytes_of(backend) / 16 + 1);
    p.partial = affect_cuda_take<float>(&at, size.rows * size.kernel);
    p.bias_partial = affect_cuda_take<float>(&at, size.bias_rows * size.filters);
    p.columns = affect_cuda_take<float>(&at, affect_cuda_column_parts * size.kernel);
    if (n_bytes) *n_bytes = static_cast<size_t>(at - static_cast<char *>(workspace));
    return p;
}

struct gradient_arguments {
    const float *x, *d_y, *y;
    const uint32_t *switches;
};

template <affect_precision precision>
void gradient_of(affect_backend *backend, const gradient_plan &p, const parts &w,
                 const gradient_arguments &a) {
    if (tiles_for(p.shape.out, 4) == 4)
        AFFECT_CUDA_LAUNCH(backend, (gradient_kernel<precision, 4>), p.grid, gradient_threads,
                           p.shared, w.partial, w.bias_partial, a.x, a.d_y, a.y, a.switches,
                           p.shape);
    else
        AFFECT_CUDA_LAUNCH(backend, (gradient_kernel<precision, 2>), p.grid, gradient_threads,
                           p.shared, w.partial, w.bias_partial, a.x, a.d_y, a.y, a.switches,
                           p.shape);
}

void add_up(affect_backend *backend, float *d_kernel, float *d_bias, const parts &w,
            const partial_size &size) {
    if (d_kernel)
        affect_cuda_add_column_sums(backend, d_kernel, w.partial, size.rows, size.kernel,
                                    w.columns);
    if (d_bias)
        affect_cuda_add_column_sums(backend, d_bias, w.bias_partial, size.bias_rows, size.filters,
                                    w.columns);
}

void gradient(affect_backend *backend, float *d_kernel, float *d_bias, const parts &w,
              const gradient_arguments &a, const affect_conv1d_shape *c) {
    gradient_plan p = plan_gradient(backend, c);
    switch (backend->precision) {
    case AFFECT_PRECISION_BF16:
        gradient_of<AFFECT_PRECISION_BF16>(backend, p, w, a);
        break;
    case AFFECT_PRECISION_TF32:
        gradient_of<AFFECT_PRECISION_TF32>(backend, p, w, a);
        break;
    default:
        gradient_of<AFFECT_PRECISION_FP32>(backend, p, w, a);
    }
    add_up(backend, d_kernel, d_bias, w,
           {static_cast<size_t>(p.grid.x) * p.shape.parts, p.grid.x,
            taps * c->channels * c->filters, c->filters});
}

/* ---- One channel ---- */

channel_shape channel_of(const affect_conv1d_shape *c) {
    return {c->n,
            static_cast<unsigned>(c->length),
            static_cast<unsigned>(c->filters),
            static_cast<unsigned>((c->filters + 31) / 32),
            static_cast<unsigned>(c->pad_left),
            static_cast<unsigned>(c->length_out / 2)};
}

unsigned blocks_for_warps(affect_backend *backend, size_t warps) {
    size_t most = static_cast<size_t>(affect_cuda_of(backend)->n_multiprocessors) * channel_blocks;
    return affect_cuda_blocks(warps * 32, channel_threads, most);
}

void channel_backward(affect_backend *backend, float *d_x, float *d_kernel, float *d_bias,
                      const gradient_arguments &a, const float *kernel, const parts &w,
                      const affect_conv1d_shape *c) {
    channel_shape s = channel_of(c);
    unsigned blocks = blocks_for_warps(backend, c->n * s.words);
    /* A word of switches wants a warp. */
    while (blocks * (channel_threads / 32) < s.words) blocks++;
    if (d_kernel || d_bias) {
        AFFECT_CUDA_LAUNCH(backend, channel_gradient_kernel, blocks, channel_threads, 0, w.partial,
                           w.bias_partial, a.x, a.d_y, a.y, a.switches, s);
        size_t slots = blocks * (channel_threads / 32) / s.words;
        add_up(backend, d_kernel, d_bias, w, {slots, slots, taps * c->filters, c->filters});
    }
    if (d_x)
        AFFECT_CUDA_LAUNCH(backend, channel_d_x_kernel, blocks_for_warps(backend, c->n * c->length),
                           channel_threads, 0, d_x, a.d_y, a.y, a.switches, kernel, s);
}

} // namespace

bool affect_cuda_conv_pool_can(affect_backend *backend, const affect_conv1d_shape *c) {
    const size_t large = static_cast<size_t>(1) << 16;
    if (c->kernel_size != taps || c->stride != 1 || c->pad_left >= taps || c->length_out < 2 ||
        c->length > large || c->length_out > c->length + 2)
        return false;
    if (c->channels == 1) return c->filters <= most_channels;
    if (c->channels % 16 || c->filters % 16 || c->channels > most_channels ||
        c->filters > most_channels)
        return false;
    if (backend->precision != AFFECT_PRECISION_FP32 &&
        affect_cuda_of(backend)->compute_capability < 80)
        return false;
    return plan_window(backend, c, false).fits && plan_window(backend, c, true).fits &&
           plan_gradient(backend, c).fits;
}

size_t affect_cuda_conv_pool_workspace(affect_backend *backend, const affect_conv1d_shape *c) {
    size_t n_bytes = 0;
    cut(backend, c, nullptr, &n_bytes);
    return n_bytes;
}

void affect_cuda_conv_pool_forward(affect_backend *backend, float *y, uint32_t *switches,
                                   const float *x, const float *kernel, const float *bias,
                                   void *workspace, const affect_conv1d_shape *c) {
    if (!c->n) return;
    if (c->channels == 1) {
        channel_shape s = channel_of(c);
        unsigned blocks = blocks_for_warps(backend, c->n * s.words);
        while (blocks * (channel_threads / 32) < s.words) blocks++;
        AFFECT_CUDA_LAUNCH(backend, channel_forward_kernel, blocks, channel_threads, 0, y, switches,
                           x, kernel, bias, s);
        return;
    }
    parts w = cut(backend, c, workspace, nullptr);
    window<false>(backend, c, {y, switches, kernel, x, nullptr, bias, w.weights});
}

void affect_cuda_conv_pool_backward(affect_backend *backend, float *d_x, float *d_kernel,
                                    float *d_bias, const float *d_y, const float *x, const float *y,
                                    const uint32_t *switches, const float *kernel, void *workspace,
                                    const affect_conv1d_shape *c) {
    if (!c->n) return;
    parts w = cut(backend, c, workspace, nullptr);
    gradient_arguments a = {x, d_y, y, switches};
    if (c->channels == 1) return channel_backward(backend, d_x, d_kernel, d_bias, a, kernel, w, c);
    if (d_kernel || d_bias) gradient(backend, d_kernel, d_bias, w, a, c);
    if (d_x)
        window<true>(backend, c,
                     {d_x, const_cast<uint32_t *>(switches), kernel, d_y, y, nullptr, w.weights});
}
