/* batch_norm: normalisation of each channel (the last index) over all other indices and the batch
 * (Keras' BatchNormalization, axis -1).
 *
 * Training uses the batch's mean and biased variance and moves the statistics; inference uses the
 * statistics. It cannot be folded: Keras' TimeDistributed would normalise each frame apart. On
 * (frames, mels, channels) use it without the wrapper. */
#include "engine/nn/layer_registry.h"

enum { GAMMA, BETA, MOVING_MEAN, MOVING_VARIANCE };

typedef struct {
    double momentum, epsilon;
} batch_norm;

static const affect_field fields[] = {
    AFFECT_FIELD_NUMBER(batch_norm, momentum, 0.99, 0, 1, "share that the old statistics keep"),
    AFFECT_FIELD_NUMBER(batch_norm, epsilon, 1e-3, 1e-12, 1, "added to the variance"),
    AFFECT_FIELD_END,
};

static affect_batch_norm_shape shape_of(const affect_layer *layer, size_t n) {
    const batch_norm *o = layer->options;
    size_t channels = layer->input.size[layer->input.rank - 1];
    return (affect_batch_norm_shape){
        .rows = n * (affect_shape_count(layer->input) / channels),
        .channels = channels,
        .momentum = o->momentum,
        .epsilon = o->epsilon,
    };
}

static affect_status build(affect_layer *layer, affect_layer_builder *builder, affect_error *err) {
    if (layer->input.rank < 1) return affect_fail(err, SHAPE, "has no input");
    affect_shape shape = {1, {layer->input.size[layer->input.rank - 1]}};
    layer->output = layer->input;
    AFFECT_TRY(affect_layer_add_tensor(layer, builder, GAMMA, "gamma", shape,
                                       AFFECT_INITIALIZER_ONES, 0, err));
    AFFECT_TRY(affect_layer_add_tensor(layer, builder, BETA, "beta", shape,
                                       AFFECT_INITIALIZER_ZEROS, 0, err));
    AFFECT_TRY(affect_layer_add_statistic(layer, builder, MOVING_MEAN, "moving_mean", shape,
                                          AFFECT_INITIALIZER_ZEROS, err));
    return affect_layer_add_statistic(layer, builder, MOVING_VARIANCE, "moving_variance", shape,
                                      AFFECT_INITIALIZER_ONES, err);
}

static size_t saved_size(const affect_layer *layer, affect_backend *backend, size_t n,
                         size_t n_rows) {
    (void)n_rows;
    (void)backend;
    return 2 * shape_of(layer, n).channels * sizeof(affect_real);
}

/* Room for a d_x that is never read: the operation always writes one. */
static size_t workspace_size(const affect_layer *layer, affect_backend *backend, size_t n,
                             size_t n_rows) {
    (void)n_rows;
    (void)backend;
    return n * affect_shape_count(layer->input) * sizeof(affect_real);
}

static void forward(const affect_layer *layer, const affect_layer_pass *pass) {
    affect_batch_norm_shape shape = shape_of(layer, pass->n);
    pass->backend->ops->batch_norm_forward(
        pass->backend, pass->y, pass->saved, affect_layer_tensor(layer, pass, MOVING_MEAN),
        affect_layer_tensor(layer, pass, MOVING_VARIANCE), pass->x,
        affect_layer_tensor(layer, pass, GAMMA), affect_layer_tensor(layer, pass, BETA), &shape);
}

static void infer(const affect_layer *layer, const affect_layer_pass *pass) {
    affect_batch_norm_shape shape = shape_of(layer, pass->n);
    pass->backend->ops->batch_norm_infer(
        pass->backend, pass->y, pass->x, affect_layer_tensor(layer, pass, GAMMA),
        affect_layer_tensor(layer, pass, BETA), affect_layer_tensor(layer, pass, MOVING_MEAN),
        affect_layer_tensor(layer, pass, MOVING_VARIANCE), &shape);
}

static void backward(const affect_layer *layer, const affect_layer_pass *pass) {
    affect_batch_norm_shape shape = shape_of(layer, pass->n);
    pass->backend->ops->batch_norm_backward(
        pass->backend, pass->d_x ? pass->d_x : pass->workspace,
        affect_layer_gradient(layer, pass, GAMMA), affect_layer_gradient(layer, pass, BETA),
        pass->d_y, pass->x, affect_layer_tensor(layer, pass, GAMMA), pass->saved, &shape);
}

const affect_layer_class affect_layer_batch_norm = {
    .type = "batch_norm",
    .fields = fields,
    .options_size = sizeof(batch_norm),
    .build = build,
    .saved_size = saved_size,
    .workspace_size = workspace_size,
    .forward = forward,
    .infer = infer,
    .backward = backward,
};
