/* Matrix products on OpenBLAS; see cpu_gemm.h. */
#include "engine/cpu/cpu_gemm.h"

#include <cblas.h>
#include <string.h>

#ifdef AFFECT_REAL_DOUBLE
#define cblas_gemm cblas_dgemm
#else
#define cblas_gemm cblas_sgemm
#endif

void affect_cpu_gemm_begin(void) {
    openblas_set_num_threads(1);
}

static CBLAS_TRANSPOSE transposed(bool yes) {
    return yes ? CblasTrans : CblasNoTrans;
}

void affect_cpu_gemm(const affect_gemm *p) {
    if (p->m == 0 || p->n == 0) return;
    if (p->k == 0) {
        for (size_t i = 0; i < p->m && !p->add; i++)
            memset(p->c + i * p->c_row, 0, p->n * sizeof *p->c);
        return;
    }
    cblas_gemm(CblasRowMajor, transposed(p->a_transposed), transposed(p->b_transposed),
               (blasint)p->m, (blasint)p->n, (blasint)p->k, 1, p->a, (blasint)p->a_row, p->b,
               (blasint)p->b_row, p->add ? 1 : 0, p->c, (blasint)p->c_row);
}
