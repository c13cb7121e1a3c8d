/* The fused convolution as a product of windows with the layer's weights; forward with bias, relu
 * and the maximum of pairs, and its transpose (the gradient of x), which is the same convolution
 * with the kernel turned round.
 *
 * A block keeps all weights in shared memory, in the order in which lanes read them, and walks over
 * tiles of a few items. An item's positions (with their padding) lie in two planes, even and odd,
 * so that the rows of neighbouring pairs are neighbours: ldmatrix meets no bank twice. A warp does
 * a unit: 16 pairs by 8 `tiles` columns. Row `group` of an A fragment is the first position of a
 * pair and row `group` + 8 the second: both sums of a pair meet in one thread, which takes their
 * maximum in registers. The fp32 path gives each lane the same elements, by FMAs. */
#ifndef AFFECT_CUDA_CUDA_CONV_WINDOW_CUH
#define AFFECT_CUDA_CUDA_CONV_WINDOW_CUH

#include "engine/device/cuda/cuda_conv_operand.cuh"

namespace affect_conv {

const unsigned window_threads = 256;

struct window_shape {
    size_t n;
    unsigned items;   /* of a tile */
    unsigned length;  /* of the source before padding; rows of x or, back, of d */
    unsigned in, out; /* numbers of a row of the source and of the result */
    unsigned pad;     /* zero rows before the source */
    unsigned pairs;   /* pairs of result positions of an item */
    unsigned half;    /* rows of an item in one plane */
    unsigned stride;  /* bytes of a row: an odd number of 16 */
    unsigned weight_bytes;
    unsigned result_length; /* back: positions of d_x */
    unsigned source_pairs;  /* back: pooled positions */
};

/* Weights in the lanes' order. mma: one uint4 a (step, 16 columns, lane): the two words of B of two
 * n-tiles. fp32: one float4 a (row, 16 columns, place): the lane's columns of two n-tiles. back:
 * the matrix is (taps from the last, filters) by channels. */
template <affect_precision precision, bool back>
__global__ void pack_kernel(uint4 *to, const float *kernel, unsigned in, unsigned out) {
    auto weight = [=](unsigned row, unsigned column) {
        unsigned tap = row / in, from = row % in;
        if (back) return kernel[((taps - 1 - tap) * out + column) * in + from];
        return kernel[row * out + column];
    };
    unsigned wide = out / 16;
    unsigned n = taps * in * out * operand<precision>::bytes / 16;
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        if constexpr (precision == AFFECT_PRECISION_FP32) {
            unsigned place = i % 4, column = i / 4 % wide * 16 + 2 * place, row = i / 4 / wide;
            to[i] = make_uint4(
                __float_as_uint(weight(row, column)), __float_as_uint(weight(row, column + 1)),
                __float_as_uint(weight(row, column + 8)), __float_as_uint(weight(row, column + 9)));
        } else {
            unsigned lane = i % 32, group = lane / 4, place = lane % 4;
            unsigned column = i / 32 % wide * 16 + group;
            unsigned row = i / 32 / wide * operand<precision>::step;
            auto word = [=](unsigned half, unsigned c) {
                if constexpr (precision == AFFECT_PRECISION_BF16) {
                    unsigned r = row + 2 * place + 8 * half;
                    return affect_pack_bf16(weight(r, c), weight(r + 1, c));
                } else {
                    return affect_to_tf32(weight(row + place + 4 * half, c));
                }
            };
            to[i] = make_uint4(word(0, column), word(1, column), word(0, column + 8),
                               word(1, column + 8));
        }
    }
}

__device__ __forceinline__ unsigned row_of(const window_shape &s, unsigned item, unsigned at) {
    return ((at & 1) * s.items + item) * s.half + (at >> 1);
}

/* x of the tile's items; zeros outside them. */
template <affect_precision precision>
__device__ void stage_x(unsigned char *tile, const float *x, size_t first, const window_shape &s) {
    staging by = stage_by(s.in / 4);
#pragma unroll 4
    for (unsigned r = by.first; r < s.items * 2 * s.half; r += by.step) {
        unsigned item = r / (2 * s.half), at = r % (2 * s.half), l = at - s.pad;
        float4 v = make_float4(0, 0, 0, 0);
        if (first + item < s.n && l < s.length)
            v = reinterpret_cast<const float4 *>(
                x)[((first + item) * s.length + l) * (s.in / 4) + by.quad];
        operand<precision>::store(
            tile + row_of(s, item, at) * s.stride + by.quad * 4 * operand<precision>::bytes, v);
    }
}

