/* LSTM on the CPU: one or two directions over the same input.
 *
 * The work is cut into units: a unit is one direction of a contiguous part of the batch, so two
 * threads take a direction each, and a single direction is split by sequences. A unit copies its
 * sequences step-major (its own order of steps: reversed for the backward direction), so that
 *  - the input product of all steps is one large product,
 *  - a step is one product with the recurrent kernel and one pass over the gates,
 *  - the gradients of both kernels are one large product each.
 * Reserve of a unit: gates after their functions (steps, b, 4u), cells (steps, b, u), outputs
 * (steps, b, u). Gate order i f c o; formulas: Hochreiter and Schmidhuber 1997 with forget gates
 * (Gers 2000), as Keras' LSTM with sigmoid and tanh. */
#include "engine/cpu/cpu_backend.h"
#include "engine/cpu/cpu_gemm.h"
#include "engine/cpu/cpu_math.h"

#include <string.h>

typedef struct {
    const affect_lstm_shape *shape;
    const affect_lstm_parameters *parameters, *gradients;
    const affect_real *x, *d_y;
    affect_real *y, *d_x;
    char *reserve, *workspace;
    size_t n_splits, n_units; /* parts of the batch; parts times directions */
} lstm_call;

/* One unit's place: which sequences, which direction, where its memory is. */
typedef struct {
    int direction;
    bool reverse;
    size_t first, rows;                           /* sequences */
    affect_real *gates, *cells, *outputs;         /* reserve */
    affect_real *x, *d_x;                         /* (steps, rows, inputs) */
    affect_real *d_kernel, *d_recurrent, *d_bias; /* this unit's */
    affect_real *d_output, *d_cell;               /* (rows, units) carried between steps */
} lstm_unit;

static size_t count_splits(const affect_cpu *cpu, const affect_lstm_shape *s) {
    size_t splits = cpu->n_threads / (size_t)s->directions;
    if (splits > s->batch) splits = s->batch;
    return splits ? splits : 1;
}

static size_t lines(size_t n) {
    return affect_cpu_lines(n * sizeof(affect_real));
}

/* Sequences of the largest unit: every unit's memory has this room. */
static size_t unit_rows(const affect_lstm_shape *s, size_t splits) {
    return (s->batch + splits - 1) / splits;
}

static size_t reserve_size(const affect_lstm_shape *s, size_t splits) {
    size_t cells = s->steps * unit_rows(s, splits);
    return lines(cells * 4 * s->units) + 2 * lines(cells * s->units);
}

static size_t work_size(const affect_lstm_shape *s, size_t splits) {
    size_t rows = unit_rows(s, splits);
    return 2 * lines(s->steps * rows * s->inputs) + lines(s->inputs * 4 * s->units) +
           lines(s->units * 4 * s->units) + lines(4 * s->units) + 2 * lines(rows * s->units);
}

size_t affect_cpu_lstm_reserve(affect_backend *backend, const affect_lstm_shape *shape) {
    size_t splits = count_splits(affect_cpu_of(backend), shape);
    return reserve_size(shape, splits) * splits * (size_t)shape->directions;
}

/* Inference keeps what training reserves in the workspace's second half. */
size_t affect_cpu_lstm_workspace(affect_backend *backend, const affect_lstm_shape *shape) {
    size_t splits = count_splits(affect_cpu_of(backend), shape);
    return (work_size(shape, splits) + reserve_size(shape, splits)) * splits *
           (size_t)shape->directions;
}

static lstm_call make_call(affect_backend *backend, const affect_lstm_shape *s, void *reserve,
                           void *workspace) {
    size_t splits = count_splits(affect_cpu_of(backend), s);
    lstm_call call = {.shape = s,
                      .n_splits = splits,
                      .n_units = splits * (size_t)s->directions,
                      .workspace = workspace,
                      .reserve = reserve};
    if (!reserve) call.reserve = call.workspace + work_size(s, splits) * call.n_units;
    return call;
}

