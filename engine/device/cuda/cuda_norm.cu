/* Batch normalisation on the device. Sums over rows are kept in double, in parts that are added up
 * in order; formulas as in cpu_norm.c. */
#include "engine/device/cuda/cuda_backend.cuh"

#include <cmath>

namespace {

enum { COLUMNS = 32, ROWS = 8 }; /* a block's threads */
const unsigned most_parts = 64;

/* What a part adds up of each channel: numbers, squares of their distance from a mean, gradients,
 * gradients times normalised numbers. */
enum quantity { OF_NUMBERS, OF_SQUARES, OF_GRADIENTS, OF_SHARES };

struct sum_source {
    const float *x, *d_y, *saved;
    const double *mean; /* (channels) */
    size_t rows, channels;
};

template <quantity what> __device__ double term(const sum_source &from, size_t r, size_t c) {
    size_t i = r * from.channels + c;
    if (what == OF_NUMBERS) return from.x[i];
    if (what == OF_SQUARES) {
        double d = static_cast<double>(from.x[i]) - from.mean[c];
        return d * d;
    }
    if (what == OF_GRADIENTS) return from.d_y[i];
    double z = (static_cast<double>(from.x[i]) - from.saved[c]) * from.saved[from.channels + c];
    return from.d_y[i] * z;
}

/* partial (parts, channels). */
template <quantity what> __global__ void part_kernel(double *partial, sum_source from) {
    __shared__ double sums[ROWS][COLUMNS];
    size_t c = static_cast<size_t>(blockIdx.x) * COLUMNS + threadIdx.x;
    size_t begin = from.rows * blockIdx.y / gridDim.y,
           end = from.rows * (blockIdx.y + 1) / gridDim.y;
    double sum = 0;
    if (c < from.channels)
        for (size_t r = begin + threadIdx.y; r < end; r += ROWS) sum += term<what>(from, r, c);
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y || c >= from.channels) return;
    for (int i = 1; i < ROWS; i++) sum += sums[i][threadIdx.x];
    partial[blockIdx.y * from.channels + c] = sum;
}

/* sums (channels): the parts in order. */
__global__ void total_kernel(double *sums, const double *partial, unsigned parts, size_t channels,
                             double divisor) {
    size_t c = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (c >= channels) return;
    double sum = 0;
#pragma unroll 8 /* loads at once, sums in order */
    for (unsigned p = 0; p < parts; p++) sum += partial[p * channels + c];
    sums[c] = sum / divisor;
}

/* The scratch: sums of two quantities, then parts. */
struct sums_place {
    double *mean, *other, *partial;
    unsigned parts;
};

sums_place place_sums(affect_backend *backend, const affect_batch_norm_shape *shape) {
    double *scratch = static_cast<double *>(affect_cuda_of(backend)->scratch);
    size_t room = affect_cuda_scratch_bytes / sizeof(double) / shape->channels;
    size_t parts = affect_cuda_blocks(shape->rows, 64, most_parts);
    if (room < 3) {
        if (affect_cuda_ready(backend))
            affect_fail(&backend->error, TOO_LARGE, "cuda: batch_norm of %zu channels (up to %zu)",
                        shape->channels, affect_cuda_scratch_bytes / sizeof(double) / 3);
        return {};
    }
    if (parts > room - 2) parts = room - 2;
    return {scratch, scratch + shape->channels, scratch + 2 * shape->channels,
            static_cast<unsigned>(parts)};
}

template <quantity what>
void add_up(affect_backend *backend, double *to, const sums_place &place, const sum_source &from,
            double divisor) {
    AFFECT_CUDA_LAUNCH(backend, part_kernel<what>,
                       dim3(affect_cuda_blocks(from.channels, COLUMNS), place.parts),
                       dim3(COLUMNS, ROWS), 0, place.partial, from);
    AFFECT_CUDA_LAUNCH(backend, total_kernel, affect_cuda_blocks(from.channels, 128), 128, 0, to,
                       place.partial, place.parts, from.channels, divisor);
}

__global__ void save_kernel(float *saved, float *moving_mean, float *moving_variance,
                            const double *mean, const double *variance, affect_batch_norm_shape s) {
    size_t c = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (c >= s.channels) return;
    saved[c] = static_cast<float>(mean[c]);
    saved[s.channels + c] = static_cast<float>(1 / sqrt(variance[c] + s.epsilon));
    moving_mean[c] = static_cast<float>(moving_mean[c] * s.momentum + mean[c] * (1 - s.momentum));
    moving_variance[c] =
        static_cast<float>(moving_variance[c] * s.momentum + variance[c] * (1 - s.momentum));
}

