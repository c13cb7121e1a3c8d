/* LSTM on the CPU: one or two directions over the same input.
 *
 * Forward is cut into units: a unit is one direction of a contiguous part of the batch, so two
 * threads take a direction each, and a single direction is split by sequences. A unit multiplies
 * its rows of x with the input kernel once for all steps ("sums"), then walks the steps: one
 * product with the recurrent kernel, one pass over the gates. Rows that several steps read
 * (affect_lstm_shape.n_rows) are multiplied once.
 *
 * Backward walks the same units the other way and leaves each step's gradients of the sums in the
 * place of the gates; where steps share a row of x their gradients are added up on the way. Then
 * the kernels' gradients are made column range by column range and d_x row range by row range, so
 * that no sum crosses threads.
 *
 * A unit's memory is step-major, in its own order of steps (reversed for the backward direction).
 * Reserve: gates after their functions (steps, b, 4u), cells (steps, b, u), outputs (steps, b, u).
 * Gate order i f c o; formulas: Hochreiter and Schmidhuber 1997 with forget gates (Gers 2000), as
 * Keras' LSTM with sigmoid and tanh. */
#include "engine/device/cpu/cpu_backend.h"
#include "engine/device/cpu/cpu_math.h"
#include "engine/device/cpu/cpu_product.h"
#include "engine/device/cpu/cpu_vector.h"

#include <string.h>

enum { CHUNK = 96 }; /* rows of one call of a product: with the weights they fit the L2 cache */

typedef struct {
    const affect_lstm_shape *shape;
    const affect_lstm_parameters *parameters, *gradients;
    const affect_real *x, *d_y;
    affect_real *y, *d_x;
    char *reserve, *workspace;
    size_t n_splits, n_units; /* parts of the batch; parts times directions */
    /* The workspace's common part, for each direction. */
    affect_cpu_packed input[2], recurrent[2]; /* backward: both transposed */
    affect_real *sums[2];                     /* (n_rows, 4u) where rows are shared */
    affect_real *shared[2];                   /* backward: (batch, 4u) of each last row */
} lstm_call;

