/* Matrix products of this engine's own shapes: many rows against one small, packed matrix.
 *
 * A convolution, an LSTM's input and recurrent products and their gradients with respect to the
 * inputs are all "rows times a matrix of weights": the rows lie anywhere (a window of a frame, a
 * step of a sequence), the weights are packed once a call into panels as wide as two vectors, so
 * that one panel stays in the first-level cache while the rows stream by. Each row's sum runs over
 * k in order, whatever the rows beside it: a row's result is the same bits in any batch. Gradients
 * of weights are sums of outer products; where ReLU and pooling left few numbers, they are
 * combinations of a list of rows.
 *
 * All single-threaded; callers split the work. */
#ifndef AFFECT_CPU_CPU_PRODUCT_H
#define AFFECT_CPU_CPU_PRODUCT_H

#include "engine/core/tensor.h"
#include "engine/device/cpu/cpu_names.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A matrix (k, n) in panels; numbers is borrowed memory of affect_cpu_packed_size numbers, aligned
 * to 64 bytes. */
typedef struct {
    affect_real *numbers;
    size_t k, n;
} affect_cpu_packed;

size_t affect_cpu_packed_size(size_t k, size_t n);
/* From b (k, n) of row length b_row; transposed: b is stored (n, k). */
void affect_cpu_pack(affect_cpu_packed *packed, const affect_real *b, size_t b_row,
                     bool transposed);

/* c[r] (n) = init[r] (n) + a[r] (k) b, for r < rows. init NULL: 0. c[r] may be init[r]; nothing
 * else may overlap. */
void affect_cpu_multiply_rows(affect_real *const *c, const affect_real *const *init,
                              const affect_real *const *a, size_t rows, const affect_cpu_packed *b);

/* c (k, n), rows c_row apart, += sum over r of a[r]' b[r], with a[r] (k), b[r] (n): row by row in
 * order. */
void affect_cpu_add_outer(affect_real *c, size_t c_row, const affect_real *const *a,
                          const affect_real *const *b, size_t rows, size_t k, size_t n);

/* One term of a combination: value times the numbers from base + offset. */
typedef struct {
    uint32_t offset; /* in numbers */
    affect_real value;
} affect_cpu_term;

/* to (n) += sum over the terms, in order. */
void affect_cpu_combine(affect_real *to, const affect_real *base, const affect_cpu_term *terms,
                        size_t n_terms, size_t n);

#endif
