/* Times training steps of the paper's optimised network, and the memory they take.
 *
 *   cmake --build build --target bench_step
 *   build/bench/bench_step [OPTION...] [FULL|LENGTHS] [REPEATS]
 *
 * A batch of 48 clips of 501 frames of 128 bands and their motion (200 parts, 189 columns).
 * LENGTHS: a file with one number of frames a line; the frames after them are padding (0). FULL:
 * every clip has all its frames. Options:
 *
 *   --device D      cpu (default), cuda, cuda:N
 *   --precision P   fp32 (default), tf32, bf16
 *   --block N       steps between two looks at the clock (default 1)
 *   --losses N      no timing: the losses of N steps, and what the network says before the first
 *   --clips N       fewer clips (up to 48)
 *   --small         3 clips of 12 frames, 40 parts: for an emulated device
 *
 * Prints one JSON object: seconds a step (median, least, most of REPEATS blocks), parameters, the
 * plan's bytes, peak memory, level. bench_step64 is the same in double precision: its losses are
 * the truth that others are compared with. */
#include "engine/core/clock.h"
#include "engine/device/backend.h"
#include "engine/model/session.h"
#include "tests/sizes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MELS = 128, COLUMNS = 189, CLASSES = 4, MAX_BATCH = 48, MAX_REPEATS = 100 };

typedef struct {
    affect_backend_options device;
    size_t batch, frames, parts;
    int repeats, block, losses;
    const char *lengths; /* a file, or NULL */
} settings;

typedef struct {
    affect_backend *backend;
    affect_architecture *architecture;
    affect_session *session;
    affect_session_plan plan;
    affect_device_cache *cache; /* of a device apart from the host, else NULL */
    float *inputs[2];
    int32_t labels[MAX_BATCH];
    size_t lengths[MAX_BATCH], clip_rows[MAX_BATCH], clips[MAX_BATCH], rows;
    uint64_t step; /* done */
} bench;

static void stop(const char *what) {
    fprintf(stderr, "bench_step: %s\n", what);
    exit(1);
}

static affect_precision precision_of(const char *name) {
    for (int i = 0; i < AFFECT_PRECISION_COUNT; i++)
        if (strcmp(name, affect_precision_names[i]) == 0) return (affect_precision)i;
    stop("--precision: fp32, tf32 or bf16");
    return AFFECT_PRECISION_FP32;
}

static settings read_arguments(int argc, char **argv) {
    settings s = {{.device = "cpu"}, MAX_BATCH, 501, 200, 5, 1, 0, NULL};
    int place = 0;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(word, "--small") == 0) {
            s.batch = 3, s.frames = 12, s.parts = 40;
        } else if (strncmp(word, "--", 2) == 0) {
            if (strcmp(word, "--device") == 0)
                s.device.device = value;
            else if (strcmp(word, "--precision") == 0)
                s.device.precision = precision_of(value);
            else if (strcmp(word, "--block") == 0)
                s.block = atoi(value);
            else if (strcmp(word, "--clips") == 0)
                s.batch = strtoul(value, NULL, 10);
            else if (strcmp(word, "--losses") == 0)
                s.losses = atoi(value);
            else
                stop("unknown option");
            i++;
        } else if (place++ == 0) {
            s.lengths = strcmp(word, "FULL") != 0 ? word : NULL;
        } else {
            s.repeats = atoi(word);
        }
    }
    if (s.repeats < 1 || s.repeats > MAX_REPEATS) s.repeats = 5;
    if (s.block < 1) s.block = 1;
    if (s.batch < 1 || s.batch > MAX_BATCH) stop("--clips: 1 to 48");
    return s;
}

static void read_lengths(size_t lengths[MAX_BATCH], const settings *at) {
    FILE *file = at->lengths ? fopen(at->lengths, "r") : NULL;
    if (at->lengths && !file) stop("the file of lengths cannot be opened");
    for (size_t i = 0; i < at->batch; i++) {
        lengths[i] = at->frames;
        if (file && (fscanf(file, "%zu", &lengths[i]) != 1 || lengths[i] > at->frames))
            stop("the file of lengths needs one number a clip, at most that of frames");
    }
    if (file) fclose(file);
}

