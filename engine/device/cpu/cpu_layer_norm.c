/* Layer normalisation on the CPU (Ba, Kiros and Hinton 2016): as batch normalisation, over the
 * channels of each row.
 *
 * Rows are split over the threads; the sums of gamma's and beta's gradients over rows are split by
 * channel, so that they do not depend on the number of threads. Sums are kept in double. */
#include "engine/device/cpu/cpu_backend.h"

#include <math.h>

typedef struct {
    affect_real *y, *saved, *d_x, *d_gamma, *d_beta;
    const affect_real *x, *gamma, *beta, *d_y, *saved_in;
    const affect_layer_norm_shape *shape;
} layer_norm_call;

static void forward_rows(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    const layer_norm_call *call = context;
    size_t rows = call->shape->rows, n = call->shape->channels;
    for (size_t r = begin; r < end; r++) {
        const affect_real *x = call->x + r * n;
        affect_real *y = call->y + r * n;
        double mean = 0, variance = 0;
        for (size_t c = 0; c < n; c++) mean += (double)x[c];
        mean /= (double)n;
        for (size_t c = 0; c < n; c++) variance += ((double)x[c] - mean) * ((double)x[c] - mean);
        double inverse = 1 / sqrt(variance / (double)n + call->shape->epsilon);
        for (size_t c = 0; c < n; c++)
            y[c] = (affect_real)(((double)x[c] - mean) * inverse * (double)call->gamma[c] +
                                 (double)call->beta[c]);
        if (!call->saved) continue;
        call->saved[r] = (affect_real)mean;
        call->saved[rows + r] = (affect_real)inverse;
    }
}

void AFFECT_CPU_OPERATION(layer_norm_forward)(affect_backend *backend, affect_real *y,
                                              affect_real *saved, const affect_real *x,
                                              const affect_real *gamma, const affect_real *beta,
                                              const affect_layer_norm_shape *shape) {
    if (!affect_cpu_ready(backend)) return;
    layer_norm_call call = {
        .y = y, .saved = saved, .x = x, .gamma = gamma, .beta = beta, .shape = shape};
    affect_cpu_run(backend, shape->rows, forward_rows, &call);
}

/* d_x = (g - mean(g) - z mean(g z)) / deviation, with g = d_y gamma and z the normalised x. */
static void gradient_rows(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    const layer_norm_call *call = context;
    size_t rows = call->shape->rows, n = call->shape->channels;
    for (size_t r = begin; r < end; r++) {
        const affect_real *x = call->x + r * n, *d_y = call->d_y + r * n;
        double mean = (double)call->saved_in[r], inverse = (double)call->saved_in[rows + r];
        double sum = 0, sum_z = 0;
        for (size_t c = 0; c < n; c++) {
            double g = (double)d_y[c] * (double)call->gamma[c];
            sum += g;
            sum_z += g * ((double)x[c] - mean) * inverse;
        }
        sum /= (double)n;
        sum_z /= (double)n;
        for (size_t c = 0; c < n; c++) {
            double g = (double)d_y[c] * (double)call->gamma[c];
            double z = ((double)x[c] - mean) * inverse;
            call->d_x[r * n + c] = (affect_real)((g - sum - z * sum_z) * inverse);
        }
    }
}

static void gradient_channels(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    const layer_norm_call *call = context;
    size_t rows = call->shape->rows, n = call->shape->channels;
    for (size_t c = begin; c < end; c++) {
        double sum = 0, sum_z = 0;
        for (size_t r = 0; r < rows; r++) {
            double d = (double)call->d_y[r * n + c];
            sum += d;
            sum_z += d * ((double)call->x[r * n + c] - (double)call->saved_in[r]) *
                     (double)call->saved_in[rows + r];
        }
        call->d_beta[c] += (affect_real)sum;
        call->d_gamma[c] += (affect_real)sum_z;
    }
}

void AFFECT_CPU_OPERATION(layer_norm_backward)(affect_backend *backend, affect_real *d_x,
                                               affect_real *d_gamma, affect_real *d_beta,
                                               const affect_real *d_y, const affect_real *x,
                                               const affect_real *gamma, const affect_real *saved,
                                               const affect_layer_norm_shape *shape) {
    if (!affect_cpu_ready(backend)) return;
    layer_norm_call call = {.d_x = d_x,
                            .d_gamma = d_gamma,
                            .d_beta = d_beta,
                            .d_y = d_y,
                            .x = x,
                            .gamma = gamma,
                            .saved_in = saved,
                            .shape = shape};
    affect_cpu_run(backend, shape->channels, gradient_channels, &call);
    if (d_x) affect_cpu_run(backend, shape->rows, gradient_rows, &call);
}