static lstm_unit unit_of(const lstm_call *call, size_t index) {
    const affect_lstm_shape *s = call->shape;
    size_t split = index % call->n_splits, room = unit_rows(s, call->n_splits);
    lstm_unit unit = {.direction = (int)(index / call->n_splits)};
    unit.reverse = s->directions == 2 ? unit.direction == 1 : s->reverse;
    unit.first = split * s->batch / call->n_splits;
    unit.rows = (split + 1) * s->batch / call->n_splits - unit.first;
    char *reserve = call->reserve + index * reserve_size(s, call->n_splits);
    unit.gates = affect_cpu_take(&reserve, s->steps * room * 4 * s->units);
    unit.cells = affect_cpu_take(&reserve, s->steps * room * s->units);
    unit.outputs = affect_cpu_take(&reserve, s->steps * room * s->units);
    char *work = call->workspace + index * work_size(s, call->n_splits);
    unit.x = affect_cpu_take(&work, s->steps * room * s->inputs);
    unit.d_x = affect_cpu_take(&work, s->steps * room * s->inputs);
    unit.d_kernel = affect_cpu_take(&work, s->inputs * 4 * s->units);
    unit.d_recurrent = affect_cpu_take(&work, s->units * 4 * s->units);
    unit.d_bias = affect_cpu_take(&work, 4 * s->units);
    unit.d_output = affect_cpu_take(&work, room * s->units);
    unit.d_cell = affect_cpu_take(&work, room * s->units);
    return unit;
}

/* Step-major order of a unit's own walk: its step k is time k, or steps - 1 - k when reversed. */
static size_t time_of(const lstm_unit *unit, const affect_lstm_shape *s, size_t k) {
    return unit->reverse ? s->steps - 1 - k : k;
}

static void gather_inputs(const lstm_unit *unit, const lstm_call *call) {
    const affect_lstm_shape *s = call->shape;
    for (size_t k = 0; k < s->steps; k++)
        for (size_t r = 0; r < unit->rows; r++)
            memcpy(unit->x + (k * unit->rows + r) * s->inputs,
                   call->x + ((unit->first + r) * s->steps + time_of(unit, s, k)) * s->inputs,
                   s->inputs * sizeof *unit->x);
}

/* gates: sums in, values out; cell and output of this step from the cell before. */
AFFECT_CPU_CLONES
static void step_forward(affect_real *restrict gates, affect_real *restrict cell,
                         affect_real *restrict output, const affect_real *restrict before,
                         size_t rows, size_t u) {
    for (size_t r = 0; r < rows; r++, gates += 4 * u, cell += u, output += u) {
        for (size_t j = 0; j < 2 * u; j++) gates[j] = affect_sigmoid(gates[j]);
        for (size_t j = 2 * u; j < 3 * u; j++) gates[j] = affect_tanh(gates[j]);
        for (size_t j = 3 * u; j < 4 * u; j++) gates[j] = affect_sigmoid(gates[j]);
        if (before) {
            for (size_t j = 0; j < u; j++)
                cell[j] = gates[u + j] * before[j] + gates[j] * gates[2 * u + j];
            before += u;
        } else {
            for (size_t j = 0; j < u; j++) cell[j] = gates[j] * gates[2 * u + j];
        }
        for (size_t j = 0; j < u; j++) output[j] = gates[3 * u + j] * affect_tanh(cell[j]);
    }
}

static void fill_rows(affect_real *rows, const affect_real *bias, size_t n_rows, size_t n) {
    for (size_t r = 0; r < n_rows; r++) {
        if (bias)
            memcpy(rows + r * n, bias, n * sizeof *rows);
        else
            memset(rows + r * n, 0, n * sizeof *rows);
    }
}

static void walk_forward(const lstm_unit *unit, const lstm_call *call) {
    const affect_lstm_shape *s = call->shape;
    size_t u = s->units, rows = unit->rows, step = rows * u;
    const affect_real *recurrent = call->parameters->recurrent_kernel[unit->direction];
    for (size_t k = 0; k < s->steps; k++) {
        affect_real *gates = unit->gates + k * 4 * step, *cell = unit->cells + k * step;
        affect_real *output = unit->outputs + k * step;
        if (k)
            affect_cpu_gemm(&(affect_gemm){.m = rows,
                                           .n = 4 * u,
                                           .k = u,
                                           .a = output - step,
                                           .a_row = u,
                                           .b = recurrent,
                                           .b_row = 4 * u,
                                           .c = gates,
                                           .c_row = 4 * u,
                                           .add = true});
        step_forward(gates, cell, output, k ? cell - step : NULL, rows, u);
    }
}

static void scatter_outputs(const lstm_unit *unit, const lstm_call *call) {
    const affect_lstm_shape *s = call->shape;
    size_t u = s->units, width = (size_t)s->directions * u;
    size_t column = (size_t)unit->direction * u;
    for (size_t k = s->return_sequences ? 0 : s->steps - 1; k < s->steps; k++)
        for (size_t r = 0; r < unit->rows; r++) {
            size_t sequence = unit->first + r;
            size_t row = s->return_sequences ? sequence * s->steps + time_of(unit, s, k) : sequence;
            memcpy(call->y + row * width + column, unit->outputs + (k * unit->rows + r) * u,
                   u * sizeof *call->y);
        }
}

