/* The CUDA runtime and cuBLAS on the host; see include/cuda_runtime.h. One device, which pretends
 * to be an sm_90 with 132 multiprocessors, or what AFFECT_CUDA_HOST_DEVICE says:
 * CAPABILITY,MULTIPROCESSORS,SHARED KIB A BLOCK (90,132,227). AFFECT_CUDA_HOST_FAULT injects one
 * kind of failure:
 *   nodevice    there is no device
 *   nodriver    no driver is installed
 *   open:N      devices cannot be opened: CUDA's error N
 *   malloc:N    the Nth allocation and all later ones fail
 *   launch:N    the Nth launch fails, and as on a device everything after it */
#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <vector>

struct affect_host_graph {
    std::vector<std::function<void()>> work;
    std::vector<cudaStream_t> streams; /* of each work */
    std::vector<cudaStream_t> forked;  /* that an event brought into the capture */
    std::vector<cudaStream_t> joined;  /* and that the capture's own stream waited for */
    cudaStream_t origin = nullptr;
    bool invalid = false; /* while it was captured, the device was made to wait */
};
struct affect_host_stream {
    affect_host_graph *captured = nullptr;
    size_t begin = 0; /* of a forked stream: the first work beside it */
};
struct affect_host_event {
    std::chrono::steady_clock::time_point at;
    affect_host_graph *captured = nullptr; /* last recorded while its stream was capturing */
    cudaStream_t stream = nullptr;         /* on which it was recorded */
    size_t place = 0;                      /* works of the capture before it */
};
struct affect_host_cublas {
    cudaStream_t stream = nullptr;
};

namespace {
std::atomic<long> n_allocations{0}, n_launches{0};
std::atomic<bool> lost{false};

/* N of "kind:N", 0 where another kind or none is asked for. */
long fault(const char *kind) {
    const char *text = getenv("AFFECT_CUDA_HOST_FAULT");
    size_t length = strlen(kind);
    if (!text || strncmp(text, kind, length) != 0) return 0;
    return text[length] == ':' ? atol(text + length + 1) : 1;
}
struct pretended {
    int capability, multiprocessors, shared_kib;
};
pretended device_to_be() {
    pretended device = {90, 132, 227};
    const char *text = getenv("AFFECT_CUDA_HOST_DEVICE");
    if (text && sscanf(text, "%d,%d,%d", &device.capability, &device.multiprocessors,
                       &device.shared_kib) != 3) {
        fprintf(stderr, "cuda_host: AFFECT_CUDA_HOST_DEVICE: \"%s\"\n", text);
        abort();
    }
    return device;
}
cudaError_t state() {
    return lost ? cudaErrorIllegalAddress : cudaSuccess;
}
} // namespace

const char *cudaGetErrorName(cudaError_t code) {
    switch (code) {
    case cudaSuccess:
        return "cudaSuccess";
    case cudaErrorMemoryAllocation:
        return "cudaErrorMemoryAllocation";
    case cudaErrorNoDevice:
        return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice:
        return "cudaErrorInvalidDevice";
    case cudaErrorIllegalAddress:
        return "cudaErrorIllegalAddress";
    default:
        return "cudaError";
    }
}
const char *cudaGetErrorString(cudaError_t code) {
    switch (code) {
    case cudaSuccess:
        return "no error";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorNoDevice:
        return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice:
        return "invalid device ordinal";
    case cudaErrorNoKernelImageForDevice:
        return "no kernel image is available for execution on the device";
    case cudaErrorIllegalAddress:
        return "an illegal memory access was encountered";
    case cudaErrorInvalidValue:
        return "invalid argument";
    default:
        return "error";
    }
}
cudaError_t cudaGetLastError() {
    return state();
}

