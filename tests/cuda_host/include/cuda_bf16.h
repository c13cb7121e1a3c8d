/* bf16 numbers on the host: what engine/cuda uses of NVIDIA's header. */
#ifndef AFFECT_CUDA_HOST_CUDA_BF16_H
#define AFFECT_CUDA_HOST_CUDA_BF16_H

#include <cuda_runtime.h>

struct __nv_bfloat16 {
    uint16_t bits;
};
struct alignas(4) __nv_bfloat162 {
    __nv_bfloat16 x, y;
};

/* To nearest even. */
inline uint16_t affect_host_bf16_bits(float value) {
    uint32_t bits = __float_as_uint(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
    return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
inline __nv_bfloat16 __float2bfloat16(float x) {
    return {affect_host_bf16_bits(x)};
}
inline __nv_bfloat16 __float2bfloat16_rn(float x) {
    return {affect_host_bf16_bits(x)};
}
inline float __bfloat162float(__nv_bfloat16 x) {
    return __uint_as_float(static_cast<uint32_t>(x.bits) << 16);
}
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) {
    return {__float2bfloat16(x), __float2bfloat16(y)};
}
inline float2 __bfloat1622float2(__nv_bfloat162 pair) {
    return make_float2(__bfloat162float(pair.x), __bfloat162float(pair.y));
}

#endif