/* d of the tile's items before pooling. An item: its pairs, then the rows that stay zero. */
template <affect_precision precision>
__device__ void stage_d(unsigned char *tile, const float *d_y, const float *y,
                        const uint32_t *switches, size_t first, const window_shape &s) {
    staging by = stage_by(s.in / 4);
    unsigned rows = 2 * s.half - s.source_pairs;
    unsigned column = by.quad * 4 * operand<precision>::bytes;
#pragma unroll 2
    for (unsigned r = by.first; r < s.items * rows; r += by.step) {
        unsigned item = r / rows, at = r % rows;
        if (at < s.source_pairs) {
            pair_gradient d = {};
            if (first + item < s.n)
                d = unpool(d_y, y, switches, (first + item) * s.source_pairs + at, s.in, by.quad);
            unsigned l = 2 * at + s.pad;
            operand<precision>::store(tile + row_of(s, item, l) * s.stride + column, d.first);
            operand<precision>::store(tile + row_of(s, item, l + 1) * s.stride + column, d.second);
        } else {
            unsigned l = at - s.source_pairs;
            if (l >= s.pad) l += 2 * s.source_pairs;
            operand<precision>::store(tile + row_of(s, item, l) * s.stride + column,
                                      make_float4(0, 0, 0, 0));
        }
    }
}

/* The tile's row of a pair's even position; the tile's first where there is no such pair. */
__device__ __forceinline__ unsigned pair_row(const window_shape &s, unsigned pair) {
    return pair < s.items * s.pairs ? pair / s.pairs * s.half + pair % s.pairs : 0;
}

/* sums += the unit's product. weights: the unit's columns. */
template <affect_precision precision, int tiles>
__device__ __forceinline__ void multiply_unit(float sums[2][tiles][4], const unsigned char *tile,
                                              const uint4 *weights, unsigned pair,
                                              const window_shape &s) {
    unsigned lane = threadIdx.x % 32, wide = s.out / 16;
    unsigned plane = s.items * s.half;
    if constexpr (precision == AFFECT_PRECISION_FP32) {
        unsigned row[2] = {pair_row(s, pair + lane / 4), pair_row(s, pair + 8 + lane / 4)};
        const uint4 *b = weights + lane % 4;
        for (unsigned tap = 0; tap < taps; tap++) {
            const unsigned char *at[2][2];
            for (unsigned which = 0; which < 2; which++) {
                unsigned shift = tap + which;
                for (unsigned m = 0; m < 2; m++)
                    at[m][which] = tile + ((shift & 1) * plane + (shift >> 1) + row[m]) * s.stride;
            }
            for (unsigned c = 0; c < s.in; c += 4) {
                float x[4][4];
#pragma unroll
                for (unsigned i = 0; i < 4; i++) {
                    float4 v = *reinterpret_cast<const float4 *>(at[i / 2][i % 2] + c * 4);
                    x[i][0] = v.x, x[i][1] = v.y, x[i][2] = v.z, x[i][3] = v.w;
                }
#pragma unroll
                for (unsigned e = 0; e < 4; e++, b += wide * 4)
#pragma unroll
                    for (unsigned j = 0; j < tiles; j += 2) {
                        float4 w = *reinterpret_cast<const float4 *>(b + j * 2);
#pragma unroll
                        for (unsigned i = 0; i < 4; i++) {
                            float *left = sums[i / 2][j] + i % 2 * 2;
                            float *right = sums[i / 2][j + 1] + i % 2 * 2;
                            left[0] = fmaf(x[i][e], w.x, left[0]);
                            left[1] = fmaf(x[i][e], w.y, left[1]);
                            right[0] = fmaf(x[i][e], w.z, right[0]);
                            right[1] = fmaf(x[i][e], w.w, right[1]);
                        }
                    }
            }
        }
    } else {
        unsigned which = lane / 8 % 2, row_bytes = s.in * operand<precision>::bytes;
        const unsigned char *rows[2] = {
            tile + pair_row(s, pair + lane % 8) * s.stride + lane / 16 * 16,
            tile + pair_row(s, pair + 8 + lane % 8) * s.stride + lane / 16 * 16};
        const uint4 *b = weights + lane;
        for (unsigned tap = 0; tap < taps; tap++) {
            unsigned shift = tap + which;
            unsigned offset = ((shift & 1) * plane + (shift >> 1)) * s.stride;
            for (unsigned c = 0; c < row_bytes; c += 32, b += wide * 32) {
                uint32_t a[2][4];
                affect_ldmatrix(a[0], rows[0] + offset + c);
                affect_ldmatrix(a[1], rows[1] + offset + c);
#pragma unroll
                for (unsigned j = 0; j < tiles; j += 2) {
                    uint4 w = b[j * 16];
#pragma unroll
                    for (unsigned m = 0; m < 2; m++) {
                        operand<precision>::multiply(sums[m][j], a[m], w.x, w.y);
                        operand<precision>::multiply(sums[m][j + 1], a[m], w.z, w.w);
                    }
                }
            }
        }
    }
}

