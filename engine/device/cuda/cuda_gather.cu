/* Ids, rows of a table by them, and the gradient of these, on the device.
 *
 * Adding without atomics: a block stands at each id, and works only where no id before it is the
 * same one; it then adds all gradients of this id in their order, a thread a column. So a row of
 * the table has one writer, and equal inputs give equal bits. */
#include "engine/device/cuda/cuda_backend.cuh"

namespace {

enum { THREADS = 128 };

__device__ __forceinline__ bool is_row(int32_t id, const affect_gather_shape &s) {
    return id >= 0 && static_cast<size_t>(id) < s.rows;
}

__global__ void read_ids_kernel(int32_t *ids, const float *x, size_t n) {
    size_t step = static_cast<size_t>(gridDim.x) * blockDim.x;
    for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
        int32_t id = x[i] >= 0 && x[i] < 2147483648.0f ? static_cast<int32_t>(x[i]) : -1;
        ids[i] = static_cast<float>(id) == x[i] ? id : -1;
    }
}

__global__ void gather_kernel(float *y, const float *table, const int32_t *ids,
                              affect_gather_shape s) {
    size_t step = static_cast<size_t>(gridDim.x) * blockDim.x, n = s.n * s.columns;
    for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
        int32_t id = ids[i / s.columns];
        y[i] = is_row(id, s) ? table[static_cast<size_t>(id) * s.columns + i % s.columns] : 0;
    }
}

/* Whether the block's id stands at a place before `place`: the same answer in every thread. */
__device__ bool occurs_before(const int32_t *ids, size_t place, int32_t id) {
    int found = 0;
    for (size_t i = threadIdx.x; i < place && !found; i += THREADS) found = ids[i] == id;
    return __syncthreads_or(found) != 0;
}

__global__ void scatter_add_kernel(float *d_table, const float *d_y, const int32_t *ids,
                                   affect_gather_shape s) {
    __shared__ int32_t some[THREADS];
    for (size_t place = blockIdx.x; place < s.n; place += gridDim.x) {
        int32_t id = ids[place];
        if (!is_row(id, s) || occurs_before(ids, place, id)) continue;
        for (size_t first = place; first < s.n; first += THREADS) {
            size_t i = first + threadIdx.x;
            int same = i < s.n && ids[i] == id;
            some[threadIdx.x] = same;
            if (!__syncthreads_or(same)) continue;
            for (size_t c = threadIdx.x; c < s.columns; c += THREADS) {
                float *to = &d_table[static_cast<size_t>(id) * s.columns + c], sum = *to;
                for (int k = 0; k < THREADS; k++)
                    if (some[k]) sum += d_y[(first + k) * s.columns + c];
                *to = sum;
            }
            __syncthreads();
        }
    }
}

} // namespace

void affect_cuda_read_ids(affect_backend *backend, int32_t *ids, const float *x, size_t n) {
    if (n)
        AFFECT_CUDA_LAUNCH(backend, read_ids_kernel, affect_cuda_blocks(n, 256, 2048), 256, 0, ids,
                           x, n);
}

void affect_cuda_gather(affect_backend *backend, float *y, const float *table, const int32_t *ids,
                        const affect_gather_shape *shape) {
    size_t n = shape->n * shape->columns;
    if (n)
        AFFECT_CUDA_LAUNCH(backend, gather_kernel, affect_cuda_blocks(n, 256, 4096), 256, 0, y,
                           table, ids, *shape);
}

void affect_cuda_scatter_add(affect_backend *backend, float *d_table, const float *d_y,
                             const int32_t *ids, const affect_gather_shape *shape) {
    if (shape->n && shape->columns)
        AFFECT_CUDA_LAUNCH(backend, scatter_add_kernel, affect_cuda_blocks(shape->n, 1), THREADS, 0,
                           d_table, d_y, ids, *shape);
}
