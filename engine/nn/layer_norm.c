/* layer_norm: normalisation of each row of channels (the last index) by its own mean and deviation
 * (Keras' LayerNormalization, axis -1). The same in training and inference. */
#include "engine/nn/layer_registry.h"

enum { GAMMA, BETA };

typedef struct {
    double epsilon;
} layer_norm;

static const affect_field fields[] = {
    AFFECT_FIELD_NUMBER(layer_norm, epsilon, 1e-3, 1e-12, 1, "added to the variance"),
    AFFECT_FIELD_END,
};

static affect_layer_norm_shape shape_of(const affect_layer *layer, size_t n) {
    const layer_norm *o = layer->options;
    size_t channels = layer->input.size[layer->input.rank - 1];
    return (affect_layer_norm_shape){
        .rows = n * (affect_shape_count(layer->input) / channels),
        .channels = channels,
        .epsilon = o->epsilon,
    };
}

static affect_status build(affect_layer *layer, affect_layer_builder *builder, affect_error *err) {
    if (layer->input.rank < 1) return affect_fail(err, SHAPE, "has no input");
    affect_shape shape = {1, {layer->input.size[layer->input.rank - 1]}};
    layer->output = layer->input;
    AFFECT_TRY(affect_layer_add_tensor(layer, builder, GAMMA, "gamma", shape,
                                       AFFECT_INITIALIZER_ONES, 0, err));
    return affect_layer_add_tensor(layer, builder, BETA, "beta", shape, AFFECT_INITIALIZER_ZEROS, 0,
                                   err);
}

static size_t saved_size(const affect_layer *layer, affect_backend *backend, size_t n,
                         size_t n_rows) {
    (void)backend, (void)n_rows;
    return 2 * shape_of(layer, n).rows * sizeof(affect_real);
}

static void run(const affect_layer *layer, const affect_layer_pass *pass, affect_real *saved) {
    affect_layer_norm_shape shape = shape_of(layer, pass->n);
    pass->backend->ops->layer_norm_forward(pass->backend, pass->y, saved, pass->x,
                                           affect_layer_tensor(layer, pass, GAMMA),
                                           affect_layer_tensor(layer, pass, BETA), &shape);
}

static void forward(const affect_layer *layer, const affect_layer_pass *pass) {
    run(layer, pass, pass->saved);
}

static void infer(const affect_layer *layer, const affect_layer_pass *pass) {
    run(layer, pass, NULL);
}

static void backward(const affect_layer *layer, const affect_layer_pass *pass) {
    affect_layer_norm_shape shape = shape_of(layer, pass->n);
    pass->backend->ops->layer_norm_backward(
        pass->backend, pass->d_x, affect_layer_gradient(layer, pass, GAMMA),
        affect_layer_gradient(layer, pass, BETA), pass->d_y, pass->x,
        affect_layer_tensor(layer, pass, GAMMA), pass->saved, &shape);
}

const affect_layer_class affect_layer_layer_norm = {
    .type = "layer_norm",
    .fields = fields,
    .options_size = sizeof(layer_norm),
    .can_fold = true,
    .is_rowwise = true,
    .keeps_steps = true,
    .build = build,
    .saved_size = saved_size,
    .forward = forward,
    .infer = infer,
    .backward = backward,
};
