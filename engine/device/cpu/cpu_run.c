/* Parts of an operation on the threads of the CPU backend. Denormals count as zero in all of them,
 * and only in them: the flag is a thread's own and the caller's is put back. */
#include "engine/device/cpu/cpu_backend.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

typedef struct {
    affect_parallel_task *task;
    void *context;
} flushed_task;

static void run_flushed(void *context, size_t begin, size_t end, int thread) {
    const flushed_task *flushed = context;
#ifdef __x86_64__
    unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040); /* flush results, read denormals as zero */
#endif
    flushed->task(flushed->context, begin, end, thread);
#ifdef __x86_64__
    _mm_setcsr(before);
#endif
}

void affect_cpu_run(affect_backend *backend, size_t n, affect_parallel_task *task, void *context) {
    flushed_task flushed = {task, context};
    affect_parallel_for(affect_cpu_of(backend)->pool, n, run_flushed, &flushed);
}
