/* LSTM of any size on the device; where cuda_lstm_persistent.cuh can, it goes there.
 *
 * A direction walks its steps k = 0, 1, ... (times in reverse for the backward one). Forward: the
 * sums of all rows of x with the input kernel in one product, then a step is one product with the
 * recurrent kernel and one kernel over the cells. Backward walks the other way and leaves each
 * step's gradients of the sums in the place of the gates; they are then gathered row by row of x
 * (a row that several steps read adds them up in the order of time), and the rest are products over
 * all rows. Masked steps repeat the state and have gradients of zero.
 *
 * Reserve, for each direction, step-major: gates (steps, batch, 4u), cells and outputs (steps,
 * batch, u). Gate order i f c o, as in cpu_recurrent.c. */
#include "engine/device/cuda/cuda_lstm_persistent.cuh"

namespace {

/* What the kernels know of a direction's walk; device pointers. */
struct walk {
    size_t batch, steps, units;
    size_t width;  /* of a row of y: directions units */
    size_t column; /* of this direction in it */
    bool reverse, return_sequences;
    bool masks_output;     /* a masked step's y is 0, as in Keras' Bidirectional */
    const size_t *first;   /* (batch + 1) rows of each sequence, or NULL */
    const size_t *lengths; /* (batch), or NULL */
};

struct place {
    float *gates[2], *cells[2], *outputs[2]; /* reserve */
    size_t *first, *lengths;                 /* workspace from here */
    float *sums;                             /* (rows, 4u): of x; backward: their gradients */
    float *product;                          /* (batch, 4u) of a step */
    float *d_output, *d_cell;                /* (batch, u) */
    float *partial;                          /* of sums of columns */
};

size_t most_rows(const affect_lstm_shape *s) {
    return s->n_rows ? s->n_rows : s->batch * s->steps;
}

void take_reserve(place *p, char **at, const affect_lstm_shape *s) {
    size_t cells = s->steps * s->batch * s->units;
    for (int d = 0; d < s->directions; d++) {
        p->gates[d] = affect_cuda_take<float>(at, 4 * cells);
        p->cells[d] = affect_cuda_take<float>(at, cells);
        p->outputs[d] = affect_cuda_take<float>(at, cells);
    }
}

/* reserve NULL: at the workspace's end. Returns the bytes of the workspace. */
size_t make_place(place *p, const affect_lstm_shape *s, void *reserve, void *workspace,
                  bool inference) {
    char *begin = static_cast<char *>(workspace), *at = begin;
    size_t cells = s->batch * s->units;
    p->first = affect_cuda_take<size_t>(&at, s->batch + 1);
    p->lengths = affect_cuda_take<size_t>(&at, s->batch);
    p->sums = affect_cuda_take<float>(&at, most_rows(s) * 4 * s->units);
    p->product = affect_cuda_take<float>(&at, 4 * cells);
    p->d_output = affect_cuda_take<float>(&at, cells);
    p->d_cell = affect_cuda_take<float>(&at, cells);
    p->partial = affect_cuda_take<float>(&at, affect_cuda_column_parts * 4 * s->units);
    char *kept = static_cast<char *>(reserve);
    take_reserve(p, inference ? &at : &kept, s);
    return static_cast<size_t>(at - begin);
}

walk make_walk(affect_backend *backend, const place &p, const affect_lstm_shape *s, int direction) {
    walk w = {};
    w.batch = s->batch;
    w.steps = s->steps;
    w.units = s->units;
    w.width = static_cast<size_t>(s->directions) * s->units;
    w.column = static_cast<size_t>(direction) * s->units;
    w.reverse = s->directions == 2 ? direction == 1 : s->reverse;
    w.return_sequences = s->return_sequences;
    w.masks_output = s->return_sequences && s->directions == 2;
    if (s->n_rows) w.first = p.first;
    if (s->lengths) w.lengths = p.lengths;
    if (direction == 0 && s->n_rows)
        affect_cuda_put(backend, p.first, s->first, (s->batch + 1) * sizeof *s->first);
    if (direction == 0 && s->lengths)
        affect_cuda_put(backend, p.lengths, s->lengths, s->batch * sizeof *s->lengths);
    return w;
}

size_t rows_of(const affect_lstm_shape *s) {
    return s->n_rows ? s->first[s->batch] : s->batch * s->steps;
}

__device__ __forceinline__ size_t time_of(const walk &w, size_t k) {
    return w.reverse ? w.steps - 1 - k : k;
}
__device__ __forceinline__ bool is_masked(const walk &w, size_t k, size_t b) {
    return w.lengths && time_of(w, k) >= w.lengths[b];
}
/* The row of x that sequence b reads at a time. */
__device__ __forceinline__ size_t row_of(const walk &w, size_t b, size_t time) {
    if (!w.first) return b * w.steps + time;
    size_t last = w.first[b + 1] - 1, row = w.first[b] + time;
    return row < last ? row : last;
}
/* The number of y or d_y at step k. */
__device__ __forceinline__ size_t output_at(const walk &w, size_t k, size_t b, size_t j) {
    size_t row = w.return_sequences ? b * w.steps + time_of(w, k) : b;
    return row * w.width + w.column + j;
}

__device__ __forceinline__ float sigmoid(float x) {
    return 1 / (1 + expf(-x));
}

struct cells_of {
    float *gates, *cells, *outputs; /* of all steps */
};

/* Step k: a thread a cell. product (batch, 4u): the output before times the recurrent kernel; not
 * read at k = 0. */
__global__ void cell_kernel(float *y, cells_of c, const float *sums, const float *product,
                            const float *bias, walk w, size_t k) {
    size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x, u = w.units;
    if (i >= w.batch * u) return;
    size_t b = i / u, j = i % u, cell = k * w.batch * u + i;
    float *gates = c.gates + (k * w.batch + b) * 4 * u + j;
    float before = k ? c.cells[cell - w.batch * u] : 0;
    bool masked = is_masked(w, k, b);
    if (masked) {
        for (int g = 0; g < 4; g++) gates[g * u] = 0;
        c.cells[cell] = before;
        c.outputs[cell] = k ? c.outputs[cell - w.batch * u] : 0;
    } else {
        const float *sum = sums + row_of(w, b, time_of(w, k)) * 4 * u + j;
        float x[4];
        for (int g = 0; g < 4; g++) {
            x[g] = sum[g * u] + (bias ? bias[g * u + j] : 0);
            if (k) x[g] += product[b * 4 * u + g * u + j];
        }
        float in = sigmoid(x[0]), forget = sigmoid(x[1]), value = tanhf(x[2]), out = sigmoid(x[3]);
        float now = forget * before + in * value;
        gates[0] = in;
        gates[u] = forget;
        gates[2 * u] = value;
        gates[3 * u] = out;
        c.cells[cell] = now;
        c.outputs[cell] = out * tanhf(now);
    }
    if (w.return_sequences || k + 1 == w.steps)
        y[output_at(w, k, b, j)] = masked && w.masks_output ? 0 : c.outputs[cell];
}

/* Step k of the way back. d_output, d_cell (batch, u) are carried; product (batch, u): the
 * gradients of step k + 1's sums times the recurrent kernel, transposed. */
__global__ void cell_gradient_kernel(float *d_output, float *d_cell, cells_of c, const float *d_y,
                                     const float *product, walk w, size_t k) {
    size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x, u = w.units;
    if (i >= w.batch * u) return;
    size_t b = i / u, j = i % u, cell = k * w.batch * u + i;
    bool last = k + 1 == w.steps, masked = is_masked(w, k, b);
    float d = 0;
    if (!last) d = is_masked(w, k + 1, b) ? d_output[i] : product[i];
    if ((w.return_sequences || last) && !(masked && w.masks_output))
        d += d_y[output_at(w, k, b, j)];
    d_output[i] = d;
    if (last) d_cell[i] = 0;
    if (masked) return; /* the sums' gradients are zeros already */
    float *gates = c.gates + (k * w.batch + b) * 4 * u + j;
    float in = gates[0], forget = gates[u], value = gates[2 * u], out = gates[3 * u];
    float before = k ? c.cells[cell - w.batch * u] : 0, t = tanhf(c.cells[cell]);
    float d_now = d_cell[i] + d * out * (1 - t * t);
    gates[0] = d_now * value * in * (1 - in);
    gates[u] = d_now * before * forget * (1 - forget);
    gates[2 * u] = d_now * in * (1 - value * value);
    gates[3 * u] = d * t * out * (1 - out);
    d_cell[i] = d_now * forget;
}

/* d_sums (rows, 4u): what the steps that read each row left there, in the order of time. A block of
 * threads a row; blockIdx.y: the sequence. */
__global__ void gather_rows_kernel(float *d_sums, const float *gates, walk w,
                                   size_t sequence_rows) {
    size_t u4 = 4 * w.units;
    for (size_t b = blockIdx.y; b < w.batch; b += gridDim.y) {
        size_t rows = w.first ? w.first[b + 1] - w.first[b] : sequence_rows;
        size_t to = w.first ? w.first[b] : b * sequence_rows;
        for (size_t r = blockIdx.x; r < rows; r += gridDim.x) {
            size_t end = r + 1 < rows ? r + 1 : w.steps; /* the last row: all later steps */
            for (size_t column = threadIdx.x; column < u4; column += blockDim.x) {
                float sum = 0;
                for (size_t time = r; time < end; time++) {
                    size_t k = w.reverse ? w.steps - 1 - time : time;
                    sum += gates[(k * w.batch + b) * u4 + column];
                }
                d_sums[(to + r) * u4 + column] = sum;
            }
        }
    }
}

void walk_forward(affect_backend *backend, float *y, const place &p, const float *x,
                  const affect_lstm_parameters *parameters, const affect_lstm_shape *s, int d) {
    size_t u = s->units, cells = s->batch * u, rows = rows_of(s);
    walk w = make_walk(backend, p, s, d);
    cells_of c = {p.gates[d], p.cells[d], p.outputs[d]};
    affect_cuda_product(backend, p.sums, x, parameters->kernel[d],
                        {rows, 4 * u, s->inputs, false, false, s->inputs, 4 * u, 4 * u, 1, 0});
    for (size_t k = 0; k < s->steps; k++) {
        if (k)
            affect_cuda_product(backend, p.product, c.outputs + (k - 1) * cells,
                                parameters->recurrent_kernel[d],
                                {s->batch, 4 * u, u, false, false, u, 4 * u, 4 * u, 1, 0});
        AFFECT_CUDA_LAUNCH(backend, cell_kernel, affect_cuda_blocks(cells, 128, cells), 128, 0, y,
                           c, p.sums, p.product, parameters->bias[d], w, k);
    }
}

void walk_backward(affect_backend *backend, const place &p, const float *d_y,
                   const affect_lstm_parameters *parameters, const affect_lstm_shape *s,
                   const walk &w, int d) {
    size_t u = s->units, cells = s->batch * u;
    cells_of c = {p.gates[d], p.cells[d], p.outputs[d]};
    for (size_t k = s->steps; k-- > 0;) {
        if (k + 1 < s->steps)
            affect_cuda_product(backend, p.product, c.gates + (k + 1) * 4 * cells,
                                parameters->recurrent_kernel[d],
                                {s->batch, u, 4 * u, false, true, 4 * u, 4 * u, u, 1, 0});
        AFFECT_CUDA_LAUNCH(backend, cell_gradient_kernel, affect_cuda_blocks(cells, 128, cells),
                           128, 0, p.d_output, p.d_cell, c, d_y, p.product, w, k);
    }
}

void add_gradients(affect_backend *backend, float *d_x, const affect_lstm_parameters *gradients,
                   const place &p, const float *x, const affect_lstm_parameters *parameters,
                   const affect_lstm_shape *s, const walk &w, int d) {
    size_t u = s->units, cells = s->batch * u, rows = rows_of(s);
    if (s->steps > 1)
        affect_cuda_product(
            backend, gradients->recurrent_kernel[d], p.outputs[d], p.gates[d] + 4 * cells,
            {u, 4 * u, (s->steps - 1) * s->batch, true, false, u, 4 * u, 4 * u, 1, 1});
    AFFECT_CUDA_LAUNCH(backend, gather_rows_kernel,
                       dim3(affect_cuda_blocks(s->steps, 1, 64),
                            affect_cuda_blocks(s->batch, 1, affect_cuda_most_y)),
                       affect_cuda_blocks(4 * u, 32, 16) * 32, 0, p.sums, p.gates[d], w, s->steps);
    affect_cuda_product(backend, gradients->kernel[d], x, p.sums,
                        {s->inputs, 4 * u, rows, true, false, s->inputs, 4 * u, 4 * u, 1, 1});
    if (gradients->bias[d])
        affect_cuda_add_column_sums(backend, gradients->bias[d], p.sums, rows, 4 * u, p.partial);
    if (d_x)
        affect_cuda_product(
            backend, d_x, p.sums, parameters->kernel[d],
            {rows, s->inputs, 4 * u, false, true, 4 * u, 4 * u, s->inputs, 1, d ? 1.0f : 0.0f});
}

} // namespace

