/* General products on the device, through cuBLAS: row-major c = op(a) op(b) is its column-major
 * c^T = op(b)^T op(a)^T. What it may leave undone is done by a kernel: without terms (k = 0) c is
 * beta c. */
#include "engine/device/cuda/cuda_backend.cuh"

static cublasComputeType_t compute_of(affect_precision precision) {
    switch (precision) {
    case AFFECT_PRECISION_TF32:
        return CUBLAS_COMPUTE_32F_FAST_TF32;
    case AFFECT_PRECISION_BF16:
        return CUBLAS_COMPUTE_32F_FAST_16BF;
    default:
        return CUBLAS_COMPUTE_32F;
    }
}

void affect_cuda_product(affect_backend *backend, float *c, const float *a, const float *b,
                         const affect_gemm_shape &s) {
    affect_cuda *cuda = affect_cuda_of(backend);
    if (!affect_cuda_ready(backend) || !s.m || !s.n) return;
    affect_cublas_check(
        backend,
        cublasGemmEx(cuda->cublas, s.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N,
                     s.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N, static_cast<int>(s.n),
                     static_cast<int>(s.m), static_cast<int>(s.k), &s.alpha, b, CUDA_R_32F,
                     static_cast<int>(s.ldb), a, CUDA_R_32F, static_cast<int>(s.lda), &s.beta, c,
                     CUDA_R_32F, static_cast<int>(s.ldc), compute_of(cuda->precision),
                     CUBLAS_GEMM_DEFAULT),
        "product");
    if (affect_cuda_debug) affect_cuda_debug_wait(backend, "product");
}

namespace {

__global__ void scale_kernel(float *c, affect_gemm_shape s, affect_gemm_batch batch) {
    size_t step = static_cast<size_t>(gridDim.x) * blockDim.x, n = s.m * s.n;
    for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < batch.count * n;
         i += step) {
        float *to = c + i / n * batch.stride_c + i % n / s.n * s.ldc + i % s.n;
        *to = s.beta != 0 ? s.beta * *to : 0;
    }
}

void multiply_batch(affect_backend *backend, float *c, const float *a, const float *b,
                    const affect_gemm_shape &s, const affect_gemm_batch &batch) {
    affect_cuda *cuda = affect_cuda_of(backend);
    affect_cublas_check(
        backend,
        cublasGemmStridedBatchedEx(
            cuda->cublas, s.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N,
            s.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N, static_cast<int>(s.n), static_cast<int>(s.m),
            static_cast<int>(s.k), &s.alpha, b, CUDA_R_32F, static_cast<int>(s.ldb),
            static_cast<long long>(batch.stride_b), a, CUDA_R_32F, static_cast<int>(s.lda),
            static_cast<long long>(batch.stride_a), &s.beta, c, CUDA_R_32F, static_cast<int>(s.ldc),
            static_cast<long long>(batch.stride_c), static_cast<int>(batch.count),
            compute_of(cuda->precision), CUBLAS_GEMM_DEFAULT),
        "batched product");
    if (affect_cuda_debug) affect_cuda_debug_wait(backend, "batched product");
}

} // namespace

void affect_cuda_gemm_batched(affect_backend *backend, float *c, const float *a, const float *b,
                              const affect_gemm_shape *shape, const affect_gemm_batch *batch) {
    size_t n = shape->m * shape->n * batch->count;
    if (!affect_cuda_ready(backend) || !n) return;
    if (!shape->k)
        AFFECT_CUDA_LAUNCH(backend, scale_kernel, affect_cuda_blocks(n, 256, 2048), 256, 0, c,
                           *shape, *batch);
    else if (batch->count == 1)
        affect_cuda_product(backend, c, a, b, *shape);
    else
        multiply_batch(backend, c, a, b, *shape, *batch);
}

void affect_cuda_gemm(affect_backend *backend, float *c, const float *a, const float *b,
                      const affect_gemm_shape *shape) {
    const affect_gemm_batch one = {1, 0, 0, 0};
    affect_cuda_gemm_batched(backend, c, a, b, shape, &one);
}

const char *affect_cuda_gemm_library(affect_backend *) {
    return "";
}
