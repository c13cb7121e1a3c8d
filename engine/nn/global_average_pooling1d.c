/* global_average_pooling1d: the mean over the steps (Keras' GlobalAveragePooling1D): (steps,
 * channels) to (channels). Masked steps are left out; an utterance of masked steps alone gives 0.
 */
#include "engine/nn/layer_registry.h"

static const affect_field fields[] = {AFFECT_FIELD_END};

static affect_status build(affect_layer *layer, affect_layer_builder *builder, affect_error *err) {
    char text[AFFECT_SHAPE_TEXT_SIZE];
    (void)builder;
    if (layer->input.rank != 2)
        return affect_fail(err, SHAPE, "needs an input (steps, channels), has %s",
                           affect_shape_text(text, layer->input));
    layer->output = (affect_shape){1, {layer->input.size[1]}};
    return AFFECT_STATUS_OK;
}

static affect_pool_steps_shape shape_of(const affect_layer *layer, const affect_layer_pass *pass) {
    return (affect_pool_steps_shape){.batch = pass->n,
                                     .steps = layer->input.size[0],
                                     .channels = layer->input.size[1],
                                     .lengths = pass->lengths};
}

/* The weights: of training from forward to backward, else scratch. */
static size_t weights_size(const affect_layer *layer, affect_backend *backend, size_t n,
                           size_t n_rows) {
    (void)backend, (void)n_rows;
    return n * layer->input.size[0] * sizeof(affect_real);
}

static void run(const affect_layer *layer, const affect_layer_pass *pass, affect_real *weights) {
    affect_pool_steps_shape shape = shape_of(layer, pass);
    pass->backend->ops->pool_steps_forward(pass->backend, pass->y, weights, pass->x, NULL, &shape);
}

static void forward(const affect_layer *layer, const affect_layer_pass *pass) {
    run(layer, pass, pass->saved);
}

static void infer(const affect_layer *layer, const affect_layer_pass *pass) {
    run(layer, pass, pass->workspace);
}

static void backward(const affect_layer *layer, const affect_layer_pass *pass) {
    affect_pool_steps_shape shape = shape_of(layer, pass);
    if (pass->d_x)
        pass->backend->ops->pool_steps_backward(pass->backend, pass->d_x, NULL, pass->d_y, pass->x,
                                                pass->y, pass->saved, &shape);
}

const affect_layer_class affect_layer_global_average_pooling1d = {
    .type = "global_average_pooling1d",
    .fields = fields,
    .can_fold = true,
    .is_rowwise = true,
    .masks = true,
    .build = build,
    .saved_size = weights_size,
    .workspace_size = weights_size,
    .forward = forward,
    .infer = infer,
    .backward = backward,
};
