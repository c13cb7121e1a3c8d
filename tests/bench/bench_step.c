/* Times training steps of the paper's optimised network, and the memory they take.
 *
 *   cmake --build build --target bench_step && build/bench/bench_step [FULL|LENGTHS] [REPEATS]
 *
 * A batch of 48 clips of 501 frames of 128 bands and their motion (200 parts, 189 columns).
 * LENGTHS: a file with one number of frames a line; the frames after them are padding (0). FULL:
 * every clip has all its frames. Prints one JSON object: seconds a step (median, least, most),
 * parameters, the plan's bytes, peak memory, threads, level. */
#include "engine/core/backend.h"
#include "engine/core/clock.h"
#include "engine/model/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 48, FRAMES = 501, MELS = 128, MOTION = 200 * 189, MAX_REPEATS = 100 };

static void stop(const affect_error *err) {
    fprintf(stderr, "bench_step: %s\n", err->message);
    exit(1);
}

static void read_lengths(size_t lengths[BATCH], const char *path) {
    FILE *file = path ? fopen(path, "r") : NULL;
    for (int i = 0; i < BATCH; i++) {
        lengths[i] = FRAMES;
        if (file && (fscanf(file, "%zu", &lengths[i]) != 1 || lengths[i] > FRAMES)) {
            fprintf(stderr, "bench_step: %s: need %d numbers up to %d\n", path, BATCH, FRAMES);
            exit(1);
        }
    }
    if (file) fclose(file);
}

static float *make_numbers(size_t n) {
    float *numbers = calloc(n, sizeof *numbers);
    if (!numbers) exit(1);
    for (size_t i = 0; i < n; i++)
        numbers[i] = (float)affect_random_uniform((affect_random_key){1, n}, i);
    return numbers;
}

/* VmHWM: the most memory this process had, MiB. */
static double peak_memory(void) {
    char line[256];
    double kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file)) sscanf(line, "VmHWM: %lf", &kib);
    if (file) fclose(file);
    return kib / 1024;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static affect_architecture *open_preset(void) {
    affect_error err = {0};
    affect_json *document = NULL;
    affect_architecture *architecture = NULL;
    affect_sizes sizes = {
        .frames = FRAMES, .mels = MELS, .parts = 200, .columns = 189, .classes = 4};
    if (affect_architecture_preset(&document, "paper-optimized", &err) != AFFECT_STATUS_OK)
        stop(&err);
    if (affect_architecture_create(&architecture, document, NULL, sizes, &err) != AFFECT_STATUS_OK)
        stop(&err);
    affect_json_free(document);
    return architecture;
}

/* Inputs in the architecture's order, padded after each clip's length; the rows they have. */
static size_t make_inputs(float *inputs[2], const affect_architecture *architecture,
                          const size_t lengths[BATCH]) {
    size_t rows = 0;
    for (size_t i = 0; i < affect_architecture_n_inputs(architecture); i++) {
        if (strcmp(affect_architecture_input(architecture, i)->feature, "mel") != 0) {
            inputs[i] = make_numbers((size_t)BATCH * MOTION);
            continue;
        }
        inputs[i] = make_numbers((size_t)BATCH * FRAMES * MELS);
        for (size_t b = 0; b < BATCH; b++) {
            float *clip = inputs[i] + b * FRAMES * MELS;
            memset(clip + lengths[b] * MELS, 0, (FRAMES - lengths[b]) * MELS * sizeof *clip);
            rows += affect_session_count_rows(clip, FRAMES, MELS);
        }
    }
    return rows;
}

int main(int argc, char **argv) {
    const char *file = argc > 1 && strcmp(argv[1], "FULL") != 0 ? argv[1] : NULL;
    int repeats = argc > 2 ? atoi(argv[2]) : 5;
    size_t lengths[BATCH];
    float *inputs[2] = {NULL, NULL};
    int32_t labels[BATCH];
    affect_error err = {0};
    affect_backend *backend = NULL;
    affect_session *session = NULL;
    affect_session_plan plan;
    double seconds[MAX_REPEATS];
    if (repeats < 1 || repeats > MAX_REPEATS) repeats = 5;
    read_lengths(lengths, file);
    for (int i = 0; i < BATCH; i++) labels[i] = i % 4;
    affect_architecture *architecture = open_preset();
    size_t rows = make_inputs(inputs, architecture, lengths);
    affect_session_options options = {.max_batch = BATCH, .training = true, .max_rows = rows};
    if (affect_backend_open(&backend, (affect_backend_options){.device = "cpu"}, &err) !=
            AFFECT_STATUS_OK ||
        affect_session_measure(&plan, backend, architecture, options, &err) != AFFECT_STATUS_OK ||
        affect_session_create(&session, backend, architecture, options, &err) != AFFECT_STATUS_OK ||
        affect_session_initialize(session, 1, &err) != AFFECT_STATUS_OK)
        stop(&err);
    for (int step = 0; step <= repeats; step++) { /* the first only warms up */
        double stats[2 + 16] = {0}, started = affect_clock_seconds();
        affect_session_batch batch = {.inputs = (const float *const *)inputs,
                                      .labels = labels,
                                      .batch = BATCH,
                                      .dropout = {1, (uint64_t)step}};
        affect_adam_shape adam = {.learning_rate = 1e-3,
                                  .beta_1 = 0.9,
                                  .beta_2 = 0.999,
                                  .epsilon = 1e-7,
                                  .step = (uint64_t)step + 1};
        if (affect_session_accumulate(session, stats, &batch, &err) != AFFECT_STATUS_OK ||
            affect_session_step(session, NULL, &adam, &err) != AFFECT_STATUS_OK)
            stop(&err);
        if (step) seconds[step - 1] = affect_clock_seconds() - started;
    }
    qsort(seconds, (size_t)repeats, sizeof *seconds, ascending);
    printf("{\"seconds\": %.4f, \"least\": %.4f, \"most\": %.4f, \"repeats\": %d, \"rows\": %zu, "
           "\"parameters\": %zu, \"plan_mib\": %.0f, \"peak_mib\": %.0f, \"level\": \"%s\"}\n",
           seconds[repeats / 2], seconds[0], seconds[repeats - 1], repeats, rows,
           affect_architecture_n_trainable(architecture) +
               affect_architecture_n_statistics(architecture),
           (double)(plan.parameters + plan.optimizer + plan.activations + plan.workspace +
                    plan.inputs) /
               1048576,
           peak_memory(), backend->ops->level);
    affect_session_free(session);
    affect_backend_free(backend);
    affect_architecture_free(architecture);
    free(inputs[0]);
    free(inputs[1]);
    return 0;
}
