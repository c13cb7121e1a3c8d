/* How the fused convolutions keep numbers in shared memory, by precision: bf16, tf32 (rounded
 * once, on the way in) or fp32. A step of a product is 32 bytes of a row: 16 or 8 numbers. */
#ifndef AFFECT_CUDA_CUDA_CONV_OPERAND_CUH
#define AFFECT_CUDA_CUDA_CONV_OPERAND_CUH

#include "engine/device/cuda/cuda_backend.cuh"
#include "engine/device/cuda/cuda_ptx.cuh"

namespace affect_conv {

const unsigned taps = 3; /* the kernel's size */

template <affect_precision precision> struct operand {
    static constexpr unsigned bytes = precision == AFFECT_PRECISION_BF16 ? 2 : 4;
    static constexpr unsigned step = 32 / bytes;

    static __device__ __forceinline__ void store(unsigned char *to, float4 x) {
        if constexpr (precision == AFFECT_PRECISION_BF16)
            *reinterpret_cast<uint2 *>(to) =
                make_uint2(affect_pack_bf16(x.x, x.y), affect_pack_bf16(x.z, x.w));
        else if constexpr (precision == AFFECT_PRECISION_TF32)
            *reinterpret_cast<uint4 *>(to) = make_uint4(affect_to_tf32(x.x), affect_to_tf32(x.y),
                                                        affect_to_tf32(x.z), affect_to_tf32(x.w));
        else
            *reinterpret_cast<float4 *>(to) = x;
    }
    static __device__ __forceinline__ void multiply(float c[4], const uint32_t a[4], uint32_t b0,
                                                    uint32_t b1) {
        if constexpr (precision == AFFECT_PRECISION_BF16)
            affect_mma_bf16(c, a, b0, b1);
        else
            affect_mma_tf32(c, a, b0, b1);
    }
};

/* Four filters of a pair: the gradient that passed relu, and where it goes. */
struct pair_gradient {
    float4 first, second;
};

/* at: of the pair's row in rows of `filters`; quad: of four filters. */
__device__ __forceinline__ pair_gradient unpool(const float *d_y, const float *y,
                                                const uint32_t *switches, size_t row,
                                                unsigned filters, unsigned quad) {
    size_t at = row * (filters / 4) + quad;
    float4 d = reinterpret_cast<const float4 *>(d_y)[at];
    float4 v = reinterpret_cast<const float4 *>(y)[at];
    unsigned bits = switches[row * ((filters + 31) / 32) + quad / 8] >> quad % 8 * 4;
    d = make_float4(v.x > 0 ? d.x : 0, v.y > 0 ? d.y : 0, v.z > 0 ? d.z : 0, v.w > 0 ? d.w : 0);
    return {
        make_float4(bits & 1 ? 0 : d.x, bits & 2 ? 0 : d.y, bits & 4 ? 0 : d.z, bits & 8 ? 0 : d.w),
        make_float4(bits & 1 ? d.x : 0, bits & 2 ? d.y : 0, bits & 4 ? d.z : 0,
                    bits & 8 ? d.w : 0)};
}

/* This thread's four columns of rows of 4 quads numbers, and its rows among `threads`. */
struct staging {
    unsigned quad, first, step;
};
__device__ __forceinline__ staging stage_by(unsigned quads) {
    unsigned step = blockDim.x / quads, first = threadIdx.x / quads;
    return {threadIdx.x % quads, first < step ? first : 0xffffffffu, step};
}

} // namespace affect_conv

#endif