cudaError_t cudaGetDeviceCount(int *count) {
    *count = fault("nodevice") || fault("nodriver") ? 0 : 1;
    if (fault("nodriver")) return cudaErrorInsufficientDriver;
    return *count ? cudaSuccess : cudaErrorNoDevice;
}
cudaError_t cudaSetDevice(int device) {
    if (fault("nodevice")) return cudaErrorNoDevice;
    if (fault("nodriver")) return cudaErrorInsufficientDriver;
    if (fault("open")) return static_cast<cudaError_t>(fault("open"));
    return device == 0 ? state() : cudaErrorInvalidDevice;
}
cudaError_t cudaGetDevice(int *device) {
    *device = 0;
    return state();
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device) {
    if (device != 0) return cudaErrorInvalidDevice;
    *properties = cudaDeviceProp();
    snprintf(properties->name, sizeof properties->name, "CUDA emulated on the host");
    properties->totalGlobalMem = static_cast<size_t>(8) << 30;
    pretended to_be = device_to_be();
    properties->sharedMemPerBlockOptin = static_cast<size_t>(to_be.shared_kib) * 1024;
    properties->major = to_be.capability / 10;
    properties->minor = to_be.capability % 10;
    properties->multiProcessorCount = to_be.multiprocessors;
    return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device) {
    if (device != 0) return cudaErrorInvalidDevice;
    switch (attribute) {
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *value = device_to_be().shared_kib * 1024;
        break;
    case cudaDevAttrMultiProcessorCount:
        *value = device_to_be().multiprocessors;
        break;
    case cudaDevAttrComputeCapabilityMajor:
        *value = device_to_be().capability / 10;
        break;
    case cudaDevAttrComputeCapabilityMinor:
        *value = device_to_be().capability % 10;
        break;
    }
    return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int *version) {
    *version = fault("nodriver") ? 0 : 13000;
    return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int *version) {
    *version = 0;
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t *n_free, size_t *n_total) {
    *n_free = *n_total = static_cast<size_t>(8) << 30;
    return state();
}

cudaError_t cudaMalloc(void **memory, size_t n_bytes) {
    long n = fault("malloc");
    if (n && ++n_allocations >= n) return cudaErrorMemoryAllocation;
    *memory = aligned_alloc(256, (n_bytes + 255) / 256 * 256);
    if (!*memory) return cudaErrorMemoryAllocation;
    memset(*memory, 0xff, n_bytes);
    return state();
}
/* What makes a device wait ends the captures of all threads, and fails itself. */
static std::mutex captures_lock;
static std::set<affect_host_graph *> captures;
static bool ends_captures() {
    std::lock_guard<std::mutex> locked(captures_lock);
    for (affect_host_graph *graph : captures) graph->invalid = true;
    return !captures.empty();
}

cudaError_t cudaFree(void *memory) {
    if (ends_captures()) return cudaErrorStreamCaptureUnsupported;
    free(memory);
    return state();
}
cudaError_t cudaMallocHost(void **memory, size_t n_bytes) {
    return cudaMalloc(memory, n_bytes);
}
cudaError_t cudaFreeHost(void *memory) {
    return cudaFree(memory);
}

cudaError_t affect_host_enqueue(cudaStream_t stream, std::function<void()> work) {
    if (lost) return state();
    if (stream && stream->captured) {
        stream->captured->work.push_back(std::move(work));
        stream->captured->streams.push_back(stream);
    } else {
        work();
    }
    return state();
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n_bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
    return affect_host_enqueue(stream, [=] { memcpy(to, from, n_bytes); });
}
cudaError_t cudaMemsetAsync(void *memory, int value, size_t n_bytes, cudaStream_t stream) {
    return affect_host_enqueue(stream, [=] { memset(memory, value, n_bytes); });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned) {
    *stream = new affect_host_stream();
    return state();
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    delete stream;
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    return stream && stream->captured ? cudaErrorStreamCaptureUnsupported : state();
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned) {
    *event = new affect_host_event();
    return state();
}
cudaError_t cudaEventCreate(cudaEvent_t *event) {
    return cudaEventCreateWithFlags(event, 0);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
    delete event;
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    event->at = std::chrono::steady_clock::now();
    event->captured = stream ? stream->captured : nullptr;
    event->stream = stream;
    event->place = event->captured ? event->captured->work.size() : 0;
    return state();
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    return event->captured ? cudaErrorCapturedEvent : state();
}
cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t from, cudaEvent_t to) {
    *milliseconds = std::chrono::duration<float, std::milli>(to->at - from->at).count();
    return state();
}
/* What forked streams did since `begin` comes before what others did: an order that a device may
 * choose as well, as the streams wait for each other only at the fork and at the join. */
