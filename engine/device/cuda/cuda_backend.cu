/* The CUDA backend: opening a device, memory, copies, recorded steps, and the table that names
 * every operation. */
#include "engine/device/cuda/cuda_backend.cuh"

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>

namespace {

/* cuBLAS must have memory of its own inside a recording, and equal memory for equal bits. */
const size_t cublas_workspace_bytes = static_cast<size_t>(32) << 20;

/* ---- Failures ---- */

/* What keeps a device from being opened is no loss of one: "auto" then takes the CPU. */
affect_status opening_status(cudaError_t code) {
    switch (code) {
    case cudaErrorDevicesUnavailable: /* exclusive mode, in use */
    case cudaErrorInitializationError:
    case cudaErrorUnsupportedPtxVersion: /* a driver older than the kernels */
    case cudaErrorOperatingSystem:       /* device files that cannot be opened */
    case cudaErrorNotPermitted:
        return AFFECT_STATUS_DEVICE_UNAVAILABLE;
    default:
        return AFFECT_STATUS_DEVICE_LOST;
    }
}

/* The runtime says "insufficient driver" also where there is none. */
const char *describe_error(cudaError_t code) {
    int version = 0;
    if (code == cudaErrorInsufficientDriver && cudaDriverGetVersion(&version) == cudaSuccess &&
        version == 0)
        return "no NVIDIA driver on this machine";
    return cudaGetErrorString(code);
}

affect_status status_of(cudaError_t code, bool opening) {
    switch (code) {
    case cudaErrorMemoryAllocation:
        return AFFECT_STATUS_NO_MEMORY;
    case cudaErrorNoDevice:
    case cudaErrorInvalidDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorStubLibrary: /* containers without or with another driver */
    case cudaErrorSystemNotReady:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorCompatNotSupportedOnDevice:
    case cudaErrorNoKernelImageForDevice: /* older than what the kernels were compiled for */
        return AFFECT_STATUS_DEVICE_UNAVAILABLE;
    default:
        return opening ? opening_status(code) : AFFECT_STATUS_DEVICE_LOST;
    }
}

} // namespace

const bool affect_cuda_debug =
    getenv("AFFECT_CUDA_DEBUG") && strcmp(getenv("AFFECT_CUDA_DEBUG"), "0") != 0;

void affect_cuda_debug_wait(affect_backend *backend, const char *name) {
    if (!affect_cuda_ready(backend)) return;
    fprintf(stderr, "cuda: %s\n", name);
    affect_cuda_check(backend, cudaStreamSynchronize(affect_cuda_of(backend)->stream), name);
}

bool affect_cuda_check(affect_backend *backend, cudaError_t code, const char *what) {
    if (code == cudaSuccess) return true;
    if (affect_cuda_ready(backend))
        affect_error_set(&backend->error, status_of(code, affect_cuda_of(backend)->opening),
                         "cuda: %s: %s (%s)", what, describe_error(code), cudaGetErrorName(code));
    return false;
}

bool affect_cublas_check(affect_backend *backend, cublasStatus_t code, const char *what) {
    if (code == CUBLAS_STATUS_SUCCESS) return true;
    if (affect_cuda_ready(backend))
        affect_error_set(&backend->error,
                         code == CUBLAS_STATUS_ALLOC_FAILED ? AFFECT_STATUS_NO_MEMORY
                                                            : AFFECT_STATUS_DEVICE_LOST,
                         "cublas: %s: %s", what, cublasGetStatusString(code));
    return false;
}

/* Asked once a kernel: the call may wait for copies that are under way. */
bool affect_cuda_allow_shared(affect_backend *backend, const void *kernel, const char *name) {
    affect_cuda *cuda = affect_cuda_of(backend);
    for (size_t i = 0; i < cuda->n_with_shared; i++)
        if (cuda->with_shared[i] == kernel) return true;
    if (!affect_cuda_check(backend,
                           cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                static_cast<int>(cuda->shared_limit)),
                           name))
        return false;
    if (cuda->n_with_shared < sizeof cuda->with_shared / sizeof *cuda->with_shared)
        cuda->with_shared[cuda->n_with_shared++] = kernel;
    return true;
}

