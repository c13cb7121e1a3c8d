/* Instructions that CUDA C has no name for, one function each. tests/cuda_host has a file of the
 * same name with the same functions for the emulation; this one is for devices.
 *
 * Fragments are those of the PTX manual ("Matrix fragments for mma"); lane = 4 group + place,
 * group = lane / 4 (0..7), place = lane % 4:
 *   m16n8k16, 16-bit: a[0] = A[group][2 place, +1], a[1] = A[group + 8][2 place, +1],
 *     a[2], a[3] = the same at columns + 8; b0 = B[2 place, +1][group], b1 the same at rows + 8;
 *   m16n8k8, tf32: a[0] = A[group][place], a[1] = A[group + 8][place], a[2], a[3] the same at
 *     columns + 4; b0 = B[place][group], b1 = B[place + 4][group];
 *   both: c[0], c[1] = C[group][2 place, +1], c[2], c[3] = C[group + 8][2 place, +1]. */
#ifndef AFFECT_CUDA_CUDA_PTX_CUH
#define AFFECT_CUDA_CUDA_PTX_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <stdint.h>

/* The block's dynamic shared memory, 128-byte aligned. */
__device__ __forceinline__ unsigned char *affect_cuda_shared() {
    extern __shared__ __align__(128) unsigned char affect_shared_memory[];
    return affect_shared_memory;
}

/* c += a b for a warp: A (16, 16) and B (16, 8) bf16, C (16, 8) fp32. sm_80. */
__device__ __forceinline__ void affect_mma_bf16(float c[4], const uint32_t a[4], uint32_t b0,
                                                uint32_t b1) {
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

/* The same for A (16, 8) and B (8, 8) of tf32 numbers (affect_to_tf32). sm_80. */
__device__ __forceinline__ void affect_mma_tf32(float c[4], const uint32_t a[4], uint32_t b0,
                                                uint32_t b1) {
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

/* x rounded to 10 bits of mantissa, to nearest, ties away from zero. sm_80. */
__device__ __forceinline__ uint32_t affect_to_tf32(float x) {
    uint32_t y = 0;
#if __CUDA_ARCH__ >= 800
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
#endif
    return y;
}

/* Two floats as bf16, to nearest even; `low` is the lower half: the earlier in memory. */
__device__ __forceinline__ uint32_t affect_pack_bf16(float low, float high) {
    __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<uint32_t *>(&pair);
}
__device__ __forceinline__ float2 affect_unpack_bf16(uint32_t pair) {
    return make_float2(__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u));
}

/* The same as IEEE half: 11 bits of mantissa for numbers from 2^-14 to 65504. */
__device__ __forceinline__ uint32_t affect_pack_half(float low, float high) {
    __half2 pair = __floats2half2_rn(low, high);
    return *reinterpret_cast<uint32_t *>(&pair);
}
__device__ __forceinline__ float2 affect_unpack_half(uint32_t pair) {
    return __half22float2(*reinterpret_cast<__half2 *>(&pair));
}

/* Four 8x8 matrices of 16-bit numbers from shared memory: lane 8 m + r gives the address of row r
 * of matrix m (16 bytes, aligned); r[m] becomes this lane's pair of matrix m: row lane / 4, columns
 * 2 (lane % 4) and the next. With _transposed: the pair of the transposed matrix. */
__device__ __forceinline__ void affect_ldmatrix(uint32_t r[4], const void *row) {
    uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}
__device__ __forceinline__ void affect_ldmatrix_transposed(uint32_t r[4], const void *row) {
    uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}

/* Starts a copy of 16 bytes from global to shared memory (both 16-byte aligned) that waits for
 * nobody; commit closes a group of them, wait<n> waits until at most n groups of this thread are
 * under way (then a barrier, before other threads' copies are read). A plain copy before sm_80. */
__device__ __forceinline__ void affect_copy_async(void *shared, const void *global) {
#if __CUDA_ARCH__ >= 800
    uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(global)
                 : "memory");
#else
    *static_cast<uint4 *>(shared) = *static_cast<const uint4 *>(global);
#endif
}
__device__ __forceinline__ void affect_copy_async_commit() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
template <int n> __device__ __forceinline__ void affect_copy_async_wait() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory");
#endif
}

/* tanh within 2^-11 relative, one instruction (sm_75); sigmoid by it. For bf16 only. */
__device__ __forceinline__ float affect_tanh_fast(float x) {
    float y;
    asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
__device__ __forceinline__ float affect_sigmoid_fast(float x) {
    return fmaf(affect_tanh_fast(0.5f * x), 0.5f, 0.5f);
}

#endif
