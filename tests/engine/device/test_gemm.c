/* gemm and gemm_batched of every device against the definition in double: odd shapes, both
 * transpositions, strides wider than the rows, factors, sizes of 0, what lies between rows and
 * around buffers; the same bits for every number of threads and in any batch; and what the CPU does
 * without OpenBLAS. */
#include "engine/core/confine.h"
#include "tests/engine/device/every_device.h"

#include <sys/wait.h>
#include <unistd.h>

enum { ROOM = 1 << 17, BATCH = 3, GAP = 5 };

static float a[ROOM], b[ROOM], c[ROOM], got[ROOM];

typedef struct {
    size_t m, n, k, wider; /* wider: numbers between rows */
    float alpha, beta;
} gemm_case;

static const gemm_case cases[] = {
    {1, 1, 1, 0, 1, 0},       {3, 5, 7, 0, 1, 0},      {17, 33, 65, 3, 1, 1},
    {128, 256, 9, 0, 2, 0},   {129, 257, 11, 1, 1, 0}, {130, 30, 90, 0, -0.5f, 0.25f},
    {2, 300, 40, 2, 1, 1},    {300, 2, 40, 0, 1, 0},   {4, 4, 0, 1, 1, 0},
    {4, 4, 0, 1, 1, 0.5f},    {0, 4, 4, 0, 1, 0},      {4, 0, 4, 0, 1, 0},
    {16, 16, 600, 0, 0, 0.5f}};

static void randomize(float *to, size_t n, uint64_t stream) {
    for (size_t i = 0; i < n; i++)
        to[i] = (float)affect_random_normal((affect_random_key){5, stream}, i);
}

/* Row i, column j of op(x), whose rows as stored are `stride` apart. */
static double at(const float *x, size_t i, size_t j, size_t stride, bool transpose) {
    return (double)(transpose ? x[j * stride + i] : x[i * stride + j]);
}

/* The difference of c from the definition, over the largest sum of magnitudes. */
static double difference(const affect_gemm_shape *s, const float *a_, const float *b_,
                         const float *before, const float *after) {
    double worst = 0;
    for (size_t i = 0; i < s->m; i++)
        for (size_t j = 0; j < s->n; j++) {
            double sum = 0, size = 1, kept = 0;
            for (size_t p = 0; p < s->k; p++) {
                double term =
                    at(a_, i, p, s->lda, s->transpose_a) * at(b_, p, j, s->ldb, s->transpose_b);
                sum += term, size += fabs(term);
            }
            if (s->beta != 0) kept = (double)s->beta * (double)before[i * s->ldc + j];
            double off = fabs((double)after[i * s->ldc + j] - (double)s->alpha * sum - kept) / size;
            worst = off <= worst ? worst : off; /* also where off is no number */
        }
    return worst;
}

/* c: numbers that are multiples of 1/8 between rows, NaN within where it is written only. */
static void fill_c(const affect_gemm_shape *s, size_t n) {
    randomize(c, n, 3);
    for (size_t i = 0; s->beta == 0 && i < n; i++)
        if (i % s->ldc < s->n && i / s->ldc < s->m) c[i] = NAN;
}

static void check_between_rows(const affect_gemm_shape *s, const float *before,
                               const float *after) {
    bool kept = true;
    for (size_t i = 0; i + 1 < s->m; i++)
        for (size_t j = s->n; j < s->ldc; j++)
            kept = kept && after[i * s->ldc + j] == before[i * s->ldc + j];
    CHECK(kept);
}

static affect_gemm_shape shape_of(const gemm_case *t, bool transpose_a, bool transpose_b) {
    size_t lda = (transpose_a ? t->m : t->k) + t->wider, ldb = (transpose_b ? t->k : t->n);
    return (affect_gemm_shape){.m = t->m,
                               .n = t->n,
                               .k = t->k,
                               .transpose_a = transpose_a,
                               .transpose_b = transpose_b,
                               .lda = lda ? lda : 1,
                               .ldb = ldb + t->wider ? ldb + t->wider : 1,
                               .ldc = t->n + t->wider ? t->n + t->wider : 1,
                               .alpha = t->alpha,
                               .beta = t->beta};
}

static size_t stored(size_t rows, size_t stride) {
    return rows * stride;
}

static void check_gemm(affect_backend *backend, const gemm_case *t, int transposed) {
    affect_gemm_shape s = shape_of(t, transposed & 1, transposed & 2);
    size_t n_a = stored(s.transpose_a ? s.k : s.m, s.lda);
    size_t n_b = stored(s.transpose_b ? s.n : s.k, s.ldb), n_c = stored(s.m, s.ldc);
    randomize(a, n_a, 1);
    randomize(b, n_b, 2);
    fill_c(&s, n_c);
    float *on_a = guarded(backend, a, n_a), *on_b = guarded(backend, b, n_b);
    float *on_c = guarded(backend, c, n_c);
    backend->ops->gemm(backend, on_c, on_a, on_b, &s);
    read_guarded(got, backend, on_c, n_c);
    CHECK(difference(&s, a, b, c, got) <= 1e-6);
    check_between_rows(&s, c, got);
    free_guarded(backend, on_a);
    free_guarded(backend, on_b);
    free_guarded(backend, on_c);
}

/* A batch, of which b is the same for all, with gaps between the matrices of a and c; each matrix
 * must be bit for bit what it is alone. */
