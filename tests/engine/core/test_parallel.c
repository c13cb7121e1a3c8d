/* The pool: the ranges it promises, every item once, sizes from none to many, reuse. */
#include "engine/core/parallel.h"
#include "tests/test.h"

#define MAX_ITEMS 1000

typedef struct {
    size_t n;
    int n_threads;
    int times[MAX_ITEMS]; /* an item is visited by one range only: no lock */
    size_t begin[64], end[64];
    int called[64];
} visit;

static void task(void *context, size_t begin, size_t end, int thread) {
    visit *v = context;
    v->begin[thread] = begin;
    v->end[thread] = end;
    v->called[thread]++;
    for (size_t i = begin; i < end; i++) v->times[i]++;
}

static void check_ranges(affect_parallel *pool, int n_threads, size_t n) {
    static visit v;
    memset(&v, 0, sizeof v);
    affect_parallel_for(pool, n, task, &v);
    for (int t = 0; t < n_threads; t++) {
        size_t begin = (size_t)t * n / (size_t)n_threads;
        size_t end = ((size_t)t + 1) * n / (size_t)n_threads;
        CHECK(v.called[t] <= 1);
        CHECK(v.called[t] ? v.begin[t] == begin && v.end[t] == end : begin == end);
    }
    for (size_t i = 0; i < n; i++) CHECK(v.times[i] == 1);
}

static void test_ranges(void) {
    const size_t sizes[] = {0, 1, 2, 3, 7, 8, 9, 64, 1000};
    for (int n_threads = 1; n_threads <= 9; n_threads++) {
        affect_parallel *pool = NULL;
        CHECK_OK(affect_parallel_create(&pool, n_threads, err));
        CHECK(affect_parallel_n_threads(pool) == n_threads);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            check_ranges(pool, n_threads, sizes[i]);
        affect_parallel_free(pool);
    }
}

static void test_many_rounds(void) {
    affect_parallel *pool = NULL;
    CHECK_OK(affect_parallel_create(&pool, 4, err));
    for (size_t round = 0; round < 2000; round++) check_ranges(pool, 4, round % 50);
    affect_parallel_free(pool);
}

static void test_all_cores(void) {
    affect_parallel *pool = NULL;
    CHECK_OK(affect_parallel_create(&pool, 0, err));
    CHECK(affect_parallel_n_threads(pool) >= 1);
    affect_parallel_free(pool);
    affect_parallel_free(NULL);
}

int main(void) {
    TEST_RUN(test_ranges);
    TEST_RUN(test_many_rounds);
    TEST_RUN(test_all_cores);
    return TEST_END();
}
