/* CUDA on the host: enough of the runtime's interface to run engine/cuda without a device.
 *
 * A kernel's threads are fibers (emulation.h). Device memory is host memory, filled with NaNs when
 * it is allocated, each allocation apart so that AddressSanitizer sees where it ends. A stream runs
 * what it is given at once, in order; while it is captured it keeps it in a graph instead. Only
 * what engine/cuda calls is here. AFFECT_CUDA_HOST_FAULT injects failures (emulation.cpp). */
#ifndef AFFECT_CUDA_HOST_CUDA_RUNTIME_H
#define AFFECT_CUDA_HOST_CUDA_RUNTIME_H

#include "emulation.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>
#include <utility>

/* ---- The language ---- */

#define __global__
#define __device__
#define __host__
#define __constant__    static
#define __forceinline__ inline
#define __noinline__
#define __restrict__
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)
#define __shared__    static thread_local /* a block runs on one thread of the host */
#define __CUDA_ARCH__ 900

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};
#define AFFECT_VECTORS(type, name)                                                                 \
    struct alignas(2 * sizeof(type)) name##2 {                                                     \
        type x, y;                                                                                 \
    };                                                                                             \
    struct alignas(4 * sizeof(type) > 16 ? 16 : 4 * sizeof(type)) name##4 {                        \
        type x, y, z, w;                                                                           \
    };                                                                                             \
    inline name##2 make_##name##2(type x, type y) {                                                \
        return {x, y};                                                                             \
    }                                                                                              \
    inline name##4 make_##name##4(type x, type y, type z, type w) {                                \
        return {x, y, z, w};                                                                       \
    }
AFFECT_VECTORS(float, float)
AFFECT_VECTORS(int, int)
AFFECT_VECTORS(unsigned, uint)
AFFECT_VECTORS(unsigned char, uchar)
AFFECT_VECTORS(double, double)
#undef AFFECT_VECTORS

inline thread_local affect_host::index3 threadIdx, blockIdx, blockDim, gridDim; /* of the fiber */
constexpr int warpSize = 32;

inline void __syncthreads() {
    affect_host::block_barrier(0, 0);
}
inline int __syncthreads_or(int value) {
    return affect_host::block_any(value);
}
inline int __syncthreads_count(int value) {
    return affect_host::block_count(value);
}
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __syncwarp(unsigned mask = 0xffffffffu) {
    affect_host::warp_barrier(mask);
}

template <typename T> T affect_host_shuffle(unsigned mask, T value, int from, int width) {
    static_assert(sizeof(T) <= 16 && std::is_trivially_copyable<T>::value, "shuffled numbers");
    int lane = affect_host::lane(), base = lane / width * width;
    return affect_host::exchange<T>(mask, value, from < base || from >= base + width ? lane : from);
}
template <typename T> T __shfl_sync(unsigned mask, T value, int from, int width = 32) {
    int base = affect_host::lane() / width * width;
    return affect_host_shuffle(mask, value, base + (from & (width - 1)), width);
}
template <typename T> T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
    return affect_host_shuffle(mask, value, affect_host::lane() ^ bits, width);
}
template <typename T> T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32) {
    return affect_host_shuffle(mask, value, affect_host::lane() + static_cast<int>(by), width);
}
template <typename T> T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32) {
    return affect_host_shuffle(mask, value, affect_host::lane() - static_cast<int>(by), width);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
    return affect_host::ballot(mask, predicate != 0);
}
inline int __any_sync(unsigned mask, int predicate) {
    return affect_host::ballot(mask, predicate != 0) != 0;
}
inline int __all_sync(unsigned mask, int predicate) {
    return affect_host::ballot(mask, predicate == 0) == 0;
}

inline int __popc(unsigned x) {
    return __builtin_popcount(x);
}
inline int __ffs(int x) {
    return __builtin_ffs(x);
}
inline int __clz(int x) {
    return x ? __builtin_clz(static_cast<unsigned>(x)) : 32;
}
inline unsigned __umulhi(unsigned a, unsigned b) {
    return static_cast<unsigned>((static_cast<uint64_t>(a) * b) >> 32);
}
inline float __uint_as_float(unsigned x) {
    float y;
    std::memcpy(&y, &x, sizeof y);
    return y;
}
inline unsigned __float_as_uint(float x) {
    unsigned y;
    std::memcpy(&y, &x, sizeof y);
    return y;
}
inline float __int_as_float(int x) {
    return __uint_as_float(static_cast<unsigned>(x));
}
inline int __float_as_int(float x) {
    return static_cast<int>(__float_as_uint(x));
}
template <typename T> T __ldg(const T *from) {
    return *from;
}
template <typename T> T __ldcs(const T *from) {
    return *from;
}
template <typename T> T __ldcg(const T *from) {
    return *from;
}
template <typename T> void __stcs(T *to, T value) {
    *to = value;
}
template <typename T> void __stcg(T *to, T value) {
    *to = value;
}
inline float __fmaf_rn(float a, float b, float c) {
    return std::fmaf(a, b, c);
}
inline float __fadd_rn(float a, float b) {
    return a + b;
}
inline float __fmul_rn(float a, float b) {
    return a * b;
}
inline float __fdividef(float a, float b) {
    return a / b;
}
inline float __expf(float x) {
    return std::exp(x);
}
inline float __logf(float x) {
    return std::log(x);
}
inline float rsqrtf(float x) {
    return 1.0f / std::sqrt(x);
}
using std::max; /* of equal types, as CUDA's */
using std::min;
inline float max(float a, float b) {
    return std::fmax(a, b);
}
inline float min(float a, float b) {
    return std::fmin(a, b);
}