static void check_batched(affect_backend *backend, const gemm_case *t, int transposed) {
    static float alone[ROOM];
    affect_gemm_shape s = shape_of(t, transposed & 1, transposed & 2);
    size_t one_a = stored(s.transpose_a ? s.k : s.m, s.lda) + GAP;
    size_t n_b = stored(s.transpose_b ? s.n : s.k, s.ldb), one_c = stored(s.m, s.ldc) + GAP;
    affect_gemm_batch batch = {BATCH, one_a, 0, one_c};
    randomize(a, BATCH * one_a, 1);
    randomize(b, n_b, 2);
    for (size_t i = 0; i < BATCH * one_c; i++) c[i] = (float)(i % 7);
    float *on_a = guarded(backend, a, BATCH * one_a), *on_b = guarded(backend, b, n_b);
    float *on_c = guarded(backend, c, BATCH * one_c),
          *on_alone = guarded(backend, c, BATCH * one_c);
    backend->ops->gemm_batched(backend, on_c, on_a, on_b, &s, &batch);
    batch.count = 1;
    for (size_t i = 0; i < BATCH; i++)
        backend->ops->gemm_batched(backend, on_alone + i * one_c, on_a + i * one_a, on_b, &s,
                                   &batch);
    read_guarded(got, backend, on_c, BATCH * one_c);
    read_guarded(alone, backend, on_alone, BATCH * one_c);
    for (size_t i = 0; i < BATCH; i++) {
        CHECK(difference(&s, a + i * one_a, b, c + i * one_c, got + i * one_c) <= 1e-6);
        for (size_t k = one_c - GAP; k < one_c; k++) CHECK(got[i * one_c + k] == c[i * one_c + k]);
    }
    CHECK(memcmp(got, alone, BATCH * one_c * sizeof *got) == 0);
    free_guarded(backend, on_a);
    free_guarded(backend, on_b);
    free_guarded(backend, on_c);
    free_guarded(backend, on_alone);
}

static void test_products(affect_backend *backend) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int transposed = 0; transposed < 4; transposed++) {
            check_gemm(backend, &cases[i], transposed);
            check_batched(backend, &cases[i], transposed);
        }
    affect_gemm_shape s = shape_of(&cases[1], false, false);
    backend->ops->gemm_batched(backend, NULL, NULL, NULL, &s, &(affect_gemm_batch){0});
}

static void run_large(affect_backend *backend) {
    affect_gemm_shape s = shape_of(&(gemm_case){200, 300, 150, 0, 1, 0}, true, false);
    randomize(a, s.k * s.lda, 1);
    randomize(b, s.k * s.ldb, 2);
    float *on_a = guarded(backend, a, s.k * s.lda), *on_b = guarded(backend, b, s.k * s.ldb);
    float *on_c = guarded(backend, c, s.m * s.ldc);
    backend->ops->gemm(backend, on_c, on_a, on_b, &s);
    read_guarded(got, backend, on_c, s.m * s.ldc);
    free_guarded(backend, on_a);
    free_guarded(backend, on_b);
    free_guarded(backend, on_c);
}

static void test_threads_change_no_bit(void) {
    static float first[ROOM];
    for (int n_threads = 1; n_threads <= 5; n_threads++) {
        on_device("cpu", n_threads, run_large);
        if (n_threads == 1) memcpy(first, got, sizeof got);
        CHECK(memcmp(first, got, 200 * 300 * sizeof *got) == 0);
    }
}

static void test_failure_sticks(void) {
    affect_backend *backend = NULL;
    affect_gemm_shape s = shape_of(&cases[1], false, false);
    CHECK_OK(affect_backend_open(&backend,
                                 (affect_backend_options){.device = "cpu", .n_threads = 1}, err));
    CHECK(backend->ops->allocate(backend, (size_t)1 << 60) == NULL);
    c[0] = GUARD_VALUE;
    backend->ops->gemm(backend, c, a, b, &s);
    CHECK(c[0] == GUARD_VALUE);
    affect_backend_free(backend);
}

static void expect_none(affect_backend *backend) {
    CHECK_STRING(backend->ops->gemm_library(backend), "none");
    test_products(backend);
}

#ifdef AFFECT_OPENBLAS
static void expect_openblas(affect_backend *backend) {
    CHECK(strncmp(backend->ops->gemm_library(backend), "OpenBLAS 0.", 11) == 0);
    CHECK(strchr(backend->ops->gemm_library(backend), ',') != NULL);
}

/* Workers multiply after they have confined themselves: the library can still be loaded. */
static void test_confined(void) {
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        affect_error missing = {0};
        affect_status confined = affect_confine(&(affect_confine_options){0}, &missing);
        CHECK(confined == AFFECT_STATUS_OK || confined == AFFECT_STATUS_UNSUPPORTED);
        on_device("cpu", 3, expect_openblas);
        on_device("cpu", 3, test_products);
        _exit(test_n_failed ? 1 : 0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}
#endif

/* In a child: the library is loaded once a process. A file that is none, and one that is another
 * library: the loops compute. */
static void test_without_the_library(void) {
    static const char *const none[] = {"/nonexistent/libopenblas.so.0", "libm.so.6"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        int status = 0;
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
            setenv("AFFECT_BLAS_LIBRARY", none[i], 1);
            on_device("cpu", 2, expect_none);
            _exit(test_n_failed ? 1 : 0);
        }
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    }
}

int main(void) {
    TEST_RUN(test_without_the_library);
#ifdef AFFECT_OPENBLAS
    TEST_RUN(test_confined);
    on_device("cpu", 1, expect_openblas);
#endif
    on_every_device(test_products);
    TEST_RUN(test_threads_change_no_bit);
    TEST_RUN(test_failure_sticks);
    return TEST_END();
}
