/* The functions of engine/device/cuda/cuda_ptx.cuh (contracts there) in C++, for the emulation. */
#ifndef AFFECT_CUDA_CUDA_PTX_CUH
#define AFFECT_CUDA_CUDA_PTX_CUH

#include <cuda_bf16.h>
#include <cuda_runtime.h>

inline unsigned char *affect_cuda_shared() {
    return affect_host::shared_memory();
}

inline void affect_mma_bf16(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1) {
    affect_host::product_lane lane = {c, a, {b0, b1}};
    affect_host::collective(0xffffffffu, "mma_bf16", &lane, affect_host::combine_mma_bf16);
}
inline void affect_mma_tf32(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1) {
    affect_host::product_lane lane = {c, a, {b0, b1}};
    affect_host::collective(0xffffffffu, "mma_tf32", &lane, affect_host::combine_mma_tf32);
}
inline uint32_t affect_to_tf32(float x) {
    uint32_t bits = __float_as_uint(x);
    if ((bits & 0x7f800000u) == 0x7f800000u) return bits;
    return (bits + 0x1000u) & 0xffffe000u;
}
inline uint32_t affect_pack_bf16(float low, float high) {
    return affect_host_bf16_bits(low) | static_cast<uint32_t>(affect_host_bf16_bits(high)) << 16;
}
inline float2 affect_unpack_bf16(uint32_t pair) {
    return make_float2(__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u));
}
inline uint32_t affect_host_half_bits(float x) {
    uint32_t bits = __float_as_uint(x), sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
    if (size > 0x7f800000u) return 0x7fff;
    if (size >= 0x477ff000u) return sign | 0x7c00u; /* 65520: more than the largest */
    if (size < 0x38800000u)                         /* 2^-14: in steps of 2^-24 from here on */
        return sign | static_cast<uint32_t>(std::nearbyint(std::fabs(x) * 16777216.0f));
    return sign | (size + 0xfffu + (size >> 13 & 1u) - 0x38000000u) >> 13;
}
inline float affect_host_half_value(uint32_t bits) {
    uint32_t sign = (bits & 0x8000u) << 16, size = bits & 0x7fffu;
    if (size >= 0x7c00u) return __uint_as_float(sign | 0x7f800000u | (size & 0x3ffu) << 13);
    float value = size < 0x400u ? static_cast<float>(size) / 16777216.0f
                                : __uint_as_float((size << 13) + 0x38000000u);
    return sign ? -value : value;
}
inline uint32_t affect_pack_half(float low, float high) {
    return affect_host_half_bits(low) | affect_host_half_bits(high) << 16;
}
inline float2 affect_unpack_half(uint32_t pair) {
    return make_float2(affect_host_half_value(pair & 0xffffu), affect_host_half_value(pair >> 16));
}
inline void affect_ldmatrix(uint32_t r[4], const void *row) {
    affect_host::matrix_lane lane = {r, row};
    affect_host::collective(0xffffffffu, "ldmatrix", &lane, affect_host::combine_ldmatrix);
}
inline void affect_ldmatrix_transposed(uint32_t r[4], const void *row) {
    affect_host::matrix_lane lane = {r, row};
    affect_host::collective(0xffffffffu, "ldmatrix_transposed", &lane,
                            affect_host::combine_ldmatrix_transposed);
}
inline void affect_copy_async(void *shared, const void *global) {
    std::memcpy(shared, global, 16);
}
inline void affect_copy_async_commit() {}
template <int n> void affect_copy_async_wait() {}
inline float affect_tanh_fast(float x) {
    return std::tanh(x);
}
inline float affect_sigmoid_fast(float x) {
    return std::fmaf(affect_tanh_fast(0.5f * x), 0.5f, 0.5f);
}

#endif
