/* Batch normalisation on the CPU.
 *
 * Channels are split over the threads and done in blocks; sums over rows are kept in double.
 * Formulas of backward: Ioffe and Szegedy 2015, with d_x = gamma / deviation (d_y - mean(d_y) - z
 * mean(d_y z)). */
#include "engine/device/cpu/cpu_backend.h"

#include <math.h>

#define BLOCK 64

typedef struct {
    affect_real *y, *saved, *moving_mean, *moving_variance, *d_x, *d_gamma, *d_beta;
    const affect_real *x, *gamma, *beta, *d_y, *saved_in;
    const affect_batch_norm_shape *shape;
} norm_call;

static void mean_of(double *mean, const affect_real *x, size_t rows, size_t stride, size_t n) {
    for (size_t c = 0; c < n; c++) mean[c] = 0;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < n; c++) mean[c] += (double)x[r * stride + c];
    for (size_t c = 0; c < n; c++) mean[c] /= (double)rows;
}

static void variance_of(double *variance, const double *mean, const affect_real *x, size_t rows,
                        size_t stride, size_t n) {
    for (size_t c = 0; c < n; c++) variance[c] = 0;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < n; c++) {
            double d = (double)x[r * stride + c] - mean[c];
            variance[c] += d * d;
        }
    for (size_t c = 0; c < n; c++) variance[c] /= (double)rows;
}

static void scale_rows(affect_real *restrict y, const affect_real *restrict x, size_t rows,
                       size_t stride, size_t n, const affect_real *restrict factor,
                       const affect_real *restrict shift) {
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < n; c++) y[r * stride + c] = x[r * stride + c] * factor[c] + shift[c];
}

static void forward_block(const norm_call *call, size_t first, size_t n) {
    const affect_batch_norm_shape *s = call->shape;
    double mean[BLOCK], variance[BLOCK];
    affect_real factor[BLOCK], shift[BLOCK];
    mean_of(mean, call->x + first, s->rows, s->channels, n);
    variance_of(variance, mean, call->x + first, s->rows, s->channels, n);
    for (size_t c = 0; c < n; c++) {
        size_t channel = first + c;
        double inverse = 1 / sqrt(variance[c] + s->epsilon);
        call->saved[channel] = (affect_real)mean[c];
        call->saved[s->channels + channel] = (affect_real)inverse;
        affect_real *moving_mean = &call->moving_mean[channel];
        affect_real *moving_variance = &call->moving_variance[channel];
        *moving_mean =
            (affect_real)((double)*moving_mean * s->momentum + mean[c] * (1 - s->momentum));
        *moving_variance =
            (affect_real)((double)*moving_variance * s->momentum + variance[c] * (1 - s->momentum));
        factor[c] = (affect_real)((double)call->gamma[channel] * inverse);
        shift[c] = (affect_real)((double)call->beta[channel] -
                                 mean[c] * (double)call->gamma[channel] * inverse);
    }
    scale_rows(call->y + first, call->x + first, s->rows, s->channels, n, factor, shift);
}

static void infer_block(const norm_call *call, size_t first, size_t n) {
    const affect_batch_norm_shape *s = call->shape;
    affect_real factor[BLOCK], shift[BLOCK];
    for (size_t c = 0; c < n; c++) {
        size_t channel = first + c;
        double inverse = 1 / sqrt((double)call->moving_variance[channel] + s->epsilon);
        factor[c] = (affect_real)((double)call->gamma[channel] * inverse);
        shift[c] =
            (affect_real)((double)call->beta[channel] - (double)call->moving_mean[channel] *
                                                            (double)call->gamma[channel] * inverse);
    }
    scale_rows(call->y + first, call->x + first, s->rows, s->channels, n, factor, shift);
}

