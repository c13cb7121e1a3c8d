/* activation: a function of each number, or softmax over the last index (Keras' Activation).
 *
 * Softmax is allowed at the network's end only; backward then starts at its logits, so that the
 * gradient passes as it is. */
#include "engine/nn/layer_registry.h"

typedef struct {
    int activation;
} activation;

static const affect_field fields[] = {
    AFFECT_FIELD_CHOICE(activation, activation, -1, affect_activation_names_all, "the function"),
    AFFECT_FIELD_END,
};

static affect_status build(affect_layer *layer, affect_layer_builder *builder, affect_error *err) {
    const activation *o = layer->options;
    if (o->activation < 0)
        return affect_fail(err, INVALID,
                           "activation is missing (linear, relu, tanh, sigmoid or softmax)");
    if (layer->input.rank < 1) return affect_fail(err, SHAPE, "has no input");
    layer->softmax = o->activation == AFFECT_ACTIVATION_SOFTMAX;
    layer->output = layer->input;
    (void)builder;
    return AFFECT_STATUS_OK;
}

static void forward(const affect_layer *layer, const affect_layer_pass *pass) {
    const activation *o = layer->options;
    size_t columns = layer->input.size[layer->input.rank - 1];
    pass->backend->ops->activation_forward(pass->backend, pass->y, pass->x,
                                           pass->n * affect_shape_count(layer->input) / columns,
                                           columns, (affect_activation)o->activation);
}

static void backward(const affect_layer *layer, const affect_layer_pass *pass) {
    const activation *o = layer->options;
    size_t columns = layer->input.size[layer->input.rank - 1];
    size_t count = pass->n * affect_shape_count(layer->input);
    if (!pass->d_x) return;
    if (layer->softmax)
        pass->backend->ops->copy(pass->backend, pass->d_x, pass->d_y, count * sizeof(affect_real));
    else
        pass->backend->ops->activation_backward(pass->backend, pass->d_x, pass->d_y, pass->y,
                                                count / columns, columns,
                                                (affect_activation)o->activation);
}

const affect_layer_class affect_layer_activation = {
    .type = "activation",
    .fields = fields,
    .options_size = sizeof(activation),
    .can_fold = true,
    .keeps_steps = true,
    .is_rowwise = true,
    .build = build,
    .forward = forward,
    .infer = forward,
    .backward = backward,
};