namespace {

/* ---- Recordings beside other threads ---- */

/* A capture of any thread ends in failure when another thread makes the device wait: opening and
 * closing a backend (cuBLAS handles), freeing memory. Captures pass together, whatever waits for
 * the device alone; a caller that wants to be alone holds up the captures that come after it. */
class capture_gate {
  public:
    void enter() {
        std::unique_lock<std::mutex> lock(mutex);
        changed.wait(lock, [this] { return n_waiting == 0 && !alone; });
        n_captures++;
    }
    void leave() {
        std::lock_guard<std::mutex> lock(mutex);
        n_captures--;
        changed.notify_all();
    }
    void enter_alone() {
        std::unique_lock<std::mutex> lock(mutex);
        n_waiting++;
        changed.wait(lock, [this] { return n_captures == 0 && !alone; });
        n_waiting--;
        alone = true;
    }
    void leave_alone() {
        std::lock_guard<std::mutex> lock(mutex);
        alone = false;
        changed.notify_all();
    }

  private:
    std::mutex mutex;
    std::condition_variable changed;
    int n_captures = 0, n_waiting = 0;
    bool alone = false;
};

capture_gate gate;

class alone_with_device {
  public:
    alone_with_device() { gate.enter_alone(); }
    ~alone_with_device() { gate.leave_alone(); }
};

} // namespace

/* ---- Memory and copies ---- */

affect_status affect_cuda_synchronize(affect_backend *backend, affect_error *err) {
    if (affect_cuda_ready(backend))
        affect_cuda_check(backend, cudaStreamSynchronize(affect_cuda_of(backend)->stream),
                          "synchronize");
    if (err && backend->error.status != AFFECT_STATUS_OK) *err = backend->error;
    return backend->error.status;
}

void *affect_cuda_allocate(affect_backend *backend, size_t n_bytes) {
    void *memory = nullptr;
    if (!affect_cuda_ready(backend)) return nullptr;
    alone_with_device alone;
    cudaError_t code = cudaMalloc(&memory, n_bytes ? n_bytes : 1);
    if (code == cudaErrorMemoryAllocation) {
        size_t n_free = 0, n_total = 0;
        cudaGetLastError(); /* this one does not stick to the device */
        cudaMemGetInfo(&n_free, &n_total);
        affect_fail(&backend->error, NO_MEMORY,
                    "cuda:%d: no memory for %zu bytes (%zu of %zu free)",
                    affect_cuda_of(backend)->device, n_bytes, n_free, n_total);
        return nullptr;
    }
    return affect_cuda_check(backend, code, "allocate") ? memory : nullptr;
}

void affect_cuda_deallocate(affect_backend *, void *memory) {
    alone_with_device alone;
    cudaFree(memory);
}

void affect_cuda_zero(affect_backend *backend, void *memory, size_t n_bytes) {
    if (!affect_cuda_ready(backend) || !n_bytes) return;
    affect_cuda_check(backend, cudaMemsetAsync(memory, 0, n_bytes, affect_cuda_of(backend)->stream),
                      "zero");
}

static void copy(affect_backend *backend, void *to, const void *from, size_t n_bytes,
                 cudaMemcpyKind kind, const char *what) {
    if (!affect_cuda_ready(backend) || !n_bytes) return;
    affect_cuda_check(
        backend, cudaMemcpyAsync(to, from, n_bytes, kind, affect_cuda_of(backend)->stream), what);
}

void affect_cuda_copy(affect_backend *backend, void *to, const void *from, size_t n_bytes) {
    copy(backend, to, from, n_bytes, cudaMemcpyDeviceToDevice, "copy");
}
void affect_cuda_upload(affect_backend *backend, void *to, const void *from_host, size_t n_bytes) {
    copy(backend, to, from_host, n_bytes, cudaMemcpyHostToDevice, "upload");
}
void affect_cuda_download(affect_backend *backend, void *to_host, const void *from,
                          size_t n_bytes) {
    copy(backend, to_host, from, n_bytes, cudaMemcpyDeviceToHost, "download");
}

/* ---- Small arrays by value ---- */

