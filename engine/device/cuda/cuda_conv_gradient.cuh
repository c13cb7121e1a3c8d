/* The fused convolution's gradients of kernel and bias.
 *
 * d_kernel (taps in, out) is the product of windows and d over all positions of all items. A block
 * walks over tiles of a few items. An item's positions with their padding are rows of x, and d is
 * laid beside them with two rows of zeros behind each item: row r of d then belongs to the rows r,
 * r + 1 and r + 2 of x, over the borders of items as well. A warp keeps a unit of the result in
 * registers for all its tiles: all taps of 16 channels by 8 `tiles` filters. Where a block has more
 * warps than units, they share a unit's positions (parts). What each block and part found is a row
 * of `partial`, which the host adds up in order. */
#ifndef AFFECT_CUDA_CUDA_CONV_GRADIENT_CUH
#define AFFECT_CUDA_CUDA_CONV_GRADIENT_CUH

#include "engine/device/cuda/cuda_conv_operand.cuh"

namespace affect_conv {

const unsigned gradient_threads = 512, gradient_warps = gradient_threads / 32;
const unsigned gradient_round = 16; /* rows of d in a tile: a multiple */

struct gradient_shape {
    size_t n;
    unsigned items; /* of a tile */
    unsigned length, in, out, pad, pairs;
    unsigned rows;               /* of the tile's d; x has taps - 1 more */
    unsigned stride_x, stride_d; /* bytes of a row */
    unsigned units, parts;       /* of a block */
};

__host__ __device__ inline unsigned item_rows(unsigned pairs) {
    return 2 * pairs + taps - 1;
}

template <affect_precision precision>
__device__ void stage_rows(unsigned char *to, const float *x, size_t first,
                           const gradient_shape &s) {
    staging by = stage_by(s.in / 4);
    unsigned per_item = item_rows(s.pairs);
#pragma unroll 4
    for (unsigned r = by.first; r < s.rows + taps - 1; r += by.step) {
        unsigned item = r / per_item, l = r % per_item - s.pad;
        float4 v = make_float4(0, 0, 0, 0);
        if (item < s.items && first + item < s.n && l < s.length)
            v = reinterpret_cast<const float4 *>(
                x)[((first + item) * s.length + l) * (s.in / 4) + by.quad];
        operand<precision>::store(to + r * s.stride_x + by.quad * 4 * operand<precision>::bytes, v);
    }
}

/* d of the tile's items before pooling; returns the sum of what this thread laid down. */
template <affect_precision precision>
__device__ float4 stage_gradients(unsigned char *to, const float *d_y, const float *y,
                                  const uint32_t *switches, size_t first, const gradient_shape &s) {
    staging by = stage_by(s.out / 4);
    unsigned column = by.quad * 4 * operand<precision>::bytes, per_item = item_rows(s.pairs);
    float4 sum = make_float4(0, 0, 0, 0);
#pragma unroll 2
    for (unsigned r = by.first; r < s.items * (s.pairs + 1); r += by.step) {
        unsigned item = r / (s.pairs + 1), pair = r % (s.pairs + 1);
        pair_gradient d = {};
        if (pair < s.pairs && first + item < s.n)
            d = unpool(d_y, y, switches, (first + item) * s.pairs + pair, s.out, by.quad);
        unsigned char *row = to + (item * per_item + 2 * pair) * s.stride_d + column;
        operand<precision>::store(row, d.first);
        operand<precision>::store(row + s.stride_d, d.second);
        sum.x += d.first.x + d.second.x, sum.y += d.first.y + d.second.y;
        sum.z += d.first.z + d.second.z, sum.w += d.first.w + d.second.w;
    }
    unsigned used = s.items * per_item;
    for (unsigned r = by.first; r < s.rows - used; r += by.step)
        operand<precision>::store(to + (used + r) * s.stride_d + column, make_float4(0, 0, 0, 0));
    return sum;
}

/* sums[tap] += of one step of rows; x, d: the unit's channels and filters in the step's first row.
 */
template <affect_precision precision, int tiles>
__device__ __forceinline__ void multiply_step(float sums[taps][tiles][4], const unsigned char *x,
                                              const unsigned char *d, const gradient_shape &s) {
    unsigned lane = threadIdx.x % 32, group = lane / 4, place = lane % 4;
    if constexpr (precision == AFFECT_PRECISION_BF16) {
        uint32_t b[tiles / 2][4];
#pragma unroll
        for (unsigned j = 0; j < tiles / 2; j++)
            affect_ldmatrix_transposed(b[j], d + lane % 16 * s.stride_d + (lane / 16 + 2 * j) * 16);
#pragma unroll
        for (unsigned tap = 0; tap < taps; tap++) {
            uint32_t a[4];
            affect_ldmatrix_transposed(a, x + (tap + lane / 16 * 8 + lane % 8) * s.stride_x +
                                              lane / 8 % 2 * 16);
#pragma unroll
            for (unsigned j = 0; j < tiles; j++)
                affect_mma_bf16(sums[tap][j], a, b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
        }
    } else if constexpr (precision == AFFECT_PRECISION_TF32) {
        auto word = [](const unsigned char *row, unsigned column) {
            return reinterpret_cast<const uint32_t *>(row)[column];
        };
        uint32_t b[tiles][2];
#pragma unroll
        for (unsigned j = 0; j < tiles; j++)
            for (unsigned half = 0; half < 2; half++)
                b[j][half] = word(d + (place + 4 * half) * s.stride_d, j * 8 + group);
#pragma unroll
        for (unsigned tap = 0; tap < taps; tap++) {
            const unsigned char *row = x + (tap + place) * s.stride_x;
            uint32_t a[4] = {word(row, group), word(row, group + 8),
                             word(row + 4 * s.stride_x, group),
                             word(row + 4 * s.stride_x, group + 8)};
#pragma unroll
            for (unsigned j = 0; j < tiles; j++) affect_mma_tf32(sums[tap][j], a, b[j][0], b[j][1]);
        }
    } else {
        for (unsigned k = 0; k < operand<precision>::step; k++)
#pragma unroll
            for (unsigned tap = 0; tap < taps; tap++) {
                const float *row = reinterpret_cast<const float *>(x + (k + tap) * s.stride_x);
#pragma unroll
                for (unsigned j = 0; j < tiles; j++) {
                    float2 w = *reinterpret_cast<const float2 *>(d + k * s.stride_d +
                                                                 (j * 8 + 2 * place) * 4);
                    float *sum = sums[tap][j];
                    sum[0] = fmaf(row[group], w.x, sum[0]);
                    sum[1] = fmaf(row[group], w.y, sum[1]);
                    sum[2] = fmaf(row[group + 8], w.x, sum[2]);
                    sum[3] = fmaf(row[group + 8], w.y, sum[3]);
                }
            }
    }
}

/* to (out) = the threads' sums of their quads, added up in order. scratch: a float4 a thread. */
__device__ void write_bias(float *to, float4 sum, float4 *scratch, const gradient_shape &s) {
    scratch[threadIdx.x] = sum;
    __syncthreads();
    staging by = stage_by(s.out / 4);
    if (threadIdx.x >= s.out) return;
    float total = 0;
    for (unsigned i = 0; i < by.step; i++)
        total += reinterpret_cast<const float *>(scratch + i * (s.out / 4))[threadIdx.x];
    to[threadIdx.x] = total;
}

/* partial (blocks, parts, taps in, out), bias_partial (blocks, out); blocks: gridDim.x, each does
 * all its tiles for s.units units from blockIdx.y s.units. */
template <affect_precision precision, int tiles>
__global__ void __launch_bounds__(gradient_threads, 1)
    gradient_kernel(float *partial, float *bias_partial, const float *x, const float *d_y,
                    const float *y, const uint32_t *switches, gradient_shape s) {
    unsigned char *x_rows = affect_cuda_shared();
    unsigned char *d_rows = x_rows + (s.rows + taps - 1) * s.stride_x;
    const unsigned step = operand<precision>::step, bytes = operand<precision>::bytes;
    unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    unsigned unit = blockIdx.y * s.units + warp % s.units, part = warp / s.units;
    unsigned channel = unit % (s.in / 16) * 16, filter = unit / (s.in / 16) * 8 * tiles;
    bool works = part < s.parts && filter < s.out;
    float sums[taps][tiles][4] = {};
    float4 bias = make_float4(0, 0, 0, 0);
    for (size_t first = blockIdx.x * static_cast<size_t>(s.items); first < s.n;
         first += gridDim.x * static_cast<size_t>(s.items)) {
        __syncthreads();
        stage_rows<precision>(x_rows, x, first, s);
        float4 more = stage_gradients<precision>(d_rows, d_y, y, switches, first, s);
        bias.x += more.x, bias.y += more.y, bias.z += more.z, bias.w += more.w;
        __syncthreads();
        if (!works) continue;
        for (unsigned k = part * step; k < s.rows; k += s.parts * step)
            multiply_step<precision, tiles>(sums, x_rows + k * s.stride_x + channel * bytes,
                                            d_rows + k * s.stride_d + filter * bytes, s);
    }
    if (works) {
        float *to = partial + (blockIdx.x * s.parts + part) * taps * s.in * s.out;
#pragma unroll
        for (unsigned tap = 0; tap < taps; tap++)
#pragma unroll
            for (unsigned j = 0; j < tiles; j++)
#pragma unroll
                for (unsigned half = 0; half < 2; half++)
                    *reinterpret_cast<float2 *>(
                        to + (tap * s.in + channel + lane / 4 + 8 * half) * s.out + filter + j * 8 +
                        lane % 4 * 2) =
                        make_float2(sums[tap][j][2 * half], sums[tap][j][2 * half + 1]);
    }
    __syncthreads();
    if (blockIdx.y == 0)
        write_bias(bias_partial + blockIdx.x * s.out, bias, reinterpret_cast<float4 *>(x_rows), s);
}

} // namespace affect_conv

#endif
