/* Matrix products in affect_real, row-major, single-threaded: the one home of OpenBLAS. */
#ifndef AFFECT_CPU_CPU_GEMM_H
#define AFFECT_CPU_CPU_GEMM_H

#include "engine/core/tensor.h"

#include <stdbool.h>

/* c (m, n) = a (m, k) b (k, n), plus c where `add`. The leading dimensions are row lengths in
 * memory; a_transposed: a is stored (k, m); b_transposed: b is stored (n, k). Sizes of 0 are fine.
 */
typedef struct {
    size_t m, n, k;
    const affect_real *a;
    size_t a_row;
    bool a_transposed;
    const affect_real *b;
    size_t b_row;
    bool b_transposed;
    affect_real *c;
    size_t c_row;
    bool add;
} affect_gemm;

void affect_cpu_gemm(const affect_gemm *product);
/* Keeps OpenBLAS to the calling thread; called once when a backend is opened. */
void affect_cpu_gemm_begin(void);

#endif
