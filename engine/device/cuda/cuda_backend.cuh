/* The CUDA engine's inside: what its files share. No file outside engine/device/cuda/ includes
 * this.
 *
 * The files carry the names of engine/device/cpu/ and define the same operations (contracts in
 * device/backend.h). An operation only enqueues: kernels, copies and cuBLAS calls go to the
 * backend's stream in order; nothing in it allocates, waits or reads back, so that a whole step can
 * be recorded as one CUDA graph (record_begin, record_end). The first failure sticks in base.error.
 *
 * The same sources are compiled twice: by nvcc for devices, and by a C++ compiler against an
 * emulation of CUDA on the host (tests/cuda_host), where the tests run them without a device. So:
 * kernels are launched by affect_cuda_launch only, instructions without a CUDA C name live in
 * cuda_ptx.cuh, dynamic shared memory comes from affect_cuda_shared. Sums that cross blocks go
 * through memory in a fixed order (no atomics on numbers): equal inputs give equal bits. */
#ifndef AFFECT_CUDA_CUDA_BACKEND_CUH
#define AFFECT_CUDA_CUDA_BACKEND_CUH

#include "engine/device/backend.h"

#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <utility>

/* What work that runs beside other work has for itself. */
struct affect_cuda_stream {
    cudaStream_t stream;
    cublasHandle_t cublas; /* on the stream, with a workspace of its own */
    void *cublas_workspace;
    void *scratch;   /* affect_cuda_scratch_bytes, for within one operation without a workspace */
    cudaEvent_t end; /* of its work since fork */
};

struct affect_cuda {
    affect_backend base;
    affect_precision precision; /* = base.precision */
    int device;                 /* CUDA's number */
    int compute_capability;     /* 90 for 9.0 */
    int n_multiprocessors;
    size_t shared_limit; /* bytes of shared memory that one block may take (opt-in) */
    affect_cuda_stream streams[AFFECT_MAX_STREAMS];
    cudaStream_t stream; /* that is enqueued to now, and what belongs to it */
    cublasHandle_t cublas;
    void *scratch;
    cudaEvent_t forked; /* where the other streams begin */
    bool opening;       /* until cuda_open returns: failures mean that the device is unavailable */
    bool recording;     /* between record_begin and record_end */
    cudaGraphExec_t recordings[AFFECT_RECORDING_KINDS]; /* the last of each kind; or NULL */
    cudaEvent_t marks[AFFECT_MARKS];
    const void *with_shared[64]; /* kernels that affect_cuda_allow_shared has been asked for */
    size_t n_with_shared;
};

const size_t affect_cuda_scratch_bytes = static_cast<size_t>(4) << 20;

static inline affect_cuda *affect_cuda_of(affect_backend *backend) {
    return reinterpret_cast<affect_cuda *>(backend);
}

/* False after a failure: the operation must do nothing. */
static inline bool affect_cuda_ready(const affect_backend *backend) {
    return backend->error.status == AFFECT_STATUS_OK;
}

/* Sticks the failure of a CUDA or cuBLAS call; what: the call or kernel, for the message. True when
 * there was none. */
bool affect_cuda_check(affect_backend *backend, cudaError_t code, const char *what);
bool affect_cublas_check(affect_backend *backend, cublasStatus_t code, const char *what);

/* With AFFECT_CUDA_DEBUG=1 in the environment: nothing is captured, each kernel and product is
 * named on stderr before it is waited for, so that the one that fails or hangs is known. */
extern const bool affect_cuda_debug;
void affect_cuda_debug_wait(affect_backend *backend, const char *name);

/* The lengths of a batch of sequences in the backend's scratch; NULL where they are NULL, or after
 * a failure. */
const unsigned long long *affect_cuda_put_lengths(affect_backend *backend, const size_t *lengths,
                                                  size_t batch);