namespace {

const size_t put_size = 3072; /* kernel arguments hold 4096 */

struct put_bytes {
    uint64_t words[put_size / 8];
};

__global__ void put_kernel(unsigned char *to, put_bytes bytes, unsigned n_bytes) {
    for (unsigned i = threadIdx.x; i < n_bytes; i += blockDim.x)
        to[i] = reinterpret_cast<const unsigned char *>(bytes.words)[i];
}

} // namespace

/* Through kernel arguments: a recorded step keeps its own copy. */
void affect_cuda_put(affect_backend *backend, void *to, const void *from_host, size_t n_bytes) {
    for (size_t done = 0; done < n_bytes; done += put_size) {
        size_t n = n_bytes - done < put_size ? n_bytes - done : put_size;
        put_bytes bytes;
        memcpy(bytes.words, static_cast<const char *>(from_host) + done, n);
        AFFECT_CUDA_LAUNCH(backend, put_kernel, 1, 256, 0, static_cast<unsigned char *>(to) + done,
                           bytes, static_cast<unsigned>(n));
    }
}

const unsigned long long *affect_cuda_put_lengths(affect_backend *backend, const size_t *lengths,
                                                  size_t batch) {
    static_assert(sizeof(size_t) == sizeof(unsigned long long), "lengths are copied as they are");
    if (!lengths || !affect_cuda_ready(backend)) return nullptr;
    if (batch > affect_cuda_scratch_bytes / sizeof(size_t)) {
        affect_fail(&backend->error, TOO_LARGE, "cuda: lengths of %zu sequences (up to %zu)", batch,
                    affect_cuda_scratch_bytes / sizeof(size_t));
        return nullptr;
    }
    void *scratch = affect_cuda_of(backend)->scratch;
    affect_cuda_put(backend, scratch, lengths, batch * sizeof(size_t));
    return static_cast<const unsigned long long *>(scratch);
}

/* ---- Gathers ---- */

namespace {

const size_t runs_at_once = 128;

struct run_list {
    affect_run runs[runs_at_once];
};

/* A row of blocks for each run. */
__global__ void copy_runs_kernel(float *to, const float *from, run_list list) {
    affect_run run = list.runs[blockIdx.y];
    size_t step = static_cast<size_t>(gridDim.x) * blockDim.x;
    for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < run.count;
         i += step)
        to[run.to + i] = from[run.from + i];
}

} // namespace

void affect_cuda_copy_runs(affect_backend *backend, float *to, const float *from,
                           const affect_run *runs, size_t n_runs) {
    for (size_t done = 0; done < n_runs; done += runs_at_once) {
        size_t n = n_runs - done < runs_at_once ? n_runs - done : runs_at_once, longest = 1;
        run_list list;
        for (size_t i = 0; i < n; i++) {
            list.runs[i] = runs[done + i];
            longest = list.runs[i].count > longest ? list.runs[i].count : longest;
        }
        dim3 grid(affect_cuda_blocks(longest, 1024, 64), static_cast<unsigned>(n));
        AFFECT_CUDA_LAUNCH(backend, copy_runs_kernel, grid, 256, 0, to, from, list);
    }
}

/* ---- Recordings ---- */

/* Relaxed: the first call of a kernel or of a product may load or allocate. */
void affect_cuda_record_begin(affect_backend *backend) {
    affect_cuda *cuda = affect_cuda_of(backend);
    if (!affect_cuda_ready(backend) || affect_cuda_debug) return;
    gate.enter();
    cuda->recording = affect_cuda_check(
        backend, cudaStreamBeginCapture(cuda->stream, cudaStreamCaptureModeRelaxed),
        "record_begin");
    if (!cuda->recording) gate.leave();
}

/* Recordings of a kind differ in arguments only: the graph that was made for one takes the next
 * one's. Where it does not, it is made again. */
static bool take_graph(affect_backend *backend, cudaGraphExec_t *exec, cudaGraph_t graph) {
    cudaGraphExecUpdateResultInfo info;
    if (*exec && cudaGraphExecUpdate(*exec, graph, &info) == cudaSuccess) return true;
    if (*exec) {
        cudaGetLastError(); /* of the refused update */
        cudaGraphExecDestroy(*exec);
        *exec = nullptr;
    }
    return affect_cuda_check(backend, cudaGraphInstantiate(exec, graph, 0), "graph");
}

