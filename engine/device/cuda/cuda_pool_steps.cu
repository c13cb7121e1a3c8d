/* Weighted statistics over the steps of sequences on the device; formulas as in cpu_pool_steps.c. A
 * block does the weights of a sequence, a thread the statistics of one channel; sums are kept in
 * double, in an order that does not depend on timing. */
#include "engine/device/cuda/cuda_backend.cuh"

namespace {

enum { THREADS = 128 };

/* The same in every thread: what the threads have, joined in their order. */
template <bool largest> __device__ double block_join(double x, double *shared) {
    shared[threadIdx.x] = x;
    __syncthreads();
    for (unsigned n = THREADS / 2; n; n /= 2) {
        if (threadIdx.x < n) {
            double other = shared[threadIdx.x + n];
            if (largest)
                shared[threadIdx.x] = other > shared[threadIdx.x] ? other : shared[threadIdx.x];
            else
                shared[threadIdx.x] += other;
        }
        __syncthreads();
    }
    double joined = shared[0];
    __syncthreads();
    return joined;
}

__device__ size_t length_of(const unsigned long long *lengths, size_t b, size_t steps) {
    return lengths ? lengths[b] : steps;
}

__global__ void weigh_kernel(float *weights, const float *scores, const unsigned long long *lengths,
                             affect_pool_steps_shape s) {
    __shared__ double shared[THREADS];
    size_t length = length_of(lengths, blockIdx.x, s.steps);
    float *a = weights + blockIdx.x * s.steps;
    const float *from = scores ? scores + blockIdx.x * s.steps : nullptr;
    double highest = -1e300, sum = 0;
    for (size_t t = threadIdx.x; from && t < length; t += THREADS)
        highest = from[t] > highest ? from[t] : highest;
    if (from) highest = block_join<true>(highest, shared);
    for (size_t t = threadIdx.x; t < length; t += THREADS)
        sum += from ? static_cast<float>(exp(from[t] - highest)) : 1;
    sum = block_join<false>(sum, shared);
    for (size_t t = threadIdx.x; t < s.steps; t += THREADS) {
        float weight = from && t < length ? static_cast<float>(exp(from[t] - highest)) : 1;
        a[t] = t < length ? static_cast<float>(weight / sum) : 0;
    }
}

__global__ void statistics_kernel(float *y, const float *weights, const float *x,
                                  const unsigned long long *lengths, affect_pool_steps_shape s) {
    size_t c = static_cast<size_t>(blockIdx.y) * THREADS + threadIdx.x, b = blockIdx.x;
    if (c >= s.channels) return;
    size_t length = length_of(lengths, b, s.steps), width = s.channels * (s.deviation ? 2 : 1);
    const float *from = x + b * s.steps * s.channels + c, *a = weights + b * s.steps;
    double mean = 0, variance = 0;
    for (size_t t = 0; t < length; t++) mean += static_cast<double>(a[t]) * from[t * s.channels];
    y[b * width + c] = static_cast<float>(mean);
    if (!s.deviation) return;
    for (size_t t = 0; t < length; t++) {
        double d = from[t * s.channels] - mean;
        variance += a[t] * d * d;
    }
    y[b * width + s.channels + c] = static_cast<float>(length ? sqrt(variance + s.epsilon) : 0);
}

/* What the gradients of a sequence are made of. */
struct gradient_source {
    const float *d_y, *x, *y, *weights;
    const unsigned long long *lengths;
    affect_pool_steps_shape s;
};

__device__ double d_variance_of(const gradient_source &g, size_t b, size_t c) {
    if (!g.s.deviation) return 0;
    size_t at = (2 * b + 1) * g.s.channels + c;
    return g.d_y[at] / (2 * static_cast<double>(g.y[at]));
}

__global__ void d_x_kernel(float *d_x, gradient_source g) {
    size_t c = static_cast<size_t>(blockIdx.y) * THREADS + threadIdx.x, b = blockIdx.x;
    if (c >= g.s.channels) return;
    size_t length = length_of(g.lengths, b, g.s.steps), first = b * g.s.steps * g.s.channels + c;
    size_t at = b * g.s.channels * (g.s.deviation ? 2 : 1) + c;
    double d_variance = length ? d_variance_of(g, b, c) : 0, mean = g.y[at], d_mean = g.d_y[at];
    for (size_t t = 0; t < g.s.steps; t++) {
        size_t i = first + t * g.s.channels;
        double d = d_mean + 2 * d_variance * (g.x[i] - mean);
        d_x[i] = t < length ? static_cast<float>(g.weights[b * g.s.steps + t] * d) : 0;
    }
}

/* d_scores holds the weights' gradients first. */
__global__ void d_scores_kernel(float *d_scores, gradient_source g) {
    __shared__ double shared[THREADS];
    size_t b = blockIdx.x, n = g.s.channels, length = length_of(g.lengths, b, g.s.steps);
    size_t width = n * (g.s.deviation ? 2 : 1);
    float *to = d_scores + b * g.s.steps;
    const float *a = g.weights + b * g.s.steps;
    double sum = 0;
    for (size_t t = threadIdx.x; t < g.s.steps; t += THREADS) {
        double d_a = 0;
        for (size_t c = 0; t < length && c < n; c++) {
            double value = g.x[(b * g.s.steps + t) * n + c], d = value - g.y[b * width + c];
            d_a += g.d_y[b * width + c] * value + d_variance_of(g, b, c) * d * d;
        }
        to[t] = static_cast<float>(d_a);
        if (t < length) sum += a[t] * d_a;
    }
    sum = block_join<false>(sum, shared);
    for (size_t t = threadIdx.x; t < g.s.steps; t += THREADS)
        to[t] = t < length ? static_cast<float>(a[t] * (to[t] - sum)) : 0;
}

dim3 channel_grid(const affect_pool_steps_shape *shape) {
    return dim3(static_cast<unsigned>(shape->batch),
                affect_cuda_blocks(shape->channels, THREADS, affect_cuda_most_y));
}

} // namespace

void affect_cuda_pool_steps_forward(affect_backend *backend, float *y, float *weights,
                                    const float *x, const float *scores,
                                    const affect_pool_steps_shape *shape) {
    const unsigned long long *lengths =
        affect_cuda_put_lengths(backend, shape->lengths, shape->batch);
    AFFECT_CUDA_LAUNCH(backend, weigh_kernel, static_cast<unsigned>(shape->batch), THREADS, 0,
                       weights, scores, lengths, *shape);
    AFFECT_CUDA_LAUNCH(backend, statistics_kernel, channel_grid(shape), THREADS, 0, y, weights, x,
                       lengths, *shape);
}

void affect_cuda_pool_steps_backward(affect_backend *backend, float *d_x, float *d_scores,
                                     const float *d_y, const float *x, const float *y,
                                     const float *weights, const affect_pool_steps_shape *shape) {
    gradient_source source = {
        d_y, x, y, weights, affect_cuda_put_lengths(backend, shape->lengths, shape->batch), *shape};
    if (d_scores)
        AFFECT_CUDA_LAUNCH(backend, d_scores_kernel, static_cast<unsigned>(shape->batch), THREADS,
                           0, d_scores, source);
    if (d_x) AFFECT_CUDA_LAUNCH(backend, d_x_kernel, channel_grid(shape), THREADS, 0, d_x, source);
}
