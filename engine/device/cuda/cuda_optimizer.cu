/* Adam on the device, in Keras' form (device/backend.h, affect_adam_shape), everything in one pass.
 */
#include "engine/device/cuda/cuda_backend.cuh"

#include <cmath>

namespace {

struct adam_rates {
    float rate, one_minus_beta_1, one_minus_beta_2, epsilon;
};

__global__ void adam_kernel(float *p, float *m, float *v, const float *g, size_t n, adam_rates r) {
    size_t step = static_cast<size_t>(gridDim.x) * blockDim.x;
    for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
        float gradient = g[i];
        float mean = m[i] + (gradient - m[i]) * r.one_minus_beta_1;
        float square = v[i] + (gradient * gradient - v[i]) * r.one_minus_beta_2;
        m[i] = mean;
        v[i] = square;
        p[i] -= r.rate * mean / (sqrtf(square) + r.epsilon);
    }
}

} // namespace

void affect_cuda_adam_step(affect_backend *backend, float *parameters, float *m, float *v,
                           const float *gradients, const affect_adam_shape *shape) {
    double t = static_cast<double>(shape->step);
    double rate = shape->learning_rate * std::sqrt(1 - std::pow(shape->beta_2, t)) /
                  (1 - std::pow(shape->beta_1, t));
    adam_rates rates = {static_cast<float>(rate), static_cast<float>(1 - shape->beta_1),
                        static_cast<float>(1 - shape->beta_2), static_cast<float>(shape->epsilon)};
    AFFECT_CUDA_LAUNCH(backend, adam_kernel, affect_cuda_blocks(shape->n, 256, 2048), 256, 0,
                       parameters, m, v, gradients, shape->n, rates);
}