/* One unit's place: which sequences, which direction, where its memory is. */
typedef struct {
    int direction;
    bool reverse;
    size_t first, rows;                   /* sequences */
    affect_real *gates, *cells, *outputs; /* reserve */
    affect_real *d_output, *d_cell;       /* (rows, units) carried between steps */
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

static size_t carry_size(const affect_lstm_shape *s, size_t splits) {
    return 2 * lines(unit_rows(s, splits) * s->units);
}

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

/* Numbers of a packed kernel (k, 4u), or of its transpose. */
static size_t packed_size(const affect_lstm_shape *s, size_t k) {
    return larger(affect_cpu_packed_size(k, 4 * s->units), affect_cpu_packed_size(4 * s->units, k));
}

static size_t common_size(const affect_lstm_shape *s) {
    size_t gates = 4 * s->units;
    size_t size = lines(packed_size(s, s->inputs)) + lines(packed_size(s, s->units));
    if (s->n_rows) size += lines(s->n_rows * gates) + lines(s->batch * gates);
    return size * (size_t)s->directions;
}

size_t AFFECT_CPU_OPERATION(lstm_reserve)(affect_backend *backend, const affect_lstm_shape *shape) {
    size_t splits = count_splits(affect_cpu_of(backend), shape);
    return reserve_size(shape, splits) * splits * (size_t)shape->directions;
}

/* Inference keeps what training reserves at the workspace's end. */
size_t AFFECT_CPU_OPERATION(lstm_workspace)(affect_backend *backend,
                                            const affect_lstm_shape *shape) {
    size_t splits = count_splits(affect_cpu_of(backend), shape);
    return common_size(shape) + (carry_size(shape, splits) + reserve_size(shape, splits)) * splits *
                                    (size_t)shape->directions;
}

static lstm_call make_call(affect_backend *backend, const affect_lstm_shape *s, void *reserve,
                           void *workspace) {
    size_t splits = count_splits(affect_cpu_of(backend), s), gates = 4 * s->units;
    lstm_call call = {.shape = s, .n_splits = splits, .n_units = splits * (size_t)s->directions};
    call.workspace = workspace;
    for (int d = 0; d < s->directions; d++) {
        call.input[d].numbers = affect_cpu_take(&call.workspace, packed_size(s, s->inputs));
        call.recurrent[d].numbers = affect_cpu_take(&call.workspace, packed_size(s, s->units));
        if (!s->n_rows) continue;
        call.sums[d] = affect_cpu_take(&call.workspace, s->n_rows * gates);
        call.shared[d] = affect_cpu_take(&call.workspace, s->batch * gates);
    }
    call.reserve = reserve;
    if (!reserve) call.reserve = call.workspace + carry_size(s, splits) * call.n_units;
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
    char *carry = call->workspace + index * carry_size(s, call->n_splits);
    unit.d_output = affect_cpu_take(&carry, room * s->units);
    unit.d_cell = affect_cpu_take(&carry, room * s->units);
    return unit;
}

/* A unit's step k is time k, or steps - 1 - k when reversed; and the other way round. */
static size_t time_of(const lstm_unit *unit, const affect_lstm_shape *s, size_t k) {
    return unit->reverse ? s->steps - 1 - k : k;
}

/* The row of x that a sequence reads at a time. */
static size_t row_of(const affect_lstm_shape *s, size_t sequence, size_t time) {
    if (!s->n_rows) return sequence * s->steps + time;
    size_t last = s->first[sequence + 1] - 1, row = s->first[sequence] + time;
    return row < last ? row : last;
}

/* Steps of a sequence that are not masked. */
static size_t length_of(const affect_lstm_shape *s, size_t sequence) {
    return s->lengths ? s->lengths[sequence] : s->steps;
}

static bool is_masked(const lstm_unit *unit, const affect_lstm_shape *s, size_t k,
                      size_t sequence) {
    return s->lengths && time_of(unit, s, k) >= s->lengths[sequence];
}

/* The first time at which a sequence's last row is read: from there on it is read at every step. */
static size_t shared_from(const affect_lstm_shape *s, size_t sequence) {
    return s->first[sequence + 1] - s->first[sequence] - 1;
}

static affect_real *gates_of(const lstm_unit *unit, const affect_lstm_shape *s, size_t k,
                             size_t sequence) {
    return unit->gates + (k * unit->rows + sequence - unit->first) * 4 * s->units;
}

/* The row of d_y or y of a sequence at the unit's step k. */
static size_t output_row(const lstm_unit *unit, const affect_lstm_shape *s, size_t k,
                         size_t sequence) {
    return s->return_sequences ? sequence * s->steps + time_of(unit, s, k) : sequence;
}

/* ---- Packing ---- */

static void pack(lstm_call *call, bool transposed) {
    const affect_lstm_shape *s = call->shape;
    size_t gates = 4 * s->units;
    for (int d = 0; d < s->directions; d++) {
        affect_cpu_packed *both[] = {&call->input[d], &call->recurrent[d]};
        const affect_real *kernels[] = {call->parameters->kernel[d],
                                        call->parameters->recurrent_kernel[d]};
        size_t depths[] = {s->inputs, s->units};
        for (int i = 0; i < 2; i++) {
            both[i]->k = transposed ? gates : depths[i];
            both[i]->n = transposed ? depths[i] : gates;
            affect_cpu_pack(both[i], kernels[i], gates, transposed);
        }
    }
}

/* ---- Forward ---- */

/* Input sums of shared rows, once for all steps. */
static void multiply_shared(const lstm_unit *unit, const lstm_call *call) {
    const affect_lstm_shape *s = call->shape;
    const affect_real *a[CHUNK], *init[CHUNK], *bias = call->parameters->bias[unit->direction];
    affect_real *c[CHUNK];
    size_t first = s->first[unit->first], end = s->first[unit->first + unit->rows];
    for (size_t row = first; row < end; row += CHUNK) {
        size_t n = end - row < CHUNK ? end - row : CHUNK;
        for (size_t i = 0; i < n; i++) {
            a[i] = call->x + (row + i) * s->inputs;
            c[i] = call->sums[unit->direction] + (row + i) * 4 * s->units;
            init[i] = bias;
        }
        affect_cpu_multiply_rows(c, bias ? init : NULL, a, n, &call->input[unit->direction]);
    }
}

/* Input sums of steps first..end - 1, into their gates: a few steps at a time, so that the walk
 * finds them in the cache. */
static void multiply_steps(const lstm_unit *unit, const lstm_call *call, size_t first, size_t end) {
    const affect_lstm_shape *s = call->shape;
    const affect_real *a[CHUNK], *init[CHUNK], *bias = call->parameters->bias[unit->direction];
    affect_real *c[CHUNK];
    size_t n = 0;
    for (size_t k = first; k < end; k++)
        for (size_t r = 0; r < unit->rows; r++) {
            size_t sequence = unit->first + r;
            if (is_masked(unit, s, k, sequence)) continue;
            a[n] = call->x + row_of(s, sequence, time_of(unit, s, k)) * s->inputs;
            c[n] = gates_of(unit, s, k, sequence);
            init[n++] = bias;
            if (n < CHUNK) continue;
            affect_cpu_multiply_rows(c, bias ? init : NULL, a, n, &call->input[unit->direction]);
            n = 0;
        }
    affect_cpu_multiply_rows(c, bias ? init : NULL, a, n, &call->input[unit->direction]);
}

/* gates (row) of a step: input sums plus h of the step before times the recurrent kernel. */
static void multiply_recurrent(const lstm_unit *unit, const lstm_call *call, size_t k) {
    const affect_lstm_shape *s = call->shape;
    const affect_real *a[CHUNK], *init[CHUNK];
    affect_real *c[CHUNK];
    size_t gates = 4 * s->units, n = 0, time = time_of(unit, s, k);
    for (size_t r = 0; r < unit->rows; r++) {
        size_t sequence = unit->first + r;
        if (is_masked(unit, s, k, sequence)) continue;
        c[n] = gates_of(unit, s, k, sequence);
        init[n] =
            s->n_rows ? call->sums[unit->direction] + row_of(s, sequence, time) * gates : c[n];
        if (k == 0) {
            if (s->n_rows) memcpy(c[n], init[n], gates * sizeof *c[n]);
            continue;
        }
        a[n] = unit->outputs + ((k - 1) * unit->rows + r) * s->units;
        if (++n < CHUNK) continue;
        affect_cpu_multiply_rows(c, init, a, n, &call->recurrent[unit->direction]);
        n = 0;
    }
    affect_cpu_multiply_rows(c, init, a, n, &call->recurrent[unit->direction]);
}

/* One sequence's gates, each (u): sums in, values out; cell and output of this step. */
AFFECT_INLINE void cell_forward(affect_real *restrict gate_i, affect_real *restrict gate_f,
                                affect_real *restrict gate_c, affect_real *restrict gate_o,
                                affect_real *restrict cell, affect_real *restrict output,
                                const affect_real *restrict before, const bool first, size_t u) {
    for (size_t j = 0; j < u; j++) {
        affect_real i = affect_sigmoid(gate_i[j]), f = affect_sigmoid(gate_f[j]);
        affect_real c = affect_tanh(gate_c[j]), o = affect_sigmoid(gate_o[j]);
        affect_real value = first ? i * c : f * before[j] + i * c;
        gate_i[j] = i;
        gate_f[j] = f;
        gate_c[j] = c;
        gate_o[j] = o;
        cell[j] = value;
        output[j] = o * affect_tanh(value);
    }
}

/* The same for all rows of step k; a masked one repeats the step before. */
static void step_forward(const lstm_unit *unit, const affect_lstm_shape *s, size_t k) {
    size_t u = s->units, step = unit->rows * u;
    for (size_t r = 0; r < unit->rows; r++) {
        affect_real *gates = gates_of(unit, s, k, unit->first + r);
        affect_real *cell = unit->cells + k * step + r * u;
        affect_real *output = unit->outputs + k * step + r * u;
        if (is_masked(unit, s, k, unit->first + r)) {
            for (size_t j = 0; j < u; j++) {
                cell[j] = k ? (cell - step)[j] : 0;
                output[j] = k ? (output - step)[j] : 0;
            }
        } else if (k) {
            cell_forward(gates, gates + u, gates + 2 * u, gates + 3 * u, cell, output, cell - step,
                         false, u);
        } else {
            cell_forward(gates, gates + u, gates + 2 * u, gates + 3 * u, cell, output, NULL, true,
                         u);
        }
    }
}

/* Whether a masked step's output is 0 in y, as in Keras' Bidirectional; else it is repeated. */
static bool masks_output(const affect_lstm_shape *s) {
    return s->return_sequences && s->directions == 2;
}

static void write_outputs(const lstm_unit *unit, const lstm_call *call, size_t k) {
    const affect_lstm_shape *s = call->shape;
    if (!s->return_sequences && k + 1 < s->steps) return;
    size_t u = s->units, width = (size_t)s->directions * u;
    for (size_t r = 0; r < unit->rows; r++) {
        size_t sequence = unit->first + r;
        affect_real *y =
            call->y + output_row(unit, s, k, sequence) * width + (size_t)unit->direction * u;
        if (masks_output(s) && is_masked(unit, s, k, sequence))
            memset(y, 0, u * sizeof *y);
        else
            memcpy(y, unit->outputs + (k * unit->rows + r) * u, u * sizeof *y);
    }
}

static void forward_units(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    const lstm_call *call = context;
    const affect_lstm_shape *s = call->shape;
    for (size_t i = begin; i < end; i++) {
        lstm_unit unit = unit_of(call, i);
        size_t ahead = unit.rows < CHUNK ? CHUNK / unit.rows : 1;
        if (s->n_rows) multiply_shared(&unit, call);
        for (size_t k = 0; k < s->steps; k++) {
            if (!s->n_rows && k % ahead == 0)
                multiply_steps(&unit, call, k, k + ahead < s->steps ? k + ahead : s->steps);
            multiply_recurrent(&unit, call, k);
            step_forward(&unit, s, k);
            write_outputs(&unit, call, k);
        }
    }
}

void AFFECT_CPU_OPERATION(lstm_forward)(affect_backend *backend, affect_real *y, void *reserve,
                                        const affect_real *x,
                                        const affect_lstm_parameters *parameters, void *workspace,
                                        const affect_lstm_shape *shape) {
    if (!affect_cpu_ready(backend)) return;
    lstm_call call = make_call(backend, shape, reserve, workspace);
    call.parameters = parameters;
    call.x = x;
    call.y = y;
    pack(&call, false);
    affect_cpu_run(backend, call.n_units, forward_units, &call);
}

/* ---- Backward: the walk ---- */

static void add_to(affect_real *restrict to, const affect_real *restrict from, size_t n) {
    for (size_t i = 0; i < n; i++) to[i] += from[i];
}

/* d_output of step k: what arrives from above, plus what step k + 1 sends through the recurrent
 * kernel, or, masked, hands on as it is. */
static void multiply_back(const lstm_unit *unit, const lstm_call *call, size_t k) {
    const affect_lstm_shape *s = call->shape;
    const affect_real *a[CHUNK], *init[CHUNK];
    affect_real *c[CHUNK];
    size_t u = s->units, width = (size_t)s->directions * u, n = 0;
    bool last = k + 1 == s->steps, above = s->return_sequences || last;
    for (size_t r = 0; r < unit->rows; r++) {
        size_t sequence = unit->first + r;
        const affect_real *d_y =
            call->d_y + output_row(unit, s, k, sequence) * width + (size_t)unit->direction * u;
        affect_real *d_output = unit->d_output + r * u;
        bool hidden = masks_output(s) && is_masked(unit, s, k, sequence);
        if (last) {
            if (hidden)
                memset(d_output, 0, u * sizeof *d_output);
            else
                memcpy(d_output, d_y, u * sizeof *d_output);
            continue;
        }
        if (is_masked(unit, s, k + 1, sequence)) {
            if (above && !hidden) add_to(d_output, d_y, u);
            continue;
        }
        c[n] = d_output;
        init[n] = d_y;
        a[n] = gates_of(unit, s, k + 1, sequence);
        if (++n < CHUNK) continue;
        affect_cpu_multiply_rows(c, above ? init : NULL, a, n, &call->recurrent[unit->direction]);
        n = 0;
    }
    affect_cpu_multiply_rows(c, above ? init : NULL, a, n, &call->recurrent[unit->direction]);
}

/* One sequence's gates, each (u): values in, gradients of their sums out; d_cell: of this step in,
 * of the step before out. `before`: the cell of the step before. */
AFFECT_INLINE void cell_backward(affect_real *restrict gate_i, affect_real *restrict gate_f,
                                 affect_real *restrict gate_c, affect_real *restrict gate_o,
                                 affect_real *restrict d_cell, const affect_real *restrict d_output,
                                 const affect_real *restrict cell,
                                 const affect_real *restrict before, const bool first, size_t u) {
    for (size_t j = 0; j < u; j++) {
        affect_real i = gate_i[j], f = gate_f[j], c = gate_c[j], o = gate_o[j];
        affect_real t = affect_tanh(cell[j]);
        affect_real d = d_cell[j] + d_output[j] * o * (1 - t * t);
        gate_i[j] = d * c * i * (1 - i);
        gate_f[j] = first ? 0 : d * before[j] * f * (1 - f);
        gate_c[j] = d * i * (1 - c * c);
        gate_o[j] = d_output[j] * t * o * (1 - o);
        d_cell[j] = d * f;
    }
}

/* The same for all rows of step k that are not masked. */
static void step_backward(const lstm_unit *unit, const affect_lstm_shape *s, size_t k) {
    size_t u = s->units, step = unit->rows * u;
    for (size_t r = 0; r < unit->rows; r++) {
        affect_real *gates = gates_of(unit, s, k, unit->first + r);
        affect_real *d_cell = unit->d_cell + r * u;
        const affect_real *d_output = unit->d_output + r * u;
        const affect_real *cell = unit->cells + k * step + r * u;
        if (is_masked(unit, s, k, unit->first + r)) continue;
        if (k)
            cell_backward(gates, gates + u, gates + 2 * u, gates + 3 * u, d_cell, d_output, cell,
                          cell - step, false, u);
        else
            cell_backward(gates, gates + u, gates + 2 * u, gates + 3 * u, d_cell, d_output, cell,
                          NULL, true, u);
    }
}

/* Adds this step's gradients to those of each sequence's last row, where the step reads it. */
static void add_shared(const lstm_unit *unit, const lstm_call *call, size_t k) {
    const affect_lstm_shape *s = call->shape;
    size_t time = time_of(unit, s, k), gates = 4 * s->units;
    for (size_t sequence = unit->first; sequence < unit->first + unit->rows; sequence++)
        if (time >= shared_from(s, sequence) && time < length_of(s, sequence))
            add_to(call->shared[unit->direction] + sequence * gates, gates_of(unit, s, k, sequence),
                   gates);
}

static void walk_units(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    const lstm_call *call = context;
    const affect_lstm_shape *s = call->shape;
    for (size_t i = begin; i < end; i++) {
        lstm_unit unit = unit_of(call, i);
        size_t step = unit.rows * s->units, gates = 4 * s->units;
        memset(unit.d_cell, 0, step * sizeof *unit.d_cell);
        if (s->n_rows)
            memset(call->shared[unit.direction] + unit.first * gates, 0,
                   unit.rows * gates * sizeof(affect_real));
        for (size_t k = s->steps; k-- > 0;) {
            multiply_back(&unit, call, k);
            step_backward(&unit, s, k);
            if (s->n_rows) add_shared(&unit, call, k);
        }
    }
}

/* ---- Backward: kernels and inputs ---- */

/* Rows of x of a sequence that have gradients of sums. */
static size_t times_of(const affect_lstm_shape *s, size_t sequence) {
    return s->n_rows ? shared_from(s, sequence) + 1 : length_of(s, sequence);
}

/* Gradients of the sums made from row `time` of a sequence. */
static const affect_real *d_sums(const lstm_call *call, int direction, size_t sequence,
                                 size_t time) {
    const affect_lstm_shape *s = call->shape;
    if (s->n_rows && time == shared_from(s, sequence))
        return call->shared[direction] + sequence * 4 * s->units;
    size_t split = ((sequence + 1) * call->n_splits - 1) / s->batch;
    lstm_unit unit = unit_of(call, (size_t)direction * call->n_splits + split);
    return gates_of(&unit, s, unit.reverse ? s->steps - 1 - time : time, sequence);
}

/* Adds a list of rows to columns first..first + n - 1 of one direction's input kernel and bias. */
static void add_input_rows(const lstm_call *call, int direction, size_t first, size_t n,
                           const affect_real *const *a, const affect_real *const *b, size_t rows) {
    const affect_lstm_shape *s = call->shape;
    affect_real *bias = call->gradients->bias[direction];
    affect_cpu_add_outer(call->gradients->kernel[direction] + first, 4 * s->units, a, b, rows,
                         s->inputs, n);
    for (size_t r = 0; bias && r < rows; r++) add_to(bias + first, b[r], n);
}

static void input_gradient(const lstm_call *call, int direction, size_t first, size_t n) {
    const affect_lstm_shape *s = call->shape;
    const affect_real *a[CHUNK], *b[CHUNK];
    size_t rows = 0;
    for (size_t sequence = 0; sequence < s->batch; sequence++)
        for (size_t t = 0; t < times_of(s, sequence); t++) {
            a[rows] = call->x + row_of(s, sequence, t) * s->inputs;
            b[rows] = d_sums(call, direction, sequence, t) + first;
            if (++rows < CHUNK) continue;
            add_input_rows(call, direction, first, n, a, b, rows);
            rows = 0;
        }
    add_input_rows(call, direction, first, n, a, b, rows);
}

/* The same columns of the recurrent kernel, from one unit. */
static void recurrent_gradient(const lstm_call *call, const lstm_unit *unit, size_t first,
                               size_t n) {
    const affect_lstm_shape *s = call->shape;
    const affect_real *a[CHUNK], *b[CHUNK];
    affect_real *to = call->gradients->recurrent_kernel[unit->direction] + first;
    size_t rows = 0;
    for (size_t k = 1; k < s->steps; k++)
        for (size_t r = 0; r < unit->rows; r++) {
            if (is_masked(unit, s, k, unit->first + r)) continue;
            a[rows] = unit->outputs + ((k - 1) * unit->rows + r) * s->units;
            b[rows] = gates_of(unit, s, k, unit->first + r) + first;
            if (++rows < CHUNK) continue;
            affect_cpu_add_outer(to, 4 * s->units, a, b, rows, s->units, n);
            rows = 0;
        }
    affect_cpu_add_outer(to, 4 * s->units, a, b, rows, s->units, n);
}

/* Blocks of columns of all directions' kernels. */
enum { BLOCK = 2 * AFFECT_LANES };

static size_t column_blocks(const affect_lstm_shape *s) {
    return (4 * s->units + BLOCK - 1) / BLOCK;
}

static void kernel_columns(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    const lstm_call *call = context;
    size_t blocks = column_blocks(call->shape), gates = 4 * call->shape->units;
    for (int d = 0; d < call->shape->directions; d++) {
        size_t low = (size_t)d * blocks, high = low + blocks;
        size_t from = begin > low ? begin : low, to = end < high ? end : high;
        if (from >= to) continue;
        size_t first = (from - low) * BLOCK, last = (to - low) * BLOCK;
        if (last > gates) last = gates;
        input_gradient(call, d, first, last - first);
        for (size_t split = 0; split < call->n_splits; split++) {
            lstm_unit unit = unit_of(call, (size_t)d * call->n_splits + split);
            recurrent_gradient(call, &unit, first, last - first);
        }
    }
}

static void multiply_input_rows(const lstm_call *call, affect_real *const *c,
                                const affect_real *const *const *a, size_t n) {
    for (int d = 0; d < call->shape->directions; d++)
        affect_cpu_multiply_rows(c, d ? (const affect_real *const *)c : NULL, a[d], n,
                                 &call->input[d]);
}

/* d_x of whole sequences: the sum over the directions. */
static void input_rows(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    const lstm_call *call = context;
    const affect_lstm_shape *s = call->shape;
    const affect_real *a[2][CHUNK], *const *both[] = {a[0], a[1]};
    affect_real *c[CHUNK];
    size_t n = 0;
    for (size_t sequence = begin; sequence < end; sequence++) {
        size_t times = times_of(s, sequence);
        for (size_t t = 0; t < times; t++) {
            c[n] = call->d_x + row_of(s, sequence, t) * s->inputs;
            for (int d = 0; d < s->directions; d++) a[d][n] = d_sums(call, d, sequence, t);
            if (++n < CHUNK) continue;
            multiply_input_rows(call, c, both, n);
            n = 0;
        }
        if (!s->n_rows && times < s->steps) /* masked */
            memset(call->d_x + row_of(s, sequence, times) * s->inputs, 0,
                   (s->steps - times) * s->inputs * sizeof *call->d_x);
    }
    multiply_input_rows(call, c, both, n);
}

void AFFECT_CPU_OPERATION(lstm_backward)(affect_backend *backend, affect_real *d_x,
                                         const affect_lstm_parameters *gradients,
                                         const affect_real *d_y, const affect_real *x,
                                         const affect_real *y, void *reserve,
                                         const affect_lstm_parameters *parameters, void *workspace,
                                         const affect_lstm_shape *shape) {
    (void)y; /* the reserve has the outputs in step-major order */
    if (!affect_cpu_ready(backend)) return;
    lstm_call call = make_call(backend, shape, reserve, workspace);
    call.parameters = parameters;
    call.gradients = gradients;
    call.x = x;
    call.d_y = d_y;
    call.d_x = d_x;
    pack(&call, true);
    affect_cpu_run(backend, call.n_units, walk_units, &call);
    affect_cpu_run(backend, column_blocks(shape) * (size_t)shape->directions, kernel_columns,
                   &call);
    if (d_x) affect_cpu_run(backend, shape->batch, input_rows, &call);
}
