/* From the parameters' and x's own order to what the walks of the persistent LSTM and the products
 * around them read, and back: the recurrent kernels as threads keep them, input kernels with a
 * unit's gates side by side, x as factors, gradients added in the parameters' order. */
#ifndef AFFECT_CUDA_CUDA_LSTM_ORDER_CUH
#define AFFECT_CUDA_CUDA_LSTM_ORDER_CUH

#include "engine/device/cuda/cuda_lstm_walk.cuh"

namespace affect_lstm_walk {

struct directions_of {
    float *of[2];
};

/* The recurrent kernels in the order in which a walk's threads keep them: block (word, direction).
 */
template <class Matrix> __global__ void matrix_kernel(uint4 *to, directions_of from) {
    const float *recurrent = blockIdx.y ? from.of[1] : from.of[0];
    uint32_t word = blockIdx.y * gridDim.x + blockIdx.x;
    to[word * blockDim.x + threadIdx.x] =
        Matrix::word(recurrent, static_cast<int>(blockIdx.x), static_cast<int>(threadIdx.x));
}

template <typename T> __device__ __forceinline__ T as_factor(float x);
template <> __device__ __forceinline__ float as_factor(float x) {
    return as_float::one(x);
}
template <> __device__ __forceinline__ __nv_bfloat16 as_factor(float x) {
    return as_bf16::one(x);
}

/* Place of number i of (rows, directions, u, 4) in a direction's (rows, 4, u). */
struct parameter_place {
    uint32_t direction;
    size_t place;
};
__device__ __forceinline__ parameter_place place_of(size_t i, uint32_t directions, uint32_t u) {
    size_t row = i / (4 * u * directions);
    uint32_t rest = static_cast<uint32_t>(i - row * 4 * u * directions);
    uint32_t direction = rest / (4 * u), unit = rest / 4 % u, gate = rest % 4;
    return {direction, row * 4 * u + gate * u + unit};
}

template <typename T>
__global__ void pack_kernel(T *to, directions_of from, size_t n, uint32_t directions, uint32_t u) {
    size_t step = static_cast<size_t>(gridDim.x) * blockDim.x;
    for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
        parameter_place p = place_of(i, directions, u);
        to[i] = as_factor<T>(from.of[p.direction][p.place]);
    }
}

/* Gradients in the walks' order, and where they go. */
struct gradient_parts {
    directions_of kernel, recurrent, bias; /* bias.of[0] NULL: none */
    const float *d_kernel;                 /* (inputs, directions, u, 4) */
    const float *d_recurrent;              /* (directions, u, u, 4) */
    const float *d_bias;                   /* (directions, parts, u, 4) */
    uint32_t inputs, directions, u, parts;
};

__device__ __forceinline__ void add_bias(const gradient_parts &g, uint32_t i) {
    parameter_place p = place_of(i, g.directions, g.u);
    const float *from = g.d_bias + static_cast<size_t>(p.direction) * g.parts * 4 * g.u;
    float sum = 0;
    for (uint32_t part = 0; part < g.parts; part++) sum += from[part * 4 * g.u + i % (4 * g.u)];
    g.bias.of[p.direction][p.place] += sum;
}

/* Adds all of a layer's gradients to its parameters', a thread a number. */
__global__ void add_gradients_kernel(gradient_parts g) {
    size_t gates = 4 * static_cast<size_t>(g.u);
    size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    size_t n_bias = g.bias.of[0] ? gates * g.directions : 0, matrix = gates * g.u;
    if (i < n_bias) {
        add_bias(g, static_cast<uint32_t>(i));
        return;
    }
    i -= n_bias;
    if (i < matrix * g.directions) {
        parameter_place p = place_of(i % matrix, 1, g.u);
        g.recurrent.of[i / matrix][p.place] += g.d_recurrent[i];
        return;
    }
    i -= matrix * g.directions;
    if (i >= g.inputs * gates * g.directions) return;
    parameter_place p = place_of(i, g.directions, g.u);
    g.kernel.of[p.direction][p.place] += g.d_kernel[i];
}

/* x as factors, masked rows as 0: they are not read. blockIdx.y: the sequence. */
template <typename T>
__global__ void copy_x_kernel(T *to, const float *x, const sequence *sequences, uint32_t batch,
                              uint32_t steps, uint32_t inputs) {
    size_t step = static_cast<size_t>(gridDim.x) * blockDim.x;
    for (uint32_t b = blockIdx.y; b < batch; b += gridDim.y) {
        sequence s = {b * steps, steps - 1, steps};
        if (sequences) s = sequences[b];
        size_t n = static_cast<size_t>(s.last + 1) * inputs,
               base = static_cast<size_t>(s.row) * inputs,
               read = static_cast<size_t>(s.length) * inputs;
        for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n;
             i += step)
            to[base + i] = as_factor<T>(i < read ? x[base + i] : 0);
    }
}

} // namespace affect_lstm_walk

#endif
