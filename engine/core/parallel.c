/* A pool of threads with a fixed partition; see parallel.h.
 *
 * Workers sleep on a condition variable between rounds; a round has a number, and each worker runs
 * its own range once a round. `lock` guards everything below it. */
#include "engine/core/parallel.h"

#include "engine/core/cgroup.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>

typedef struct {
    affect_parallel *pool;
    int index;
    pthread_t thread;
} worker;

struct affect_parallel {
    int n_threads;
    int n_started;
    worker *workers;
    pthread_mutex_t lock;
    pthread_cond_t round_begun, round_done;
    size_t round, n_items;
    int n_running;
    bool stopping;
    affect_parallel_task *task;
    void *context;
};

static void run_range(affect_parallel *pool, int index) {
    size_t n = pool->n_items, parts = (size_t)pool->n_threads, t = (size_t)index;
    pool->task(pool->context, t * n / parts, (t + 1) * n / parts, index);
}

static void *worker_main(void *argument) {
    worker *self = argument;
    affect_parallel *pool = self->pool;
    size_t seen = 0;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (pool->round == seen && !pool->stopping)
            pthread_cond_wait(&pool->round_begun, &pool->lock);
        if (pool->stopping) break;
        seen = pool->round;
        pthread_mutex_unlock(&pool->lock);
        run_range(pool, self->index);
        pthread_mutex_lock(&pool->lock);
        if (--pool->n_running == 0) pthread_cond_signal(&pool->round_done);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

int affect_parallel_n_cores(void) {
    cpu_set_t set;
    int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    int quota = affect_cgroup_n_cores("");
    return quota < cores ? quota : cores;
}

affect_status affect_parallel_create(affect_parallel **pool, int n_threads, affect_error *err) {
    if (n_threads == 0) n_threads = affect_parallel_n_cores();
    if (n_threads < 1 || n_threads > AFFECT_PARALLEL_MAX_THREADS)
        return affect_fail(err, INVALID, "%d threads (need 0..%d)", n_threads,
                           AFFECT_PARALLEL_MAX_THREADS);
    affect_parallel *made = calloc(1, sizeof *made);
    if (made) made->workers = calloc((size_t)n_threads, sizeof *made->workers);
    if (!made || !made->workers) {
        free(made);
        return affect_fail(err, NO_MEMORY, "parallel: no memory for %d threads", n_threads);
    }
    made->n_threads = n_threads;
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->round_begun, NULL);
    pthread_cond_init(&made->round_done, NULL);
    for (int i = 1; i < n_threads; i++) {
        made->workers[i] = (worker){.pool = made, .index = i};
        int error_number =
            pthread_create(&made->workers[i].thread, NULL, worker_main, &made->workers[i]);
        if (error_number) {
            affect_parallel_free(made);
            return affect_error_errno(err, error_number, "parallel: thread %d not started", i);
        }
        made->n_started++;
    }
    *pool = made;
    return AFFECT_STATUS_OK;
}

void affect_parallel_free(affect_parallel *pool) {
    if (!pool) return;
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->round_begun);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 1; i <= pool->n_started; i++) pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->round_begun);
    pthread_cond_destroy(&pool->round_done);
    pthread_mutex_destroy(&pool->lock);
    free(pool->workers);
    free(pool);
}

int affect_parallel_n_threads(const affect_parallel *pool) {
    return pool->n_threads;
}

void affect_parallel_for(affect_parallel *pool, size_t n, affect_parallel_task *task,
                         void *context) {
    if (pool->n_threads == 1) {
        task(context, 0, n, 0);
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->n_items = n;
    pool->task = task;
    pool->context = context;
    pool->n_running = pool->n_threads - 1;
    pool->round++;
    pthread_cond_broadcast(&pool->round_begun);
    pthread_mutex_unlock(&pool->lock);

    run_range(pool, 0);

    pthread_mutex_lock(&pool->lock);
    while (pool->n_running) pthread_cond_wait(&pool->round_done, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}
