/* The walks of the persistent LSTM in strict fp32: plain multiply-adds, one sequence a block, so
 * that a batch of 48 fills 96 multiprocessors.
 *
 * A block has 2u threads, each with 2u weights: 192 at most in registers, the others in shared
 * memory. Forward: a thread has the 8 rows of two units' gates (2 units x 4) and a quarter of k;
 * the four lanes of a quad then add up and share out: a pair of lanes has one cell, of unit
 * threadIdx.x / 2, its even lane the gates i and f, the odd one c and o. Backward: 4 rows (units)
 * and an eighth of the 4u gradients; the eight lanes add up to one unit a pair. Both lanes of a
 * pair then compute the same cell and the even one writes. One barrier a step. */
#ifndef AFFECT_CUDA_CUDA_LSTM_FMA_CUH
#define AFFECT_CUDA_CUDA_LSTM_FMA_CUH

#include "engine/device/cuda/cuda_lstm_walk.cuh"

namespace affect_lstm_walk {

/* A thread's weights: `rows` rows, k's in groups of 4: group i holds k's 4 (lanes i + lane) to + 3,
 * where `lanes` lanes share the rows. */
template <int u, bool forward> struct weights {
    static const int rows = forward ? 8 : 4, lanes = forward ? 4 : 8;
    static const int words = u / 2; /* of 4 weights: (group, row) */
    static const int n_kept = words < 48 ? words : 48;
    float4 kept[n_kept];
    float4 *others; /* shared: (words, threads) */

    static size_t shared_bytes() {
        return static_cast<size_t>(((words - n_kept) * 2 * u + (forward ? u / 2 + u : 2 * u)) * 16);
    }

    /* Word number `index` of a thread. */
    static __device__ __forceinline__ uint4 word(const float *recurrent, int index, int thread) {
        int row = index % rows, k = 4 * (index / rows * lanes + thread % lanes);
        float4 x;
        if (forward) {
            int unit = thread / 4 * 2 + row / 4, gate = row % 4;
            const float *from = recurrent + k * 4 * u + gate * u + unit;
            x = make_float4(from[0], from[4 * u], from[8 * u], from[12 * u]);
        } else {
            const float *from = recurrent + (thread / 8 * 4 + row) * 4 * u + k / 4;
            x = make_float4(from[0], from[u], from[2 * u], from[3 * u]);
        }
        return make_uint4(__float_as_uint(x.x), __float_as_uint(x.y), __float_as_uint(x.z),
                          __float_as_uint(x.w));
    }

    /* Before a barrier. */
    __device__ __forceinline__ void load(float4 *shared, const walk &w) {
        const float4 *from =
            reinterpret_cast<const float4 *>(w.matrix) + blockIdx.y * words * 2 * u + threadIdx.x;
        others = shared + threadIdx.x;
#pragma unroll
        for (int i = 0; i < n_kept; i++) kept[i] = from[i * 2 * u];
        for (int i = n_kept; i < words; i++) others[(i - n_kept) * 2 * u] = from[i * 2 * u];
    }

    /* chains[r] and chains[8 - rows + r] together: this lane's part of row r. */
    static __device__ __forceinline__ void multiply_add(float chains[8], int r, float4 a,
                                                        float4 x) {
        float *even = &chains[r], *odd = &chains[8 - rows + r];
        *even = fmaf(a.x, x.x, *even);
        *odd = fmaf(a.y, x.y, *odd);
        *even = fmaf(a.z, x.z, *even);
        *odd = fmaf(a.w, x.w, *odd);
    }

    /* sum[r] = this lane's part of row r times `column` (shared memory). */
    __device__ __forceinline__ void multiply(float sum[rows], const float *column) const {
        const float4 *b = reinterpret_cast<const float4 *>(column) + threadIdx.x % lanes;
        float chains[8] = {};
#pragma unroll
        for (int i = 0; i < n_kept; i++)
            multiply_add(chains, i % rows, kept[i], b[i / rows * lanes]);
#pragma unroll 1 /* more would not find registers */
        for (int i = n_kept; i < words; i += rows) {
            float4 x = b[i / rows * lanes];
#pragma unroll
            for (int r = 0; r < rows; r++)
                multiply_add(chains, r, others[(i - n_kept + r) * 2 * u], x);
        }
#pragma unroll
        for (int r = 0; r < rows; r++)
            sum[r] = rows == 8 ? chains[r] : chains[r] + chains[8 - rows + r];
    }
};

/* to[i], i < n / 2: the sums over this lane and the lane that differs in `bit`: the first half of
 * x's numbers in the lane without the bit, the second in the other. */
template <int n>
__device__ __forceinline__ void share_out(float *to, const float *x, unsigned bit) {
    bool upper = threadIdx.x & bit;
#pragma unroll
    for (int i = 0; i < n / 2; i++) {
        float given =
            __shfl_xor_sync(0xffffffffu, upper ? x[i] : x[n / 2 + i], static_cast<int>(bit));
        to[i] = (upper ? x[n / 2 + i] : x[i]) + given;
    }
}

template <int u> __global__ void __launch_bounds__(2 * u, 1) forward_fma_kernel(walk w) {
    float *outputs = reinterpret_cast<float *>(affect_cuda_shared()); /* two buffers of u */
    uint32_t index = blockIdx.x, unit = threadIdx.x / 2, odd = threadIdx.x % 2;
    sequence s = sequence_of(w, index);
    weights<u, true> matrix;
    float4 *bias = reinterpret_cast<float4 *>(outputs + 2 * u);
    matrix.load(bias + u, w);
    if (threadIdx.x < u) bias[threadIdx.x] = bias_of<u>(w, threadIdx.x);
    __syncthreads();

    const float2 *inputs = reinterpret_cast<const float2 *>(w.sums) + odd;
    float2 input = inputs[2 * unit_of<u>(w, row_of(s, time_of(w, 0)), unit)];
    cell_state state = {0, 0};
    for (uint32_t k = 0; k < w.steps; k++) {
        float sum[8] = {}, two[2];
        if (k) {
            float four[4];
            matrix.multiply(sum, outputs + (k - 1) % 2 * u);
            share_out<8>(four, sum, 2);
            share_out<4>(two, four, 1);
        } else {
            two[0] = two[1] = 0;
        }
        float2 add = reinterpret_cast<const float2 *>(bias)[threadIdx.x];
        /* i and f, or tanh(c) = 2 sigmoid(2c) - 1 and o */
        float first = two[0] + (input.x + add.x), second = two[1] + (input.y + add.y);
        first = sigmoid<false>(odd ? 2 * first : first);
        first = odd ? 2 * first - 1 : first;
        second = sigmoid<false>(second);
        float other = __shfl_xor_sync(0xffffffffu, first, 1);
        float other_second = __shfl_xor_sync(0xffffffffu, second, 1);
        float4 gates = odd ? make_float4(other, other_second, first, second)
                           : make_float4(first, second, other, other_second);
        bool masked = time_of(w, k) >= s.length;
        state = step_forward<false>(state, gates, masked);
        if (!odd) {
            outputs[k % 2 * u + unit] = state.output;
            write_forward<as_float, u>(w, index, k, unit, step_of<u>(w, index, k, unit),
                                       reserve_of<u, 1>(w, k, unit, 0), state, gates, masked);
        }
        if (k + 1 < w.steps) input = inputs[2 * unit_of<u>(w, row_of(s, time_of(w, k + 1)), unit)];
        __syncthreads();
    }
}

template <int u> __global__ void __launch_bounds__(2 * u, 1) backward_fma_kernel(walk w) {
    float4 *d_sums = reinterpret_cast<float4 *>(affect_cuda_shared()); /* two buffers of u */
    uint32_t index = blockIdx.x, unit = threadIdx.x / 2, odd = threadIdx.x % 2;
    sequence s = sequence_of(w, index);
    weights<u, false> matrix;
    matrix.load(d_sums + 2 * u, w);
    __syncthreads();

    uint32_t k = w.steps - 1;
    const float4 *saved = static_cast<const float4 *>(w.gates);
    size_t place = reserve_of<u, 1>(w, k, unit, 0);
    float4 gates = saved[place];
    float cell = w.cells[place], before = k ? w.cells[place - u] : 0;
    float d_output = read_d_y<u>(w, s, index, k, unit, step_of<u>(w, index, k, unit));
    cell_gradient carried = {0, 0};
    float4 bias = {0, 0, 0, 0}, last = {0, 0, 0, 0};
    for (;; k--) {
        bool masked = time_of(w, k) >= s.length;
        float4 d_sum = step_backward<false>(&carried, gates, cell, before, d_output, masked);
        cell = before;
        if (!odd) {
            d_sums[k % 2 * u + unit] = d_sum;
            write_backward<as_float, u>(w, &bias, &last, s, index, k, unit,
                                        step_of<u>(w, index, k, unit), d_sum);
        }
        if (k == 0) break;
        place -= u;
        gates = saved[place];
        before = k > 1 ? w.cells[place - u] : 0;
        d_output = read_d_y<u>(w, s, index, k - 1, unit, step_of<u>(w, index, k - 1, unit));
        __syncthreads();
        float four[4], two[2], one[1];
        matrix.multiply(four, reinterpret_cast<const float *>(d_sums + k % 2 * u));
        share_out<4>(two, four, 4);
        share_out<2>(one, two, 2);
        d_output += one[0] + __shfl_xor_sync(0xffffffffu, one[0], 1);
    }
    if (odd) return;
    write_last<as_float, u>(w, last, s, index, unit);
    write_bias<u>(w, bias, unit, index);
}

} // namespace affect_lstm_walk

#endif
