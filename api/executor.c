/* The threads that run handlers; see executor.h. `lock` guards the ring. */
#include "api/executor.h"

#include "api/request.h"

#include <pthread.h>
#include <stdlib.h>

struct api_executor {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    api_request **ring;
    size_t capacity, first, n;
    bool stopping;
    int n_threads;
    pthread_t threads[];
};

static void *run(void *argument) {
    api_executor *executor = argument;
    pthread_mutex_lock(&executor->lock);
    for (;;) {
        while (executor->n == 0 && !executor->stopping)
            pthread_cond_wait(&executor->changed, &executor->lock);
        if (executor->n == 0) break;
        api_request *request = executor->ring[executor->first];
        executor->first = (executor->first + 1) % executor->capacity;
        executor->n--;
        pthread_mutex_unlock(&executor->lock);
        request->route->handler(request);
        pthread_mutex_lock(&executor->lock);
    }
    pthread_mutex_unlock(&executor->lock);
    return NULL;
}

affect_status api_executor_create(api_executor **executor, int n_threads, int max_queued,
                                  affect_error *err) {
    api_executor *made = calloc(1, sizeof *made + (size_t)n_threads * sizeof *made->threads);
    if (made) made->ring = calloc((size_t)max_queued, sizeof *made->ring);
    if (!made || !made->ring) {
        free(made);
        return affect_fail(err, NO_MEMORY, "no memory for %d handler threads", n_threads);
    }
    made->capacity = (size_t)max_queued;
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->changed, NULL);
    for (; made->n_threads < n_threads; made->n_threads++) {
        int error_number = pthread_create(&made->threads[made->n_threads], NULL, run, made);
        if (error_number) {
            api_executor_free(made);
            return affect_error_errno(err, error_number, "a handler thread was not started");
        }
    }
    *executor = made;
    return AFFECT_STATUS_OK;
}

void api_executor_free(api_executor *executor) {
    if (!executor) return;
    pthread_mutex_lock(&executor->lock);
    executor->stopping = true;
    pthread_cond_broadcast(&executor->changed);
    pthread_mutex_unlock(&executor->lock);
    for (int i = 0; i < executor->n_threads; i++) pthread_join(executor->threads[i], NULL);
    pthread_cond_destroy(&executor->changed);
    pthread_mutex_destroy(&executor->lock);
    free(executor->ring);
    free(executor);
}

bool api_executor_submit(api_executor *executor, api_request *request) {
    pthread_mutex_lock(&executor->lock);
    bool room = executor->n < executor->capacity && !executor->stopping;
    if (room) {
        executor->ring[(executor->first + executor->n) % executor->capacity] = request;
        executor->n++;
        pthread_cond_signal(&executor->changed);
    }
    pthread_mutex_unlock(&executor->lock);
    return room;
}