static void backward_block(const norm_call *call, size_t first, size_t n) {
    const affect_batch_norm_shape *s = call->shape;
    const affect_real *x = call->x + first, *d_y = call->d_y + first;
    affect_real *d_x = call->d_x + first;
    double sum[BLOCK] = {0}, sum_z[BLOCK] = {0}, mean[BLOCK], inverse[BLOCK];
    for (size_t c = 0; c < n; c++) {
        mean[c] = (double)call->saved_in[first + c];
        inverse[c] = (double)call->saved_in[s->channels + first + c];
    }
    for (size_t r = 0; r < s->rows; r++)
        for (size_t c = 0; c < n; c++) {
            double d = (double)d_y[r * s->channels + c];
            sum[c] += d;
            sum_z[c] += d * ((double)x[r * s->channels + c] - mean[c]) * inverse[c];
        }
    for (size_t c = 0; c < n; c++) {
        call->d_beta[first + c] += (affect_real)sum[c];
        call->d_gamma[first + c] += (affect_real)sum_z[c];
        sum[c] /= (double)s->rows;
        sum_z[c] /= (double)s->rows;
    }
    for (size_t r = 0; r < s->rows; r++)
        for (size_t c = 0; c < n; c++) {
            size_t i = r * s->channels + c;
            double z = ((double)x[i] - mean[c]) * inverse[c];
            d_x[i] = (affect_real)((double)call->gamma[first + c] * inverse[c] *
                                   ((double)d_y[i] - sum[c] - z * sum_z[c]));
        }
}

/* Which of the three a call is follows from what it carries. */
static void channels(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    const norm_call *call = context;
    for (size_t c = begin; c < end; c += BLOCK) {
        size_t n = end - c < BLOCK ? end - c : BLOCK;
        if (call->d_y)
            backward_block(call, c, n);
        else if (call->saved)
            forward_block(call, c, n);
        else
            infer_block(call, c, n);
    }
}

void AFFECT_CPU_OPERATION(batch_norm_forward)(affect_backend *backend, affect_real *y,
                                              affect_real *saved, affect_real *moving_mean,
                                              affect_real *moving_variance, const affect_real *x,
                                              const affect_real *gamma, const affect_real *beta,
                                              const affect_batch_norm_shape *shape) {
    if (!affect_cpu_ready(backend)) return;
    norm_call call = {.y = y,
                      .saved = saved,
                      .moving_mean = moving_mean,
                      .moving_variance = moving_variance,
                      .x = x,
                      .gamma = gamma,
                      .beta = beta,
                      .shape = shape};
    affect_cpu_run(backend, shape->channels, channels, &call);
}

void AFFECT_CPU_OPERATION(batch_norm_infer)(affect_backend *backend, affect_real *y,
                                            const affect_real *x, const affect_real *gamma,
                                            const affect_real *beta, const affect_real *moving_mean,
                                            const affect_real *moving_variance,
                                            const affect_batch_norm_shape *shape) {
    if (!affect_cpu_ready(backend)) return;
    norm_call call = {.y = y,
                      .x = x,
                      .gamma = gamma,
                      .beta = beta,
                      .moving_mean = (affect_real *)moving_mean,
                      .moving_variance = (affect_real *)moving_variance,
                      .shape = shape};
    affect_cpu_run(backend, shape->channels, channels, &call);
}

void AFFECT_CPU_OPERATION(batch_norm_backward)(affect_backend *backend, affect_real *d_x,
                                               affect_real *d_gamma, affect_real *d_beta,
                                               const affect_real *d_y, const affect_real *x,
                                               const affect_real *gamma, const affect_real *saved,
                                               const affect_batch_norm_shape *shape) {
    if (!affect_cpu_ready(backend)) return;
    norm_call call = {.d_x = d_x,
                      .d_gamma = d_gamma,
                      .d_beta = d_beta,
                      .d_y = d_y,
                      .x = x,
                      .gamma = gamma,
                      .saved_in = saved,
                      .shape = shape};
    affect_cpu_run(backend, shape->channels, channels, &call);
}
