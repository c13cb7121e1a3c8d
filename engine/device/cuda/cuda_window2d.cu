/* Windows over images on the device: what a two-dimensional convolution multiplies, and maximum
 * pooling. A thread makes one number of the result; where windows overlap it asks, in order, those
 * that hold its position, so that sums have the same bits every time. */
#include "engine/device/cuda/cuda_backend.cuh"

namespace {

__device__ __forceinline__ size_t first_element() {
    return static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ size_t element_step() {
    return static_cast<size_t>(gridDim.x) * blockDim.x;
}

struct axis {
    size_t size, window, stride, pad, out;
};
__device__ axis rows_of(const affect_window2d_shape &s) {
    return {s.height, s.window_height, s.stride_height, s.pad_top, s.height_out};
}
__device__ axis columns_of(const affect_window2d_shape &s) {
    return {s.width, s.window_width, s.stride_width, s.pad_left, s.width_out};
}

/* The positions begin..end-1 of window i, clipped to the image. */
__device__ void cover(size_t *begin, size_t *end, const axis &a, size_t i) {
    size_t first = i * a.stride, last = first + a.window;
    *begin = first > a.pad ? first - a.pad : 0;
    *end = last > a.pad ? last - a.pad : 0;
    if (*end > a.size) *end = a.size;
}

/* The windows first..last-1 that hold a position. */
__device__ void windows_at(size_t *first, size_t *last, const axis &a, size_t position) {
    size_t reach = position + a.pad;
    *first = reach >= a.window ? (reach - a.window) / a.stride + 1 : 0;
    *last = reach / a.stride + 1;
    if (*last > a.out) *last = a.out;
}

__global__ void take_kernel(float *columns, const float *x, affect_window2d_shape s) {
    size_t row_size = s.window_width * s.channels, size = s.window_height * row_size;
    size_t n = s.n * s.height_out * s.width_out * size;
    for (size_t e = first_element(); e < n; e += element_step()) {
        size_t inside = e % size, window = e / size, image = window / (s.height_out * s.width_out);
        size_t i = window / s.width_out % s.height_out, j = window % s.width_out;
        size_t row = i * s.stride_height + inside / row_size;
        size_t column = j * s.stride_width + inside % row_size / s.channels;
        bool covered = row >= s.pad_top && row < s.pad_top + s.height && column >= s.pad_left &&
                       column < s.pad_left + s.width;
        columns[e] =
            covered ? x[((image * s.height + row - s.pad_top) * s.width + column - s.pad_left) *
                            s.channels +
                        inside % s.channels]
                    : 0;
    }
}

__global__ void add_kernel(float *d_x, const float *d_columns, affect_window2d_shape s) {
    size_t n = s.n * s.height * s.width * s.channels;
    axis down = rows_of(s), across = columns_of(s);
    for (size_t e = first_element(); e < n; e += element_step()) {
        size_t c = e % s.channels, column = e / s.channels % s.width;
        size_t row = e / (s.channels * s.width) % s.height;
        size_t image = e / (s.channels * s.width * s.height), i, i_end, j_begin, j_end;
        windows_at(&i, &i_end, down, row);
        windows_at(&j_begin, &j_end, across, column);
        float sum = 0;
        for (; i < i_end; i++)
            for (size_t j = j_begin; j < j_end; j++) {
                size_t r = row + s.pad_top - i * s.stride_height;
                size_t k = column + s.pad_left - j * s.stride_width;
                size_t window = (image * s.height_out + i) * s.width_out + j;
                sum +=
                    d_columns[((window * s.window_height + r) * s.window_width + k) * s.channels +
                              c];
            }
        d_x[e] = sum;
    }
}

__global__ void pool_kernel(float *y, const float *x, affect_window2d_shape s) {
    size_t n = s.n * s.height_out * s.width_out * s.channels;
    axis down = rows_of(s), across = columns_of(s);
    for (size_t e = first_element(); e < n; e += element_step()) {
        size_t c = e % s.channels, window = e / s.channels, r, r_end, k_begin, k_end;
        size_t image = window / (s.height_out * s.width_out);
        cover(&r, &r_end, down, window / s.width_out % s.height_out);
        cover(&k_begin, &k_end, across, window % s.width_out);
        const float *from = x + image * s.height * s.width * s.channels + c;
        float largest = from[(r * s.width + k_begin) * s.channels];
        for (; r < r_end; r++)
            for (size_t k = k_begin; k < k_end; k++) {
                float value = from[(r * s.width + k) * s.channels];
                largest = value > largest ? value : largest;
            }
        y[e] = largest;
    }
}

/* Whether (row, column) is the first place of its window that holds the maximum. */
__device__ bool is_first(const affect_window2d_shape &s, const float *from, float maximum, size_t i,
                         size_t j, size_t row, size_t column) {
    size_t r_begin, r_end, k_begin, k_end;
    cover(&r_begin, &r_end, rows_of(s), i);
    cover(&k_begin, &k_end, columns_of(s), j);
    for (size_t r = r_begin; r < r_end; r++)
        for (size_t k = k_begin; k < k_end; k++)
            if (from[(r * s.width + k) * s.channels] == maximum) return r == row && k == column;
    return r_begin == row && k_begin == column;
}

__global__ void pool_gradient_kernel(float *d_x, const float *d_y, const float *x, const float *y,
                                     affect_window2d_shape s) {
    size_t n = s.n * s.height * s.width * s.channels;
    axis down = rows_of(s), across = columns_of(s);
    for (size_t e = first_element(); e < n; e += element_step()) {
        size_t c = e % s.channels, column = e / s.channels % s.width;
        size_t row = e / (s.channels * s.width) % s.height;
        size_t image = e / (s.channels * s.width * s.height), i, i_end, j_begin, j_end;
        const float *from = x + image * s.height * s.width * s.channels + c;
        windows_at(&i, &i_end, down, row);
        windows_at(&j_begin, &j_end, across, column);
        float sum = 0;
        for (; i < i_end; i++)
            for (size_t j = j_begin; j < j_end; j++) {
                size_t at = ((image * s.height_out + i) * s.width_out + j) * s.channels + c;
                if (is_first(s, from, y[at], i, j, row, column)) sum += d_y[at];
            }
        d_x[e] = sum;
    }
}

} // namespace

void affect_cuda_window2d_forward(affect_backend *backend, float *columns, const float *x,
                                  const affect_window2d_shape *shape) {
    size_t n = shape->n * shape->height_out * shape->width_out * shape->window_height *
               shape->window_width * shape->channels;
    AFFECT_CUDA_LAUNCH(backend, take_kernel, affect_cuda_blocks(n, 256, 8192), 256, 0, columns, x,
                       *shape);
}

void affect_cuda_window2d_backward(affect_backend *backend, float *d_x, const float *d_columns,
                                   const affect_window2d_shape *shape) {
    size_t n = shape->n * shape->height * shape->width * shape->channels;
    AFFECT_CUDA_LAUNCH(backend, add_kernel, affect_cuda_blocks(n, 256, 8192), 256, 0, d_x,
                       d_columns, *shape);
}

void affect_cuda_pool2d_forward(affect_backend *backend, float *y, const float *x,
                                const affect_window2d_shape *shape) {
    size_t n = shape->n * shape->height_out * shape->width_out * shape->channels;
    AFFECT_CUDA_LAUNCH(backend, pool_kernel, affect_cuda_blocks(n, 256, 8192), 256, 0, y, x,
                       *shape);
}

void affect_cuda_pool2d_backward(affect_backend *backend, float *d_x, const float *d_y,
                                 const float *x, const float *y,
                                 const affect_window2d_shape *shape) {
    size_t n = shape->n * shape->height * shape->width * shape->channels;
    AFFECT_CUDA_LAUNCH(backend, pool_gradient_kernel, affect_cuda_blocks(n, 256, 8192), 256, 0, d_x,
                       d_y, x, y, *shape);
}
