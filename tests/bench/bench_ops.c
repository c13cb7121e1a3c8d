/* Times the device's operations at the paper's sizes: medians, and billions of operations a second.
 *
 *   cmake --build build --target bench_ops && build/bench/bench_ops [FRAMES] [THREADS]
 *
 * 48 clips of FRAMES (default 126: 4 s at 16 kHz); a multiply-add counts as two operations. */
#include "engine/core/backend.h"
#include "engine/core/clock.h"

#include <stdio.h>
#include <stdlib.h>

#define REPEATS 5

static affect_backend *backend;

static affect_real *numbers(size_t n) {
    affect_real *x = backend->ops->allocate(backend, n * sizeof *x);
    affect_random_key key = {1, n};
    for (size_t i = 0; i < n; i++) x[i] = (affect_real)(affect_random_uniform(key, i) - 0.5);
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
    run(at);
    for (int i = 0; i < REPEATS; i++) {
        double started = affect_clock_seconds();
        run(at);
        seconds[i] = affect_clock_seconds() - started;
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

int main(int argc, char **argv) {
    size_t frames = argc > 1 ? strtoul(argv[1], NULL, 10) : 126;
    int n_threads = argc > 2 ? atoi(argv[2]) : 0;
    affect_error err = {0};
    if (affect_backend_open(&backend,
                            (affect_backend_options){.device = "cpu", .n_threads = n_threads},
                            &err) != AFFECT_STATUS_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    static const size_t layers[][3] = {
        {128, 1, 64}, {63, 64, 128}, {30, 128, 64}, {14, 64, 32}, {6, 32, 64}};
    double seconds = 0;
    for (int i = 0; i < 5; i++)
        seconds += bench_conv(48 * frames, layers[i][0], layers[i][1], layers[i][2]);
    seconds += 2 * bench_lstm(frames);
    printf("audio convolutions and two bilstms, forward and backward: %.0f ms\n", seconds * 1e3);
    affect_backend_free(backend);
    return 0;
}