/* y and switches of a unit; column: its first. */
template <int tiles>
__device__ __forceinline__ void
write_pairs(float *y, uint32_t *switches, const float sums[2][tiles][4], const float *bias,
            size_t first, unsigned pair, unsigned column, const window_shape &s) {
    unsigned lane = threadIdx.x % 32, group = lane / 4, place = lane % 4;
#pragma unroll
    for (unsigned m = 0; m < 2; m++) {
        unsigned at = pair + m * 8 + group, bits[2] = {0, 0};
        size_t row = first * s.pairs + at;
        bool inside = at < s.items * s.pairs && row < s.n * s.pairs;
#pragma unroll
        for (unsigned j = 0; j < tiles; j++) {
            unsigned f = column + j * 8 + 2 * place;
            float largest[2];
#pragma unroll
            for (unsigned e = 0; e < 2; e++) {
                float one = sums[m][j][e], two = sums[m][j][e + 2];
                float v = (two > one ? two : one) + (bias ? bias[f + e] : 0);
                largest[e] = v > 0 ? v : 0;
                bits[j / 4] |= (two > one ? 1u : 0u) << (j % 4 * 8 + 2 * place + e);
            }
            if (inside)
                *reinterpret_cast<float2 *>(y + row * s.out + f) =
                    make_float2(largest[0], largest[1]);
        }
        if (!switches) continue;
            /* A row's bits are 8 tiles of them in the unit: tiles bytes, gathered from 4 lanes. */
#pragma unroll
        for (unsigned w = 0; w < (tiles + 3) / 4; w++) {
            bits[w] |= __shfl_xor_sync(0xffffffffu, bits[w], 1);
            bits[w] |= __shfl_xor_sync(0xffffffffu, bits[w], 2);
            uint32_t *word = switches + row * ((s.out + 31) / 32) + column / 32 + w;
            if (!inside || place) continue;
            if (tiles >= 4)
                *word = bits[w];
            else
                reinterpret_cast<uint16_t *>(word)[column / 16 % 2] =
                    static_cast<uint16_t>(bits[w]);
        }
    }
}

template <int tiles>
__device__ __forceinline__ void write_d_x(float *d_x, const float sums[2][tiles][4], size_t first,
                                          unsigned pair, unsigned column, const window_shape &s) {
    unsigned lane = threadIdx.x % 32, group = lane / 4, place = lane % 4;
#pragma unroll
    for (unsigned m = 0; m < 2; m++) {
        unsigned at = pair + m * 8 + group, item = at / s.pairs, l = at % s.pairs * 2;
        if (item >= s.items || first + item >= s.n) continue;
        float *to = d_x + ((first + item) * s.result_length + l) * s.out + column + 2 * place;
#pragma unroll
        for (unsigned j = 0; j < tiles; j++) {
            *reinterpret_cast<float2 *>(to + j * 8) = make_float2(sums[m][j][0], sums[m][j][1]);
            if (l + 1 < s.result_length)
                *reinterpret_cast<float2 *>(to + s.out + j * 8) =
                    make_float2(sums[m][j][2], sums[m][j][3]);
        }
    }
}

/* Forward: to = y, from = x, switches written (or NULL). Back: to = d_x, from = d_y, with y and
 * switches read. Shared memory: weights, then the tile. */
template <affect_precision precision, int tiles, bool back>
__global__ void __launch_bounds__(window_threads, 2)
    window_kernel(float *to, uint32_t *switches, const uint4 *weights, const float *from,
                  const float *y, const float *bias, window_shape s) {
    unsigned char *shared = affect_cuda_shared();
    unsigned char *tile = shared + s.weight_bytes;
    uint4 *kept = reinterpret_cast<uint4 *>(shared);
    for (unsigned i = threadIdx.x; i < s.weight_bytes / 16; i += blockDim.x)
        affect_copy_async(kept + i, weights + i);
    affect_copy_async_commit();
    unsigned units = (s.items * s.pairs + 15) / 16, groups = s.out / (8 * tiles);
    unsigned warp = threadIdx.x / 32, warps = blockDim.x / 32;
    for (size_t first = blockIdx.x * static_cast<size_t>(s.items); first < s.n;
         first += gridDim.x * static_cast<size_t>(s.items)) {
        __syncthreads();
        if (back)
            stage_d<precision>(tile, from, y, switches, first, s);
        else
            stage_x<precision>(tile, from, first, s);
        affect_copy_async_wait<0>();
        __syncthreads();
        for (unsigned unit = warp; unit < units * groups; unit += warps) {
            unsigned pair = unit / groups * 16, column = unit % groups * 8 * tiles;
            unsigned per_16 = precision == AFFECT_PRECISION_FP32 ? 4 : 32;
            float sums[2][tiles][4] = {};
            multiply_unit<precision, tiles>(sums, tile, kept + column / 16 * per_16, pair, s);
            if (back)
                write_d_x<tiles>(to, sums, first, pair, column, s);
            else
                write_pairs<tiles>(to, switches, sums, bias, first, pair, column, s);
        }
    }
}

} // namespace affect_conv

#endif