void affect_cuda_record_end(affect_backend *backend, int kind) {
    affect_cuda *cuda = affect_cuda_of(backend);
    cudaGraph_t graph = nullptr;
    if (!cuda->recording) return;
    cuda->recording = false;
    cudaError_t code = cudaStreamEndCapture(cuda->stream, &graph);
    gate.leave();
    cudaGraphExec_t *exec = &cuda->recordings[kind];
    if (affect_cuda_ready(backend) && affect_cuda_check(backend, code, "record_end") &&
        take_graph(backend, exec, graph))
        affect_cuda_check(backend, cudaGraphLaunch(*exec, cuda->stream), "graph launch");
    if (graph) cudaGraphDestroy(graph);
}

/* ---- Work side by side ---- */

static void use_stream(affect_cuda *cuda, int stream) {
    cuda->stream = cuda->streams[stream].stream;
    cuda->cublas = cuda->streams[stream].cublas;
    cuda->scratch = cuda->streams[stream].scratch;
}

void affect_cuda_fork(affect_backend *backend) {
    affect_cuda *cuda = affect_cuda_of(backend);
    if (!affect_cuda_ready(backend)) return;
    affect_cuda_check(backend, cudaEventRecord(cuda->forked, cuda->stream), "fork");
    for (int i = 1; i < AFFECT_MAX_STREAMS; i++)
        affect_cuda_check(backend, cudaStreamWaitEvent(cuda->streams[i].stream, cuda->forked, 0),
                          "fork");
}

void affect_cuda_use_stream(affect_backend *backend, int stream) {
    use_stream(affect_cuda_of(backend), stream);
}

void affect_cuda_join(affect_backend *backend) {
    affect_cuda *cuda = affect_cuda_of(backend);
    use_stream(cuda, 0);
    if (!affect_cuda_ready(backend)) return;
    for (int i = 1; i < AFFECT_MAX_STREAMS; i++) {
        affect_cuda_stream *side = &cuda->streams[i];
        affect_cuda_check(backend, cudaEventRecord(side->end, side->stream), "join");
        affect_cuda_check(backend, cudaStreamWaitEvent(cuda->stream, side->end, 0), "join");
    }
}

/* ---- The host beside the device ---- */

void *affect_cuda_allocate_host(affect_backend *backend, size_t n_bytes) {
    void *memory = nullptr;
    if (!affect_cuda_ready(backend)) return nullptr;
    alone_with_device alone;
    bool ok =
        affect_cuda_check(backend, cudaMallocHost(&memory, n_bytes ? n_bytes : 1), "allocate_host");
    return ok ? memory : nullptr;
}

void affect_cuda_deallocate_host(affect_backend *, void *memory) {
    alone_with_device alone;
    if (memory) cudaFreeHost(memory);
}

void affect_cuda_mark(affect_backend *backend, int mark) {
    affect_cuda *cuda = affect_cuda_of(backend);
    if (!affect_cuda_ready(backend)) return;
    cudaEvent_t *event = &cuda->marks[mark];
    if (!*event && !affect_cuda_check(
                       backend, cudaEventCreateWithFlags(event, cudaEventDisableTiming), "mark"))
        return;
    affect_cuda_check(backend, cudaEventRecord(*event, cuda->stream), "mark");
}

void affect_cuda_wait_for(affect_backend *backend, int mark) {
    cudaEvent_t event = affect_cuda_of(backend)->marks[mark];
    if (affect_cuda_ready(backend) && event)
        affect_cuda_check(backend, cudaEventSynchronize(event), "wait_for");
}

size_t affect_cuda_memory_free(affect_backend *backend) {
    size_t n_free = 0, n_total = 0;
    affect_cuda_check(backend, cudaMemGetInfo(&n_free, &n_total), "memory");
    return n_free;
}

/* ---- Opening ---- */

