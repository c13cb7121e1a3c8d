/* Weighted statistics over the steps of sequences on the CPU; formulas in device/backend.h.
 * Sequences are split over the threads; sums are kept in double.
 *
 * Backward, since the weights' sum is 1: d_x = a (d_mean + 2 d_variance (x - mean)) with d_variance
 * = d_deviation / (2 deviation); d_a = sum_c d_mean x + d_variance (x - mean)^2; d_score = a (d_a -
 * sum_t a d_a). */
#include "engine/device/cpu/cpu_backend.h"

#include <math.h>
#include <string.h>

typedef struct {
    affect_real *y, *weights, *d_x, *d_scores;
    const affect_real *x, *scores, *d_y, *y_saved, *weights_saved;
    const affect_pool_steps_shape *shape;
} pool_steps_call;

static size_t length_of(const affect_pool_steps_shape *s, size_t b) {
    return s->lengths ? s->lengths[b] : s->steps;
}

static size_t width_of(const affect_pool_steps_shape *s) {
    return s->channels * (s->deviation ? 2 : 1);
}

static void weigh(affect_real *weights, const affect_real *scores, size_t length, size_t steps) {
    memset(weights + length, 0, (steps - length) * sizeof *weights);
    double highest = -INFINITY, sum = 0;
    for (size_t t = 0; scores && t < length; t++)
        if ((double)scores[t] > highest) highest = (double)scores[t];
    for (size_t t = 0; t < length; t++) {
        weights[t] = (affect_real)(scores ? exp((double)scores[t] - highest) : 1);
        sum += (double)weights[t];
    }
    for (size_t t = 0; t < length; t++) weights[t] = (affect_real)((double)weights[t] / sum);
}

static void forward_sequences(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    const pool_steps_call *call = context;
    const affect_pool_steps_shape *s = call->shape;
    for (size_t b = begin; b < end; b++) {
        size_t length = length_of(s, b), n = s->channels;
        const affect_real *x = call->x + b * s->steps * n;
        affect_real *a = call->weights + b * s->steps, *y = call->y + b * width_of(s);
        weigh(a, call->scores ? call->scores + b * s->steps : NULL, length, s->steps);
        for (size_t c = 0; c < n; c++) {
            double mean = 0, variance = 0;
            for (size_t t = 0; t < length; t++) mean += (double)a[t] * (double)x[t * n + c];
            y[c] = (affect_real)mean;
            if (!s->deviation) continue;
            for (size_t t = 0; t < length; t++) {
                double d = (double)x[t * n + c] - mean;
                variance += (double)a[t] * d * d;
            }
            y[n + c] = (affect_real)(length ? sqrt(variance + s->epsilon) : 0);
        }
    }
}

void AFFECT_CPU_OPERATION(pool_steps_forward)(affect_backend *backend, affect_real *y,
                                              affect_real *weights, const affect_real *x,
                                              const affect_real *scores,
                                              const affect_pool_steps_shape *shape) {
    if (!affect_cpu_ready(backend)) return;
    pool_steps_call call = {.y = y, .weights = weights, .x = x, .scores = scores, .shape = shape};
    affect_cpu_run(backend, shape->batch, forward_sequences, &call);
}

static void backward_sequences(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    const pool_steps_call *call = context;
    const affect_pool_steps_shape *s = call->shape;
    size_t n = s->channels, steps = s->steps;
    for (size_t b = begin; b < end; b++) {
        size_t length = length_of(s, b);
        const affect_real *x = call->x + b * steps * n, *a = call->weights_saved + b * steps;
        const affect_real *mean = call->y_saved + b * width_of(s), *deviation = mean + n;
        const affect_real *d_mean = call->d_y + b * width_of(s), *d_deviation = d_mean + n;
        affect_real *d_x = call->d_x ? call->d_x + b * steps * n : NULL;
        affect_real *d_scores = call->d_scores ? call->d_scores + b * steps : NULL;
        double sum = 0;
        for (size_t t = 0; t < length; t++) {
            double d_a = 0;
            for (size_t c = 0; c < n; c++) {
                double d = (double)x[t * n + c] - (double)mean[c], d_variance = 0;
                if (s->deviation) d_variance = (double)d_deviation[c] / (2 * (double)deviation[c]);
                d_a += (double)d_mean[c] * (double)x[t * n + c] + d_variance * d * d;
                if (d_x)
                    d_x[t * n + c] =
                        (affect_real)((double)a[t] * ((double)d_mean[c] + 2 * d_variance * d));
            }
            sum += (double)a[t] * d_a;
            if (d_scores) d_scores[t] = (affect_real)d_a;
        }
        for (size_t t = 0; d_scores && t < length; t++)
            d_scores[t] = (affect_real)((double)a[t] * ((double)d_scores[t] - sum));
        if (d_x) memset(d_x + length * n, 0, (steps - length) * n * sizeof *d_x);
        if (d_scores) memset(d_scores + length, 0, (steps - length) * sizeof *d_scores);
    }
}

void AFFECT_CPU_OPERATION(pool_steps_backward)(affect_backend *backend, affect_real *d_x,
                                               affect_real *d_scores, const affect_real *d_y,
                                               const affect_real *x, const affect_real *y,
                                               const affect_real *weights,
                                               const affect_pool_steps_shape *shape) {
    if (!affect_cpu_ready(backend)) return;
    pool_steps_call call = {.d_x = d_x,
                            .d_scores = d_scores,
                            .d_y = d_y,
                            .x = x,
                            .y_saved = y,
                            .weights_saved = weights,
                            .shape = shape};
    affect_cpu_run(backend, shape->batch, backward_sequences, &call);
}
