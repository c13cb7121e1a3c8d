/* The fused convolution of one channel: three multiplications a number, so all that counts is
 * memory. In fp32 whatever the precision. A warp has a word of switches, 32 filters: lane = filter,
 * with its weights in registers, and walks along the pairs of an item; what it reads of x is the
 * same for all lanes. */
#ifndef AFFECT_CUDA_CUDA_CONV_CHANNEL_CUH
#define AFFECT_CUDA_CUDA_CONV_CHANNEL_CUH

#include "engine/device/cuda/cuda_conv_operand.cuh"

namespace affect_conv {

const unsigned channel_threads = 256;

struct channel_shape {
    size_t n;
    unsigned length, filters, words, pad, pairs;
};

struct channel_warp {
    unsigned filter, word;
    size_t first, step; /* items */
    bool inside;        /* the lane has a filter */
};

__device__ __forceinline__ channel_warp place_warp(const channel_shape &s) {
    size_t warp = (blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x) / 32;
    size_t warps = gridDim.x * static_cast<size_t>(blockDim.x) / 32;
    unsigned word = static_cast<unsigned>(warp % s.words), filter = word * 32 + threadIdx.x % 32;
    return {filter, word, warp / s.words, warps / s.words, filter < s.filters};
}

/* x of an item at a position counted from the padding's begin. */
__device__ __forceinline__ float position(const float *x, unsigned at, const channel_shape &s) {
    return at - s.pad < s.length ? x[at - s.pad] : 0;
}

__global__ void __launch_bounds__(channel_threads)
    channel_forward_kernel(float *y, uint32_t *switches, const float *x, const float *kernel,
                           const float *bias, channel_shape s) {
    channel_warp w = place_warp(s);
    if (w.first >= w.step) return; /* warps left over */
    float weight[taps], add = w.inside && bias ? bias[w.filter] : 0;
    for (unsigned tap = 0; tap < taps; tap++)
        weight[tap] = w.inside ? kernel[tap * s.filters + w.filter] : 0;
    for (size_t item = w.first; item < s.n; item += w.step) {
        const float *from = x + item * s.length;
        float before = position(from, 0, s), at = position(from, 1, s);
#pragma unroll 4
        for (unsigned pair = 0; pair < s.pairs; pair++) {
            float next = position(from, 2 * pair + 2, s), last = position(from, 2 * pair + 3, s);
            float one = fmaf(next, weight[2], fmaf(at, weight[1], before * weight[0]));
            float two = fmaf(last, weight[2], fmaf(next, weight[1], at * weight[0]));
            unsigned bits = __ballot_sync(0xffffffffu, two > one);
            float largest = (two > one ? two : one) + add;
            size_t row = item * s.pairs + pair;
            if (w.inside) y[row * s.filters + w.filter] = largest > 0 ? largest : 0;
            if (switches && threadIdx.x % 32 == 0) switches[row * s.words + w.word] = bits;
            before = next, at = last;
        }
    }
}

/* The gradient that a pair sends to this lane's filter; second: to its second position. */
__device__ __forceinline__ float pair_of(bool *second, const float *d_y, const float *y,
                                         const uint32_t *switches, size_t row,
                                         const channel_warp &w, const channel_shape &s) {
    *second = switches[row * s.words + w.word] >> threadIdx.x % 32 & 1;
    size_t at = row * s.filters + w.filter;
    return w.inside && y[at] > 0 ? d_y[at] : 0;
}

/* partial (slots, taps filters), bias_partial (slots, filters): a warp's items make a slot. */
__global__ void __launch_bounds__(channel_threads)
    channel_gradient_kernel(float *partial, float *bias_partial, const float *x, const float *d_y,
                            const float *y, const uint32_t *switches, channel_shape s) {
    channel_warp w = place_warp(s);
    if (w.first >= w.step) return; /* warps left over */
    float sums[taps] = {}, bias = 0;
    for (size_t item = w.first; item < s.n; item += w.step) {
        const float *from = x + item * s.length;
        float before = position(from, 0, s), at = position(from, 1, s);
#pragma unroll 4
        for (unsigned pair = 0; pair < s.pairs; pair++) {
            float next = position(from, 2 * pair + 2, s), last = position(from, 2 * pair + 3, s);
            bool second;
            float d = pair_of(&second, d_y, y, switches, item * s.pairs + pair, w, s);
            sums[0] = fmaf(d, second ? at : before, sums[0]);
            sums[1] = fmaf(d, second ? next : at, sums[1]);
            sums[2] = fmaf(d, second ? last : next, sums[2]);
            bias += d;
            before = next, at = last;
        }
    }
    if (!w.inside) return;
    for (unsigned tap = 0; tap < taps; tap++)
        partial[(w.first * taps + tap) * s.filters + w.filter] = sums[tap];
    bias_partial[w.first * s.filters + w.filter] = bias;
}

/* d_x: a warp makes a number, its lanes add up the filters. */
__global__ void __launch_bounds__(channel_threads)
    channel_d_x_kernel(float *d_x, const float *d_y, const float *y, const uint32_t *switches,
                       const float *kernel, channel_shape s) {
    unsigned lane = threadIdx.x % 32;
    size_t warps = gridDim.x * static_cast<size_t>(blockDim.x) / 32;
    size_t warp = (blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x) / 32;
    for (size_t i = warp; i < s.n * s.length; i += warps) {
        unsigned position = static_cast<unsigned>(i % s.length) + s.pad;
        float sum = 0;
        for (unsigned tap = 0; tap < taps && tap <= position; tap++) {
            unsigned pair = (position - tap) / 2;
            if (pair >= s.pairs) continue;
            size_t row = i / s.length * s.pairs + pair;
            for (unsigned word = 0; word < s.words; word++) {
                unsigned filter = word * 32 + lane;
                channel_warp w = {filter, word, 0, 0, filter < s.filters};
                bool second;
                float d = pair_of(&second, d_y, y, switches, row, w, s);
                if (w.inside && second == ((position - tap) % 2 == 1))
                    sum = fmaf(d, kernel[tap * s.filters + filter], sum);
            }
        }
        for (unsigned distance = 16; distance; distance /= 2)
            sum += __shfl_xor_sync(0xffffffffu, sum, distance);
        if (lane == 0) d_x[i] = sum;
    }
}

} // namespace affect_conv

#endif