/* ---- The runtime ---- */

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInitializationError = 3,
    cudaErrorStubLibrary = 34,
    cudaErrorInsufficientDriver = 35,
    cudaErrorDevicesUnavailable = 46,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101,
    cudaErrorNoKernelImageForDevice = 209,
    cudaErrorUnsupportedPtxVersion = 222,
    cudaErrorOperatingSystem = 304,
    cudaErrorIllegalAddress = 700,
    cudaErrorLaunchFailure = 719,
    cudaErrorNotPermitted = 800,
    cudaErrorSystemNotReady = 802,
    cudaErrorSystemDriverMismatch = 803,
    cudaErrorCompatNotSupportedOnDevice = 804,
    cudaErrorStreamCaptureUnsupported = 900,
    cudaErrorStreamCaptureInvalidated = 901,
    cudaErrorStreamCaptureMerge = 902,
    cudaErrorStreamCaptureUnjoined = 904,
    cudaErrorStreamCaptureIsolation = 905,
    cudaErrorCapturedEvent = 907,
    cudaErrorGraphExecUpdateFailure = 910,
};
const char *cudaGetErrorName(cudaError_t code);
const char *cudaGetErrorString(cudaError_t code);
cudaError_t cudaGetLastError();

enum cudaDeviceAttr {
    cudaDevAttrMaxSharedMemoryPerBlockOptin,
    cudaDevAttrMultiProcessorCount,
    cudaDevAttrComputeCapabilityMajor,
    cudaDevAttrComputeCapabilityMinor,
};
struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem;
    size_t sharedMemPerBlockOptin;
    int major, minor, multiProcessorCount;
};
cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int *device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device);
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device);
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaRuntimeGetVersion(int *version);
cudaError_t cudaMemGetInfo(size_t *n_free, size_t *n_total);

typedef struct affect_host_stream *cudaStream_t;
typedef struct affect_host_graph *cudaGraph_t;
typedef struct affect_host_graph *cudaGraphExec_t;
typedef struct affect_host_event *cudaEvent_t;

cudaError_t cudaMalloc(void **memory, size_t n_bytes);
cudaError_t cudaFree(void *memory);
cudaError_t cudaMallocHost(void **memory, size_t n_bytes);
cudaError_t cudaFreeHost(void *memory);
enum cudaMemcpyKind {
    cudaMemcpyHostToHost,
    cudaMemcpyHostToDevice,
    cudaMemcpyDeviceToHost,
    cudaMemcpyDeviceToDevice,
    cudaMemcpyDefault
};
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n_bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemsetAsync(void *memory, int value, size_t n_bytes, cudaStream_t stream);

enum { cudaStreamNonBlocking = 1 };
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
enum { cudaEventDisableTiming = 2 };
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags);
cudaError_t cudaEventCreate(cudaEvent_t *event);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t from, cudaEvent_t to);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);

enum cudaStreamCaptureMode {
    cudaStreamCaptureModeGlobal,
    cudaStreamCaptureModeThreadLocal,
    cudaStreamCaptureModeRelaxed
};
enum cudaGraphExecUpdateResult {
    cudaGraphExecUpdateSuccess,
    cudaGraphExecUpdateError,
    cudaGraphExecUpdateErrorTopologyChanged
};
struct cudaGraphExecUpdateResultInfo {
    cudaGraphExecUpdateResult result;
};
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph,
                                 unsigned long long flags = 0);
cudaError_t cudaGraphExecUpdate(cudaGraphExec_t exec, cudaGraph_t graph,
                                cudaGraphExecUpdateResultInfo *info);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
struct cudaFuncAttributes {
    int binaryVersion;
};
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *attributes, const void *kernel);
cudaError_t cudaFuncSetAttribute(const void *kernel, cudaFuncAttribute attribute, int value);

struct cudaLaunchConfig_t {
    dim3 gridDim, blockDim;
    size_t dynamicSmemBytes = 0;
    cudaStream_t stream = nullptr;
};

/* Gives a stream something to do: now, or to the graph that it captures. */
cudaError_t affect_host_enqueue(cudaStream_t stream, std::function<void()> work);
cudaError_t affect_host_check_launch(const cudaLaunchConfig_t &config, const void *kernel);

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t *config, void (*kernel)(Parameters...),
                               Arguments &&...arguments) {
    cudaError_t code = affect_host_check_launch(*config, reinterpret_cast<const void *>(kernel));
    if (code != cudaSuccess) return code;
    affect_host::launch_shape shape = {{config->gridDim.x, config->gridDim.y, config->gridDim.z},
                                       {config->blockDim.x, config->blockDim.y, config->blockDim.z},
                                       config->dynamicSmemBytes};
    std::tuple<std::decay_t<Parameters>...> values(std::forward<Arguments>(arguments)...);
    return affect_host_enqueue(config->stream, [shape, kernel, values] {
        affect_host::run_grid(shape, [&] { std::apply(kernel, values); });
    });
}

#endif