static void reverse_streams(affect_host_graph *graph, size_t begin, cudaStream_t forked) {
    affect_host_graph sorted;
    for (bool first : {true, false})
        for (size_t i = begin; i < graph->work.size(); i++)
            if ((graph->streams[i] == forked) == first) {
                sorted.work.push_back(graph->work[i]);
                sorted.streams.push_back(graph->streams[i]);
            }
    std::copy(sorted.work.begin(), sorted.work.end(), graph->work.begin() + begin);
    std::copy(sorted.streams.begin(), sorted.streams.end(), graph->streams.begin() + begin);
}

/* A stream that waits for an event of a capture takes part in it until the capture's own stream has
 * waited for it. */
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
    affect_host_graph *graph = event->captured;
    if (!graph) return stream && stream->captured ? cudaErrorStreamCaptureIsolation : state();
    if (stream->captured && stream->captured != graph) return cudaErrorStreamCaptureMerge;
    if (stream == graph->origin) {
        const char *order = getenv("AFFECT_CUDA_HOST_ORDER");
        if (order && strcmp(order, "reversed") == 0)
            reverse_streams(graph, event->stream->begin, event->stream);
        graph->joined.push_back(event->stream);
        return state();
    }
    graph->joined.erase(std::remove(graph->joined.begin(), graph->joined.end(), stream),
                        graph->joined.end());
    if (!stream->captured) graph->forked.push_back(stream);
    stream->captured = graph;
    stream->begin = event->place;
    return state();
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
    if (stream->captured) return cudaErrorInvalidValue;
    stream->captured = new affect_host_graph();
    stream->captured->origin = stream;
    std::lock_guard<std::mutex> locked(captures_lock);
    captures.insert(stream->captured);
    return state();
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
    if (!stream->captured) return cudaErrorInvalidValue;
    *graph = stream->captured;
    stream->captured = nullptr;
    bool all = true;
    {
        std::lock_guard<std::mutex> locked(captures_lock);
        captures.erase(*graph);
        if ((*graph)->invalid) return cudaErrorStreamCaptureInvalidated;
    }
    for (cudaStream_t forked : (*graph)->forked) {
        forked->captured = nullptr;
        all = all && std::count((*graph)->joined.begin(), (*graph)->joined.end(), forked);
    }
    return all ? state() : cudaErrorStreamCaptureUnjoined;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long) {
    *exec = new affect_host_graph(*graph);
    return state();
}
cudaError_t cudaGraphExecUpdate(cudaGraphExec_t exec, cudaGraph_t graph,
                                cudaGraphExecUpdateResultInfo *info) {
    bool same = exec->work.size() == graph->work.size();
    info->result = same ? cudaGraphExecUpdateSuccess : cudaGraphExecUpdateErrorTopologyChanged;
    if (!same) return cudaErrorGraphExecUpdateFailure;
    exec->work = graph->work;
    return state();
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
    for (const std::function<void()> &work : exec->work) {
        cudaError_t code = affect_host_enqueue(stream, work);
        if (code != cudaSuccess) return code;
    }
    return state();
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete graph;
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
    delete exec;
    return cudaSuccess;
}

namespace {
std::mutex limits_lock;
std::map<const void *, size_t> limits; /* of kernels' dynamic shared memory, where not 48 KiB */
} // namespace

cudaError_t cudaFuncSetAttribute(const void *kernel, cudaFuncAttribute, int value) {
    if (value < 0 || value > device_to_be().shared_kib * 1024) return cudaErrorInvalidValue;
    std::lock_guard<std::mutex> locked(limits_lock);
    limits[kernel] = static_cast<size_t>(value);
    return state();
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *attributes, const void *) {
    *attributes = cudaFuncAttributes();
    return device_to_be().capability < 75 ? cudaErrorNoKernelImageForDevice : state();
}
static size_t shared_limit_of(const void *kernel) {
    std::lock_guard<std::mutex> locked(limits_lock);
    auto found = limits.find(kernel);
    return found == limits.end() ? 48 * 1024 : found->second;
}
cudaError_t affect_host_check_launch(const cudaLaunchConfig_t &config, const void *kernel) {
    const dim3 &g = config.gridDim, &b = config.blockDim;
    long n = fault("launch");
    if (n && ++n_launches >= n) lost = true;
    if (lost) return state();
    size_t threads = static_cast<size_t>(b.x) * b.y * b.z;
    bool valid = g.x && g.y && g.z && g.y < 65536 && g.z < 65536 && threads >= 1 &&
                 threads <= 1024 && config.dynamicSmemBytes <= shared_limit_of(kernel);
    return valid ? cudaSuccess : cudaErrorInvalidValue;
}

