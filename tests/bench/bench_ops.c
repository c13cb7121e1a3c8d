/* Times a device's operations at the paper's sizes: medians, and billions of operations a second.
 *
 *   cmake --build build --target bench_ops
 *   build/bench/bench_ops [--device D] [--precision P] [FRAMES] [THREADS]
 *
 * 48 clips of FRAMES (default 126: 4 s at 16 kHz); a multiply-add counts as two operations. A time
 * is the median of REPEATS blocks, each of BLOCK calls on a GPU (they are enqueued; the clock is
 * looked at when all are done) and of one on a CPU. Each call is one step (step_begin, step_end),
 * as a training records it. The last line is a JSON object: seconds by operation. */
#include "engine/core/clock.h"
#include "engine/device/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPEATS = 5, BLOCK = 10 };

static affect_backend *backend;

static void wait_for_all(void) {
    affect_error err = {0};
    if (affect_backend_synchronize(backend, &err) == AFFECT_STATUS_OK) return;
    fprintf(stderr, "bench_ops: %s\n", err.message);
    exit(1);
}

static affect_real *numbers(size_t n) {
    affect_real *x = backend->ops->allocate(backend, n * sizeof *x), *host = calloc(n, sizeof *x);
    affect_random_key key = {1, n};
    if (!x || !host) exit(1);
    for (size_t i = 0; i < n; i++) host[i] = (affect_real)(affect_random_uniform(key, i) - 0.5);
    backend->ops->upload(backend, x, host, n * sizeof *x);
    wait_for_all();
    free(host);
    return x;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

typedef struct {
    affect_conv1d_shape conv;
    affect_lstm_shape lstm;
    affect_lstm_parameters parameters, gradients;
    affect_real *x, *y, *kernel, *bias, *d_x, *d_y, *d_kernel, *d_bias;
    void *workspace, *reserve;
} sized;

static double median_seconds(void (*run)(const sized *), const sized *at) {
    double seconds[REPEATS];
    int block = strcmp(backend->ops->name, "cpu") == 0 ? 1 : BLOCK;
    for (int i = -1; i < REPEATS; i++) { /* the first only warms up */
        double started = affect_clock_seconds();
        for (int k = 0; k < block; k++) {
            backend->ops->record_begin(backend);
            run(at);
            backend->ops->record_end(backend, 0);
        }
        wait_for_all();
        if (i >= 0) seconds[i] = (affect_clock_seconds() - started) / block;
    }
    qsort(seconds, REPEATS, sizeof *seconds, ascending);
    return seconds[REPEATS / 2];
}

static void conv_forward(const sized *at) {
    backend->ops->conv1d_forward(backend, at->y, at->x, at->kernel, at->bias, at->workspace,
                                 &at->conv);
}
static void conv_backward(const sized *at) {
    backend->ops->conv1d_backward(backend, at->conv.channels > 1 ? at->d_x : NULL, at->d_kernel,
                                  at->d_bias, at->d_y, at->x, at->y, at->kernel, at->workspace,
                                  &at->conv);
}
static void lstm_forward(const sized *at) {
    backend->ops->lstm_forward(backend, at->y, at->reserve, at->x, &at->parameters, at->workspace,
                               &at->lstm);
}
static void lstm_both(const sized *at) {
    lstm_forward(at);
    backend->ops->lstm_backward(backend, at->d_x, &at->gradients, at->d_y, at->x, at->y,
                                at->reserve, &at->parameters, at->workspace, &at->lstm);
}

static void show(const char *name, double seconds, double operations) {
    printf("%-34s %8.2f ms  %7.1f GFLOP/s\n", name, seconds * 1e3, operations / seconds * 1e-9);
}

static double bench_conv(size_t n, size_t length, size_t channels, size_t filters) {
    sized at = {
        .conv = {n, length, channels, filters, 3, 1, 0, length - 2, AFFECT_ACTIVATION_RELU}};
    size_t in = n * length * channels, out = n * (length - 2) * filters;
    at.x = numbers(in), at.d_x = numbers(in), at.y = numbers(out), at.d_y = numbers(out);
    at.kernel = numbers(3 * channels * filters), at.d_kernel = numbers(3 * channels * filters);
    at.bias = numbers(filters), at.d_bias = numbers(filters);
    at.workspace =
        backend->ops->allocate(backend, backend->ops->conv1d_workspace(backend, &at.conv));
    double operations = 6.0 * (double)out * (double)channels;
    double forward = median_seconds(conv_forward, &at),
           backward = median_seconds(conv_backward, &at);
    char name[64];
    snprintf(name, sizeof name, "conv %zu x %zu -> %zu forward", length, channels, filters);
    show(name, forward, operations);
    show("  backward", backward, operations * (channels > 1 ? 2 : 1));
    affect_real *all[] = {at.x, at.d_x, at.y, at.d_y, at.kernel, at.d_kernel, at.bias, at.d_bias};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) backend->ops->deallocate(backend, all[i]);
    backend->ops->deallocate(backend, at.workspace);
    return forward + backward;
}

