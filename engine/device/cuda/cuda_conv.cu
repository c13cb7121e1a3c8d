/* Convolutions of any shape on the device, as products with cuBLAS.
 *
 * The windows of a few items (a chunk) are laid out as rows (items length_out, kernel_size
 * channels), so that forward is one product with the kernel, and backward two. A dense layer's
 * windows are its rows themselves. Chunks follow each other in order and add to the kernel's
 * gradient in that order. Where the maximum of pairs follows (conv1d_pool), it is taken chunk by
 * chunk from the sums, and backward puts the gradients back to their positions first; shapes that
 * cuda_conv_pool.cuh can do go there instead. */
#include "engine/device/cuda/cuda_backend.cuh"
#include "engine/device/cuda/cuda_conv_pool.cuh"

namespace {

const size_t chunk_bytes = static_cast<size_t>(64) << 20; /* of windows, about */

/* A convolution on its way. */
struct conv {
    affect_conv1d_shape shape;
    size_t window;  /* kernel_size channels */
    size_t chunk;   /* items at once, at most */
    bool is_dense;  /* windows are the rows of x */
    float *windows; /* (chunk length_out, window), unless dense */
    float *d_windows;
    float *sums;    /* pool: (chunk length_out, filters) */
    float *partial; /* of sums of columns */
};

conv make_conv(const affect_conv1d_shape *shape, void *workspace, size_t *n_bytes) {
    conv c = {};
    c.shape = *shape;
    c.window = shape->kernel_size * shape->channels;
    c.is_dense = shape->length == 1 && shape->kernel_size == 1 && shape->length_out == 1 &&
                 shape->pad_left == 0;
    size_t item = shape->length_out * c.window * sizeof(float);
    c.chunk = item < chunk_bytes ? chunk_bytes / item : 1;
    if (c.is_dense || c.chunk > shape->n) c.chunk = shape->n;
    char *at = static_cast<char *>(workspace);
    size_t rows = c.chunk * shape->length_out;
    if (!c.is_dense) {
        c.windows = affect_cuda_take<float>(&at, rows * c.window);
        c.d_windows = affect_cuda_take<float>(&at, rows * c.window);
    }
    c.sums = affect_cuda_take<float>(&at, rows * shape->filters);
    c.partial = affect_cuda_take<float>(&at, affect_cuda_column_parts * shape->filters);
    if (n_bytes) *n_bytes = static_cast<size_t>(at - static_cast<char *>(workspace));
    return c;
}

__device__ __forceinline__ size_t first_element() {
    return static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ size_t element_step() {
    return static_cast<size_t>(gridDim.x) * blockDim.x;
}

/* windows (items, length_out, kernel_size, channels) of x; zeros outside. */
__global__ void lay_out_kernel(float *windows, const float *x, affect_conv1d_shape s,
                               size_t items) {
    size_t n = items * s.length_out * s.kernel_size * s.channels;
    for (size_t i = first_element(); i < n; i += element_step()) {
        size_t channel = i % s.channels, rest = i / s.channels;
        size_t k = rest % s.kernel_size;
        rest /= s.kernel_size;
        size_t l = rest % s.length_out, item = rest / s.length_out;
        size_t at = l * s.stride + k; /* counted from the padding's begin */
        bool inside = at >= s.pad_left && at - s.pad_left < s.length;
        windows[i] = inside ? x[(item * s.length + at - s.pad_left) * s.channels + channel] : 0.0f;
    }
}

/* d_x: each position adds up the windows that hold it, in the order of the kernel's places. */
__global__ void add_up_kernel(float *d_x, const float *d_windows, affect_conv1d_shape s,
                              size_t items) {
    size_t n = items * s.length * s.channels;
    for (size_t i = first_element(); i < n; i += element_step()) {
        size_t channel = i % s.channels, rest = i / s.channels;
        size_t position = rest % s.length + s.pad_left, item = rest / s.length;
        float sum = 0;
        for (size_t k = 0; k < s.kernel_size && k <= position; k++) {
            size_t l = (position - k) / s.stride;
            if ((position - k) % s.stride || l >= s.length_out) continue;
            sum +=
                d_windows[((item * s.length_out + l) * s.kernel_size + k) * s.channels + channel];
        }
        d_x[i] = sum;
    }
}

/* y = activation(y + bias), rows of `filters`. */
__global__ void finish_kernel(float *y, const float *bias, size_t n, size_t filters,
                              affect_activation activation) {
    for (size_t i = first_element(); i < n; i += element_step())
        y[i] = affect_cuda_activate(y[i] + (bias ? bias[i % filters] : 0.0f), activation);
}

void run_over(affect_backend *backend,
              void (*kernel)(float *, const float *, affect_conv1d_shape, size_t), const char *name,
              float *to, const float *from, const conv &c, size_t items, size_t n) {
    affect_cuda_launch(backend, name, kernel, affect_cuda_blocks(n, 256, 4096), 256, 0, to, from,
                       c.shape, items);
}

/* The chunk's windows: `from` is the x of its first item. */
const float *lay_out(affect_backend *backend, const conv &c, const float *from, size_t items) {
    if (c.is_dense) return from;
    run_over(backend, lay_out_kernel, "lay_out_kernel", c.windows, from, c, items,
             items * c.shape.length_out * c.window);
    return c.windows;
}

/* y (items length_out, filters) without bias and activation. */
void multiply(affect_backend *backend, float *y, const conv &c, const float *x, const float *kernel,
              size_t items) {
    size_t filters = c.shape.filters;
    const float *windows = lay_out(backend, c, x, items);
    affect_cuda_product(backend, y, windows, kernel,
                        {items * c.shape.length_out, filters, c.window, false, false, c.window,
                         filters, filters, 1, 0});
}

/* From the gradient before the activation, d (items length_out, filters), to all others. */
void multiply_back(affect_backend *backend, float *d_x, float *d_kernel, float *d_bias,
                   const float *d, const conv &c, const float *x, const float *kernel,
                   size_t items) {
    size_t filters = c.shape.filters, rows = items * c.shape.length_out;
    if (d_kernel)
        affect_cuda_product(
            backend, d_kernel, lay_out(backend, c, x, items), d,
            {c.window, filters, rows, true, false, c.window, filters, filters, 1, 1});
    if (d_bias) affect_cuda_add_column_sums(backend, d_bias, d, rows, filters, c.partial);
    if (!d_x) return;
    float *d_windows = c.is_dense ? d_x : c.d_windows;
    affect_cuda_product(backend, d_windows, d, kernel,
                        {rows, c.window, filters, false, true, filters, filters, c.window, 1, 0});
    if (!c.is_dense)
        run_over(backend, add_up_kernel, "add_up_kernel", d_x, d_windows, c, items,
                 items * c.shape.length * c.shape.channels);
}

size_t items_of(const conv &c, size_t first) {
    return c.shape.n - first < c.chunk ? c.shape.n - first : c.chunk;
}
size_t in_size(const conv &c) {
    return c.shape.length * c.shape.channels;
}
size_t out_size(const conv &c) {
    return c.shape.length_out * c.shape.filters;
}

} // namespace

size_t affect_cuda_conv1d_workspace(affect_backend *, const affect_conv1d_shape *shape) {
    size_t n_bytes = 0;
    make_conv(shape, nullptr, &n_bytes);
    return n_bytes;
}

void affect_cuda_conv1d_forward(affect_backend *backend, float *y, const float *x,
                                const float *kernel, const float *bias, void *workspace,
                                const affect_conv1d_shape *shape) {
    conv c = make_conv(shape, workspace, nullptr);
    size_t filters = shape->filters, n = shape->n * out_size(c);
    for (size_t first = 0; first < shape->n; first += c.chunk)
        multiply(backend, y + first * out_size(c), c, x + first * in_size(c), kernel,
                 items_of(c, first));
    bool is_softmax = shape->activation == AFFECT_ACTIVATION_SOFTMAX;
    if (bias || (!is_softmax && shape->activation != AFFECT_ACTIVATION_LINEAR))
        AFFECT_CUDA_LAUNCH(backend, finish_kernel, affect_cuda_blocks(n, 256, 4096), 256, 0, y,
                           bias, n, filters,
                           is_softmax ? AFFECT_ACTIVATION_LINEAR : shape->activation);
    if (is_softmax)
        affect_cuda_activation_forward(backend, y, y, shape->n * shape->length_out, filters,
                                       AFFECT_ACTIVATION_SOFTMAX);
}

void affect_cuda_conv1d_backward(affect_backend *backend, float *d_x, float *d_kernel,
                                 float *d_bias, float *d_y, const float *x, const float *y,
                                 const float *kernel, void *workspace,
                                 const affect_conv1d_shape *shape) {
    conv c = make_conv(shape, workspace, nullptr);
    if (shape->activation != AFFECT_ACTIVATION_LINEAR &&
        shape->activation != AFFECT_ACTIVATION_SOFTMAX)
        affect_cuda_activation_backward(backend, d_y, d_y, y, shape->n * shape->length_out,
                                        shape->filters, shape->activation);
    for (size_t first = 0; first < shape->n; first += c.chunk)
        multiply_back(backend, d_x ? d_x + first * in_size(c) : nullptr, d_kernel, d_bias,
                      d_y + first * out_size(c), c, x + first * in_size(c), kernel,
                      items_of(c, first));
}

/* ---- With the maximum of pairs ---- */

namespace {

struct pool_sizes {
    size_t length_out, pairs, filters, words; /* words of switches a pair */
};

pool_sizes sizes_of(const affect_conv1d_shape *s) {
    return {s->length_out, s->length_out / 2, s->filters, (s->filters + 31) / 32};
}

/* y = relu(max of each pair of sums + bias); a warp makes a word of switches: which lanes' second
 * sum was the larger. */
__global__ void pool_pairs_kernel(float *y, uint32_t *switches, const float *sums,
                                  const float *bias, pool_sizes s, size_t items) {
    size_t n_words = items * s.pairs * s.words;
    unsigned lane = threadIdx.x % 32;
    size_t warps = element_step() / 32;
    for (size_t word = first_element() / 32; word < n_words; word += warps) {
        size_t filter = word % s.words * 32 + lane, row = word / s.words;
        size_t pair = row % s.pairs, item = row / s.pairs;
        bool inside = filter < s.filters;
        const float *at = sums + (item * s.length_out + 2 * pair) * s.filters + filter;
        float first = inside ? at[0] : 0, second = inside ? at[s.filters] : 0;
        unsigned bits = __ballot_sync(0xffffffffu, second > first);
        float largest = (second > first ? second : first) + (inside && bias ? bias[filter] : 0);
        if (inside) y[row * s.filters + filter] = largest > 0 ? largest : 0;
        if (switches && lane == 0) switches[word] = bits;
    }
}

/* d (items, length_out, filters): the gradients at the positions that they came from. */
__global__ void put_back_kernel(float *d, const float *d_y, const float *y,
                                const uint32_t *switches, pool_sizes s, size_t items) {
    size_t n = items * s.length_out * s.filters;
    for (size_t i = first_element(); i < n; i += element_step()) {
        size_t filter = i % s.filters, rest = i / s.filters;
        size_t position = rest % s.length_out, item = rest / s.length_out;
        size_t row = item * s.pairs + position / 2;
        if (position / 2 >= s.pairs) { /* an odd last position */
            d[i] = 0;
            continue;
        }
        bool second = switches[row * s.words + filter / 32] >> filter % 32 & 1u;
        bool chosen = second == (position % 2 == 1) && y[row * s.filters + filter] > 0;
        d[i] = chosen ? d_y[row * s.filters + filter] : 0.0f;
    }
}

} // namespace

size_t affect_cuda_conv1d_pool_switches(affect_backend *, const affect_conv1d_shape *shape) {
    pool_sizes s = sizes_of(shape);
    return shape->n * s.pairs * s.words * sizeof(uint32_t);
}

size_t affect_cuda_conv1d_pool_workspace(affect_backend *backend,
                                         const affect_conv1d_shape *shape) {
    return affect_cuda_conv_pool_can(backend, shape)
               ? affect_cuda_conv_pool_workspace(backend, shape)
               : affect_cuda_conv1d_workspace(backend, shape);
}

void affect_cuda_conv1d_pool_forward(affect_backend *backend, float *y, uint32_t *switches,
                                     const float *x, const float *kernel, const float *bias,
                                     void *workspace, const affect_conv1d_shape *shape) {
    if (affect_cuda_conv_pool_can(backend, shape))
        return affect_cuda_conv_pool_forward(backend, y, switches, x, kernel, bias, workspace,
                                             shape);
    conv c = make_conv(shape, workspace, nullptr);
    pool_sizes s = sizes_of(shape);
    size_t item_words = s.pairs * s.words;
    for (size_t first = 0; first < shape->n; first += c.chunk) {
        size_t items = items_of(c, first);
        multiply(backend, c.sums, c, x + first * in_size(c), kernel, items);
        AFFECT_CUDA_LAUNCH(
            backend, pool_pairs_kernel, affect_cuda_blocks(items * item_words * 32, 256, 4096), 256,
            0, y + first * s.pairs * s.filters, switches ? switches + first * item_words : nullptr,
            c.sums, bias, s, items);
    }
}

void affect_cuda_conv1d_pool_backward(affect_backend *backend, float *d_x, float *d_kernel,
                                      float *d_bias, const float *d_y, const float *x,
                                      const float *y, const uint32_t *switches, const float *kernel,
                                      void *workspace, const affect_conv1d_shape *shape) {
    if (affect_cuda_conv_pool_can(backend, shape))
        return affect_cuda_conv_pool_backward(backend, d_x, d_kernel, d_bias, d_y, x, y, switches,
                                              kernel, workspace, shape);
    conv c = make_conv(shape, workspace, nullptr);
    pool_sizes s = sizes_of(shape);
    for (size_t first = 0; first < shape->n; first += c.chunk) {
        size_t items = items_of(c, first), at = first * s.pairs * s.filters;
        AFFECT_CUDA_LAUNCH(backend, put_back_kernel,
                           affect_cuda_blocks(items * out_size(c), 256, 4096), 256, 0, c.sums,
                           d_y + at, y + at, switches + first * s.pairs * s.words, s, items);
        multiply_back(backend, d_x ? d_x + first * in_size(c) : nullptr, d_kernel, d_bias, c.sums,
                      c, x + first * in_size(c), kernel, items);
    }
}
