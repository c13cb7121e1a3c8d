/* Sums of columns, and what is done element by element on the device: activations, dropout,
 * rows. */
#include "engine/device/cuda/cuda_backend.cuh"

#include <cmath>

/* ---- Sums of columns ---- */

namespace {

enum { SUM_COLUMNS = 32, SUM_ROWS = 8 }; /* a block's threads */

/* Part y of the rows: partial (parts, columns). Thread rows take turns; their sums are added in
 * order. */
__global__ void sum_parts_kernel(float *partial, const float *x, size_t rows, size_t columns) {
    __shared__ float sums[SUM_ROWS][SUM_COLUMNS];
    size_t column = static_cast<size_t>(blockIdx.x) * SUM_COLUMNS + threadIdx.x;
    size_t begin = rows * blockIdx.y / gridDim.y, end = rows * (blockIdx.y + 1) / gridDim.y;
    float sum = 0;
    if (column < columns)
        for (size_t r = begin + threadIdx.y; r < end; r += SUM_ROWS) sum += x[r * columns + column];
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y || column >= columns) return;
    for (int i = 1; i < SUM_ROWS; i++) sum += sums[i][threadIdx.x];
    partial[blockIdx.y * columns + column] = sum;
}

__global__ void add_parts_kernel(float *to, const float *partial, unsigned parts, size_t columns) {
    size_t column = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (column >= columns) return;
    float sum = 0;
#pragma unroll 8 /* loads at once, sums in order */
    for (unsigned p = 0; p < parts; p++) sum += partial[p * columns + column];
    to[column] += sum;
}

} // namespace

void affect_cuda_add_column_sums(affect_backend *backend, float *to, const float *x, size_t rows,
                                 size_t columns, float *partial) {
    unsigned parts = affect_cuda_blocks(rows, 64, affect_cuda_column_parts);
    AFFECT_CUDA_LAUNCH(backend, sum_parts_kernel,
                       dim3(affect_cuda_blocks(columns, SUM_COLUMNS), parts),
                       dim3(SUM_COLUMNS, SUM_ROWS), 0, partial, x, rows, columns);
    AFFECT_CUDA_LAUNCH(backend, add_parts_kernel, affect_cuda_blocks(columns, 128), 128, 0, to,
                       partial, parts, columns);
}

/* ---- Activations ---- */

namespace {

/* This thread's first element, and how far it is to its next. */
__device__ __forceinline__ size_t first_element() {
    return static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ size_t element_step() {
    return static_cast<size_t>(gridDim.x) * blockDim.x;
}

__global__ void activate_kernel(float *y, const float *x, size_t n, affect_activation activation) {
    for (size_t i = first_element(); i < n; i += element_step())
        y[i] = affect_cuda_activate(x[i], activation);
}

/* A row a thread: the classes are few. */
__global__ void softmax_kernel(float *y, const float *x, size_t rows, size_t n) {
    for (size_t r = first_element(); r < rows; r += element_step()) {
        const float *from = x + r * n;
        float *to = y + r * n;
        float largest = from[0], sum = 0;
        for (size_t i = 1; i < n; i++) largest = from[i] > largest ? from[i] : largest;
        for (size_t i = 0; i < n; i++) {
            float e = expf(from[i] - largest);
            to[i] = e;
            sum += e;
        }
        for (size_t i = 0; i < n; i++) to[i] /= sum;
    }
}

__global__ void activation_gradient_kernel(float *d_x, const float *d_y, const float *y, size_t n,
                                           affect_activation activation) {
    for (size_t i = first_element(); i < n; i += element_step())
        d_x[i] = affect_cuda_activation_gradient(d_y[i], y[i], activation);
}

} // namespace

void affect_cuda_activation_forward(affect_backend *backend, float *y, const float *x, size_t rows,
                                    size_t n, affect_activation activation) {
    if (activation == AFFECT_ACTIVATION_SOFTMAX)
        AFFECT_CUDA_LAUNCH(backend, softmax_kernel, affect_cuda_blocks(rows, 64), 64, 0, y, x, rows,
                           n);
    else
        AFFECT_CUDA_LAUNCH(backend, activate_kernel, affect_cuda_blocks(rows * n, 256, 2048), 256,
                           0, y, x, rows * n, activation);
}

void affect_cuda_activation_backward(affect_backend *backend, float *d_x, const float *d_y,
                                     const float *y, size_t rows, size_t n,
                                     affect_activation activation) {
    AFFECT_CUDA_LAUNCH(backend, activation_gradient_kernel, affect_cuda_blocks(rows * n, 256, 2048),
                       256, 0, d_x, d_y, y, rows * n, activation);
}

/* ---- Dropout ---- */

namespace {

/* Two elements a block of random words: the pair (2 b, 2 b + 1), counted from element 0 of all. */
__global__ void dropout_kernel(float *y, const float *x, affect_dropout_shape shape, float scale,
                               uint64_t n_pairs) {
    uint64_t first = shape.first, end = shape.first + shape.n;
    for (uint64_t p = first_element(); p < n_pairs; p += element_step()) {
        uint32_t words[4];
        uint64_t pair = first / 2 + p;
        affect_random_block(words, shape.key, pair);
        for (uint64_t half = 0; half < 2; half++) {
            uint64_t element = 2 * pair + half;
            if (element < first || element >= end) continue;
            uint64_t bits = static_cast<uint64_t>(words[2 * half]) << 32 | words[2 * half + 1];
            double uniform = static_cast<double>(bits >> 11) * 0x1p-53;
            size_t i = static_cast<size_t>(element - first);
            y[i] = uniform < shape.rate ? 0 : x[i] * scale;
        }
    }
}

} // namespace

void affect_cuda_dropout(affect_backend *backend, float *y, const float *x,
                         const affect_dropout_shape *shape) {
    uint64_t pairs = (shape->first + shape->n + 1) / 2 - shape->first / 2;
    AFFECT_CUDA_LAUNCH(backend, dropout_kernel, affect_cuda_blocks(pairs, 256, 2048), 256, 0, y, x,
                       *shape, static_cast<float>(1 / (1 - shape->rate)), pairs);
}

/* ---- Rows ---- */

namespace {

__global__ void add_kernel(float *y, const float *x, size_t n) {
    for (size_t i = first_element(); i < n; i += element_step()) y[i] += x[i];
}

__global__ void copy_rows_kernel(float *to, size_t to_stride, const float *from, size_t from_stride,
                                 size_t rows, size_t columns) {
    for (size_t i = first_element(); i < rows * columns; i += element_step()) {
        size_t r = i / columns, c = i % columns;
        to[r * to_stride + c] = from[r * from_stride + c];
    }
}

} // namespace

void affect_cuda_add(affect_backend *backend, float *y, const float *x, size_t n) {
    AFFECT_CUDA_LAUNCH(backend, add_kernel, affect_cuda_blocks(n, 256, 4096), 256, 0, y, x, n);
}

void affect_cuda_copy_rows(affect_backend *backend, float *to, size_t to_stride, const float *from,
                           size_t from_stride, size_t rows, size_t columns) {
    if (!rows || !columns) return;
    AFFECT_CUDA_LAUNCH(backend, copy_rows_kernel, affect_cuda_blocks(rows * columns, 256, 2048),
                       256, 0, to, to_stride, from, from_stride, rows, columns);
}