size_t affect_cuda_lstm_reserve(affect_backend *backend, const affect_lstm_shape *shape) {
    if (affect_cuda_lstm_persistent_can(backend, shape))
        return affect_cuda_lstm_persistent_reserve(backend, shape);
    place p;
    char *at = nullptr;
    take_reserve(&p, &at, shape);
    return reinterpret_cast<size_t>(at);
}

size_t affect_cuda_lstm_workspace(affect_backend *backend, const affect_lstm_shape *shape) {
    if (affect_cuda_lstm_persistent_can(backend, shape))
        return affect_cuda_lstm_persistent_workspace(backend, shape);
    place p;
    return make_place(&p, shape, nullptr, nullptr, true);
}

void affect_cuda_lstm_forward(affect_backend *backend, float *y, void *reserve, const float *x,
                              const affect_lstm_parameters *parameters, void *workspace,
                              const affect_lstm_shape *shape) {
    if (affect_cuda_lstm_persistent_can(backend, shape)) {
        affect_cuda_lstm_persistent_forward(backend, y, reserve, x, parameters, workspace, shape);
        return;
    }
    place p;
    make_place(&p, shape, reserve, workspace, reserve == nullptr);
    for (int d = 0; d < shape->directions; d++)
        walk_forward(backend, y, p, x, parameters, shape, d);
}

void affect_cuda_lstm_backward(affect_backend *backend, float *d_x,
                               const affect_lstm_parameters *gradients, const float *d_y,
                               const float *x, const float *y, void *reserve,
                               const affect_lstm_parameters *parameters, void *workspace,
                               const affect_lstm_shape *shape) {
    if (affect_cuda_lstm_persistent_can(backend, shape)) {
        affect_cuda_lstm_persistent_backward(backend, d_x, gradients, d_y, x, y, reserve,
                                             parameters, workspace, shape);
        return;
    }
    place p;
    make_place(&p, shape, reserve, workspace, false);
    for (int d = 0; d < shape->directions; d++) {
        walk w = make_walk(backend, p, shape, d);
        walk_backward(backend, p, d_y, parameters, shape, w, d);
        add_gradients(backend, d_x, gradients, p, x, parameters, shape, w, d);
    }
}