static float *make_numbers(size_t n) {
    float *numbers = calloc(n, sizeof *numbers);
    if (!numbers) stop("no memory");
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

static affect_architecture *open_preset(const settings *at) {
    affect_error err = {0};
    affect_json *document = NULL;
    affect_architecture *architecture = NULL;
    network_sizes sizes = {.frames = at->frames,
                           .mels = MELS,
                           .parts = at->parts,
                           .columns = COLUMNS,
                           .classes = CLASSES};
    if (affect_architecture_preset(&document, "paper-optimized", &err) != AFFECT_STATUS_OK ||
        create_architecture(&architecture, document, NULL, sizes, &err) != AFFECT_STATUS_OK)
        stop(err.message);
    affect_json_free(document);
    return architecture;
}

/* Inputs in the architecture's order, padded after each clip's length; the rows they have. */
static void make_inputs(bench *b, const settings *at) {
    for (size_t i = 0; i < affect_architecture_n_inputs(b->architecture); i++) {
        if (strcmp(affect_architecture_input(b->architecture, i)->feature.name, "mel") != 0) {
            b->inputs[i] = make_numbers(at->batch * at->parts * COLUMNS);
            continue;
        }
        b->inputs[i] = make_numbers(at->batch * at->frames * MELS);
        for (size_t clip = 0; clip < at->batch; clip++) {
            float *frames = b->inputs[i] + clip * at->frames * MELS;
            size_t length = b->lengths[clip];
            memset(frames + length * MELS, 0, (at->frames - length) * MELS * sizeof *frames);
            b->clip_rows[clip] = affect_session_count_rows(frames, at->frames, MELS);
            b->rows += b->clip_rows[clip];
        }
    }
}

static void make_device_cache(bench *b, const settings *at) {
    affect_error err = {0};
    if (affect_device_cache_create(&b->cache, b->session, b->clip_rows, at->batch, &err) !=
        AFFECT_STATUS_OK)
        stop(err.message);
    for (size_t clip = 0; clip < at->batch; clip++) {
        const float *inputs[2];
        for (size_t i = 0; i < 2; i++)
            inputs[i] = b->inputs[i] +
                        clip * affect_shape_count(
                                   affect_architecture_input(b->architecture, i)->feature.shape);
        b->clips[clip] = clip;
        if (affect_device_cache_fill(b->cache, clip, inputs, &err) != AFFECT_STATUS_OK)
            stop(err.message);
    }
}

static void open_bench(bench *b, const settings *at) {
    affect_error err = {0};
    read_lengths(b->lengths, at);
    for (int i = 0; i < MAX_BATCH; i++) b->labels[i] = i % CLASSES;
    b->architecture = open_preset(at);
    make_inputs(b, at);
    affect_session_options options = {
        .max_batch = at->batch, .training = true, .max_rows = b->rows};
    if (affect_backend_open(&b->backend, at->device, &err) != AFFECT_STATUS_OK ||
        affect_session_measure(&b->plan, b->backend, b->architecture, options, &err) !=
            AFFECT_STATUS_OK ||
        affect_session_create(&b->session, b->backend, b->architecture, options, &err) !=
            AFFECT_STATUS_OK ||
        affect_session_initialize(b->session, 1, &err) != AFFECT_STATUS_OK)
        stop(err.message);
    if (b->backend->ops->memory_free(b->backend) > 0) make_device_cache(b, at);
}

/* Enqueues one training step. */
static void train(bench *b, const settings *at) {
    affect_error err = {0};
    affect_session_batch batch = {.inputs = (const float *const *)b->inputs,
                                  .cache = b->cache,
                                  .utterances = b->clips,
                                  .labels = b->labels,
                                  .batch = at->batch,
                                  .dropout = {1, b->step}};
    affect_adam_shape adam = {
        .learning_rate = 1e-3, .beta_1 = 0.9, .beta_2 = 0.999, .epsilon = 1e-7, .step = ++b->step};
    if (affect_session_accumulate(b->session, &batch, &err) != AFFECT_STATUS_OK ||
        affect_session_step(b->session, at->batch, &adam, &err) != AFFECT_STATUS_OK)
        stop(err.message);
}

static double train_and_look(bench *b, const settings *at) {
    affect_error err = {0};
    double totals[3 + CLASSES * CLASSES];
    if (affect_session_set_totals(b->session, NULL, &err) != AFFECT_STATUS_OK) stop(err.message);
    train(b, at);
    if (affect_session_read_totals(totals, b->session, &err) != AFFECT_STATUS_OK) stop(err.message);
    return totals[0] / totals[1];
}

static void print_losses(bench *b, const settings *at) {
    affect_error err = {0};
    static float probabilities[MAX_BATCH * CLASSES];
    if (affect_session_predict(b->session, probabilities, (const float *const *)b->inputs,
                               at->batch, &err) != AFFECT_STATUS_OK)
        stop(err.message);
    printf("{\"probabilities\": [");
    for (size_t i = 0; i < at->batch * CLASSES; i++)
        printf("%s%.9g", i ? ", " : "", (double)probabilities[i]);
    printf("], \"losses\": [");
    for (int i = 0; i < at->losses; i++) printf("%s%.17g", i ? ", " : "", train_and_look(b, at));
    printf("]}\n");
}

static void print_times(bench *b, const settings *at) {
    double seconds[MAX_REPEATS];
    affect_error err = {0};
    for (int i = -1; i < at->repeats; i++) { /* the first block only warms up */
        double started = affect_clock_seconds();
        for (int k = 0; k < at->block; k++) train(b, at);
        if (affect_backend_synchronize(b->backend, &err) != AFFECT_STATUS_OK) stop(err.message);
        if (i >= 0) seconds[i] = (affect_clock_seconds() - started) / at->block;
    }
    qsort(seconds, (size_t)at->repeats, sizeof *seconds, ascending);
    printf("{\"seconds\": %.6f, \"least\": %.6f, \"most\": %.6f, \"repeats\": %d, \"rows\": %zu, "
           "\"parameters\": %zu, \"plan_mib\": %.0f, \"peak_mib\": %.0f, \"level\": \"%s\", "
           "\"device\": \"%s\", \"precision\": \"%s\"}\n",
           seconds[at->repeats / 2], seconds[0], seconds[at->repeats - 1], at->repeats, b->rows,
           affect_architecture_n_trainable(b->architecture) +
               affect_architecture_n_statistics(b->architecture),
           (double)(b->plan.parameters + b->plan.optimizer + b->plan.activations +
                    b->plan.workspace + b->plan.inputs) /
               1048576,
           peak_memory(), b->backend->ops->level, b->backend->ops->name,
           affect_precision_names[at->device.precision]);
}

int main(int argc, char **argv) {
    static bench b;
    settings at = read_arguments(argc, argv);
    open_bench(&b, &at);
    if (at.losses)
        print_losses(&b, &at);
    else
        print_times(&b, &at);
    affect_device_cache_free(b.cache);
    affect_session_free(b.session);
    affect_backend_free(b.backend);
    affect_architecture_free(b.architecture);
    free(b.inputs[0]);
    free(b.inputs[1]);
    return 0;
}
