/* Cross-entropy and the L2 penalty on the device. */
#include "engine/device/cuda/cuda_backend.cuh"

#include <cmath>

namespace {

const unsigned rows_at_once = 256;
const double smallest_probability = 1e-7; /* Keras' epsilon */

/* One block. Each thread looks at a row; the first adds up what they saw, in the order of rows. */
__global__ void cross_entropy_kernel(float *d_logits, double *stats, const float *probabilities,
                                     const int32_t *labels, const float *weights,
                                     affect_loss_shape s) {
    __shared__ double losses[rows_at_once];
    __shared__ unsigned cells[rows_at_once];
    size_t n = s.classes;
    for (size_t first = 0; first < s.batch; first += rows_at_once) {
        size_t r = first + threadIdx.x;
        if (r < s.batch) {
            const float *p = probabilities + r * n;
            size_t label = static_cast<size_t>(labels[r]), predicted = 0;
            double weight = weights ? weights[r] : 1, true_p = p[label];
            for (size_t c = 1; c < n; c++)
                if (p[c] > p[predicted]) predicted = c;
            /* Written so that NaN stays NaN. */
            losses[threadIdx.x] =
                weight * -log(true_p < smallest_probability ? smallest_probability : true_p);
            cells[threadIdx.x] = static_cast<unsigned>(label * n + predicted);
            for (size_t c = 0; d_logits && c < n; c++)
                d_logits[r * n + c] = static_cast<float>(
                    weight * (static_cast<double>(p[c]) - (c == label)) / s.divisor);
        }
        __syncthreads();
        for (size_t i = first; threadIdx.x == 0 && i < s.batch && i < first + rows_at_once; i++) {
            stats[0] += losses[i - first];
            stats[1] += 1;
            stats[2 + cells[i - first]] += 1;
        }
        __syncthreads();
    }
}

enum { THREADS = 256 };
const unsigned most_blocks = 128;

/* partial[block]: the block's sum of squares. */
__global__ void squares_kernel(double *partial, float *d_w, const float *w, size_t n, float twice) {
    __shared__ double sums[THREADS];
    double sum = 0;
    size_t step = static_cast<size_t>(gridDim.x) * THREADS;
    for (size_t i = static_cast<size_t>(blockIdx.x) * THREADS + threadIdx.x; i < n; i += step) {
        double value = w[i];
        sum += value * value;
        if (d_w) d_w[i] += twice * w[i];
    }
    sums[threadIdx.x] = sum;
    __syncthreads();
    for (unsigned half = THREADS / 2; half; half /= 2) {
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0) partial[blockIdx.x] = sums[0];
}

__global__ void penalty_kernel(double *total, const double *partial, unsigned n, double factor) {
    double sum = 0;
#pragma unroll 8 /* loads at once, sums in order */
    for (unsigned i = 0; i < n; i++) sum += partial[i];
    total[0] += factor * sum;
}

} // namespace

void affect_cuda_cross_entropy(affect_backend *backend, float *d_logits, double *stats,
                               const float *probabilities, const int32_t *labels,
                               const float *weights, const affect_loss_shape *shape) {
    AFFECT_CUDA_LAUNCH(backend, cross_entropy_kernel, 1, rows_at_once, 0, d_logits, stats,
                       probabilities, labels, weights, *shape);
}

void affect_cuda_l2_penalty(affect_backend *backend, double *total, float *d_w, const float *w,
                            size_t n, double scale, double weight) {
    unsigned blocks = affect_cuda_blocks(n, 4 * THREADS, most_blocks);
    double *partial = static_cast<double *>(affect_cuda_of(backend)->scratch);
    AFFECT_CUDA_LAUNCH(backend, squares_kernel, blocks, THREADS, 0, partial, d_w, w, n,
                       static_cast<float>(2 * scale));
    AFFECT_CUDA_LAUNCH(backend, penalty_kernel, 1, 1, 0, total, partial, blocks, weight * scale);
}
