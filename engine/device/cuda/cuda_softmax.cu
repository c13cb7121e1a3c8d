/* Softmax over the first numbers of each row on the device: a warp a row, sums in double, joined
 * in an order that does not depend on timing. */
#include "engine/device/cuda/cuda_backend.cuh"

namespace {

enum { WARPS = 8 };

__device__ double warp_sum(double x) {
    for (int offset = 16; offset; offset >>= 1) x += __shfl_xor_sync(0xffffffffu, x, offset);
    return x;
}

__device__ float warp_largest(float x) {
    for (int offset = 16; offset; offset >>= 1) {
        float other = __shfl_xor_sync(0xffffffffu, x, offset);
        x = other > x ? other : x;
    }
    return x;
}

__global__ void softmax_kernel(float *y, const float *x, const unsigned long long *lengths,
                               affect_softmax_shape s) {
    size_t step = static_cast<size_t>(gridDim.x) * WARPS, n_rows = s.batch * s.rows;
    for (size_t r = static_cast<size_t>(blockIdx.x) * WARPS + threadIdx.y; r < n_rows; r += step) {
        size_t length = lengths ? lengths[r / s.rows] : s.columns;
        const float *from = x + r * s.columns;
        float *to = y + r * s.columns, largest = -3.0e38f;
        double sum = 0;
        for (size_t c = threadIdx.x; c < length; c += 32)
            largest = from[c] > largest ? from[c] : largest;
        largest = warp_largest(largest);
        for (size_t c = threadIdx.x; c < length; c += 32) {
            to[c] = expf(from[c] - largest);
            sum += to[c];
        }
        sum = warp_sum(sum);
        for (size_t c = threadIdx.x; c < s.columns; c += 32)
            to[c] = c < length ? static_cast<float>(to[c] / sum) : 0;
    }
}

__global__ void gradient_kernel(float *d_x, const float *d_y, const float *y,
                                affect_softmax_shape s) {
    size_t step = static_cast<size_t>(gridDim.x) * WARPS, n_rows = s.batch * s.rows;
    for (size_t r = static_cast<size_t>(blockIdx.x) * WARPS + threadIdx.y; r < n_rows; r += step) {
        const float *d = d_y + r * s.columns, *a = y + r * s.columns;
        double sum = 0;
        for (size_t c = threadIdx.x; c < s.columns; c += 32)
            sum += static_cast<double>(d[c]) * a[c];
        sum = warp_sum(sum);
        for (size_t c = threadIdx.x; c < s.columns; c += 32)
            d_x[r * s.columns + c] = static_cast<float>(a[c] * (d[c] - sum));
    }
}

unsigned blocks_of(const affect_softmax_shape *shape) {
    return affect_cuda_blocks(shape->batch * shape->rows, WARPS, 4096);
}

} // namespace

void affect_cuda_masked_softmax_forward(affect_backend *backend, float *y, const float *x,
                                        const affect_softmax_shape *shape) {
    const unsigned long long *lengths =
        affect_cuda_put_lengths(backend, shape->lengths, shape->batch);
    AFFECT_CUDA_LAUNCH(backend, softmax_kernel, blocks_of(shape), dim3(32, WARPS), 0, y, x, lengths,
                       *shape);
}

void affect_cuda_masked_softmax_backward(affect_backend *backend, float *d_x, const float *d_y,
                                         const float *y, const affect_softmax_shape *shape) {
    AFFECT_CUDA_LAUNCH(backend, gradient_kernel, blocks_of(shape), dim3(32, WARPS), 0, d_x, d_y, y,
                       *shape);
}