static void forward_units(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    const lstm_call *call = context;
    const affect_lstm_shape *s = call->shape;
    for (size_t i = begin; i < end; i++) {
        lstm_unit unit = unit_of(call, i);
        size_t rows = s->steps * unit.rows;
        gather_inputs(&unit, call);
        fill_rows(unit.gates, call->parameters->bias[unit.direction], rows, 4 * s->units);
        affect_cpu_gemm(&(affect_gemm){.m = rows,
                                       .n = 4 * s->units,
                                       .k = s->inputs,
                                       .a = unit.x,
                                       .a_row = s->inputs,
                                       .b = call->parameters->kernel[unit.direction],
                                       .b_row = 4 * s->units,
                                       .c = unit.gates,
                                       .c_row = 4 * s->units,
                                       .add = true});
        walk_forward(&unit, call);
        scatter_outputs(&unit, call);
    }
}

void affect_cpu_lstm_forward(affect_backend *backend, affect_real *y, void *reserve,
                             const affect_real *x, const affect_lstm_parameters *parameters,
                             void *workspace, const affect_lstm_shape *shape) {
    if (!affect_cpu_ready(backend)) return;
    lstm_call call = make_call(backend, shape, reserve, workspace);
    call.parameters = parameters;
    call.x = x;
    call.y = y;
    affect_parallel_for(affect_cpu_of(backend)->pool, call.n_units, forward_units, &call);
}

/* The gradient that arrives from above at the unit's step k is added to what later steps sent. */
static void add_d_y(const lstm_unit *unit, const lstm_call *call, size_t k) {
    const affect_lstm_shape *s = call->shape;
    if (!s->return_sequences && k + 1 < s->steps) return;
    size_t u = s->units, width = (size_t)s->directions * u;
    for (size_t r = 0; r < unit->rows; r++) {
        size_t sequence = unit->first + r;
        size_t row = s->return_sequences ? sequence * s->steps + time_of(unit, s, k) : sequence;
        const affect_real *d = call->d_y + row * width + (size_t)unit->direction * u;
        for (size_t j = 0; j < u; j++) unit->d_output[r * u + j] += d[j];
    }
}

/* gates: values in, gradients of their sums out; d_cell: of this step in, of the step before out.
 */
AFFECT_CPU_CLONES
static void step_backward(affect_real *restrict gates, affect_real *restrict d_cell,
                          const affect_real *restrict d_output, const affect_real *restrict cell,
                          const affect_real *restrict before, size_t rows, size_t u) {
    for (size_t r = 0; r < rows; r++) {
        for (size_t j = 0; j < u; j++) {
            affect_real i = gates[j], f = gates[u + j], g = gates[2 * u + j], o = gates[3 * u + j];
            affect_real t = affect_tanh(cell[j]);
            affect_real d = d_cell[j] + d_output[j] * o * (1 - t * t);
            affect_real earlier = before ? before[j] : 0;
            gates[j] = d * g * i * (1 - i);
            gates[u + j] = d * earlier * f * (1 - f);
            gates[2 * u + j] = d * i * (1 - g * g);
            gates[3 * u + j] = d_output[j] * t * o * (1 - o);
            d_cell[j] = d * f;
        }
        gates += 4 * u, d_cell += u, d_output += u, cell += u;
        if (before) before += u;
    }
}

static void walk_backward(const lstm_unit *unit, const lstm_call *call) {
    const affect_lstm_shape *s = call->shape;
    size_t u = s->units, rows = unit->rows, step = rows * u;
    const affect_real *recurrent = call->parameters->recurrent_kernel[unit->direction];
    memset(unit->d_output, 0, step * sizeof *unit->d_output);
    memset(unit->d_cell, 0, step * sizeof *unit->d_cell);
    for (size_t k = s->steps; k-- > 0;) {
        affect_real *gates = unit->gates + k * 4 * step, *cell = unit->cells + k * step;
        add_d_y(unit, call, k);
        step_backward(gates, unit->d_cell, unit->d_output, cell, k ? cell - step : NULL, rows, u);
        affect_cpu_gemm(&(affect_gemm){.m = rows,
                                       .n = u,
                                       .k = 4 * u,
                                       .a = gates,
                                       .a_row = 4 * u,
                                       .b = recurrent,
                                       .b_row = 4 * u,
                                       .b_transposed = true,
                                       .c = unit->d_output,
                                       .c_row = u});
    }
}