static void free_device(affect_cuda *cuda) {
    if (cuda->streams[0].stream) cudaStreamSynchronize(cuda->streams[0].stream);
    for (cudaGraphExec_t exec : cuda->recordings)
        if (exec) cudaGraphExecDestroy(exec);
    for (cudaEvent_t event : cuda->marks)
        if (event) cudaEventDestroy(event);
    if (cuda->forked) cudaEventDestroy(cuda->forked);
    for (affect_cuda_stream &side : cuda->streams) {
        if (side.cublas) cublasDestroy(side.cublas);
        if (side.cublas_workspace) cudaFree(side.cublas_workspace);
        if (side.scratch) cudaFree(side.scratch);
        if (side.end) cudaEventDestroy(side.end);
        if (side.stream) cudaStreamDestroy(side.stream);
    }
    delete cuda;
}

void affect_cuda_free(affect_backend *backend) {
    if (affect_cuda_of(backend)->recording) affect_cuda_record_end(backend, 0);
    alone_with_device alone;
    free_device(affect_cuda_of(backend));
}

namespace {

affect_backend_ops make_ops() {
    affect_backend_ops ops = {};
    ops.version = AFFECT_BACKEND_VERSION;
    ops.real_size = sizeof(affect_real);
    ops.name = "cuda";
    /* One after another unless asked for: side by side has run on the emulation only. */
    const char *streams = getenv("AFFECT_CUDA_STREAMS");
    ops.n_streams = streams && atoi(streams) > 1 ? AFFECT_MAX_STREAMS : 1;
    ops.level = "";
#define OPERATION(type, name, parameters) ops.name = affect_cuda_##name;
    AFFECT_OPERATIONS(OPERATION)
#undef OPERATION
    return ops;
}

const affect_backend_ops cuda_ops = make_ops();

bool attribute(affect_backend *backend, int *value, cudaDeviceAttr name) {
    return affect_cuda_check(backend,
                             cudaDeviceGetAttribute(value, name, affect_cuda_of(backend)->device),
                             "device attributes");
}

bool read_device(affect_cuda *cuda) {
    affect_backend *backend = &cuda->base;
    int major = 0, minor = 0, shared = 0;
    if (!attribute(backend, &major, cudaDevAttrComputeCapabilityMajor) ||
        !attribute(backend, &minor, cudaDevAttrComputeCapabilityMinor) ||
        !attribute(backend, &shared, cudaDevAttrMaxSharedMemoryPerBlockOptin) ||
        !attribute(backend, &cuda->n_multiprocessors, cudaDevAttrMultiProcessorCount))
        return false;
    cuda->compute_capability = 10 * major + minor;
    cuda->shared_limit = static_cast<size_t>(shared);
    if (cuda->precision == AFFECT_PRECISION_AUTO)
        cuda->precision =
            cuda->compute_capability >= 80 ? AFFECT_PRECISION_TF32 : AFFECT_PRECISION_FP32;
    backend->precision = cuda->precision;
    if (cuda->precision == AFFECT_PRECISION_FP32 || cuda->compute_capability >= 80) return true;
    affect_fail(&backend->error, UNSUPPORTED,
                "cuda:%d: precision \"%s\" needs compute capability 8.0, this is %d.%d (use fp32)",
                cuda->device, affect_precision_names[cuda->precision], major, minor);
    return false;
}

/* Told at the opening, not by the first launch: the device has our kernels. */
bool has_kernels(affect_cuda *cuda) {
    cudaFuncAttributes attributes;
    return affect_cuda_check(
        &cuda->base, cudaFuncGetAttributes(&attributes, reinterpret_cast<const void *>(put_kernel)),
        "kernels");
}

bool open_stream(affect_backend *backend, affect_cuda_stream *side) {
    return affect_cuda_check(backend,
                             cudaStreamCreateWithFlags(&side->stream, cudaStreamNonBlocking),
                             "stream") &&
           affect_cuda_check(backend, cudaEventCreateWithFlags(&side->end, cudaEventDisableTiming),
                             "event") &&
           affect_cublas_check(backend, cublasCreate(&side->cublas), "create") &&
           affect_cuda_check(backend, cudaMalloc(&side->cublas_workspace, cublas_workspace_bytes),
                             "cublas workspace") &&
           affect_cuda_check(backend, cudaMalloc(&side->scratch, affect_cuda_scratch_bytes),
                             "scratch") &&
           affect_cublas_check(backend, cublasSetStream(side->cublas, side->stream), "stream") &&
           affect_cublas_check(
               backend,
               cublasSetWorkspace(side->cublas, side->cublas_workspace, cublas_workspace_bytes),
               "workspace");
}

bool open_device(affect_cuda *cuda) {
    affect_backend *backend = &cuda->base;
    if (!affect_cuda_check(backend, cudaSetDevice(cuda->device), "device") || !has_kernels(cuda) ||
        !read_device(cuda) ||
        !affect_cuda_check(backend, cudaEventCreateWithFlags(&cuda->forked, cudaEventDisableTiming),
                           "streams"))
        return false;
    for (affect_cuda_stream &side : cuda->streams)
        if (!open_stream(backend, &side)) return false;
    use_stream(cuda, 0);
    return true;
}

affect_status cuda_open(affect_backend **backend, int number, affect_precision precision,
                        affect_error *err) {
    affect_cuda *cuda = new (std::nothrow) affect_cuda();
    if (!cuda) return affect_fail(err, NO_MEMORY, "cuda: no memory");
    cuda->base.ops = &cuda_ops;
    cuda->device = number;
    cuda->precision = precision;
    cuda->opening = true;
    alone_with_device alone;
    if (open_device(cuda)) {
        cuda->opening = false;
        *backend = &cuda->base;
        return AFFECT_STATUS_OK;
    }
    affect_status status = cuda->base.error.status;
    if (err) *err = cuda->base.error;
    free_device(cuda);
    return status;
}

/* ---- Listing ---- */

/* The memory of a device; the calling thread's own stays as it is. */
cudaError_t read_memory(affect_device *device, int number) {
    int before = 0;
    cudaError_t code = cudaGetDevice(&before);
    if (code == cudaSuccess) code = cudaSetDevice(number);
    if (code == cudaSuccess)
        code = cudaMemGetInfo(&device->memory_free_bytes, &device->memory_bytes);
    cudaError_t back = cudaSetDevice(before);
    return code == cudaSuccess ? back : code;
}

affect_status describe(affect_device *device, int number, affect_error *err) {
    cudaDeviceProp properties;
    affect_device found = {};
    cudaError_t code = cudaGetDeviceProperties(&properties, number);
    if (code == cudaSuccess && read_memory(&found, number) != cudaSuccess) {
        cudaGetLastError(); /* in use, or not ours: it is there all the same */
        found.memory_bytes = properties.totalGlobalMem;
    }
    if (code == cudaSuccess) code = cudaDriverGetVersion(&found.driver);
    if (code == cudaSuccess) code = cudaRuntimeGetVersion(&found.runtime);
    if (code != cudaSuccess)
        return affect_fail(err, DEVICE_UNAVAILABLE, "cuda:%d: %s", number,
                           cudaGetErrorString(code));
    snprintf(found.device, sizeof found.device, "cuda:%d", number);
    snprintf(found.name, sizeof found.name, "%.127s", properties.name);
    found.n_units = properties.multiProcessorCount;
    found.compute_capability = 10 * properties.major + properties.minor;
    *device = found;
    return AFFECT_STATUS_OK;
}

affect_status cuda_list(affect_device *devices, size_t most, size_t *n, affect_error *err) {
    int count = 0;
    *n = 0;
    cudaError_t code = cudaGetDeviceCount(&count);
    if (code != cudaSuccess)
        return affect_fail(err, DEVICE_UNAVAILABLE, "no CUDA device: %s", describe_error(code));
    affect_status status = AFFECT_STATUS_OK; /* one that cannot be described hides no other */
    for (int i = 0; i < count && *n < most; i++) {
        affect_status described = describe(&devices[*n], i, err);
        if (described == AFFECT_STATUS_OK)
            (*n)++;
        else
            status = described;
    }
    return *n ? AFFECT_STATUS_OK : status;
}

} // namespace

extern "C" __attribute__((visibility("default"))) const affect_backend_plugin affect_cuda_plugin = {
    AFFECT_BACKEND_VERSION, sizeof(affect_real), cuda_open, cuda_list};
