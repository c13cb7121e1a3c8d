/* Initial weights: Keras 3's defaults, each tensor drawn from a stream keyed by its name, so that
 * adding a layer does not change the others.
 *
 * Glorot uniform (Glorot and Bengio 2010) with fans as Keras counts them: the last two sizes times
 * the product of those before. Orthogonal (Saxe et al. 2014): QR of a normal matrix with the
 * diagonal of R positive, which is what Gram-Schmidt gives. */
#include "engine/model/session_state.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void fill_uniform(float *to, size_t n, double limit, affect_random_key key) {
    for (size_t i = 0; i < n; i++) to[i] = (float)((2 * affect_random_uniform(key, i) - 1) * limit);
}

static double glorot_limit(affect_shape shape) {
    size_t receptive = 1;
    for (int i = 0; i + 2 < shape.rank; i++) receptive *= shape.size[i];
    double fan_in = (double)(receptive * shape.size[shape.rank - 2]);
    double fan_out = (double)(receptive * shape.size[shape.rank - 1]);
    return sqrt(6 / (fan_in + fan_out));
}

/* Twice, because once loses orthogonality to rounding (Giraud et al. 2005). */
static void orthogonalize(double *row, const double *rows, size_t n_before, size_t length) {
    for (int pass = 0; pass < 2; pass++) {
        for (size_t j = 0; j < n_before; j++) {
            double dot = 0;
            for (size_t k = 0; k < length; k++) dot += row[k] * rows[j * length + k];
            for (size_t k = 0; k < length; k++) row[k] -= dot * rows[j * length + k];
        }
    }
    double norm = 0;
    for (size_t k = 0; k < length; k++) norm += row[k] * row[k];
    norm = sqrt(norm);
    for (size_t k = 0; k < length; k++) row[k] /= norm;
}

/* (u, 4u): orthonormal rows. */
static affect_status fill_orthogonal(float *to, affect_shape shape, affect_random_key key,
                                     affect_error *err) {
    size_t n_rows = shape.size[0], length = shape.size[1];
    double *rows = malloc(n_rows * length * sizeof *rows);
    if (!rows) return affect_fail(err, NO_MEMORY, "no memory for initial weights");
    for (size_t i = 0; i < n_rows * length; i++) rows[i] = affect_random_normal(key, i);
    for (size_t i = 0; i < n_rows; i++) orthogonalize(rows + i * length, rows, i, length);
    for (size_t i = 0; i < n_rows * length; i++) to[i] = (float)rows[i];
    free(rows);
    return AFFECT_STATUS_OK;
}

static affect_status fill(float *to, const affect_parameter *p, uint64_t seed, affect_error *err) {
    char purpose[AFFECT_TENSOR_NAME_SIZE + 16];
    size_t n = affect_shape_count(p->shape);
    snprintf(purpose, sizeof purpose, "initialize %s", p->name);
    affect_random_key key = {seed, affect_random_stream(purpose, 0, 0)};
    if (p->initializer == AFFECT_INITIALIZER_ORTHOGONAL)
        return fill_orthogonal(to, p->shape, key, err);
    bool glorot = p->initializer == AFFECT_INITIALIZER_GLOROT_UNIFORM;
    if (glorot || p->initializer == AFFECT_INITIALIZER_UNIFORM) {
        fill_uniform(to, n, glorot ? glorot_limit(p->shape) : 0.05, key);
        return AFFECT_STATUS_OK;
    }
    for (size_t i = 0; i < n; i++) {
        bool one = p->initializer == AFFECT_INITIALIZER_ONES ||
                   (p->initializer == AFFECT_INITIALIZER_FORGET_ONE && i >= n / 4 && i < n / 2);
        to[i] = one ? 1 : 0;
    }
    return AFFECT_STATUS_OK;
}

affect_status affect_session_initialize(affect_session *s, uint64_t seed, affect_error *err) {
    const affect_layer_builder *tensors = &s->architecture->builder;
    size_t largest = 1, bytes = tensors->n_trainable * sizeof(affect_real);
    for (size_t i = 0; i < tensors->n_parameters; i++) {
        size_t n = affect_shape_count(tensors->parameters[i].shape);
        if (n > largest) largest = n;
    }
    float *values = malloc(largest * sizeof *values);
    if (!values) return affect_fail(err, NO_MEMORY, "no memory for initial weights");
    affect_status status = AFFECT_STATUS_OK;
    for (size_t i = 0; status == AFFECT_STATUS_OK && i < tensors->n_parameters; i++) {
        status = fill(values, &tensors->parameters[i], seed, err);
        if (status == AFFECT_STATUS_OK) status = affect_session_set_tensor(s, i, values, err);
    }
    free(values);
    if (status != AFFECT_STATUS_OK || !s->options.training) return status;
    s->backend->ops->zero(s->backend, s->blocks.gradients, bytes);
    s->backend->ops->zero(s->backend, s->blocks.adam_m, bytes);
    s->backend->ops->zero(s->backend, s->blocks.adam_v, bytes);
    return affect_backend_synchronize(s->backend, err);
}
