/* The emulation itself: barriers, shuffles, fragments, launches in a stream and in a graph. */
#include "engine/device/cuda/cuda_ptx.cuh"

#include <cublas_v2.h>

#include <cstdio>
#include <vector>

static int failures;
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            failures++;                                                                            \
        }                                                                                          \
    } while (0)

template <typename... P, typename... A>
static void launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
                   A... arguments) {
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared;
    config.stream = stream;
    CHECK(cudaLaunchKernelEx(&config, kernel, arguments...) == cudaSuccess);
}

/* Every block reverses its numbers through shared memory. */
static void reverse(int *x) {
    int *shared = reinterpret_cast<int *>(affect_cuda_shared());
    int n = static_cast<int>(blockDim.x), i = static_cast<int>(threadIdx.x);
    int *mine = x + blockIdx.x * blockDim.x;
    shared[i] = mine[i];
    __syncthreads();
    mine[i] = shared[n - 1 - i];
}

static void test_barrier() {
    std::vector<int> x(3 * 96);
    for (size_t i = 0; i < x.size(); i++) x[i] = static_cast<int>(i);
    launch(reverse, 3, 96, 96 * sizeof(int), nullptr, x.data());
    for (int b = 0; b < 3; b++)
        for (int i = 0; i < 96; i++) CHECK(x[b * 96 + i] == b * 96 + 95 - i);
}

static void sum_warp(float *sums) {
    float value = static_cast<float>(threadIdx.x + 1);
    for (int bits = 16; bits; bits /= 2) value += __shfl_xor_sync(0xffffffffu, value, bits);
    unsigned even = __ballot_sync(0xffffffffu, threadIdx.x % 2 == 0);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = even == 0x55555555u ? value : -1;
}

static void test_warp() {
    float sums[2];
    launch(sum_warp, 1, 64, 0, nullptr, sums);
    CHECK(sums[0] == 32 * 33 / 2);
    CHECK(sums[1] == 64 * 65 / 2 - 32 * 33 / 2);
}

/* c = a b of one tile, a from shared memory by ldmatrix as a device has to. */
static void tile_bf16(float *c, const float *a, const float *b) {
    __nv_bfloat16 *tile = reinterpret_cast<__nv_bfloat16 *>(affect_cuda_shared());
    int lane = static_cast<int>(threadIdx.x), group = lane / 4, place = lane % 4;
    for (int i = lane; i < 256; i += 32) tile[i] = __float2bfloat16(a[i]);
    __syncwarp();
    uint32_t fragment[4];
    affect_ldmatrix(fragment, tile + (lane % 16) * 16 + lane / 16 * 8);
    float sum[4] = {};
    const float *column = b + group;
    affect_mma_bf16(sum, fragment,
                    affect_pack_bf16(column[8 * 2 * place], column[8 * (2 * place + 1)]),
                    affect_pack_bf16(column[8 * (2 * place + 8)], column[8 * (2 * place + 9)]));
    for (int e = 0; e < 4; e++) c[(group + e / 2 * 8) * 8 + 2 * place + e % 2] = sum[e];
}

static void tile_tf32(float *c, const float *a, const float *b) {
    int lane = static_cast<int>(threadIdx.x), group = lane / 4, place = lane % 4;
    float sum[4] = {};
    uint32_t fragment[4];
    for (int e = 0; e < 4; e++)
        fragment[e] = affect_to_tf32(a[(group + e % 2 * 8) * 8 + place + e / 2 * 4]);
    affect_mma_tf32(sum, fragment, affect_to_tf32(b[place * 8 + group]),
                    affect_to_tf32(b[(place + 4) * 8 + group]));
    for (int e = 0; e < 4; e++) c[(group + e / 2 * 8) * 8 + 2 * place + e % 2] = sum[e];
}

static void test_product(void (*kernel)(float *, const float *, const float *), int depth) {
    std::vector<float> a(16 * depth), b(depth * 8), c(128);
    for (size_t i = 0; i < a.size(); i++) a[i] = static_cast<float>((i * 7) % 13) - 6;
    for (size_t i = 0; i < b.size(); i++) b[i] = static_cast<float>((i * 5) % 11) - 5;
    launch(kernel, 1, 32, 512, nullptr, c.data(), a.data(), b.data());
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 8; j++) {
            float sum = 0;
            for (int k = 0; k < depth; k++) sum += a[i * depth + k] * b[k * 8 + j];
            CHECK(c[i * 8 + j] == sum);
        }
}

static void add(float *x, float y) {
    x[threadIdx.x] += y;
}

/* Captured work waits for its graph; an update brings new arguments. */
static void test_graph() {
    cudaStream_t stream;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    cudaGraphExecUpdateResultInfo info;
    float x[32] = {};
    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
    launch(add, 1, 32, 0, stream, x, 1.0f);
    cudaStreamEndCapture(stream, &graph);
    CHECK(x[5] == 0);
    cudaGraphInstantiate(&exec, graph);
    cudaGraphDestroy(graph);
    cudaGraphLaunch(exec, stream);
    CHECK(x[5] == 1);
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
    launch(add, 1, 32, 0, stream, x, 10.0f);
    cudaStreamEndCapture(stream, &graph);
    CHECK(cudaGraphExecUpdate(exec, graph, &info) == cudaSuccess);
    cudaGraphLaunch(exec, stream);
    CHECK(x[5] == 11);
    cudaGraphDestroy(graph);
    cudaGraphExecDestroy(exec);
    cudaStreamDestroy(stream);
}

/* Column-major, with a transposed factor. */
static void test_cublas() {
    float a[6] = {1, 2, 3, 4, 5, 6}, b[6] = {1, 0, 2, 1, 1, 3}, c[4] = {1, 1, 1, 1};
    float one = 1, two = 2;
    cublasHandle_t handle;
    cublasCreate(&handle);
    cublasGemmEx(handle, CUBLAS_OP_T, CUBLAS_OP_N, 2, 2, 3, &two, a, CUDA_R_32F, 3, b, CUDA_R_32F,
                 3, &one, c, CUDA_R_32F, 2, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
    CHECK(c[0] == 15 && c[1] == 33 && c[2] == 25 && c[3] == 55);
    cublasDestroy(handle);
}

/* Halves: exact values, rounding to even, steps of 2^-24 below 2^-14, more than the largest. */
static void test_half() {
    CHECK(affect_pack_half(1.0f, -2.0f) == 0xc0003c00u);
    CHECK(affect_pack_half(1.0f + 0x1p-11f, 1.0f + 3 * 0x1p-11f) == 0x3c023c00u);
    CHECK(affect_pack_half(0x1p-24f, 0x1.8p-15f) == 0x03000001u);
    CHECK(affect_pack_half(65519.0f, 65520.0f) == 0x7c007bffu);
    for (uint32_t bits = 0; bits < 0x7c00u; bits++) {
        float2 pair = affect_unpack_half(bits | (bits | 0x8000u) << 16);
        CHECK(affect_pack_half(pair.x, pair.y) == (bits | (bits | 0x8000u) << 16));
    }
}

int main() {
    test_half();
    test_barrier();
    test_warp();
    test_product(tile_bf16, 16);
    test_product(tile_tf32, 8);
    test_graph();
    test_cublas();
    if (!failures) puts("ok");
    return failures != 0;
}