/* The kernels' gradients from all steps at once; the gates now hold the sums' gradients. */
static void multiply_gradients(const lstm_unit *unit, const lstm_call *call) {
    const affect_lstm_shape *s = call->shape;
    size_t u = s->units, rows = s->steps * unit->rows, step = unit->rows;
    affect_cpu_gemm(&(affect_gemm){.m = s->inputs,
                                   .n = 4 * u,
                                   .k = rows,
                                   .a = unit->x,
                                   .a_row = s->inputs,
                                   .a_transposed = true,
                                   .b = unit->gates,
                                   .b_row = 4 * u,
                                   .c = unit->d_kernel,
                                   .c_row = 4 * u});
    affect_cpu_gemm(&(affect_gemm){.m = u,
                                   .n = 4 * u,
                                   .k = rows - step,
                                   .a = unit->outputs,
                                   .a_row = u,
                                   .a_transposed = true,
                                   .b = unit->gates + step * 4 * u,
                                   .b_row = 4 * u,
                                   .c = unit->d_recurrent,
                                   .c_row = 4 * u});
    memset(unit->d_bias, 0, 4 * u * sizeof *unit->d_bias);
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < 4 * u; j++) unit->d_bias[j] += unit->gates[r * 4 * u + j];
    if (call->d_x)
        affect_cpu_gemm(&(affect_gemm){.m = rows,
                                       .n = s->inputs,
                                       .k = 4 * u,
                                       .a = unit->gates,
                                       .a_row = 4 * u,
                                       .b = call->parameters->kernel[unit->direction],
                                       .b_row = 4 * u,
                                       .b_transposed = true,
                                       .c = unit->d_x,
                                       .c_row = s->inputs});
}

static void backward_units(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    const lstm_call *call = context;
    for (size_t i = begin; i < end; i++) {
        lstm_unit unit = unit_of(call, i);
        gather_inputs(&unit, call);
        walk_backward(&unit, call);
        multiply_gradients(&unit, call);
    }
}

static void add_all(affect_real *to, const affect_real *from, size_t n) {
    for (size_t i = 0; to && i < n; i++) to[i] += from[i];
}

/* Sums the units' input gradients of sequences begin..end-1, direction 0 first. */
static void collect_d_x(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    const lstm_call *call = context;
    const affect_lstm_shape *s = call->shape;
    size_t count = s->steps * s->inputs;
    memset(call->d_x + begin * count, 0, (end - begin) * count * sizeof *call->d_x);
    for (size_t i = 0; i < call->n_units; i++) {
        lstm_unit unit = unit_of(call, i);
        for (size_t r = 0; r < unit.rows; r++) {
            size_t sequence = unit.first + r;
            if (sequence < begin || sequence >= end) continue;
            for (size_t k = 0; k < s->steps; k++)
                add_all(call->d_x + sequence * count + time_of(&unit, s, k) * s->inputs,
                        unit.d_x + (k * unit.rows + r) * s->inputs, s->inputs);
        }
    }
}

void affect_cpu_lstm_backward(affect_backend *backend, affect_real *d_x,
                              const affect_lstm_parameters *gradients, const affect_real *d_y,
                              const affect_real *x, const affect_real *y, void *reserve,
                              const affect_lstm_parameters *parameters, void *workspace,
                              const affect_lstm_shape *shape) {
    (void)y; /* the reserve has the outputs in step-major order */
    if (!affect_cpu_ready(backend)) return;
    affect_parallel *pool = affect_cpu_of(backend)->pool;
    lstm_call call = make_call(backend, shape, reserve, workspace);
    call.parameters = parameters;
    call.x = x;
    call.d_y = d_y;
    call.d_x = d_x;
    affect_parallel_for(pool, call.n_units, backward_units, &call);
    size_t gates = 4 * shape->units;
    for (size_t i = 0; i < call.n_units; i++) {
        lstm_unit unit = unit_of(&call, i);
        add_all(gradients->kernel[unit.direction], unit.d_kernel, shape->inputs * gates);
        add_all(gradients->recurrent_kernel[unit.direction], unit.d_recurrent,
                shape->units * gates);
        add_all(gradients->bias[unit.direction], unit.d_bias, gates);
    }
    if (d_x) affect_parallel_for(pool, shape->batch, collect_d_x, &call);
}
