/* A test program in thirty lines: CHECK reports a failure and goes on, on any thread; TEST_END
 * gives the exit code.
 *
 *   static void test_adds(void) { CHECK(1 + 1 == 2); CHECK_NEAR(0.1 + 0.2, 0.3, 1e-15); }
 *   int main(void) { TEST_RUN(test_adds); return TEST_END(); }
 *
 * TEST_SKIP ends the program with exit code 77, which ctest shows as "Skipped" with the reason. */
#ifndef AFFECT_TESTS_TEST_H
#define AFFECT_TESTS_TEST_H

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static atomic_int test_n_failed, test_n_checks;

static inline void test_check(int passed, const char *file, int line, const char *what) {
    test_n_checks++;
    if (passed) return;
    test_n_failed++;
    fprintf(stderr, "%s:%d: failed: %s\n", file, line, what);
}

#define CHECK(condition) test_check(!!(condition), __FILE__, __LINE__, #condition)
#define CHECK_OK(call)                                                                             \
    do {                                                                                           \
        affect_error test_error_ = {0};                                                            \
        affect_error *err = &test_error_;                                                          \
        affect_status test_status_ = (call);                                                       \
        test_check(test_status_ == AFFECT_STATUS_OK, __FILE__, __LINE__, #call);                   \
        if (test_status_ != AFFECT_STATUS_OK)                                                      \
            fprintf(stderr, "    %s: %s\n", affect_status_name(test_status_), err->message);       \
    } while (0)
#define CHECK_STRING(got, want)                                                                    \
    do {                                                                                           \
        const char *got_ = (got), *want_ = (want);                                                 \
        int same_ = got_ && strcmp(got_, want_) == 0;                                              \
        test_check(same_, __FILE__, __LINE__, #got " equals " #want);                              \
        if (!same_) fprintf(stderr, "    got \"%s\", want \"%s\"\n", got_ ? got_ : "NULL", want_); \
    } while (0)
#define CHECK_NEAR(got, want, tolerance)                                                           \
    do {                                                                                           \
        double got_ = (double)(got), want_ = (double)(want);                                       \
        int near_ = fabs(got_ - want_) <= (double)(tolerance);                                     \
        test_check(near_, __FILE__, __LINE__, #got " near " #want);                                \
        if (!near_) fprintf(stderr, "    got %.17g, want %.17g\n", got_, want_);                   \
    } while (0)
#define TEST_RUN(function) (fprintf(stderr, "%s\n", #function), function())
#define TEST_SKIP(reason)  (fprintf(stderr, "skipped: %s\n", reason), exit(77))
#define TEST_END()                                                                                 \
    (fprintf(stderr, "%d checks, %d failed\n", test_n_checks, test_n_failed), test_n_failed != 0)

#endif
