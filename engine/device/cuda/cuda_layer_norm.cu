/* Layer normalisation on the device; formulas as in cpu_layer_norm.c. A warp does a row; the sums
 * of gamma's and beta's gradients over rows are kept in double, in parts that are added up in
 * order. */
#include "engine/device/cuda/cuda_backend.cuh"

namespace {

enum { WARPS = 8, COLUMNS = 32, ROWS = 8 };
const size_t most_parts = 64;

__device__ double warp_sum(double x) {
    for (int offset = 16; offset; offset >>= 1) x += __shfl_xor_sync(0xffffffffu, x, offset);
    return x;
}

__global__ void normalize_kernel(float *y, float *saved, const float *x, const float *gamma,
                                 const float *beta, affect_layer_norm_shape s) {
    size_t step = static_cast<size_t>(gridDim.x) * WARPS, n = s.channels;
    for (size_t r = static_cast<size_t>(blockIdx.x) * WARPS + threadIdx.y; r < s.rows; r += step) {
        const float *from = x + r * n;
        double mean = 0, variance = 0;
        for (size_t c = threadIdx.x; c < n; c += 32) mean += from[c];
        mean = warp_sum(mean) / static_cast<double>(n);
        for (size_t c = threadIdx.x; c < n; c += 32)
            variance += (from[c] - mean) * (from[c] - mean);
        double inverse = 1 / sqrt(warp_sum(variance) / static_cast<double>(n) + s.epsilon);
        for (size_t c = threadIdx.x; c < n; c += 32)
            y[r * n + c] = static_cast<float>((from[c] - mean) * inverse * gamma[c] + beta[c]);
        if (!saved || threadIdx.x) continue;
        saved[r] = static_cast<float>(mean);
        saved[s.rows + r] = static_cast<float>(inverse);
    }
}

__global__ void gradient_kernel(float *d_x, const float *d_y, const float *x, const float *gamma,
                                const float *saved, affect_layer_norm_shape s) {
    size_t step = static_cast<size_t>(gridDim.x) * WARPS, n = s.channels;
    for (size_t r = static_cast<size_t>(blockIdx.x) * WARPS + threadIdx.y; r < s.rows; r += step) {
        double mean = saved[r], inverse = saved[s.rows + r], sum = 0, sum_z = 0;
        for (size_t c = threadIdx.x; c < n; c += 32) {
            double g = static_cast<double>(d_y[r * n + c]) * gamma[c];
            sum += g;
            sum_z += g * (x[r * n + c] - mean) * inverse;
        }
        sum = warp_sum(sum) / static_cast<double>(n);
        sum_z = warp_sum(sum_z) / static_cast<double>(n);
        for (size_t c = threadIdx.x; c < n; c += 32) {
            double g = static_cast<double>(d_y[r * n + c]) * gamma[c];
            double z = (x[r * n + c] - mean) * inverse;
            d_x[r * n + c] = static_cast<float>((g - sum - z * sum_z) * inverse);
        }
    }
}

/* partial (parts, 2, channels): sums of d_y and of d_y z over a part of the rows. */
__global__ void part_kernel(double *partial, const float *d_y, const float *x, const float *saved,
                            affect_layer_norm_shape s) {
    __shared__ double sums[2][ROWS][COLUMNS];
    size_t c = static_cast<size_t>(blockIdx.x) * COLUMNS + threadIdx.x;
    size_t begin = s.rows * blockIdx.y / gridDim.y, end = s.rows * (blockIdx.y + 1) / gridDim.y;
    double sum = 0, sum_z = 0;
    if (c < s.channels)
        for (size_t r = begin + threadIdx.y; r < end; r += ROWS) {
            double d = d_y[r * s.channels + c];
            sum += d;
            sum_z +=
                d * (static_cast<double>(x[r * s.channels + c]) - saved[r]) * saved[s.rows + r];
        }
    sums[0][threadIdx.y][threadIdx.x] = sum;
    sums[1][threadIdx.y][threadIdx.x] = sum_z;
    __syncthreads();
    if (threadIdx.y || c >= s.channels) return;
    for (int i = 1; i < ROWS; i++) {
        sum += sums[0][i][threadIdx.x];
        sum_z += sums[1][i][threadIdx.x];
    }
    partial[2 * blockIdx.y * s.channels + c] = sum;
    partial[(2 * blockIdx.y + 1) * s.channels + c] = sum_z;
}

__global__ void total_kernel(float *d_gamma, float *d_beta, const double *partial, unsigned parts,
                             size_t channels) {
    size_t c = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (c >= channels) return;
    double sum = 0, sum_z = 0;
    for (unsigned p = 0; p < parts; p++) {
        sum += partial[2 * p * channels + c];
        sum_z += partial[(2 * p + 1) * channels + c];
    }
    d_beta[c] += static_cast<float>(sum);
    d_gamma[c] += static_cast<float>(sum_z);
}

} // namespace

void affect_cuda_layer_norm_forward(affect_backend *backend, float *y, float *saved, const float *x,
                                    const float *gamma, const float *beta,
                                    const affect_layer_norm_shape *shape) {
    AFFECT_CUDA_LAUNCH(backend, normalize_kernel, affect_cuda_blocks(shape->rows, WARPS, 4096),
                       dim3(32, WARPS), 0, y, saved, x, gamma, beta, *shape);
}

void affect_cuda_layer_norm_backward(affect_backend *backend, float *d_x, float *d_gamma,
                                     float *d_beta, const float *d_y, const float *x,
                                     const float *gamma, const float *saved,
                                     const affect_layer_norm_shape *shape) {
    if (!affect_cuda_ready(backend)) return;
    double *partial = static_cast<double *>(affect_cuda_of(backend)->scratch);
    size_t room = affect_cuda_scratch_bytes / sizeof(double) / 2 / shape->channels;
    unsigned parts = affect_cuda_blocks(shape->rows, 64, most_parts);
    if (room < 1) {
        affect_fail(&backend->error, TOO_LARGE, "cuda: layer_norm of %zu channels (up to %zu)",
                    shape->channels, affect_cuda_scratch_bytes / sizeof(double) / 2);
        return;
    }
    if (parts > room) parts = static_cast<unsigned>(room);
    AFFECT_CUDA_LAUNCH(backend, part_kernel,
                       dim3(affect_cuda_blocks(shape->channels, COLUMNS), parts),
                       dim3(COLUMNS, ROWS), 0, partial, d_y, x, saved, *shape);
    AFFECT_CUDA_LAUNCH(backend, total_kernel, affect_cuda_blocks(shape->channels, 128), 128, 0,
                       d_gamma, d_beta, partial, parts, shape->channels);
    if (d_x)
        AFFECT_CUDA_LAUNCH(backend, gradient_kernel, affect_cuda_blocks(shape->rows, WARPS, 4096),
                           dim3(32, WARPS), 0, d_x, d_y, x, gamma, saved, *shape);
}
