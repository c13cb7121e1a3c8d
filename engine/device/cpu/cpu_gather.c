/* Ids, rows of a table by them, and the gradient of these, on the CPU.
 *
 * Gathering splits the ids over the threads. Adding splits the columns, each thread walking all ids
 * in order: so that equal ids are added in the order of the ids, whatever the number of threads. */
#include "engine/device/cpu/cpu_backend.h"

#include <string.h>

enum { COLUMNS = 16 }; /* that a thread takes at least */

typedef struct {
    affect_real *to;
    const affect_real *from;
    const int32_t *ids;
    const affect_gather_shape *shape;
} gather_call;

static bool is_row(int32_t id, const affect_gather_shape *s) {
    return id >= 0 && (size_t)id < s->rows;
}

void AFFECT_CPU_OPERATION(read_ids)(affect_backend *backend, int32_t *ids, const affect_real *x,
                                    size_t n) {
    for (size_t i = 0; affect_cpu_ready(backend) && i < n; i++) {
        bool is_id = x[i] >= 0 && x[i] < (affect_real)2147483648.0;
        ids[i] = is_id ? (int32_t)x[i] : -1;
        if ((affect_real)ids[i] != x[i]) ids[i] = -1;
    }
}

static void gather_rows(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    const gather_call *call = context;
    size_t n = call->shape->columns;
    for (size_t i = begin; i < end; i++) {
        affect_real *to = call->to + i * n;
        if (is_row(call->ids[i], call->shape))
            memcpy(to, call->from + (size_t)call->ids[i] * n, n * sizeof *to);
        else
            memset(to, 0, n * sizeof *to);
    }
}

void AFFECT_CPU_OPERATION(gather)(affect_backend *backend, affect_real *y, const affect_real *table,
                                  const int32_t *ids, const affect_gather_shape *shape) {
    if (!affect_cpu_ready(backend)) return;
    gather_call call = {y, table, ids, shape};
    affect_cpu_run(backend, shape->n, gather_rows, &call);
}

static void add_columns(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    const gather_call *call = context;
    size_t n = call->shape->columns, first = begin * COLUMNS;
    size_t last = end * COLUMNS < n ? end * COLUMNS : n;
    for (size_t i = 0; i < call->shape->n; i++) {
        if (!is_row(call->ids[i], call->shape)) continue;
        affect_real *to = call->to + (size_t)call->ids[i] * n;
        for (size_t c = first; c < last; c++) to[c] += call->from[i * n + c];
    }
}

void AFFECT_CPU_OPERATION(scatter_add)(affect_backend *backend, affect_real *d_table,
                                       const affect_real *d_y, const int32_t *ids,
                                       const affect_gather_shape *shape) {
    if (!affect_cpu_ready(backend)) return;
    gather_call call = {d_table, d_y, ids, shape};
    affect_cpu_run(backend, (shape->columns + COLUMNS - 1) / COLUMNS, add_columns, &call);
}
