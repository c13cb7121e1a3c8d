/* General products on the CPU, through OpenBLAS where it is installed.
 *
 * The library is loaded at the first product, not with the program: it starts a thread a core as
 * soon as it is loaded, and programs confine themselves while they have one (core/confine.h). Its
 * threads are never used: two single-threaded callers on tiles that fit the L2 cache are faster. c
 * is cut into tiles, and the pool's threads do one each. The tiles depend on the shape only, so the
 * number of threads changes no bit; the version of the library and the processor that it chooses
 * kernels for do, and gemm_library names them. AFFECT_BLAS_LIBRARY names another file than
 * libopenblas.so.0.
 *
 * Without the library loops do the same tiles, each number's sum in the order of k: slow, and what
 * the tests compare with. */
#include "engine/device/cpu/cpu_backend.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#ifdef AFFECT_OPENBLAS
#include <cblas.h>
#endif

/* Rows and columns of c in a tile. */
enum { TILE_M = 128, TILE_N = 256 };

/* ---- The library ---- */

static char library_name[128] = "none";

#ifdef AFFECT_OPENBLAS
#ifdef AFFECT_REAL_DOUBLE
#define LIBRARY_GEMM cblas_dgemm
#else
#define LIBRARY_GEMM cblas_sgemm
#endif
#define TEXT_(name) #name
#define TEXT(name)  TEXT_(name)

static __typeof__(LIBRARY_GEMM) *library_gemm; /* NULL: there is none */

/* config: "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ... MAX_THREADS=64": its first two words. */
static void name_library(const char *config, const char *core) {
    const char *end = strchr(config, ' ');
    if (end) end = strchr(end + 1, ' ');
    int length = end ? (int)(end - config) : (int)strlen(config);
    snprintf(library_name, sizeof library_name, "%.*s, %s", length > 60 ? 60 : length, config,
             core);
}

static void load_library(void) {
    const char *named = getenv("AFFECT_BLAS_LIBRARY");
    void *library = dlopen(named && *named ? named : "libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!library) return;
    __typeof__(openblas_set_num_threads) *set_threads = NULL;
    __typeof__(openblas_get_config) *get_config = NULL;
    __typeof__(openblas_get_corename) *get_core = NULL;
    *(void **)&library_gemm = dlsym(library, TEXT(LIBRARY_GEMM));
    *(void **)&set_threads = dlsym(library, "openblas_set_num_threads");
    *(void **)&get_config = dlsym(library, "openblas_get_config");
    *(void **)&get_core = dlsym(library, "openblas_get_corename");
    if (!library_gemm || !set_threads || !get_config || !get_core) {
        library_gemm = NULL; /* another BLAS */
        dlclose(library);
        return;
    }
    set_threads(1);
    name_library(get_config(), get_core());
}
#else
static void load_library(void) {}
#endif

static void need_library(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load_library);
}

const char *AFFECT_CPU_OPERATION(gemm_library)(affect_backend *backend) {
    (void)backend;
    need_library();
    return library_name;
}

/* ---- Tiles ---- */

typedef struct {
    affect_real *c;
    const affect_real *a, *b;
    const affect_gemm_shape *shape;
    affect_gemm_batch batch;
    size_t tiles_n, tiles; /* of one matrix */
} gemm_call;

/* s.m rows and s.n columns of c by loops. */
static void multiply_by_loops(const affect_gemm_shape *s, affect_real *c, const affect_real *a,
                              const affect_real *b) {
    size_t step_a = s->transpose_a ? s->lda : 1, row_a = s->transpose_a ? 1 : s->lda;
    size_t step_b = s->transpose_b ? 1 : s->ldb, column_b = s->transpose_b ? s->ldb : 1;
    for (size_t i = 0; i < s->m; i++)
        for (size_t j = 0; j < s->n; j++) {
            affect_real sum = 0, *to = &c[i * s->ldc + j];
            for (size_t p = 0; p < s->k; p++)
                sum += a[i * row_a + p * step_a] * b[p * step_b + j * column_b];
            *to = s->alpha * sum + (s->beta != 0 ? s->beta * *to : 0);
        }
}

static void multiply(const affect_gemm_shape *s, affect_real *c, const affect_real *a,
                     const affect_real *b) {
#ifdef AFFECT_OPENBLAS
    if (library_gemm && s->k) {
        library_gemm(CblasRowMajor, s->transpose_a ? CblasTrans : CblasNoTrans,
                     s->transpose_b ? CblasTrans : CblasNoTrans, (blasint)s->m, (blasint)s->n,
                     (blasint)s->k, s->alpha, a, (blasint)s->lda, b, (blasint)s->ldb, s->beta, c,
                     (blasint)s->ldc);
        return;
    }
#endif
    multiply_by_loops(s, c, a, b);
}

static void multiply_tiles(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    const gemm_call *call = context;
    const affect_gemm_shape *s = call->shape;
    for (size_t t = begin; t < end; t++) {
        size_t item = t / call->tiles, tile = t % call->tiles;
        size_t i = tile / call->tiles_n * TILE_M, j = tile % call->tiles_n * TILE_N;
        affect_gemm_shape part = *s;
        part.m = s->m - i < TILE_M ? s->m - i : TILE_M;
        part.n = s->n - j < TILE_N ? s->n - j : TILE_N;
        multiply(&part, call->c + item * call->batch.stride_c + i * s->ldc + j,
                 call->a + item * call->batch.stride_a + i * (s->transpose_a ? 1 : s->lda),
                 call->b + item * call->batch.stride_b + j * (s->transpose_b ? s->ldb : 1));
    }
}

void AFFECT_CPU_OPERATION(gemm_batched)(affect_backend *backend, affect_real *c,
                                        const affect_real *a, const affect_real *b,
                                        const affect_gemm_shape *shape,
                                        const affect_gemm_batch *batch) {
    if (!affect_cpu_ready(backend)) return;
    need_library();
    gemm_call call = {.c = c,
                      .a = a,
                      .b = b,
                      .shape = shape,
                      .batch = *batch,
                      .tiles_n = (shape->n + TILE_N - 1) / TILE_N};
    call.tiles = (shape->m + TILE_M - 1) / TILE_M * call.tiles_n;
    affect_cpu_run(backend, batch->count * call.tiles, multiply_tiles, &call);
}

void AFFECT_CPU_OPERATION(gemm)(affect_backend *backend, affect_real *c, const affect_real *a,
                                const affect_real *b, const affect_gemm_shape *shape) {
    backend->ops->gemm_batched(backend, c, a, b, shape, &(affect_gemm_batch){.count = 1});
}
