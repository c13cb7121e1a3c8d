/* Warm predictions allocate nothing between bytes and probabilities, and the heap does not grow.
 *
 * This program's own malloc and its kin stand before the C library's (glibc calls them for itself
 * and every shared library too): while `watching` is set they note each call and, by its return
 * address, the library that made it; free is counted. Only libsndfile, for its handle of an open
 * sound, and soxr, where a sound's rate is not the model's, may call; they free what they took. */
#include "tests/engine/predict/utterances.h"

#include <dlfcn.h>
#include <malloc.h>
#include <stdatomic.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
#define CAN_WATCH 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CAN_WATCH 0
#endif
#endif
#ifndef CAN_WATCH
#define CAN_WATCH 1
#endif

enum { N = 4, ROUNDS = 5 };

static atomic_bool watching;
static atomic_int n_by_sndfile, n_by_soxr, n_by_others, n_held;

#if CAN_WATCH
static void note(const void *caller) {
    Dl_info info;
    if (!atomic_load(&watching)) return;
    n_held++;
    const char *file = dladdr(caller, &info) && info.dli_fname ? info.dli_fname : "?";
    const char *name = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
    if (strncmp(name, "libsndfile", 10) == 0)
        n_by_sndfile++;
    else if (strncmp(name, "libsoxr", 7) == 0)
        n_by_soxr++;
    else if (n_by_others++ == 0)
        dprintf(2, "    allocated by %s %s\n", name, info.dli_sname ? info.dli_sname : "");
}

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *memory);

void *malloc(size_t size) {
    note(__builtin_return_address(0));
    return __libc_malloc(size);
}
void *calloc(size_t n, size_t size) {
    note(__builtin_return_address(0));
    return __libc_calloc(n, size);
}
void *realloc(void *old, size_t size) {
    note(__builtin_return_address(0));
    if (old && atomic_load(&watching)) n_held--;
    return __libc_realloc(old, size);
}
void free(void *memory) {
    if (memory && atomic_load(&watching)) n_held--;
    __libc_free(memory);
}
void *aligned_alloc(size_t alignment, size_t size) {
    note(__builtin_return_address(0));
    return __libc_memalign(alignment, size);
}
void *memalign(size_t alignment, size_t size) {
    note(__builtin_return_address(0));
    return __libc_memalign(alignment, size);
}
int posix_memalign(void **memory, size_t alignment, size_t size) {
    note(__builtin_return_address(0));
    *memory = __libc_memalign(alignment, size);
    return *memory ? 0 : 12;
}
#endif

static void run(affect_predictor *predictor, const utterance utterances[N], size_t n) {
    affect_features_input inputs[N] = {0};
    affect_prediction predictions[N];
    for (size_t i = 0; i < n; i++) inputs[i] = utterances[i].input;
    CHECK_OK(affect_predictor_run_batch(predictor, predictions, inputs, n, err));
    for (size_t i = 0; i < n; i++) CHECK(predictions[i].status == AFFECT_STATUS_OK);
}

/* After one pass over all sizes, in which buffers grow, ROUNDS passes are watched. */
static void watch(int rate_hz, int n_threads, bool soxr_may) {
    utterance utterances[N];
    for (int i = 0; i < N; i++)
        make_utterance(&utterances[i], 1.9 - 0.3 * i, rate_hz, 60 + (uint64_t)i);
    affect_predictor *predictor = open_predictor(scratch_path("model.safetensors"), n_threads, N);
    for (size_t n = N; n >= 1; n--) run(predictor, utterances, n);
    n_by_sndfile = n_by_soxr = n_by_others = n_held = 0;
    watching = true;
    for (int round = 0; round < ROUNDS; round++)
        for (size_t n = 1; n <= N; n++) run(predictor, utterances, n);
    watching = false;
    CHECK(n_by_others == 0);
    CHECK(soxr_may || n_by_soxr == 0);
    CHECK(n_by_sndfile > 0); /* or nothing was seen at all */
    CHECK(n_held == 0);      /* what they took they gave back */
    fprintf(stderr, "    a prediction at %d Hz: libsndfile %.1f, soxr %.1f calls\n", rate_hz,
            n_by_sndfile / (ROUNDS * N * (N + 1) / 2.0), n_by_soxr / (ROUNDS * N * (N + 1) / 2.0));
    affect_predictor_close(predictor);
    for (int i = 0; i < N; i++) free_utterance(&utterances[i]);
}

static void test_nothing_is_allocated(void) {
    make_model(scratch_path("model.safetensors"), "paper-optimized", 2);
    watch(16000, 1, false);
    watch(16000, 2, false);
}

static void test_resampling_allocates_in_soxr_only(void) {
    watch(22050, 1, true);
}

int main(void) {
    if (!CAN_WATCH) TEST_SKIP("the sanitizers' allocator cannot be watched");
    scratch_begin();
    TEST_RUN(test_nothing_is_allocated);
    TEST_RUN(test_resampling_allocates_in_soxr_only);
    scratch_end();
    return TEST_END();
}