/* ---- cuBLAS ---- */

const char *cublasGetStatusString(cublasStatus_t code) {
    return code == CUBLAS_STATUS_SUCCESS ? "success" : "error";
}
cublasStatus_t cublasCreate(cublasHandle_t *handle) {
    if (ends_captures()) return CUBLAS_STATUS_EXECUTION_FAILED;
    *handle = new affect_host_cublas();
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy(cublasHandle_t handle) {
    if (ends_captures()) return CUBLAS_STATUS_EXECUTION_FAILED;
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
    handle->stream = stream;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetWorkspace(cublasHandle_t, void *, size_t) {
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t) {
    return CUBLAS_STATUS_SUCCESS;
}

namespace {
float load(const void *from, cudaDataType type, size_t index, cublasComputeType_t compute) {
    if (type == CUDA_R_16BF)
        return __bfloat162float(static_cast<const __nv_bfloat16 *>(from)[index]);
    float value = static_cast<const float *>(from)[index];
    if (compute == CUBLAS_COMPUTE_32F_FAST_16BF) return __bfloat162float(__float2bfloat16(value));
    if (compute == CUBLAS_COMPUTE_32F_FAST_TF32) {
        uint32_t bits = (__float_as_uint(value) + 0x1000u) & 0xffffe000u;
        return __uint_as_float(bits);
    }
    return value;
}
} // namespace

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t op_a,
                                          cublasOperation_t op_b, int m, int n, int k,
                                          const void *alpha, const void *a, cudaDataType type_a,
                                          int lda, long long stride_a, const void *b,
                                          cudaDataType type_b, int ldb, long long stride_b,
                                          const void *beta, void *c, cudaDataType type_c, int ldc,
                                          long long stride_c, int count,
                                          cublasComputeType_t compute, cublasGemmAlgo_t) {
    bool valid = m >= 0 && n >= 0 && k >= 0 && lda >= (op_a == CUBLAS_OP_N ? m : k) &&
                 ldb >= (op_b == CUBLAS_OP_N ? k : n) && ldc >= m;
    if (!valid) return CUBLAS_STATUS_INVALID_VALUE;
    float scale = *static_cast<const float *>(alpha), keep = *static_cast<const float *>(beta);
    auto work = [=] {
        for (int batch = 0; batch < count; batch++)
            for (int j = 0; j < n; j++)
                for (int i = 0; i < m; i++) {
                    double sum = 0;
                    for (int p = 0; p < k; p++) {
                        size_t at_a = op_a == CUBLAS_OP_N ? i + static_cast<size_t>(p) * lda
                                                          : p + static_cast<size_t>(i) * lda;
                        size_t at_b = op_b == CUBLAS_OP_N ? p + static_cast<size_t>(j) * ldb
                                                          : j + static_cast<size_t>(p) * ldb;
                        sum +=
                            static_cast<double>(load(a, type_a, at_a + batch * stride_a, compute)) *
                            load(b, type_b, at_b + batch * stride_b, compute);
                    }
                    size_t at = i + static_cast<size_t>(j) * ldc + batch * stride_c;
                    bool half = type_c == CUDA_R_16BF;
                    double old = 0;
                    if (keep != 0) old = keep * load(c, type_c, at, CUBLAS_COMPUTE_32F);
                    float value = static_cast<float>(scale * sum + old);
                    if (half)
                        static_cast<__nv_bfloat16 *>(c)[at] = __float2bfloat16(value);
                    else
                        static_cast<float *>(c)[at] = value;
                }
    };
    return affect_host_enqueue(handle->stream, work) == cudaSuccess
               ? CUBLAS_STATUS_SUCCESS
               : CUBLAS_STATUS_EXECUTION_FAILED;
}
cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b,
                            int m, int n, int k, const void *alpha, const void *a,
                            cudaDataType type_a, int lda, const void *b, cudaDataType type_b,
                            int ldb, const void *beta, void *c, cudaDataType type_c, int ldc,
                            cublasComputeType_t compute, cublasGemmAlgo_t algorithm) {
    return cublasGemmStridedBatchedEx(handle, op_a, op_b, m, n, k, alpha, a, type_a, lda, 0, b,
                                      type_b, ldb, 0, beta, c, type_c, ldc, 0, 1, compute,
                                      algorithm);
}
