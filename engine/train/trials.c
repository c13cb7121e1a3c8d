/* Trials side by side; see trials.h. */
#include "engine/train/trials.h"

#include "engine/core/memory.h"
#include "engine/core/parallel.h"
#include "engine/device/backend.h"
#include "engine/train/memory_plan.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    affect_trial *trials;
    size_t n;
    atomic_size_t next;
    size_t micro_batch;
    size_t cpu_bytes, gpu_bytes[AFFECT_MAX_DEVICES]; /* a trial's share, by device number */
    int n_threads;                                   /* of a trial on a CPU */
} trials_run;

/* The number of the GPU that "auto", "cuda" or "cuda:N" means; -1: the CPU. */
static int gpu_of(const trials_run *run, const char *device) {
    int number = 0;
    if (strcmp(device, "cpu") == 0) return -1;
    if (strncmp(device, "cuda:", 5) == 0) sscanf(device + 5, "%d", &number);
    bool there = number >= 0 && number < AFFECT_MAX_DEVICES && run->gpu_bytes[number] > 0;
    return there ? number : -1;
}

static void share_out(trials_run *run) {
    affect_device devices[AFFECT_MAX_DEVICES];
    size_t n = affect_devices_list(devices, NULL);
    double share = AFFECT_SHARE_OF_MEMORY / (double)run->micro_batch;
    run->cpu_bytes = (size_t)(share * (double)affect_memory_available());
    for (size_t i = 1; i < n; i++)
        run->gpu_bytes[i - 1] = (size_t)(share * (double)devices[i].memory_free_bytes);
    run->n_threads = affect_parallel_n_cores() / (int)run->micro_batch;
    if (run->n_threads < 1) run->n_threads = 1;
}

static void run_trial(const trials_run *run, affect_trial *trial) {
    affect_train_spec spec = *trial->spec; /* what it points to stays the caller's */
    int gpu = gpu_of(run, spec.device);
    if (!spec.memory_bytes)
        spec.memory_bytes = (int64_t)(gpu < 0 ? run->cpu_bytes : run->gpu_bytes[gpu]);
    if (!spec.threads) spec.threads = run->n_threads;
    trial->error = (affect_error){0};
    trial->status = affect_train(&trial->result, &spec, trial->callbacks, &trial->error);
}

static void *run_trials(void *context) {
    trials_run *run = context;
    for (size_t i; (i = atomic_fetch_add(&run->next, 1)) < run->n;) run_trial(run, &run->trials[i]);
    return NULL;
}

affect_status affect_trials_run(affect_trial *trials, size_t n, size_t micro_batch,
                                affect_error *err) {
    pthread_t threads[AFFECT_MAX_TRIALS_AT_ONCE];
    size_t n_started = 0;
    if (micro_batch < 1 || micro_batch > AFFECT_MAX_TRIALS_AT_ONCE)
        return affect_fail(err, INVALID, "%zu trials at once (need 1..%d)", micro_batch,
                           AFFECT_MAX_TRIALS_AT_ONCE);
    trials_run run = {.trials = trials, .n = n, .micro_batch = micro_batch < n ? micro_batch : n};
    if (n == 0) return AFFECT_STATUS_OK;
    share_out(&run);
    while (n_started < run.micro_batch &&
           pthread_create(&threads[n_started], NULL, run_trials, &run) == 0)
        n_started++;
    for (size_t i = 0; i < n_started; i++) pthread_join(threads[i], NULL);
    if (n_started == 0) return affect_fail(err, NO_MEMORY, "no thread could be started");
    return AFFECT_STATUS_OK;
}