static double bench_lstm(size_t frames) {
    sized at = {.lstm = {48, frames, 256, 128, 2, false, true}};
    size_t count = 48 * frames * 256;
    at.x = numbers(count), at.d_x = numbers(count), at.y = numbers(count), at.d_y = numbers(count);
    for (int i = 0; i < 2; i++) {
        affect_lstm_parameters *both[] = {&at.parameters, &at.gradients};
        for (int j = 0; j < 2; j++) {
            both[j]->kernel[i] = numbers(256 * 512);
            both[j]->recurrent_kernel[i] = numbers(128 * 512);
            both[j]->bias[i] = numbers(512);
        }
    }
    at.workspace = backend->ops->allocate(backend, backend->ops->lstm_workspace(backend, &at.lstm));
    at.reserve = backend->ops->allocate(backend, backend->ops->lstm_reserve(backend, &at.lstm));
    double operations = 2.0 * 2 * 48 * (double)frames * 384 * 512;
    double forward = median_seconds(lstm_forward, &at), both = median_seconds(lstm_both, &at);
    show("bilstm 256 -> 2 x 128 forward", forward, operations);
    show("  backward", both - forward, 2 * operations);
    return both;
}

static affect_backend_options read_arguments(size_t *frames, int argc, char **argv) {
    affect_backend_options options = {.device = "cpu"};
    int place = 0;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--device") == 0) {
            options.device = value, i++;
        } else if (strcmp(argv[i], "--precision") == 0) {
            while (strcmp(value, affect_precision_names[options.precision]) != 0)
                if (++options.precision == AFFECT_PRECISION_COUNT) {
                    fprintf(stderr, "bench_ops: --precision: fp32, tf32 or bf16\n");
                    exit(1);
                }
            i++;
        } else if (place++ == 0) {
            *frames = strtoul(argv[i], NULL, 10);
        } else {
            options.n_threads = atoi(argv[i]);
        }
    }
    return options;
}

int main(int argc, char **argv) {
    size_t frames = 126;
    affect_backend_options options = read_arguments(&frames, argc, argv);
    affect_error err = {0};
    if (affect_backend_open(&backend, options, &err) != AFFECT_STATUS_OK) {
        fprintf(stderr, "bench_ops: %s\n", err.message);
        return 1;
    }
    static const size_t layers[][3] = {
        {128, 1, 64}, {63, 64, 128}, {30, 128, 64}, {14, 64, 32}, {6, 32, 64}};
    double convolutions = 0;
    for (int i = 0; i < 5; i++)
        convolutions += bench_conv(48 * frames, layers[i][0], layers[i][1], layers[i][2]);
    double bilstm = bench_lstm(frames);
    printf("{\"device\": \"%s\", \"precision\": \"%s\", \"frames\": %zu, \"convolutions\": %.6g, "
           "\"bilstm\": %.6g}\n",
           backend->ops->name, affect_precision_names[options.precision], frames, convolutions,
           bilstm);
    affect_backend_free(backend);
    return 0;
}
