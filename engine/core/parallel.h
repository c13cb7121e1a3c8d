/* A small pool of threads with a fixed partition of work.
 *
 * affect_parallel_for splits n items into exactly n_threads contiguous ranges, always the same
 * ones: range t is [t n / T, (t + 1) n / T). Which core runs a range never changes what it
 * computes, so results depend on the number of threads and never on timing. Reductions across
 * ranges are done by the caller, in the order of t. One caller at a time; a task must not call the
 * pool again. */
#ifndef AFFECT_CORE_PARALLEL_H
#define AFFECT_CORE_PARALLEL_H

#include "engine/core/status.h"

#include <stddef.h>

typedef struct affect_parallel affect_parallel;

/* Work of range `thread`: items begin..end-1 (maybe none). */
typedef void affect_parallel_task(void *context, size_t begin, size_t end, int thread);

#define AFFECT_PARALLEL_MAX_THREADS 1024

/* n_threads 1..AFFECT_PARALLEL_MAX_THREADS (the caller counts as one: n_threads - 1 are started);
 * 0 = the number of cores this process may use. */
affect_status affect_parallel_create(affect_parallel **pool, int n_threads, affect_error *err);
void affect_parallel_free(affect_parallel *pool);
/* The number of cores that this process may use, at least 1: those that it may run on, and no more
 * than the processor time of its control groups (`docker run --cpus`) fills. Every count of threads
 * that a user leaves to us begins here. */
int affect_parallel_n_cores(void);
int affect_parallel_n_threads(const affect_parallel *pool);
/* Runs the task on all ranges and returns when all are done. */
void affect_parallel_for(affect_parallel *pool, size_t n, affect_parallel_task *task,
                         void *context);

#endif