/* y = (x - mean) gamma / deviation + beta, from doubles: mean, variance. */
template <typename T>
__global__ void normalize_kernel(float *y, const float *x, const float *gamma, const float *beta,
                                 const T *mean, const T *variance, affect_batch_norm_shape s) {
    size_t step = static_cast<size_t>(gridDim.x) * blockDim.x;
    for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
         i < s.rows * s.channels; i += step) {
        size_t c = i % s.channels;
        double factor = gamma[c] / sqrt(static_cast<double>(variance[c]) + s.epsilon);
        float shift = static_cast<float>(beta[c] - mean[c] * factor);
        y[i] = x[i] * static_cast<float>(factor) + shift;
    }
}

/* d_gamma, d_beta += sums; the sums become means. */
__global__ void parameters_kernel(float *d_gamma, float *d_beta, double *sum, double *sum_z,
                                  affect_batch_norm_shape s) {
    size_t c = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (c >= s.channels) return;
    d_beta[c] += static_cast<float>(sum[c]);
    d_gamma[c] += static_cast<float>(sum_z[c]);
    sum[c] /= static_cast<double>(s.rows);
    sum_z[c] /= static_cast<double>(s.rows);
}

__global__ void gradient_kernel(float *d_x, const float *d_y, const float *x, const float *gamma,
                                const float *saved, const double *mean, const double *mean_z,
                                affect_batch_norm_shape s) {
    size_t step = static_cast<size_t>(gridDim.x) * blockDim.x;
    for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
         i < s.rows * s.channels; i += step) {
        size_t c = i % s.channels;
        double inverse = saved[s.channels + c],
               z = (static_cast<double>(x[i]) - saved[c]) * inverse;
        d_x[i] = static_cast<float>(gamma[c] * inverse * (d_y[i] - mean[c] - z * mean_z[c]));
    }
}

} // namespace

void affect_cuda_batch_norm_forward(affect_backend *backend, float *y, float *saved,
                                    float *moving_mean, float *moving_variance, const float *x,
                                    const float *gamma, const float *beta,
                                    const affect_batch_norm_shape *shape) {
    sums_place place = place_sums(backend, shape);
    if (!affect_cuda_ready(backend)) return;
    double rows = static_cast<double>(shape->rows);
    sum_source from = {x, nullptr, nullptr, place.mean, shape->rows, shape->channels};
    add_up<OF_NUMBERS>(backend, place.mean, place, from, rows);
    add_up<OF_SQUARES>(backend, place.other, place, from, rows);
    AFFECT_CUDA_LAUNCH(backend, save_kernel, affect_cuda_blocks(shape->channels, 128), 128, 0,
                       saved, moving_mean, moving_variance, place.mean, place.other, *shape);
    AFFECT_CUDA_LAUNCH(backend, normalize_kernel<double>,
                       affect_cuda_blocks(shape->rows * shape->channels, 256, 4096), 256, 0, y, x,
                       gamma, beta, place.mean, place.other, *shape);
}

void affect_cuda_batch_norm_infer(affect_backend *backend, float *y, const float *x,
                                  const float *gamma, const float *beta, const float *moving_mean,
                                  const float *moving_variance,
                                  const affect_batch_norm_shape *shape) {
    AFFECT_CUDA_LAUNCH(backend, normalize_kernel<float>,
                       affect_cuda_blocks(shape->rows * shape->channels, 256, 4096), 256, 0, y, x,
                       gamma, beta, moving_mean, moving_variance, *shape);
}

void affect_cuda_batch_norm_backward(affect_backend *backend, float *d_x, float *d_gamma,
                                     float *d_beta, const float *d_y, const float *x,
                                     const float *gamma, const float *saved,
                                     const affect_batch_norm_shape *shape) {
    sums_place place = place_sums(backend, shape);
    if (!affect_cuda_ready(backend)) return;
    sum_source from = {x, d_y, saved, nullptr, shape->rows, shape->channels};
    add_up<OF_GRADIENTS>(backend, place.mean, place, from, 1);
    add_up<OF_SHARES>(backend, place.other, place, from, 1);
    AFFECT_CUDA_LAUNCH(backend, parameters_kernel, affect_cuda_blocks(shape->channels, 128), 128, 0,
                       d_gamma, d_beta, place.mean, place.other, *shape);
    AFFECT_CUDA_LAUNCH(backend, gradient_kernel,
                       affect_cuda_blocks(shape->rows * shape->channels, 256, 4096), 256, 0, d_x,
                       d_y, x, gamma, saved, place.mean, place.other, *shape);
}
