/* Maximum pooling on the device. */
#include "engine/device/cuda/cuda_backend.cuh"

namespace {

__device__ __forceinline__ size_t first_element() {
    return static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ size_t element_step() {
    return static_cast<size_t>(gridDim.x) * blockDim.x;
}

/* The input rows begin..end-1 of window l, clipped to the input. */
__device__ void window(size_t *begin, size_t *end, size_t l, const affect_pool1d_shape &s) {
    size_t first = l * s.stride;
    *begin = first > s.pad_left ? first - s.pad_left : 0;
    *end = first + s.pool_size > s.pad_left ? first + s.pool_size - s.pad_left : 0;
    if (*end > s.length) *end = s.length;
}

__global__ void pool_kernel(float *y, const float *x, affect_pool1d_shape s) {
    size_t n = s.n * s.length_out * s.channels;
    for (size_t i = first_element(); i < n; i += element_step()) {
        size_t channel = i % s.channels, rest = i / s.channels, begin, end;
        window(&begin, &end, rest % s.length_out, s);
        const float *from = x + rest / s.length_out * s.length * s.channels + channel;
        float largest = from[begin * s.channels];
        for (size_t p = begin + 1; p < end; p++)
            largest = from[p * s.channels] > largest ? from[p * s.channels] : largest;
        y[i] = largest;
    }
}

/* Each input position asks the windows that hold it, in order, whether it is their first maximum.
 */
__global__ void pool_gradient_kernel(float *d_x, const float *d_y, const float *x, const float *y,
                                     affect_pool1d_shape s) {
    size_t n = s.n * s.length * s.channels;
    for (size_t i = first_element(); i < n; i += element_step()) {
        size_t channel = i % s.channels, rest = i / s.channels;
        size_t position = rest % s.length, item = rest / s.length, reach = position + s.pad_left;
        size_t first = reach >= s.pool_size ? (reach - s.pool_size) / s.stride + 1 : 0;
        const float *from = x + item * s.length * s.channels + channel;
        float sum = 0;
        for (size_t l = first; l < s.length_out && l * s.stride <= reach; l++) {
            size_t begin, end, at = (item * s.length_out + l) * s.channels + channel;
            window(&begin, &end, l, s);
            if (position < begin || position >= end) continue;
            size_t chosen = begin;
            while (chosen + 1 < end && from[chosen * s.channels] != y[at]) chosen++;
            if (chosen == position) sum += d_y[at];
        }
        d_x[i] = sum;
    }
}

} // namespace

void affect_cuda_pool1d_forward(affect_backend *backend, float *y, const float *x,
                                const affect_pool1d_shape *shape) {
    size_t n = shape->n * shape->length_out * shape->channels;
    AFFECT_CUDA_LAUNCH(backend, pool_kernel, affect_cuda_blocks(n, 256, 4096), 256, 0, y, x,
                       *shape);
}

void affect_cuda_pool1d_backward(affect_backend *backend, float *d_x, const float *d_y,
                                 const float *x, const float *y, const affect_pool1d_shape *shape) {
    size_t n = shape->n * shape->length * shape->channels;
    AFFECT_CUDA_LAUNCH(backend, pool_gradient_kernel, affect_cuda_blocks(n, 256, 4096), 256, 0, d_x,
                       d_y, x, y, *shape);
}