/* Blocks of `size` threads for n items, at most `most` blocks (kernels loop over the rest). */
static inline unsigned affect_cuda_blocks(size_t n, size_t size, size_t most = 1u << 16) {
    size_t blocks = (n + size - 1) / size;
    return static_cast<unsigned>(blocks < 1 ? 1 : blocks > most ? most : blocks);
}

const size_t affect_cuda_most_y = 65535; /* gridDim.y; x may be 2^31 - 1 */

/* Bytes rounded up to 256, as cudaMalloc aligns: how workspaces are cut into parts. */
static inline size_t affect_cuda_lines(size_t n_bytes) {
    return (n_bytes + 255) / 256 * 256;
}

/* Takes n items from the front of a workspace. */
template <typename T> T *affect_cuda_take(char **workspace, size_t n) {
    T *taken = reinterpret_cast<T *>(*workspace);
    *workspace += affect_cuda_lines(n * sizeof(T));
    return taken;
}

/* Lets a kernel take all dynamic shared memory that a block may have. Always all: the limit is the
 * kernel's in every thread and graph of the process, and must never fall. */
bool affect_cuda_allow_shared(affect_backend *backend, const void *kernel, const char *name);

/* Enqueues kernel(arguments...) with `shared` bytes of dynamic shared memory. Nothing after a
 * failure. */
template <typename... Parameters, typename... Arguments>
void affect_cuda_launch(affect_backend *backend, const char *name, void (*kernel)(Parameters...),
                        dim3 grid, dim3 block, size_t shared, Arguments &&...arguments) {
    if (!affect_cuda_ready(backend)) return;
    if (shared > 48 * 1024 &&
        !affect_cuda_allow_shared(backend, reinterpret_cast<const void *>(kernel), name))
        return;
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared;
    config.stream = affect_cuda_of(backend)->stream;
    affect_cuda_check(
        backend, cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...), name);
    if (affect_cuda_debug) affect_cuda_debug_wait(backend, name);
}
#define AFFECT_CUDA_LAUNCH(backend, kernel, grid, block, shared, ...)                              \
    affect_cuda_launch(backend, #kernel, kernel, grid, block, shared, __VA_ARGS__)

/* The products of every operation (backend.h's gemm), in the backend's precision with fp32
 * accumulators; k is at least 1. cuda_gemm.cu. */
void affect_cuda_product(affect_backend *backend, float *c, const float *a, const float *b,
                         const affect_gemm_shape &shape);

/* to (columns) += the sums of x (rows, columns) over its rows, in a fixed order. partial: scratch
 * of affect_cuda_column_parts * columns floats. cuda_linear.cu. */
const unsigned affect_cuda_column_parts = 64;
void affect_cuda_add_column_sums(affect_backend *backend, float *to, const float *x, size_t rows,
                                 size_t columns, float *partial);

/* What an activation does to a number, and to a gradient by the value it had; softmax is not of one
 * number. */
__device__ __forceinline__ float affect_cuda_activate(float x, affect_activation activation) {
    switch (activation) {
    case AFFECT_ACTIVATION_RELU:
        return x > 0 ? x : 0;
    case AFFECT_ACTIVATION_TANH:
        return tanhf(x);
    case AFFECT_ACTIVATION_SIGMOID:
        return 1 / (1 + expf(-x));
    default:
        return x;
    }
}
__device__ __forceinline__ float affect_cuda_activation_gradient(float d, float y,
                                                                 affect_activation activation) {
    switch (activation) {
    case AFFECT_ACTIVATION_RELU:
        return y > 0 ? d : 0;
    case AFFECT_ACTIVATION_TANH:
        return d * (1 - y * y);
    case AFFECT_ACTIVATION_SIGMOID:
        return d * y * (1 - y);
    default:
        return d;
    }
}

/* The operations; contracts in device/operations.h. affect_real is float here. */
#define AFFECT_CUDA_DECLARED(type, name, parameters) type affect_cuda_##name parameters;
AFFECT_OPERATIONS(AFFECT_CUDA_DECLARED)

#endif
